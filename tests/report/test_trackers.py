"""What a tracker gets to know of a run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import accelerate.tracking
import pytest

from headstart.commands.run import run
from headstart.errors import HeadstartError
from headstart.report.trackers import check_trackers
from tests.conftest import WriteRecipe


class Notebook:
    """Stands in for a tracker's package."""

    requires_logging_directory = True
    heard: list[Any]

    def __init__(self, name: str, folder: str) -> None:
        Notebook.heard = [name, Path(folder).name]

    def store_init_configuration(self, values: dict[str, Any]) -> None:
        self.heard.append(values)

    def log(self, values: dict[str, Any], step: int) -> None:
        self.heard.append((step, values))

    def finish(self) -> None:
        self.heard.append("finished")


def test_losses_and_metrics_arrive_by_epoch(
    write_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "notebook", Notebook)
    monkeypatch.setattr(accelerate.tracking, "get_available_trackers", lambda: ["notebook"])
    report = run(write_recipe(train={"trackers": "notebook"}))
    name, folder, config, *events, end = Notebook.heard
    assert (name, folder, end) == ("headstart", "trackers", "finished")
    assert config["train.epochs"] == 2
    assert [step for step, _ in events] == [1, 2, 3]
    assert events[0][1]["scratch/loss"] == pytest.approx(report.main.epochs[0].loss, abs=1e-4)
    assert events[-1][1]["scratch/test_accuracy"] == pytest.approx(
        report.test.accuracy.value, abs=1e-4
    )


def test_trackers_that_cannot_be_had_are_said_before_anything_is_trained(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(
        HeadstartError,
        match=r"train\.trackers: unknown tracker 'tensorbord'; did you mean 'tensorboard'",
    ):
        check_trackers(["tensorbord"])
    monkeypatch.setattr(accelerate.tracking, "get_available_trackers", list)
    with pytest.raises(
        HeadstartError,
        match="the package of 'tensorboard' is not installed; pip install tensorboard",
    ):
        check_trackers(["tensorboard"])


def test_a_tracker_that_fails_costs_no_run(
    write_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Gone(Notebook):
        def log(self, values: dict[str, Any], step: int) -> None:
            raise ConnectionError("no server")

        finish = log  # type: ignore[assignment]

    monkeypatch.setitem(accelerate.tracking.LOGGER_TYPE_TO_CLASS, "notebook", Gone)
    monkeypatch.setattr(accelerate.tracking, "get_available_trackers", lambda: ["notebook"])
    assert run(write_recipe(train={"trackers": "notebook", "epochs": 1})).test.n

    monkeypatch.setattr(Gone, "store_init_configuration", Gone.log)
    with pytest.raises(HeadstartError, match=r"train\.trackers: notebook cannot be opened"):
        run(write_recipe(train={"trackers": "notebook", "epochs": 2}, output="other"))
