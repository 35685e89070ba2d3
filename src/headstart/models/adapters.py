"""LoRA (Hu et al. 2022) by peft: low-rank matrices that train beside frozen layers."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterable
from typing import TYPE_CHECKING, cast

from torch import nn

from headstart.errors import BackboneError, needs_extra
from headstart.models.network import Network
from headstart.models.spec import AddedAdapters

if TYPE_CHECKING:
    from peft.tuners.lora.layer import Linear as LoraLayer

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


def add_adapters(
    network: Network,
    rank: int,
    alpha: float,
    dropout: float,
    targets: Iterable[str] = (),
    layers: Iterable[str] = (),
) -> None:
    """Add adapters between the first block and the head, as the block "adapters".

    They start at zero, so the outputs stay as they are. Seed torch first.

    Args:
        targets: last names of the layers; without them those of TARGETS for the architecture.
        layers: full names instead, as the `spec` of an adapted network has them.

    Raises:
        BackboneError: there is no such layer, or no rule for the architecture.
    """
    with needs_extra("lora", "transfer.strategy 'lora'"):
        from peft import LoraConfig, inject_adapter_in_model

    names = tuple(layers) or _layers_to_adapt(network, tuple(targets))
    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        lora_dropout=dropout,
        target_modules="|".join(map(re.escape, names)),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inject_adapter_in_model(config, network.net)
    partition = {
        block: tuple(_renamed(name, names) for name in parameters)
        for block, parameters in network.partition.items()
    }
    head = partition.pop("head")
    adapters = tuple(name for name, _ in network.net.named_parameters() if ".lora_" in name)
    network.partition = {**partition, "adapters": adapters, "head": head}
    added = AddedAdapters(rank=rank, alpha=alpha, dropout=dropout, layers=names)
    network.spec = network.spec.model_copy(update={"adapters": added})


def merge(network: Network) -> None:
    """Add the adapters to the weights of their layers, and remove them."""
    assert network.spec.adapters
    for name in network.spec.adapters.layers:
        layer = cast("LoraLayer", network.net.get_submodule(name))
        layer.merge()
        network.net.set_submodule(name, layer.get_base_layer())
    network.partition = {
        block: tuple(name.replace(".base_layer.", ".") for name in parameters)
        for block, parameters in network.partition.items()
        if block != "adapters"
    }
    network.spec = network.spec.model_copy(update={"adapters": None})


def _layers_to_adapt(network: Network, targets: tuple[str, ...]) -> tuple[str, ...]:
    first, *between = [block for block in network.partition if block != "head"]
    parameters = {name for block in between for name in network.partition[block]}
    layers = {
        name: module
        for name, module in network.net.named_modules()
        if f"{name}.weight" in parameters and _is_adaptable(module)
    }
    last_names = {name: name.rpartition(".")[2] for name in layers}
    wanted = targets or TARGETS.get(network.family, ())
    chosen = tuple(name for name in layers if last_names[name] in wanted)
    unknown = [target for target in targets if target not in last_names.values()]
    if chosen and not unknown:
        return chosen
    known = sorted({f"{last_names[name]} ({type(layers[name]).__name__})" for name in layers})
    fault = (
        f"no layer of {network.spec.backbone} is called {' or '.join(map(repr, unknown))}"
        if unknown
        else f"there is no rule which layers of {network.family} to adapt"
    )
    raise BackboneError(
        f"transfer.adapters.targets: {fault}; between {first!r} and the head it has "
        f"{', '.join(known) or 'no linear or convolutional layer'}"
        + ("; name some of them" if known else "; choose another strategy than 'lora'")
    )


def _is_adaptable(module: nn.Module) -> bool:
    """Whether it is a linear layer, or a convolution over all channels."""
    return type(module).__name__ in ("Linear", "Conv1D") or (
        isinstance(module, nn.Conv2d) and module.groups == 1
    )


def _renamed(parameter: str, layers: tuple[str, ...]) -> str:
    """The name of a parameter after its layer got adapters."""
    layer, _, last = parameter.rpartition(".")
    return f"{layer}.base_layer.{last}" if layer in layers else parameter
