"""Image file formats: which files are images, and opening them without decoding the pixels."""

from __future__ import annotations

import io
import os
import struct
import warnings
import zlib
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import BinaryIO

from PIL import Image, UnidentifiedImageError

ImageFile = str | Path | BinaryIO
HEIF_EXTENSIONS = {".heic", ".heics", ".heif", ".heifs", ".hif"}
# ISO/IEC 23008-12, annex B
HEIF_BRANDS = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"mif1", b"msf1"}
# formats that first bytes tell
COMMON = ("JPEG", "PNG", "GIF", "BMP", "TIFF", "WEBP", "AVIF", "JPEG2000")
RARE = ("EPS", "ICNS", "ICO", "PPM", "PSD")
FIRST_BYTES = 16
PNG_SIGNATURE = b"\x89PNG\r\n\x1a\n"
PNG_CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
PNG_DISPLAYED = {b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT"}  # transparency, turn, animation


class HeifError(UnidentifiedImageError):
    """A HEIC image, and no package that reads it."""


def has_image_extension(path: Path) -> bool:
    """Whether the file name ends as an image's: as Pillow knows them, or HEIC."""
    extension = path.suffix.lower()
    return extension in HEIF_EXTENSIONS or extension in Image.registered_extensions()


def may_be_image(path: Path) -> bool:
    """Whether the file name ends as an image's or has no extension.

    Digits after a dot (`scan.001`, `2024-03-05 12.30`) are no extension.
    """
    return has_image_extension(path) or not any(character.isalpha() for character in path.suffix)


def is_image(path: Path) -> bool:
    """Whether a file should be read as an image: by its extension, or without one by its first
    bytes. One that cannot be opened counts as an image, so that reading it gives the reason."""
    if has_image_extension(path) or not may_be_image(path):
        return has_image_extension(path)
    try:
        start = first_bytes(path)
    except OSError:
        return True
    return _is_heif(start) or bool(detect_format(start, COMMON))


def detect_format(start: bytes, formats: Sequence[str] = COMMON + RARE) -> str:
    """Pillow's name of the format of a file with these first bytes; "" if none of `formats`."""
    Image.init()
    for name in formats:
        accepts = Image.OPEN[name][1] if name in Image.OPEN else None
        if accepts is not None and accepts(start) is True:
            return name
    return ""


def open_image(source: ImageFile, formats: list[str] | None = None) -> Image.Image:
    """Open an image file or binary stream without decoding it; a PNG with damaged or very large
    ancillary chunks (texts, colour profile) without them.

    Args:
        formats: formats to accept, by Pillow's names; None for all.

    Raises:
        HeifError: it is a HEIC image, and pillow-heif is not installed.
        OSError, ValueError, SyntaxError, Image.DecompressionBombError: it holds no readable image.
    """
    heif_version()
    _ignore_warnings()
    try:
        return Image.open(source, formats=formats)
    except Exception as error:
        unidentified = isinstance(error, UnidentifiedImageError)
        if unidentified and not heif_version() and _is_heif(first_bytes(source)):
            raise HeifError(
                "a HEIC picture, which needs one more package: pip install pillow-heif"
            ) from None
        return open_png_pixels(source, error)


@cache
def _ignore_warnings() -> None:
    """Ignore what Pillow warns of: large images (it raises beyond twice its limit), and odd
    metadata, which is not used here."""
    warnings.filterwarnings("ignore", module=r"PIL\.")


@cache
def heif_version() -> str:
    """Register pillow-heif with Pillow; its version, or "" where it is not installed."""
    try:
        import pillow_heif
    except ImportError:
        return ""
    pillow_heif.register_heif_opener()
    return str(pillow_heif.__version__)


def first_bytes(source: ImageFile) -> bytes:
    """The first bytes of a file or a binary stream."""
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            return file.read(FIRST_BYTES)
    source.seek(0)
    return bytes(source.read(FIRST_BYTES))


def _is_heif(start: bytes) -> bool:
    return start[4:8] == b"ftyp" and start[8:12] in HEIF_BRANDS


def open_png_pixels(source: ImageFile, error: Exception) -> Image.Image:
    """Open a PNG file by those chunks alone that displaying it needs.

    Args:
        error: why it could not be opened as it is; raised if the file is not a PNG.
    """
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            return open_png_pixels(file, error)
    source.seek(0)
    if source.read(len(PNG_SIGNATURE)) != PNG_SIGNATURE:
        raise error
    return Image.open(io.BytesIO(_displayed_chunks(source)), formats=("PNG",))


def _displayed_chunks(file: BinaryIO) -> bytes:
    """A PNG file, opened after its signature, reduced to the displayed chunks. As in libpng, those
    with a wrong checksum are dropped, unless they are critical."""
    png = [PNG_SIGNATURE]
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name not in PNG_CRITICAL | PNG_DISPLAYED:
            file.seek(length + 4, os.SEEK_CUR)
            continue
        body, checksum = file.read(length), file.read(4)
        if name in PNG_CRITICAL or zlib.crc32(name + body).to_bytes(4) == checksum:
            png += [head, body, checksum]
    return b"".join(png)
