"""Files and folders written whole or not at all, their checksums, and locks of processes."""

from __future__ import annotations

import hashlib
import os
import shutil
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from filelock import FileLock, Timeout


@contextmanager
def atomic(path: Path, *, exclusive: bool = False) -> Iterator[Path]:
    """Yield a name beside `path` to write a file or a folder under; it is renamed to `path` when
    the block ends, and removed if the block fails.

    A file that is there already is replaced; a folder that is not empty is an OSError. The
    temporary name has the suffix of `path`.

    Args:
        exclusive: no other process writes `path` now (the caller holds a lock), so the temporary
            name is always the same, and what a killed process has left there is removed first.
    """
    unique = "" if exclusive else f"-{uuid.uuid4().hex}"
    draft = path.with_name(f".{path.stem}.headstart-draft{unique}{path.suffix}")
    remove(draft)
    try:
        yield draft
        draft.replace(path)
    finally:
        remove(draft)


def write_text(path: Path, content: str) -> None:
    """Write a text file atomically, as UTF-8 and with its line ends unchanged."""
    with atomic(path) as draft:
        draft.write_text(content, encoding="utf-8", newline="")


def remove(path: Path) -> None:
    """Delete a file or a folder with all it holds, if it is there and can be deleted."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        with suppress(OSError):
            path.unlink()


def beside(path: Path, part: str) -> Path:
    """The hidden file or folder next to `path` that holds a part of the work on it."""
    return path.with_name(f".{path.name}.headstart-{part}")


@contextmanager
def lock(path: Path) -> Iterator[None]:
    """Let one process after the other run the block. A forked child does not hold the lock.

    Args:
        path: the lock file; its folder is made if it is missing.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path):
        yield


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Yield whether this process alone runs the block, without waiting for others.

    The lock file is removed when the block ends.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path, timeout=0)
    try:
        lock.acquire()
    except Timeout:
        yield False
        return
    try:
        yield True
    finally:
        if os.name == "posix":  # on Windows `release` does it; here waiting processes notice
            remove(path)
        lock.release()


def file_digest(path: str | Path, algorithm: str = "sha256") -> str:
    """The checksum of a file's content, in hexadecimal digits."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, algorithm).hexdigest()
