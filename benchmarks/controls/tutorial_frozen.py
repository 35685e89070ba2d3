"""The tutorials' frozen backbone: every image goes through it again in every epoch, and a new
linear layer learns by SGD.

    python -m benchmarks.controls.tutorial_frozen FOLDER [--epochs 25]

FOLDER holds train/CLASS and val/CLASS. EfficientNet-Lite0, whose weights need no hub, in fp32 as it
stands.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import timm
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

from headstart.models.lite0 import ARCHITECTURE, lite0_weights
from headstart.models.packaged import packaged

HALF = ([0.5] * 3, [0.5] * 3)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("--epochs", type=int, default=25)
    args = parser.parse_args()
    torch.manual_seed(0)
    looks = {
        "train": [transforms.RandomResizedCrop(224), transforms.RandomHorizontalFlip()],
        "val": [transforms.Resize(256), transforms.CenterCrop(224)],
    }
    loaders, sizes = {}, {}
    for part, steps in looks.items():
        transform = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(*HALF)])
        images = datasets.ImageFolder(args.folder / part, transform)
        sizes[part] = len(images)
        loaders[part] = DataLoader(images, batch_size=4, shuffle=True, num_workers=4)
    model = timm.create_model(ARCHITECTURE)
    model.load_state_dict(lite0_weights(packaged("efficientnet_lite0", "vision").path()))
    for parameter in model.parameters():
        parameter.requires_grad = False
    model.classifier = nn.Linear(1280, 2)
    optimizer = torch.optim.SGD(model.classifier.parameters(), lr=0.001, momentum=0.9)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=7, gamma=0.1)
    best = 0.0
    for epoch in range(args.epochs):
        right = {part: 0 for part in loaders}
        for part, loader in loaders.items():
            model.train(part == "train")
            for images, labels in loader:
                optimizer.zero_grad()
                with torch.set_grad_enabled(part == "train"):
                    outputs = model(images)
                    loss = nn.functional.cross_entropy(outputs, labels)
                    if part == "train":
                        loss.backward()
                        optimizer.step()
                right[part] += int((outputs.argmax(1) == labels).sum())
        scheduler.step()
        last = right["val"] / sizes["val"]
        best = max(best, last)
        print(f"epoch {epoch + 1}: {last:.3f}", flush=True)
    print(json.dumps({"accuracy": last, "best": best, "n": sizes["val"]}))


if __name__ == "__main__":
    main()
