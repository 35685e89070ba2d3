"""What one reading of an image file tells: kept by content, so that no file is decoded twice for
it."""

from __future__ import annotations

import io
import os
import sqlite3
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from pathlib import Path
from typing import NamedTuple

import PIL
from PIL import Image

from headstart.data.cache import cache_folder
from headstart.data.greyscale import GreyRange, NoValueError, is_high_bit_depth, value_range
from headstart.data.image_formats import heif_version, open_image
from headstart.data.images import describe_error, load_pixels, to_rgb
from headstart.files import file_digest
from headstart.runtime.bars import Bar

FORMAT = 3  # raise it when what is kept changes
SIDE, COLOUR_SIDE = 32, 8  # of a thumbnail's grey values and of its two colour channels, pixels
BYTES = SIDE**2 + 2 * COLOUR_SIDE**2
CHUNK = 500  # files or rows at a time
FIELDS = (
    "fault TEXT, width INTEGER, height INTEGER, mode TEXT, thumbnail BLOB, low REAL, high REAL, "
    "brightest INTEGER"
)


class Picture(NamedTuple):
    """What is wrong with an image file ("" if nothing), its size in pixels and Pillow mode, a
    thumbnail (grey values row by row, then the two colour differences of YCbCr), the range of
    values of high bit depth greys, and the largest value of others (0 to 255)."""

    fault: str
    width: int
    height: int
    mode: str
    thumbnail: bytes
    low: float | None = None
    high: float | None = None
    brightest: int = 255

    @property
    def grey_range(self) -> GreyRange | None:
        return None if self.low is None or self.high is None else (self.low, self.high)


def digests(paths: Sequence[str]) -> list[bytes]:
    """SHA-256 of files; b"" for one that cannot be read."""
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return list(pool.map(_digest, paths))


def pictures(paths: Sequence[str], contents: Sequence[bytes]) -> list[Picture]:
    """What the files with these digests hold; those not in the cache are decoded whole, and those
    without a digest, which cannot be read."""
    with closing(_store()) as store, ThreadPoolExecutor(os.cpu_count()) as pool:
        known = dict(_known(store, list(set(contents))))
        missing = {
            content: path
            for path, content in zip(paths, contents, strict=True)
            if content and content not in known
        }
        digests = list(missing)
        with Bar("images read", len(digests)) as bar:
            for start in range(0, len(digests), CHUNK):
                chunk = digests[start : start + CHUNK]
                decoded = pool.map(look, map(missing.__getitem__, chunk))
                known |= zip(chunk, decoded, strict=True)
                with suppress(sqlite3.Error), store:
                    rows = [(content, *known[content]) for content in chunk]
                    marks = ", ".join("?" * len(rows[0]))
                    store.executemany(f"INSERT OR IGNORE INTO pictures VALUES ({marks})", rows)
                bar.advance(len(chunk))
    return [
        known[content] if content else look(path)
        for path, content in zip(paths, contents, strict=True)
    ]


def look(path: str) -> Picture:
    """Decode an image; JPEGs at reduced size, which finds a truncated one as surely."""
    try:
        with open_image(io.BytesIO(Path(path).read_bytes())) as file:
            width, height = file.size
            mode = file.mode
            file.draft("RGB", (2 * SIDE, 2 * SIDE))
            image = load_pixels(file)
            deep = is_high_bit_depth(image.mode)
            values = value_range(image) if deep else None
            if deep and values is None:
                raise NoValueError
            shown = to_rgb(image, values)
            brightest = max(int(high) for _, high in shown.getextrema())  # type: ignore[misc]
    except Exception as error:  # Pillow's decoders raise about ten different types on broken files
        return Picture(describe_error(error, path), 0, 0, "", bytes(BYTES))
    mode = image.mode if deep else mode
    low, high = values or (None, None)
    return Picture("", width, height, mode, _thumbnail(shown), low, high, brightest)


def _thumbnail(image: Image.Image) -> bytes:
    sides = (SIDE, COLOUR_SIDE, COLOUR_SIDE)
    channels = zip(image.convert("YCbCr").split(), sides, strict=True)
    return b"".join(
        channel.resize((side, side), Image.Resampling.BOX).tobytes() for channel, side in channels
    )


def _digest(path: str) -> bytes:
    try:
        return bytes.fromhex(file_digest(path))
    except OSError:
        return b""


def _store() -> sqlite3.Connection:
    """The database in the cache, or one in memory where that cannot be used."""
    name = f"pictures-{FORMAT}-{PIL.__version__}-{heif_version() or 'no-heif'}.sqlite"
    with suppress(OSError, sqlite3.Error):
        cache_folder().mkdir(parents=True, exist_ok=True)
        return _connect(cache_folder() / name)
    return _connect(":memory:")


def _connect(name: str | Path) -> sqlite3.Connection:
    store = sqlite3.connect(name, timeout=60)
    store.execute(
        f"CREATE TABLE IF NOT EXISTS pictures (content BLOB PRIMARY KEY, {FIELDS}) WITHOUT ROWID"
    )
    return store


def _known(store: sqlite3.Connection, contents: list[bytes]) -> Iterator[tuple[bytes, Picture]]:
    with suppress(sqlite3.Error):
        for start in range(0, len(contents), CHUNK):
            chunk = contents[start : start + CHUNK]
            query = f"SELECT * FROM pictures WHERE content IN ({', '.join('?' * len(chunk))})"
            for content, *fields in store.execute(query, chunk):
                yield content, Picture(*fields)
