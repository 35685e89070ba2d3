"""Named things: tasks and strategies are found by the name a recipe gives."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable
from typing import Generic, TypeVar

from headstart.errors import HeadstartError

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps a name to one thing of a kind.

    With `package`, every module of that package is a name too, imported only when it is asked for:
    a file `tasks/image_classification.py` registers the task `image_classification` when it is
    first needed.
    """

    def __init__(self, kind: str, package: str | None = None) -> None:
        self.kind = kind
        self._package = package
        self._things: dict[str, T] = {}

    def register(self, name: str) -> Callable[[T], T]:
        """A decorator (or `register(name)(thing)`).

        Raises:
            ValueError: the name is taken.
        """

        def add(thing: T) -> T:
            if name in self._things:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._things[name] = thing
            return thing

        return add

    def names(self) -> list[str]:
        """All names, sorted; imports nothing but the package that holds them."""
        files: list[str] = []
        if self._package:
            folder = importlib.import_module(self._package).__path__
            files = [
                module.name
                for module in pkgutil.iter_modules(folder)
                if not module.name.startswith("_")
            ]
        return sorted({*self._things, *files})

    def get(self, name: str) -> T:
        """The thing of that name.

        Raises:
            HeadstartError: there is none; the message lists the nearest names.
        """
        if name not in self._things and name in self.names():
            importlib.import_module(f"{self._package}.{name}")
        if name not in self._things:
            raise HeadstartError(unknown(self.kind, name, self.names()))
        return self._things[name]


def unknown(kind: str, name: str, known: list[str]) -> str:
    """The message for a name that does not exist: "unknown strategy 'finetune'; did you mean
    'fine_tune'? …"."""
    return f"unknown {kind} {name!r}; {suggest(name, known)}"


def suggest(name: str, known: list[str], most: int = 12) -> str:
    """ "did you mean 'x'?" and the known names, or as many as help."""
    import difflib

    near = difflib.get_close_matches(str(name), known, n=3, cutoff=0.6)
    listed = (
        f"known: {', '.join(known) or 'none'}"
        if len(known) <= most
        else f"{len(known)} names are known"
    )
    return f"did you mean {' or '.join(repr(n) for n in near)}? ({listed})" if near else listed
