from __future__ import annotations

import pytest

from headstart.train import state
from headstart.train.state import WARMUP_STEPS, Meter


def test_the_first_steps_do_not_count_and_what_a_device_has_left_to_do_does(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr(state.time, "perf_counter", lambda: now[0])
    meter = Meter()
    for epoch in range(2):
        meter.start()
        for _ in range(WARMUP_STEPS + 2):
            now[0] += 1.0
            meter.step(8)
        now[0] += 3.0
        meter.stop()
        now[0] += 100.0  # validation
        steps = 2 if epoch == 0 else WARMUP_STEPS + 2
        assert meter.examples_per_second == pytest.approx(8 * steps / (steps + 3.0))


def test_the_speed_is_that_of_the_last_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr(state.time, "perf_counter", lambda: now[0])
    meter = Meter()
    for seconds in (10.0, 1.0):  # the first one reads from the disk
        meter.start()
        for _ in range(10):
            now[0] += seconds
            meter.step(8)
        meter.stop()
        assert meter.examples_per_second == pytest.approx(8 / seconds)
    meter.start()
    assert meter.examples_per_second == pytest.approx(8), "until the next one has a step"


def test_without_enough_steps_nothing_is_said() -> None:
    meter = Meter()
    meter.start()
    for _ in range(WARMUP_STEPS):
        meter.step(8)
    meter.stop()
    assert meter.examples_per_second is None
