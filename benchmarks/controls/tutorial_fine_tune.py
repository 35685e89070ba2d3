"""The tutorials' fine-tuning: a PIL loader with two workers, fp32, SGD, and nothing said about
layout or memory.

    python -m benchmarks.controls.tutorial_fine_tune FOLDER BACKBONE --batch 32 [--epochs 3]

FOLDER holds train/CLASS. The network starts from random numbers, which takes as long as any other
start. The first two steps are left out of the speed.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import timm
import torch
from torch import nn
from torch.utils.data import DataLoader
from torchvision import datasets, transforms

SKIPPED = 2
IMAGENET = ([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path)
    parser.add_argument("backbone")
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--epochs", type=int, default=3)
    args = parser.parse_args()
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    transform = transforms.Compose(
        [
            transforms.RandomResizedCrop(224),
            transforms.RandomHorizontalFlip(),
            transforms.ToTensor(),
            transforms.Normalize(*IMAGENET),
        ]
    )
    images = datasets.ImageFolder(args.folder / "train", transform)
    loader = DataLoader(images, batch_size=args.batch, shuffle=True, num_workers=2)
    model = timm.create_model(args.backbone, num_classes=len(images.classes)).to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.001, momentum=0.9)
    model.train()
    seen = steps = 0
    for _ in range(args.epochs):
        running_loss = 0.0
        for inputs, labels in loader:
            inputs, labels = inputs.to(device), labels.to(device)
            optimizer.zero_grad()
            loss = nn.functional.cross_entropy(model(inputs), labels)
            loss.backward()
            optimizer.step()
            running_loss += loss.item()
            steps += 1
            if steps == SKIPPED:
                started = time.perf_counter()
            elif steps > SKIPPED:
                seen += len(labels)
    print(json.dumps({"examples_per_second": seen / (time.perf_counter() - started)}))


if __name__ == "__main__":
    main()
