"""What in an example speaks for a class: Grad-CAM for images, integrated gradients for texts."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

if TYPE_CHECKING:
    from headstart.models.vision_source import TimmModel

STEPS = 16  # of the integral
BLOCK_LISTS = (nn.Sequential, nn.ModuleList)


@torch.enable_grad()
def grad_cam(net: TimmModel, pixels: Tensor, targets: Tensor) -> Tensor:
    """Where an image speaks for a class (Selvaraju et al. 2017), shape (n, height, width), 0 to 1.

    The feature map of a transformer is the input of its last block, as not all outputs are used.

    Args:
        net: a network of timm. pixels: shape (n, 3, height, width). targets: classes, shape (n,).
    """
    maps = torch.empty(0)

    def record(module: nn.Module, inputs: object, output: Tensor) -> Tensor:
        nonlocal maps
        maps = output.detach().requires_grad_()
        return maps

    prefix_tokens = getattr(net, "num_prefix_tokens", None)
    blocks = getattr(net, "blocks", None)
    norm = getattr(blocks[-1], "norm1", None) if isinstance(blocks, BLOCK_LISTS) else None
    if norm is not None and prefix_tokens is not None:
        hook = norm.register_forward_hook(record)
        logits = net(pixels)
        hook.remove()
    else:
        logits = net.forward_head(record(net, None, net.forward_features(pixels)))
    (gradients,) = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), maps)
    if maps.ndim == 3:  # tokens
        maps, gradients = (_as_map(part[:, prefix_tokens or 0 :]) for part in (maps, gradients))
    elif maps.shape[-1] == net.num_features != maps.shape[1]:  # channels come last
        maps, gradients = (part.movedim(-1, 1) for part in (maps, gradients))
    weights = gradients.mean((2, 3), keepdim=True)
    heat = (weights * maps).sum(1, keepdim=True).relu().detach().float()
    heat = interpolate(heat, pixels.shape[2:], mode="bilinear", align_corners=False)[:, 0]
    return heat / heat.amax((1, 2), keepdim=True).clamp(min=1e-12)


def _as_map(tokens: Tensor) -> Tensor:
    side = math.isqrt(tokens.shape[1])
    square = tokens[:, : side * side].movedim(1, 2)
    return square.reshape(*square.shape[:2], side, side)


@torch.enable_grad()
def integrated_gradients(
    forward: Callable[..., Tensor],
    embeddings: nn.Module,
    inputs: dict[str, Tensor],
    targets: Tensor,
) -> Tensor:
    """How much each token speaks for a class, below 0 against it (Sundararajan et al. 2017), shape
    (n, tokens): token embeddings times the mean gradient on the line from zero to them.

    Args:
        forward: logits of inputs by name, shape (n, classes). embeddings: the module that turns
            `input_ids` into vectors. targets: classes, shape (n,).
    """
    vectors: Tensor = embeddings(inputs["input_ids"]).detach()
    total = torch.zeros_like(vectors)
    for step in range(STEPS):
        scaled = (vectors * ((step + 0.5) / STEPS)).requires_grad_()
        hook = embeddings.register_forward_hook(lambda *_, scaled=scaled: scaled)
        try:
            chosen = forward(**inputs).gather(1, targets[:, None]).sum()
        finally:
            hook.remove()
        total += torch.autograd.grad(chosen, scaled)[0]
    return (vectors * total / STEPS).sum(-1) * inputs["attention_mask"]
