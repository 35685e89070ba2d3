"""Memory of this process (glibc on Linux): keeping freed memory, garbage collection, fast exit."""

from __future__ import annotations

import ctypes
import gc
import os
import sys
from contextlib import suppress
from typing import NoReturn

from headstart.runtime.private import run_exit_handlers


def keep_freed_memory() -> None:
    """Let glibc keep freed memory, in one arena for all threads, instead of returning it to the
    system at each step.

    EfficientNet-Lite0 at batch 32 on 2 cores: 21 → 53 images/s in training. HEADSTART_KEEP_MEMORY=0
    turns it off.
    """
    if os.environ.get("HEADSTART_KEEP_MEMORY") == "0" or (libc := _glibc()) is None:
        return
    # M_TRIM_THRESHOLD, M_TOP_PAD … in malloc.h
    trim_threshold, top_pad, mmap_max, arena_max = -1, -2, -4, -8
    libc.mallopt(mmap_max, 0)
    libc.mallopt(trim_threshold, 2**31 - 1)
    libc.mallopt(top_pad, 256 * 2**20)
    libc.mallopt(arena_max, 1)


def collect_less() -> None:
    """Collect garbage less often: imports create hundreds of thousands of objects (4.4 → 3.6 s)."""
    gc.set_threshold(50_000, 20, 20)


def leave(code: int) -> NoReturn:
    """Exit after the atexit handlers, without tearing down imported modules (1.9 → 0.2 s)."""
    run_exit_handlers()
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):  # the reader has closed it
            stream.flush()
    os._exit(code)


def give_back_memory() -> None:
    """Return freed memory to the system now, for a process that becomes idle."""
    if (libc := _glibc()) is not None:
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    if sys.platform != "linux":
        return None
    try:
        libc = ctypes.CDLL("libc.so.6")
        return libc if libc.mallopt and libc.malloc_trim else None
    except (OSError, AttributeError):  # another C library
        return None
