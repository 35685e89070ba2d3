"""Greyscale images of more than 8 bits: the range of their values, and how it is shown in 8 bits.

They hold measurements (12 bits of a detector in 16, heights in metres, floats from 0 to 1). One
range for a data set keeps equal values equal; a range for each image would not.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import numpy as np
from PIL import Image

GreyRange = tuple[float, float]  # the values shown as black and as white
# share of pixels ignored at either end of an image's range, such as dead and hot pixels
TAIL = 0.001
NODATA_TAG = 42113  # TIFF tag in which GDAL states the value of pixels without data
NODATA = (-9999.0, -32768.0, -99999.0)  # usual values of pixels without data
HUGE = 1e30  # magnitude from which on a value is no data, such as the lowest float
BITS_TAG, PHOTOMETRIC_TAG, WHITE_IS_ZERO = 258, 262, 0  # TIFF
RAW_GREY_ALPHA = "LA;16B"  # how Pillow reads 16-bit grey and alpha: the upper 8 bits of each
ALPHA = "alpha"  # key of the transparency in the info of an image


class NoValueError(ValueError):
    """A high bit depth image without any value."""

    def __init__(self) -> None:
        super().__init__("no value in it: nothing but NaN, infinities or no-data values")


def is_high_bit_depth(mode: str) -> bool:
    """Whether images of a Pillow mode are greyscale of more than 8 bits."""
    return mode in ("I", "F") or mode.startswith("I;16")


def loads_high_bit_depth(file: Image.Image) -> bool:
    """Whether `load_pixels` makes a high bit depth image of an opened one."""
    return is_high_bit_depth(file.mode) or any(
        tile[3] == RAW_GREY_ALPHA for tile in getattr(file, "tile", [])
    )


def load_pixels(file: Image.Image) -> Image.Image:
    """Decode an opened image; a PNG of 16-bit grey and alpha keeps all bits, unlike in Pillow.

    Raises:
        OSError, ValueError, SyntaxError: the pixels are damaged.
    """
    if is_high_bit_depth(file.mode) or not loads_high_bit_depth(file):
        file.load()
        return file
    file.tile = [(*tile[:3], "RGBA") for tile in file.tile]  # type: ignore[attr-defined]
    # bytes of a pixel: two of grey, two of alpha
    high, low, alpha, _ = np.moveaxis(np.asarray(file), -1, 0)
    image = Image.fromarray(high.astype(np.uint16) << 8 | low)
    image.info = {**file.info, ALPHA: Image.fromarray(alpha)}
    return image


def value_range(image: Image.Image) -> GreyRange | None:
    """The range of a high bit depth image's values without a thousandth at either end, if any."""
    values = _valid_values(image)
    if not values.size:
        return None
    last = values.size - 1
    cut = int(TAIL * values.size)
    ordered = np.partition(values, (cut, last - cut))
    return _invert_range(image, float(ordered[cut]), float(ordered[last - cut]))


def combined_range(ranges: Iterable[GreyRange | None]) -> GreyRange | None:
    """The smallest range that contains all of these; None if there is none."""
    known = [values for values in ranges if values is not None]
    return (min(low for low, _ in known), max(high for _, high in known)) if known else None


def to_8bit(image: Image.Image, grey_range: GreyRange | None = None) -> Image.Image:
    """A high bit depth image in 8 bits, with its transparency, if any.

    `grey_range` becomes black to white, values outside are clipped, pixels without a value are
    black. Without a range: floats by the image's own range; integers up to 255 as they are, larger
    ones by the full range of 16 bits.

    Raises:
        NoValueError: it is of floats or 32 bits and holds no value.
    """
    low, high = grey_range or _default_range(image)
    array = np.asarray(image)
    is_16bit = array.dtype.itemsize == 2  # few enough values for a faster lookup table
    values = (np.arange(65536) if is_16bit else array).astype(np.float64)
    values[np.isin(values, _nodata_value(image))] = np.nan
    if not is_16bit and not _valid_values(image).size:
        raise NoValueError
    if (white := _inverted_from(image)) is not None:
        values = white - values
    scaled = np.nan_to_num((np.clip(values, low, high) - low) / max(high - low, 1e-12), nan=0.0)
    shown = (scaled * 255).round().astype(np.uint8)
    grey = Image.fromarray(shown[array] if is_16bit else shown)
    if alpha := image.info.get(ALPHA):
        grey.putalpha(alpha)
    return grey


def _valid_values(image: Image.Image) -> np.ndarray:
    """The values of a high bit depth image that are data, shape (n,)."""
    values = np.asarray(image).ravel()
    with np.errstate(over="ignore"):
        valid = np.abs(values) < HUGE  # False for NaN
        for nodata in (*NODATA, *_nodata_value(image)):
            valid &= values != nodata
    if alpha := image.info.get(ALPHA):
        valid &= np.asarray(alpha).ravel() > 0
    data: np.ndarray = values[valid]
    return data


def _inverted_from(image: Image.Image) -> float | None:
    """What values are subtracted from where the smallest one is white; None where it is black."""
    tags = getattr(image, "tag_v2", {})
    if tags.get(PHOTOMETRIC_TAG) != WHITE_IS_ZERO:
        return None
    return 0.0 if image.mode == "F" else float(2 ** tags[BITS_TAG][0] - 1)


def _invert_range(image: Image.Image, low: float, high: float) -> GreyRange:
    """A range of values in the file as that of values shown."""
    white = _inverted_from(image)
    return (low, high) if white is None else (white - high, white - low)


def _nodata_value(image: Image.Image) -> list[float]:
    """The value of pixels without data, if the file states one."""
    with suppress(ValueError):
        return [float(str(getattr(image, "tag_v2", {}).get(NODATA_TAG)).strip("\0 "))]
    return []


def _default_range(image: Image.Image) -> GreyRange:
    values = _valid_values(image)
    if not values.size:
        return 0.0, 1.0
    low, high = _invert_range(image, float(values.min()), float(values.max()))
    if image.mode != "F" and low >= 0 and high <= 65535:
        return 0.0, 255.0 if high <= 255 else 65535.0
    return low, high
