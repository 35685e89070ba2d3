"""Files of torch.export: a network as a program that runs without its source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from headstart.inference.exportable import exporting, inputs_of, quiet, traced
from headstart.inference.loaded_model import NetworkModel
from headstart.models.preprocessor import Item

SPEC = "headstart.json"
BATCH = 32


def write_torch_file(model: NetworkModel, items: Sequence[Item], path: Path) -> None:
    """Write the network of a run with torch.export: in float32, for batches and texts of any size;
    preprocessing and labels as `headstart.json`, a tokenizer as `tokenizer.json`.

    Args:
        items: two examples to trace it with.

    Raises:
        RunError: the network cannot be exported.
    """
    with exporting(model, "a program", "onnx"):
        program, names = traced(model, items)
        spec = model.network.spec.without_local_paths().model_dump(mode="json")
        files = {SPEC: json.dumps({**spec, "inputs": names}, ensure_ascii=False)}
        tokenizer = getattr(model.network, "tokenizer", None)
        if backend := getattr(tokenizer, "backend_tokenizer", None):
            files["tokenizer.json"] = backend.to_str()
        torch.export.save(program, path, extra_files=files)


def read_torch_file(path: Path, model: NetworkModel, items: Sequence[Item]) -> np.ndarray:
    """The probabilities that the program in a file gives, shape (n, classes)."""
    with quiet(), torch.inference_mode():
        program = torch.export.load(path).module()
        batches = (items[start : start + BATCH] for start in range(0, len(items), BATCH))
        return np.concatenate(
            [program(*inputs_of(model, batch).values()).numpy() for batch in batches]
        )
