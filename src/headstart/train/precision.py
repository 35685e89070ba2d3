"""Which number format a run computes in."""

from __future__ import annotations

import os

import torch
from torch import nn

from headstart.errors import HeadstartError

FORMATS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}


def choose_precision(wanted: str, net: nn.Module, device: torch.device) -> str:
    """fp32, bf16 or fp16: what the recipe says; else what the launcher says; else bf16 where it is fast.

    On a GPU that is where the hardware has bf16. On a processor with bf16 instructions it is networks without depthwise
    convolutions, which have no fast bf16 kernels there (EfficientNet-Lite0 at batch 32 on 2 cores, channels_last: fp32 53,
    bf16 36 images/s; ResNet-18: fp32 31, bf16 61).

    Raises:
        HeadstartError: fp16 without a GPU.
    """
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION")
    if wanted == "auto" and launched in ("bf16", "fp16"):  # "no" is also what a launcher says that was not asked
        wanted = launched
    if wanted == "fp16" and device.type != "cuda":
        raise HeadstartError(f'train.precision: fp16 needs a GPU; found {device.type}. Use "bf16", "fp32" or "auto"')
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    return "bf16" if device.type == "cpu" and _fast_bf16_cpu() and not _has_depthwise(net) else "fp32"


def _fast_bf16_cpu() -> bool:
    return any(
        getattr(torch.cpu, f"_is_{feature}_supported", lambda: False)() for feature in ("amx_tile", "avx512_bf16")
    )


def _has_depthwise(net: nn.Module) -> bool:
    return any(
        isinstance(module, nn.Conv2d) and module.groups == module.in_channels > 1 and module.kernel_size != (1, 1)
        for module in net.modules()
    )
