"""Pretrained weights in local files and folders."""

from __future__ import annotations

import os
import warnings
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from headstart.errors import BackboneError, first_line

WEIGHTS = ("model.safetensors", "pytorch_model.bin")


def file_weights(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a local .safetensors or .pth/.pt/.bin file, of which no code is run;
    BackboneError if it is missing, damaged, or holds more than tensors."""
    path = Path(os.path.expanduser(path))
    if not path.is_file():
        raise BackboneError(f"model.weights: no file {path}; expected a .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, EOFError) as error:
        raise BackboneError(
            f"model.weights: {path} is no readable weights file: {first_line(error)}"
        ) from None
    except Exception:  # torch's unpickler refuses anything but tensors with its own error types
        raise BackboneError(
            f"model.weights: {path} holds more than tensors, or no tensors at all, and was not "
            "opened; save the state dict alone, or better as .safetensors"
        ) from None
    for wrapper in ("state_dict", "model", "model_state_dict"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise BackboneError(
            f"model.weights: {path} holds no state dict (a mapping of names to tensors)"
        )
    return {key.removeprefix("module."): value for key, value in state.items()}


def folder_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of a folder in the layout of the hub; BackboneError if they cannot be read."""
    for name in WEIGHTS:
        if (folder / name).is_file():
            return file_weights(folder / name)
    raise BackboneError(
        f"model.backbone: {folder} has no weights; expected one of {', '.join(WEIGHTS)}"
    )
