"""headstart evaluate: scores of finished runs on a test part, and of their average."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from headstart.data.dataset import Dataset, Examples
from headstart.data.split_file import read_split
from headstart.errors import RunError
from headstart.evaluate.paired_tests import ALPHA, sign_flip_test
from headstart.evaluate.results import Scores
from headstart.evaluate.scores import score
from headstart.inference.finished import finished
from headstart.inference.predict import Predictor, load
from headstart.models.baselines import majority
from headstart.report.folder import SPLIT
from headstart.report.report import Report

LEARNED = ("train", "validation")
FIT = "fit"  # in place of weights


@dataclass(frozen=True)
class Evaluation:
    """The scores of each run on n test examples, and of several runs those of their average, its
    weights, and the p-value of its difference from the most accurate run (sign flips)."""

    n: int
    runs: dict[str, Scores]
    notes: tuple[str, ...]
    average: Scores | None = None
    weights: tuple[float, ...] = (1.0,)
    p: float | None = None

    def lines(self) -> list[str]:
        """A table, and a sentence on what averaging was worth."""
        rows = dict(self.runs)
        if self.average is not None:
            rows[f"average of {len(self.runs)}"] = self.average
        width = max(map(len, rows))
        lines = [
            f"{self.n} test examples (in brackets: 95 % intervals)",
            *self.notes,
            *(
                f"  {name:{width}}  accuracy {scores.accuracy}  macro-F1 {scores.macro_f1}  log "
                f"loss {scores.log_loss}  calibration error {scores.calibration_error}"
                for name, scores in rows.items()
            ),
        ]
        if self.average is None or self.p is None:
            return lines
        best = max(self.runs, key=lambda name: self.runs[name].accuracy.value)
        gap = 100 * (self.average.accuracy.value - self.runs[best].accuracy.value)
        side = f"{abs(gap):.1f} points {'ahead of' if gap > 0 else 'behind'}"
        chance = "by more than chance" if self.p <= ALPHA else "not distinguishable"
        shares = ", ".join(f"{weight:.2f}" for weight in self.weights)
        return [
            *lines,
            f"weights {shares}; the average is {side if gap else 'as accurate as'} {best}, "
            f"p = {self.p:.2g}: {chance}",
        ]


def evaluate(
    runs: Sequence[str],
    weights: Sequence[float] | str | None = None,
    tta: bool = False,
    test: str | None = None,
) -> Evaluation:
    """Measure finished runs on the test part of the first one.

    Args:
        weights: of several runs in their average; equal by default, and "fit" for those with the
            least log loss on the validation part.
        tta: average over several views of each image.
        test: a labelled folder or table in place of the test part.

    Raises:
        HeadstartError: a run is missing or damaged, its data has changed, the runs have different
            classes, or one has learned from examples that it would be measured on.
    """
    for run in runs:
        if not (Path(run) / SPLIT).is_file():
            raise RunError(f"{run}: expected the folder of a finished run; found no {SPLIT} in it")
    first = finished(runs[0], test)
    dataset, part = first.dataset, first.dataset.test
    models = [load(run) for run in runs]
    average = Predictor(
        [model.members[0] for model in models], None if isinstance(weights, str) else weights
    )
    if tta:
        average.check_views()
    if average.labels != dataset.labels:
        raise RunError(
            f"{runs[0]}: its model has the classes {', '.join(average.labels[:5])}, its data "
            f"{', '.join(dataset.labels[:5])}"
        )
    notes: list[str] = []
    if test is None:
        _check_unseen(part, runs)
    else:
        notes += dataset.notes_of.get("test", ())
        for run in runs:
            learned = _learned(run)
            if count := sum(digest in learned for digest in part.digests):
                notes.append(f"{run} has learned from {count} of them")
    shares = fitted_weights(runs, models, tta) if isinstance(weights, str) else average.weights
    by_run = [model.probabilities(part.items, tta) for model in models]

    def scored(probabilities: np.ndarray) -> Scores:
        resamples = first.recipe.evaluate.bootstrap
        return score(part.labels, probabilities, dataset.labels, resamples, majority(dataset))

    scores = dict(zip(map(str, runs), map(scored, by_run), strict=True))
    if undefined := scores[str(runs[0])].undefined:
        notes.append(undefined)
    result = Evaluation(len(part), scores, tuple(f"note: {note}" for note in notes))
    if len(scores) == 1:
        return result
    mean = np.tensordot(shares, np.array(by_run), 1)
    correct = [(rows.argmax(1) == part.labels).astype(int) for rows in by_run]
    best = max(correct, key=lambda row: row.mean())
    p = sign_flip_test((mean.argmax(1) == part.labels).astype(int) - best)
    return replace(result, average=scored(mean), weights=tuple(shares.tolist()), p=p)


def parse_runs(runs: str) -> list[str]:
    """The paths in RUN[,RUN…].

    Raises:
        HeadstartError: there is none, or one twice.
    """
    paths = [runs] if Path(runs).exists() else list(filter(None, runs.split(",")))
    if not runs or not paths:
        raise RunError(
            f"RUN: found {runs!r}; expected the folder of a finished run, or several with commas "
            "between them"
        )
    if len(set(paths)) < len(paths):
        raise RunError(f"RUN: {runs}: a run is given twice; to weigh one more, use --weights")
    return paths


def parse_weights(weights: str | None) -> list[float] | str | None:
    """The numbers in W,W,…; "fit" as it is.

    Raises:
        HeadstartError: it is something else.
    """
    if weights is None or weights == FIT:
        return weights
    try:
        return list(map(float, weights.split(",")))
    except ValueError:
        raise RunError(
            f'--weights: found {weights!r}; expected numbers such as 0.5,0.3,0.2 or "fit"'
        ) from None


def load_average(runs: str, weights: str | None, refuse_below: float | None) -> Predictor:
    """The model that arguments of the command line name.

    Args:
        runs: RUN[,RUN…]. weights: W,W,… or "fit", of several runs in their average.
        refuse_below: the least probability that gets a label.

    Raises:
        HeadstartError: an argument is wrong, or a model cannot be loaded.
    """
    paths, shares = parse_runs(runs), parse_weights(weights)
    if isinstance(shares, str):
        shares = fitted_weights(paths, [load(path) for path in paths]).tolist()
        print(f"weights {', '.join(f'{share:.3f}' for share in shares)}", file=sys.stderr)
    return load(paths, shares, refuse_below)


def fitted_weights(
    runs: Sequence[str], members: Sequence[Predictor], tta: bool = False
) -> np.ndarray:
    """The weights with the least log loss on the validation part, shape (runs,).

    The problem is convex.

    Raises:
        HeadstartError: there is no validation part, or a run has learned from it.
    """
    from scipy.optimize import minimize

    dataset = finished(runs[0]).dataset
    validation = _held_out(runs, dataset)
    rows = np.arange(len(validation))
    chances = np.array(
        [member.probabilities(validation.items, tta)[rows, validation.labels] for member in members]
    )
    chances = chances.clip(1e-12)
    result = minimize(
        lambda shares: (-np.log(shares @ chances).mean(), -(chances / (shares @ chances)).mean(1)),
        np.full(len(runs), 1 / len(runs)),
        jac=True,
        options={"ftol": 1e-10},
        method="SLSQP",
        bounds=[(0, 1)] * len(runs),
        constraints={"type": "eq", "fun": lambda shares: shares.sum() - 1, "jac": np.ones_like},
    )
    return np.asarray(result.x / result.x.sum())


def _held_out(runs: Sequence[str], dataset: Dataset) -> Examples:
    probed = [run for run in runs if Report.read(run).calibration is None]
    if dataset.validation is None or probed:
        why = (
            f"{probed[0]} has learned from it too"
            if probed and dataset.validation
            else f"{runs[0]} has none"
        )
        raise RunError(
            f"--weights fit: needs a validation part that no run has learned from; {why}"
        )
    _check_unseen(dataset.validation, runs, ("train",))
    return dataset.validation


def _check_unseen(part: Examples, runs: Sequence[str], roles: Sequence[str] = LEARNED) -> None:
    """Refuse runs that have learned from a part of the first run's data, unless the first run has
    too."""
    for run in runs[1:]:
        seen = (_learned(run, roles) - _learned(runs[0], roles)) & set(part.digests)
        if seen:
            raise RunError(
                f"{run}: has learned from {len(seen)} of the {len(part)} examples that it would "
                "be measured on; give runs of one split (data.split.file)"
            )


def _learned(run: str, roles: Sequence[str] = LEARNED) -> set[bytes]:
    """Contents of the examples that a run was trained on or chosen by."""
    return {content for content, _, _, role in read_split(Path(run) / SPLIT) if role in roles}
