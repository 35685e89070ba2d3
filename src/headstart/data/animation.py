"""Animated pictures: which frame stands for the whole."""

from __future__ import annotations

from contextlib import suppress

from PIL import Image

FORMATS = ("GIF", "WEBP", "PNG", "AVIF")
VISIBLE = 0.01  # share of a frame's opaque pixels from which on there is something to see
FRAMES, PIXELS = 8, 20_000_000  # that are looked at at most, but a second frame always


def first_visible(file: Image.Image) -> Image.Image:
    """The frame of a decoded file that stands for it: the first in which at least a hundredth of
    the pixels is opaque.

    That is the frame at hand for any still picture, and where none of the first frames shows more.
    """
    with suppress(Exception):  # a later frame is damaged, or there is none
        if (
            file.format in FORMATS
            and getattr(file, "is_animated", False)
            and _opaque(file) < VISIBLE
        ):
            return _later(file)
    return file


def _later(file: Image.Image) -> Image.Image:
    """The first frame after this one with something to see, or this one."""
    here, still = file.tell(), file.copy()
    most = min(FRAMES, max(PIXELS // (file.width * file.height), 2))
    with suppress(Exception):
        for frame in range(here + 1, here + most):
            file.seek(frame)
            if _opaque(file) >= VISIBLE:
                return file
    file.seek(here)
    return still


def _opaque(image: Image.Image) -> float:
    """The share of pixels that are not transparent."""
    if not image.has_transparency_data:
        return 1.0
    counts = image.convert("RGBA").getchannel("A").histogram()
    return sum(counts[128:]) / sum(counts)
