"""Tasks: what a recipe's `task` names, one line each. A task is a modality (what an example is made
of) and what is predicted of it, today always one class."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.modalities import BY_KIND, Modality, modalities
from headstart.registry import Registry

# the modalities that a task of that name reads; which of them, the backbone decides
tasks: Registry[tuple[str, ...]] = Registry("task", group="headstart.tasks")
tasks.register("image_classification")(("image",))
tasks.register("text_classification")(("text", "words"))
tasks.register("embedding_classification")(("image", "text", "words"))


@dataclass(frozen=True)
class Task:
    """A name that a recipe may give, and the modality of its examples."""

    name: str
    modality: Modality


def task_for(name: str, backbone: str) -> Task:
    """The task of that name for a backbone as a recipe names it.

    Raises:
        HeadstartError: there is no such task, or no telling what backbone that is.
    """
    names = tasks.get(name)
    if len(names) == 1:
        return Task(name, modalities.get(names[0]))
    from headstart.models.detect import kind_of

    kinds = [kind for kind, modality in BY_KIND.items() if modality in names]
    return task_of(name, kind_of(backbone, kinds))


def task_of(name: str, kind: str) -> Task:
    """The task of that name for a network of a kind, as its spec states it.

    Raises:
        KeyError: there is no such kind.
        HeadstartError: there is no such task.
    """
    tasks.get(name)
    return Task(name, modalities.get(BY_KIND[kind]))
