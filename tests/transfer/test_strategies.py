"""Every strategy as a table: phase by phase, which block trains at which rate."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headstart.errors import HeadstartError
from headstart.recipe import Head, Recipe
from headstart.transfer.plan import Phase, Plan
from headstart.transfer.strategies import plan, strategies

BLOCKS = ("stem", "block 1", "block 2", "neck", "head")
ADAPTED = (*BLOCKS[:-1], "adapters", "head")


def recipe(**transfer: object) -> Recipe:
    return Recipe.model_validate(
        {
            "task": "t",
            "output": "o",
            "data": {"source": "s"},
            "model": {"backbone": "b"},
            "transfer": transfer,
            "train": {"lr": 0.01, "epochs": 3},
        }
    )


ROWS = {  # settings: pretrained?, and for each phase its epochs and rates
    "scratch": ({}, False, [(3, dict.fromkeys(BLOCKS, 0.01))]),
    "fine_tune": (
        {"head_lr_ratio": 5.0},
        True,
        [(3, {**dict.fromkeys(BLOCKS[:-1], 0.01), "head": 0.05})],
    ),
    "feature_extraction": ({}, True, [(0, {"head": 0.0})]),
    "discriminative": (
        {"layer_decay": 0.5, "head_lr_ratio": 2.0},
        True,
        [(3, {"stem": 0.00125, "block 1": 0.0025, "block 2": 0.005, "neck": 0.01, "head": 0.02})],
    ),
    "gradual_unfreezing": (
        {"layer_decay": 1.0},
        True,
        [
            (1, {"head": 0.1}),
            (1, {"head": 0.1, "neck": 0.01, "block 2": 0.01}),
            (1, {**dict.fromkeys(BLOCKS[:-1], 0.01), "head": 0.1}),
        ],
    ),
    "chain_thaw": (
        {},
        True,
        [
            (1, {"head": 0.1}),
            (1, dict.fromkeys(BLOCKS[:-1], 0.01)),
            (1, {**dict.fromkeys(BLOCKS[:-1], 0.01), "head": 0.1}),
        ],
    ),
    "lp_ft": ({}, True, [(0, {"head": 0.0}), (3, dict.fromkeys(BLOCKS, 0.01))]),
    "lora": ({}, True, [(3, {"adapters": 0.01, "head": 0.1})]),
    "partial": ({"last_blocks": 2}, True, [(3, {"block 2": 0.01, "neck": 0.01, "head": 0.1})]),
}


def test_every_strategy_has_a_row() -> None:
    assert strategies.names()
    assert set(ROWS) == set(strategies.names())


@pytest.mark.parametrize("name", ROWS)
def test_plan(name: str) -> None:
    settings, pretrained, phases = ROWS[name]
    chosen = recipe(strategy=name, **settings)
    made = plan(chosen, ADAPTED if strategies.get(name).adapted else BLOCKS)
    assert made.strategy == name
    assert strategies.get(name).pretrained is pretrained
    assert [phase.epochs for phase in made.phases] == [epochs for epochs, _ in phases]
    for phase, (_, rates) in zip(made.phases, phases, strict=True):
        assert dict(phase.rates) == pytest.approx(rates)


def test_a_probe_trains_its_head_alone_by_gradient_or_as_a_whole() -> None:
    chosen = recipe(strategy="feature_extraction")
    (whole,) = plan(chosen, BLOCKS).phases
    assert whole.probe
    assert plan(chosen, BLOCKS).tuned == ()
    (gradient,) = plan(chosen.with_changes(model={"head": Head(hidden=(4,))}), BLOCKS).phases
    assert (gradient.epochs, dict(gradient.rates), gradient.probe) == (3, {"head": 0.1}, True)
    for name in set(ROWS) - {"feature_extraction", "lp_ft"}:
        made = plan(recipe(strategy=name, **ROWS[name][0]), ADAPTED)
        assert made.tuned == made.phases
    head, rest = plan(recipe(strategy="lp_ft"), BLOCKS).phases
    assert (head, rest.probe) == (whole, False)


@pytest.mark.parametrize(
    ("epochs", "every", "lengths", "groups"),
    [
        (2, 1, [1, 1], [1, 5]),
        (5, 1, [1, 1, 1, 1, 1], [1, 2, 3, 4, 5]),
        (9, 1, [1, 1, 1, 1, 5], [1, 2, 3, 4, 5]),
        (7, 3, [3, 3, 1], [1, 3, 5]),
        (4, 3, [3, 1], [1, 5]),
    ],
)
def test_unfreezing_takes_all_epochs_and_ends_with_everything(
    epochs: int, every: int, lengths: list[int], groups: list[int]
) -> None:
    chosen = recipe(strategy="gradual_unfreezing", unfreeze_every=every).with_changes(
        train={"epochs": epochs}
    )
    phases = plan(chosen, BLOCKS).phases
    assert [phase.epochs for phase in phases] == lengths
    assert [list(phase.rates) for phase in phases] == [list(BLOCKS[-size:]) for size in groups]
    assert [phase.carries for phase in phases] == [False, *[True] * (len(phases) - 1)]


@pytest.mark.parametrize(("epochs", "every"), [(3, 3), (3, 5), (1, 1)])
def test_unfreezing_that_never_comes_is_refused(epochs: int, every: int) -> None:
    chosen = recipe(strategy="gradual_unfreezing", unfreeze_every=every).with_changes(
        train={"epochs": epochs}
    )
    with pytest.raises(
        HeadstartError, match=f"transfer.unfreeze_every: found {every} with {epochs} epochs"
    ):
        plan(chosen, BLOCKS)


@pytest.mark.parametrize(
    ("settings", "training"),
    [
        ({"last_blocks": 0}, {"head"}),
        ({"train": ("block *",)}, {"block 1", "block 2", "head"}),
        ({"freeze": ("stem", "block 1")}, {"block 2", "neck", "head"}),
        ({"freeze": "*"}, {"head"}),
    ],
)
def test_partial(settings: dict[str, object], training: set[str]) -> None:
    assert set(plan(recipe(strategy="partial", **settings), BLOCKS).phases[0].rates) == training


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"last_blocks": 5}, "has 4 blocks below its head"),
        ({"train": "layer4"}, "no block matches 'layer4'"),
    ],
)
def test_partial_that_cannot_be(settings: dict[str, object], said: str) -> None:
    with pytest.raises(HeadstartError, match=said):
        plan(recipe(strategy="partial", **settings), BLOCKS)


def test_a_plan_that_trains_nothing_or_strangers_is_refused() -> None:
    with pytest.raises(HeadstartError, match="phase 'idle' would train nothing"):
        Plan("mine", (Phase("idle", {}, 1),)).check(BLOCKS)
    with pytest.raises(HeadstartError, match="no block 'tail'"):
        Plan("mine", (Phase("odd", {"tail": 0.1}, 1),)).check(BLOCKS)


def test_plans_need_no_torch() -> None:
    code = "import sys, headstart.transfer.strategies; assert 'torch' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
