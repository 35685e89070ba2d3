"""`sample:NAME`: small real sets made of what installed packages carry, so that they need no
download."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from headstart.data.cache import cache_folder, make_once
from headstart.data.docstrings import package_folder, versions, write_docstrings
from headstart.errors import DataError
from headstart.registry import unknown

SIZE = 96  # pixels a side of a patch
TRAIN_PATCHES, TEST_PATCHES = 15, 40  # a photograph
PHOTOGRAPHS = {
    "skimage": (
        "brick", "camera", "cell", "chelsea", "coffee", "coins", "grass", "gravel",
        "hubble_deep_field", "ihc", "moon", "motorcycle_left", "page", "retina", "rocket",
    ),
    "sklearn": ("china", "flower"),
}  # fmt: skip


def sample(name: str) -> Path:
    """The folder of a sample, made on first use.

    Raises:
        HeadstartError: no sample has that name, or the package it is made of is not installed.
    """
    if name not in SAMPLES:
        raise DataError(f"data.source: {unknown('sample', name, sorted(SAMPLES))}")
    version, fill = SAMPLES[name]
    return make_once(cache_folder() / "samples" / f"{name}-{version()}", fill)


def _patches(folder: Path) -> None:
    """Random grey patches of 17 photographs: left halves for training, right halves as test."""
    random = np.random.default_rng(0)
    for package, names in PHOTOGRAPHS.items():
        for name in names:
            with Image.open(_photograph(package, name)) as image:
                grey = np.asarray(image.convert("L"))
            middle = grey.shape[1] // 2
            for part, half, count in (
                ("train", grey[:, :middle], TRAIN_PATCHES),
                ("test", grey[:, middle:], TEST_PATCHES),
            ):
                for number in range(count):
                    top = random.integers(0, half.shape[0] - SIZE + 1)
                    left = random.integers(0, half.shape[1] - SIZE + 1)
                    patch = half[top : top + SIZE, left : left + SIZE]
                    _save(patch, folder / part / name / f"{number:02}.png")


def _digits(folder: Path) -> None:
    """scikit-learn's 1,797 handwritten digits of 8 × 8 pixels (test 0.2, stratified)."""
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    digits = load_digits()
    rows = train_test_split(
        np.arange(len(digits.target)), test_size=0.2, random_state=0, stratify=digits.target
    )
    for part, indices in zip(("train", "test"), rows, strict=True):
        for row in indices:
            pixels = (digits.images[row] * (255 / 16)).round().astype(np.uint8)
            _save(pixels, folder / part / str(digits.target[row]) / f"{row:04}.png")


def _photograph(package: str, name: str) -> Path:
    folder = package_folder(package, "sample:patches is made of photographs that come with")
    folder /= "data" if package == "skimage" else "datasets/images"
    for path in sorted(folder.glob(f"{name}.*")):
        return path
    raise DataError(f"data.source: {folder} has no photograph {name!r}; reinstall {package}")


def _save(pixels: np.ndarray, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


# what each depends on beside this file, and how it is made
SAMPLES: dict[str, tuple[Callable[[], str], Callable[[Path], None]]] = {
    "patches": (lambda: "1", _patches),
    "digits": (lambda: "1", _digits),
    "docstrings": (versions, write_docstrings),
}
