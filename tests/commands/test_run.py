"""From a recipe to a run directory and back."""

from __future__ import annotations

import csv
import errno
import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

import headstart
from headstart.catalogue import read_recipe
from headstart.commands import outcome
from headstart.errors import HeadstartError
from headstart.evaluate.paired_tests import holm, sign_flip_test
from headstart.evaluate.results import Epoch
from headstart.report.report import Report
from tests.conftest import MakeRun, WriteRecipe, reviews, write_table
from tests.test_cli import call

FILES = {
    "log.jsonl",
    "manifest.json",
    "metrics.json",
    "model",
    "predictions.csv",
    "recipe.resolved.toml",
    "report.html",
    "split.parquet",
}


def test_a_run_leaves_everything_behind_and_loads_again(
    write_recipe: WriteRecipe, tmp_path: Path, photos: Path
) -> None:
    beside = {"evaluate": {"baselines": [{"name": "fine_tune", "epochs": 1}, "raw_pixels_forest"]}}
    # fine_tune from a local file stands beside, so the run touches pretrained weights too
    path = write_recipe(transfer={"strategy": "scratch"}, **beside)
    weights = tmp_path / "w.pth"
    import timm
    import torch

    torch.save(timm.create_model("test_resnet").state_dict(), weights)
    report = headstart.run(path, [f"model.weights={weights}"])
    folder = tmp_path / "run"
    assert {file.name for file in folder.iterdir()} == {*FILES, "predictions"}
    assert not list(tmp_path.glob(".*"))
    assert Report.read(folder) == report
    assert report.test.n == 18
    assert report.counts["train"] == {"blue": 8, "green": 8, "red": 8}
    assert [result.name for result in report.baselines] == ["fine_tune", "raw_pixels_forest"]
    assert len(report.baselines[0].epochs) == 1
    assert report.baselines[0].phases[0].rates["head"] == pytest.approx(1e-2)
    assert report.selected_on == "validation"

    rows = list(csv.DictReader((folder / "predictions.csv").open()))
    assert [row["example"] for row in rows[:2]] == ["blue/00.png", "blue/01.png"]
    assert np.mean([row["label"] == row["predicted"] for row in rows]) == pytest.approx(
        report.test.accuracy.value
    )
    right = np.array([row["label"] == row["predicted"] for row in rows], dtype=int)
    chances = []
    for result in report.baselines:
        theirs = list(csv.DictReader((folder / "predictions" / f"{result.name}.csv").open()))
        assert list(theirs[0]) == list(rows[0])
        chances.append(sign_flip_test(right - [row["label"] == row["predicted"] for row in theirs]))
    assert [result.p for result in report.baselines] == holm(chances)
    assert "p " in report.verdict()
    model = headstart.load(folder)
    assert model.labels == ("blue", "green", "red")
    predictions = model.predict(photos / "test")
    assert [p.label for p in predictions] == [row["predicted"] for row in rows]
    for prediction, row in zip(predictions, rows, strict=True):
        assert prediction.probabilities["red"] == pytest.approx(float(row["p(red)"]), abs=2e-6)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["data"]["test"]["n"] == 18
    assert manifest["backbone"]["pretrained"] is None
    assert manifest["recipe_sha256"] == read_recipe(path, [f"model.weights={weights}"]).digest()
    events = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert [event["event"] for event in events] == [
        "strategy", "epoch", "epoch", "result", "strategy", "epoch", "result", "result",
    ]  # fmt: skip


def test_the_same_recipe_and_seed_give_the_same_run(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = write_recipe()
    headstart.run(path)
    first = (tmp_path / "run" / "model" / "network.safetensors").read_bytes()
    headstart.run(path)  # a run of the same recipe takes the place of the one before
    assert (tmp_path / "run" / "model" / "network.safetensors").read_bytes() == first


def test_a_folder_of_another_recipe_or_of_anything_else_is_left_alone(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    headstart.run(write_recipe(train={"epochs": 1}))
    before = (tmp_path / "run" / "metrics.json").read_bytes()
    with pytest.raises(
        HeadstartError, match=r"belongs to another recipe \(train.epochs: 1 there, 2 here\)"
    ):
        headstart.run(write_recipe())
    assert (tmp_path / "run" / "metrics.json").read_bytes() == before
    other = tmp_path / "thesis"
    other.mkdir()
    (other / "chapter.tex").write_text("precious")
    with pytest.raises(HeadstartError, match="so it is no run"):
        headstart.run(write_recipe(output=str(other)))
    assert [file.name for file in other.iterdir()] == ["chapter.tex"]


def test_a_full_disk_leaves_nothing_half_written(
    write_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(outcome, "write_report_page", full)
    with pytest.raises(HeadstartError, match="could not be written: no space left on device"):
        headstart.run(write_recipe(train={"epochs": 1}))
    assert [file.name for file in tmp_path.iterdir() if "run" in file.name] == [
        ".run.headstart-checkpoints"
    ]
    monkeypatch.undo()
    assert headstart.run(write_recipe(train={"epochs": 1})).main.epochs, (
        "what was trained is still there"
    )
    assert [file.name for file in tmp_path.iterdir() if "run" in file.name] == ["run"]


@pytest.mark.skipif(sys.platform != "linux", reason="limits the size of files")
@pytest.mark.parametrize(
    "write",
    [
        lambda path: save_file({"weight": np.zeros(10_000)}, path),
        lambda path: path.write_text("x" * 20_000),
    ],
    ids=["tensors", "text"],
)
def test_a_write_beyond_the_size_limit_is_one_sentence(
    write: Callable[[Path], object], write_recipe: WriteRecipe
) -> None:
    import resource

    from headstart.report.folder import run_directory

    recipe = read_recipe(write_recipe())
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, limits[1]))
    try:
        with (
            pytest.raises(HeadstartError, match="could not be written: file too large"),
            run_directory(recipe) as folder,
        ):
            write(folder / "file")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_a_run_that_another_process_writes_is_left_alone(write_recipe: WriteRecipe) -> None:
    from headstart.report.folder import run_directory

    path = write_recipe()
    with run_directory(read_recipe(path)) as folder:
        with pytest.raises(HeadstartError, match="another process is writing"):
            headstart.run(path)
        assert folder.is_dir()


def test_selecting_on_the_test_part_is_said(write_recipe: WriteRecipe) -> None:
    report = headstart.run(
        write_recipe(data={"validation": 0.0}, train={"selection": "test", "epochs": 1})
    )
    assert "validation" not in report.counts
    assert "test accuracy (selected on this set)" in report.summary()
    assert report.main.epochs[0].selection("accuracy") == report.test.accuracy.value


def test_the_last_epoch_is_kept_without_a_validation_part(write_recipe: WriteRecipe) -> None:
    report = headstart.run(write_recipe(data={"validation": 0.0}))
    assert report.selected_on is None
    assert report.main.kept == Epoch(phase=1, epoch=2)


def test_names_from_the_data_are_shown_as_text(
    write_recipe: WriteRecipe, tmp_path: Path, photos: Path
) -> None:
    import shutil

    wild = tmp_path / "wild"
    shutil.copytree(photos, wild)
    evil = "<script>alert(1)<"  # a class folder cannot hold a slash
    for part in ("train", "test"):
        (wild / part / "red").rename(wild / part / evil)
    report = headstart.run(write_recipe(data={"source": str(wild)}, train={"epochs": 1}))
    page = (tmp_path / "run" / "report.html").read_text()
    assert evil in report.labels
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;" in page
    assert "http" not in page.replace("http-equiv", "")


@pytest.mark.parametrize(
    "change",
    [
        {"labels": ["a"]},
        {"labels": None},
        {"classes": "x"},
        {"precision": "nope"},
        {"backbone": 3},
        {"head": {"hidden": ["x"]}},
        {"preprocessing": {"input_size": [3, 32, 32]}},
        {"task": "cooking"},
    ],
)
def test_a_damaged_model_is_one_message(
    change: dict[str, object], write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    from headstart.runtime.machine import start
    from headstart.train.prepare import prepare

    prepared = prepare(read_recipe(write_recipe()), start())
    prepared.network.save(tmp_path / "run" / "model")
    config = tmp_path / "run" / "model" / "config.json"
    assert headstart.load(tmp_path / "run").labels == ("blue", "green", "red")
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    with pytest.raises(HeadstartError):
        headstart.load(tmp_path / "run")


def test_neighbours_of_a_run_are_never_touched(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    for name in ("run.old", "run.partial"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "mine").write_text("precious")
    path = write_recipe(train={"epochs": 1})
    headstart.run(path)
    headstart.run(path)
    assert all((tmp_path / name / "mine").exists() for name in ("run.old", "run.partial"))
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(HeadstartError, match="is there and is no folder"):
        headstart.run(path, [f"output={tmp_path / 'link'}"])


def test_a_rival_that_cannot_be_had_is_said_before_anything_trains(
    write_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.train import engine

    monkeypatch.setattr(engine, "tune", lambda *_: pytest.fail("training has begun"))
    with pytest.raises(HeadstartError, match="could not be had from the hub"):
        headstart.run(write_recipe(evaluate={"baselines": ["fine_tune"]}))


def test_no_run_no_model_no_report(tmp_path: Path) -> None:
    with pytest.raises(HeadstartError, match=r"found no model/config\.json"):
        headstart.load(tmp_path)
    with pytest.raises(HeadstartError, match=r"found no metrics\.json"):
        Report.read(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model" / "config.json").write_text('{"task": 3')
    with pytest.raises(HeadstartError, match="damaged"):
        headstart.load(tmp_path)


def test_a_test_of_one_class_and_a_majority_learned_from_training(
    write_recipe: WriteRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = reviews(60, seed=1)
    few = [row for row in rows if row[1] == "pos"][:12]
    write_table(tmp_path / "one" / "train.tsv", [row for row in rows if row[1] == "neg"] + few)
    write_table(
        tmp_path / "one" / "test.tsv", [row for row in reviews(30, seed=5) if row[1] == "pos"]
    )
    path = write_recipe(
        task="text_classification", data={"source": str(tmp_path / "one")}, train={"epochs": 1}
    )
    report = headstart.run(path)
    assert (report.test.majority_class, report.test.majority_accuracy) == ("neg", 0.0)
    assert report.test.auroc is None
    assert "note: all 15 test examples are of one class, 'pos'" in report.summary()
    assert Report.read(tmp_path / "run") == report
    assert (tmp_path / "run" / "report.html").read_text().count(
        "not defined (the test has one class only)"
    ) == 3
    assert call("evaluate", tmp_path / "run") == 0
    assert "are of one class, 'pos'" in capsys.readouterr().out
    on_test = [f"output={tmp_path}/other", "train.selection=test", "data.validation=0.0"]
    for metric in ("auroc", "matthews"):
        with pytest.raises(
            HeadstartError, match=f"train.metric: {metric} is not defined on the test part"
        ):
            headstart.run(path, [*on_test, f"train.metric={metric}"])


def test_two_of_one_name_beside_have_a_table_each(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    beside = [{"name": "scratch", "lr": 1e-2}, {"name": "scratch", "lr": 1e-4}]
    headstart.run(write_recipe(train={"epochs": 1}, evaluate={"baselines": beside}))
    found = sorted(path.name for path in (tmp_path / "run" / "predictions").iterdir())
    assert found == ["scratch-2.csv", "scratch.csv"]


def test_a_report_of_an_older_version_is_read(make_run: MakeRun, tmp_path: Path) -> None:
    old = json.loads((make_run("text") / "metrics.json").read_text())
    old["beside"] = [{**old["main"], "name": "other"}]
    for result in (old["main"], *old["beside"]):
        del result["p"]
        result["test"] |= {"majority_class": "pos", "majority_accuracy": 0.75}
    (tmp_path / "metrics.json").write_text(json.dumps(old))
    report = Report.read(tmp_path)
    assert report.test.majority_accuracy == 0.75
    assert report.verdict() == "scratch is level with other; the intervals overlap."
