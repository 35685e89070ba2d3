"""Every strategy as a table: phase by phase, which block trains at which rate."""

from __future__ import annotations

import subprocess
import sys

import pytest

from headstart.errors import HeadstartError
from headstart.recipe import Recipe
from headstart.sections import Head
from headstart.transfer.plan import Phase, Plan
from headstart.transfer.strategies import plan, strategies

BLOCKS = ("stem", "block 1", "block 2", "neck", "head")


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
    "fine_tune": ({"head_lr_ratio": 5.0}, True, [(3, {**dict.fromkeys(BLOCKS[:-1], 0.01), "head": 0.05})]),
    "feature_extraction": ({}, True, [(0, {"head": 0.0})]),
    "partial": ({"last_blocks": 2}, True, [(3, {"block 2": 0.01, "neck": 0.01, "head": 0.1})]),
}


def test_every_strategy_has_a_row() -> None:
    assert strategies.names()
    assert set(ROWS) == set(strategies.names())


@pytest.mark.parametrize("name", ROWS)
def test_plan(name: str) -> None:
    settings, pretrained, phases = ROWS[name]
    chosen = recipe(strategy=name, **settings)
    made = plan(chosen, BLOCKS)
    assert made.strategy == name
    assert chosen.transfer.pretrained is pretrained
    assert [phase.epochs for phase in made.phases] == [epochs for epochs, _ in phases]
    for phase, (_, rates) in zip(made.phases, phases, strict=True):
        assert dict(phase.rates) == pytest.approx(rates)


def test_a_probe_trains_its_head_alone_by_gradient_or_as_a_whole() -> None:
    chosen = recipe(strategy="feature_extraction")
    (whole,) = plan(chosen, BLOCKS).phases
    assert whole.probe
    assert plan(chosen, BLOCKS).tuned == ()
    (gradient,) = plan(chosen.but(model={"head": Head(hidden=(4,))}), BLOCKS).phases
    assert (gradient.epochs, dict(gradient.rates), gradient.probe) == (3, {"head": 0.1}, True)
    for name in set(ROWS) - {"feature_extraction"}:
        made = plan(recipe(strategy=name, **ROWS[name][0]), BLOCKS)
        assert made.tuned == made.phases


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
    [({"last_blocks": 5}, "has 4 blocks below its head"), ({"train": "layer4"}, "no block matches 'layer4'")],
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
