"""How many examples an optimizer step takes, and how many of them fit into memory at once."""

from __future__ import annotations

import copy

import torch
from torch import Tensor, nn

from headstart.errors import RecipeError
from headstart.models.blocks import Blocks
from headstart.models.network import Network
from headstart.runtime.machine import free_memory
from headstart.runtime.processes import from_all
from headstart.train.context import Context
from headstart.train.precision import autocast
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
    power = max(examples // STEPS_AN_EPOCH, 1).bit_length() - 1
    return min(max(1 << power, SMALLEST), LARGEST)


def accumulation(context: Context) -> int:
    """In how many parts a process works through its share of a batch, the same in every process.

    Raises:
        HeadstartError: a batch has fewer examples than there are such parts.
    """
    wanted, world = context.recipe.train.accumulation, context.machine.world
    least = world * (wanted if isinstance(wanted, int) else 1)
    if context.batch_size < least:
        raise RecipeError(
            f"train.batch_size: found {context.batch_size}; {world} processes with "
            f"train.accumulation = {wanted} need at least {least}"
        )
    if isinstance(wanted, int):
        return wanted
    return max(from_all(parts(context))) if context.plan.tuned else 1


def parts(context: Context) -> int:
    """The least number of parts of this process's share of a batch that each fit into memory.

    What a part takes is measured on the forward pass of a few examples.
    """
    network, device, sample = context.network, context.device, context.sample()
    share = -(-context.batch_size // context.machine.world)
    each = max(
        bytes_per_example(network, phase, sample, device, context.precision)
        for phase in context.plan.tuned
    )
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

    def measure(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, output.nbytes)

    hooks = [module.register_forward_hook(measure) for module in network.modules()]
    with (
        torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor),
        autocast(device, precision),
    ):
        network(**batch)
    for hook in hooks:
        hook.remove()
    return sum(kept.values()) + WORKING * largest
