"""torch.compile, where what is left of a phase is long enough to pay for it."""

from __future__ import annotations

from headstart.models.network import Network
from headstart.train.setting import Setting

LONG = 600.0  # seconds of a phase from which on a minute of compiling pays, were it to bring a tenth


def compile_steps(network: Network, setting: Setting, left: float) -> None:
    """Compile the training steps of a network in place, where the recipe says so, or by itself on a GPU where much is left.

    Evaluation goes by `features` and stays as it is. What cannot be compiled runs as it was. On processors it hardly pays:
    ResNet-18, batches of 32 on 2 cores, 29.4 → 30.2 images/s after 46 s of compiling. What it brings a GPU is not measured.

    Args:
        left: seconds that the phase will still take, as far as that is known; 0 before its first epoch has ended.
    """
    wanted = setting.options.compile
    if network._compiled_call_impl is None and (
        wanted is True or (wanted == "auto" and setting.device.type == "cuda" and left > LONG)
    ):
        import torch._dynamo

        torch._dynamo.config.suppress_errors = True
        network.compile(dynamic=setting.plain.sizes(setting.train.items) is not None)


def plain_steps(network: Network) -> None:
    """Undo it."""
    network._compiled_call_impl = None
