"""Greys of more than 8 bits share one range in a data set."""

from __future__ import annotations

import re
import struct
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

from headstart.checks.duplicate_images import find_duplicate_images
from headstart.checks.duplicates import PICTURE
from headstart.data.dataset import Examples
from headstart.data.greyscale import NODATA_TAG
from headstart.data.images import open_rgb
from headstart.data.pictures import digests, look
from headstart.models.baselines import raw_pixels_forest
from tests.conftest import WriteRecipe
from tests.data.test_images import chunk
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
    ids=[
        "plain",
        "inf",
        "both infs",
        "nan",
        "-9999",
        "lowest float",
        "hot pixel",
        "to 250",
        "one of 256",
        "int32",
    ],
)
def test_odd_values_do_not_set_the_range(
    tmp_path: Path, values: np.ndarray, low: float, high: float
) -> None:
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
    Image.fromarray(np.array([[-np.inf, -1, 0, 1, 2, np.inf, np.nan]], np.float32)).save(
        tmp_path / "a.tif"
    )
    shown = np.asarray(open_rgb(tmp_path / "a.tif", grey_range=(0, 1)))[0, :, 0]
    assert shown.tolist() == [0, 0, 0, 255, 255, 255, 0]


def png(path: Path, kind: int, values: np.ndarray) -> None:
    """A PNG of 16 bits a channel; the kinds are 2 (colours), 4 (greys and transparency)."""
    height, width = values.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    head = struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0)
    chunks = [chunk(b"IHDR", head), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    path.write_bytes(b"\x89PNG\r\n\x1a\n" + b"".join(chunks))


@pytest.mark.parametrize("white", [255, 4095, 65535])
def test_greys_with_transparency_keep_all_their_bits(tmp_path: Path, white: int) -> None:
    path, grey = tmp_path / "a.png", (RAMP * white).astype(np.uint16)
    opaque = np.full_like(grey, 65535)
    opaque[0] = 0
    png(path, 4, np.dstack([np.where(opaque, grey, 65535), opaque]))
    assert look(str(path))[3:4] + (look(str(path)).grey_range or ()) == ("I;16", 0, white)
    shown = np.asarray(open_rgb(path, grey_range=(0, white)))[..., 0]
    assert (shown[0] == 255).all(), "transparent parts are white"
    assert np.abs(shown[1:] - RAMP[1:] * 255).max() <= 1


@pytest.mark.parametrize(
    ("values", "range_"),
    [
        ((RAMP * 65535).astype(np.uint16), (0, 65535)),
        ((RAMP * 40_000).astype(np.uint16), (25_535, 65_535)),
        (RAMP * 2, (-2, 0)),
    ],
    ids=["16 bits", "part of 16 bits", "floats"],
)
def test_a_tiff_whose_zero_is_white_is_no_negative(
    tmp_path: Path, values: np.ndarray, range_: tuple[float, float]
) -> None:
    Image.fromarray(values).save(tmp_path / "a.tif", tiffinfo={262: 0})
    found = look(str(tmp_path / "a.tif"))
    assert found.grey_range == pytest.approx(range_, abs=1)
    shown = np.asarray(open_rgb(tmp_path / "a.tif", grey_range=range_))[..., 0]
    assert np.abs(shown - (1 - RAMP) * 255.0).max() <= 1
    assert found.thumbnail[0] > found.thumbnail[31]


def test_a_picture_without_any_value_is_unreadable(tmp_path: Path) -> None:
    for name, value in (("nan", np.nan), ("none", -9999)):
        Image.fromarray(np.full((8, 8), value, np.float32)).save(tmp_path / f"{name}.tif")
        assert look(str(tmp_path / f"{name}.tif")).fault.startswith("no value in it")
        with pytest.raises(ValueError, match="no value in it"):
            open_rgb(tmp_path / f"{name}.tif", grey_range=(0, 1))


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


def test_twelve_bits_are_as_good_as_the_same_times_sixteen(
    tmp_path: Path, write_recipe: WriteRecipe
) -> None:
    found = []
    for times in (1, 16):
        for part in ("train", "test"):
            save_set(tmp_path / str(times) / part, ".png", texture(times))
        dataset = read(write_recipe(data={"source": str(tmp_path / str(times)), "validation": 0}))
        low, high = dataset.grey_range or (0, 0)
        assert 400 * times < low < 450 * times < 580 * times < high < 640 * times
        note = f"values {low:g} to {high:g} of the training images are shown as black to white"
        assert any(
            note in said and "model.preprocessing.grey_range" in said for said in dataset.notes
        )
        shown = np.asarray(open_rgb(dataset.train.items[0], grey_range=(low, high)))
        assert shown.std() > 30
        found.append((shown, raw_pixels_forest(dataset, 0)))
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])


def test_flat_floats_differ_and_are_not_the_same_pixels(
    tmp_path: Path, write_recipe: WriteRecipe
) -> None:
    source = save_set(
        tmp_path / "flat",
        ".tif",
        lambda number, row: np.full((40, 40), (0.1, 0.9)[number], np.float32),
    )
    dataset = read(write_recipe(data={"source": str(source)}))
    assert dataset.grey_range == pytest.approx((0.1, 0.9))
    dark, light = (mean(source / name / "0.tif", 0.1, 0.9) for name in ("coarse", "fine"))
    assert (round(dark), round(light)) == (0, 255)
    paths = [str(tmp_path / name) for name in ("once.tif", "twice.tif")]
    for path, times in zip(paths, (1, 2), strict=True):
        Image.fromarray(np.random.default_rng(0).random((40, 40), np.float32) * times).save(path)
    like = find_duplicate_images(
        Examples(tuple(paths), np.zeros(2, np.int64), tuple(paths), tuple(digests(paths)))
    )
    assert like.kinds.tolist() == [PICTURE]


def test_eight_bits_are_left_alone_and_a_mix_is_named(
    tmp_path: Path, write_recipe: WriteRecipe
) -> None:
    source = save_set(
        tmp_path / "set",
        ".png",
        lambda number, row: (texture(1)(number, row) // 4).astype(np.uint8),
    )
    dataset = read(write_recipe(data={"source": str(source)}))
    assert dataset.grey_range is None
    assert not any("8 bits" in note for note in dataset.notes)
    asked = write_recipe(
        data={"source": str(source)}, model={"preprocessing": {"grey_range": [0, 4095], "size": 32}}
    )
    assert read(asked).grey_range == (0, 4095)
    assert any(
        "0 to 4095 as black to white; no training image has any" in note
        for note in read(asked).notes
    )
    for row in range(4):
        Image.fromarray(texture(1)(0, row)).save(source / "fine" / f"deep{row}.png")
    mixed = read(write_recipe(data={"source": str(source)}))
    assert any(
        "4 of 28 images are greys of more than 8 bits (such as fine/deep" in note
        for note in mixed.notes
    )


@pytest.mark.parametrize(("white", "told"), [(4095, True), (65535, False)])
def test_colours_of_12_bits_in_16_are_named(
    tmp_path: Path, write_recipe: WriteRecipe, white: int, told: bool
) -> None:
    for name in ("a", "b"):
        (tmp_path / "set" / name).mkdir(parents=True)
        for row in range(8):
            values = np.random.default_rng((row, ord(name))).integers(
                0, white, (20, 20, 3), endpoint=True
            )
            png(tmp_path / "set" / name / f"{row}.png", 2, values)
    notes = read(write_recipe(data={"source": str(tmp_path / "set")})).notes
    assert (
        any("their brightest value is 15 of 255. Are they 12 bits" in note for note in notes)
        == told
    )


def test_a_deep_test_of_a_shallow_training_part_is_named(
    tmp_path: Path, write_recipe: WriteRecipe
) -> None:
    save_set(
        tmp_path / "set" / "train",
        ".png",
        lambda number, row: (texture(1)(number, row) // 4).astype(np.uint8),
    )
    save_set(tmp_path / "set" / "test", ".png", texture(1))
    dataset = read(write_recipe(data={"source": str(tmp_path / "set")}))
    assert dataset.grey_range is None
    (note,) = dataset.notes_of["test"]
    assert re.search(
        r"24 of 48 .* Whole numbers are shown from 0 to 65535 .* "
        r"write model\.preprocessing\.grey_range = \[\d+, 6\d\d\]",
        note,
    )


def test_images_of_which_nothing_is_shown_are_named(
    tmp_path: Path, write_recipe: WriteRecipe
) -> None:
    source = save_set(tmp_path / "set", ".png", texture(16))
    for row in range(3):
        Image.fromarray(texture(1)(0, row) // 512).save(source / "fine" / f"{row}.png")
    path = write_recipe(data={"source": str(source)})
    assert any(
        re.search(r"3 of 24 greys .* next to nothing .* \(such as fine/\d\.png: 0 to 1\)", n)
        for n in read(path).notes
    )
    outside = read(path, "model.preprocessing.grey_range=[20000,30000]")
    assert any("24 of 24 greys of more than 8 bits span less" in note for note in outside.notes)
