"""How many examples an optimizer step takes, and how many of them fit into memory at once."""

from __future__ import annotations

import copy
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import torch
from torch import Tensor, nn

from headstart.models.blocks import Blocks
from headstart.models.network import Network
from headstart.runtime.threads import local_processes
from headstart.train.precision import FORMATS
from headstart.transfer.plan import Phase

STEPS_AN_EPOCH = 50
SMALLEST, LARGEST = 16, 256
SHARE = 0.6  # of the free memory that a step may take
# tensors as large as the largest layer's output that a step works on beside what it keeps
# (ResNet-18, Lite0: 3-5)
WORKING = 4


def batch_size(wanted: int | str, examples: int) -> int:
    """Examples an optimizer step: what the recipe says, or for "auto" a power of two that makes
    about 50 steps an epoch.

    It depends on the data alone, so that a recipe means the same on every machine.
    """
    if isinstance(wanted, int):
        return wanted
    return min(max(2 ** (max(examples // STEPS_AN_EPOCH, 1).bit_length() - 1), SMALLEST), LARGEST)


def parts(
    network: Network,
    phases: Iterable[Phase],
    share: int,
    sample: dict[str, Tensor],
    device: torch.device,
    precision: str,
) -> int:
    """In how many parts a process works through its share of a batch, so that each fits into
    memory; 1 if all of it does.

    What a part takes is measured on the forward pass of a few examples.

    Args:
        share: examples of a batch that one process works on.
        sample: a batch of four examples.
    """
    each = max(bytes_per_example(network, phase, sample, device, precision) for phase in phases)
    # weights, gradients, two moments
    state = 4 * 4 * sum(parameter.numel() for parameter in network.parameters())
    fitting = int(max(SHARE * (free_memory(device) - state), 0) // max(each, 1))
    # BatchNorm needs two examples at once
    return min(-(-share // max(fitting, 1)), max(share // 2, 1))


def bytes_per_example(
    network: Network, phase: Phase, sample: dict[str, Tensor], device: torch.device, precision: str
) -> float:
    """Bytes that a step takes for each example: what it keeps for the gradients of a phase, and
    what it works on."""
    twin = copy.deepcopy(network).to(device)
    Blocks(twin).open(phase)
    twin.train()
    few, more = (
        _bytes(
            twin,
            {key: value[:count].clone().to(device) for key, value in sample.items()},
            device,
            precision,
        )
        for count in (2, 4)
    )
    return max(more - few, 0) / 2


def _bytes(network: Network, batch: dict[str, Tensor], device: torch.device, precision: str) -> int:
    kept: dict[int, int] = {}
    largest = 0

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    def measure(module: nn.Module, inputs: Any, output: Any) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, output.nbytes)

    hooks = [module.register_forward_hook(measure) for module in network.modules()]
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        torch.autocast(device.type, FORMATS[precision], enabled=FORMATS[precision] is not None),
    ):
        network(**batch)
    for hook in hooks:
        hook.remove()
    return sum(kept.values()) + WORKING * largest


def free_memory(device: torch.device) -> int:
    """Bytes that one process of this machine may still take on a device."""
    if device.type == "cuda":
        return torch.cuda.mem_get_info(device)[0]
    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # a container's own limit, where there is one
        limit, used = (
            int(Path(f"/sys/fs/cgroup/memory.{name}").read_bytes()) for name in ("max", "current")
        )
        free = min(free, limit - used)
    return free // local_processes()
