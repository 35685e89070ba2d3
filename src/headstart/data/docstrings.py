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
from collections import Counter
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

from headstart.errors import DataError

PACKAGES = {
    "gensim": "gensim", "numpy": "numpy", "pandas": "pandas", "scikit-learn": "sklearn",
    "scipy": "scipy", "torch": "torch",
}  # fmt: skip
TRAIN, TEST, CANDIDATES = 100, 100, 600  # docstrings of a library
EXCLUDED_FOLDERS = {  # tests, and copies of other libraries
    "test", "tests", "testing", "externals", "_external", "_vendor", "third_party",
    "array_api_compat", "array_api_extra",
}  # fmt: skip
NAMES = re.compile(
    r"(?i)\b(numpy|np|pandas|pd|sklearn|scikit[- ]?learn|pytorch|torch\w*|scipy|gensim)\b"
)
MASK = "library"
MIN_WORDS = 6


def versions() -> str:
    """A hash of the versions that the set depends on."""
    try:
        installed = [f"{name} {importlib.metadata.version(name)}" for name in PACKAGES]
    except importlib.metadata.PackageNotFoundError as error:
        raise DataError(
            f"data.source: sample:docstrings reads the source of {error}, which is not installed"
        ) from None
    return hashlib.sha256(" ".join(installed).encode()).hexdigest()[:12]


def write_docstrings(folder: Path) -> None:
    """train.jsonl and test.jsonl with 100 docstrings a library each."""
    candidates = {label: set(_first_paragraphs(package)) for label, package in PACKAGES.items()}
    counts = Counter(text.lower() for texts in candidates.values() for text in texts)
    parts: dict[str, list[tuple[str, str]]] = {"train": [], "test": []}
    for label, texts in candidates.items():
        unique = sorted((text for text in texts if counts[text.lower()] == 1), key=_random_key)
        parts["train"] += [(text, label) for text in unique[:TRAIN]]
        parts["test"] += [(text, label) for text in unique[TRAIN : TRAIN + TEST]]
    for part, rows in parts.items():
        lines = [
            json.dumps({"text": text, "label": label}, ensure_ascii=False) + "\n"
            for text, label in sorted(rows, key=lambda row: _random_key(row[0]))
        ]
        (folder / f"{part}.jsonl").write_text("".join(lines), encoding="utf-8")


def package_folder(package: str, use: str) -> Path:
    """The folder of an installed package, which is not imported; `use` begins the message."""
    spec = find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise DataError(
            f"data.source: {use} {package}, which is not installed; pip install "
            '"headstart[offline]"'
        )
    return Path(spec.submodule_search_locations[0])


def _random_key(text: str) -> str:
    """For a random order that is always the same."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _first_paragraphs(package: str) -> Iterator[str]:
    """Masked first paragraphs of public docstrings, from files in a random but fixed order."""
    root = package_folder(package, "sample:docstrings reads the source of")
    files = (path.relative_to(root) for path in root.rglob("*.py"))
    included = [path for path in files if not EXCLUDED_FOLDERS.intersection(path.parts)]
    seen: set[str] = set()
    for path in sorted(included, key=lambda path: _random_key(path.as_posix())):
        for docstring in _docstrings(root / path):
            paragraph = " ".join(docstring.strip().split("\n\n")[0].split())
            text = NAMES.sub(MASK, paragraph)
            if len(text.split()) >= MIN_WORDS and text not in seen:
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
