"""Arrows between the rooms of the house point one way, and light rooms stay light."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "headstart"
ORDER = [
    "errors", "registry", "sections", "recipe", "recipe_file", "data", "transfer", "models", "report", "evaluate", "train",
    "tasks", "inference", "prepare", "runner", "cli",
]  # fmt: skip


def rooms() -> list[str]:
    return sorted(p.stem for p in SOURCE.iterdir() if (p.suffix == ".py" or p.is_dir()) and not p.stem.startswith("__"))


def imported(room: str) -> set[str]:
    """The rooms whose names a room's files import, wherever the import stands."""
    found = set()
    for path in [SOURCE / f"{room}.py"] if (SOURCE / f"{room}.py").exists() else (SOURCE / room).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("headstart."):
                found.add(node.module.split(".")[1])
    return found - {room}


def test_every_room_has_its_place() -> None:
    assert rooms() == sorted(ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_no_arrow_points_upwards(room: str) -> None:
    above = ORDER[ORDER.index(room) + 1 :]
    assert not imported(room) & set(above)


def test_plans_and_strategies_never_name_a_modality() -> None:
    for path in [*(SOURCE / "transfer").glob("*.py"), *(SOURCE / "train").glob("*.py")]:
        names = {node.id for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Name)}
        assert not {name for name in names if any(word in name.lower() for word in ("image", "pixel", "text", "token"))}
