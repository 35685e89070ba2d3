"""From image files to what a vision network reads, and what is varied at random in a training image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from PIL import Image
from timm.data import create_transform
from timm.data.transforms import CenterCropOrPad
from torch import Tensor
from torchvision.transforms import CenterCrop, InterpolationMode, functional, v2

from headstart.data.images import Source, fingerprint, open_rgb
from headstart.models.encoder import stack


class ImageEncoder:
    """From the path of an image to what a vision network reads: {"pixel_values": float tensor (3, height, width)}.

    Without a seed the image is prepared as the backbone expects; with one it is augmented by `policy`, the same way
    whenever the seed is the same.
    """

    def __init__(self, preprocessing: dict[str, Any], policy: str = "none") -> None:
        self._scale = preprocessing["mean"], preprocessing["std"]
        self._plain = _as_trained(preprocessing)
        self._augmented = POLICIES[policy](preprocessing)

    def __call__(self, item: Source, seed: int | None = None) -> dict[str, Tensor]:
        image = open_rgb(item)
        if seed is None:
            return {"pixel_values": self._plain(image)}
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            return {"pixel_values": self._augmented(image)}

    def views(self, item: Source) -> list[dict[str, Tensor]]:
        """Ten looks at an image: its middle and its four corners as large as the network's input, each also mirrored
        (Krizhevsky et al. 2012); the middle alone and mirrored where preprocessing leaves nothing over."""
        steps = list(self._plain.transforms)
        number = next(place for place, step in enumerate(steps) if isinstance(step, CenterCrop | CenterCropOrPad))
        resized = v2.Compose(steps[:number])(open_rgb(item)) if number else open_rgb(item)
        height, width = _pair(steps[number].size)
        if resized.size[0] >= width and resized.size[1] >= height:
            crops = list(functional.five_crop(resized, [height, width]))
        else:
            crops = [steps[number](resized)]
        rest = v2.Compose(steps[number + 1 :])
        return [{"pixel_values": rest(look)} for crop in crops for look in (crop, functional.hflip(crop))]

    def show(self, item: str, seed: int | None = None) -> Image.Image:
        pixels = self(item, seed)["pixel_values"]
        mean, std = (torch.tensor(values).reshape(-1, 1, 1) for values in self._scale)
        shown = ((pixels * std + mean).clamp(0, 1) * 255).round().byte()
        return Image.fromarray(shown.permute(1, 2, 0).numpy())

    def mix(
        self, one: dict[str, Tensor], other: dict[str, Tensor], how: str, share: float, seed: int
    ) -> tuple[dict[str, Tensor], float]:
        """MixUp (Zhang et al. 2018) adds pixels in their shares; CutMix (Yun et al. 2019) puts a patch of the other image,
        of the shape of the whole and wholly or partly inside it, into the one."""
        ours, theirs = one["pixel_values"], other["pixel_values"]
        if how == "mixup":
            return {"pixel_values": torch.lerp(theirs, ours, share)}, share
        height, width = ours.shape[1:]
        random = np.random.default_rng(seed)
        side = (1 - share) ** 0.5
        middle_y, middle_x = random.uniform(0, height), random.uniform(0, width)
        top, bottom = _inside(middle_y, side * height, height)
        left, right = _inside(middle_x, side * width, width)
        mixed = ours.clone()
        mixed[:, top:bottom, left:right] = theirs[:, top:bottom, left:right]
        return {"pixel_values": mixed}, 1 - (bottom - top) * (right - left) / (height * width)

    def collate(self, samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return stack(samples)

    def sizes(self, items: Sequence[str]) -> None:
        return None

    def fingerprint(self, item: str) -> str:
        return fingerprint(item)


def _inside(middle: float, length: float, whole: int) -> tuple[int, int]:
    return max(round(middle - length / 2), 0), min(round(middle + length / 2), whole)


def _pair(size: Any) -> tuple[int, int]:
    height, width = size if isinstance(size, tuple | list) else (size, size)
    return int(height), int(width)


def _as_trained(preprocessing: dict[str, Any]) -> Any:
    return create_transform(**{**preprocessing, "input_size": tuple(preprocessing["input_size"])}, is_training=False)


def _varied(*steps: Callable[[Any], Any], erase: float = 0.0) -> Callable[[dict[str, Any]], Callable[[Any], Tensor]]:
    """A random resized crop, and then these steps; a rectangle of some examples is erased in the end."""

    def build(preprocessing: dict[str, Any]) -> Callable[[Any], Tensor]:
        interpolation = InterpolationMode(preprocessing["interpolation"])
        return v2.Compose(
            [
                v2.RandomResizedCrop(preprocessing["input_size"][1:], interpolation=interpolation),
                *steps,
                v2.PILToTensor(),
                v2.ToDtype(torch.float32, scale=True),
                v2.Normalize(preprocessing["mean"], preprocessing["std"]),
                *([v2.RandomErasing(erase)] if erase else []),
            ]
        )

    return build


FLIP = v2.RandomHorizontalFlip()
POLICIES: dict[str, Callable[[dict[str, Any]], Callable[[Any], Tensor]]] = {
    "none": _as_trained,
    "crop": _varied(),
    "crop_flip": _varied(FLIP),
    "classic": _varied(FLIP, v2.RandomRotation(15), v2.ColorJitter(0.2, 0.2, 0.2, 0.05), erase=0.25),
    "rand_augment": _varied(FLIP, v2.RandAugment()),  # Cubuk et al. 2020
    "trivial_augment": _varied(FLIP, v2.TrivialAugmentWide()),  # Müller & Hutter 2021
}
