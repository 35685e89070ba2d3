"""`sample:docstrings`: which library is a docstring from? A real set of texts that every
installation has.

The first paragraphs of public docstrings, read from the source files of installed packages (nothing
is imported), with the libraries' names masked and duplicates removed. The same versions of the
packages give the same set.
"""

from __future__ import annotations

import ast
import hashlib
import importlib.metadata
import json
import re
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from headstart.errors import HeadstartError

PACKAGES = {
    "gensim": "gensim",
    "numpy": "numpy",
    "pandas": "pandas",
    "scikit-learn": "sklearn",
    "scipy": "scipy",
    "torch": "torch",
}
TRAIN, TEST = 100, 100  # a library
CANDIDATES = 600  # a library
FOREIGN = {
    "test",
    "tests",
    "testing",
    "externals",
    "_external",
    "_vendor",
    "third_party",
    "array_api_compat",
    "array_api_extra",
}
NAMES = re.compile(
    r"(?i)\b(numpy|np|pandas|pd|sklearn|scikit[- ]?learn|pytorch|torch\w*|scipy|gensim)\b"
)
MASK = "library"
FEWEST_WORDS = 6


def versions() -> str:
    """The versions that the set depends on, in short."""
    try:
        found = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    except importlib.metadata.PackageNotFoundError as error:
        raise HeadstartError(
            f"data.source: sample:docstrings reads the source of {error}, which is not installed"
        ) from None
    return hashlib.sha256(" ".join(found).encode()).hexdigest()[:12]


def write_docstrings(folder: Path) -> None:
    """train.jsonl and test.jsonl with 100 docstrings a library each."""
    found = {label: set(_first_few(package)) for label, package in PACKAGES.items()}
    counted: dict[str, int] = {}
    for texts in found.values():
        for text in texts:
            counted[text.lower()] = counted.get(text.lower(), 0) + 1
    parts: dict[str, list[dict[str, str]]] = {"train": [], "test": []}
    for label, texts in found.items():
        own = sorted((text for text in texts if counted[text.lower()] == 1), key=_place)
        parts["train"] += [{"text": text, "label": label} for text in own[:TRAIN]]
        parts["test"] += [{"text": text, "label": label} for text in own[TRAIN : TRAIN + TEST]]
    for part, rows in parts.items():
        lines = [
            json.dumps(row, ensure_ascii=False)
            for row in sorted(rows, key=lambda row: _place(row["text"]))
        ]
        (folder / f"{part}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")


def _place(text: str) -> str:
    """A random place that is always the same."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _first_few(package: str) -> Iterator[str]:
    """Masked first paragraphs of a package's public docstrings, from its files in random but fixed
    order."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise HeadstartError(
            f"data.source: sample:docstrings reads the source of {package}, which is not installed"
        )
    root = Path(spec.submodule_search_locations[0])
    files = [path for path in root.rglob("*.py") if not FOREIGN & set(path.relative_to(root).parts)]
    seen: set[str] = set()
    for path in sorted(files, key=lambda path: _place(path.relative_to(root).as_posix())):
        for docstring in _docstrings(path):
            paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
            text = NAMES.sub(MASK, paragraph)
            if len(text.split()) >= FEWEST_WORDS and text not in seen:
                seen.add(text)
                yield text
        if len(seen) >= CANDIDATES:
            return


def _docstrings(path: Path) -> Iterator[str]:
    try:
        module = ast.parse(path.read_text(encoding="utf-8"))
    except (SyntaxError, UnicodeDecodeError):
        return
    waiting: list[ast.AST] = [module]
    while waiting:
        for node in ast.iter_child_nodes(waiting.pop()):
            if isinstance(
                node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef
            ) and not node.name.startswith("_"):
                if docstring := ast.get_docstring(node):
                    yield docstring
                if isinstance(node, ast.ClassDef):
                    waiting.append(node)
