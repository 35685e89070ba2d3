from __future__ import annotations

import pytest

from headstart.errors import HeadstartError
from headstart.modalities import BY_KIND, modalities
from headstart.models.detect import KINDS
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


def test_every_file_of_the_modalities_folder_registers_the_modality_of_its_name() -> None:
    assert modalities.names() == ["image", "text", "words"]
    assert all(modalities.get(name).name == name for name in modalities.names())
    assert {name for names in map(tasks.get, tasks.names()) for name in names} <= set(
        modalities.names()
    )
    assert set(BY_KIND) == set(KINDS)
    assert set(BY_KIND.values()) == set(modalities.names())
