"""What keeps pretrained weights near their start while they train."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor


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
