"""Tasks: what a recipe's `task` names. Each file of this package registers one, and is imported when it is asked for."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headstart.registry import Registry

if TYPE_CHECKING:
    from headstart.data.dataset import Dataset
    from headstart.models.network import Network
    from headstart.recipe import Recipe
    from headstart.train.draws import Collate, Encode


@dataclass(frozen=True)
class Task:
    """What differs between kinds of examples, and nothing else.

    read: the recipe's data. network: the backbone with a head for so many classes, pretrained or not, and notes on it.
    load: the network that a run saved. encoder: how an example of a network is read, augmented by a policy. collate: a
    batch of them. fingerprint: SHA-256 of an example's content as it is now. gather: the examples that paths given for
    prediction stand for. baselines: names of those in evaluate.baselines that can read such examples.
    """

    read: Callable[[Recipe], Dataset]
    network: Callable[[Recipe, int, bool], tuple[Network, list[str]]]
    load: Callable[[Path, dict[str, Any]], Network]
    encoder: Callable[[Network, str], Encode]
    collate: Collate
    fingerprint: Callable[[str], str]
    gather: Callable[[list[str]], tuple[list[str], dict[str, str]]]
    baselines: tuple[str, ...]


tasks: Registry[Task] = Registry("task", package="headstart.tasks")
