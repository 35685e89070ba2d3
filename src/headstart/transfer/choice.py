"""Strategy 'auto': the textbook's table of four cases, by how much data there is and how near the new task is."""

from __future__ import annotations

ENOUGH = 1_000  # training examples: from here on there is much data
NEAR = 0.85  # of the way from the majority class to no error at all, for a classifier on frozen features


def choose(examples: int, separated: float) -> tuple[str, str]:
    """(strategy, the reason in one sentence).

    | | near | far |
    |---|---|---|
    | little data | feature_extraction | lp_ft |
    | much data | lp_ft | fine_tune |

    Near means that the features of the frozen backbone separate the classes already; with little data a backbone that
    trains forgets more than it learns (Yosinski et al. 2014; Kumar et al. 2022).

    Args:
        examples: for training.
        separated: cross-validated accuracy of a classifier on frozen features, from 0 (that of the majority class) to 1.
    """
    near, much = separated >= NEAR, examples >= ENOUGH
    strategy = {
        (False, True): "feature_extraction",
        (False, False): "lp_ft",
        (True, True): "lp_ft",
        (True, False): "fine_tune",
    }[much, near]
    return strategy, (
        f"strategy 'auto' chose {strategy}: {examples:,} training examples are {'much' if much else 'little'} data (limit "
        f"{ENOUGH:,}), and frozen features take a classifier {100 * separated:.1f} % of the way from the majority class to no "
        f"error, which is {'near' if near else 'far'} (limit {100 * NEAR:.0f} %)"
    )
