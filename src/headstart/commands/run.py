"""headstart run: from a recipe to a finished run directory, top to bottom."""

from __future__ import annotations

import errno
import io
import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path

import numpy as np

from headstart.catalogue import read_recipe
from headstart.commands.plan import describe
from headstart.data.dataset import concatenate
from headstart.data.split_file import changes_since
from headstart.errors import HeadstartError
from headstart.evaluate.results import Result, Scores
from headstart.models.baselines import baselines, majority
from headstart.recipe import Baseline, Recipe
from headstart.recipe.training import NO_EFFECT_ON_RESULT
from headstart.report.folder import SPLIT, check_free, checkpoints_of, run_directory
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
    check_free(recipe)
    check_trackers(recipe.train.trackers)
    machine = start()
    is_main = machine.rank == 0
    progress = progress if progress is not None and is_main else Progress(io.StringIO())

    from headstart.commands.outcome import report_of, write_run
    from headstart.runtime.processes import wait

    context = _note_changes(prepare(recipe, machine, on_event=progress.tell))
    rivals = [_rival(other, context) for other in context.recipe.evaluate.baselines]
    progress.text(describe(context))
    with (
        _writable(recipe),
        run_directory(recipe) if is_main else nullcontext(Path(recipe.output)) as folder,
    ):
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


def _note_changes(context: Context) -> Context:
    """The same with a note if the run takes the place of one on other data.

    Raises:
        HeadstartError: it would learn from examples that the earlier run was tested on.
    """
    folder = Path(context.recipe.output)
    if not (folder / SPLIT).is_file():
        return context
    changes = changes_since(context.dataset, folder / SPLIT)
    if changes.leaked:
        raise HeadstartError(
            f"output: {folder} is a run of this recipe on other data ({changes.difference}), and "
            f"{len(changes.leaked)} of its {changes.tested} test examples (such as "
            f"{changes.leaked[0]}) would now be learned from, so that the figures of both could "
            f"not be compared. Keep its parts with data.split.file={folder / SPLIT} "
            f"data.split.new=train output={folder}-2; or split anew with output={folder}-2; or "
            f"move {folder} away"
        )
    if not changes.difference:
        return context
    return context.with_notes(
        f"the run in {folder}, whose place this one takes, had other data: {changes.difference}; "
        "its test examples stay unseen"
    )


def _rival(other: Baseline, context: Context) -> Context | str:
    """Another strategy on the same split, ready to train, so that its errors show before the main
    one has trained; or the name of a baseline."""
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
        raise HeadstartError(
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
            context.on_event({"event": "note", "note": failed[-1]})
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
    context.on_event({"event": "strategy", "name": strategy})
    checkpoints = None
    if context.plan.tuned:
        checkpoints = Checkpoints(
            checkpoints_of(context.recipe) / name,
            _depends_on(context),
            context.recipe.train.checkpoint_seconds,
            context.on_event,
        )
        done = checkpoints.latest()
        if done and RESULT in done.state:
            merge_adapters(context)
            network.net.load_state_dict(done.tensors["network"])
            note = f"{strategy} was finished before the interruption"
            context.on_event({"event": "note", "note": note})
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
    accuracy = result.test.accuracy.value
    context.on_event({"event": "result", "name": strategy, "test_accuracy": accuracy})
    return result, test


def _depends_on(context: Context) -> dict[str, str | None]:
    """What the checkpoints of a training hold for: others do not serve it."""
    recipe = context.recipe.model_copy(update={"search": None})
    origin = context.network.spec.pretrained
    return {
        "the recipe": recipe.with_changes(train=NO_EFFECT_ON_RESULT).digest(),
        **{f"the {role} part": part.sequence() for role, part in context.dataset.parts().items()},
        "the weights": origin.sha256 if origin else None,
        "the number format": context.precision,
    }


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
    context.on_event({"event": "result", "name": name, "test_accuracy": test.accuracy.value})
    return Result(name=name, test=test, seconds=seconds), probabilities


def _score(context: Context, probabilities: np.ndarray) -> Scores:
    """Of a result on the test part."""
    from headstart.evaluate.scores import score

    dataset, resamples = context.dataset, context.recipe.evaluate.bootstrap
    return score(dataset.test.labels, probabilities, dataset.labels, resamples, majority(dataset))


@contextmanager
def _writable(recipe: Recipe) -> Iterator[None]:
    """Turn a write that the system stopped (a full disk, a quota, a size limit) into one
    sentence."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        code = error.errno if isinstance(error, OSError) else _system_code(error)
        if code not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise HeadstartError(
            f"output: {recipe.output} could not be written: {os.strerror(code).lower()}. Free "
            "some space or raise the limit and run it again, or give another place with "
            "output=NAME"
        ) from error


def _system_code(error: Exception) -> int | None:
    """The system's error number that safetensors quotes, as in "I/O error: File too large (os error
    27)"."""
    quoted = re.search(r"os error (\d+)", str(error))
    return int(quoted[1]) if quoted else None
