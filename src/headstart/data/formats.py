"""Which files are images, and how one is opened; HEIC is read where pillow-heif is installed."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

from PIL import Image, UnidentifiedImageError

from headstart.data.png import open_by_pixel_chunks

HEIF_ENDINGS = {".heic", ".heics", ".heif", ".heifs", ".hif"}
# ISO/IEC 23008-12, annex B
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
# told by the first bytes of a file
COMMON = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000")
RARE = ("EPS", "ICNS", "ICO", "PPM", "PSD")  # so are these
FIRST_BYTES = 16
NO_HEIF = "a HEIC picture, which needs one more package: pip install pillow-heif"


class HeifError(UnidentifiedImageError):
    """A HEIC picture, and no package that reads it."""

    def __init__(self) -> None:
        super().__init__(NO_HEIF)


def is_image_name(path: Path) -> bool:
    """Whether the file name says image: by an ending that Pillow knows, or one of HEIC."""
    ending = path.suffix.lower()
    return ending in HEIF_ENDINGS or ending in Image.registered_extensions()


def is_image(path: Path) -> bool:
    """Whether a file is to be read as an image: by its ending, or without one by its first bytes.

    What cannot be opened counts as an image, so that reading it gives the reason.
    """
    return is_image_name(path) or (may_be_image(path) and _begins_as_image(path))


def may_be_image(path: Path) -> bool:
    """Whether the file name says image or nothing; digits behind a dot (`scan.001`, `2024-03-05
    12.30`) are no ending."""
    return is_image_name(path) or not any(sign.isalpha() for sign in path.suffix)


def open_image(source: Any, formats: list[str] | None = None) -> Image.Image:
    """The picture in a file or a binary stream, not yet decoded.

    A PNG with damaged or very large side chunks (texts, a colour profile) is opened as if it had
    none.

    Args:
        formats: those that may be read, by Pillow's names; all without.

    Raises:
        HeifError: it is a HEIC picture, and pillow-heif is not installed.
        OSError, ValueError, SyntaxError, Image.DecompressionBombError: it holds no readable
        picture.
    """
    heif_version()
    try:
        return Image.open(source, formats=formats)
    except Exception as error:
        if (
            isinstance(error, UnidentifiedImageError)
            and not heif_version()
            and _is_heif(first_bytes(source))
        ):
            raise HeifError from None
        return open_by_pixel_chunks(source, error)


@cache
def heif_version() -> str:
    """The version of pillow-heif, which Pillow then knows of; "" where it is not installed."""
    try:
        import pillow_heif
    except ImportError:
        return ""
    pillow_heif.register_heif_opener()
    return str(pillow_heif.__version__)


def _begins_as_image(path: Path) -> bool:
    try:
        first = first_bytes(path)
    except OSError:
        return True
    return _is_heif(first) or bool(format_of(first, COMMON))


def format_of(first: bytes, formats: Sequence[str] = COMMON + RARE) -> str:
    """The format that the first bytes of a file tell, by Pillow's name; "" if none of these."""
    Image.init()
    tests = {name: Image.OPEN[name][1] for name in formats if name in Image.OPEN}
    return next(
        (name for name, test in tests.items() if test is not None and test(first) is True), ""
    )


def _is_heif(first: bytes) -> bool:
    return first[4:8] == b"ftyp" and first[8:12] in HEIF_BRANDS


def first_bytes(source: Any) -> bytes:
    """The first bytes of a file or a binary stream."""
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            return file.read(FIRST_BYTES)
    source.seek(0)
    return bytes(source.read(FIRST_BYTES))
