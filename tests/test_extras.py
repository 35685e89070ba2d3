"""Packages that only some users need: without one, a message names the extra that installs it."""

from __future__ import annotations

import sys
import tomllib
from pathlib import Path

import pytest

from headstart.cli import main
from tests.conftest import MakeRun, WriteRecipe


@pytest.mark.parametrize(
    ("package", "extra", "command", "feature"),
    [
        ("peft", "lora", "plan lora", "transfer.strategy 'lora'"),
        ("optuna", "search", "search search", "headstart search"),
        ("gensim", "words", "plan words", "model.backbone: binary word vectors"),
        ("datasets", "hub", "check hub", "data.source: hub:org/name"),
        ("onnx", "export", "export RUN --to onnx", "ONNX files"),
        ("onnxruntime", "export", "predict a.onnx a.png", "a.onnx: an ONNX file"),
        ("fastapi", "serve", "serve RUN", "headstart serve"),
    ],
)
def test_without_a_package_the_message_names_its_extra(
    package: str,
    extra: str,
    command: str,
    feature: str,
    write_recipe: WriteRecipe,
    make_run: MakeRun,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    vectors, onnx = tmp_path / "vectors.bin", tmp_path / "a.onnx"
    vectors.write_bytes(b"1 2\na " + bytes(8))
    onnx.write_bytes(b"")
    recipes = {
        "lora": {"task": "text_classification", "transfer": {"strategy": "lora"}},
        "search": {"search": {"space": {"train.lr": [0.1, 0.01]}}},
        "words": {
            "task": "embedding_classification",
            "transfer": {"strategy": None},
            "model": {"backbone": str(vectors)},
        },
        "hub": {"task": "text_classification", "data": {"source": "hub:org/name"}},
    }
    verb, target, *more = command.split()
    if target in recipes:
        target = str(write_recipe(**recipes[target]))
    monkeypatch.chdir(tmp_path)
    target = target.replace("RUN", str(make_run("image")))
    monkeypatch.delitem(sys.modules, "headstart.inference.serve", raising=False)
    for name in [*sys.modules, package]:
        if name.partition(".")[0] == package:
            monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(SystemExit) as stop:
        main([verb, target, *more])
    assert stop.value.code == 2
    message = f'{feature}: {package} is not installed; pip install "headstart[{extra}]"'
    assert message in capsys.readouterr().err


def test_each_of_these_packages_is_installed_by_its_extra_only() -> None:
    pyproject = Path(__file__).parents[1] / "pyproject.toml"
    project = tomllib.loads(pyproject.read_text())["project"]
    extras, always = project["optional-dependencies"], "".join(project["dependencies"])
    for package, extra in {
        "peft": "lora", "optuna": "search", "gensim": "words", "datasets": "hub",
        "onnx>": "export", "onnxruntime": "export", "fastapi": "serve",
    }.items():  # fmt: skip
        assert package in "".join(extras[extra])
        assert package not in always
    (everything,) = extras.pop("all")
    names = everything.removeprefix("headstart[").removesuffix("]").split(",")
    assert sorted(names) == sorted(extras.keys() - {"dev"})
