"""A setting for the engine with tensors made on the spot."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.data.dataset import Examples
from headstart.models.network import Network
from headstart.models.vision import vision_network
from headstart.sections import Model, Preprocessing, Train
from headstart.train.draws import Shard, stack
from headstart.train.setting import Setting


def examples(count: int) -> Examples:
    names = tuple(map(str, range(count)))
    digests = tuple(f"{number:064x}" for number in range(count))
    return Examples(names, tuple(number % 3 for number in range(count)), names, digests)


def encode(item: str, seed: int | None = None) -> dict[str, torch.Tensor]:
    """An image whose brightness tells its class; with a seed, noisy."""
    random = np.random.default_rng(int(item) if seed is None else seed)
    pixels = random.normal(int(item) % 3 - 1, 1, (3, 32, 32)).astype(np.float32)
    return {"pixel_values": torch.from_numpy(pixels)}


@pytest.fixture
def make_setting(tmp_path: Path) -> Callable[..., Setting]:
    def make(train: int = 20, selection: int | None = 9, tell: Any = None, **options: Any) -> Setting:
        options = {"epochs": 2, "batch_size": 8, "lr": 1e-2, "workers": 0, "optimizer": "sgd", **options}
        read = Train.model_validate(options)
        return Setting(
            train=examples(train),
            selection=examples(selection) if selection else None,
            augmented=encode,
            plain=encode,
            collate=stack,
            fingerprint=lambda item: f"{int(item):064x}",
            options=read,
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
    return vision_network(Model(backbone=name, preprocessing=Preprocessing(size=32)), 3, pretrained=False)[0]
