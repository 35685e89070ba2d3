"""Greys of more than 8 bits: which values an image holds, and how a range of them is shown in 8
bits.

Such files hold measurements rather than brightness: 12 bits of a detector in 16, heights in metres,
floats from 0 to 1. One range for a whole data set keeps what is equal equal; each image by its own
range would not.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import numpy as np
from PIL import Image

GreyRange = tuple[float, float]  # the values that are shown as black and as white
# share of an image's pixels that are left out at either end of its range, such as dead and hot ones
TAIL = 0.001
NODATA_TAG = 42113  # of a TIFF, where GDAL states the value of pixels without data
NODATA = (-9999.0, -32768.0, -99999.0)  # what stands for it where nothing is stated
HUGE = 1e30  # or anything this large, such as the lowest float
BITS_TAG, PHOTOMETRIC_TAG, WHITE_IS_ZERO = 258, 262, 0  # of a TIFF
# how Pillow reads a PNG of greys and transparency: the upper 8 bits of each 16
RAW_GREY_ALPHA = "LA;16B"
ALPHA = "alpha"  # in the info of a deep image: its transparency


class NoValueError(ValueError):
    """A deep image without any value."""

    def __init__(self) -> None:
        super().__init__("no value in it: nothing but NaN, infinities or what stands for no data")


def is_deep(mode: str) -> bool:
    """Whether images of a Pillow mode are greys of more than 8 bits."""
    return mode in ("I", "F") or mode.startswith("I;16")


def opens_deep(file: Image.Image) -> bool:
    """Whether an opened image is `loaded` as a deep one."""
    return is_deep(file.mode) or any(
        tile[3] == RAW_GREY_ALPHA for tile in getattr(file, "tile", [])
    )


def loaded(file: Image.Image) -> Image.Image:
    """An opened image with its pixels; a PNG of 16-bit greys with transparency as a deep image,
    which Pillow would cut to 8.

    Raises:
        OSError, ValueError, SyntaxError: the pixels are damaged.
    """
    if is_deep(file.mode) or not opens_deep(file):
        file.load()
        return file
    file.tile = [(*tile[:3], "RGBA") for tile in file.tile]  # type: ignore[attr-defined]
    # bytes: two of the grey, two of the transparency
    high, low, alpha, _ = np.moveaxis(np.asarray(file), -1, 0)
    image = Image.fromarray(high.astype(np.uint16) << 8 | low)
    image.info = {**file.info, ALPHA: Image.fromarray(alpha)}
    return image


def measured_range(image: Image.Image) -> GreyRange | None:
    """The range of a deep image's values, less a thousandth of its pixels at either end; None if it
    holds no value."""
    values = _measured(image)
    if not values.size:
        return None
    last = values.size - 1
    cut = int(TAIL * values.size)
    ordered = np.partition(values, (cut, last - cut))
    return _range_shown(image, float(ordered[cut]), float(ordered[last - cut]))


def common_range(ranges: Iterable[GreyRange | None]) -> GreyRange | None:
    """The range that holds all of these; None if there is none."""
    known = [values for values in ranges if values is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def to_eight_bits(image: Image.Image, grey_range: GreyRange | None = None) -> Image.Image:
    """A deep image as 8 bits: `grey_range` from black to white, what lies outside clipped, no value
    as black.

    Without a range, as models read it that were trained before there was one: floats by the image's
    own range, whole numbers as they are up to 255, else by the full range of 16 bits. The result
    has the transparency of the image, if there is any.

    Raises:
        NoValueError: it is of floats or 32 bits and holds no value.
    """
    low, high = grey_range or _own_range(image)
    array = np.asarray(image)
    of_16_bits = array.dtype.itemsize == 2  # so few values that a table of them is faster
    values = (np.arange(65536) if of_16_bits else array).astype(np.float64)
    values[np.isin(values, _stated_nodata(image))] = np.nan
    if not of_16_bits and not _measured(image).size:
        raise NoValueError
    if (top := _white_level(image)) is not None:
        values = top - values
    shares = np.nan_to_num((np.clip(values, low, high) - low) / max(high - low, 1e-12), nan=0.0)
    shown = (shares * 255).round().astype(np.uint8)
    grey = Image.fromarray(shown[array] if of_16_bits else shown)
    if alpha := image.info.get(ALPHA):
        grey.putalpha(alpha)
    return grey


def _measured(image: Image.Image) -> np.ndarray:
    """The values of a deep image, shape (n,), without what stands for none."""
    values = np.asarray(image).ravel()
    with np.errstate(over="ignore"):
        kept = np.abs(values) < HUGE  # which NaN is not
        for none in (*NODATA, *_stated_nodata(image)):
            kept &= values != none
    if alpha := image.info.get(ALPHA):
        kept &= np.asarray(alpha).ravel() > 0
    return values[kept]


def _white_level(image: Image.Image) -> float | None:
    """What the values of an image are taken from because its smallest one is white; None where the
    smallest is black."""
    tags = getattr(image, "tag_v2", {})
    if tags.get(PHOTOMETRIC_TAG) != WHITE_IS_ZERO:
        return None
    return 0.0 if image.mode == "F" else float(2 ** tags[BITS_TAG][0] - 1)


def _range_shown(image: Image.Image, low: float, high: float) -> GreyRange:
    """The range of the values that are shown, from that of the values in the file."""
    top = _white_level(image)
    return (low, high) if top is None else (top - high, top - low)


def _stated_nodata(image: Image.Image) -> list[float]:
    """The value that stands for none, if the file states one."""
    with suppress(ValueError):
        return [float(str(getattr(image, "tag_v2", {}).get(NODATA_TAG)).strip("\0 "))]
    return []


def _own_range(image: Image.Image) -> GreyRange:
    measured = _measured(image)
    if not measured.size:
        return 0.0, 1.0
    low, high = _range_shown(image, float(measured.min()), float(measured.max()))
    if image.mode != "F" and low >= 0 and high <= 65535:
        return 0.0, 255.0 if high <= 255 else 65535.0
    return low, high
