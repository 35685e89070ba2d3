"""The best epoch so far: the one rule by which every way of training chooses."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn


class Best:
    """Keeps the weights of the epoch with the highest accuracy on the selection part; of equals, the lower loss."""

    def __init__(self) -> None:
        self.epoch: dict[str, int] | None = None
        self.weights: dict[str, Tensor] | None = None
        self.accuracy = -1.0
        self._loss = math.inf

    def offer(self, logits: np.ndarray, targets: np.ndarray, epoch: dict[str, int], net: nn.Module) -> dict[str, float]:
        """Score an epoch and keep its weights if it is the best so far: {"selection_accuracy", "selection_loss"}.

        Args:
            logits: of the selection part, shape (n, classes).
            targets: its labels, shape (n,).
        """
        loss = F.cross_entropy(torch.from_numpy(logits), torch.from_numpy(targets)).item()
        accuracy = float(np.mean(logits.argmax(1) == targets))
        if (accuracy, -loss) > (self.accuracy, -self._loss):
            self.accuracy, self._loss, self.epoch = accuracy, loss, epoch
            self.weights = {name: value.detach().cpu().clone() for name, value in net.state_dict().items()}
        return {"selection_accuracy": accuracy, "selection_loss": loss}

    def so_far(self) -> dict[str, Any]:
        """For telling: the best score and its epoch, once there is one."""
        return {"best": self.accuracy, "best_at": self.epoch} if self.epoch else {}
