"""The best epoch so far: the one rule by which every way of training chooses."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from torch import Tensor

from headstart.evaluate.metrics import metrics


class BestEpoch:
    """Keeps the weights of the epoch with the highest score on the selection part; of equals, the
    one with the lower loss."""

    def __init__(self, metric: str) -> None:
        self.metric = metric
        self.epoch: dict[str, int] | None = None
        self.weights: dict[str, Tensor] | None = None
        self.score = self.minus_loss = -math.inf

    def offer(
        self,
        logits: np.ndarray,
        targets: np.ndarray,
        epoch: dict[str, int],
        weights: dict[str, Tensor],
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

    def so_far(self) -> dict[str, Any]:
        """For telling: the best score and its epoch, once there is one."""
        if self.epoch is None:
            return {}
        return {"metric": self.metric, "best": abs(self.score), "best_at": self.epoch}


def score_of(row: Mapping[str, Any], metric: str) -> float:
    """The metric of an epoch that was told of, the higher the better."""
    return float(row[f"selection_{metric}"]) * (-1 if metric == "loss" else 1)


def epochs_since_the_best(rows: list[dict[str, Any]], metric: str) -> int:
    """How many of these epochs came after the one with the best metric."""
    scores = [score_of(row, metric) for row in rows]
    return len(scores) - 1 - scores.index(max(scores))
