"""The packaged EfficientNet-Lite0 under timm's names."""

from __future__ import annotations

import re
from pathlib import Path

import torch
from torch import Tensor

ARCHITECTURE = "tf_efficientnet_lite0"


def lite0_weights(folder: Path) -> dict[str, Tensor]:
    """The state dict of timm's `tf_efficientnet_lite0` from the package's one file."""
    (file,) = folder.glob("*.pth")
    state = torch.load(file, map_location="cpu", weights_only=True)
    return {_timm_name(key): value for key, value in state.items()}


def _timm_name(name: str) -> str:
    """lukemelas' EfficientNet names → timm's: `_blocks.3._bn1.weight` → `blocks.2.0.bn2.weight`."""
    block = re.fullmatch(r"_blocks\.(\d+)\._(\w+)\.(\w+)", name)
    if block is None:
        top = {
            "_conv_stem": "conv_stem",
            "_bn0": "bn1",
            "_conv_head": "conv_head",
            "_bn1": "bn2",
            "_fc": "classifier",
        }
        layer, tensor = name.split(".")
        return f"{top[layer]}.{tensor}"
    number, layer, tensor = int(block[1]), block[2], block[3]
    stage, place = _PLACES[number]
    if number == 0:  # the first block has no expansion
        layers = {
            "depthwise_conv": "conv_dw",
            "bn1": "bn1",
            "project_conv": "conv_pw",
            "bn2": "bn2",
        }
    else:
        layers = {"expand_conv": "conv_pw", "bn0": "bn1", "depthwise_conv": "conv_dw", "bn1": "bn2",
                  "project_conv": "conv_pwl", "bn2": "bn3"}  # fmt: skip
    return f"blocks.{stage}.{place}.{layers[layer]}.{tensor}"


_PLACES = [
    (stage, place) for stage, depth in enumerate((1, 2, 2, 3, 3, 4, 1)) for place in range(depth)
]
