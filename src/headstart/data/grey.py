"""Greys of more than 8 bits: which values an image holds, and how a range of them is shown in 8 bits.

Such files hold measurements rather than brightness: 12 bits of a detector in 16, heights in metres, floats from 0 to 1. One
range for a whole data set keeps what is equal equal; each image by its own range would not.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import numpy as np
from PIL import Image

GreyRange = tuple[float, float]  # the values that are shown as black and as white
TAIL = 0.001  # share of an image's pixels that are left out at either end of its range, such as dead and hot ones
NODATA_TAG = 42113  # of a TIFF, where GDAL states the value of pixels without data
NODATA = (-9999.0, -32768.0, -99999.0)  # what stands for it where nothing is stated
HUGE = 1e30  # or anything this large, such as the lowest float


def is_deep(mode: str) -> bool:
    """Whether images of a Pillow mode are greys of more than 8 bits."""
    return mode in ("I", "F") or mode.startswith("I;16")


def measured_range(image: Image.Image) -> GreyRange | None:
    """The range of a deep image's values, less a thousandth of its pixels at either end; None if it holds no value."""
    values = _measured(image)
    if not values.size:
        return None
    last = values.size - 1
    cut = int(TAIL * values.size)
    ordered = np.partition(values, (cut, last - cut))
    return float(ordered[cut]), float(ordered[last - cut])


def common_range(ranges: Iterable[GreyRange | None]) -> GreyRange | None:
    """The range that holds all of these; None if there is none."""
    known = [values for values in ranges if values is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def to_eight_bits(image: Image.Image, grey_range: GreyRange | None = None) -> Image.Image:
    """A deep image as 8 bits: `grey_range` from black to white, what lies outside clipped, no value as black.

    Without a range, as models read it that were trained before there was one: floats by the image's own range, whole numbers
    as they are up to 255, else by the full range of 16 bits.
    """
    low, high = grey_range or _own_range(image)
    array = np.asarray(image)
    of_16_bits = array.dtype.itemsize == 2  # so few values that a table of them is faster
    values = (np.arange(65536) if of_16_bits else array).astype(np.float64)
    values[np.isin(values, _stated_nodata(image))] = np.nan
    shares = np.nan_to_num((np.clip(values, low, high) - low) / max(high - low, 1e-12), nan=0.0)
    shown = (shares * 255).round().astype(np.uint8)
    return Image.fromarray(shown[array] if of_16_bits else shown)


def _measured(image: Image.Image) -> np.ndarray:
    """The values of a deep image, shape (n,), without what stands for none."""
    values = np.asarray(image).ravel()
    with np.errstate(over="ignore"):
        kept = np.abs(values) < HUGE  # which NaN is not
        for none in (*NODATA, *_stated_nodata(image)):
            kept &= values != none
    return values[kept]


def _stated_nodata(image: Image.Image) -> list[float]:
    """The value that stands for none, if the file states one."""
    with suppress(ValueError):
        return [float(str(getattr(image, "tag_v2", {}).get(NODATA_TAG)).strip("\0 "))]
    return []


def _own_range(image: Image.Image) -> GreyRange:
    measured = _measured(image)
    if not measured.size:
        return 0.0, 1.0
    low, high = float(measured.min()), float(measured.max())
    if image.mode != "F" and low >= 0 and high <= 65535:
        return 0.0, 255.0 if high <= 255 else 65535.0
    return low, high
