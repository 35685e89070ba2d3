"""run(recipe) → Report: from a recipe to a finished run directory, top to bottom."""

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
from typing import TYPE_CHECKING

import numpy as np

from headstart.catalogue import read_recipe
from headstart.commands.plan import describe
from headstart.data.dataset import Examples, concatenate
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
from headstart.train.prepare import prepare
from headstart.train.prepared import Machine, Prepared, context_of, start
from headstart.transfer.strategies import strategies

if TYPE_CHECKING:
    from headstart.train.checkpoints import Checkpoints
    from headstart.train.context import History, TrainContext

RESULT = "result"  # the name of the last checkpoint of a strategy


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
    from headstart.commands.outcome import report_of, write_run
    from headstart.runtime.processes import wait

    prepared = _replacing(prepare(recipe, machine))
    rivals = [_rival(other, prepared, machine) for other in prepared.recipe.evaluate.baselines]
    say = progress if progress is not None and machine.rank == 0 else Progress(io.StringIO())
    say.text(describe(prepared, machine))
    with (
        _writable(recipe),
        run_directory(recipe) if machine.rank == 0 else nullcontext(Path(recipe.output)) as folder,
    ):
        if machine.rank == 0:
            say.log_to(folder / "log.jsonl")
        trackers = recipe.train.trackers if machine.rank == 0 else ()
        with tracked(trackers, recipe.resolved(), folder) as hear:
            say.also(hear)
            main = _learn(prepared, machine, folder, "main", say)
            held_out = _held_out(prepared, machine, folder)
            beside, failed = _beside(prepared, rivals, machine, folder, say)
        report = report_of(prepared, main, beside, failed, held_out)
        if machine.rank == 0:
            write_run(prepared, report, main, beside, machine, folder)
    wait()
    say.text(report.summary())
    return report


def _replacing(prepared: Prepared) -> Prepared:
    """The same with a note if the run takes the place of one on other data.

    Raises:
        HeadstartError: it would learn from examples that the earlier run was tested on.
    """
    folder = Path(prepared.recipe.output)
    if not (folder / SPLIT).is_file():
        return prepared
    changes = changes_since(prepared.dataset, folder / SPLIT)
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
        return prepared
    note = (
        f"the run in {folder}, whose place this one takes, had other data: {changes.difference}; "
        "its test examples stay unseen"
    )
    return replace(prepared, dataset=prepared.dataset.with_notes(note))


def _beside(
    prepared: Prepared, rivals: list[Prepared | str], machine: Machine, folder: Path, say: Progress
) -> tuple[list[tuple[Result, np.ndarray]], list[str]]:
    """Results of what the recipe wants beside the main one, each with its probabilities of the test
    part, shape (n, classes), and a sentence for each that gave none."""
    found, failed = [], []
    for number, rival in enumerate(rivals, 1):
        try:
            if isinstance(rival, Prepared):
                found.append(_learn(rival, machine, folder, f"beside-{number}", say))
            else:
                found.append(_baseline(rival, prepared, say))
        except HeadstartError as error:
            name = rival.recipe.transfer.strategy if isinstance(rival, Prepared) else rival
            failed.append(f"evaluate.baselines: {name} gave no result: {error}")
            say.tell({"event": "note", "note": failed[-1]})
    return found, failed


def _learn(
    prepared: Prepared, machine: Machine, folder: Path, part: str, say: Progress
) -> tuple[Result, np.ndarray]:
    """Train by the plan and look at the test part once: the result and the probabilities, shape (n,
    classes).

    What an interrupted run had finished is not done again.
    """
    import torch

    name = prepared.recipe.transfer.strategy
    context = context_of(prepared, machine, folder, say.tell)
    context.tell({"event": "strategy", "name": name})
    checkpoints = _checkpoints(prepared, part, context) if prepared.plan.tuned else None
    done = checkpoints.latest() if checkpoints else None
    if done and RESULT in done.state:
        _merge_if_asked(prepared)
        prepared.network.net.load_state_dict(done.tensors["network"])
        context.tell({"event": "note", "note": f"{name} was finished before the interruption"})
        return Result.model_validate(done.state[RESULT]), done.tensors["probabilities"][
            "rows"
        ].numpy()
    context = replace(context, checkpoints=checkpoints, found=done)
    history = learn(prepared, context)
    test = prepared.dataset.test
    probabilities = _probabilities(prepared, context, "test", test)
    result = Result(
        name=name,
        test=_score(prepared, probabilities),
        seconds=history.seconds,
        phases=prepared.phases,
        epochs=tuple(history.epochs),
        kept=history.kept,
        fitted=history.fitted,
        cached=history.cached,
        precision=prepared.precision,
        examples_per_second=history.examples_per_second,
        notes=tuple(history.notes),
    )
    if checkpoints:
        rows = {"rows": torch.from_numpy(probabilities)}
        tensors = {"network": prepared.network.net.state_dict(), "probabilities": rows}
        checkpoints.save(RESULT, {RESULT: result.model_dump(mode="json")}, tensors)
    context.tell({"event": "result", "name": name, "test_accuracy": result.test.accuracy.value})
    return result, probabilities


def _checkpoints(prepared: Prepared, part: str, context: TrainContext) -> Checkpoints:
    """Those of one strategy of a run; another one's, or another data set's, do not serve it."""
    from headstart.train.checkpoints import Checkpoints

    asked = prepared.recipe.model_copy(update={"search": None})
    origin = prepared.network.spec.pretrained
    key = {
        "the recipe": asked.with_changes(train=NO_EFFECT_ON_RESULT).digest(),
        **{f"the {role} part": part.sequence() for role, part in prepared.dataset.parts().items()},
        "the weights": origin and origin.sha256,
        "the number format": prepared.precision,
    }
    folder = checkpoints_of(prepared.recipe) / part
    return Checkpoints(folder, key, prepared.recipe.train.checkpoint_seconds, context.tell)


def learn(prepared: Prepared, context: TrainContext) -> History:
    """The two ways to learn, on the training part, in place."""
    if prepared.plan.tuned:
        from headstart.train.engine import tune

        history = tune(prepared.network, prepared.plan, context)
        _merge_if_asked(prepared)
        return history
    from headstart.train.probe import probe

    return probe(prepared.network, prepared.plan.phases[0], context)


def _held_out(prepared: Prepared, machine: Machine, folder: Path) -> np.ndarray | None:
    """Probabilities of the validation part, shape (n, classes), where training has kept off it."""
    validation = prepared.dataset.validation
    if validation is None or not prepared.plan.tuned:
        return None
    return _probabilities(
        prepared,
        context_of(prepared, machine, folder, lambda event: None),
        "validation",
        validation,
    )


def _probabilities(
    prepared: Prepared, context: TrainContext, role: str, part: Examples
) -> np.ndarray:
    """Of a part, shape (n, classes), in the way the network has learned."""
    from headstart.train.forward import classify, head_outputs, logits

    network = prepared.network
    if prepared.plan.tuned:
        return classify(
            network, logits(network, part.items, context.plain, context.device, context.precision)
        )
    from headstart.runtime.processes import broadcast_from_main
    from headstart.train.features import extract

    features, _ = extract(network, role, part, context)

    def probabilities() -> np.ndarray:
        assert features is not None
        return classify(network, head_outputs(network, features))

    return broadcast_from_main(probabilities)


def _merge_if_asked(prepared: Prepared) -> None:
    from headstart.models.adapters import merge

    transfer = prepared.recipe.transfer
    if transfer.adapters.merge and strategies.get(transfer.strategy).adapted:
        merge(prepared.network)


def _rival(other: Baseline, prepared: Prepared, machine: Machine) -> Prepared | str:
    """Another strategy on the same split, ready to train, so that its troubles show before the main
    one has trained; or the name of a baseline."""
    if other.name not in strategies:
        return other.name
    train = {key: value for key in ("lr", "epochs") if (value := getattr(other, key)) is not None}
    rival = prepare(
        prepared.recipe.with_changes(transfer={"strategy": other.name}, train=train),
        machine,
        (prepared.dataset, prepared.leaks),
    )
    if train and not rival.chooses_an_epoch:
        raise HeadstartError(
            f"evaluate.baselines: {other.name} fits its head as a whole; remove its lr and epochs"
        )
    return rival


def _baseline(name: str, prepared: Prepared, say: Progress) -> tuple[Result, np.ndarray]:
    """A baseline without a network, on the same split: the result and the probabilities, shape (n,
    classes)."""
    from headstart.runtime.processes import broadcast_from_main

    recipe, dataset = prepared.recipe, prepared.dataset
    # it chooses nothing on the validation part
    everything = concatenate(dataset.for_learning().values())
    started = time.perf_counter()
    probabilities = broadcast_from_main(
        lambda: baselines.get(name)(replace(dataset, train=everything), recipe.seed)
    )
    seconds = time.perf_counter() - started
    test = _score(prepared, probabilities)
    say.tell({"event": "result", "name": name, "test_accuracy": test.accuracy.value})
    return Result(name=name, test=test, seconds=seconds), probabilities


def _score(prepared: Prepared, probabilities: np.ndarray) -> Scores:
    """Of a result on the test part."""
    from headstart.evaluate.scores import score

    dataset, resamples = prepared.dataset, prepared.recipe.evaluate.bootstrap
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
