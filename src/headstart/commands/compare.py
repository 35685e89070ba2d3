"""headstart compare: train in several ways on one split, each as a run of its own.

Finished runs stay finished: an interrupted comparison goes on where it was, a run that fails does
not lose the others, and several processes or machines can work on one comparison.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from headstart.catalogue import read_recipe
from headstart.commands.isolated_runs import PlannedRun, run_all
from headstart.data.split_file import write_split
from headstart.errors import RunError
from headstart.files import atomic, write_text
from headstart.recipe import Recipe, Split
from headstart.recipe.file import split_values
from headstart.report.comparison import (
    Comparison,
    ComparisonSection,
    Cost,
    compare_runs,
    write_comparison_page,
)
from headstart.report.folder import SPLIT
from headstart.report.progress import Progress
from headstart.tasks import task_for

FIXED = {  # keys that cannot be varied, and what to do
    "seed": "give how many with --seeds",
    "output": "all runs lie beside the first one's",
}
DATA = "data.json"


def compare(
    recipes: Sequence[str],
    overrides: Sequence[str] = (),
    vary: Mapping[str, Sequence[str]] | None = None,
    seeds: int = 1,
    progress: Progress | None = None,
) -> tuple[Comparison, Path]:
    """Run each recipe with each combination of values and each seed.

    Args:
        recipes: TOML files with the same data.
        overrides: `key=value` pairs for all of them.
        vary: values, as in a recipe, by key, such as {"transfer.strategy": ["lp_ft", "lora"]}.
        seeds: how many seeds, counted from the recipe's; the split is that of the first.

    Returns:
        The comparison, and its folder: the first recipe's output with `.compare`. It holds
        `comparison.md`, `.html` and `.json`, and all runs under `cells/`.

    Raises:
        HeadstartError: a combination makes a wrong recipe, the recipes have different data, or all
            runs failed.
    """
    progress = progress or Progress()
    planned, folder = _plan(recipes, overrides, vary or {}, seeds)
    if done := sum(run.is_done for run in planned):
        progress.text(f"{done} of {len(planned)} runs are there already")
    try:
        run_all(planned, progress)
    except (KeyboardInterrupt, SystemExit):
        progress.text("stopped; the same command goes on")
        raise
    finished: dict[str, dict[int, tuple[Path, Cost]]] = {}
    for run in planned:
        if run.is_done:
            finished.setdefault(run.name, {})[run.seed] = run.run, run.cost()
    failed = [f"{run.name}, seed {run.seed}: {run.failure}" for run in planned if not run.is_done]
    if not finished:
        raise RunError(f"compare: no run came to an end; the first said: {failed[0]}")
    recipe = planned[0].recipe
    comparison = compare_runs(finished, tuple(failed), recipe.evaluate.bootstrap)
    write_text(folder / "comparison.json", comparison.model_dump_json(indent=2) + "\n")
    lines = [comparison.markdown(), comparison.verdict(), *(f"failed: {line}" for line in failed)]
    write_text(folder / "comparison.md", "\n\n".join(lines) + "\n")
    about = f"{recipe.data.source or recipe.data.train}; {comparison.n} test examples"
    section = ComparisonSection(folder.stem, comparison)
    write_comparison_page(folder.stem, about, [section], folder / "comparison.html")
    return comparison, folder


def _plan(
    recipes: Sequence[str], overrides: Sequence[str], vary: Mapping[str, Sequence[str]], seeds: int
) -> tuple[list[PlannedRun], Path]:
    """All runs, on one split, and the folder of the comparison."""
    variants = _variants(recipes, overrides, vary)
    first_name, first = next(iter(variants.items()))
    if first.seed + seeds > 2**31:
        raise RunError(
            f"--seeds: found {seeds} from seed {first.seed} on; a seed is less than 2147483648"
        )
    for name, recipe in variants.items():
        if recipe.data != first.data:
            raise RunError(
                f"compare: {name} has other [data] than {first_name}; runs compare on one split "
                "only"
            )
    folder = Path(first.output).with_name(f"{Path(first.output).name}.compare")
    split = Split(file=str(_split_file(first, folder)))
    planned = []
    for (name, recipe), seed in product(variants.items(), range(first.seed, first.seed + seeds)):
        changed = recipe.with_changes(data={"split": split}, evaluate={"baselines": ()})
        changed = changed.model_copy(update={"seed": seed, "search": None})
        file_name = re.sub(r"[^\w-]", "_", name)[:60]
        place = folder / "cells" / f"{file_name}-seed{seed}-{changed.digest()[:8]}"
        changed = changed.model_copy(update={"output": str(place / "run")})
        planned.append(PlannedRun(name, seed, changed, place))
    return planned, folder


def parse_varied(given: Sequence[str]) -> dict[str, list[str]]:
    """Values by key from arguments KEY=A,B,….

    Raises:
        HeadstartError: one has another form, or a key comes twice.
    """
    varied: dict[str, list[str]] = {}
    for argument in given:
        key, equals, values = argument.partition("=")
        if not equals:
            raise RunError(
                "--vary: expected KEY=A,B,… such as model.backbone=resnet18,resnet50; found "
                f"{argument!r}"
            )
        if key in varied:
            raise RunError(
                f"--vary, --strategies: {key} is given twice; give all its values at once, with "
                "commas"
            )
        varied[key] = split_values(values)
    return varied


def _variants(
    recipes: Sequence[str], overrides: Sequence[str], vary: Mapping[str, Sequence[str]]
) -> dict[str, Recipe]:
    """Each recipe with each combination of values, by the name of its row."""
    if not recipes:
        raise RunError(
            "compare: found no recipe; expected one or more TOML files before any KEY=VALUE"
        )
    for key, values in vary.items():
        if key in FIXED:
            raise RunError(f"--vary: {key} cannot be varied; {FIXED[key]}")
        if not values:
            raise RunError(
                f"--vary: found no values for {key}; expected some with commas between them, such "
                f"as {key}=A,B"
            )
    variants: dict[str, Recipe] = {}
    for path, values in product(recipes, product(*vary.values())):
        changes = [f"{key}={value}" for key, value in zip(vary, values, strict=True)]
        stem = [Path(path).stem] if len(recipes) > 1 or not vary else []
        name = ", ".join([*stem, *values])
        if name in variants:
            raise RunError(
                f"compare: two rows would be called {name!r}; give each recipe file and value once"
            )
        variants[name] = read_recipe(path, [*overrides, *changes])
    return variants


def _split_file(recipe: Recipe, folder: Path) -> Path:
    """The file with the split of all runs, written on first use.

    Raises:
        HeadstartError: the comparison was begun with other settings of [data].
    """
    split, data = folder / SPLIT, folder / DATA
    settings = recipe.data.model_dump_json(indent=2)
    if data.is_file() and data.read_text(encoding="utf-8") != settings:
        raise RunError(
            f"output: {folder} was begun with other settings of [data]; undo the change to go "
            "on, delete it to begin anew, or give another place with output=NAME"
        )
    if not split.exists():
        folder.mkdir(parents=True, exist_ok=True)
        write_text(data, settings)
        with atomic(split) as draft:  # another process may write it too
            write_split(task_for(recipe.task, recipe.model.backbone).modality.read(recipe), draft)
    return split
