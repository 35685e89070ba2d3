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
    "train", "report", "inference", "commands", "cli_app", "cli",
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
    """Wherever the import stands, those for the type checker included."""
    imports = {
        path.stem: {
            node.module.split(".")[2]
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.ImportFrom)
            and (node.module or "").startswith(f"headstart.{room}.")
        }
        for path in (SOURCE / room).glob("*.py")
    }
    TopologicalSorter(imports).prepare()  # raises CycleError


@pytest.mark.parametrize("path", (SOURCE / "report").glob("*.py"), ids=lambda path: path.stem)
def test_the_report_is_made_of_results_alone(path: Path) -> None:
    """Not even the type checker reads networks or training there."""
    modules = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            modules.add(node.module or "")
    banned = re.compile(r"(torch|headstart\.(models|train))(\.|$)")
    assert not list(filter(banned.match, modules))


@pytest.mark.parametrize("path", SOURCE.rglob("*.py"), ids=lambda path: path.stem)
def test_an_import_changes_no_state_of_others(path: Path) -> None:
    """The top level of a module calls nothing but its own registries, and sets nobody's items or
    attributes."""
    calls, assigned = [], []
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
            calls.append(ast.unparse(node.value.func))
        elif isinstance(node, ast.Assign | ast.AugAssign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            assigned += [t for t in targets if isinstance(t, ast.Attribute | ast.Subscript)]
    registering = re.compile(r"\w+\.register\(.*\)")
    assert path.stem == "__main__" or all(map(registering.fullmatch, calls))
    assert not assigned


NAMES = {
    "vision", "image", "images", "text", "texts", "word", "words", "word_vectors",
    "image_classification", "text_classification", "embedding_classification",
}  # fmt: skip


def constants(sources: list[str]) -> set[str]:
    """Names of module constants that hold the name of a modality."""
    return {
        target.id
        for source in sources
        for node in ast.parse(source).body
        if isinstance(node, ast.Assign)
        and isinstance(node.value, ast.Constant)
        and node.value.value in NAMES
        for target in node.targets
        if isinstance(target, ast.Name)
    }


def comparisons(source: str, known: set[str]) -> list[str]:
    """What compares with the name of a modality: ==, !=, in, match."""

    def named(node: ast.expr) -> bool:
        if isinstance(node, ast.Tuple | ast.List | ast.Set):
            return any(map(named, node.elts))
        if isinstance(node, ast.Constant):
            return isinstance(node.value, str) and node.value in NAMES
        name = getattr(node, "attr", getattr(node, "id", None))
        return name in known

    return [
        ast.unparse(node)
        for node in ast.walk(ast.parse(source))
        if (isinstance(node, ast.Compare) and any(map(named, [node.left, *node.comparators])))
        or (isinstance(node, ast.MatchValue) and named(node.value))
    ]


def test_only_modalities_and_detect_ask_which_modality() -> None:
    sources = {path: path.read_text(encoding="utf-8") for path in SOURCE.rglob("*.py")}
    known = constants(list(sources.values()))
    exempt = {*(SOURCE / "modalities").glob("*.py"), SOURCE / "models" / "detect.py"}
    asking = {
        str(path.relative_to(SOURCE)): lines
        for path, source in sources.items()
        if path not in exempt and (lines := comparisons(source, known))
    }
    assert asking == {}


@pytest.mark.parametrize(
    "planted",
    [
        'spec.kind == "vision"',
        "kind != KIND",
        'kind in ("text", "words")',
        '"images" not in kinds',
        "match kind:\n    case 'word_vectors': pass",
        "match kind:\n    case a.KIND: pass",
    ],
)
def test_a_planted_comparison_is_seen(planted: str) -> None:
    assert comparisons(planted, constants(['KIND = "text"']))
    assert not comparisons("spec.kind == other", set())


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
