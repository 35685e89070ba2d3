from __future__ import annotations

import pytest

from headstart.errors import HeadstartError
from headstart.registry import Registry
from headstart.tasks import tasks


def test_a_duplicate_raises_and_an_unknown_name_lists_its_neighbours() -> None:
    things: Registry[int] = Registry("thing")
    things.register("apple")(1)
    with pytest.raises(ValueError, match="registered twice"):
        things.register("apple")(2)
    with pytest.raises(HeadstartError, match=r"unknown thing 'aple'; did you mean 'apple'\?"):
        things.get("aple")
    assert things.get("apple") == 1


def test_every_file_of_the_tasks_folder_registers_the_task_of_its_name() -> None:
    assert tasks.names() == [
        "embedding_classification",
        "image_classification",
        "text_classification",
    ]
    for name in tasks.names():
        assert all(task().baselines for task in tasks.get(name).values())
