"""The command line as a user meets it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.cli import main
from tests.conftest import WriteRecipe


def call(*arguments: str) -> int:
    """The exit code of a command."""
    try:
        main([str(argument) for argument in arguments])
    except SystemExit as stop:
        return int(stop.code or 0)
    return 0


Capture = pytest.CaptureFixture[str]


def test_plan_prints_counts_blocks_rates_and_time_and_writes_nothing(
    write_recipe: WriteRecipe, tmp_path: Path, capsys: Capture
) -> None:
    path = write_recipe(transfer={"strategy": "scratch"})
    before = set(tmp_path.iterdir())
    assert call("plan", path) == 0
    said = capsys.readouterr().out
    assert re.search(r"blue +8 +2 +6", said)
    assert re.search(r"block 4 +267,840 +0\.001", said)
    assert re.search(r"estimate   about \d+ s", said)
    assert set(tmp_path.iterdir()) == before


def test_python_m_headstart_is_the_command() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "headstart", "--help"], capture_output=True, text=True
    )
    assert done.returncode == 0
    assert "lr-find" in done.stdout


def test_run_then_predict(
    write_recipe: WriteRecipe, tmp_path: Path, photos: Path, capsys: Capture
) -> None:
    assert call("run", write_recipe(), "train.epochs=1") == 0
    said = capsys.readouterr().out
    assert said.startswith("task       image_classification\ndata ")
    lines = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
    assert [line["event"] for line in lines] == ["strategy", "epoch", "result"]
    assert re.search(
        r"^test accuracy \d\.\d{3} \[\d\.\d{3}, \d\.\d{3}\], n = 18", said, re.MULTILINE
    )
    assert f"predict: headstart predict {tmp_path / 'run'}" in said
    one = photos / "test" / "red" / "00.png"
    assert call("predict", tmp_path / "run", one) == 0
    assert re.fullmatch(rf"{one}\t(red|green|blue)\t[01]\.\d{{4}}\n", capsys.readouterr().out)
    broken = tmp_path / "broken.png"
    broken.write_bytes(b"no image")
    assert call("predict", tmp_path / "run", one, broken) == 1
    said = capsys.readouterr()
    assert str(one) in said.out
    assert "broken.png: cannot be read" in said.err
    assert call("predict", tmp_path / "run", tmp_path / "nowhere.jpg") == 2
    assert "no such file" in capsys.readouterr().err


def test_schema(capsys: Capture) -> None:
    assert call("schema") == 0
    assert json.loads(capsys.readouterr().out)["title"] == "headstart recipe"


BAD = {
    "unknown key": ({"train": {"epoch": 3}}, "train.epoch: unknown key"),
    "wrong type": ({"train": {"epochs": "3"}}, "train.epochs: found '3'; expected a valid integer"),
    "unknown backbone": ({"model": {"backbone": "resnet81"}}, "did you mean 'resnet18'"),
    "unknown strategy": ({"transfer": {"strategy": "finetune"}}, "did you mean 'fine_tune'"),
    "missing folder": ({"data": {"source": "nowhere"}}, "no folder or table nowhere"),
    "frozen scratch": (
        {"transfer": {"strategy": "scratch", "last_blocks": 1}},
        "found strategy 'scratch'",
    ),
    "hub without network": (
        {"model": {"backbone": "resnet18.tv_in1k"}, "transfer": {"strategy": "fine_tune"}},
        "To go on without a hub",
    ),
    "not a number": ({"train": {"lr": 99.0, "optimizer": "sgd", "epochs": 6}}, "the loss is "),
    "batch of one": ({"train": {"batch_size": 2, "accumulation": 4}}, "need at least 4"),
    "nothing trains": (
        {"transfer": {"strategy": "partial", "train": ["tail"]}},
        "no block matches 'tail'",
    ),
    "one example for BatchNorm": ({"train": {"batch_size": 1}}, "BatchNorm needs two"),
    "a size the network cannot read": (
        {"model": {"backbone": "test_vit", "preprocessing": {"size": 33}}},
        "test_vit cannot read 33 × 33 pixels",
    ),
    "a tag of no weights": (
        {"model": {"backbone": "resnet18.nope"}},
        "Invalid pretrained tag (nope)",
    ),
    "no output": ({"output": "."}, "expected the name of a folder to make"),
    "a device as output": ({"output": "/dev/zero"}, "is there and is no folder"),
    "a file above the output": ({"output": "/dev/zero/x"}, "cannot be made"),
    "a table as a number": ({"train": 3}, "found 3; expected a table of keys"),
    "an empty source": ({"data": {"source": ""}}, "data.source: found ''"),
    "an infinite decay": (
        {"train": {"weight_decay": float("inf")}},
        "train.weight_decay: found inf",
    ),
    "two sources of weights": (
        {"model": {"backbone": "packaged:efficientnet_lite0", "weights": "w.pth"}},
        "brings its own weights",
    ),
    "a rate for a forest": (
        {"evaluate": {"baselines": [{"name": "raw_pixels_forest", "lr": 0.1}]}},
        "raw_pixels_forest trains no network",
    ),
    "a baseline of another kind": (
        {"evaluate": {"baselines": ["word_counts"]}},
        "unknown strategy or baseline",
    ),
}


@pytest.mark.parametrize("kind", BAD)
def test_bad_input_is_one_message_and_exit_code_2(
    kind: str,
    write_recipe: WriteRecipe,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
    weights: Path,
) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hub"))
    changes, said = BAD[kind]
    if kind == "nothing trains":
        changes = {**changes, "model": {"weights": str(weights)}}
    assert call("run", write_recipe(**changes)) == 2
    err = capsys.readouterr().err
    assert err.startswith("error: ")
    assert said in err
    assert "Traceback" not in err
    assert not [file.name for file in tmp_path.iterdir() if "run" in file.name]


def test_a_reader_that_goes_away_costs_no_run(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    command = [sys.executable, "run.py", str(write_recipe(train={"epochs": 1}))]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(
        command, cwd=Path(__file__).parents[1], stdout=writer, stderr=subprocess.PIPE, timeout=120
    )
    os.close(writer)
    assert (tmp_path / "run" / "metrics.json").exists(), done.stderr


def test_a_terminated_run_cleans_up(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    command = [sys.executable, "run.py", str(write_recipe(train={"epochs": 100_000}))]
    process = subprocess.Popen(
        command, cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    while '"epoch"' not in process.stdout.readline():
        assert process.poll() is None
    process.terminate()
    process.communicate(timeout=60)
    assert process.returncode == 143
    assert [file.name for file in tmp_path.iterdir() if "run" in file.name] == []


def test_an_old_name_of_a_key_is_a_note(write_recipe: WriteRecipe, capsys: Capture) -> None:
    assert call("plan", write_recipe(), "train.select_on=test", "train.lr=-1") == 2
    note, error = capsys.readouterr().err.splitlines()
    assert note == "note: train.select_on is now called train.selection; the old name still works"
    assert error.startswith("error: ")
