"""Arrows between the rooms of the house point one way, and light rooms stay light."""

from __future__ import annotations

import ast
import re
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "headstart"
ORDER = [
    "errors", "registry", "files", "recipe", "runtime", "data", "transfer", "evaluate", "models",
    "checks", "modalities", "tasks", "catalogue",
    "train", "report", "inference", "commands", "cli_runs", "cli",
]  # fmt: skip


def rooms() -> list[str]:
    return sorted(
        p.stem
        for p in SOURCE.iterdir()
        if (p.suffix == ".py" or p.is_dir()) and not p.stem.startswith("__")
    )


def imported(room: str) -> set[str]:
    """The rooms whose names a room's files import, wherever the import stands."""
    found = set()
    for path in (
        [SOURCE / f"{room}.py"]
        if (SOURCE / f"{room}.py").exists()
        else (SOURCE / room).rglob("*.py")
    ):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if (
                isinstance(node, ast.ImportFrom)
                and node.module
                and node.module.startswith("headstart.")
            ):
                found.add(node.module.split(".")[1])
    return found - {room}


def test_every_room_has_its_place() -> None:
    assert rooms() == sorted(ORDER)


@pytest.mark.parametrize("room", ORDER)
def test_no_arrow_points_upwards(room: str) -> None:
    above = ORDER[ORDER.index(room) + 1 :]
    assert not imported(room) & set(above)


@pytest.mark.parametrize("room", [room for room in ORDER if (SOURCE / room).is_dir()])
def test_modules_of_a_room_import_each_other_in_no_circle(room: str) -> None:
    """Wherever the import stands, but for those that only the type checker reads."""
    imports: dict[str, set[str]] = {}
    for path in (SOURCE / room).glob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for_types = {
            inner
            for node in ast.walk(tree)
            if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test)
            for inner in ast.walk(node)
        }
        imports[path.stem] = {
            node.module.split(".")[2]
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom)
            and node not in for_types
            and (node.module or "").startswith(f"headstart.{room}.")
        }
    TopologicalSorter(imports).prepare()  # raises CycleError


MODALITY = re.compile(
    r"(?i)(?<![a-z])(image|pixel|picture|photo|text|token|word|sentence)s?(?![a-z])"
)


def without_docstrings(path: Path) -> str:
    """A source file less its docstrings."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef) and (
            docstring := ast.get_docstring(node, clean=False)
        ):
            source = source.replace(docstring, "")
    return source


@pytest.mark.parametrize(
    "path",
    [*(SOURCE / "transfer").glob("*.py"), *(SOURCE / "train").glob("*.py")],
    ids=lambda p: p.stem,
)
def test_strategies_and_training_never_name_a_modality(path: Path) -> None:
    assert not [line for line in without_docstrings(path).splitlines() if MODALITY.search(line)]
