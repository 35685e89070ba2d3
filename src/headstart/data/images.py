"""Image files: which ones there are, and how any of them becomes plain RGB."""

from __future__ import annotations

import hashlib
import io
import os
import warnings
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

WHITE = (255, 255, 255)
warnings.filterwarnings("ignore", category=Image.DecompressionBombWarning)  # beyond twice its limit Pillow raises


def is_image_name(path: Path) -> bool:
    """Whether the file name says image (by an ending that Pillow knows)."""
    return path.suffix.lower() in Image.registered_extensions()


def open_rgb(path: str | Path) -> Image.Image:
    """The picture as a viewer would show it, in RGB.

    Turned upright as EXIF says; palettes and CMYK converted; transparent parts on white; 16-bit and float greys scaled to
    their own range.

    Raises:
        OSError, ValueError, SyntaxError, Image.DecompressionBombError: the file holds no readable picture.
    """
    with Image.open(path) as file:
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


def digest_or_fault(path: str) -> tuple[str, str]:
    """SHA-256 of a file and what is wrong with the picture in it ("" if nothing): one of the two is empty.

    The file is read once and decoded to its last line; JPEGs at reduced size, which finds a truncated one as surely.
    """
    try:
        content = Path(path).read_bytes()
        with Image.open(io.BytesIO(content)) as image:
            image.draft("RGB", (32, 32))
            image.load()
    except UnidentifiedImageError:
        return "", "no picture in a format that Pillow reads"
    except Exception as fault:  # Pillow's decoders raise about ten different types on broken files
        return "", f"{type(fault).__name__}: {fault}".replace(f"{path}", "file").splitlines()[0][:120]
    return hashlib.sha256(content).hexdigest(), ""


def fingerprint(path: str) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def digests_or_faults(paths: list[str]) -> list[tuple[str, str]]:
    """`digest_or_fault` of many files, in threads (Pillow and hashlib let go of the interpreter)."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(digest_or_fault, paths))
