"""Averages of weights: over the steps of a run, and between a fine-tuned network and its start."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn


class MovingAverage:
    """An exponential moving average of all weights and statistics of a network (Polyak & Juditsky
    1992).

    Early on the decay is smaller, (1 + steps) / (10 + steps), so that the random start of a head is
    soon forgotten.
    """

    def __init__(self, net: nn.Module, decay: float) -> None:
        self._net, self._decay = net, decay
        self.steps = 0
        self.values = {name: value.detach().clone() for name, value in net.state_dict().items()}

    @torch.no_grad()
    def step(self) -> None:
        """Take in the weights after an optimizer step."""
        self.steps += 1
        decay = min(self._decay, (1 + self.steps) / (10 + self.steps))
        for name, value in self._net.state_dict().items():
            if value.is_floating_point():
                self.values[name].lerp_(value, 1 - decay)
            else:
                self.values[name].copy_(value)

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """The network with the averaged weights, until the block ends."""
        own = {name: value.detach().clone() for name, value in self._net.state_dict().items()}
        self._net.load_state_dict(self.values)
        try:
            yield
        finally:
            self._net.load_state_dict(own)


@torch.no_grad()
def towards_start(net: nn.Module, start: Mapping[str, Tensor], share: float) -> None:
    """Weights and statistics named in `start` become share × their own + (1 − share) × those:
    WiSE-FT (Wortsman et al. 2022)."""
    for name, value in net.state_dict().items():
        if name in start and value.is_floating_point():
            value.lerp_(start[name].to(value.device), 1 - share)
