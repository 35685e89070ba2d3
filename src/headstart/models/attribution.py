"""What in an example speaks for a class: Grad-CAM on the last feature map, integrated gradients on
token embeddings."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

STEPS = 16  # of the way from an empty text to the text


@torch.enable_grad()
def grad_cam(net: Any, pixels: Tensor, targets: Tensor) -> Tensor:
    """Where an image speaks for a class (Selvaraju et al. 2017), shape (n, height, width), from 0
    to 1.

    Of a transformer the tokens that its last block reads take the place of the feature map, as the
    last ones need not reach the head.

    Args:
        net: a network of timm. pixels: shape (n, 3, height, width). targets: a class for each
            image, shape (n,).
    """
    blocks: Any = getattr(net, "blocks", None)
    held: list[Tensor] = []

    def hold(module: nn.Module, given: Any, maps: Tensor) -> Tensor:
        held.append(maps.detach().requires_grad_())
        return held[-1]

    inner = (
        isinstance(blocks, nn.Sequential | nn.ModuleList)
        and hasattr(blocks[-1], "norm1")
        and hasattr(net, "num_prefix_tokens")
    )
    if inner:
        hook = blocks[-1].norm1.register_forward_hook(hold)
        logits = net(pixels)
        hook.remove()
    else:
        logits = net.forward_head(hold(net, None, net.forward_features(pixels)))
    (maps,) = held
    (gradients,) = torch.autograd.grad(logits.gather(1, targets[:, None]).sum(), maps)
    if maps.ndim == 3:  # tokens
        maps, gradients = (
            _as_map(part[:, getattr(net, "num_prefix_tokens", 0) :]) for part in (maps, gradients)
        )
    elif maps.shape[-1] == net.num_features != maps.shape[1]:  # channels come last
        maps, gradients = (part.movedim(-1, 1) for part in (maps, gradients))
    weights = gradients.mean((2, 3), keepdim=True)
    found = (weights * maps).sum(1, keepdim=True).relu()
    found = interpolate(
        found.detach().float(), pixels.shape[2:], mode="bilinear", align_corners=False
    )[:, 0]
    return found / found.amax((1, 2), keepdim=True).clamp(min=1e-12)


def _as_map(tokens: Tensor) -> Tensor:
    side = math.isqrt(tokens.shape[1])
    return tokens[:, : side * side].movedim(1, 2).unflatten(2, (side, side))


@torch.enable_grad()
def integrated_gradients(
    logits: Callable[..., Tensor], embeddings: nn.Module, inputs: dict[str, Tensor], targets: Tensor
) -> Tensor:
    """How much each token speaks for a class, and below 0 against it (Sundararajan et al. 2017),
    shape (n, tokens): the logit's gradients, on average on the way from embeddings of zero to those
    of the text, times those embeddings.

    Args:
        logits: from the inputs by name, shape (n, classes). embeddings: the module that turns
            `input_ids` into vectors.
    """
    whole = embeddings(inputs["input_ids"]).detach()
    total = torch.zeros_like(whole)
    for step in range(STEPS):
        scaled = (whole * ((step + 0.5) / STEPS)).requires_grad_()
        hook = embeddings.register_forward_hook(lambda module, given, made, scaled=scaled: scaled)
        try:
            chosen = logits(**inputs).gather(1, targets[:, None]).sum()
        finally:
            hook.remove()
        total += torch.autograd.grad(chosen, scaled)[0]
    return (whole * total / STEPS).sum(-1) * inputs["attention_mask"]
