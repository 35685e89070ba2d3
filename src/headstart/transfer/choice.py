"""Strategy 'auto': the textbook's table of four cases, by how much data there is and how near the
new task is, weighed against what frozen features do for next to nothing."""

from __future__ import annotations

from dataclasses import dataclass

from headstart.recipe.strategy import FROZEN

ENOUGH = 1_000  # training examples: from here on there is much data
# of the way from the majority class to no error at all, for a classifier on frozen features
NEAR = 0.85


@dataclass(frozen=True)
class FrozenFit:
    """What a classifier on frozen features does on the training examples: its cross-validated
    accuracy with the 95 % interval, its accuracy on the examples that it has learned from, and the
    share of the majority class."""

    accuracy: float
    low: float
    high: float
    fitted: float
    majority: float

    @property
    def linear_separability(self) -> float:
        """How far it is on the way from the majority class, 0, to no error, 1."""
        return max((self.accuracy - self.majority) / (1 - self.majority), 0.0)

    def __str__(self) -> str:
        return f"{self.accuracy:.3f} [{self.low:.3f}, {self.high:.3f}]"


@dataclass(frozen=True)
class Choice:
    """A strategy, the one that the table of four cases has, and the reason in one sentence."""

    strategy: str
    table: str
    reason: str


def choose(examples: int, frozen: FrozenFit, chance: float) -> Choice:
    """The strategy for some data.

    | | near | far |
    |---|---|---|
    | little data | feature_extraction | lp_ft |
    | much data | lp_ft | fine_tune |

    Near means that the features of the frozen backbone separate the classes already; with little
    data a backbone that trains forgets more than it learns (Yosinski et al. 2014; Kumar et al.
    2022).

    A backbone that trains takes three passes over each example an epoch (forward, and backward at
    twice the cost) where frozen features take one in all, so it has to promise something for that.
    What it can mend is what a classifier on frozen features cannot even fit, its error on the
    examples that it has learned from (the bias of the features; Geman et al. 1992), and where that
    is no more than the test part tells from chance, the features stay frozen, unless they tell
    nothing at all.

    Args:
        examples: for training.
        chance: half the width of the 95 % interval of an accuracy like that on the test part.
    """
    near, much = frozen.linear_separability >= NEAR, examples >= ENOUGH
    table = {
        (False, True): FROZEN,
        (False, False): "lp_ft",
        (True, True): "lp_ft",
        (True, False): "fine_tune",
    }[much, near]
    gain, useful = 1 - frozen.fitted, frozen.low > frozen.majority
    weighed = FROZEN if gain <= chance and useful else table
    reason = (
        f"strategy 'auto' chose {weighed}: {examples:,} training examples are "
        f"{'much' if much else 'little'} data (limit {ENOUGH:,}), and frozen features reach "
        f"{frozen} in cross-validation, {100 * frozen.linear_separability:.1f} % of the way from "
        f"the majority class to no error, which is {'near' if near else 'far'} (limit "
        f"{100 * NEAR:.0f} %)"
    )
    if table != FROZEN:
        side = "no more than" if gain <= chance else "more than"
        reason += (
            f"; {table} can mend what a classifier on them cannot fit, {100 * gain:.1f} points, "
            f"{side} the {100 * chance:.1f} that the test part tells from chance"
        )
        if gain <= chance and not useful:
            reason += ", but they are not ahead of the majority class by more than chance"
    return Choice(weighed, table, reason)
