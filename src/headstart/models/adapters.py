"""LoRA (Hu et al. 2022): low-rank matrices that train beside the frozen layers of a network, by
peft."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import Any

from torch import nn

from headstart.errors import HeadstartError, needs_extra
from headstart.models.network import Network
from headstart.models.spec import AddedAdapters

TARGETS: dict[str, tuple[str, ...]] = {  # last names of the layers to adapt, by architecture
    **dict.fromkeys(
        ("bert", "roberta", "xlm-roberta", "camembert", "electra", "ernie"),
        ("query", "key", "value", "dense"),
    ),
    "distilbert": ("q_lin", "k_lin", "v_lin", "out_lin", "lin1", "lin2"),
    "deberta-v2": ("query_proj", "key_proj", "value_proj", "dense"),
    "albert": ("query", "key", "value", "dense", "ffn", "ffn_output"),
    "mpnet": ("q", "k", "v", "o", "dense"),
    "modernbert": ("Wqkv", "Wo", "Wi"),
    **dict.fromkeys(("t5", "mt5", "umt5"), ("q", "k", "v", "o", "wi", "wi_0", "wi_1", "wo")),
    "gpt2": ("c_attn", "c_proj", "c_fc"),
    **dict.fromkeys(
        ("VisionTransformer", "Eva", "Beit", "SwinTransformer", "SwinTransformerV2"),
        ("qkv", "proj", "fc1", "fc2"),
    ),
    "ConvNeXt": ("fc1", "fc2"),
    "ResNet": ("conv1", "conv2", "conv3"),
    "RegNet": ("conv",),
    "DenseNet": ("conv1", "conv2"),
    **dict.fromkeys(("EfficientNet", "MobileNetV3"), ("conv_pw", "conv_pwl", "conv")),
}


def put_in(
    network: Network,
    rank: int,
    alpha: float,
    dropout: float,
    targets: Iterable[str] = (),
    layers: Iterable[str] = (),
) -> None:
    """Put adapters beside layers of the blocks between the first one and the head; they become the
    block "adapters".

    What they add starts at zero, so that the network gives what it gave before. Seed torch first.

    Args:
        targets: last names of the layers; none for those that TARGETS has for the architecture.
        layers: whole names instead, as an earlier call left them in the network's `spec`.

    Raises:
        HeadstartError: there is no such layer, or no rule for the architecture.
    """
    with needs_extra("lora", "transfer.strategy 'lora'"):
        from peft import LoraConfig, inject_adapter_in_model

    names = list(layers) or _find(
        network, tuple(targets) or TARGETS.get(network.family, ()), bool(tuple(targets))
    )
    pattern = "|".join(map(re.escape, names))
    asked = LoraConfig(r=rank, lora_alpha=alpha, lora_dropout=dropout, target_modules=pattern)  # type: ignore[arg-type]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inject_adapter_in_model(asked, network.net)
    partition = {
        block: tuple(_inside(name, names) for name in own)
        for block, own in network.partition.items()
    }
    head = partition.pop("head")
    partition["adapters"] = tuple(
        name for name, _ in network.net.named_parameters() if ".lora_" in name
    )
    network.partition = {**partition, "head": head}
    added = AddedAdapters(rank=rank, alpha=alpha, dropout=dropout, layers=tuple(names))
    network.spec = network.spec.model_copy(update={"adapters": added})


def merge(network: Network) -> None:
    """Add what the adapters do to the layers they stand beside, and take them out again."""
    assert network.spec.adapters
    for name in network.spec.adapters.layers:
        layer: Any = network.net.get_submodule(name)
        layer.merge()
        network.net.set_submodule(name, layer.get_base_layer())
    network.partition = {
        block: tuple(name.replace(".base_layer.", ".") for name in own)
        for block, own in network.partition.items()
        if block != "adapters"
    }
    network.spec = network.spec.model_copy(update={"adapters": None})


def _find(network: Network, targets: tuple[str, ...], asked: bool) -> list[str]:
    first, *between = [block for block in network.partition if block != "head"]
    there = {
        name.rpartition(".")[0]
        for block in between
        for name in network.partition[block]
        if name.endswith(".weight")
    }
    layers = {
        name: module
        for name, module in network.net.named_modules()
        if name in there and _is_fit(module)
    }
    last = {name: name.rpartition(".")[2] for name in layers}
    found = [name for name in layers if last[name] in targets]
    unknown = [target for target in targets if target not in last.values()]
    if not found or (asked and unknown):
        known = sorted(
            {f"{last[name]} ({type(module).__name__})" for name, module in layers.items()}
        )
        trouble = (
            f"no layer of {network.spec.backbone} is called {' or '.join(map(repr, unknown))}"
            if asked
            else f"there is no rule which layers of {network.family} to adapt"
        )
        raise HeadstartError(
            f"transfer.adapters.targets: {trouble}; between {first!r} and the head it has "
            f"{', '.join(known) or 'no linear or convolutional layer'}"
            + ("; name some of them" if known else "; choose another strategy than 'lora'")
        )
    return found


def _is_fit(module: nn.Module) -> bool:
    """A linear layer, or a convolution over all channels."""
    return type(module).__name__ in ("Linear", "Conv1D") or (
        isinstance(module, nn.Conv2d) and module.groups == 1
    )


def _inside(name: str, layers: list[str]) -> str:
    """What a parameter is called when its layer has got adapters."""
    layer, _, last = name.rpartition(".")
    return f"{layer}.base_layer.{last}" if layer in layers else name
