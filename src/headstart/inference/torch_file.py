"""Files of torch.export: a network as a program that runs without its source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.errors import HeadstartError, first_line
from headstart.inference.exportable import Probabilities, exportable, inputs_of, quiet, varying
from headstart.inference.loaded_model import NetworkModel

SPEC = "headstart.json"
BATCH = 32


def write_torch_file(member: NetworkModel, items: Sequence[Any], path: Path) -> None:
    """Write the network of a run with torch.export, float32, for batches and texts of any size;
    preprocessing and labels lie in it as `headstart.json`, and a text network's tokenizer as
    `tokenizer.json`.

    Args:
        items: two examples to trace it with.

    Raises:
        HeadstartError: torch cannot trace it.
    """
    inputs = inputs_of(member, items)
    model = Probabilities(exportable(member), list(inputs)).eval()
    spec = {**member.network.spec.model_dump(mode="json"), "inputs": list(inputs)}
    held = {SPEC: json.dumps(spec, ensure_ascii=False)}
    backend = getattr(getattr(member.network, "tokenizer", None), "backend_tokenizer", None)
    if backend is not None:
        held["tokenizer.json"] = backend.to_str()
    with quiet():
        try:
            program = torch.export.export(
                model, tuple(inputs.values()), dynamic_shapes=varying(inputs), strict=False
            )
            torch.export.save(program, path, extra_files=held)
        except Exception as error:  # what it cannot trace is as manifold as networks are
            raise HeadstartError(
                f"{member.source}: torch cannot export {member.spec.backbone}: "
                f"{first_line(error)}. Try --to onnx, or serve the run itself"
            ) from None


def read_torch_file(path: Path, member: NetworkModel, items: Sequence[Any]) -> np.ndarray:
    """What the program in a file makes of examples, shape (n, classes)."""
    with quiet(), torch.inference_mode():
        program = torch.export.load(path).module()
        batches = (items[start : start + BATCH] for start in range(0, len(items), BATCH))
        return np.concatenate(
            [program(*inputs_of(member, batch).values()).numpy() for batch in batches]
        )
