"""PNG files whose pixels are sound and whose text, colour profile or other side chunks are not."""

from __future__ import annotations

import io
import os
import struct
import zlib
from pathlib import Path
from typing import BinaryIO

from PIL import Image

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CRITICAL = {b"IHDR", b"PLTE", b"IDAT", b"IEND"}
SHOWN = {b"tRNS", b"eXIf", b"acTL", b"fcTL", b"fdAT"}  # transparency, orientation, animation
CHECKSUM = 4  # bytes


def open_by_pixel_chunks(source: str | Path | BinaryIO, error: Exception) -> Image.Image:
    """A PNG file opened by those chunks alone that a viewer needs to show it.

    Args:
        error: what came of opening it as it is; raised if it is no PNG.
    """
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            return open_by_pixel_chunks(file, error)
    source.seek(0)
    if source.read(len(SIGNATURE)) != SIGNATURE:
        raise error
    return Image.open(io.BytesIO(_pixel_chunks(source)), formats=("PNG",))


def _pixel_chunks(file: BinaryIO) -> bytes:
    """What follows the signature, with the chunks needed alone, as a file.

    As in libpng, an ancillary chunk with a wrong checksum is left out; a critical one stays as it
    is, for the decoder to judge.
    """
    kept = [SIGNATURE]
    while len(head := file.read(8)) == 8:
        length, name = struct.unpack(">I4s", head)
        if name not in CRITICAL | SHOWN:
            file.seek(length + CHECKSUM, os.SEEK_CUR)
            continue
        body, checksum = file.read(length), file.read(CHECKSUM)
        if name in CRITICAL or zlib.crc32(name + body).to_bytes(CHECKSUM) == checksum:
            kept += [head, body, checksum]
    return b"".join(kept)
