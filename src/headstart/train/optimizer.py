"""The optimizer that a recipe names, and what it remembers of each parameter."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from headstart.models.blocks import Blocks
from headstart.recipe import Train
from headstart.transfer.plan import Phase

FUSED = ("cpu", "cuda")  # devices
Moments = dict[str, dict[str, Tensor]]  # by the parameter's name, which outlives phases


def optimizer(
    blocks: Blocks, phase: Phase, options: Train, head_only: bool = False
) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW (Loshchilov & Hutter 2019), over the blocks that train in a
    phase, each at its rate.

    Fused, where the device has that: all parameters in one pass (MiniLM on 2 cores, batches of 32:
    114 → 133 texts/s).

    Args:
        head_only: whether weight decay acts on the head alone.
    """
    groups = blocks.groups(phase, options.weight_decay, head_only)
    fused = groups[0]["params"][0].device.type in FUSED
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum, fused=fused)
    return torch.optim.AdamW(groups, lr=options.lr, fused=fused)


def moments_of(optimizer: torch.optim.Optimizer, net: nn.Module) -> Moments:
    """Copies of all that an optimizer remembers of a network's parameters."""
    return {
        name: {
            key: value.detach().cpu().clone()
            for key, value in optimizer.state[parameter].items()
            if value is not None
        }
        for name, parameter in net.named_parameters()
        if parameter in optimizer.state
    }


def set_moments(
    optimizer: torch.optim.Optimizer, net: nn.Module, moments: Mapping[str, Mapping[str, Tensor]]
) -> None:
    """Give an optimizer what another one knew of the parameters that both train."""
    parameters, fused = dict(net.named_parameters()), optimizer.defaults["fused"]
    stepped = {id(parameter) for group in optimizer.param_groups for parameter in group["params"]}
    for name, values in moments.items():
        parameter = parameters[name]
        if id(parameter) in stepped:
            optimizer.state[parameter] = {
                key: torch.empty_like(parameter).copy_(value)
                if value.shape == parameter.shape
                else value.to(parameter.device if fused else "cpu", copy=True)
                for key, value in values.items()
            }
