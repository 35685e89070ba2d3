from __future__ import annotations

import pytest
from torch import nn

from headstart.models.blocks import Blocks
from headstart.transfer.plan import Phase


class Two:
    def __init__(self, partition: dict[str, tuple[str, ...]]) -> None:
        self.net = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
        self.partition = partition

    def set_trainable(self, names: object, freeze_statistics: bool = False) -> None:
        self.trainable = set(names)  # type: ignore[call-overload]


GOOD = {"stem": ("0.weight", "0.bias"), "head": ("1.weight", "1.bias")}


def test_groups_hold_the_plans_rates_and_spare_vectors_from_decay() -> None:
    blocks = Blocks(Two(GOOD))
    groups = blocks.groups(Phase("p", {"stem": 0.1, "head": 1.0}, 1), weight_decay=0.5)
    found = [
        (group["block"], group["lr"], group["weight_decay"], group["params"][0].ndim)
        for group in groups
    ]
    assert found == [
        ("stem", 0.1, 0.5, 2),
        ("stem", 0.1, 0.0, 1),
        ("head", 1.0, 0.5, 2),
        ("head", 1.0, 0.0, 1),
    ]
    assert blocks.trainable(Phase("p", {"head": 1.0}, 1)) == 8


def test_open_lets_gradients_into_the_phases_blocks_only() -> None:
    two = Two(GOOD)
    Blocks(two).open(Phase("p", {"head": 1.0}, 1))
    assert two.trainable == {"1.weight", "1.bias"}


@pytest.mark.parametrize(
    "partition",
    [
        {"stem": ("0.weight",), "head": ("1.weight", "1.bias")},
        {"stem": ("0.weight", "0.bias", "1.bias"), "head": ("1.weight", "1.bias")},
        {"stem": ("0.weight", "0.bias", "2.bias"), "head": ("1.weight", "1.bias")},
    ],
)
def test_what_is_no_partition_is_refused(partition: dict[str, tuple[str, ...]]) -> None:
    with pytest.raises(ValueError, match="not a partition"):
        Blocks(Two(partition))
