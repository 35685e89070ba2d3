"""Examples are looked at when a run begins and read later: what has changed in between, or is gone,
is refused."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from headstart.data.dataset import Examples
from headstart.errors import HeadstartError, RunError, first_line
from headstart.models.preprocessor import Preprocessor

AGAIN = "run the recipe again, which looks at the data anew"


@contextmanager
def reading(name: str) -> Iterator[None]:
    """What goes wrong within ends in a message that names the example.

    Raises:
        HeadstartError: it could not be read.
    """
    try:
        yield
    except HeadstartError:
        raise
    except Exception as error:  # decoders raise about ten different types on broken files
        why = getattr(error, "strerror", None) or first_line(error)
        raise RunError(
            f"{name}: cannot be read any more ({why}); put it back, or {AGAIN}"
        ) from None


def assert_unchanged(examples: Examples, row: int, preprocessor: Preprocessor) -> None:
    """Refuse an example whose content is not that which was looked at; it takes as long as reading
    its bytes.

    Raises:
        HeadstartError: it is another one now.
    """
    if preprocessor.fingerprint(examples.items[row]) != examples.digests[row].hex():
        raise RunError(f"{examples.names[row]}: has changed since the data was read; {AGAIN}")
