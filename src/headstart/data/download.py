"""Files from a URL: resumed where they broke off, and checked before anything opens them."""

from __future__ import annotations

import errno
import http.client
import os
import shutil
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from headstart.data.cache import cache_folder, cache_lock
from headstart.data.unicode import printable
from headstart.errors import DataError
from headstart.files import file_digest

CHUNK = 2**18
SECONDS = 30.0  # without a byte, after which a server counts as gone
ATTEMPTS = 5


class _NoSuchPieceError(Exception):
    """The server has nothing that would follow what was received before."""


def download(url: str, checksums: Mapping[str, str]) -> Path:
    """The file at a URL, from the cache if it was fetched before.

    It is received under another name and renamed once its checksum is right. What an interrupted
    call has received stays in the cache, and the next call goes on from there.

    Args:
        url: http or https; redirects are followed to other such addresses.
        checksums: what `hashlib` algorithms ("sha256", "sha1") must give; at least one.

    Raises:
        HeadstartError: the address is wrong, the server cannot be reached or breaks off, the
            checksum differs, the disk is full, or HF_HUB_OFFLINE forbids it.
    """
    folder = cache_folder() / "downloads"
    name = checksums.get("sha256") or checksums["sha1"]
    target, part = folder / name, folder / f"{name}.part"
    with cache_lock(target):
        if target.exists() and not _wrong(target, checksums):
            return target
        if os.environ.get("HF_HUB_OFFLINE", "").upper() in ("1", "ON", "YES", "TRUE"):
            raise DataError(
                f"data.source: {url} is not in the cache ({folder}) and HF_HUB_OFFLINE is set, "
                "so nothing is downloaded; unset it, or give a folder"
            )
        # what is there may be of another version of the file
        for _ in range(1 + part.exists()):
            _receive(url, part)
            if not (wrong := _wrong(part, checksums)):
                break
            part.unlink()
        if wrong:
            raise DataError(
                f"data.source: {url} has another checksum than the recipe: {wrong}. The file has "
                "changed or was damaged on its way, so it was deleted unopened; if its publisher "
                "has replaced it, put the new checksum into the recipe"
            )
        part.replace(target)
    return target


def _wrong(path: Path, checksums: Mapping[str, str]) -> str:
    """In words, which checksum is not as expected; "" if all are."""
    for algorithm, expected in checksums.items():
        found = file_digest(path, algorithm)
        if found != expected:
            return f"{algorithm} is {found}, expected {expected}"
    return ""


def _receive(url: str, part: Path) -> None:
    """Bring `part` to its full length, starting again where a connection breaks as long as each try
    brings something."""
    for attempt in range(1, ATTEMPTS + 1):
        before = _size(part)
        try:
            _continue(url, part, before)
            return
        # what lies there is longer than the file, or the server cannot go on in the middle
        except _NoSuchPieceError:
            part.unlink()
            if attempt == ATTEMPTS:
                raise DataError(
                    f"data.source: {url} could not be received; try again later"
                ) from None
        except urllib.error.HTTPError as error:
            said = printable(
                str(error.reason or "no reason given").strip().splitlines()[0].rstrip(".")
            )
            raise DataError(
                f"data.source: {url} answers {error.code} ({said}); look whether the address is "
                "right and still in use"
            ) from None
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DataError(
                    f"data.source: no space left for {url} in {part.parent} after "
                    f"{_size(part):,} bytes; free some, or set HEADSTART_CACHE to a larger disk. "
                    "The same command then goes on from there"
                ) from None
            if _size(part) > before and attempt < ATTEMPTS:
                continue
            reason = getattr(error, "reason", None) or error or type(error).__name__
            problem = f"data.source: {url} could not be received ({reason})"
            if size := _size(part):
                problem += f"; {size:,} bytes are kept, and the same command goes on from there"
            raise DataError(problem) from None


def _continue(url: str, part: Path, start: int) -> None:
    request = urllib.request.Request(
        url, headers={"User-Agent": "headstart", "Accept-Encoding": "identity"}
    )
    if start:
        request.add_header("Range", f"bytes={start}-")
    try:
        opened = _opener().open(request, timeout=SECONDS)
    except urllib.error.HTTPError as error:
        if start and error.code == http.HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
            raise _NoSuchPieceError from None
        raise
    with opened as answer:
        goes_on = answer.status == http.HTTPStatus.PARTIAL_CONTENT
        if goes_on and not answer.headers.get("Content-Range", "").startswith(f"bytes {start}-"):
            if start:
                raise _NoSuchPieceError
            raise ValueError(f"the server sends {answer.headers.get('Content-Range')} unasked")
        begin = start if goes_on else 0
        length = answer.headers.get("Content-Length")
        total = begin + int(length) if length else None
        free = shutil.disk_usage(part.parent).free
        if total is not None and total - start > free:
            raise OSError(errno.ENOSPC, f"{total - start:,} bytes to come, {free:,} free")
        with part.open("ab" if goes_on else "wb") as file, _shown(url, begin, total) as show:
            _copy(answer, file, show)
        if total is not None and _size(part) < total:
            raise ConnectionError(f"broke off after {_size(part):,} of {total:,} bytes")


def _copy(source: http.client.HTTPResponse, target: BinaryIO, show: Callable[[int], None]) -> None:
    while chunk := source.read1(CHUNK):
        target.write(chunk)
        show(len(chunk))


def _opener() -> urllib.request.OpenerDirector:
    """http and https only, wherever a redirect leads."""
    opener = urllib.request.OpenerDirector()
    for kind in ("Proxy", "HTTP", "HTTPS", "HTTPDefaultError", "Unknown", "HTTPRedirect"):
        opener.add_handler(getattr(urllib.request, f"{kind}Handler")())
    opener.add_handler(urllib.request.HTTPErrorProcessor())
    return opener


@contextmanager
def _shown(url: str, begin: int, total: int | None) -> Iterator[Callable[[int], None]]:
    """A progress bar on a terminal, one line elsewhere; both on standard error."""
    if not sys.stderr.isatty():
        size = f" ({total:,} bytes, from byte {begin:,})" if total else ""
        print(f"downloading {url}{size}", file=sys.stderr, flush=True)
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    details = DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn()
    with Progress("downloading", BarColumn(), *details, console=Console(stderr=True)) as bar:
        task = bar.add_task(url, total=total, completed=begin)
        yield lambda count: bar.advance(task, count)


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0
