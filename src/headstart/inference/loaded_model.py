"""A finished model: the network of a run, or an exported ONNX file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from headstart.errors import RunError, first_line
from headstart.models.spec import CONFIG, Spec, read_spec
from headstart.report.folder import MODEL
from headstart.tasks import Task, task_of

if TYPE_CHECKING:
    from headstart.models.network import Network
    from headstart.models.preprocessor import Preprocessor, Sample

ONNX = ".onnx"


class LoadedModel(Protocol):
    """source: the folder of the run, or the file."""

    source: str
    spec: Spec
    task: Task
    preprocessor: Preprocessor

    def probabilities(self, samples: Sequence[Sample]) -> np.ndarray:
        """Probabilities of preprocessed examples, shape (n, classes)."""


class NetworkModel:
    """The network of a run in its number format (`precision`), on a GPU if there is one."""

    def __init__(self, source: str, task: Task, network: Network) -> None:
        import torch

        self.source, self.task, self.spec = source, task, network.spec
        self.network = network.eval()
        self._device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        self.network.to(self._device)
        self._for_inference = network.for_inference()
        self.preprocessor = network.preprocessor()
        self.precision: str = self.spec.precision
        if self._device.type == "cpu" and self.precision == "fp16":
            self.precision = "fp32"

    @property
    def in_float32(self) -> bool:
        """Whether it computes on the CPU in float32, as exported files do."""
        return (self._device.type, self.precision) == ("cpu", "fp32")

    def to_float32(self) -> None:
        """Compute on the CPU in float32 from now on."""
        import torch

        self._device, self.precision = torch.device("cpu"), "fp32"
        self._for_inference = self.network.cpu().for_inference()

    def probabilities(self, samples: Sequence[Sample]) -> np.ndarray:
        from headstart.train.forward import classify, features_of, head_outputs

        batch = self.preprocessor.collate(list(samples))
        features = features_of(self._for_inference, batch, self._device, self.precision)
        return classify(self.network, head_outputs(self.network, features))


def open_model(source: str | Path) -> LoadedModel:
    """The model of a finished run, which needs no hub and opens no pickle, or of an ONNX file.

    Raises:
        HeadstartError: there is no model, or it is damaged.
    """
    if Path(source).suffix == ONNX:
        from headstart.inference.onnx_model import OnnxModel

        return OnnxModel(Path(source))
    folder = Path(source) / MODEL
    try:
        spec = read_spec(folder)
        task = task_of(spec.task, spec.kind)
        return NetworkModel(str(source), task, task.modality.load(folder, spec))
    except (FileNotFoundError, NotADirectoryError):
        raise RunError(
            f"{source}: expected the folder of a finished run, or an exported {ONNX} file; found "
            f"no {MODEL}/{CONFIG} in it"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError, RuntimeError, RecursionError) as error:
        raise RunError(
            f"{folder / CONFIG}: damaged ({type(error).__name__}: {first_line(error)}); train "
            "the run again"
        ) from None
