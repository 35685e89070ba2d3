"""Tables of predictions, with the same columns from a run and from `headstart predict`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.data.dataset import Dataset
from headstart.errors import RunError, first_line

FILE, FOLDER = "predictions.csv", "predictions"  # of the main result; of the baselines
FIRST_COLUMNS = ("example", "label", "predicted", "probability")
LAST_COLUMNS = ("refused", "error")
Row = dict[str, str | float | bool | None]


@dataclass(frozen=True)
class Predictions:
    """Names, labels and predicted labels of n examples, and probabilities of shape (n,
    classes)."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def correct(self) -> np.ndarray:
        """Whether each prediction is the label, shape (n,)."""
        return np.asarray(np.array(self.labels) == np.array(self.predicted))


def columns(classes: Sequence[str]) -> list[str]:
    """The columns of a table of predictions; cells that do not apply are empty.

    `example`, `label` (if known), `predicted` and its `probability`, `p(CLASS)` for each class,
    `refused` (true if the probability is too low to answer; `predicted` is then empty), and `error`
    (why an example could not be read).
    """
    return [*FIRST_COLUMNS, *(f"p({name})" for name in classes), *LAST_COLUMNS]


def row_of(
    name: str,
    predicted: str,
    classes: Sequence[str],
    probabilities: Sequence[float],
    label: str | None = None,
    refused: bool = False,
) -> Row:
    """A row of such a table. `probabilities` are in the order of `classes`."""
    return {
        "example": name,
        "label": label,
        "predicted": predicted,
        "probability": round(max(probabilities), 6),
        **{f"p({key})": round(p, 6) for key, p in zip(classes, probabilities, strict=True)},
        "refused": refused,
    }


def write_csv(rows: Iterable[Row], columns: list[str], path: Path) -> None:
    """Write rows as CSV, numbers with six decimals."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        for row in rows:
            cells = (row.get(column, "") for column in columns)
            writer.writerow([f"{cell:.6f}" if isinstance(cell, float) else cell for cell in cells])


def write_predictions(dataset: Dataset, probabilities: np.ndarray, path: Path) -> None:
    """Write the predictions of the test part, given probabilities of shape (n, classes)."""
    test, classes = dataset.test, dataset.labels
    predicted = probabilities.argmax(1).tolist()
    rows = (
        row_of(name, classes[k], classes, row, label=classes[label])
        for name, label, k, row in zip(
            test.names, test.labels.tolist(), predicted, probabilities.tolist(), strict=True
        )
    )
    write_csv(rows, columns(classes), path)


def read_predictions(folder: Path) -> Predictions:
    """The predictions of a run's main result; tables of older versions have fewer columns.

    Raises:
        HeadstartError: the table is missing or damaged.
    """
    path = folder / FILE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        is_current = tuple(header[: len(FIRST_COLUMNS)]) == FIRST_COLUMNS
        of_classes = slice(len(FIRST_COLUMNS), -len(LAST_COLUMNS)) if is_current else slice(3, None)
        probabilities = np.array([row[of_classes] for row in rows], dtype=float)
        if probabilities.ndim != 2 or not probabilities.size:
            raise ValueError("no rows, or rows of different lengths")
        names, labels, predicted = zip(*(row[:3] for row in rows), strict=True)
    except (OSError, ValueError) as error:
        raise RunError(
            f"{path}: missing or damaged ({type(error).__name__}: {first_line(error)}); "
            "train the run again"
        ) from None
    return Predictions(names, labels, predicted, probabilities)
