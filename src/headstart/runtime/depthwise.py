"""Depthwise convolutions in bf16 on processors, whose gradients have no fast kernels in it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

OPS = torch.ops.aten


def fp32_depthwise_gradients(
    device: torch.device, precision: str
) -> AbstractContextManager[object]:
    """What a forward pass that wants gradients runs in."""
    return DepthwiseGradients() if device.type == "cpu" and precision == "bf16" else nullcontext()


class DepthwiseGradients(TorchFunctionMode):
    """Within it, the gradients of depthwise convolutions are computed in fp32, all else as autocast
    says.

    oneDNN has no bf16 kernels for the gradients of those that are strided or larger than 3 × 3:
    EfficientNet-Lite0, batches of 32 on 2 cores with AVX512-BF16: 14 → 27 images/s (fp32: 21).
    """

    def __torch_function__(
        self,
        func: Callable[..., object],
        types: object,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, object] | None = None,
    ) -> object:
        if func is torch.conv2d and not kwargs and len(args) == 7 and _is_slow(*args):
            return _Convolution.apply(*args)
        return func(*args, **(kwargs or {}))


def _is_slow(
    inputs: Tensor,
    weight: Tensor,
    bias: Tensor | None,
    stride: tuple[int, ...],
    padding: tuple[int, ...] | str,
    dilation: tuple[int, ...],
    groups: int,
) -> bool:
    gentle = weight.shape[2:] == (3, 3) and tuple(stride) == (1, 1)
    return (
        groups == inputs.shape[1] > 1
        and not gentle
        and not isinstance(padding, str)
        and inputs.device.type == "cpu"
        and torch.is_grad_enabled()
        and torch.is_autocast_enabled("cpu")
        and torch.get_autocast_dtype("cpu") == torch.bfloat16
    )


class _Convolution(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, inputs: Tensor, weight: Tensor, bias: Tensor | None, *how: Any) -> Tensor:
        ctx.save_for_backward(inputs, weight)
        ctx.how, ctx.biased = how, bias is not None
        return torch.conv2d(inputs, weight, bias, *how)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        inputs, weight = ctx.saved_tensors
        stride, padding, dilation, groups = ctx.how
        biases = [weight.shape[0]] if ctx.biased else None
        wanted = [
            ctx.needs_input_grad[0],
            ctx.needs_input_grad[1],
            ctx.biased and ctx.needs_input_grad[2],
        ]
        shape = (stride, padding, dilation, False, (0, 0), groups)
        with torch.autocast("cpu", enabled=False):
            made = OPS.convolution_backward(
                gradient.float(), inputs.float(), weight.float(), biases, *shape, wanted
            )
        like = (inputs, weight, weight)
        gradients = [
            None if value is None else value.to(tensor.dtype)
            for value, tensor in zip(made, like, strict=True)
        ]
        return (*gradients, *(None for _ in ctx.how))
