"""A run as an ONNX file: the network with its preprocessing, labels and tokenizer in one file."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path

import torch

from headstart.errors import needs_extra
from headstart.inference.exportable import exporting, traced
from headstart.inference.loaded_model import NetworkModel
from headstart.inference.onnx_model import OUTPUT, PREPROCESSOR, SPEC
from headstart.models.preprocessor import Item


def write_onnx(model: NetworkModel, items: Sequence[Item], path: Path) -> None:
    """Write the network of a run to an ONNX file: in float32, for batches and texts of any size.

    Args:
        items: two examples to trace it with.

    Raises:
        HeadstartError: packages are missing, or the network cannot be exported.
    """
    with needs_extra("export", "ONNX files"):
        import onnx
        import onnxscript  # noqa: F401  # torch writes ONNX files with it
    with exporting(model, "ONNX", "torch_export"):
        program, names = traced(model, items)
        exported = torch.onnx.export(
            program, dynamo=True, input_names=names, output_names=[OUTPUT], verbose=False
        )
        assert exported is not None
        proto = exported.model_proto
    metadata = {SPEC: model.network.spec.without_local_paths().model_dump_json()}
    if files := model.task.modality.preprocessor_files(model.network):
        encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
        metadata[PREPROCESSOR] = json.dumps(encoded)
    onnx.helper.set_model_props(proto, metadata)
    onnx.save(proto, path)
