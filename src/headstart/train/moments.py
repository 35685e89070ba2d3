"""What an optimizer remembers of each parameter, by the parameter's name: it outlives phases and
processes."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

Moments = dict[str, dict[str, Tensor]]


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


def remember(
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
