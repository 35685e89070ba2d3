"""Named things: tasks, strategies, baselines and others are found by the name a recipe gives."""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from headstart.errors import RunError, first_line

if TYPE_CHECKING:
    from importlib.metadata import EntryPoint

T = TypeVar("T")


class Registry(Generic[T]):
    """Maps a name to one thing of a kind; as a collection it holds the names.

    Args:
        kind: what it holds, for messages.
        package: each module of it registers its own name when it is first asked for.
        group: of entry points that other packages may have; the module that an entry point leads to
            registers the entry point's name, and is imported when that is first asked for.
    """

    def __init__(self, kind: str, package: str | None = None, group: str | None = None) -> None:
        self.kind = kind
        self._package = package
        self._group = group
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

    def loaded(self) -> Mapping[str, T]:
        """What has been registered so far."""
        return self._things

    def names(self) -> list[str]:
        """All names, sorted; imports nothing but the package that holds them."""
        return sorted({*self._things, *self._modules(), *self.plugins()})

    def plugins(self) -> list[str]:
        """The names that other packages bring."""
        return [point.name for point in _points(self._group)]

    def __contains__(self, name: object) -> bool:
        return name in self._things or name in self.names()

    def __iter__(self) -> Iterator[str]:
        return iter(self.names())

    def __len__(self) -> int:
        return len(self.names())

    def get(self, name: str) -> T:
        """The thing of that name.

        Raises:
            HeadstartError: there is none; the message lists the nearest names. Or the package of
                somebody else that holds it does not work.
        """
        if name not in self._things:
            if name in self._modules():
                importlib.import_module(f"{self._package}.{name}")
            elif load_plugin(self._group, name) and name not in self._things:
                raise RunError(
                    f"{_described(_points(self._group, name)[0])} registers no {self.kind} of that "
                    "name; tell its authors"
                )
        if name not in self._things:
            raise RunError(unknown(self.kind, name, self.names()))
        return self._things[name]

    def _modules(self) -> list[str]:
        if not self._package:
            return []
        folder = importlib.import_module(self._package).__path__
        names = [module.name for module in pkgutil.iter_modules(folder)]
        return [name for name in names if not name.startswith("_")]


def load_plugin(group: str | None, name: str) -> bool:
    """Import what the entry point of that name leads to: whether there is one.

    Raises:
        HeadstartError: it cannot be imported, or several packages have one.
    """
    points = _points(group, name)
    if len(points) > 1:
        raise RunError(
            f"{' and '.join(map(_described, points))} have the same name; uninstall one of them"
        )
    for point in points:
        try:
            point.load()
        except Exception as error:  # it is somebody else's code
            raise RunError(
                f"{_described(point)} cannot be imported ({type(error).__name__}: "
                f"{first_line(error)}); update or uninstall that package"
            ) from error
    return bool(points)


def _points(group: str | None, name: str | None = None) -> Sequence[EntryPoint]:
    if group is None:
        return []
    from importlib.metadata import entry_points

    return [point for point in entry_points(group=group) if name in (None, point.name)]


def _described(point: EntryPoint) -> str:
    package = point.dist.name if point.dist else "?"
    return f"package {package}: entry point {point.name!r} of {point.group} ({point.value})"


def unknown(kind: str, name: str, known: list[str]) -> str:
    """The message for a name that does not exist: "unknown strategy 'finetune'; did you mean
    'fine_tune'? …"."""
    return f"unknown {kind} {name!r}; {suggest(name, known)}"


def suggest(name: str, known: list[str], most: int = 12) -> str:
    """ "did you mean 'x'?" and the known names, or as many as help."""
    import difflib

    near = difflib.get_close_matches(name, known, n=3, cutoff=0.6)
    listed = (
        f"known: {', '.join(known) or 'none'}"
        if len(known) <= most
        else f"{len(known)} names are known"
    )
    return f"did you mean {' or '.join(map(repr, near))}? ({listed})" if near else listed
