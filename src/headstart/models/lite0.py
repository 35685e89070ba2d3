"""The packaged EfficientNet-Lite0 under timm's names."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

ARCHITECTURE = "tf_efficientnet_lite0"
STAGES = (1, 2, 2, 3, 3, 4, 1)  # blocks in each
OUTER = {
    "_conv_stem": "conv_stem",
    "_bn0": "bn1",
    "_conv_head": "conv_head",
    "_bn1": "bn2",
    "_fc": "classifier",
}
# the first block has no expansion
FIRST = {"_depthwise_conv": "conv_dw", "_bn1": "bn1", "_project_conv": "conv_pw", "_bn2": "bn2"}
IN_BLOCK = {
    "_expand_conv": "conv_pw",
    "_bn0": "bn1",
    "_depthwise_conv": "conv_dw",
    "_bn1": "bn2",
    "_project_conv": "conv_pwl",
    "_bn2": "bn3",
}
BLOCKS = [f"blocks.{stage}.{number}" for stage, n in enumerate(STAGES) for number in range(n)]


def lite0_weights(folder: Path) -> dict[str, Tensor]:
    """The state dict of timm's `tf_efficientnet_lite0` from the package's one file."""
    (file,) = folder.glob("*.pth")
    state = torch.load(file, map_location="cpu", weights_only=True)
    return {_timm_name(key): value for key, value in state.items()}


def _timm_name(name: str) -> str:
    """Names of lukemelas' EfficientNet: `_blocks.3._bn1.weight` → `blocks.2.0.bn2.weight`."""
    *block, layer, tensor = name.split(".")
    if not block:
        return f"{OUTER[layer]}.{tensor}"
    number = int(block[1])
    return f"{BLOCKS[number]}.{(IN_BLOCK if number else FIRST)[layer]}.{tensor}"
