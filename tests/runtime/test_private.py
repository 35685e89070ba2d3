"""Private interfaces of other packages: they still are what headstart takes them for, and are used
in one module."""

from __future__ import annotations

import ast
import atexit
import logging
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import datasets
import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.neighbors import KNeighborsClassifier
from sklearn.svm import SVC, NuSVC
from torch import nn
from transformers import TrainingArguments

from headstart.runtime import private

SOURCE = Path(private.__file__).parents[1]


def private_names(path: Path) -> list[str]:
    """Names with a leading underscore that a file takes from something else than itself."""
    found = []
    tree = ast.parse(path.read_text(encoding="utf-8"))
    own = {
        node.attr if isinstance(node, ast.Attribute) else node.name
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef)
        or (isinstance(node, ast.Attribute) and ast.unparse(node.value) in ("self", "cls"))
    }
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute):
            names = [] if ast.unparse(node.value) in ("self", "cls") else [node.attr]
        elif isinstance(node, ast.ImportFrom):
            names = [*(node.module or "").split("."), *(alias.name for alias in node.names)]
        elif isinstance(node, ast.Import):
            names = [part for alias in node.names for part in alias.name.split(".")]
        else:
            continue
        found += [name for name in names if name[0] == "_" and name[:2] != "__" and name not in own]
    return found


def test_private_names_of_others_are_used_in_one_module() -> None:
    used = {path: private_names(path) for path in SOURCE.rglob("*.py")}
    public = {"_exit"}  # documented, of os
    assert [path.stem for path, names in used.items() if set(names) - public] == ["private"]


def test_exit_handlers_run_once() -> None:
    code = (
        "import atexit, os; from headstart.runtime.private import run_exit_handlers;"
        "atexit.register(print, 'left', flush=True); run_exit_handlers(); os._exit(0)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout == "left\n"
    assert callable(atexit._run_exitfuncs)


def test_a_data_set_is_known_by_its_content() -> None:
    first, other = (datasets.Dataset.from_dict({"a": [value]}) for value in (1, 2))
    assert private.content_id(first) == private.content_id(first)
    assert private.content_id(first) != private.content_id(first.map(lambda row: {"a": 3}))
    assert private.content_id(first) != private.content_id(other)


def test_the_trainer_takes_one_gpu(tmp_path: Path) -> None:
    arguments = TrainingArguments(output_dir=str(tmp_path), report_to="none")
    _ = arguments.n_gpu
    arguments._n_gpu = 4
    assert arguments.n_gpu == 4
    private.use_one_gpu(arguments)
    assert arguments.n_gpu == 1


def test_compiling_a_module_can_be_undone() -> None:
    module = nn.Linear(2, 2)
    assert not private.is_compiled(module)
    module.compile(backend="eager")
    assert private.is_compiled(module)
    private.undo_compile(module)
    assert not private.is_compiled(module)
    assert module(torch.zeros(1, 2)).shape == (1, 2)


def test_the_compiler_can_be_made_quiet_and_forgiving(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch._dynamo
    import torch._logging

    asked = SimpleNamespace()
    monkeypatch.setattr(torch._logging, "set_logs", lambda **levels: vars(asked).update(levels))
    private.only_log_errors_of_compiling()
    assert vars(asked) == {"all": logging.ERROR}
    with torch._dynamo.config.patch(suppress_errors=False):
        private.run_uncompiled_on_errors()
        assert torch._dynamo.config.suppress_errors is True


def test_parameters_are_checked_before_a_fit() -> None:
    private.check_parameters(LogisticRegression(C=2.0))
    with pytest.raises(ValueError, match="'C' parameter"):
        private.check_parameters(LogisticRegression(C="x"))


FEATURES = np.random.default_rng(0).normal(size=(12, 3))
LABELS = np.arange(12) % 3


def test_neighbours_are_the_examples_and_their_labels() -> None:
    classifier = KNeighborsClassifier(3, algorithm="brute").fit(FEATURES, LABELS)
    labels, examples, tree = private.neighbours_of(classifier)
    np.testing.assert_array_equal(labels, LABELS)
    np.testing.assert_array_equal(examples, FEATURES)
    assert tree is None
    other = KNeighborsClassifier(3, algorithm="kd_tree").fit(FEATURES, LABELS)
    assert private.neighbours_of(other).tree is not None


@pytest.mark.parametrize("kind", [SVC, NuSVC])
def test_support_vectors_have_the_shapes_that_libsvm_reads(kind: type[SVC]) -> None:
    classifier = kind().fit(FEATURES, LABELS)
    support = private.support_vectors_of(classifier)
    assert support
    assert support.counts.sum() == len(classifier.support_vectors_)
    assert support.coefficients.shape == (2, len(classifier.support_vectors_))
    assert support.intercepts.shape == (3,)
    assert private.support_vectors_of(LogisticRegression()) is None
