"""Where everything lies that can be made or fetched again."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """`$HEADSTART_CACHE`, or ~/.cache/headstart. Deleting it is always safe."""
    return Path(os.environ.get("HEADSTART_CACHE") or Path.home() / ".cache" / "headstart")


def make_once(target: Path, fill: Callable[[Path], None]) -> Path:
    """The folder `target`, filled by `fill` if it is not there yet.

    It is filled under another name and renamed when it is whole, so neither a second process nor a killed one ever
    shows a half-filled folder.
    """
    if target.is_dir():
        return target
    target.parent.mkdir(parents=True, exist_ok=True)
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
