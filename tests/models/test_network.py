"""What is frozen stays in evaluation mode, whatever calls train()."""

from __future__ import annotations

import torch
from torch import nn

from headstart.models.network import Network, build_head
from headstart.recipe import Head


class Small(Network):
    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Dropout(0.5)),
            nn.BatchNorm2d(4, affine=False),
            nn.Flatten(),
            nn.Dropout(0.5),
            nn.Linear(4 * 36, 2),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:  # type: ignore[override]
        return self.net(x)


def test_frozen_modules_stay_in_evaluation_mode() -> None:
    network = Small()
    network.set_trainable(["4.weight", "4.bias"])
    before = {name: value.clone() for name, value in network.net.state_dict().items()}
    network.train()
    first, affine_free, _, dropout, head = network.net
    assert not any(module.training for module in first.modules())
    assert not affine_free.training, "statistics without parameters go with the block before them"
    assert dropout.training
    assert head.training
    network(torch.randn(8, 3, 8, 8))
    assert all(torch.equal(before[name], value) for name, value in network.net.state_dict().items())
    network.set_trainable(dict(network.net.named_parameters()))
    assert all(module.training for module in network.train().modules())


def test_heads() -> None:
    assert isinstance(build_head(Head(), 8, 2), nn.Linear)
    head = build_head(Head(hidden=(6, 4), dropout=(0.5, 0.3, 0.0)), 8, 2)
    assert [type(layer).__name__ for layer in head] == [  # type: ignore[arg-type]
        "Dropout", "Linear", "GELU", "Dropout", "Linear", "GELU", "Linear",
    ]  # fmt: skip
    assert head(torch.zeros(3, 8)).shape == (3, 2)
