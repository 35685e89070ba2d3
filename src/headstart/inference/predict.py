"""A finished run put to work: load it, give it paths, get labels."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headstart.errors import HeadstartError, first_line
from headstart.report.folder import MODEL
from headstart.tasks import Task, tasks

if TYPE_CHECKING:
    from headstart.models.network import Network


@dataclass(frozen=True)
class Prediction:
    """The most probable label of one example, and the probability of every label in the model's fixed order."""

    name: str
    label: str
    probability: float
    probabilities: dict[str, float]


class Predictor:
    """A trained model as it stands in a run directory. `labels` are in the order of the training split."""

    def __init__(self, task: Task, network: Network) -> None:
        import torch

        from headstart.train.precision import FORMATS

        self.network = network.eval()
        self.labels: tuple[str, ...] = tuple(map(str, network.spec["labels"]))
        if len(self.labels) != network.spec["classes"]:
            raise ValueError(f"{len(self.labels)} labels for {network.spec['classes']} classes")
        self._task = task
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network.to(self._device)
        self._encode = task.encoder(network, "none")
        self._precision: str = network.spec["precision"]
        if self._precision not in FORMATS:
            raise ValueError(f"precision {self._precision!r}")
        if self._device.type == "cpu" and self._precision == "fp16":
            self._precision = "fp32"

    def probabilities(self, items: Iterable[str | Path]) -> np.ndarray:
        """Probabilities of shape (n, classes) for examples in their order."""
        from headstart.train.forward import classify, logits

        paths = tuple(str(item) for item in items)
        if not paths:
            return np.zeros((0, len(self.labels)))
        outputs = logits(self.network, paths, self._encode, self._task.collate, self._device, self._precision)
        return classify(self.network, outputs)

    def predict(self, paths: str | Path | Iterable[str | Path]) -> list[Prediction]:
        """Predictions for files, and for all files in folders, in order.

        Raises:
            HeadstartError: a path does not exist or a file cannot be read; the message names it.
        """
        given = [paths] if isinstance(paths, str | Path) else list(paths)
        files, faults = self._task.gather([str(path) for path in given])
        if faults:
            name, fault = next(iter(faults.items()))
            raise HeadstartError(f"{name}: cannot be read ({fault}); {len(faults)} of {len(files) + len(faults)} files")
        return self._named(files)

    def predict_readable(self, paths: list[str]) -> tuple[list[Prediction], dict[str, str]]:
        """As `predict`, but what cannot be read is given back beside: path → reason."""
        files, faults = self._task.gather(paths)
        return self._named(files), faults

    def _named(self, files: list[str]) -> list[Prediction]:
        return [
            Prediction(
                name,
                self.labels[int(row.argmax())],
                float(row.max()),
                dict(zip(self.labels, row.tolist(), strict=True)),
            )
            for name, row in zip(files, self.probabilities(files), strict=True)
        ]


def load(run: str | Path) -> Predictor:
    """The model of a finished run; needs no network and opens no pickle.

    Raises:
        HeadstartError: the folder holds no model, or a damaged one.
    """
    from headstart.models.network import CONFIG

    folder = Path(run) / MODEL
    try:
        spec: dict[str, Any] = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        task = tasks.get(spec["task"])
        return Predictor(task, task.load(folder, spec))
    except (FileNotFoundError, NotADirectoryError):
        raise HeadstartError(f"{run}: expected the folder of a finished run; found no {MODEL}/{CONFIG} in it") from None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise HeadstartError(
            f"{folder / CONFIG}: damaged ({type(error).__name__}: {first_line(error)}); train the run again"
        ) from None
