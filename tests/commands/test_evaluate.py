"""Finished runs on a test part, each by itself and averaged."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import headstart
from headstart import Report
from headstart.commands.evaluate import evaluate, fitted_weights
from headstart.errors import HeadstartError
from headstart.evaluate.results import Scores
from headstart.inference.finished import finished
from tests.conftest import MakeRun, reviews, write_table
from tests.test_cli import call


def figures(scores: Scores) -> dict[str, float]:
    """Every number of them by its dotted name."""
    flat = pd.json_normalize(scores.model_dump(exclude={"classes"})).iloc[0].to_dict()
    return {name: value for name, value in flat.items() if isinstance(value, int | float)}


@pytest.fixture(scope="module")
def split(make_run: MakeRun) -> dict[str, str]:
    return {"file": str(make_run("text") / "split.parquet")}


def test_a_run_comes_to_what_its_report_says(make_run: MakeRun) -> None:
    run = make_run("text")
    found = evaluate([str(run)])
    ours, stated = figures(found.runs[str(run)]), figures(Report.read(run).test)
    assert ours == pytest.approx(stated, abs=1e-9), "batches of other texts change the last bits"
    assert ours["accuracy.value"] == stated["accuracy.value"]
    assert found.average is None
    assert f"accuracy {Report.read(run).test.accuracy}" in found.lines()[1]


def test_the_average_of_runs_of_one_split(
    make_run: MakeRun,
    split: dict[str, str],
    capsys: pytest.CaptureFixture[str],
) -> None:
    runs = [str(make_run("text")), str(make_run("text", seed=1, data={"split": split}))]
    found = evaluate(runs)
    assert list(found.runs) == runs
    texts = [text for text, _ in reviews(40, seed=2)]
    truth = np.array([label == "pos" for _, label in reviews(40, seed=2)])
    right = (headstart.load(runs).probabilities(texts).argmax(1) == truth).mean()
    assert found.average is not None
    assert found.average.accuracy.value == pytest.approx(right)
    assert found.weights == (0.5, 0.5)
    assert call("evaluate", ",".join(runs), "--weights", "fit") == 0
    said = capsys.readouterr().out
    assert "average of 2" in said
    assert "p = " in said


def test_fitted_weights_have_the_least_loss(make_run: MakeRun, split: dict[str, str]) -> None:
    runs = [str(make_run("text")), str(make_run("text", seed=1, data={"split": split}))]
    members = [headstart.load(run) for run in runs]
    shares = fitted_weights(runs, members)
    validation = finished(runs[0]).dataset.validation
    assert validation is not None
    chances = [
        m.probabilities(validation.items)[np.arange(len(validation)), validation.labels]
        for m in members
    ]
    losses = {
        share: -np.log(share * chances[0] + (1 - share) * chances[1]).mean()
        for share in np.linspace(0, 1, 101)
    }
    assert shares.sum() == pytest.approx(1)
    assert -np.log(np.dot(shares, chances)).mean() <= min(losses.values()) + 1e-4


def test_a_run_that_has_learned_from_the_test_part_is_refused(
    make_run: MakeRun, tmp_path: Path
) -> None:
    write_table(tmp_path / "all" / "train.tsv", [*reviews(80, seed=1), *reviews(40, seed=2)])
    write_table(tmp_path / "all" / "test.tsv", reviews(20, seed=9))
    other = make_run("text", seed=2, data={"source": str(tmp_path / "all")})
    with pytest.raises(HeadstartError, match="has learned from"):
        evaluate([str(make_run("text")), str(other)])


def test_weights_need_a_part_that_nobody_learned_from(make_run: MakeRun) -> None:
    probe = str(make_run("text", "feature_extraction"))
    with pytest.raises(HeadstartError, match="has learned from it too"):
        evaluate([probe, probe], "fit")


def test_other_labelled_data(make_run: MakeRun, tmp_path: Path) -> None:
    fresh = write_table(tmp_path / "fresh.tsv", reviews(30, seed=7))
    found = evaluate([str(make_run("text"))], test=str(fresh))
    assert (found.n, found.notes) == (30, ())
    seen = write_table(tmp_path / "seen.tsv", [*reviews(10, seed=7), *reviews(20, seed=1)])
    (note,) = evaluate([str(make_run("text"))], test=str(seen)).notes
    assert "has learned from 20 of them" in note
    some = write_table(tmp_path / "some.tsv", [*reviews(30, seed=7), ("a film", ""), ("", "pos")])
    found = evaluate([str(make_run("text"))], test=str(some))
    assert found.n == 30
    assert (
        "left out of the test part: 1 with no label (some.tsv:32); 1 with an empty text "
        "(some.tsv:33)" in found.notes[0]
    )
    with pytest.raises(HeadstartError, match="classes that training lacks"):
        evaluate(
            [str(make_run("text"))],
            test=str(write_table(tmp_path / "odd.tsv", [("a film", "meh"), ("a plot", "pos")])),
        )


def test_all_that_is_left_out_of_other_images_is_said(
    make_run: MakeRun, photos: Path, tmp_path: Path
) -> None:
    fresh = tmp_path / "fresh"
    shutil.copytree(photos / "test", fresh)
    shutil.copy(photos / "train" / "red" / "00.png", fresh / "red" / "seen.png")
    shutil.copy(photos / "train" / "red" / "00.png", fresh / "red" / "seen_again.png")
    shutil.copy(fresh / "red" / "00.png", fresh / "loose.png")
    (fresh / "blue" / "broken.png").write_bytes(b"nothing")
    random = np.random.default_rng(0).integers(0, 4096, (2, 40, 40), np.uint16)
    for number, pixels in enumerate(random):
        Image.fromarray(pixels).save(fresh / "green" / f"deep{number}.png")
    found = evaluate([str(make_run("image"))], test=str(fresh))
    assert found.n == 22
    said = "\n".join(found.notes)
    assert "1 of 23 images of the test part cannot be read: " in said
    assert "images in no class folder: 1 (such as loose.png)" in said
    assert "2 of 52 images are greys of more than 8 bits (such as green/deep0.png)" in said
    assert "has learned from 2 of them" in said


def test_greys_that_a_model_has_no_range_for_are_named_once(
    make_run: MakeRun, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        Image.fromarray(np.full((40, 40), 900, np.uint16)).save(tmp_path / f"{number}.png")
    assert call("predict", str(make_run("image")), str(tmp_path)) == 0
    said = capsys.readouterr().err
    assert said.count("greys of more than 8 bits, and this model was trained without a range") == 1
    assert "model.preprocessing.grey_range" in said
