"""Greys of more than 8 bits share one range in a data set."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from headstart.checks.likeness import PICTURE
from headstart.checks.pictures import like_images
from headstart.data.dataset import Examples
from headstart.data.grey import NODATA_TAG
from headstart.data.images import open_rgb
from headstart.data.pictures import digests, look
from headstart.evaluate.baselines import raw_pixels_forest
from tests.conftest import WriteRecipe
from tests.data.test_read import read

RAMP = np.tile(np.linspace(0, 1, 64, dtype=np.float32), (64, 1))


def mean(path: Path, low: float, high: float) -> float:
    return float(np.asarray(open_rgb(path, grey_range=(low, high))).mean())


def with_first(*values: float, base: np.ndarray = RAMP) -> np.ndarray:
    changed = base.copy()
    changed[0, : len(values)] = values
    return changed


@pytest.mark.parametrize(
    ("values", "low", "high"),
    [
        (RAMP, 0, 1),
        (with_first(np.inf), 0, 1),
        (with_first(-np.inf, np.inf), 0, 1),
        (with_first(np.nan, base=RAMP + 100), 100, 101),
        (with_first(*[-9999.0] * 20), 0, 1),
        (with_first(*[-3.4028235e38] * 20), 0, 1),
        (with_first(65535, base=(RAMP * 4095).astype(np.uint16)), 0, 4095),
        ((RAMP * 250).astype(np.uint16), 0, 250),
        (with_first(256, base=(RAMP * 250).astype(np.uint16)), 0, 250),
        ((RAMP * 70_000).astype(np.int32) - 30_000, -30_000, 40_000),
    ],
    ids=["plain", "inf", "both infs", "nan", "-9999", "lowest float", "hot pixel", "to 250", "one of 256", "int32"],
)
def test_odd_values_do_not_set_the_range(tmp_path: Path, values: np.ndarray, low: float, high: float) -> None:
    path = tmp_path / "a.tif"
    Image.fromarray(values).save(path)
    assert look(str(path)).grey_range == pytest.approx((low, high))
    assert mean(path, low, high) == pytest.approx(127.5, abs=1)


def test_a_tiff_says_which_value_is_none(tmp_path: Path) -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[NODATA_TAG] = "777"
    info.tagtype[NODATA_TAG] = 2
    Image.fromarray(with_first(*[777.0] * 20)).save(tmp_path / "a.tif", tiffinfo=info)
    assert look(str(tmp_path / "a.tif")).grey_range == (0, 1)
    assert open_rgb(tmp_path / "a.tif", grey_range=(0, 1)).getpixel((0, 0)) == (0, 0, 0)


def test_what_lies_outside_is_clipped_and_nothing_is_black(tmp_path: Path) -> None:
    Image.fromarray(np.array([[-np.inf, -1, 0, 1, 2, np.inf, np.nan]], np.float32)).save(tmp_path / "a.tif")
    shown = np.asarray(open_rgb(tmp_path / "a.tif", grey_range=(0, 1)))[0, :, 0]
    assert shown.tolist() == [0, 0, 0, 255, 255, 255, 0]


def save_set(folder: Path, suffix: str, values: Callable[[int, int], np.ndarray]) -> Path:
    """Two classes of twelve images."""
    for number, name in enumerate(("coarse", "fine")):
        (folder / name).mkdir(parents=True)
        for row in range(12):
            Image.fromarray(values(number, row)).save(folder / name / f"{row}{suffix}")
    return folder


def texture(times: int) -> Callable[[int, int], np.ndarray]:
    """12-bit values from about 400 to 630."""

    def draw(number: int, row: int) -> np.ndarray:
        random = np.random.default_rng((number, row))
        waves = np.sin(np.linspace(*random.uniform(0, 6) + np.array([0, (6, 40)[number]]), 48))
        values = 514 + 90 * waves[None] * waves[:, None] + random.normal(0, 8, (48, 48))
        return values.round().astype(np.uint16) * times

    return draw


def test_twelve_bits_are_as_good_as_the_same_times_sixteen(tmp_path: Path, write_recipe: WriteRecipe) -> None:
    found = []
    for times in (1, 16):
        for part in ("train", "test"):
            save_set(tmp_path / str(times) / part, ".png", texture(times))
        dataset = read(write_recipe(data={"source": str(tmp_path / str(times)), "validation": 0}))
        low, high = dataset.grey_range or (0, 0)
        assert 400 * times < low < 450 * times < 580 * times < high < 640 * times
        note = f"values {low:g} to {high:g} of the training images are shown as black to white"
        assert any(note in said and "model.preprocessing.grey_range" in said for said in dataset.notes)
        shown = np.asarray(open_rgb(dataset.train.items[0], grey_range=(low, high)))
        assert shown.std() > 30
        found.append((shown, raw_pixels_forest(dataset, 0)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_flat_floats_differ_and_are_not_the_same_pixels(tmp_path: Path, write_recipe: WriteRecipe) -> None:
    source = save_set(tmp_path / "flat", ".tif", lambda number, row: np.full((40, 40), (0.1, 0.9)[number], np.float32))
    dataset = read(write_recipe(data={"source": str(source)}))
    assert dataset.grey_range == pytest.approx((0.1, 0.9))
    dark, light = (mean(source / name / "0.tif", 0.1, 0.9) for name in ("coarse", "fine"))
    assert (round(dark), round(light)) == (0, 255)
    paths = [str(tmp_path / name) for name in ("once.tif", "twice.tif")]
    for path, times in zip(paths, (1, 2), strict=True):
        Image.fromarray(np.random.default_rng(0).random((40, 40), np.float32) * times).save(path)
    like = like_images(Examples(tuple(paths), np.zeros(2, np.int64), tuple(paths), tuple(digests(paths))))
    assert like.how.tolist() == [PICTURE]


def test_eight_bits_are_left_alone_and_a_mix_is_named(tmp_path: Path, write_recipe: WriteRecipe) -> None:
    source = save_set(tmp_path / "set", ".png", lambda number, row: (texture(1)(number, row) // 4).astype(np.uint8))
    dataset = read(write_recipe(data={"source": str(source)}))
    assert dataset.grey_range is None
    assert not any("8 bits" in note for note in dataset.notes)
    asked = write_recipe(data={"source": str(source)}, model={"preprocessing": {"grey_range": [0, 4095], "size": 32}})
    assert read(asked).grey_range == (0, 4095)
    assert any("0 to 4095 as black to white; no training image has any" in note for note in read(asked).notes)
    for row in range(4):
        Image.fromarray(texture(1)(0, row)).save(source / "fine" / f"deep{row}.png")
    mixed = read(write_recipe(data={"source": str(source)}))
    assert any("4 of 28 images are greys of more than 8 bits (such as fine/deep" in note for note in mixed.notes)


def test_images_of_which_nothing_is_shown_are_named(tmp_path: Path, write_recipe: WriteRecipe) -> None:
    source = save_set(tmp_path / "set", ".png", texture(16))
    for row in range(3):
        Image.fromarray(texture(1)(0, row) // 512).save(source / "fine" / f"{row}.png")
    path = write_recipe(data={"source": str(source)})
    assert any(
        re.search(r"3 of 24 greys .* next to nothing .* \(such as fine/\d\.png: 0 to 1\)", n) for n in read(path).notes
    )
    outside = read(path, "model.preprocessing.grey_range=[20000,30000]")
    assert any("24 of 24 greys of more than 8 bits span less" in note for note in outside.notes)
