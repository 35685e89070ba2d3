"""Where everything lies that can be made or fetched again."""

from __future__ import annotations

import os
import shutil
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from headstart.errors import HeadstartError

DEFAULT_GIGABYTES = 20.0
# after which an unfinished file or folder is taken for that of a killed process
STALE_SECONDS = 24 * 3600


def cache_folder() -> Path:
    """`$HEADSTART_CACHE`, or ~/.cache/headstart. Deleting it is always safe."""
    return Path(os.path.expanduser(os.environ.get("HEADSTART_CACHE") or "~/.cache/headstart"))


def cache_limit() -> int:
    """Bytes that cached features may take: `$HEADSTART_CACHE_GB`, or 20 GB.

    Raises:
        HeadstartError: the variable holds no number ≥ 0.
    """
    given = os.environ.get("HEADSTART_CACHE_GB", "")
    try:
        gigabytes = float(given or DEFAULT_GIGABYTES)
        return int(gigabytes * 1e9) if gigabytes >= 0 else int("")
    except (ValueError, OverflowError):
        raise HeadstartError(
            f"HEADSTART_CACHE_GB: found {given!r}; expected a number of gigabytes, such as 20"
        ) from None


def make_once(target: Path, fill: Callable[[Path], None]) -> Path:
    """The folder `target`, filled by `fill` if it is not there yet.

    It is filled under another name and renamed when it is whole, so neither a second process nor a
    killed one ever shows a half-filled folder.

    Raises:
        HeadstartError: the cache cannot be written.
    """
    if target.is_dir():
        return target
    with _writing(target.parent):
        target.parent.mkdir(parents=True, exist_ok=True)
    for left in target.parent.glob(f".{target.name}-*"):  # by a process that was killed
        if time.time() - _last_used(left) > STALE_SECONDS:
            shutil.rmtree(left, ignore_errors=True)
    draft = Path(tempfile.mkdtemp(prefix=f".{target.name}-", dir=target.parent))
    try:
        fill(draft)
        draft.chmod(0o755)
        try:
            draft.rename(target)
        except OSError:
            if not target.is_dir():  # anything but "another process was first"
                raise
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return target


def write_whole(path: Path, content: str) -> None:
    """Write a text file under another name and move it to its place, also while other processes do
    the same."""
    draft = path.with_name(f".{path.name}.{uuid.uuid4().hex}.draft")
    try:
        draft.write_text(content, encoding="utf-8", newline="")
        draft.replace(path)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise


def make_room(shelf: Path, keep: Path, wanted: int, limit: int) -> bool:
    """Delete the folders of a shelf that were used longest ago until `wanted` more bytes fit under
    the limit.

    `keep` is never deleted. False if there is no room without it.
    """
    folders = [folder for folder in shelf.iterdir() if folder.is_dir()]
    sizes = {folder: sum(_size(file) for file in folder.iterdir()) for folder in folders}
    if sizes.get(keep, 0) + wanted > limit:
        return False
    spare = limit - sum(sizes.values()) - wanted
    for folder in sorted(set(folders) - {keep}, key=_last_used):
        if spare >= 0:
            break
        shutil.rmtree(folder, ignore_errors=True)
        spare += sizes[folder]
    return spare >= 0


def _size(file: Path) -> int:
    with suppress(OSError):
        return file.stat().st_size
    return 0


def _last_used(folder: Path) -> float:
    with suppress(OSError):
        return folder.stat().st_mtime
    return 0.0


@contextmanager
def locked(path: Path) -> Iterator[None]:
    """Let one process after the other run the block; systems without file locks let all of them.

    Raises:
        HeadstartError: the cache cannot be written.
    """
    with _writing(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        opened = path.open("w")
    with opened as file:
        try:
            import fcntl
        except ImportError:
            yield
            return
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def _writing(folder: Path) -> Iterator[None]:
    """What the system says against writing within becomes a sentence."""
    try:
        yield
    except OSError as error:
        raise HeadstartError(
            f"HEADSTART_CACHE: {folder} cannot be written ({error.strerror}); set it to a folder "
            "that can"
        ) from None
