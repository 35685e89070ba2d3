"""transformers encoders as `Network`s: any of them, one way to find embeddings, layers and what stands after them."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from headstart.data.dataset import Dataset
from headstart.errors import HeadstartError, first_line
from headstart.models.attribution import integrated_gradients
from headstart.models.network import Network, build_head, check_origin, digest
from headstart.models.text_encoder import TextEncoder, files_digest, save_tokenizer
from headstart.models.text_source import (
    KIND,
    SHORTEST,
    check_vocabulary,
    config_and_tokenizer,
    locate,
    pretrained_encoder,
    quiet,
    random_encoder,
    read_tokenizer,
    stated_pooling,
)
from headstart.sections import Head, Model
from headstart.transfer.adapters import put_in

TOKENIZER = "tokenizer"  # folder beside the weights
DEFAULT_LENGTH = 128  # tokens
MANY_UNKNOWN = 0.05  # of all tokens
EARLY = ("embed", "wte", "wpe", "encoder.LayerNorm", "encoder.conv")  # what is no layer, yet stands before them


class TextNetwork(Network):
    """A transformers encoder, its token vectors pooled into one: reads `input_ids`, `attention_mask` … of shape (n, tokens)."""

    def __init__(self, encoder: nn.Module, head: nn.Module, tokenizer: Any, spec: dict[str, Any]) -> None:
        super().__init__()
        self.net, self.head_name = nn.ModuleDict({"encoder": encoder, "head": head}), "head"
        self.partition, self.spec = _blocks(self.net), spec
        self.tokenizer = tokenizer
        self._pool = POOLINGS[spec["preprocessing"]["pooling"]]

    def forward(self, **inputs: Tensor) -> Tensor:
        return self.head(self.features(**inputs))

    def features(self, **inputs: Tensor) -> Tensor:
        return self._pool(self.net.get_submodule("encoder")(**inputs), inputs["attention_mask"])

    @property
    def reads(self) -> str:
        look = self.spec["preprocessing"]
        return f"texts of up to {look['max_length']} tokens, pooling: {look['pooling']}"

    def attribute(self, inputs: dict[str, Tensor], targets: Tensor) -> Tensor | None:
        if self.estimator is not None:
            return None
        words = cast(Any, self.net.get_submodule("encoder")).get_input_embeddings()
        return integrated_gradients(self.forward, words, inputs, targets)

    def encoder(self, policy: str = "none") -> TextEncoder:
        return TextEncoder(self.tokenizer, self.spec["preprocessing"]["max_length"])

    def save(self, folder: Path) -> None:
        self.spec["tokenizer_sha256"] = save_tokenizer(self.tokenizer, folder / TOKENIZER)
        super().save(folder)


def _mean(output: Any, mask: Tensor) -> Tensor:
    weights = mask.unsqueeze(-1).float()
    return (output.last_hidden_state.float() * weights).sum(1) / weights.sum(1).clamp(min=1)


def _last(output: Any, mask: Tensor) -> Tensor:
    places = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(1)
    return output.last_hidden_state[torch.arange(len(mask), device=mask.device), places]


POOLINGS = {
    "mean": _mean,
    "cls": lambda output, mask: output.last_hidden_state[:, 0],
    "last": _last,
    "pooler": lambda output, mask: output.pooler_output,
}


def text_network(model: Model, dataset: Dataset, pretrained: bool) -> tuple[TextNetwork, list[str]]:
    """The recipe's encoder with a new head for the dataset's labels, and a note on texts that are cut or not understood.

    Weights come with `pretrained` only; without it the architecture starts from random numbers, with the tokenizer it
    was made for. Seed torch first: the head (and a network from scratch) draw from its global generator.

    Raises:
        HeadstartError: a backbone that cannot be had or is no encoder, weights that do not fit, a tokenizer without pad
            token, or a length that the encoder does not allow.
    """
    source = locate(model)
    config, tokenizer, limit, causal = config_and_tokenizer(model, source)
    asked = model.preprocessing
    pooling = asked.pooling or stated_pooling(source) or ("last" if causal else "mean")
    encoder = pretrained_encoder(model, source, pooling) if pretrained else random_encoder(model, config)
    _drop_pooler(encoder, pooling)
    if asked.max_length and limit and asked.max_length > limit:
        raise HeadstartError(
            f"model.preprocessing.max_length: found {asked.max_length}; {model.backbone} allows texts of at most {limit} tokens"
        )
    check_vocabulary(tokenizer, encoder, model.backbone)
    spec = {
        "kind": KIND,
        "backbone": config.model_type,
        "config": {
            key: value for key, value in json.loads(config.to_json_string(use_diff=False)).items() if key[0] != "_"
        },
        "head": model.head.model_dump(mode="json"),
        "classes": len(dataset.labels),
        "preprocessing": {
            "max_length": asked.max_length or min(DEFAULT_LENGTH, limit or DEFAULT_LENGTH),
            "pooling": pooling,
            "tokenizer": _digest_of(tokenizer),
        },
        "pretrained": {"from": model.backbone, "sha256": digest(nn.ModuleDict({"encoder": encoder}), "head")}
        if pretrained
        else None,
    }
    width = _try_out(encoder, tokenizer, spec, model.backbone)
    network = TextNetwork(
        encoder, build_head(model.head, width, len(dataset.labels)), tokenizer, {**spec, "width": width}
    )
    cut, unknown, seen = network.encoder().look(dataset.train.items)
    of = "" if seen == len(dataset.train) else f" (of {seen:,} that were looked at)"
    notes = []
    if cut:
        notes.append(
            f"{100 * cut / seen:.1f} % of the training texts{of} are longer than {spec['preprocessing']['max_length']} tokens "
            f"and are cut there (model.preprocessing.max_length{f', at most {limit}' if limit else ''})"
        )
    if unknown > MANY_UNKNOWN:
        notes.append(
            f"{100 * unknown:.0f} % of the tokens of the training texts{of} are unknown to {model.backbone}; was it made for "
            "their language?"
        )
    return network, notes


def load_text_network(folder: Path, spec: dict[str, Any]) -> TextNetwork:
    """The network that `save` wrote to a folder; needs no hub."""
    look = spec["preprocessing"]
    try:
        if not (folder / TOKENIZER).is_dir():
            raise FileNotFoundError("no folder of that name")
        if files_digest(folder / TOKENIZER) != spec["tokenizer_sha256"]:
            raise ValueError("another checksum than when it was saved")
        tokenizer = read_tokenizer(folder / TOKENIZER)
    except Exception as error:  # as manifold as damaged files
        raise HeadstartError(
            f"{folder / TOKENIZER}: expected the tokenizer of a run; found: {first_line(error)}"
        ) from None
    try:
        if not isinstance(look["max_length"], int) or look["max_length"] < SHORTEST:
            raise ValueError(f"max_length {look['max_length']!r}")
        with quiet():
            encoder = (
                _pretrained_again(spec)
                if spec.get("adapters")
                else AutoModel.from_config(AutoConfig.for_model(**spec["config"]), dtype=torch.float32)
            )
        _drop_pooler(encoder, look["pooling"])
        head = build_head(Head.model_validate(spec["head"]), spec["width"], spec["classes"])
        network = TextNetwork(encoder, head, tokenizer, spec)
        if spec.get("adapters"):
            put_in(network, **spec["adapters"])
    except HeadstartError:
        raise
    except Exception as error:
        raise HeadstartError(f"{folder}/config.json: damaged ({first_line(error)}); train the run again") from None
    network.load_weights(folder)
    return network


def _pretrained_again(spec: dict[str, Any]) -> nn.Module:
    """The encoder that a run's adapters belong to, from where it came."""
    model, pooling = Model(backbone=spec["pretrained"]["from"]), spec["preprocessing"]["pooling"]
    encoder = pretrained_encoder(model, locate(model), pooling)
    _drop_pooler(encoder, pooling)
    check_origin(digest(nn.ModuleDict({"encoder": encoder}), "head"), spec["pretrained"])
    return encoder


def _digest_of(tokenizer: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return save_tokenizer(tokenizer, Path(folder))


def _drop_pooler(encoder: nn.Module, pooling: str) -> None:
    """Leave out the layer after the first token's vector where nothing reads it: its parameters would train nothing."""
    has = getattr(encoder, "pooler", None) is not None
    if pooling == "pooler" and not has:
        raise HeadstartError(
            f"model.preprocessing.pooling: {type(encoder).__name__} has no pooler; expected mean, cls or last"
        )
    if pooling != "pooler" and has:
        encoder.pooler = None  # type: ignore[assignment]


@torch.inference_mode()
def _try_out(encoder: nn.Module, tokenizer: Any, spec: dict[str, Any], name: str) -> int:
    """Pass one text of the greatest length through: the width of what comes out.

    Raises:
        HeadstartError: the encoder cannot read it.
    """
    look = spec["preprocessing"]
    encoder.eval()
    try:
        inputs = TextEncoder(tokenizer, look["max_length"]).collate(
            [{"text": "a " * look["max_length"]}, {"text": "a"}]
        )
        pooled = POOLINGS[look["pooling"]](encoder(**inputs), inputs["attention_mask"])
    except Exception as error:
        raise HeadstartError(
            f"model.backbone: {name} cannot read texts of {look['max_length']} tokens "
            f"({first_line(error)}). Its tokenizer may belong to another model, or model.preprocessing.max_length be too long"
        ) from None
    if pooled.ndim != 2:
        raise HeadstartError(
            f"model.backbone: {name} ({spec['backbone']}) gives no vector a token; expected a text encoder"
        )
    return int(pooled.shape[1])


def _blocks(net: nn.Module) -> dict[str, tuple[str, ...]]:
    """embeddings, layer 1 … N, neck (a last norm), pooler and head.

    The layers are the longest list of modules; what is no layer belongs to the embeddings if it comes first or its name
    says so.
    """
    lists = [
        (name, module) for name, module in net.named_modules() if isinstance(module, nn.ModuleList) and len(module)
    ]
    outer = [pair for pair in lists if not any(pair[0].startswith(f"{name}.") for name, _ in lists)]
    if not outer:
        raise HeadstartError(f"model.backbone: {type(net.get_submodule('encoder')).__name__} has no list of layers")
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
                "embeddings" if not begun or any(word in name.removeprefix("encoder.") for word in EARLY) else "neck"
            )
        blocks[block].append(name)
    return {block: tuple(names) for block, names in blocks.items() if names or block == "head"}
