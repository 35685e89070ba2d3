"""headstart run: from a recipe to a finished run directory, top to bottom."""

from __future__ import annotations

import io
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart.catalogue import read_recipe
from headstart.commands.plan import describe
from headstart.data.dataset import concatenate
from headstart.errors import HeadstartError, RecipeError
from headstart.evaluate.events import Note, ResultScored, StrategyStarted
from headstart.evaluate.results import Result, Scores
from headstart.models.baselines import baselines, majority
from headstart.recipe import Baseline, Recipe
from headstart.report.folder import (
    check_free,
    checkpoints_of,
    note_on_other_data,
    run_directory,
)
from headstart.report.progress import Progress
from headstart.report.report import Report
from headstart.report.trackers import check_trackers, tracked
from headstart.runtime.machine import start
from headstart.train.context import Context
from headstart.train.prepare import prepare
from headstart.transfer.strategies import strategies

RESULT = "result"  # the name of the last checkpoint of a strategy
Scored = tuple[Result, np.ndarray]  # with the probabilities of the test part, shape (n, classes)


def run(
    recipe: str | Path | Recipe, overrides: Sequence[str] = (), progress: Progress | None = None
) -> Report:
    """Train and evaluate what a recipe asks for, and write the run directory.

    Args:
        recipe: a TOML file, or a Recipe.
        overrides: `key=value` pairs for a file, such as "train.epochs=1".
        progress: where to tell what happens; nothing is printed without one.

    Raises:
        HeadstartError: anything the user can mend; no run directory is left half-written.
    """
    recipe = recipe if isinstance(recipe, Recipe) else read_recipe(recipe, overrides)
    check_trackers(recipe.train.trackers)
    check_free(recipe)
    machine = start()
    is_main = machine.rank == 0
    progress = progress if progress is not None and is_main else Progress(io.StringIO())

    from headstart.commands.outcome import report_of, write_run
    from headstart.runtime.processes import wait

    context = prepare(recipe, machine, on_event=progress.tell)
    if note := note_on_other_data(recipe, context.dataset):
        context = context.with_notes(note)
    rivals = [_rival(other, context) for other in context.recipe.evaluate.baselines]
    progress.text(describe(context))
    with run_directory(recipe, is_main) as folder:
        if is_main:
            progress.log_to(folder / "log.jsonl")
        trackers = recipe.train.trackers if is_main else ()
        with tracked(trackers, recipe.resolved(), folder) as on_event:
            progress.also(on_event)
            main = _train(context, "main")
            held_out = _held_out(context)
            beside, failed = _beside(context, rivals)
        report = report_of(context, main, beside, failed, held_out)
        if is_main:
            write_run(context, report, main, beside, folder)
    wait()
    progress.text(report.summary())
    return report


def _rival(other: Baseline, context: Context) -> Context | str:
    """Another strategy on the same split, prepared so that its errors show early; or the name of
    a baseline."""
    if other.name not in strategies:
        return other.name
    train = {key: value for key in ("lr", "epochs") if (value := getattr(other, key)) is not None}
    rival = prepare(
        context.recipe.with_changes(transfer={"strategy": other.name}, train=train),
        context.machine,
        (context.dataset, context.leaks),
        context.on_event,
    )
    if train and not rival.chooses_an_epoch:
        raise RecipeError(
            f"evaluate.baselines: {other.name} fits its head as a whole; remove its lr and epochs"
        )
    return rival


def _beside(context: Context, rivals: list[Context | str]) -> tuple[list[Scored], list[str]]:
    """Results of the other strategies and the baselines, and a sentence for each that gave none."""
    results, failed = [], []
    for number, rival in enumerate(rivals, 1):
        try:
            if isinstance(rival, Context):
                results.append(_train(rival, f"beside-{number}"))
            else:
                results.append(_baseline(rival, context))
        except HeadstartError as error:
            name = rival.recipe.transfer.strategy if isinstance(rival, Context) else rival
            failed.append(f"evaluate.baselines: {name} gave no result: {error}")
            context.on_event(Note(failed[-1]))
    return results, failed


def _train(context: Context, name: str) -> Scored:
    """Train by the plan and look at the test part once. What an interrupted run had finished is not
    done again.

    Args:
        name: of the folder of its checkpoints.
    """
    import torch

    from headstart.train.checkpoints import Checkpoints
    from headstart.train.learn import learn, merge_adapters, probabilities

    strategy, network = context.recipe.transfer.strategy, context.network
    context.on_event(StrategyStarted(strategy))
    checkpoints = None
    if context.plan.tuned:
        checkpoints = Checkpoints(context, checkpoints_of(context.recipe) / name)
        done = checkpoints.latest()
        if done and RESULT in done.state:
            merge_adapters(context)
            network.net.load_state_dict(done.tensors["network"])
            context.on_event(Note(f"{strategy} was finished before the interruption"))
            rows = done.tensors["probabilities"]["rows"].numpy()
            return Result.model_validate(done.state[RESULT]), rows
    history = learn(context, checkpoints)
    test = probabilities(context, "test", context.dataset.test)
    result = Result(
        name=strategy,
        test=_score(context, test),
        seconds=history.seconds,
        phases=context.phases,
        epochs=tuple(history.epochs),
        kept=history.kept,
        fitted=history.fitted,
        cached=history.cached,
        precision=context.precision,
        examples_per_second=history.examples_per_second,
        notes=tuple(history.notes),
    )
    if checkpoints:
        tensors = {
            "network": network.net.state_dict(),
            "probabilities": {"rows": torch.from_numpy(test)},
        }
        checkpoints.save(RESULT, {RESULT: result.model_dump(mode="json")}, tensors)
    context.on_event(ResultScored(strategy, result.test.accuracy.value))
    return result, test


def _held_out(context: Context) -> np.ndarray | None:
    """Probabilities of the validation part, shape (n, classes), where training has kept off it."""
    from headstart.train.learn import probabilities

    validation = context.dataset.validation
    if validation is None or not context.plan.tuned:
        return None
    return probabilities(context, "validation", validation)


def _baseline(name: str, context: Context) -> Scored:
    """A baseline without a network, on the same split."""
    from headstart.runtime.processes import from_main

    # it chooses nothing on the validation part
    learned = concatenate(context.dataset.for_learning().values())
    dataset = replace(context.dataset, train=learned)
    started = time.perf_counter()
    probabilities = from_main(baselines.get(name))(dataset, context.recipe.seed)
    seconds = time.perf_counter() - started
    test = _score(context, probabilities)
    context.on_event(ResultScored(name, test.accuracy.value))
    return Result(name=name, test=test, seconds=seconds), probabilities


def _score(context: Context, probabilities: np.ndarray) -> Scores:
    """Of a result on the test part."""
    from headstart.evaluate.scores import score

    dataset, resamples = context.dataset, context.recipe.evaluate.bootstrap
    return score(dataset.test.labels, probabilities, dataset.labels, resamples, majority(dataset))
