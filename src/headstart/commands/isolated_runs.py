"""Runs of a comparison, each in a process of its own; several processes share the work."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing.process import BaseProcess
from pathlib import Path

from headstart.errors import HeadstartError, RunError
from headstart.files import remove, try_lock, write_text
from headstart.recipe import Recipe
from headstart.report.comparison import Cost
from headstart.report.folder import MODEL, check_free
from headstart.report.progress import Progress
from headstart.report.report import FILE, Report

COST, FAILED, CLAIM = "cost.json", "failed.txt", "claim"
POLL_SECONDS = 2.0  # while other processes work on all runs that are left
PRELOADED = [
    "headstart.commands.run",
    "headstart.train.engine",
    "headstart.models.vision",
    "sklearn.linear_model",
    "matplotlib.figure",
    "scipy.fft",
    "scipy.stats",
]  # imported once for all runs where processes can be forked: 2 s a run instead of 7


@dataclass(frozen=True)
class PlannedRun:
    """One way to train with one seed. Its run directory and what belongs to it lie in `folder`."""

    name: str
    seed: int
    recipe: Recipe
    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "run"

    @property
    def is_done(self) -> bool:
        return (self.run / FILE).is_file() and (self.folder / COST).is_file()

    @property
    def failure(self) -> str:
        try:
            return (self.folder / FAILED).read_text(encoding="utf-8")
        except OSError:  # another process has started it again
            return "not finished"

    def cost(self) -> Cost:
        """
        Raises:
            HeadstartError: the file is damaged.
        """
        try:
            return Cost.model_validate_json((self.folder / COST).read_bytes())
        except ValueError:
            raise RunError(
                f"{self.folder / COST}: damaged; delete {self.folder} and start again"
            ) from None


def run_all(planned: Sequence[PlannedRun], progress: Progress) -> None:
    """Make all runs that are not done, sharing them with other processes that do the same."""
    waiting = list(planned)
    while waiting:
        claimed = []
        for run in waiting:
            with try_lock(run.folder / CLAIM) as mine:
                if not mine:
                    claimed.append(run)
                elif not run.is_done:
                    number = planned.index(run) + 1
                    progress.text(f"run {number} of {len(planned)}: {run.name}, seed {run.seed}")
                    progress.text(f"  {_run_apart(run)}")
        if len(claimed) == len(waiting):
            time.sleep(POLL_SECONDS)
        waiting = claimed


def _run_apart(run: PlannedRun) -> str:
    """Make a run in a process of its own, so that its memory can be measured and a crash ends only
    this run: its accuracy, or why it failed."""
    remove(run.folder / FAILED)
    child = _process(run)
    child.start()
    try:
        child.join()
    except BaseException:  # this process is told to stop
        child.kill()
        child.join()
        raise
    if run.is_done:
        return str(Report.read(run.run).test.accuracy)
    if not (run.folder / FAILED).exists():
        ending = f"its process ended with exit code {child.exitcode}; was there enough memory?"
        write_text(run.folder / FAILED, ending)
    return f"failed: {run.failure}"


def _process(run: PlannedRun) -> BaseProcess:
    if sys.platform != "linux":
        return multiprocessing.get_context("spawn").Process(target=_run, args=(run,))
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(PRELOADED)
    return context.Process(target=_run, args=(run,))


def _run(planned: PlannedRun) -> None:
    from headstart.commands.run import run

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # on Ctrl-C the parent ends this process
    threading.Thread(target=_end_with_parent, daemon=True).start()
    try:
        check_free(planned.recipe)
        report = run(planned.recipe)
    except HeadstartError as error:
        write_text(planned.folder / FAILED, str(error))
        sys.exit(2)
    size = sum(path.stat().st_size for path in (planned.run / MODEL).rglob("*") if path.is_file())
    cost = Cost(seconds=report.main.seconds, peak_bytes=_peak_memory(), model_bytes=size)
    write_text(planned.folder / COST, cost.model_dump_json())


def _end_with_parent() -> None:
    """End this process when its parent has ended, however it did."""
    if parent := multiprocessing.parent_process():
        parent.join()
        os._exit(1)


def _peak_memory() -> int:
    """The largest resident memory of this process so far, in bytes."""
    if sys.platform == "win32":
        import psutil

        return int(psutil.Process().memory_info().peak_wset)
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else 1024 * peak
