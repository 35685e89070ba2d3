"""Where everything lies that can be made or fetched again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from headstart.errors import DataError
from headstart.files import atomic, lock, remove

DEFAULT_GIGABYTES = 20.0
# after which an unfinished file or folder is taken for that of a killed process
STALE_SECONDS = 24 * 3600


def cache_folder() -> Path:
    """`$HEADSTART_CACHE`, or ~/.cache/headstart. Deleting it is always safe."""
    return Path(os.path.expanduser(os.environ.get("HEADSTART_CACHE") or "~/.cache/headstart"))


def cache_limit() -> int:
    """Bytes that cached features may take, and cached texts: `$HEADSTART_CACHE_GB`, or 20 GB.

    Raises:
        HeadstartError: the variable holds no number ≥ 0.
    """
    given = os.environ.get("HEADSTART_CACHE_GB", "")
    try:
        gigabytes = float(given or DEFAULT_GIGABYTES)
        return int(gigabytes * 1e9) if gigabytes >= 0 else int("")
    except (ValueError, OverflowError):
        raise DataError(
            f"HEADSTART_CACHE_GB: found {given!r}; expected a number of gigabytes, such as 20"
        ) from None


def make_once(
    folder: Path, fill: Callable[[Path], None], is_whole: Callable[[Path], bool] = Path.is_dir
) -> Path:
    """The folder, filled by `fill` if it is not there or not whole.

    One process fills it, and it appears only when it is whole.

    Raises:
        HeadstartError: the cache cannot be written.
    """
    if not is_whole(folder):
        with cache_lock(folder):
            if not is_whole(folder):
                remove(folder)
                with atomic(folder, exclusive=True) as draft:
                    draft.mkdir()
                    fill(draft)
    return folder


def make_room(keep: Path, wanted: int) -> bool:
    """Delete folders beside `keep`, those used longest ago first, until `wanted` more bytes fit
    under `$HEADSTART_CACHE_GB`.

    Features and texts have this much each: features that a run writes must not delete the texts
    that it reads.

    Args:
        keep: the folder that the bytes are for; it is never deleted.

    Returns:
        Whether there is room now.
    """
    limit = cache_limit()
    folders = [folder for folder in keep.parent.iterdir() if folder.is_dir()]
    sizes = {folder: sum(_stat(file)[0] for file in folder.iterdir()) for folder in folders}
    if sizes.get(keep, 0) + wanted > limit:
        return False
    spare = limit - sum(sizes.values()) - wanted
    for folder in sorted(set(folders) - {keep}, key=lambda folder: _stat(folder)[1]):
        if spare >= 0:
            break
        remove(folder)
        spare += sizes[folder]
    return spare >= 0


def _stat(path: Path) -> tuple[int, float]:
    """(size, time of the last use); zeros of what another process has deleted."""
    with suppress(OSError):
        return path.stat().st_size, path.stat().st_mtime
    return 0, 0.0


def mark_used(folder: Path) -> None:
    """Note that a folder of the cache was read; those used longest ago are deleted first."""
    with suppress(OSError):
        os.utime(folder)


@contextmanager
def cache_lock(path: Path) -> Iterator[None]:
    """Let one process after the other work on a file or folder of the cache.

    Raises:
        HeadstartError: the cache cannot be written.
    """
    with ExitStack() as stack:
        try:
            stack.enter_context(lock(path.with_name(f"{path.name}.lock")))
        except OSError as error:
            raise DataError(
                f"HEADSTART_CACHE: {path.parent} cannot be written ({error.strerror}); set it to a "
                "folder that can"
            ) from None
        yield
