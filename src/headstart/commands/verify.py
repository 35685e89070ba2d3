"""headstart verify: whether a finished run still gives the figures that its report states."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.data.dataset import Dataset
from headstart.data.split_file import DataChangedError, read_split, sorted_by_content
from headstart.errors import RunError, first_line
from headstart.inference.finished import finished
from headstart.inference.predict import load
from headstart.report.folder import SPLIT
from headstart.report.predictions import read_predictions

# probabilities in fp32 and in 16 bits, where batches are put together otherwise
EXACT, ROUGH = 1e-4, 0.02


@dataclass(frozen=True)
class Verdict:
    """Whether the figures hold, and the reasons as lines."""

    holds: bool
    lines: tuple[str, ...]


def verify(run: str | Path) -> Verdict:
    """Read the data of a run again, and let its model predict the test part.

    The figures hold if the data is the same, the probabilities are the same except for rounding,
    and they give the report's accuracy.

    Raises:
        HeadstartError: the folder holds no finished run or a damaged one, or its data cannot be
            read.
    """
    try:
        done = finished(run)
    except DataChangedError as error:
        return Verdict(False, (f"the data has changed: {error.difference}",))
    folder, report, dataset = done.folder, done.report, done.dataset
    try:
        _check_manifest(folder / "manifest.json", dataset)
        stated = _stated(folder, dataset, len(report.labels))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise RunError(
            f"{run}: predictions.csv or manifest.json is not as the run left it "
            f"({type(error).__name__}: {first_line(error)}); train the run again"
        ) from None
    model = load(folder)
    probabilities, precision = model.probabilities(dataset.test.items), model.spec.precision
    allowed = EXACT if precision == "fp32" else ROUGH
    largest = float(np.abs(probabilities - stated).max())
    same = int((probabilities.argmax(1) == stated.argmax(1)).sum())
    now, then = (
        float((rows.argmax(1) == dataset.test.labels).mean()) for rows in (probabilities, stated)
    )
    lines = (
        "the data is the same: "
        f"{', '.join(f'{role} {len(part)}' for role, part in dataset.parts().items())} examples",
        f"{same} of {len(stated)} test predictions are the same; probabilities differ by at most "
        f"{largest:.1e} ({allowed:g} is allowed for rounding in {precision})",
        f"test accuracy: {now:.4f} now, {then:.4f} by predictions.csv, "
        f"{report.test.accuracy.value:.4f} in the report",
    )
    return Verdict(largest <= allowed and bool(np.isclose(then, report.test.accuracy.value)), lines)


def _check_manifest(path: Path, dataset: Dataset) -> None:
    """Check that split.parquet belongs to this run, by the checksums in the manifest."""
    stated = json.loads(path.read_text(encoding="utf-8"))["data"]
    for role, part in dataset.parts().items():
        if stated[role]["sha256"] != part.digest():
            raise ValueError(f"another checksum of the {role} part")


def _stated(folder: Path, dataset: Dataset, classes: int) -> np.ndarray:
    """The probabilities in predictions.csv, shape (n, classes), in the present order of the test
    part; files may have moved."""
    table = read_predictions(folder)
    values = table.probabilities.reshape(len(dataset.test), classes)
    place = {name: number for number, name in enumerate(table.names)}
    then = sorted(example for example in read_split(folder / SPLIT) if example[3] == "test")
    stated = np.empty_like(values)
    for (*_, row), (_, _, name, _) in zip(
        sorted_by_content(dataset.test, dataset.labels), then, strict=True
    ):
        stated[row] = values[place[name]]
    return stated
