"""Schedules as tables: the factor at each of 8 steps (4 epochs of 2)."""

from __future__ import annotations

import math

import pytest

from headstart.recipe import Train
from headstart.train.schedules import LearningRate

ROWS = {
    "constant": ({"name": "constant"}, [1, 1, 1, 1, 1, 1, 1, 1]),
    "step": ({"name": "step", "every": 2.0, "factor": 0.1}, [1, 1, 1, 1, 0.1, 0.1, 0.1, 0.1]),
    "exponential": (
        {"name": "exponential", "factor": 0.25},
        [0.25 ** (step / 2) for step in range(8)],
    ),
    "linear": ({"name": "linear"}, [1 - step / 8 for step in range(8)]),
    "cosine": ({"name": "cosine"}, [(1 + math.cos(math.pi * step / 8)) / 2 for step in range(8)]),
    "plateau": (
        {"name": "plateau", "patience": 0, "factor": 0.5},
        [1, 1, 1, 1, 0.5, 0.5, 0.25, 0.25],
    ),
}
LOSSES = [1.0, 1.5, 1.5, 0.5]  # seen by plateau at the end of each epoch


def factors(settings: dict[str, object], warmup: float = 0.0) -> list[float]:
    schedule = LearningRate(Train.model_validate({"schedule": settings, "warmup": warmup}), 2, 4)
    found = []
    for step in range(8):
        found.append(schedule(step))
        if step % 2:
            schedule.observe(LOSSES[step // 2])
    return found


@pytest.mark.parametrize("name", ROWS)
def test_factors(name: str) -> None:
    settings, expected = ROWS[name]
    assert factors(settings) == pytest.approx(expected)


def test_there_is_a_row_for_every_schedule_a_recipe_may_name() -> None:
    from typing import get_args

    from headstart.recipe import Schedule

    assert set(get_args(Schedule.model_fields["name"].annotation)) == set(ROWS)


def test_warmup_rises_and_the_shape_runs_over_the_rest() -> None:
    found = factors({"name": "linear"}, warmup=0.25)
    assert found == pytest.approx([1 / 3, 2 / 3, *[1 - step / 6 for step in range(6)]])
    assert factors({"name": "constant"}, warmup=0.5) == pytest.approx(
        [0.2, 0.4, 0.6, 0.8, 1, 1, 1, 1]
    )
