"""The model in an exported ONNX file."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from headstart.errors import RunError, first_line, needs_extra
from headstart.models.preprocessor import Sample
from headstart.models.spec import parse_spec
from headstart.tasks import task_of

SPEC, PREPROCESSOR = "headstart", "headstart_tokenizer"  # in the file's metadata
OUTPUT = "probabilities"


class OnnxModel:
    """The model in an ONNX file that `write_onnx` wrote, run by onnxruntime on the CPU.

    Raises:
        HeadstartError: onnxruntime or the file is missing, or the file is damaged or not by
            headstart.
    """

    def __init__(self, path: Path) -> None:
        with needs_extra("export", f"{path}: an ONNX file"):
            import onnxruntime as ort
        self.source = str(path)
        try:
            options = ort.SessionOptions()
            options.log_severity_level = 3
            # idle threads leave the cores to others
            options.add_session_config_entry("session.intra_op.allow_spinning", "0")
            self._session = ort.InferenceSession(
                path.read_bytes(), options, providers=["CPUExecutionProvider"]
            )
            metadata = self._session.get_modelmeta().custom_metadata_map
            if SPEC not in metadata:
                raise ValueError(
                    "no preprocessing and labels in it; expected a file that headstart export wrote"
                )
            self.spec = parse_spec(metadata[SPEC], str(path))
            self.task = task_of(self.spec.task, self.spec.kind)
            files = json.loads(metadata.get(PREPROCESSOR, "{}"))
            self.preprocessor = self.task.modality.preprocessor(
                self.spec, {name: base64.b64decode(content) for name, content in files.items()}
            )
            self._names = [tensor.name for tensor in self._session.get_inputs()]
            example = self.preprocessor(self.task.modality.example())
            count = self.probabilities([example] * 2).shape[1]
            if count != self.spec.classes:
                raise ValueError(f"{count} probabilities for {self.spec.classes} labels")
        except FileNotFoundError:
            raise RunError(f"{path}: no such file; expected an exported model") from None
        except Exception as error:  # onnxruntime raises many types
            raise RunError(f"{path}: no exported model ({first_line(error)})") from None

    def probabilities(self, samples: Sequence[Sample]) -> np.ndarray:
        """Probabilities of preprocessed examples, shape (n, classes)."""
        batch = self.preprocessor.collate(list(samples))
        inputs = {name: batch[name].numpy() for name in self._names}
        probabilities: np.ndarray = self._session.run([OUTPUT], inputs)[0]
        if not np.isfinite(probabilities).all():
            raise RunError(f"{self.source}: its probabilities are no numbers")
        return probabilities
