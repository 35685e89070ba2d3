"""headstart search and headstart lr-find."""

from __future__ import annotations

import csv
import multiprocessing
import tomllib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import headstart
from headstart.cli import main
from headstart.commands.search import search
from headstart.errors import HeadstartError
from headstart.train.lr_range import _steepest
from tests.conftest import WriteRecipe
from tests.processes import CONTEXT

Capture = pytest.CaptureFixture[str]
SPACE = {
    "train": {"lr": {"low": 1e-4, "high": 1e-1, "log": True}, "batch_size": {"low": 4, "high": 12}}
}


def rows(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader((folder / "trials.csv").open()))


def test_a_search_ends_in_a_recipe_and_a_table_and_goes_on(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = write_recipe(search={"trials": 3, "space": SPACE})
    found = search(path)
    assert found.trials == 3
    assert [row["trial"] for row in rows(tmp_path / "run.search")] == ["1", "2", "3"]
    assert search(path).trials == 3, "nothing is left to do"
    more = search(path, ["search.trials=5"])
    table = rows(tmp_path / "run.search")
    assert more.trials == len(table) == 5
    done = [row for row in table if row["state"] == "complete"]
    assert done
    assert float(max(row["accuracy"] for row in done)) == pytest.approx(more.value, abs=1e-4)
    best = tomllib.loads((tmp_path / "run.search" / "best.toml").read_text())
    winner = next(
        row for row in done if float(row["accuracy"]) == pytest.approx(more.value, abs=1e-4)
    )
    assert "search" not in best
    assert best["train"]["lr"] in [pytest.approx(float(row["train.lr"])) for row in done]
    assert 4 <= int(winner["train.batch_size"]) <= 12
    assert not (tmp_path / "run").exists(), "the test part was not looked at"
    report = headstart.run(more.recipe)
    scores = [row.selection("accuracy") for row in report.main.epochs]
    assert max(scores) == pytest.approx(more.value)


def test_an_interrupted_trial_is_tried_again(
    write_recipe: WriteRecipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_recipe(search={"trials": 2, "space": {"train.lr": [0.01, 0.001]}})

    def interrupted(*_: object) -> float:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr("headstart.commands.search._score", interrupted)
        with pytest.raises(KeyboardInterrupt):
            search(path)
    assert search(path).trials == 2
    table = rows(tmp_path / "run.search")
    assert table[0]["state"] == "interrupted"
    assert table[1]["train.lr"] == table[0]["train.lr"]
    assert len(table) == 3


def test_strategies_and_heads_are_searched_as_well(
    write_recipe: WriteRecipe, weights: Path, tmp_path: Path
) -> None:
    space = {"transfer": {"strategy": ["feature_extraction"]}, "model.head.hidden": [[], [8]]}
    path = write_recipe(model={"weights": str(weights)}, search={"trials": 4, "space": space})
    search(path)
    table = rows(tmp_path / "run.search")
    assert {row["transfer.strategy"] for row in table} == {"feature_extraction"}
    assert {row["model.head.hidden"] for row in table} <= {"[]", "[8]"}
    assert all(row["accuracy"] for row in table if row["state"] == "complete")


def _search(path: str, variables: dict[str, str]) -> None:
    import os

    os.environ.update(variables)
    multiprocessing.set_start_method("fork", force=True)
    main(["search", path])


def test_two_processes_share_a_search(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    import os

    path = write_recipe(search={"trials": 6, "space": SPACE}, train={"epochs": 1})
    both = [CONTEXT.Process(target=_search, args=(str(path), dict(os.environ))) for _ in range(2)]
    for one in both:
        one.start()
    for one in both:
        one.join()
    assert [one.exitcode for one in both] == [0, 0]
    table = rows(tmp_path / "run.search")
    assert 6 <= len(table) <= 7, "the two may begin the last trial at once"


def test_a_trial_that_fails_does_not_end_the_search(
    write_recipe: WriteRecipe, tmp_path: Path, capsys: Capture
) -> None:
    space = {"train": {"lr": [0.01, 99.0], "optimizer": ["sgd"]}}
    path = write_recipe(search={"trials": 6, "space": space}, train={"epochs": 1})
    search(path)
    table = rows(tmp_path / "run.search")
    failed = [row for row in table if row["state"] == "fail"]
    assert all(row["train.lr"] == "99.0" for row in failed)
    assert ("the loss is" in capsys.readouterr().out) == bool(failed)


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (None, "has no [search]"),
        ({"space": {"train": {"lrr": [1.0]}}}, "train.lrr: unknown key"),
        ({"space": {"train": {"lr": [-1.0]}}}, "train.lr: found -1.0; expected greater than 0"),
        ({"space": {"train": {"lr": {"low": 1.0, "high": 0.1}}}}, "expected low < high"),
        (
            {"space": {"train": {"lr": {"low": 0.0, "high": 0.1, "log": True}}}},
            "expected a number above 0",
        ),
        ({"space": {"train": {"lr": []}}}, "train.lr has no values"),
        ({"space": {}}, "search.space"),
        ({"space": {"output": ["a", "b"]}}, "output cannot be varied"),
        (
            {"space": {"train": {"metric": ["loss", "accuracy"]}}},
            "train.metric cannot be varied, or trials could not be compared",
        ),
        (
            {"space": {"train": {"lr": {"low": 0.1}}}},
            "train.lr: found {'low': 0.1}; expected a range such as",
        ),
        ({"space": {"model": {"head": [{"hidden": [3]}]}}}, "has tables as values"),
        ({"space": SPACE, "trials": 0}, "search.trials: found 0"),
        ({"space": SPACE, "storage": "nodb://x"}, "search.storage: nodb://x cannot be used"),
    ],
)
def test_a_wrong_search_is_one_message(
    asked: dict[str, Any] | None, said: str, write_recipe: WriteRecipe, capsys: Capture
) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["search", str(write_recipe(search=asked))])
    err = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said in err


def test_the_test_part_may_not_choose(write_recipe: WriteRecipe) -> None:
    path = write_recipe(search={"space": SPACE}, data={"validation": 0.0})
    with pytest.raises(HeadstartError, match="needs a validation part to compare by"):
        search(path)


def test_lr_find_plots_and_suggests(
    write_recipe: WriteRecipe, weights: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = write_recipe(model={"weights": str(weights)}, transfer={"strategy": "lp_ft"})
    main_quietly("lr-find", str(path))
    said = capsys.readouterr().out
    suggested = float(said.split("train.lr=")[1].split()[0])
    assert 1e-6 < suggested < 10
    assert Image.open(tmp_path / "run.lr-find.png").size[0] > 400
    assert not (tmp_path / "run").exists()


def main_quietly(*arguments: str) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    assert stopped.value.code == 0


def test_the_steepest_fall_before_the_lowest_loss() -> None:
    rates = np.logspace(-7, 1, 81)
    losses = (
        2
        - 1.5 / (1 + np.exp(-4 * (np.log10(rates) + 3)))
        + 3 / (1 + np.exp(-8 * (np.log10(rates) + 1)))
    )
    assert _steepest(rates.tolist(), losses.tolist()) == pytest.approx(1e-3, rel=0.3)
    with pytest.raises(HeadstartError, match="the loss does not fall at any rate"):
        _steepest(rates.tolist(), np.linspace(1, 2, 81).tolist())


def test_lr_find_needs_gradients(write_recipe: WriteRecipe, weights: Path, capsys: Capture) -> None:
    path = write_recipe(
        model={"weights": str(weights)}, transfer={"strategy": "feature_extraction"}
    )
    with pytest.raises(SystemExit) as stopped:
        main(["lr-find", str(path)])
    assert stopped.value.code == 2
    assert "lets no gradients into the network" in capsys.readouterr().err
