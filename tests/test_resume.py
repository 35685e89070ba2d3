"""A run that is killed at any moment and started again ends as one that was never killed, to the
bit."""

from __future__ import annotations

import hashlib
import itertools
import json
import shutil
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headstart.catalogue import read_recipe
from headstart.cli import main
from headstart.commands.run import run
from headstart.evaluate.events import Event
from headstart.report.folder import checkpoints_of
from headstart.report.progress import Progress
from headstart.report.report import Report
from tests.conftest import WriteRecipe
from tests.processes import start

Capture = pytest.CaptureFixture[str]
KILLED = -signal.SIGKILL

KINDS: dict[str, dict[str, Any]] = {
    "images": {
        "transfer": {"strategy": "gradual_unfreezing", "l2_sp": 0.01},
        "augment": {"policy": "crop_flip", "mixup": 0.4, "cutmix": 1.0},
        "train": {"epochs": 3, "batch_size": 4, "optimizer": "sgd", "lr": 0.01, "ema": 0.9},
    },
    "texts": {
        "task": "text_classification",
        "transfer": {"strategy": "lp_ft", "wise_ft": 0.7},
        "train": {
            "epochs": 3,
            "batch_size": 8,
            "sampling": "balanced",
            "schedule": "plateau",
            "label_smoothing": 0.1,
        },
    },
}
MOMENTS = {  # phases and steps count from 0
    "in the middle of a phase": {"images": ("step", 1, 5), "texts": ("step", 1, 13)},
    "at the boundary of two phases": {"images": ("open", 1, 0), "texts": ("open", 1, 0)},
    "right after an unfreeze": {"images": ("step", 2, 1), "texts": ("step", 1, 1)},
    "while a checkpoint is written": {"images": ("write", 5, 0), "texts": ("write", 4, 0)},
}


@pytest.fixture
def recipe(write_recipe: WriteRecipe, weights: Path) -> Callable[..., Path]:
    def make(kind: str, **train: Any) -> Path:
        given = {
            **KINDS[kind],
            "train": {**KINDS[kind]["train"], "checkpoint_seconds": 0.0, **train},
        }
        if kind == "images":
            given["model"] = {"weights": str(weights)}
        return write_recipe(**given)

    return make


@pytest.fixture(scope="module")
def finished(
    tmp_path_factory: pytest.TempPathFactory,
) -> dict[tuple[str, int], tuple[bytes, list[Any]]]:
    """What a run that nobody killed leaves, by kind and number of processes."""
    return {}


def left(path: Path) -> tuple[bytes, list[Any]]:
    """(the network, the course of its epochs) of a finished run."""
    run = Path(read_recipe(path).output)
    rows = [row.model_dump(exclude={"seconds"}) for row in Report.read(run).main.epochs]
    return (run / "model" / "network.safetensors").read_bytes(), rows


def uninterrupted(
    finished: Any, recipe: Callable[..., Path], kind: str, world: int
) -> tuple[bytes, list[Any]]:
    if (kind, world) not in finished:
        path = recipe(kind)
        assert start(path, None, world) == [0] * world
        finished[kind, world] = left(path)
        shutil.rmtree(read_recipe(path).output)
    return finished[kind, world]


@pytest.mark.parametrize(
    ("event", "stop", "code", "said"),
    [
        ("strategy", KeyboardInterrupt(), 130, "stopped; the same command begins anew\n"),
        (
            "epoch",
            KeyboardInterrupt(),
            130,
            "stopped; a checkpoint is kept, and the same command goes on\n",
        ),
        (
            "epoch",
            SystemExit(143),
            143,
            "stopped; a checkpoint is kept, and the same command goes on\n",
        ),
    ],
)
def test_a_stopped_run_says_what_the_same_command_will_do(
    recipe: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, capsys: Capture,
    event: str, stop: BaseException, code: int, said: str,
) -> None:  # fmt: skip
    told, path = Progress.tell, recipe("texts")

    def tell(self: Progress, happened: Event) -> None:
        told(self, happened)
        line = happened.to_json()
        if line["event"] == event and (
            event == "strategy" or (line["phase"], line["epoch"]) == (2, 2)
        ):
            raise stop

    with monkeypatch.context() as patch:
        patch.setattr(Progress, "tell", tell)
        with pytest.raises(SystemExit) as ended:
            main(["run", str(path)])
    assert ended.value.code == code
    assert capsys.readouterr().err.endswith(said)


def every(*others: Any) -> list[Any]:
    """All kinds and moments with each of the others; the tests that are always run go through them
    diagonally."""
    rows = list(itertools.product(KINDS, MOMENTS, others))
    return [
        pytest.param(
            *row,
            marks=()
            if (i // len(others)) % len(others) == i % len(others)
            else pytest.mark.thorough,
        )
        for i, row in enumerate(rows)
    ]


@pytest.mark.parametrize(("kind", "moment", "workers"), every(0, 2))
def test_a_killed_run_ends_as_if_nothing_had_happened(
    kind: str, moment: str, workers: int, recipe: Callable[..., Path], finished: Any
) -> None:
    whole = uninterrupted(finished, recipe, kind, 1)
    path = recipe(kind, workers=workers)
    assert start(path, MOMENTS[moment][kind]) == [KILLED]
    assert not Path(read_recipe(path).output).exists()
    kept = list(checkpoints_of(read_recipe(path)).glob("main/[!.]*"))
    assert len(kept) <= 2
    assert start(path, None) == [0]
    assert left(path) == whole
    assert not checkpoints_of(read_recipe(path)).exists()
    said = path.with_suffix(".0.log").read_text()
    assert ("going on from phase" in said) == bool(kept)


@pytest.mark.parametrize(
    ("kind", "moment", "workers"), [case for case in every(2, 0) if not case.marks]
)
@pytest.mark.thorough
def test_two_processes_go_on_as_well(
    kind: str, moment: str, workers: int, recipe: Callable[..., Path], finished: Any
) -> None:
    whole = uninterrupted(finished, recipe, kind, 2)
    path = recipe(kind, workers=workers)
    assert KILLED in start(path, MOMENTS[moment][kind], world=2)
    assert start(path, None, world=2) == [0, 0]
    assert left(path) == whole


def test_training_above_frozen_blocks_goes_on_as_well(write_recipe: WriteRecipe) -> None:
    """Their outputs are computed again, and are the same."""
    path = write_recipe(
        task="text_classification",
        transfer={"strategy": "partial", "last_blocks": 1},
        train={"epochs": 3, "batch_size": 8, "checkpoint_seconds": 0.0},
    )
    assert start(path, None) == [0]
    whole = left(path)
    shutil.rmtree(read_recipe(path).output)
    assert start(path, ("step", 0, 13)) == [KILLED]
    assert start(path, None) == [0]
    assert left(path) == whole
    assert "going on from phase" in path.with_suffix(".0.log").read_text()


def truncate(folder: Path) -> None:
    path = folder / "network.safetensors"
    path.write_bytes(path.read_bytes()[:1000])


def empty(folder: Path) -> None:
    for path in folder.iterdir():
        path.write_bytes(b"")


def without_optimizer(folder: Path) -> None:
    (folder / "moments.safetensors").unlink()


def of_another_kind(folder: Path) -> None:
    (folder / "state.json").write_text("[1, 2]")


@pytest.mark.parametrize("harm", [truncate, empty, without_optimizer, of_another_kind])
def test_a_damaged_checkpoint_gives_way_to_the_one_before(
    harm: Callable[[Path], None], recipe: Callable[..., Path], finished: Any
) -> None:
    whole = uninterrupted(finished, recipe, "images", 1)
    path = recipe("images")
    assert start(path, ("step", 1, 5)) == [KILLED]
    older, newest = sorted(checkpoints_of(read_recipe(path)).glob("main/[!.]*"))
    harm(newest)
    assert start(path, None) == [0]
    said = path.with_suffix(".0.log").read_text()
    assert f"checkpoint {newest.name} is damaged" in said
    assert f"step {int(older.name.split('-')[1])}" in said
    assert left(path) == whole


def test_what_had_finished_is_not_done_again(recipe: Callable[..., Path]) -> None:
    beside = recipe("texts", epochs=1)
    beside.write_text(
        beside.read_text().replace("[evaluate]", '[evaluate]\nbaselines = ["scratch"]')
    )
    assert start(beside, ("between", 0, 0)) == [KILLED]
    assert start(beside, None) == [0]
    said = beside.with_suffix(".0.log").read_text()
    assert "lp_ft was finished before the interruption" in said
    report = Report.read(read_recipe(beside).output)
    shutil.rmtree(report.folder)
    assert start(beside, None) == [0]
    again = Report.read(report.folder)
    assert (report.main.test, report.baselines[0].test) == (
        again.main.test,
        again.baselines[0].test,
    )


def test_a_changed_recipe_is_refused_with_two_ways_out(
    recipe: Callable[..., Path], finished: Any, capsys: Capture
) -> None:
    whole = uninterrupted(finished, recipe, "images", 1)
    path = recipe("images")
    assert start(path, ("step", 1, 1)) == [KILLED]
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(path), "train.lr=0.02"])
    said = capsys.readouterr().err
    folder = checkpoints_of(read_recipe(path))
    assert stopped.value.code == 2
    assert "(train.lr: 0.01 there, 0.02 here)" in said
    assert (
        f"Undo the change to go on with that run; or begin anew: delete {folder}, or give "
        "another place" in said
    )
    assert folder.is_dir()
    assert start(recipe("images", workers=2), None) == [0], "loader workers change no result"
    assert left(path) == whole


def test_changed_data_begins_anew(
    recipe: Callable[..., Path], tmp_path: Path, photos: Path
) -> None:
    own = tmp_path / "own"
    shutil.copytree(photos, own)
    path = recipe("images")
    path.write_text(path.read_text().replace(str(photos), str(own)))
    assert start(path, ("step", 1, 1)) == [KILLED]
    (own / "test" / "red" / "00.png").unlink()
    assert start(path, ("step", 0, 2)) == [KILLED]
    log = path.with_suffix(".0.log")
    assert (
        "the test part changed since this run was interrupted, so it starts anew" in log.read_text()
    )
    assert start(path, None) == [0]
    assert "going on from phase 1" in log.read_text()


def test_checkpoints_of_another_version_begin_anew(
    recipe: Callable[..., Path], finished: Any
) -> None:
    """Such as those of the version before formats had numbers, whose states had other keys."""
    whole = uninterrupted(finished, recipe, "texts", 1)
    path = recipe("texts")
    assert start(path, ("step", 1, 13)) == [KILLED]
    for folder in checkpoints_of(read_recipe(path)).glob("main/[!.]*"):
        saved = json.loads((folder / "state.json").read_bytes().partition(b"\n")[2])
        del saved["key"]["the format of checkpoints"]
        saved["state"] = {"stage": saved["state"].pop("phase"), **saved["state"]}
        content = json.dumps(saved).encode()
        digest = hashlib.sha256(content).hexdigest().encode()
        (folder / "state.json").write_bytes(digest + b"\n" + content)
    assert start(path, None) == [0]
    log = path.with_suffix(".0.log").read_text()
    note = "the format of checkpoints changed since this run was interrupted, so it starts anew"
    assert log.count(note) == 1
    assert left(path) == whole


def test_a_failing_rival_costs_no_result(write_recipe: WriteRecipe) -> None:
    beside = [{"name": "scratch", "lr": 90.0}, {"name": "raw_pixels_forest"}]
    report = run(
        write_recipe(evaluate={"baselines": beside}, train={"optimizer": "sgd", "epochs": 8})
    )
    assert [result.name for result in report.baselines] == ["raw_pixels_forest"]
    assert any(
        note.startswith("evaluate.baselines: scratch gave no result: train")
        for note in report.notes
    )
    assert "note: evaluate.baselines: scratch gave no result" in report.summary()


def test_trouble_that_would_come_again_leaves_no_checkpoint(recipe: Callable[..., Path]) -> None:
    path = recipe("images", lr=90.0, max_grad_norm=None)
    assert start(path, None) == [2]
    assert not checkpoints_of(read_recipe(path)).exists()


def test_two_processes_go_on_after_an_unfreeze(recipe: Callable[..., Path], finished: Any) -> None:
    whole = uninterrupted(finished, recipe, "images", 2)
    path = recipe("images")
    assert KILLED in start(path, ("step", 2, 3), world=2)
    assert start(path, None, world=2) == [0, 0]
    assert left(path) == whole
