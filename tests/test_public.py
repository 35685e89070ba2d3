"""What `import headstart` offers."""

from __future__ import annotations

import inspect

import pytest

import headstart


@pytest.mark.parametrize("name", headstart.__all__)
def test_every_public_name_resolves_and_is_documented(name: str) -> None:
    thing = getattr(headstart, name)
    assert not inspect.ismodule(thing)
    assert inspect.getdoc(thing)
    assert name in dir(headstart)


def test_another_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'trian'"):
        _ = headstart.trian  # type: ignore[attr-defined]
