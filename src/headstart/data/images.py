"""Image files: which ones there are, and how any of them becomes plain RGB."""

from __future__ import annotations

import hashlib
import warnings
from pathlib import Path
from typing import BinaryIO

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from headstart.data.formats import HeifError, open_image

WHITE = (255, 255, 255)
Source = str | Path | BinaryIO | Image.Image
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # beyond twice its limit Pillow raises


def open_rgb(source: Source, enough: int | None = None) -> Image.Image:
    """The picture in a file, or an opened one, as a viewer would show it, in RGB.

    Args:
        enough: pixels of the shorter side that will do. A picture of at least twice as many is read at a half, a quarter or an
            eighth, which of a JPEG decodes no more than that (12 megapixels for 448: 160 → 23 ms).

    Raises:
        OSError, ValueError, SyntaxError, Image.DecompressionBombError: the file holds no readable picture.
    """
    if isinstance(source, Image.Image):
        return to_rgb(source)
    with open_image(source) as file:
        if enough is None:
            return to_rgb(file)
        file.draft(None, (enough, enough))
        image = to_rgb(file)
    factor = min(image.size) // enough
    return image.reduce(factor) if factor > 1 else image


def fault_of(error: Exception, path: str = "") -> str:
    """Why a picture cannot be read, in words."""
    if isinstance(error, HeifError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return "no picture in a format that Pillow reads"
    said = error.strerror if isinstance(error, OSError) and error.strerror else f"{type(error).__name__}: {error}"
    return said.replace(path or "\0", "file").splitlines()[0][:120]


def to_rgb(file: Image.Image) -> Image.Image:
    """An opened picture as a viewer would show it, in RGB.

    Turned upright as EXIF says; palettes and CMYK converted; transparent parts on white; 16-bit and float greys scaled to
    their own range.
    """
    image = ImageOps.exif_transpose(file)
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        image = _eight_bits(image)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        colour = image.convert("RGBA")
        backdrop = Image.new("RGBA", colour.size, (*WHITE, 255))
        image = Image.alpha_composite(backdrop, colour)
    return image.convert("RGB")


def _eight_bits(image: Image.Image) -> Image.Image:
    """A 16-bit, 32-bit or float grey as 8 bits: 16 bits by their full range, anything else by the values in it."""
    values = np.nan_to_num(np.asarray(image, dtype=np.float64))
    low, high = values.min(), values.max()
    if image.mode != "F" and low >= 0 and high <= 65535:
        low, high = 0.0, 255.0 if high <= 255 else 65535.0
    return Image.fromarray(((values - low) / max(high - low, 1e-12) * 255).round().astype(np.uint8))


def fingerprint(path: str) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
