"""A setting for the engine with tensors made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.data.dataset import Examples
from headstart.models.network import Network
from headstart.models.preprocessor import stack
from headstart.models.vision import vision_network
from headstart.recipe import Augment, Model, Preprocessing, Train, Transfer
from headstart.train.context import TrainContext
from headstart.train.sampling import Shard


def examples(count: int) -> Examples:
    names = tuple(map(str, range(count)))
    return Examples(names, np.arange(count) % 3, names, digests(range(count)))


def digests(numbers: Iterable[int]) -> tuple[bytes, ...]:
    """What plays the SHA-256 of examples with these numbers."""
    return tuple(number.to_bytes(32) for number in numbers)


class Pixels:
    """Makes of a number an image whose brightness tells its class; with a seed, noisy."""

    def __call__(self, item: str, seed: int | None = None) -> dict[str, torch.Tensor]:
        random = np.random.default_rng(int(item) if seed is None else seed)
        pixels = random.normal(int(item) % 3 - 1, 1, (3, 32, 32)).astype(np.float32)
        return {"pixel_values": torch.from_numpy(pixels)}

    def show(self, item: str, seed: int | None = None) -> str:
        return item

    def collate(self, samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return stack(samples)

    def sizes(self, items: Sequence[str]) -> np.ndarray | None:
        return None

    def fingerprint(self, item: str) -> str:
        return f"{int(item):064x}"


encode = Pixels()


@pytest.fixture
def make_context(tmp_path: Path) -> Callable[..., TrainContext]:
    def make(
        train: int = 20, selection: int | None = 9, tell: Any = None, **options: Any
    ) -> TrainContext:
        options = {
            "epochs": 2,
            "batch_size": 8,
            "lr": 1e-2,
            "workers": 0,
            "optimizer": "sgd",
            **options,
        }
        read = Train.model_validate(options)
        return TrainContext(
            train=examples(train),
            selection=examples(selection) if selection else None,
            augmented=encode,
            plain=encode,
            options=read,
            transfer=Transfer(),
            augment=Augment(),
            varied=True,
            class_weights=None,
            batch_size=int(read.batch_size),
            accumulation=1 if read.accumulation == "auto" else read.accumulation,
            seed=3,
            device=torch.device("cpu"),
            precision="fp32",
            shard=Shard(),
            folder=tmp_path,
            tell=tell or (lambda event: None),
        )

    return make


def small_network(name: str = "test_resnet", seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return vision_network(
        Model(backbone=name, preprocessing=Preprocessing(size=32)), 3, pretrained=False
    )[0]
