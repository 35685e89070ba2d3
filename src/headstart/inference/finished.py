"""The data of a finished run, in the parts that it had."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headstart.catalogue import read_recipe
from headstart.data.dataset import Dataset
from headstart.recipe import Recipe, Split
from headstart.recipe.renamed import without_warnings
from headstart.report.folder import RECIPE, SPLIT
from headstart.report.report import Report
from headstart.tasks import task_for


@dataclass(frozen=True)
class Finished:
    """A run's folder, its recipe and report, and its data as it is now."""

    folder: Path
    recipe: Recipe
    report: Report
    dataset: Dataset


def finished(run: str | Path, test: str | None = None) -> Finished:
    """Read a finished run and its data again.

    Args:
        test: a labelled folder or table that takes the place of the run's own test part.

    Raises:
        HeadstartError: the folder holds no finished run or a damaged one, or the data cannot be
            read.
        DataChangedError: the data is not what the run was trained with.
    """
    folder = Path(run)
    report = Report.read(folder)
    with without_warnings():
        recipe = read_recipe(folder / RECIPE)
    data = (
        {"split": recipe.data.split.model_copy(update={"file": str(folder / SPLIT)})}
        if test is None
        else {"split": Split(), "test": test, "limit": None}
    )
    modality = task_for(recipe.task, recipe.model.backbone).modality
    return Finished(folder, recipe, report, modality.read(recipe.with_changes(data=data)))
