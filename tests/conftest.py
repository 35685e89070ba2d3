"""Small generated images and recipes; no network, no data from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from PIL import Image

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""

COLOURS = {"blue": (40, 60, 200), "green": (50, 190, 60), "red": (200, 50, 50)}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def draw_images(folder: Path, count: int, seed: int = 0, size: int = 40) -> None:
    """Noisy images of one colour a class: easy, but not trivial."""
    random = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            noise = random.normal(colour, 60, (size, size, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noise).save(folder / name / f"{number:02}.png")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder train/CLASS/…, test/CLASS/… of three classes: 10 and 6 images each."""
    folder = tmp_path_factory.mktemp("photos")
    draw_images(folder / "train", 10, seed=1)
    draw_images(folder / "test", 6, seed=2)
    return folder


def without_none(table: dict[str, Any]) -> dict[str, Any]:
    """TOML has no None: what a test sets to None is left out."""
    return {k: without_none(v) if isinstance(v, dict) else v for k, v in table.items() if v is not None}


WriteRecipe = Callable[..., Path]


@pytest.fixture
def write_recipe(tmp_path: Path, photos: Path) -> WriteRecipe:
    """Writes a small recipe file (test_resnet from random weights at 32 pixels), with sections changed at will."""

    def write(**changes: object) -> Path:
        recipe: dict[str, object] = {
            "task": "image_classification",
            "output": str(tmp_path / "run"),
            "data": {"source": str(photos), "validation": 0.2},
            "model": {"backbone": "test_resnet", "preprocessing": {"size": 32}},
            "transfer": {"strategy": "scratch"},
            "train": {"epochs": 2, "batch_size": 8, "lr": 1e-3, "workers": 0, "precision": "fp32"},
            "evaluate": {"bootstrap": 100},
        }
        for key, value in changes.items():
            before = recipe.get(key)
            recipe[key] = {**before, **value} if isinstance(before, dict) and isinstance(value, dict) else value
        path = tmp_path / "recipe.toml"
        path.write_text(tomli_w.dumps(without_none(recipe)))
        return path

    return write


@pytest.fixture
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .safetensors file that plays the pretrained weights of test_resnet."""
    import timm
    import torch
    from safetensors.torch import save_file

    path = tmp_path_factory.getbasetemp() / "test_resnet.safetensors"
    if not path.exists():
        torch.manual_seed(7)
        save_file(timm.create_model("test_resnet", num_classes=5).state_dict(), path)
    return path
