"""From image files to what a vision network reads, and what is varied at random in a training image."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from timm.data import create_transform
from torch import Tensor
from torchvision.transforms import InterpolationMode, v2

from headstart.data.images import fingerprint, open_rgb
from headstart.models.encoder import stack


class ImageEncoder:
    """From the path of an image to what a vision network reads: {"pixel_values": float tensor (3, height, width)}.

    Without a seed the image is prepared as the backbone expects; with one it is augmented by `policy`, the same way
    whenever the seed is the same.
    """

    def __init__(self, preprocessing: dict[str, Any], policy: str = "none") -> None:
        self._plain = _as_trained(preprocessing)
        self._augmented = POLICIES[policy](preprocessing)

    def __call__(self, item: str, seed: int | None = None) -> dict[str, Tensor]:
        image = open_rgb(item)
        if seed is None:
            return {"pixel_values": self._plain(image)}
        with torch.random.fork_rng(devices=[]):
            torch.random.default_generator.manual_seed(seed)
            return {"pixel_values": self._augmented(image)}

    def collate(self, samples: list[dict[str, Tensor]]) -> dict[str, Tensor]:
        return stack(samples)

    def sizes(self, items: Sequence[str]) -> None:
        return None

    def fingerprint(self, item: str) -> str:
        return fingerprint(item)


def _as_trained(preprocessing: dict[str, Any]) -> Callable[[Any], Tensor]:
    return create_transform(**{**preprocessing, "input_size": tuple(preprocessing["input_size"])}, is_training=False)


def _random_crop(preprocessing: dict[str, Any], *more: Callable[[Any], Any]) -> Callable[[Any], Tensor]:
    return v2.Compose(
        [
            v2.RandomResizedCrop(
                preprocessing["input_size"][1:], interpolation=InterpolationMode(preprocessing["interpolation"])
            ),
            *more,
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(preprocessing["mean"], preprocessing["std"]),
        ]
    )


def _random_crop_and_flip(preprocessing: dict[str, Any]) -> Callable[[Any], Tensor]:
    return _random_crop(preprocessing, v2.RandomHorizontalFlip())


POLICIES: dict[str, Callable[[dict[str, Any]], Callable[[Any], Tensor]]] = {
    "none": _as_trained,
    "crop": _random_crop,
    "crop_flip": _random_crop_and_flip,
}
