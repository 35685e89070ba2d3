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
    from headstart.data.gather import Gathered
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
        if len(set(self.labels)) != network.spec["classes"] or not isinstance(network.spec["labels"], list):
            raise ValueError(f"{len(self.labels)} labels for {network.spec['classes']} classes")
        self._task = task
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network.to(self._device)
        self._encoder = network.encoder()
        self._precision: str = network.spec["precision"]
        if self._precision not in FORMATS:
            raise ValueError(f"precision {self._precision!r}")
        if self._device.type == "cpu" and self._precision == "fp16":
            self._precision = "fp32"

    def probabilities(self, items: Iterable[str | Path]) -> np.ndarray:
        """Probabilities of shape (n, classes) for examples in their order."""
        from headstart.train.forward import classify, logits

        given = [str(item) for item in items]
        if not given:
            return np.zeros((0, len(self.labels)))
        outputs = logits(self.network, given, self._encoder, self._device, self._precision)
        return classify(self.network, outputs)

    def predict(self, paths: str | Path | Iterable[str | Path]) -> list[Prediction]:
        """Predictions for files, for all files in folders, and of a model of texts also for texts as they stand, in order.

        Raises:
            HeadstartError: a path does not exist or a file cannot be read; the message names it.
        """
        given = [paths] if isinstance(paths, str | Path) else list(paths)
        found = self._task.gather([str(path) for path in given], self.network.spec.get("column"))
        if found.faults:
            name, fault = next(iter(found.faults.items()))
            bad, good = len(found.faults), len(found.items)
            raise HeadstartError(f"{name}: cannot be read ({fault}); {bad} of {good + bad} examples")
        return self._named(found)

    def predict_readable(self, paths: list[str]) -> tuple[list[Prediction], dict[str, str]]:
        """As `predict`, but what cannot be read is given back beside: path → reason."""
        found = self._task.gather(paths, self.network.spec.get("column"))
        return self._named(found), found.faults

    def _named(self, found: Gathered) -> list[Prediction]:
        return [
            Prediction(
                name,
                self.labels[int(row.argmax())],
                float(row.max()),
                dict(zip(self.labels, row.tolist(), strict=True)),
            )
            for name, row in zip(found.names, self.probabilities(found.items), strict=True)
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
        task = tasks.get(spec["task"])[spec["kind"]]
        return Predictor(task, task.load(folder, spec))
    except (FileNotFoundError, NotADirectoryError):
        raise HeadstartError(f"{run}: expected the folder of a finished run; found no {MODEL}/{CONFIG} in it") from None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise HeadstartError(
            f"{folder / CONFIG}: damaged ({type(error).__name__}: {first_line(error)}); train the run again"
        ) from None
