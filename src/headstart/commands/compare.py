"""headstart compare: ways to train beside each other, on one split, each as a run of its own.

Runs that are finished stay finished: an interrupted comparison goes on where it was, one that fails
does not lose the others, and several processes or machines can work on one.
"""

from __future__ import annotations

import ctypes
import multiprocessing
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import product
from pathlib import Path

from headstart.catalogue import read_recipe
from headstart.data.split_file import write_split
from headstart.errors import HeadstartError
from headstart.files import atomic, try_lock, write_text
from headstart.recipe import Recipe, Split
from headstart.report.comparison import (
    Comparison,
    ComparisonSection,
    Cost,
    compare_runs,
    write_comparison_page,
)
from headstart.report.folder import MODEL, SPLIT, check_free
from headstart.report.progress import Progress
from headstart.report.report import FILE, Report
from headstart.tasks import task_for

COST, FAILED, CLAIM, DATA = "cost.json", "failed.txt", "claim", "data.json"
PATIENCE = 2.0  # seconds between two looks at runs that other processes work on
PRELOADED = [
    "headstart.commands.run",
    "headstart.train.engine",
    "headstart.models.vision",
    "sklearn.linear_model",
    "matplotlib.figure",
    "scipy.fft",
    "scipy.stats",
]  # imported once for all runs: 2 s a run instead of 7
DIE_WITH_PARENT = 1  # prctl's PR_SET_PDEATHSIG


@dataclass(frozen=True)
class PlannedRun:
    """One way to train with one seed; its run and what belongs to it lie in `folder`."""

    name: str
    seed: int
    recipe: Recipe
    folder: Path

    @property
    def run(self) -> Path:
        return self.folder / "run"


def compare(
    recipes: Sequence[str],
    overrides: Sequence[str] = (),
    vary: Mapping[str, Sequence[str]] | None = None,
    seeds: int = 1,
    progress: Progress | None = None,
) -> tuple[Comparison, Path]:
    """Run each recipe with each combination of values and each seed; the comparison, and the folder
    where it lies.

    The folder is the first recipe's output with `.compare`: `comparison.md`, `.html` and `.json`,
    and all runs under `cells/`.

    Args:
        recipes: TOML files with the same data.
        overrides: `key=value` pairs for all of them.
        vary: values, as in a recipe, by key, such as {"transfer.strategy": ["lp_ft", "lora"]}.
        seeds: how many seeds, from the recipe's own on; the split is that of the first.

    Raises:
        HeadstartError: a combination makes a wrong recipe, the recipes have different data, or no
            run came to an end.
    """
    say = progress or Progress()
    cells, folder = _cells(recipes, overrides, vary or {}, seeds)
    there = sum(map(_is_done, cells))
    if there:
        say.text(f"{there} of {len(cells)} runs are there already")
    try:
        _work_on(cells, say)
    except (KeyboardInterrupt, SystemExit):
        say.text("stopped; the same command goes on")
        raise
    runs: dict[str, dict[int, tuple[Path, Cost]]] = {}
    failed = []
    for cell in cells:
        if _is_done(cell):
            runs.setdefault(cell.name, {})[cell.seed] = cell.run, _cost(cell)
        else:
            failed.append(f"{cell.name}, seed {cell.seed}: {_failure(cell)}")
    if not runs:
        raise HeadstartError(f"compare: no run came to an end; the first said: {failed[0]}")
    found = compare_runs(runs, tuple(failed), cells[0].recipe.evaluate.bootstrap)
    write_text(folder / "comparison.json", found.model_dump_json(indent=2) + "\n")
    lines = [found.markdown(), found.verdict(), *(f"failed: {line}" for line in failed)]
    write_text(folder / "comparison.md", "\n\n".join(lines) + "\n")
    about = f"{cells[0].recipe.data.source or cells[0].recipe.data.train}; {found.n} test examples"
    write_comparison_page(
        folder.stem, about, [ComparisonSection(folder.stem, found)], folder / "comparison.html"
    )
    return found, folder


def _cells(
    recipes: Sequence[str], overrides: Sequence[str], vary: Mapping[str, Sequence[str]], seeds: int
) -> tuple[list[PlannedRun], Path]:
    """All runs there are to make, on one split."""
    if not recipes:
        raise HeadstartError(
            "compare: found no recipe; expected one or more TOML files before any KEY=VALUE"
        )
    for key, way_out in {
        "seed": "give how many with --seeds",
        "output": "all runs lie beside the first one's",
    }.items():
        if key in vary:
            raise HeadstartError(f"--vary: {key} cannot be varied; {way_out}")
    for key in (key for key, values in vary.items() if not values):
        raise HeadstartError(
            f"--vary: found no values for {key}; expected some with commas between them, such as "
            f"{key}=A,B"
        )
    read: list[tuple[str, Recipe]] = []
    for path in recipes:
        for values in product(*vary.values()):
            asked = [f"{key}={value}" for key, value in zip(vary, values, strict=True)]
            several = [Path(path).stem] if len(recipes) > 1 or not vary else []
            read.append((", ".join([*several, *values]), read_recipe(path, [*overrides, *asked])))
    first = read[0][1]
    twice = [name for name, count in Counter(name for name, _ in read).items() if count > 1]
    if twice:
        raise HeadstartError(
            f"compare: two rows would be called {twice[0]!r}; give each recipe file and value once"
        )
    if first.seed + seeds > 2**31:
        raise HeadstartError(
            f"--seeds: found {seeds} from seed {first.seed} on; a seed is less than 2147483648"
        )
    differing = [name for name, recipe in read if recipe.data != first.data]
    if differing:
        raise HeadstartError(
            f"compare: {differing[0]} has other [data] than {read[0][0]}; runs compare on one "
            "split only"
        )
    folder = Path(first.output).with_name(f"{Path(first.output).name}.compare")
    split, begun = folder / SPLIT, folder / DATA
    asked_for = first.data.model_dump_json(indent=2)
    if begun.is_file() and begun.read_text(encoding="utf-8") != asked_for:
        raise HeadstartError(
            f"output: {folder} was begun with other settings of [data]; undo the change to go "
            "on, delete it to begin anew, or give another place with output=NAME"
        )
    if not split.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(begun, asked_for)
        with atomic(split) as draft:  # another process may write it too
            write_split(task_for(first.task, first.model.backbone).modality.read(first), draft)
    cells = []
    for name, recipe in read:
        for seed in range(first.seed, first.seed + seeds):
            one = recipe.with_changes(
                data={"split": Split(file=str(split))}, evaluate={"baselines": ()}
            )
            one = one.model_copy(update={"seed": seed, "search": None})
            home = folder / "cells" / f"{_slug(name)}-seed{seed}-{one.digest()[:8]}"
            cells.append(
                PlannedRun(name, seed, one.model_copy(update={"output": str(home / "run")}), home)
            )
    return cells, folder


def _slug(name: str) -> str:
    return "".join(sign if sign.isalnum() or sign in "-_" else "_" for sign in name)[:60]


def _work_on(cells: Sequence[PlannedRun], say: Progress) -> None:
    """Make all runs that are not made yet, also while other processes do."""
    waiting = list(cells)
    while waiting:
        left = []
        for cell in waiting:
            cell.folder.mkdir(parents=True, exist_ok=True)
            with try_lock(cell.folder / CLAIM) as ours:
                if not ours:
                    left.append(cell)
                elif not _is_done(cell):
                    say.text(
                        f"run {cells.index(cell) + 1} of {len(cells)}: {cell.name}, seed "
                        f"{cell.seed}"
                    )
                    say.text(f"  {_made(cell)}")
        if len(left) == len(waiting):
            time.sleep(PATIENCE)
        waiting = left


def _is_done(cell: PlannedRun) -> bool:
    return (cell.run / FILE).is_file() and (cell.folder / COST).is_file()


def _cost(cell: PlannedRun) -> Cost:
    """What a finished run took.

    Raises:
        HeadstartError: its file is damaged.
    """
    try:
        return Cost.model_validate_json((cell.folder / COST).read_bytes())
    except ValueError:
        raise HeadstartError(
            f"{cell.folder / COST}: damaged; delete {cell.folder} and start again"
        ) from None


def _failure(cell: PlannedRun) -> str:
    try:
        return (cell.folder / FAILED).read_text(encoding="utf-8")
    except OSError:  # another process has begun it anew
        return "not finished"


def _made(cell: PlannedRun) -> str:
    """Make a run in a process of its own, so that its memory is its own and its end ends nothing
    else: how it went."""
    (cell.folder / FAILED).unlink(missing_ok=True)
    processes = multiprocessing.get_context("forkserver")
    processes.set_forkserver_preload(PRELOADED)
    child = processes.Process(target=_run, args=(cell,))
    child.start()
    try:
        child.join()
    except BaseException:  # this process is told to stop
        child.kill()
        child.join()
        raise
    if _is_done(cell):
        return str(Report.read(cell.run).test.accuracy)
    if not (cell.folder / FAILED).exists():
        write_text(
            cell.folder / FAILED,
            f"its process ended with exit code {child.exitcode}; was there enough memory?",
        )
    return f"failed: {_failure(cell)}"


def _run(cell: PlannedRun) -> None:
    from headstart.commands.run import run

    # what Ctrl-C means is told to it by the process that waits for it
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(DIE_WITH_PARENT, signal.SIGKILL)
    try:
        check_free(cell.recipe)
        report = run(cell.recipe)
    except HeadstartError as error:
        write_text(cell.folder / FAILED, str(error))
        sys.exit(2)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    size = sum(path.stat().st_size for path in (cell.run / MODEL).rglob("*") if path.is_file())
    cost = Cost(seconds=report.main.seconds, peak_bytes=peak, model_bytes=size)
    write_text(cell.folder / COST, cost.model_dump_json())
