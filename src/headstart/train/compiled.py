"""torch.compile, where what is left of a phase is long enough to pay for it."""

from __future__ import annotations

from functools import cache

import torch

from headstart.errors import first_line
from headstart.runtime.private import (
    is_compiled,
    only_log_errors_of_compiling,
    run_uncompiled_on_errors,
)
from headstart.train.context import Context

# seconds of a phase from which on a minute of compiling pays, were it to bring a tenth
LONG = 600.0


def compile_steps(context: Context, left: float) -> str | None:
    """Compile the training steps of a network in place, where the recipe says so, or by itself on a
    GPU where much is left.

    Evaluation goes by `features` and stays as it is. What cannot be compiled runs as it was. On
    processors it hardly pays: ResNet-18, batches of 32 on 2 cores, 29.4 → 30.2 images/s after 46 s
    of compiling. What it brings a GPU is not measured.

    Args:
        left: seconds that the phase will still take, as far as that is known; 0 before its first
            epoch has ended.

    Returns:
        Why nothing can be compiled here, if that is so.
    """
    network, wanted = context.network, context.recipe.train.compile
    if is_compiled(network) or not (
        wanted is True or (wanted == "auto" and context.device.type == "cuda" and left > LONG)
    ):
        return None
    if fault := _fault(context.device):
        return f"training steps are not compiled: {fault}"
    network.compile(dynamic=context.preprocessor.sizes(context.train.items) is not None)
    return None


@cache
def _fault(device: torch.device) -> str | None:
    """Why not even a sum can be compiled on a device, if so: often there is no C++ compiler."""
    only_log_errors_of_compiling()
    try:
        torch.compile(torch.add)(torch.ones(2, device=device), 1)
    except Exception as error:  # as manifold as compilers
        return first_line(error)
    run_uncompiled_on_errors()
    return None
