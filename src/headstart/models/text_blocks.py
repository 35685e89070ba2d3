"""How the parameters of a text network fall into blocks."""

from __future__ import annotations

from torch import nn

from headstart.errors import BackboneError

# in the names of embeddings that a model defines after its layers
EMBEDDINGS = ("embed", "wte", "wpe", "encoder.LayerNorm", "encoder.conv")


def text_blocks(net: nn.Module) -> dict[str, tuple[str, ...]]:
    """embeddings, layer 1 … N, neck (a last norm, dense layers), pooler and head.

    The layers are the longest list of modules; other parameters belong to the embeddings if they
    come first or their name says so.
    """
    lists = {
        name: len(module)
        for name, module in net.named_modules()
        if isinstance(module, nn.ModuleList) and len(module)
    }
    outer = [name for name in lists if not any(name.startswith(f"{other}.") for other in lists)]
    if not outer:
        raise BackboneError(
            f"model.backbone: {type(net.get_submodule('encoder')).__name__} has no list of layers"
        )
    layers = max(outer, key=lambda name: lists[name])
    blocks: dict[str, list[str]] = {"embeddings": []}
    blocks |= {f"layer {number}": [] for number in range(1, lists[layers] + 1)}
    blocks |= {"neck": [], "pooler": [], "head": []}
    layers_begun = False
    for name, _ in net.named_parameters():
        if name.startswith("head."):
            block = "head"
        elif name.startswith(f"{layers}."):
            layers_begun = True
            block = f"layer {int(name.removeprefix(f'{layers}.').split('.')[0]) + 1}"
        elif name.startswith("encoder.pooler."):
            block = "pooler"
        elif layers_begun and not any(w in name.removeprefix("encoder.") for w in EMBEDDINGS):
            block = "neck"
        else:
            block = "embeddings"
        blocks[block].append(name)
    return {block: tuple(names) for block, names in blocks.items() if names or block == "head"}
