"""headstart recommend: which backbone to begin with, by what its frozen features know of the data
and what it costs."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import numpy as np

from headstart.catalogue import read_recipe
from headstart.data.dataset import Examples
from headstart.errors import HeadstartError, RunError
from headstart.evaluate.results import Estimate
from headstart.files import write_text
from headstart.runtime.machine import Machine, start
from headstart.train.context import Context
from headstart.train.prepare import prepare_frozen, read_checked

RANDOM = "random:"  # before a backbone's name: its architecture without its weights, as a floor
TIMED, REPEATS = 32, 5  # examples that are passed through at once, and how often


@dataclass(frozen=True)
class Ranked:
    """One backbone on the training part: LogME, the accuracy of a classifier on its frozen features
    (out of fold), seconds an example, parameters; and whether no other is both better and
    faster."""

    name: str
    logme: float
    probe: Estimate
    seconds: float
    parameters: int
    pareto: bool = False


@dataclass(frozen=True)
class Recommendation:
    """Backbones, the likeliest first, and a sentence for each that could not be had."""

    ranked: tuple[Ranked, ...]
    failed: tuple[str, ...]

    def markdown(self) -> str:
        """The table, for people; a star marks those that no other beats in both probe and speed."""
        lines = [
            "| backbone | probe accuracy | 95 % interval | LogME | ms an example | parameters | |",
            f"|{' --- |' * 7}",
        ]
        lines += [
            f"| {row.name} | {row.probe.value:.3f} | {row.probe.low:.3f} to {row.probe.high:.3f} "
            f"| {row.logme:.3f} | {1000 * row.seconds:.1f} | {row.parameters / 1e6:.2f} M | "
            f"{'*' if row.pareto else ''} |"
            for row in self.ranked
        ]
        return "\n".join(lines)

    def verdict(self) -> str:
        """What to take from it."""
        best = self.ranked[0]
        return (
            f"Begin with {best.name}. This is a heuristic: it ranks by what frozen features tell "
            "of the training part, and fine-tuning may rank otherwise. (* : no other is both "
            "better and faster.)"
        )


def recommend(
    path: str | Path, backbones: Sequence[str], overrides: Sequence[str] = ()
) -> tuple[Recommendation, Path]:
    """Rank backbones for a recipe's data; the ranking, and the table's file beside the run
    directory.

    Args:
        path: a TOML recipe. backbones: names as in `model.backbone`; "random:NAME" is the
            architecture without its weights.
        overrides: `key=value` pairs.

    Raises:
        HeadstartError: the data cannot be read, or no backbone can be had.
    """
    names = list(dict.fromkeys(filter(None, map(str.strip, backbones))))
    if not names:
        raise RunError(
            "--backbones: found no name; expected some as in model.backbone, with commas between "
            "them"
        )
    output = Path(read_recipe(path, overrides).output)
    machine = start()
    ranked, failed = [], []
    for name in names:
        try:
            ranked.append(_ranked(name, path, overrides, machine))
        except HeadstartError as error:
            failed.append(f"{name}: {error}")
    if not ranked:
        raise RunError(
            f"recommend: none of {len(names)} backbones can be had; the first: {failed[0]}"
        )
    ordered = sorted(ranked, key=lambda row: -row.probe.value)
    ranking = Recommendation(tuple(_marked(row, ordered) for row in ordered), tuple(failed))
    table = output.with_name(f"{output.name}.recommend.md")
    table.parent.mkdir(parents=True, exist_ok=True)
    write_text(
        table,
        "\n\n".join(
            [ranking.markdown(), ranking.verdict(), *(f"failed: {line}" for line in failed)]
        )
        + "\n",
    )
    return ranking, table


def _marked(row: Ranked, others: Sequence[Ranked]) -> Ranked:
    beaten = any(
        other.probe.value >= row.probe.value and other.seconds <= row.seconds and other is not row
        for other in others
    )
    return Ranked(row.name, row.logme, row.probe, row.seconds, row.parameters, not beaten)


def _ranked(name: str, path: str | Path, overrides: Sequence[str], machine: Machine) -> Ranked:
    from headstart.evaluate.logme import logme
    from headstart.train.cross_validation import cross_validated_accuracy

    random = name.startswith(RANDOM)
    recipe = read_recipe(path, [*overrides, f'model.backbone="{name.removeprefix(RANDOM)}"'])
    recipe = recipe.with_changes(evaluate={"baselines": ()})
    context = prepare_frozen(recipe, machine, read_checked(recipe), random)
    train = context.dataset.train
    features = _features(context, train, random)
    some = train.take(np.arange(min(TIMED, len(train))))
    return Ranked(
        name=name,
        logme=logme(features, train.labels),
        probe=cross_validated_accuracy(features, train.labels, recipe.seed),
        seconds=_seconds(lambda: _computed(context, some)) / len(some),
        parameters=sum(context.sizes.values()),
    )


def _features(context: Context, train: Examples, random: bool) -> np.ndarray:
    """Of the training part, shape (n, width); those of real weights come from the cache or go into
    it."""
    if random:
        return _computed(context, train)
    from headstart.train.features import extract_with_bar

    features = extract_with_bar(context, "train", train)
    assert features is not None
    return features


def _computed(context: Context, some: Examples) -> np.ndarray:
    from headstart.train.forward import features

    context.network.to(context.device)
    return np.concatenate(list(features(context, some.items)))


def _seconds(work: Callable[[], object]) -> float:
    """Median of some runs after a first one."""
    work()
    taken = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        work()
        taken.append(time.perf_counter() - started)
    return median(taken)
