"""What training minimises, example by example."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from headstart.recipe import Train


class Loss:
    """Cross-entropy or focal loss of each example, shape (n,), from logits and labels.

    Labels are class numbers of shape (n,) or shares of the classes of shape (n, classes). Classes
    may weigh more or less. Focal loss (Lin et al. 2017) multiplies the term of a class by (1 − its
    probability) ** gamma; label smoothing (Szegedy et al. 2016) spreads a share of the label over
    all classes.
    """

    def __init__(
        self, options: Train, class_weights: np.ndarray | None, device: torch.device
    ) -> None:
        self._gamma = options.loss.gamma if options.loss.name == "focal" else 0.0
        self._smoothing = options.label_smoothing
        self._weights = (
            None if class_weights is None else torch.from_numpy(class_weights).float().to(device)
        )

    def __call__(self, logits: Tensor, labels: Tensor) -> Tensor:
        if not self._gamma:
            smoothing = self._smoothing
            return F.cross_entropy(
                logits, labels, self._weights, reduction="none", label_smoothing=smoothing
            )
        classes = logits.shape[1]
        shares = F.one_hot(labels, classes).float() if labels.ndim == 1 else labels
        shares = (1 - self._smoothing) * shares + self._smoothing / classes
        log_p = logits.float().log_softmax(1)
        terms = shares * log_p * (1 - log_p.exp()) ** self._gamma
        return -(terms if self._weights is None else terms * self._weights).sum(1)


def balanced(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights of the classes, shape (classes,), that give each the same part in the loss and an
    example 1 on average."""
    counts = np.bincount(labels, minlength=classes)
    return len(labels) / (classes * np.maximum(counts, 1))
