"""What a finished run leaves behind: its report and its files."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np

from headstart.checks.leaks import table
from headstart.data.dataset import Dataset
from headstart.data.split_file import write_split
from headstart.evaluate.calibration import evaluate_calibration, risk_coverage
from headstart.evaluate.paired_tests import with_p_values
from headstart.evaluate.results import Result
from headstart.evaluate.scores import score
from headstart.inference.examples import examples
from headstart.models.baselines import majority
from headstart.report.folder import MODEL, SPLIT
from headstart.report.html import write_report_page
from headstart.report.manifest import manifest
from headstart.report.predictions import FILE, FOLDER, write_predictions
from headstart.report.report import Report
from headstart.train.context import Context

# a result, and its probabilities of the test part, shape (n, classes)
Scored = tuple[Result, np.ndarray]


def report_of(
    context: Context,
    main: Scored,
    beside: list[Scored],
    failed: list[str],
    held_out: np.ndarray | None,
) -> Report:
    """The report of a run.

    Args:
        failed: a sentence for each baseline without a result.
        held_out: the main result's probabilities of the validation part, if it was not trained on.
    """
    result, probabilities = main
    recipe, dataset, test = context.recipe, context.dataset, context.dataset.test
    leaked = context.leaks.leaked["test"]
    clean = np.setdiff1d(np.arange(len(test)), leaked)
    shared = dataset.labels, recipe.evaluate.bootstrap, majority(dataset)
    chosen = context.chooses_an_epoch and (dataset.validation or recipe.train.selection == "test")
    calibration = without_leaks = None
    if held_out is not None and dataset.validation is not None:
        validation = dataset.validation.labels, held_out
        calibration = evaluate_calibration(validation, (test.labels, probabilities), *shared)
    if len(leaked) and len(clean):
        without_leaks = score(test.labels[clean], probabilities[clean], *shared)
    return Report(
        task=recipe.task,
        name=Path(recipe.output).name,
        folder=recipe.output,
        labels=dataset.labels,
        counts={role: dataset.counts(role) for role in dataset.parts()},
        notes=(*dataset.notes, *failed),
        leaked=len(leaked),
        without_leaks=without_leaks,
        calibration=calibration,
        selected_on=recipe.train.selection if chosen else None,
        main=result,
        baselines=with_p_values(probabilities, beside, test.labels),
    )


def write_run(
    context: Context, report: Report, main: Scored, beside: list[Scored], folder: Path
) -> None:
    """All files of the run but those that exist already: the resolved recipe and the log."""
    recipe, dataset, network = context.recipe, context.dataset, context.network
    probabilities, machine = main[1], context.machine
    network.save(folder / MODEL)
    report.write(folder)
    write_split(dataset, folder / SPLIT)
    if pairs := [*context.leaks.leaks, *context.leaks.conflicts]:
        (folder / "leaks.csv").write_text(table(pairs), encoding="utf-8", newline="")
    weights = network.spec.pretrained
    source = weights and {"from": weights.source, "name": weights.name, "sha256": weights.sha256}
    backbone = {"architecture": network.spec.backbone, "pretrained": source}
    origin = manifest(
        recipe, dataset, backbone, context.settings, str(machine.device), machine.world
    )
    content = json.dumps(origin, indent=2, ensure_ascii=False) + "\n"
    (folder / "manifest.json").write_text(content, encoding="utf-8")
    test = dataset.test.labels, probabilities
    shown = examples(dataset, network, context.task.modality, probabilities, recipe.seed)
    write_report_page(report, origin, context.sizes, test, risk_coverage(*test), shown, folder)
    write_predictions(dataset, probabilities, folder / FILE)
    _write_beside(dataset, beside, folder / FOLDER)


def _write_beside(dataset: Dataset, beside: list[Scored], folder: Path) -> None:
    """A table of predictions for each result beside the main one: NAME.csv, and NAME-2.csv for the
    second of a name."""
    seen: Counter[str] = Counter()
    for result, probabilities in beside:
        folder.mkdir(exist_ok=True)
        seen[result.name] += 1
        number = f"-{seen[result.name]}" if seen[result.name] > 1 else ""
        write_predictions(dataset, probabilities, folder / f"{result.name}{number}.csv")
