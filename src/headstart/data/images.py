"""Image files: which ones there are, and how any of them becomes plain RGB."""

from __future__ import annotations

import hashlib
import warnings
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from PIL import ExifTags, Image, TiffTags, UnidentifiedImageError

from headstart.data.animation import first_visible
from headstart.data.formats import HeifError, first_bytes, open_image
from headstart.data.grey import GreyRange, NoValueError, is_deep, loaded, opens_deep, to_eight_bits
from headstart.data.png import open_by_pixel_chunks

WHITE = (255, 255, 255)
UPRIGHT = {  # by EXIF orientation
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
TIFF = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")  # its first bytes, and those of BigTIFF
Source = str | Path | BinaryIO | Image.Image
# Of large pictures (beyond twice its limit Pillow raises) and of odd metadata, which is not read
# here.
warnings.filterwarnings("ignore", module=r"PIL\.")


def open_rgb(
    source: Source, enough: int | None = None, grey_range: GreyRange | None = None
) -> Image.Image:
    """The picture in a file, or an opened one, as a viewer would show it, in RGB.

    Args:
        enough: pixels of the shorter side that will do. A picture of at least twice as many is read
            at a half, a quarter or an eighth, which of a JPEG decodes no more than that (12
            megapixels for 448: 160 → 23 ms).
        grey_range: of greys of more than 8 bits, the values that are shown as black and as white.

    Raises:
        OSError, ValueError, SyntaxError, Image.DecompressionBombError: the file holds no readable
        picture.
    """
    if isinstance(source, Image.Image):
        return to_rgb(source, grey_range)
    with open_image(source) as file:
        if enough is None:
            return to_rgb(file, grey_range)
        file.draft(None, (enough, enough))
        image = to_rgb(file, grey_range)
    factor = min(image.size) // enough
    return image.reduce(factor) if factor > 1 else image


def holds_deep(source: Source) -> bool:
    """Whether a file, or an opened picture, is of greys of more than 8 bits.

    Raises:
        OSError, ValueError, SyntaxError, Image.DecompressionBombError: the file holds no readable
        picture.
    """
    if isinstance(source, Image.Image):
        return opens_deep(source)
    with open_image(source) as file:
        return opens_deep(file)


def decoded(file: Image.Image) -> Image.Image:
    """An opened picture with its pixels; a PNG with damaged or very large side chunks as if it had
    none.

    Raises:
        OSError, ValueError, SyntaxError: the pixels are damaged.
    """
    if file.format == "TIFF":
        with suppress(Exception):
            for tag in TiffTags.TAGS_V2_GROUPS:  # or Pillow follows them, wherever they point
                file.getexif().pop(tag, None)
    try:
        return loaded(file)
    except Exception as error:
        stream = getattr(file, "fp", None)
        if stream is None:
            raise
        return loaded(open_by_pixel_chunks(stream, error))


def fault_of(error: Exception, path: str = "") -> str:
    """Why a picture cannot be read, in words."""
    if isinstance(error, HeifError | NoValueError):
        return str(error)
    if isinstance(error, UnidentifiedImageError):
        return f"no picture in a format that Pillow reads{_way_out(path)}"
    if isinstance(error, Image.DecompressionBombError):
        return f"over {2 * (Image.MAX_IMAGE_PIXELS or 0) / 1e6:.0f} megapixels; resize it first"
    said = (
        error.strerror
        if isinstance(error, OSError) and error.strerror
        else f"{type(error).__name__}: {error}"
    )
    return said.replace(path or "\0", "file").splitlines()[0][:120]


def _way_out(path: str) -> str:
    """What to do with a file of a format that Pillow knows, in a variant that it does not read."""
    with suppress(OSError, ValueError):
        if first_bytes(path).startswith(TIFF):
            return (
                ": a TIFF of another kind; convert it to 8 or 16 bits a channel, channels together"
            )
    return ""


def to_rgb(file: Image.Image, grey_range: GreyRange | None = None) -> Image.Image:
    """An opened picture as a viewer would show it, in RGB.

    Turned upright as EXIF says; palettes and CMYK converted; transparent parts on white; of an
    animation the first frame that shows something; greys of more than 8 bits by `grey_range`.
    """
    file = decoded(file)
    turn = _upright(file)
    image = first_visible(file)
    if is_deep(image.mode):
        image = to_eight_bits(image, grey_range)
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        colour = image.convert("RGBA")
        backdrop = Image.new("RGBA", colour.size, (*WHITE, 255))
        image = Image.alpha_composite(backdrop, colour)
    image = image.convert("RGB")
    return image if turn is None else image.transpose(turn)


def _upright(file: Image.Image) -> Image.Transpose | None:
    """How to turn a decoded picture; None where EXIF says nothing, or nothing legible."""
    try:
        return UPRIGHT.get(file.getexif().get(ExifTags.Base.Orientation, 1))
    except Exception:  # EXIF is damaged in as many ways as it is written
        return None


def fingerprint(path: str) -> str:
    """SHA-256 of a file."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
