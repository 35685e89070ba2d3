"""Whether Grad-CAM marks what matters: how far the probability falls when the marked fifth of an
image is taken away.

    python -m benchmarks.deletion RUN IMAGES [--count 100]

RUN is a finished run on images that was trained by gradient, IMAGES a folder of them. Taken away
are the fifth of the pixels that Grad-CAM marks most, a fifth at random by pixel, and a fifth at
random in squares as large as a place of the feature map: by blurring them (Fong & Vedaldi 2017),
and by painting them over with the mean colour, which where it is done pixel by pixel makes a noise
that no photograph has. Prints for both the mean fall of the probability of the likeliest class, and
how often the marked fifth costs more than the squares.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch.nn.functional import interpolate
from torchvision.transforms.v2.functional import gaussian_blur

from headstart.data.file_tree import walk
from headstart.data.image_formats import is_image
from headstart.inference.loaded_model import NetworkModel
from headstart.inference.predict import load

SHARE, PLACES = 0.2, 7  # of the pixels; places of the feature map a side
TAKEN = ("marked", "random pixels", "random squares")


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("images", type=Path)
    parser.add_argument("--count", type=int, default=100)
    args = parser.parse_args()
    (model,) = load(args.run).members
    assert isinstance(model, NetworkModel)
    network = model.network
    preprocessor, random = network.preprocessor(), torch.Generator().manual_seed(0)
    paths = sorted(path for path in map(Path, walk(args.images).files) if is_image(path))
    chosen = np.random.default_rng(0).permutation(len(paths))[: args.count]
    falls: dict[str, dict[str, list[float]]] = {
        fill: {name: [] for name in TAKEN} for fill in ("blurred", "mean colour")
    }
    for number in chosen:
        inputs = preprocessor.collate([preprocessor(str(paths[number]))])
        pixels = inputs["pixel_values"]
        with torch.inference_mode():
            before = network(**inputs).softmax(1)[0]
        target = before.argmax()
        marks = network.attribute(inputs, target[None])
        assert marks is not None, "its head gives no gradients"
        size = pixels.shape[2:]
        squares = torch.rand(1, 1, PLACES, PLACES, generator=random)
        orders = {
            "marked": marks[0],
            "random pixels": torch.rand(size, generator=random),
            "random squares": interpolate(squares, size, mode="nearest")[0, 0],
        }
        fills = {
            "blurred": gaussian_blur(pixels, [51, 51], [12.0, 12.0]),
            "mean colour": pixels.mean((2, 3), keepdim=True),
        }
        for fill, instead in fills.items():
            for name, order in orders.items():
                gone = order >= order.flatten().quantile(1 - SHARE)
                with torch.inference_mode():
                    after = network(pixel_values=torch.where(gone, instead, pixels)).softmax(1)[
                        0, target
                    ]
                falls[fill][name].append(float(before[target] - after))
    for fill, scores in falls.items():
        means = {name: round(float(np.mean(values)), 4) for name, values in scores.items()}
        oftener = float(np.mean(np.array(scores["marked"]) > np.array(scores["random squares"])))
        print(
            json.dumps(
                {
                    "images": len(chosen),
                    "fill": fill,
                    **means,
                    "marked costs more": round(oftener, 3),
                }
            )
        )


if __name__ == "__main__":
    main()
