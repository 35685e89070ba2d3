"""Predictions written to a table, whatever happens meanwhile."""

from __future__ import annotations

import csv
import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import headstart
from headstart.errors import HeadstartError
from headstart.evaluate.calibration import apply_temperature
from headstart.inference.table import write_table as write_table_of
from headstart.report.predictions import read_predictions
from tests.conftest import MakeRun, reviews, write_table
from tests.test_cli import call

Capture = pytest.CaptureFixture[str]


def test_each_kind_of_table_has_a_row_an_example(
    make_run: MakeRun, photos: Path, tmp_path: Path, capsys: Capture
) -> None:
    run, one = make_run("image"), photos / "test" / "red" / "00.png"
    (tmp_path / "broken.png").write_bytes(b"no image")
    given = [one, photos / "test", tmp_path / "broken.png"]  # the first one lies in the second
    for name in ("a.csv", "b.jsonl", "c.parquet"):
        assert call("predict", run, *given, "--out", tmp_path / name, "--top", "2") == 1
        assert "19 rows, of which 1 could not be read" in capsys.readouterr().err
    tables = [
        pd.read_csv(tmp_path / "a.csv"),
        pd.read_json(tmp_path / "b.jsonl", lines=True),
        pd.read_parquet(tmp_path / "c.parquet"),
    ]
    for table in tables:
        assert list(table.columns) == [
            *(
                "example",
                "label",
                "predicted",
                "probability",
                "p(blue)",
                "p(green)",
                "p(red)",
                "refused",
                "error",
            ),
            *("predicted_2", "probability_2"),
        ]
        assert len(table) == table["example"].nunique() == 19
        assert table["error"].notna().tolist() == [False] * 18 + [True]
        assert (table["probability"][:18] >= table["probability_2"][:18]).all()
        assert table["predicted"].tolist()[:18] == tables[0]["predicted"].tolist()[:18]
    assert call("predict", run, one) == 0
    assert capsys.readouterr().out.split("\t")[1] == tables[0]["predicted"][0]
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "a.csv",
        "b.jsonl",
        "broken.png",
        "c.parquet",
    ]


def test_a_run_and_predict_write_the_same_columns(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run("text")
    texts = [text for text, _ in reviews(40, seed=2)]
    assert (
        call(
            "predict",
            run,
            write_table(tmp_path / "t.tsv", [(text, "") for text in texts]),
            "--out",
            tmp_path / "p.csv",
        )
        == 0
    )
    theirs, ours = (pd.read_csv(path) for path in (run / "predictions.csv", tmp_path / "p.csv"))
    assert list(ours.columns) == list(theirs.columns)
    same = ["predicted", "probability", "p(neg)", "p(pos)", "refused"]
    pd.testing.assert_frame_equal(ours[same], theirs[same], atol=2e-6)
    assert ours["label"].isna().all()
    assert theirs["label"].tolist() == [label for _, label in reviews(40, seed=2)]


def test_predictions_of_an_older_version_are_read(make_run: MakeRun, tmp_path: Path) -> None:
    now = read_predictions(make_run("text"))
    rows = zip(now.names, now.labels, now.predicted, now.probabilities, strict=True)
    lines = [f"{name},{label},{guess},{a:.6f},{b:.6f}" for name, label, guess, (a, b) in rows]
    (tmp_path / "predictions.csv").write_text(
        "\n".join(["example,label,predicted,p(neg),p(pos)", *lines])
    )
    then = read_predictions(tmp_path)
    assert (then.names, then.labels, then.predicted) == (now.names, now.labels, now.predicted)
    assert (then.probabilities == now.probabilities).all()


@pytest.mark.parametrize("kind", [".csv", ".jsonl", ".parquet"])
def test_what_is_too_uncertain_is_refused(
    make_run: MakeRun, tmp_path: Path, capsys: Capture, kind: str
) -> None:
    run, texts = make_run("text"), [text for text, _ in reviews(30, seed=4)]
    calibration = headstart.Report.read(run).calibration
    assert calibration is not None
    right = apply_temperature(headstart.load(run).probabilities(texts), calibration.temperature)
    least = float(np.median(right.max(1)))
    out = tmp_path / f"p{kind}"
    table = write_table(tmp_path / "t.tsv", [(text, "") for text in texts])
    assert call("predict", run, table, "--out", out, "--refuse-below", repr(least)) == 0
    refused = right.max(1) < least
    assert (
        f"refused, for no label has {least:g} or more: {refused.sum()}" in capsys.readouterr().err
    )
    read = {
        ".csv": pd.read_csv,
        ".jsonl": partial(pd.read_json, lines=True),
        ".parquet": pd.read_parquet,
    }[kind]
    found = read(out)
    np.testing.assert_allclose(found[["p(neg)", "p(pos)"]], right, atol=2e-6)
    assert found["refused"].tolist() == refused.tolist()
    assert (found["predicted"].fillna("") == "").tolist() == refused.tolist()
    assert call("predict", run, texts[int(refused.argmax())], "--refuse-below", repr(least)) == 0
    assert capsys.readouterr().out.split("\t")[1] == ""


@pytest.mark.parametrize(
    ("strategy", "least", "said"),
    [
        ("feature_extraction", 0.9, "has no temperature, for no part was held out"),
        ("scratch", 1.5, "found 1.5; expected a probability"),
        ("scratch", 0.0, "found 0; expected a probability"),
    ],
)
def test_refusing_needs_a_temperature_and_a_probability(
    make_run: MakeRun, capsys: Capture, strategy: str, least: float, said: str
) -> None:
    assert call("predict", make_run("text", strategy), "a film", "--refuse-below", least) == 2
    assert said in capsys.readouterr().err
    with pytest.raises(HeadstartError, match="found 2 runs"):
        headstart.load([make_run("text"), make_run("text", seed=1)], refuse_below=0.9)
    with pytest.raises(HeadstartError, match="exported file"):
        headstart.load("pets.onnx", refuse_below=0.9)


@pytest.mark.parametrize(
    ("name", "said"),
    [("p.txt", "expected .csv, .jsonl, .parquet"), ("there.csv", "is there already")],
)
def test_a_table_that_cannot_be_written(
    make_run: MakeRun, tmp_path: Path, capsys: Capture, name: str, said: str
) -> None:
    (tmp_path / "there.csv").write_text("mine")
    assert call("predict", make_run("text"), "a film", "--out", tmp_path / name) == 2
    assert said in capsys.readouterr().err
    assert (tmp_path / "there.csv").read_text() == "mine"


def test_one_process_at_a_time(make_run: MakeRun, tmp_path: Path, capsys: Capture) -> None:
    with (tmp_path / ".p.csv.headstart-lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert call("predict", make_run("text"), "a film", "--out", tmp_path / "p.csv") == 2
    assert "another process is writing" in capsys.readouterr().err
    assert call("predict", make_run("text"), "a film", "--out", tmp_path / "p.csv") == 0


def test_what_was_begun_otherwise_is_refused(
    make_run: MakeRun, tmp_path: Path, capsys: Capture
) -> None:
    part = tmp_path / ".p.csv.headstart-part"
    part.write_text(json.dumps({"models": [], "weights": [1.0], "top": 1, "tta": False}) + "\n")
    assert call("predict", make_run("text"), "a film", "--out", tmp_path / "p.csv") == 2
    assert "begun with another model, other options" in capsys.readouterr().err
    part.unlink()
    assert call("predict", make_run("text"), "a film", "--out", tmp_path / "p.csv") == 0


@pytest.mark.parametrize("rows", [0, 3])
def test_a_table_that_fails_leaves_nothing_and_may_be_mended(
    make_run: MakeRun, tmp_path: Path, rows: int
) -> None:
    table, good = tmp_path / "t.csv", "text,n\n" + "a fine film,1\n" * rows
    for content, code in ((good + "a,b,c\n", 2), (good + "a bad film,1\n", 0)):
        table.write_text(content)
        assert call("predict", make_run("text"), table, "--out", tmp_path / "out" / "p.csv") == code
        assert [path.name for path in (tmp_path / "out").iterdir()] == (
            ["p.csv"] if not code else []
        )


def test_stopped_and_started_again_it_has_one_row_an_example(
    make_run: MakeRun, tmp_path: Path
) -> None:
    model, out = headstart.load(make_run("text")), tmp_path / "p.csv"
    table, part = (
        write_table(tmp_path / "many.tsv", reviews(300, seed=3)),
        tmp_path / ".p.csv.headstart-part",
    )
    count = 0

    def stop() -> None:
        nonlocal count
        count += 1
        if count in (100, 250):
            raise KeyboardInterrupt

    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            write_table_of(out, model, [str(table)], 1, False, stop)
        with part.open("ab") as file:
            # as a process leaves it that is killed while it writes
            file.write(b'{"example": "cut of')
        assert not out.exists()
    write_table_of(out, model, [str(table)], 1, False, stop)
    assert count == 300
    assert [row["example"] for row in csv.DictReader(out.open())] == [
        f"{table}:{line}" for line in range(2, 302)
    ]


@pytest.mark.thorough
def test_killed_and_started_again_it_has_one_row_an_example(
    make_run: MakeRun, tmp_path: Path
) -> None:
    table, out = write_table(tmp_path / "many.tsv", reviews(12_000, seed=3)), tmp_path / "p.csv"
    part = tmp_path / ".p.csv.headstart-part"
    script = "from headstart.cli import main; main()"
    command = [sys.executable, "-c", script, "predict", make_run("text"), table, "--out", out]
    child = subprocess.Popen([str(word) for word in command], stderr=subprocess.DEVNULL)
    while child.poll() is None and not (part.exists() and part.read_bytes().count(b"\n") > 2_000):
        time.sleep(0.02)
    assert child.poll() is None
    child.send_signal(signal.SIGKILL)
    child.wait()
    kept = [json.loads(line)["probability"] for line in part.read_bytes().split(b"\n")[1:-1]]
    assert call(*command[3:]) == 0
    rows = list(csv.DictReader(out.open(encoding="utf-8")))
    assert [row["example"] for row in rows] == [f"{table}:{line}" for line in range(2, 12_002)]
    assert kept == [float(row["probability"]) for row in rows[: len(kept)]]


def test_what_has_changed_meanwhile_is_not_gone_on_with(
    make_run: MakeRun, tmp_path: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, out, part = make_run("text"), tmp_path / "p.csv", tmp_path / ".p.csv.headstart-part"
    table = write_table(tmp_path / "some.tsv", reviews(5, seed=1))

    def stop(self: object, found: object, tta: bool) -> object:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("headstart.inference.predict.Predictor.stream", stop)
        with pytest.raises(KeyboardInterrupt):
            write_table_of(out, headstart.load(run), [str(table)], 1, False, lambda: None)
    write_table(table, reviews(6, seed=2))
    for given in (table, "a film"):
        assert call("predict", run, given, "--out", out) == 2
        assert "other examples" in capsys.readouterr().err
    begun = part.read_bytes()
    for damaged in (b"[]\n", b"{\n", b'{"a": 1}\n', b"\0\0\n", b'{"example": "a", "b": 1}\n'):
        part.unlink()
        with monkeypatch.context() as patch:
            patch.setattr("headstart.inference.predict.Predictor.stream", stop)
            with pytest.raises(KeyboardInterrupt):
                write_table_of(out, headstart.load(run), [str(table)], 1, False, lambda: None)
        part.write_bytes(part.read_bytes() + damaged)
        assert call("predict", run, table, "--out", out) == 2
        assert "is damaged; delete it" in capsys.readouterr().err
    assert begun != part.read_bytes()


def test_a_pipe_is_not_waited_for(make_run: MakeRun, tmp_path: Path, capsys: Capture) -> None:
    os.mkfifo(tmp_path / "pipe.png")
    (tmp_path / "list.csv").write_text("image\npipe.png\n")
    for kind in ("image", "text"):
        assert call("predict", make_run(kind), tmp_path / "pipe.png") == 2
        assert "is a pipe or a device" in capsys.readouterr().err
    assert call("predict", make_run("image"), tmp_path / "list.csv") == 1
    assert "no plain file" in capsys.readouterr().err
