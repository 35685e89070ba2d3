"""Which number format a run computes in."""

from __future__ import annotations

import copy
import hashlib
import json
import os
import platform
import time
from collections.abc import Sequence
from contextlib import suppress

import torch
from torch import Tensor

from headstart.data.cache import cache_folder
from headstart.errors import RecipeError
from headstart.files import atomic
from headstart.models.blocks import Blocks
from headstart.models.network import Network
from headstart.runtime.depthwise import fp32_depthwise_gradients
from headstart.runtime.processes import from_main
from headstart.train.context import Context
from headstart.transfer.plan import Phase

FORMATS = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}
MIN_SPEEDUP = 1.1  # in speed that bf16 must bring
MIN_STEP_SECONDS = 0.02  # seconds of a step in fp32 below which there is nothing to gain
Batch = dict[str, Tensor]


def choose_precision(context: Context) -> str:
    """fp32, bf16 or fp16: what the recipe says; else what the launcher says; else bf16 where it is
    faster.

    On a GPU that is where the hardware has bf16. On a processor with bf16 instructions a few real
    steps are timed in both formats, once for a network and a machine: the cache remembers.
    ResNet-18 in batches of 32 on 2 cores with AVX512-BF16: 16 → 29 images/s, EfficientNet-Lite0 21
    → 27.

    Raises:
        HeadstartError: fp16 without a GPU.
    """
    wanted: str = context.recipe.train.precision
    device = context.device
    launched = os.environ.get("ACCELERATE_MIXED_PRECISION")
    # "no" is also what a launcher says that was not asked
    if wanted == "auto" and launched in ("bf16", "fp16"):
        wanted = launched
    if wanted == "fp16" and device.type != "cuda":
        raise RecipeError(
            f'train.precision: fp16 needs a GPU; found {device.type}. Use "bf16", "fp32" or "auto"'
        )
    if wanted != "auto":
        return wanted
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    if device.type != "cpu" or not bf16_instructions():
        return "fp32"
    return _cached_choice(context)


def autocast(device: torch.device, precision: str) -> torch.autocast:
    """A context in which a network computes in a number format; fp32 changes nothing."""
    return torch.autocast(device.type, FORMATS[precision], enabled=precision != "fp32")


def bf16_instructions() -> str | None:
    """The bf16 instructions of this processor, amx_tile or avx512_bf16, if it has any."""
    names = ("amx_tile", "avx512_bf16")
    return next(
        (name for name in names if getattr(torch.cpu, f"_is_{name}_supported", lambda: False)()),
        None,
    )


def _faster_precision(network: Network, phases: Sequence[Phase], batch: Batch) -> str:
    """The faster format for the steps of a phase, or without one for the forward pass."""
    twin = copy.deepcopy(network) if phases else network.eval().for_inference()
    if phases:
        Blocks(twin).open(phases[0])
    twin.train(bool(phases))
    # of four it is another format that wins
    batch = {key: torch.cat([value, value]) for key, value in batch.items()}
    full = _seconds(twin, batch, "fp32", bool(phases))
    if full < MIN_STEP_SECONDS:
        return "fp32"
    return "bf16" if full > MIN_SPEEDUP * _seconds(twin, batch, "bf16", bool(phases)) else "fp32"


def _seconds(network: Network, batch: Batch, precision: str, backward: bool) -> float:
    took = []
    for _ in range(2):  # the first one chooses and prepares kernels
        started, device = time.perf_counter(), torch.device("cpu")
        with (
            torch.inference_mode(not backward),
            autocast(device, precision),
            fp32_depthwise_gradients(device, precision),
        ):
            outputs = network(**batch) if backward else network.features(**batch)
        if backward:
            outputs.float().square().mean().backward()
        took.append(time.perf_counter() - started)
    return min(took)


@from_main
def _cached_choice(context: Context) -> str:
    """What was chosen before for such a network and plan on this machine, else what is faster."""
    network, last = context.network, context.plan.tuned[-1:]
    parts = {"backbone", "config", "preprocessing", "head", "adapters"}
    about = [
        network.spec.model_dump(mode="json", include=parts),
        [sorted(phase.rates) for phase in last],
        torch.__version__,
        platform.node(),
        bf16_instructions(),
    ]
    name = hashlib.sha256(json.dumps(about, sort_keys=True, default=str).encode()).hexdigest()
    path = cache_folder() / "precision" / name[:32]
    with suppress(OSError):
        if (found := path.read_bytes()) in (b"fp32", b"bf16"):
            return found.decode()
    chosen = _faster_precision(network, last, context.sample())
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic(path) as draft:
            draft.write_bytes(chosen.encode())
    return chosen
