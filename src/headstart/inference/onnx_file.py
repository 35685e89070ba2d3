"""A run as an ONNX file: the network with its preprocessing, labels and tokenizer in one file."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from headstart.errors import HeadstartError, first_line, needs_extra
from headstart.inference.exportable import Probabilities, exportable, inputs_of, quiet, varying
from headstart.inference.loaded_model import NetworkModel
from headstart.inference.onnx_model import OUTPUT, PREPROCESSOR, SPEC


def write_onnx(member: NetworkModel, items: Sequence[Any], path: Path) -> None:
    """Write the network of a run to an ONNX file: in float32, for batches and texts of any size.

    Args:
        items: two examples to trace it with.

    Raises:
        HeadstartError: packages are missing, or the network has parts that cannot be exported.
    """
    with needs_extra("export", "ONNX files"):
        import onnx
        import onnxscript  # noqa: F401  # torch writes ONNX files with it
    inputs = inputs_of(member, items)
    network = exportable(member)
    with quiet():
        try:
            program = torch.onnx.export(
                Probabilities(network, list(inputs)).eval(),
                tuple(inputs.values()),
                dynamo=True,
                input_names=list(inputs),
                output_names=[OUTPUT],
                dynamic_shapes=varying(inputs),
                verbose=False,
            )
            assert program is not None
            model = program.model_proto
        except Exception as error:
            raise HeadstartError(
                f"{member.source}: torch cannot export {network.spec.backbone} to ONNX: "
                f"{first_line(error)}. Try --to torch_export, or serve the run itself"
            ) from None
    metadata = {SPEC: network.spec.model_dump_json()}
    if files := member.task.modality.preprocessor_files(network):
        encoded = {name: base64.b64encode(content).decode() for name, content in files.items()}
        metadata[PREPROCESSOR] = json.dumps(encoded)
    onnx.helper.set_model_props(model, metadata)
    onnx.save(model, path)
