"""run(recipe) → Report: from a recipe to a finished run directory, top to bottom."""

from __future__ import annotations

import csv
import errno
import io
import json
import time
from collections.abc import Callable, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.errors import HeadstartError
from headstart.evaluate.baselines import baselines
from headstart.recipe import Beside, Recipe
from headstart.registry import unknown
from headstart.report.progress import Progress
from headstart.report.report import Phase, Report, Result
from headstart.tasks import Task, tasks
from headstart.transfer.strategies import plan, strategies

if TYPE_CHECKING:
    from collections.abc import Iterator

    import torch

    from headstart.data.dataset import Dataset
    from headstart.models.network import Network
    from headstart.train.engine import Setting
    from headstart.transfer.plan import Plan

MODEL = "model"


@dataclass(frozen=True)
class Machine:
    """Where this process computes, and which of how many it is."""

    device: torch.device
    rank: int
    world: int


@dataclass(frozen=True)
class Prepared:
    """A recipe that is ready to train: data read, network built, plan made."""

    recipe: Recipe
    task: Task
    dataset: Dataset
    network: Network
    plan: Plan
    precision: str
    sizes: dict[str, int]
    phases: tuple[Phase, ...]


def read_recipe(path: str | Path, overrides: Sequence[str] = ()) -> Recipe:
    """A recipe file, checked against what is registered.

    Raises:
        HeadstartError: see `Recipe.read`.
    """
    beside = [*strategies.names(), *baselines.names()]
    return Recipe.read(path, overrides, {"task": tasks.names(), "strategy": strategies.names(), "beside": beside})


def run(recipe: str | Path | Recipe, overrides: Sequence[str] = (), progress: Progress | None = None) -> Report:
    """Train and evaluate what a recipe asks for, and write the run directory.

    Args:
        recipe: a TOML file, or a Recipe.
        overrides: `key=value` pairs for a file, such as "train.epochs=1".
        progress: where to tell what happens; nothing is printed without one.

    Raises:
        HeadstartError: anything the user can mend; no run directory is left half-written.
    """
    from headstart.report.folder import check_free, drafted

    recipe = recipe if isinstance(recipe, Recipe) else read_recipe(recipe, overrides)
    check_free(recipe)
    machine = start()
    prepared = prepare(recipe, machine)
    say = progress if progress is not None and machine.rank == 0 else Progress(io.StringIO())
    say.text(describe(prepared, machine))
    with _space_left(recipe), drafted(recipe) if machine.rank == 0 else nullcontext(Path(recipe.output)) as folder:
        if machine.rank == 0:
            say.log_to(folder / "log.jsonl")
        main, probabilities = _learn(prepared, recipe.transfer.strategy, machine, folder, say)
        beside = [_beside(other, prepared, machine, folder, say) for other in recipe.evaluate.beside]
        report = _report(prepared, main, beside)
        if machine.rank == 0:
            _write(prepared, report, probabilities, machine, folder)
    _wait(machine)
    say.text(report.summary())
    return report


def start() -> Machine:
    """Settle device and processes (Accelerate reads what the launcher left) and the way memory is held."""
    from accelerate import PartialState

    from headstart.train.precision import keep_freed_memory

    keep_freed_memory()
    state = PartialState()
    return Machine(state.device, state.process_index, state.num_processes)


def prepare(recipe: Recipe, machine: Machine, dataset: Dataset | None = None) -> Prepared:
    """Read the data, build the network, make the plan.

    Raises:
        HeadstartError: data, backbone or plan cannot be had.
    """
    import torch

    from headstart.train.precision import choose_precision
    from headstart.transfer.blocks import Blocks

    task = tasks.get(recipe.task)
    for other in recipe.evaluate.beside:
        if other.name not in strategies.names() and other.name not in task.baselines:
            raise HeadstartError(
                f"evaluate.beside: {unknown(f'baseline of {recipe.task}', other.name, sorted(task.baselines))}"
            )
    if recipe.train.batch_size < machine.world * recipe.train.accumulation:
        raise HeadstartError(
            f"train.batch_size: found {recipe.train.batch_size}; {machine.world} processes with train.accumulation = "
            f"{recipe.train.accumulation} need at least {machine.world * recipe.train.accumulation}"
        )
    dataset = dataset or task.read(recipe)
    torch.manual_seed(recipe.seed)
    pretrained = recipe.transfer.strategy != "scratch"
    network, notes = task.network(recipe, len(dataset.labels), pretrained)
    blocks = Blocks(network)
    made = plan(recipe, blocks.names)
    precision = choose_precision(recipe.train.precision, network.net, machine.device)
    network.spec |= {"task": recipe.task, "labels": list(dataset.labels), "precision": precision}
    return Prepared(
        recipe=recipe,
        task=task,
        dataset=dataset.noting(*notes),
        network=network,
        plan=made,
        precision=precision,
        sizes={name: blocks.size(name) for name in blocks.names},
        phases=tuple(Phase(**vars(phase), trainable=blocks.trainable(phase)) for phase in made.phases),
    )


def describe(prepared: Prepared, machine: Machine, detailed: bool = False) -> str:
    """What will happen, in words."""
    from headstart.report.describe import describe as words

    processes = f", {machine.world} processes" if machine.world > 1 else ""
    where = f"{machine.device.type}, {prepared.precision}{processes}"
    return words(
        prepared.recipe, prepared.dataset, prepared.network.spec, prepared.sizes, prepared.phases, where, detailed
    )


def estimate(prepared: Prepared, machine: Machine) -> float:
    """Seconds that the training of all phases will take, from a few real steps of each."""
    import tempfile

    from headstart.train.engine import seconds_per_epoch

    with tempfile.TemporaryDirectory() as folder:
        setting = _setting(prepared, machine, Path(folder), Progress(io.StringIO()))
        return sum(
            phase.epochs * seconds_per_epoch(prepared.network, phase, setting) for phase in prepared.plan.phases
        )


def _setting(prepared: Prepared, machine: Machine, folder: Path, say: Progress) -> Setting:
    from headstart.train.draws import Shard
    from headstart.train.engine import Setting

    task, dataset, recipe = prepared.task, prepared.dataset, prepared.recipe
    return Setting(
        train=dataset.train,
        selection=dataset.test if recipe.train.select_on == "test" else dataset.validation,
        augmented=task.encoder(prepared.network, recipe.augment.policy),
        plain=task.encoder(prepared.network, "none"),
        collate=task.collate,
        options=recipe.train,
        seed=recipe.seed,
        device=machine.device,
        precision=prepared.precision,
        shard=Shard(machine.rank, machine.world),
        folder=folder,
        tell=say.tell,
    )


def _learn(
    prepared: Prepared, name: str, machine: Machine, folder: Path, say: Progress
) -> tuple[Result, np.ndarray]:
    """Train by the plan and look at the test part once: the result and the probabilities, shape (n, classes)."""
    from headstart.evaluate.metrics import score, softmax
    from headstart.train.engine import tune
    from headstart.train.forward import logits

    setting = _setting(prepared, machine, folder, say)
    setting.tell({"event": "strategy", "name": name})
    history = tune(prepared.network, prepared.plan, setting)
    test, labels = prepared.dataset.test, prepared.dataset.labels
    outputs = logits(
        prepared.network, test.items, setting.plain, setting.collate, machine.device, prepared.precision
    )
    probabilities = softmax(outputs)
    result = Result(
        name=name,
        test=score(test.targets, probabilities, labels, prepared.recipe.evaluate.bootstrap),
        seconds=history.seconds,
        parameters=max(phase.trainable for phase in prepared.phases),
        phases=prepared.phases,
        epochs=tuple(history.epochs),
        kept=history.kept,
        precision=prepared.precision,
        examples_per_second=history.examples_per_second,
    )
    setting.tell({"event": "result", "name": name, "test_accuracy": result.test.accuracy.value})
    return result, probabilities


def _beside(other: Beside, prepared: Prepared, machine: Machine, folder: Path, say: Progress) -> Result:
    """Another strategy, or a baseline without a network, on the same split."""
    from headstart.evaluate.metrics import score

    recipe, dataset = prepared.recipe, prepared.dataset
    if other.name in strategies.names():
        train = {key: value for key in ("lr", "epochs") if (value := getattr(other, key)) is not None}
        changed = recipe.but(transfer={"strategy": other.name}, train=train)
        return _learn(prepare(changed, machine, dataset), other.name, machine, folder, say)[0]
    started = time.perf_counter()
    probabilities = _from_main(machine, lambda: baselines.get(other.name)(dataset, recipe.seed))
    seconds = time.perf_counter() - started
    test = score(dataset.test.targets, probabilities, dataset.labels, recipe.evaluate.bootstrap)
    say.tell({"event": "result", "name": other.name, "test_accuracy": test.accuracy.value})
    return Result(name=other.name, test=test, seconds=seconds)


def _report(prepared: Prepared, main: Result, beside: list[Result]) -> Report:
    recipe, dataset = prepared.recipe, prepared.dataset
    return Report(
        task=recipe.task,
        recipe=Path(recipe.output).name,
        folder=recipe.output,
        labels=dataset.labels,
        counts={role: dataset.counts(role) for role in dataset.parts()},
        notes=dataset.notes,
        selected_on=recipe.train.select_on if dataset.validation or recipe.train.select_on == "test" else None,
        main=main,
        beside=tuple(beside),
    )


def _write(
    prepared: Prepared, report: Report, probabilities: np.ndarray, machine: Machine, folder: Path
) -> None:
    """All files of the run but those that exist already: the resolved recipe and the log."""
    from headstart.report.html import write_html
    from headstart.report.manifest import manifest

    dataset = prepared.dataset
    prepared.network.save(folder / MODEL)
    report.write(folder)
    origin = manifest(prepared.recipe, dataset, prepared.network.spec, str(machine.device), machine.world)
    (folder / "manifest.json").write_text(json.dumps(origin, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    write_html(report, origin, prepared.sizes, folder)
    with (folder / "predictions.csv").open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["example", "label", "predicted", *(f"p({label})" for label in dataset.labels)])
        for name, label, row in zip(dataset.test.names, dataset.test.labels, probabilities, strict=True):
            predicted = dataset.labels[int(row.argmax())]
            rows.writerow([name, dataset.labels[label], predicted, *(f"{p:.6f}" for p in row)])


@contextmanager
def _space_left(recipe: Recipe) -> Iterator[None]:
    """Turn a full disk (or another failure to write) into one sentence."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space left" in str(error)
        cause = "no space left on the device; free some" if full else str(error)
        raise HeadstartError(
            f"output: {recipe.output} could not be written ({cause}), or give another place with output=NAME. Nothing of "
            "the run was kept"
        ) from error


def _from_main(machine: Machine, make: Callable[[], np.ndarray]) -> np.ndarray:
    """What the main process makes, in every process."""
    if machine.world == 1:
        return make()
    import torch.distributed as dist

    made = [make() if machine.rank == 0 else None]
    dist.broadcast_object_list(made, src=0)
    assert made[0] is not None
    return made[0]


def _wait(machine: Machine) -> None:
    """Until every process has come here."""
    if machine.world > 1:
        import torch.distributed as dist

        dist.barrier()


def recipe_schema() -> dict[str, Any]:
    """The JSON schema of recipes, with the registered names in it."""
    schema = Recipe.model_json_schema()
    schema["title"] = "headstart recipe"
    schema["required"] = [key for key in schema["required"] if key != "output"]
    schema["properties"]["task"]["enum"] = tasks.names()
    parts = schema["$defs"]
    parts["Transfer"]["properties"]["strategy"]["enum"] = strategies.names()
    parts["Beside"]["properties"]["name"]["enum"] = [*strategies.names(), *baselines.names()]
    return schema
