"""What a terminal shows of a run."""

from __future__ import annotations

import io
import re

import pytest

from headstart.evaluate.events import BestSoFar, EpochDone, StepDone, StrategyStarted
from headstart.evaluate.results import Epoch, EpochRecord
from headstart.report.progress import Progress
from headstart.runtime import bars
from headstart.runtime.bars import Bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def shown(self) -> list[str]:
        """Every line that was drawn, in order, without colours."""
        plain = re.sub(r"\x1b\[[0-9;?]*[a-zA-Z]", "", self.getvalue())
        return [line.strip() for line in re.split(r"[\r\n]+", plain) if line.strip()]


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    monkeypatch.setattr(bars, "REDRAW_SECONDS", 0.0)
    monkeypatch.setenv("COLUMNS", "140")
    return Terminal()


def step(phase: int, epoch: int, seen: int) -> StepDone:
    return StepDone(phase, epoch, epochs=2, seen=seen, of=40, examples_per_second=9)


def ended(phase: int, epoch: int) -> EpochDone:
    record = EpochRecord(phase=phase, epoch=epoch, loss=0.5, selection_accuracy=0.75)
    best = BestSoFar("accuracy", 0.75, Epoch(phase=phase, epoch=epoch))
    return EpochDone(2, record, best)


def test_a_phase_is_a_bar_with_the_time_left_and_then_a_line(terminal: Terminal) -> None:
    progress = Progress(terminal)
    progress.tell(StrategyStarted("fine_tune"))
    for event in (step(1, 1, 20), step(1, 1, 40), ended(1, 1), step(1, 2, 40), ended(1, 2)):
        progress.tell(event)
    lines = terminal.shown()
    bar = next(line for line in lines if "100 %" in line)
    assert "fine_tune  phase 1  epoch 2/2" in bar
    assert re.search(r"loss 0\.500  validation 0\.750, best 0\.750 .* left$", bar)
    assert lines[-1] == "fine_tune  phase 1  epoch 2/2  loss 0.500  validation 0.750, best 0.750"


def test_a_phase_that_stops_early_leaves_its_line_too(terminal: Terminal) -> None:
    progress = Progress(terminal)
    progress.tell(StrategyStarted("lp_ft"))
    for event in (step(1, 1, 40), ended(1, 1), step(2, 1, 20)):
        progress.tell(event)
    progress.text("done")
    whole = [
        line
        for line in terminal.shown()
        if line.startswith("lp_ft  phase 1  epoch 1/2  loss") and "left" not in line
    ]
    assert len(whole) == 1
    assert terminal.shown()[-1] == "done"


def test_nothing_is_drawn_where_nobody_looks(
    monkeypatch: pytest.MonkeyPatch, terminal: Terminal
) -> None:
    file = io.StringIO()
    with Bar("reading", 10, out=file) as bar:
        bar.advance()
    with Bar("reading", 10, out=terminal, shown=False) as bar:
        bar.advance()
    monkeypatch.setenv("RANK", "1")
    with Bar("reading", 10, out=terminal) as bar:
        bar.advance()
    assert file.getvalue() == terminal.getvalue() == ""


def test_a_file_gets_a_line_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bars, "QUIET_SECONDS", 0.0)
    file = io.StringIO()
    with Bar("reading", 2_000, out=file) as bar:
        bar.advance(1_500)
    assert re.fullmatch(r"reading: 1,500 of 2,000, [\d,]+ examples/s\n", file.getvalue())


def test_a_count_without_a_known_total_is_shown_as_it_grows(terminal: Terminal) -> None:
    with Bar("predicting", None, out=terminal) as bar:
        bar.advance(3)
    assert any("predicting" in line and " 3 " in line for line in terminal.shown())
