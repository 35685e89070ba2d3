"""What training minimises: the loss of each example, and the penalty on moved weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from headstart.data.unicode import nfc
from headstart.errors import RecipeError
from headstart.recipe import Train
from headstart.registry import unknown


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


class L2SP:
    """L2-SP (Li et al. 2018): strength / 2 × the squared distance of the pretrained weights that
    train from their start."""

    def __init__(self, start: Mapping[str, Tensor], strength: float) -> None:
        self._start, self._strength = start, strength

    def of(self, parameters: Mapping[str, torch.nn.Parameter]) -> Callable[[], Tensor]:
        """A function that gives the penalty on these parameters, by name, as they are when it is
        called."""
        pairs = [(value, self._start[name].to(value.device)) for name, value in parameters.items()]
        return lambda: self._strength / 2 * sum(((now - then) ** 2).sum() for now, then in pairs)  # type: ignore[return-value]


def balanced(labels: np.ndarray, classes: int) -> np.ndarray:
    """Weights of the classes, shape (classes,), that give each the same part in the loss and an
    example 1 on average."""
    counts = np.bincount(labels, minlength=classes)
    return len(labels) / (classes * np.maximum(counts, 1))


def class_weights(
    options: Train, labels: np.ndarray, classes: tuple[str, ...]
) -> np.ndarray | None:
    """The weight of each class in the loss, shape (classes,), or None where all weigh the same.

    Args:
        labels: of the training part.

    Raises:
        HeadstartError: train.class_weights names an unknown class, or leaves fewer than two.
    """
    wanted = options.class_weights
    if wanted is None:
        return None
    if isinstance(wanted, str):
        return balanced(labels, len(classes))
    wanted = {nfc(name): weight for name, weight in wanted.items()}
    for name in wanted:
        if name not in classes:
            raise RecipeError(f"train.class_weights: {unknown('class', name, list(classes))}")
    weights = np.array([wanted.get(name, 1.0) for name in classes])
    if (weights > 0).sum() < 2:
        raise RecipeError(
            f"train.class_weights: found {wanted}; expected at least two classes with a weight "
            "above 0, or nothing is told apart"
        )
    return weights
