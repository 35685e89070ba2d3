"""Tables of predictions: what a model said of each example, in the same columns from a run and from
`headstart predict`."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.data.dataset import Dataset
from headstart.errors import HeadstartError, first_line

# of the main result; the folder with those of what stands beside
FILE, BESIDE = "predictions.csv", "predictions"
BEFORE, AFTER = ("example", "label", "predicted", "probability"), ("refused", "error")
Row = dict[str, Any]


@dataclass(frozen=True)
class Predictions:
    """Names, labels and predicted labels of n examples, and the probabilities of the classes, shape
    (n, classes)."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether each prediction is the label, shape (n,)."""
        return np.array(self.labels) == np.array(self.predicted)


def columns(classes: Sequence[str]) -> list[str]:
    """The columns of a table of predictions; a cell that does not apply is empty.

    `example`, `label` (where it is known), `predicted` and its `probability`, `p(CLASS)` for each
    class, `refused` (true where the probability was too low to answer; `predicted` is then empty),
    and `error` (why an example could not be read).
    """
    return [*BEFORE, *(f"p({name})" for name in classes), *AFTER]


def row_of(
    name: str,
    predicted: str,
    classes: Sequence[str],
    probabilities: Sequence[float],
    label: str | None = None,
    refused: bool = False,
) -> Row:
    """A row of that table. `probabilities` are in the order of `classes`."""
    named = {f"p({key})": round(p, 6) for key, p in zip(classes, probabilities, strict=True)}
    about = {
        "example": name,
        "label": label,
        "predicted": predicted,
        "probability": round(max(probabilities), 6),
    }
    return {**about, **named, "refused": refused}


def write_csv(rows: Iterable[Row], columns: list[str], path: Path) -> None:
    """Rows as CSV, numbers with six digits."""
    with path.open("w", newline="", encoding="utf-8") as file:
        table = csv.writer(file)
        table.writerow(columns)
        for row in rows:
            cells = (row.get(column, "") for column in columns)
            table.writerow([f"{cell:.6f}" if isinstance(cell, float) else cell for cell in cells])


def write_predictions(dataset: Dataset, probabilities: np.ndarray, path: Path) -> None:
    """One row an example of the test part.

    Args:
        probabilities: shape (n, classes).
    """
    test, classes = dataset.test, dataset.labels
    guesses = probabilities.argmax(1).tolist()
    rows = (
        row_of(name, classes[guess], classes, row, label=classes[label])
        for name, label, guess, row in zip(
            test.names, test.labels.tolist(), guesses, probabilities.tolist(), strict=True
        )
    )
    write_csv(rows, columns(classes), path)


def read_predictions(folder: Path) -> Predictions:
    """What `write_predictions` wrote for the main result of a run, also of an older version, whose
    tables had fewer columns.

    Raises:
        HeadstartError: it is not there, or not as it was written.
    """
    path = folder / FILE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            header, *rows = csv.reader(file)
        now = tuple(header[: len(BEFORE)]) == BEFORE
        numbers = slice(len(BEFORE), -len(AFTER)) if now else slice(3, None)
        probabilities = np.array([row[numbers] for row in rows], dtype=float)
        if probabilities.ndim != 2 or not probabilities.size:
            raise ValueError("rows of several lengths, or none")
        names, labels, predicted = zip(*(row[:3] for row in rows), strict=True)
    except (OSError, ValueError) as error:
        raise HeadstartError(
            f"{path}: is not as the run left it ({type(error).__name__}: {first_line(error)}); "
            "train the run again"
        ) from None
    return Predictions(names, labels, predicted, probabilities)
