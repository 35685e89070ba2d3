"""predictions.csv: what a run's model said of each test example."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.data.dataset import Dataset
from headstart.errors import HeadstartError, first_line

FILE = "predictions.csv"


@dataclass(frozen=True)
class Predictions:
    """Names, labels and predicted labels of n examples, and the probabilities of the classes, shape (n, classes)."""

    names: tuple[str, ...]
    labels: tuple[str, ...]
    predicted: tuple[str, ...]
    probabilities: np.ndarray

    @property
    def right(self) -> np.ndarray:
        """Whether each prediction is the label, shape (n,)."""
        return np.array(self.labels) == np.array(self.predicted)


def write_predictions(dataset: Dataset, probabilities: np.ndarray, folder: Path) -> None:
    """One row an example of the test part."""
    with (folder / FILE).open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["example", "label", "predicted", *(f"p({label})" for label in dataset.labels)])
        for name, label, row in zip(dataset.test.names, dataset.test.labels, probabilities, strict=True):
            predicted = dataset.labels[int(row.argmax())]
            rows.writerow([name, dataset.labels[label], predicted, *(f"{p:.6f}" for p in row)])


def read_predictions(folder: Path) -> Predictions:
    """What `write_predictions` wrote.

    Raises:
        HeadstartError: it is not there, or not as it was written.
    """
    path = folder / FILE
    try:
        with path.open(encoding="utf-8", newline="") as file:
            (*_, _), *rows = csv.reader(file)
        probabilities = np.array([row[3:] for row in rows], dtype=float)
        if probabilities.ndim != 2:
            raise ValueError("rows of several lengths, or none")
        names, labels, predicted = zip(*(row[:3] for row in rows), strict=True)
    except (OSError, ValueError) as error:
        raise HeadstartError(
            f"{path}: is not as the run left it ({type(error).__name__}: {first_line(error)}); train the run again"
        ) from None
    return Predictions(names, labels, predicted, probabilities)
