"""The command line as a process: memory, signals, and errors as one message with exit code 2."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from typing import NoReturn

from headstart.cli_app import app
from headstart.errors import HeadstartError, RenamedKeyWarning
from headstart.runtime.allocator import collect_less, keep_freed_memory, leave
from headstart.runtime.threads import share_cores

LONGEST_MESSAGE = 4_000  # characters


def program(arguments: list[str] | None = None) -> NoReturn:
    """`main` as a process of its own."""
    code: int | str | None = None
    try:
        main(arguments)
    except SystemExit as ended:
        code = ended.code
    leave(code if isinstance(code, int) else int(code is not None))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; errors that the user can mend are one message and exit code 2."""
    share_cores()
    keep_freed_memory()
    collect_less()
    # an exception, so that half-written files are removed
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    warnings.showwarning = partial(_show_warning, warnings.showwarning)
    try:
        app(arguments)
    except HeadstartError as error:
        _stop(str(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        _stop(f"{error.filename or 'file system'}: {error.strerror or error}")


def _show_warning(
    show: Callable[..., None], message: Warning | str, category: type[Warning], *where: object
) -> None:
    """Print the warnings of headstart as notes, without the line of code that they come from."""
    if not issubclass(category, RenamedKeyWarning):
        show(message, category, *where)
    elif os.environ.get("RANK", "0") == "0":
        print(f"note: {message}", file=sys.stderr, flush=True)


def _stop(message: str) -> None:
    rank = os.environ.get("RANK", "0")
    # if all processes failed alike, the launcher ends this one before it repeats the message
    if rank != "0":
        time.sleep(2)
    if len(message) > LONGEST_MESSAGE:
        message = f"{message[:LONGEST_MESSAGE]}…"
    print(
        f"error{f' in process {rank}' if rank != '0' else ''}: {message}",
        file=sys.stderr,
        flush=True,
    )
    sys.exit(2)
