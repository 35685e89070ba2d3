"""The model in an exported ONNX file, at work."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.errors import HeadstartError, first_line, needs_extra
from headstart.models.spec import parse_spec
from headstart.tasks import task_of

SPEC, PREPROCESSOR = "headstart", "headstart_tokenizer"  # in the file's metadata
OUTPUT = "probabilities"


class OnnxModel:
    """The model in an ONNX file that `write_onnx` wrote, run by onnxruntime on the processor."""

    def __init__(self, path: Path) -> None:
        """
        Raises:
            HeadstartError: onnxruntime is missing, or the file is, or it is damaged or from
                elsewhere.
        """
        with needs_extra("export", f"{path}: an ONNX file"):
            import onnxruntime as ort
        self.source = str(path)
        try:
            options = ort.SessionOptions()
            options.log_severity_level = 3
            # others have use for the cores
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
            self._names = [stated.name for stated in self._session.get_inputs()]
            self._try_out()
        except FileNotFoundError:
            raise HeadstartError(f"{path}: no such file; expected an exported model") from None
        except Exception as error:  # onnxruntime's are as manifold as damaged files
            raise HeadstartError(f"{path}: no exported model ({first_line(error)})") from None

    def _try_out(self) -> None:
        """
        Raises:
            Exception: the network does not fit the preprocessing or the labels.
        """
        example = self.preprocessor(self.task.modality.example())
        shape = self.probabilities([example] * 2).shape
        if shape != (2, self.spec.classes):
            raise ValueError(f"{shape[-1]} probabilities for {self.spec.classes} labels")

    def probabilities(self, samples: Sequence[dict[str, Any]]) -> np.ndarray:
        """Of a batch that the preprocessor made, shape (n, classes)."""
        batch = self.preprocessor.collate(list(samples))
        inputs = {name: batch[name].numpy() for name in self._names}
        probabilities: np.ndarray = self._session.run([OUTPUT], inputs)[0]
        if not np.isfinite(probabilities).all():
            raise HeadstartError(f"{self.source}: its probabilities are no numbers")
        return probabilities
