"""The epochs of a training: what they came to, which one is the best, and when to warn."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from torch import Tensor

from headstart.evaluate.events import BestSoFar
from headstart.evaluate.metrics import metrics
from headstart.evaluate.results import Epoch, EpochRecord

# a held-out loss that has risen by this factor, and is so many times the training loss
OVERFIT_RISE, OVERFIT_GAP = 1.1, 2.0


@dataclass
class History:
    """What happened in a training.

    Args:
        kept: the epoch whose weights were kept.
        fitted: how the head was fitted as a whole, in words.
        cached: training examples whose features the cache had; `seconds` does not count them.
        notes: remarks for people.
    """

    epochs: list[EpochRecord] = field(default_factory=list)
    kept: Epoch | None = None
    fitted: str | None = None
    cached: int = 0
    examples_per_second: float | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)


class BestEpoch:
    """Keeps the weights of the epoch with the highest score on the selection part; of equals, the
    one with the lower loss."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.epoch: Epoch | None = None
        self.weights: dict[str, Tensor] | None = None
        self.score = self.minus_loss = -math.inf

    def offer(
        self, logits: np.ndarray, targets: np.ndarray, epoch: Epoch, weights: dict[str, Tensor]
    ) -> dict[str, float]:
        """Score an epoch and keep its weights if it is the best so far: {"selection_accuracy",
        "selection_loss", …}.

        Args:
            logits: of the selection part, shape (n, classes).
            targets: its labels, shape (n,).
            weights: what gave these logits.
        """
        scores = {
            name: metrics.get(name)(targets, logits)
            for name in dict.fromkeys(("accuracy", "loss", self.metric))
        }
        score, minus_loss = scores[self.metric], scores["loss"]
        if self.epoch is None or (score, minus_loss) > (self.score, self.minus_loss):
            self.score, self.minus_loss, self.epoch = score, minus_loss, epoch
            self.weights = {name: value.detach().cpu().clone() for name, value in weights.items()}
        shown = {f"selection_{name}": value for name, value in scores.items()}
        return {**shown, "selection_loss": -minus_loss}

    def so_far(self) -> BestSoFar | None:
        """The best value and its epoch, once there is one."""
        return BestSoFar(self.metric, abs(self.score), self.epoch) if self.epoch else None


def epochs_since_best(epochs: Sequence[EpochRecord], metric: str) -> int:
    """How many of these epochs came after the one with the best metric."""
    scores = [score_of(epoch.selection(metric), metric) for epoch in epochs]
    return len(scores) - 1 - scores.index(max(scores))


def score_of(value: float | None, metric: str) -> float:
    """The value of a metric as a score, the higher the better."""
    assert value is not None
    return -value if metric == "loss" else value


def overfitting(epochs: Sequence[EpochRecord]) -> str | None:
    """A warning, and what to try, where the held-out loss has risen by a tenth from an earlier
    epoch's and is at least twice the training loss."""
    scored = [(loss, epoch) for epoch in epochs if (loss := epoch.selection("loss")) is not None]
    if len(scored) < 2:
        return None
    lowest, best = min(scored, key=lambda pair: pair[0])
    loss, last = scored[-1]
    if loss < OVERFIT_RISE * lowest or loss < OVERFIT_GAP * last.loss:
        return None
    return (
        f"overfitting: from phase {best.phase}, epoch {best.epoch} to the end the held-out "
        f"loss rose from {lowest:.3f} to {loss:.3f} while the "
        f"training loss fell to {last.loss:.3f}. Try fewer epochs (or train.early_stopping), "
        "more augmentation, train.label_smoothing, transfer.l2_sp, or a strategy that trains "
        "less, such as 'partial', 'lora' or 'feature_extraction'"
    )
