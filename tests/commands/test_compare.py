"""headstart compare: one split, a run for each cell, and what their predictions say about each
other."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from headstart.cli import main
from headstart.commands.compare import compare
from headstart.errors import HeadstartError
from headstart.evaluate.results import Estimate
from headstart.recipe.file import split_values
from headstart.report.comparison import Comparison, ComparisonRow, _accuracy, _differences
from headstart.report.predictions import read_predictions
from headstart.report.report import Report
from tests.conftest import WriteRecipe


def runs(folder: Path) -> dict[str, int]:
    """When each run of a comparison was finished."""
    return {
        path.parent.parent.name: path.stat().st_mtime_ns
        for path in folder.glob("cells/*/run/metrics.json")
    }


def test_ways_to_train_on_one_split(
    write_recipe: WriteRecipe, tmp_path: Path, weights: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write_recipe(model={"weights": str(weights)}))
    asked = [
        "compare",
        path,
        "--strategies",
        "scratch,feature_extraction",
        "--seeds",
        "2",
        "train.epochs=1",
    ]
    with pytest.raises(SystemExit) as ended:
        main(asked)
    assert not ended.value.code
    said = capsys.readouterr().out
    folder = tmp_path / "run.compare"
    assert len(runs(folder)) == 4
    assert "has the highest accuracy" in said
    found = json.loads((folder / "comparison.json").read_text())
    assert [row["seeds"] for row in found["rows"]] == [[0, 1], [0, 1]]
    names = {read_predictions(run / "run").names for run in (folder / "cells").iterdir()}
    assert len({frozenset(some) for some in names}) == 1, "one split"
    for row in found["rows"]:
        values = [
            Report.read(run / "run").test.accuracy.value
            for run in sorted((folder / "cells").iterdir())
            if run.name.startswith(row["name"])
        ]
        assert row["by_seed"] == pytest.approx(values)
        assert row["peak_bytes"] > 50e6
    page = (folder / "comparison.html").read_text(encoding="utf-8")
    assert found["rows"][0]["name"] in page
    assert "http" not in page
    before = runs(folder)
    with pytest.raises(SystemExit):
        main(asked)
    assert runs(folder) == before, "nothing is done again"


def test_one_failed_cell_does_not_lose_the_others(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = str(write_recipe(train={"epochs": 1}))
    found, folder = compare([path], vary={"model.backbone": ["test_resnet", "no_such_network"]})
    assert [row.name for row in found.rows] == ["test_resnet"]
    assert found.failed[0].startswith("no_such_network, seed 0: ")
    assert "failed: no_such_network" in (folder / "comparison.md").read_text()
    with pytest.raises(
        HeadstartError,
        match="no run came to an end; the first said: recipe, seed 0: model.backbone",
    ):
        compare([path], ["model.backbone=no_such_network"])


def test_killed_and_started_again_it_repeats_nothing(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = str(write_recipe(train={"epochs": 1}))
    command = [
        sys.executable,
        "-c",
        "from headstart.cli import main; main()",
        "compare",
        path,
        "--seeds",
        "2",
    ]
    child = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
    folder = tmp_path / "run.compare"
    deadline = time.monotonic() + 100
    while not list(folder.glob("cells/*/cost.json")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    os.kill(child.pid, signal.SIGKILL)
    child.wait()
    done = {path.parent.name for path in folder.glob("cells/*/cost.json")}
    before = runs(folder)
    time.sleep(0.5)  # what worked for it ends with it
    found, _ = compare([path], seeds=2)
    assert found.rows[0].seeds == (0, 1)
    assert {name: runs(folder)[name] for name in done} == {name: before[name] for name in done}


def test_two_that_work_on_one_comparison_share_its_runs(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = str(write_recipe(train={"epochs": 1}))
    command = [
        sys.executable,
        "-c",
        "from headstart.cli import main; main()",
        "compare",
        path,
        "--seeds",
        "3",
    ]
    both = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = [process.communicate()[0] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    begun = [
        line.partition(":")[0]
        for out in said
        for line in out.splitlines()
        if line.startswith("run ")
    ]
    assert sorted(begun) == [f"run {number} of 3" for number in range(1, 4)]
    assert [out[out.index("|") :] for out in said] == [said[0][said[0].index("|") :]] * 2


def test_recipes_of_other_data_are_not_compared(
    write_recipe: WriteRecipe, tmp_path: Path, photos: Path
) -> None:
    one = write_recipe().rename(tmp_path / "one.toml")
    two = write_recipe(data={"source": str(photos / "train")})
    with pytest.raises(HeadstartError, match=r"compare: recipe has other \[data\] than one"):
        compare([str(one), str(two)])


def row(name: str, points: float, p: float | None, seconds: float) -> ComparisonRow:
    return ComparisonRow(
        name=name, seeds=(0,), accuracy=Estimate(value=0.9 - points / 100, low=0.8, high=0.95),
        by_seed=(0.9,), macro_f1=0.9,
        log_loss=0.3, points=points, p=p, seconds=seconds, peak_bytes=10**9, model_bytes=10**7,
        trainable=10,
    )  # fmt: skip


def test_the_verdict_tells_chance_from_difference() -> None:
    rows = (
        row("lp_ft", 0, None, 80.0),
        row("feature_extraction", 1.2, 0.31, 2.0),
        row("scratch", 20, 1e-9, 80.0),
    )
    assert Comparison(n=400, rows=rows, failed=()).verdict() == (
        "lp_ft has the highest accuracy, 0.900 [0.800, 0.950] (n = 400). feature_extraction is "
        "1.2 points lower, p = 0.31: not distinguishable; it takes 1/40 of the time. scratch is "
        "20.0 points lower, p < 0.001: more than chance. The fastest that is not distinguishable "
        "is feature_extraction."
    )


def test_seeds_widen_the_interval_and_different_numbers_of_them_compare() -> None:
    random = np.random.default_rng(0)
    steady = np.repeat(random.random((300, 1)) < 0.8, 3, axis=1)
    assert _accuracy(steady, 400).high - _accuracy(steady, 400).low == pytest.approx(
        4 * 0.4 / 300**0.5, rel=0.15
    )
    unsteady = np.stack([random.random(300) < share for share in (0.6, 0.8, 0.95)], axis=1)
    assert _accuracy(unsteady, 400).high - _accuracy(unsteady, 400).low > 0.2
    assert not _differences(steady, steady[:, :2]).any()


def test_what_cannot_be_compared_is_said_before_anything_is_trained(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = str(write_recipe())
    (tmp_path / "other").mkdir()
    same = tmp_path / "other" / "recipe.toml"
    same.write_text(Path(path).read_text())
    cases: list[tuple[dict[str, object], str]] = [
        ({"recipes": []}, "found no recipe"),
        ({"recipes": [path, str(same)]}, "two rows would be called 'recipe'"),
        (
            {"recipes": [path], "vary": {"train.lr": ["1e-3", "1e-3"]}},
            "two rows would be called '1e-3'",
        ),
        ({"recipes": [path], "vary": {"train.lr": []}}, "found no values for train.lr"),
        ({"recipes": [path], "vary": {"seed": ["0", "1"]}}, "give how many with --seeds"),
        ({"recipes": [path], "vary": {"output": ["a", "b"]}}, "output cannot be varied"),
        (
            {"recipes": [path], "overrides": ["seed=2147483647"], "seeds": 2},
            "a seed is less than 2147483648",
        ),
    ]
    for asked, said in cases:
        with pytest.raises(HeadstartError, match=said):
            compare(**asked)  # type: ignore[arg-type]
    assert not list(tmp_path.glob("*.compare"))


def test_damage_and_changed_settings_are_named_and_change_no_result(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = str(write_recipe(train={"epochs": 1}))
    found, folder = compare([path])
    before = (folder / "comparison.json").read_text()
    with pytest.raises(HeadstartError, match=r"was begun with other settings of \[data\]"):
        compare([path], ["data.limit=20"])
    for name, said in (
        ("run/predictions.csv", "predictions.csv has 3 examples"),
        ("cost.json", "damaged; delete"),
    ):
        (damaged,) = folder.glob(f"cells/*/{name}")
        content = damaged.read_bytes()
        damaged.write_bytes(b"".join(content.splitlines(True)[:4]) if name != "cost.json" else b"")
        with pytest.raises(HeadstartError, match=said):
            compare([path])
        damaged.write_bytes(content)
    assert (folder / "comparison.json").read_text() == before
    assert compare([path])[0] == found


@pytest.mark.parametrize(
    ("told", "code"),
    [
        (signal.SIGTERM, 143),
        pytest.param(signal.SIGINT, 130, marks=pytest.mark.thorough),
        (signal.SIGKILL, -signal.SIGKILL),
    ],
)
def test_told_to_stop_it_stops(
    write_recipe: WriteRecipe, tmp_path: Path, told: signal.Signals, code: int
) -> None:
    path = str(write_recipe(train={"epochs": 100_000}))
    command = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler); from "
        "headstart.cli import main; main()"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", command, "compare", path],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 100
    while not list(tmp_path.glob("run.compare/cells/*/.run*")):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.5)
    child.send_signal(told)
    out, said = child.communicate(timeout=60)  # waits for all that hold its output open
    assert out.endswith("stopped; the same command goes on\n") or told == signal.SIGKILL
    assert child.returncode == code
    assert "Traceback" not in said


@pytest.mark.parametrize(
    ("several", "expected"),
    [
        ("a,b", ["a", "b"]),
        ("[0.9,0.99],[0.8, 0.9]", ["[0.9,0.99]", "[0.8, 0.9]"]),
        ('{ a = 1, b = 2 },"x,y",3', ["{ a = 1, b = 2 }", '"x,y"', "3"]),
    ],
)
def test_commas_within_a_value_do_not_end_it(several: str, expected: list[str]) -> None:
    assert split_values(several) == expected
