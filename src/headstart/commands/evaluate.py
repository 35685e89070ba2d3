"""headstart evaluate: what finished runs come to on a test part, each by itself and all of them
averaged."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.data.dataset import Dataset, Examples
from headstart.data.split_file import read_split
from headstart.errors import HeadstartError
from headstart.evaluate.paired_tests import sign_flip_test
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
class Measured:
    """The scores of each run on n test examples and, of several, those of their average: its
    weights, and the p-value of the difference from the most accurate run (sign flips)."""

    n: int
    runs: dict[str, Scores]
    average: Scores | None
    weights: tuple[float, ...]
    p: float | None
    notes: tuple[str, ...]

    def lines(self) -> list[str]:
        """A table, and a sentence on what averaging was worth."""
        rows = {
            **self.runs,
            **({f"average of {len(self.runs)}": self.average} if self.average else {}),
        }
        width = max(map(len, rows))
        found = [f"{self.n} test examples (in brackets: 95 % intervals)", *self.notes]
        found += [
            f"  {name:{width}}  accuracy {scores.accuracy}  macro-F1 {scores.macro_f1}  log loss "
            f"{scores.log_loss}  calibration error {scores.calibration_error}"
            for name, scores in rows.items()
        ]
        if self.average is None or self.p is None:
            return found
        best = max(self.runs, key=lambda name: self.runs[name].accuracy.value)
        gap = 100 * (self.average.accuracy.value - self.runs[best].accuracy.value)
        side = (
            "as accurate as"
            if not gap
            else f"{abs(gap):.1f} points {'ahead of' if gap > 0 else 'behind'}"
        )
        chance = "by more than chance" if self.p < 0.05 else "not distinguishable"
        shares = ", ".join(f"{weight:.2f}" for weight in self.weights)
        found.append(f"weights {shares}; the average is {side} {best}, p = {self.p:.2g}: {chance}")
        return found


def evaluate(
    runs: Sequence[str],
    weights: Sequence[float] | str | None = None,
    tta: bool = False,
    test: str | None = None,
) -> Measured:
    """Let finished runs predict the test part of the first one.

    Args:
        weights: of several runs in their average; equal without, and "fit" for those that give the
            validation part the least log loss.
        tta: average over several looks at each image.
        test: a labelled folder or table that takes the place of the test part.

    Raises:
        HeadstartError: a run is missing or damaged, its data has changed, the runs tell different
            classes apart, or one has learned from examples that it would be measured on.
    """
    for run in runs:
        if not (Path(run) / SPLIT).is_file():
            raise HeadstartError(
                f"{run}: expected the folder of a finished run; found no {SPLIT} in it"
            )
    first = finished(runs[0], test)
    members = [load(run) for run in runs]
    together = Predictor(
        [member.members[0] for member in members], None if isinstance(weights, str) else weights
    )
    if tta:
        together.check_views()
    if together.labels != first.dataset.labels:
        raise HeadstartError(
            f"{runs[0]}: its model tells {', '.join(together.labels[:5])} apart, its data "
            f"{', '.join(first.dataset.labels[:5])}"
        )
    notes = []
    if test is None:
        _check_unseen(first.dataset.test, runs)
    else:
        notes += [f"note: {note}" for note in first.dataset.notes_of.get("test", ())]
        learned = {run: _learned(run) for run in runs}
        seen = {run: sum(d in learned[run] for d in first.dataset.test.digests) for run in runs}
        notes += [
            f"note: {run} has learned from {count} of them" for run, count in seen.items() if count
        ]
    shares = together.weights
    if isinstance(weights, str):
        shares = fitted_weights(runs, members, tta)
    parts = [member.probabilities(first.dataset.test.items, tta) for member in members]
    truth, labels, resamples = (
        first.dataset.test.labels,
        first.dataset.labels,
        first.recipe.evaluate.bootstrap,
    )
    most = majority(first.dataset)
    scores = {
        str(run): score(truth, part, labels, resamples, most)
        for run, part in zip(runs, parts, strict=True)
    }
    notes += [f"note: {undefined}" for undefined in [scores[str(runs[0])].undefined] if undefined]
    if len(scores) == 1:
        return Measured(len(truth), scores, None, (1.0,), None, tuple(notes))
    mean = np.tensordot(shares, np.array(parts), 1)
    best = max(parts, key=lambda part: (part.argmax(1) == truth).mean())
    difference = (mean.argmax(1) == truth).astype(int) - (best.argmax(1) == truth).astype(int)
    average = score(truth, mean, labels, resamples, most)
    return Measured(
        len(truth),
        scores,
        average,
        tuple(shares.tolist()),
        sign_flip_test(difference),
        tuple(notes),
    )


def parse_runs(runs: str) -> list[str]:
    """The paths in RUN[,RUN…].

    Raises:
        HeadstartError: there is none, or one twice.
    """
    paths = [runs] if Path(runs).exists() else list(filter(None, runs.split(",")))
    if not runs or not paths:
        raise HeadstartError(
            f"RUN: found {runs!r}; expected the folder of a finished run, or several with commas "
            "between them"
        )
    if len(set(paths)) < len(paths):
        raise HeadstartError(f"RUN: {runs}: a run is given twice; to weigh one more, use --weights")
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
        raise HeadstartError(
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
    """The shares in the average that make the validation part's log loss least, shape (runs,): a
    convex problem, which has one answer.

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
    found = minimize(
        lambda shares: (-np.log(shares @ chances).mean(), -(chances / (shares @ chances)).mean(1)),
        np.full(len(runs), 1 / len(runs)),
        jac=True,
        options={"ftol": 1e-10},
        method="SLSQP",
        bounds=[(0, 1)] * len(runs),
        constraints={"type": "eq", "fun": lambda shares: shares.sum() - 1, "jac": np.ones_like},
    )
    return np.asarray(found.x / found.x.sum())


def _held_out(runs: Sequence[str], dataset: Dataset) -> Examples:
    probed = [run for run in runs if Report.read(run).calibration is None]
    if dataset.validation is None or probed:
        why = (
            f"{probed[0]} has learned from it too"
            if probed and dataset.validation
            else f"{runs[0]} has none"
        )
        raise HeadstartError(
            f"--weights fit: needs a validation part that no run has learned from; {why}"
        )
    _check_unseen(dataset.validation, runs, ("train",))
    return dataset.validation


def _check_unseen(part: Examples, runs: Sequence[str], roles: Sequence[str] = LEARNED) -> None:
    """Whether the others have learned from nothing in the first one's part but what it has in its
    own training part as well."""
    for run in runs[1:]:
        seen = (_learned(run, roles) - _learned(runs[0], roles)) & set(part.digests)
        if seen:
            raise HeadstartError(
                f"{run}: has learned from {len(seen)} of the {len(part)} examples that it would "
                "be measured on; give runs of one split (data.split.file)"
            )


def _learned(run: str, roles: Sequence[str] = LEARNED) -> set[bytes]:
    """Contents of the examples that a run was trained on or chosen by."""
    return {content for content, _, _, role in read_split(Path(run) / SPLIT) if role in roles}
