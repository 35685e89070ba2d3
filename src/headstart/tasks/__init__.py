"""Tasks: what a recipe's `task` names. Each file of this package registers one, and is imported
when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.registry import Registry

if TYPE_CHECKING:
    from headstart.checks.duplicates import Duplicates
    from headstart.data.dataset import Dataset, Examples
    from headstart.data.inputs import Input
    from headstart.models.network import Network
    from headstart.recipe import Model, Recipe


@dataclass(frozen=True)
class Task:
    """What differs between kinds of examples, and nothing else.

    read: the recipe's data. network: the backbone with a head for a data set's labels, pretrained
    or not, and notes on it.
    load: the network that a run saved. gather: the examples that arguments of a prediction stand
    for, given the column of tables that was trained on. like: which examples are like which. notes:
    what is odd about examples of this kind.
    baselines: names of those in evaluate.baselines that can read such examples. policies: how
    training examples may be varied, the default first.
    """

    read: Callable[[Recipe], Dataset]
    network: Callable[[Model, Dataset, bool], tuple[Network, list[str]]]
    load: Callable[[Path, dict[str, Any]], Network]
    gather: Callable[[Sequence[str], str | None], Iterator[Input]]
    like: Callable[[Examples], Duplicates]
    notes: Callable[[Examples], list[str]]
    baselines: tuple[str, ...]
    policies: tuple[str, ...]


# by the kind of the backbone; called, it imports what that kind needs
Kinds = Mapping[str, Callable[[], Task]]
tasks: Registry[Kinds] = Registry("task", package="headstart.tasks")


def task_for(name: str, backbone: str) -> Task:
    """The task of that name for a backbone as a recipe names it.

    Raises:
        HeadstartError: no backbone of such a name can be told.
    """
    kinds = tasks.get(name)
    if len(kinds) == 1:
        return next(iter(kinds.values()))()
    from headstart.models.detect import kind_of

    return kinds[kind_of(backbone)]()
