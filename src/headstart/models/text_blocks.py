"""How the parameters of a text network fall into blocks."""

from __future__ import annotations

from torch import nn

from headstart.errors import HeadstartError

# what is no layer, yet stands before them
EARLY = ("embed", "wte", "wpe", "encoder.LayerNorm", "encoder.conv")


def text_blocks(net: nn.Module) -> dict[str, tuple[str, ...]]:
    """embeddings, layer 1 … N, neck (a last norm, dense layers), pooler and head.

    The layers are the longest list of modules; what is no layer belongs to the embeddings if it
    comes first or its name says so.
    """
    lists = [
        (name, module)
        for name, module in net.named_modules()
        if isinstance(module, nn.ModuleList) and len(module)
    ]
    outer = [pair for pair in lists if not any(pair[0].startswith(f"{name}.") for name, _ in lists)]
    if not outer:
        raise HeadstartError(
            f"model.backbone: {type(net.get_submodule('encoder')).__name__} has no list of layers"
        )
    layers, longest = max(outer, key=lambda pair: len(pair[1]))
    blocks: dict[str, list[str]] = {"embeddings": []}
    blocks |= {f"layer {number}": [] for number in range(1, len(longest) + 1)}
    blocks |= {"neck": [], "pooler": [], "head": []}
    begun = False
    for name, _ in net.named_parameters():
        if name.startswith("head."):
            block = "head"
        elif name.startswith(f"{layers}."):
            begun = True
            block = f"layer {int(name.removeprefix(f'{layers}.').split('.')[0]) + 1}"
        elif name.startswith("encoder.pooler."):
            block = "pooler"
        else:
            block = (
                "embeddings"
                if not begun or any(word in name.removeprefix("encoder.") for word in EARLY)
                else "neck"
            )
        blocks[block].append(name)
    return {block: tuple(names) for block, names in blocks.items() if names or block == "head"}
