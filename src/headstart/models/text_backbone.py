"""A transformers encoder with the dense layers that follow its pooling, one module per part."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel, PreTrainedTokenizerBase

from headstart.errors import BackboneError, first_line
from headstart.models.embedder import Embedder, load_dense, prefixed_weights, read_embedder
from headstart.models.network import check_origin
from headstart.models.pooled_encoder import POOLINGS, dense_layers, encoder_class, without_copy
from headstart.models.spec import DenseLayer, TextPreprocessing, TextSpec
from headstart.models.text_preprocessor import TextPreprocessor
from headstart.models.text_source import (
    encoder_config,
    hub_unless_local,
    locate,
    quiet,
    unavailable,
)
from headstart.recipe import Model

MAX_PADDING_EFFECT = 1e-2  # relative
# in the names of embeddings that a model defines after its layers
EMBEDDINGS = ("embed", "wte", "wpe", "encoder.LayerNorm", "encoder.conv")


def features(backbone: nn.ModuleDict, pooling: str, inputs: dict[str, Tensor]) -> Tensor:
    """The features of texts, shape (n, width)."""
    output = backbone["encoder"](**inputs)
    values: Tensor = backbone["dense"](POOLINGS[pooling](output, inputs["attention_mask"]))
    return values


def embeddings(backbone: nn.ModuleDict) -> nn.Embedding:
    """The module that turns token numbers into vectors."""
    encoder = cast(PreTrainedModel, backbone["encoder"])
    return cast(nn.Embedding, encoder.get_input_embeddings())


def random_backbone(
    config: PreTrainedConfig, dense: Sequence[DenseLayer], pooling: str
) -> nn.ModuleDict:
    """The architecture with random weights; BackboneError if transformers cannot build it, or it
    lacks the layer that the pooling needs."""
    try:
        with quiet():
            encoder = _random_encoder(config)
    except Exception as error:
        raise BackboneError(
            f"model.backbone: transformers cannot build {config.model_type}: {first_line(error)}"
        ) from None
    return _backbone(encoder, dense_layers([layer.model_dump() for layer in dense]), pooling)


def pretrained_backbone(
    model: Model, location: str, embedder: Embedder, pooling: str
) -> nn.ModuleDict:
    """The recipe's backbone with its weights; BackboneError if they cannot be had or do not fit."""
    encoder = _pretrained_encoder(model, location, pooling)
    return _backbone(encoder, load_dense(location, embedder), pooling)


def saved_backbone(spec: TextSpec) -> nn.ModuleDict:
    """The backbone of a run: where it has adapters, from its origin, else with random weights."""
    pooling = spec.preprocessing.pooling
    if not spec.adapters:
        config = AutoConfig.for_model(**spec.config)  # type: ignore[arg-type]
        return random_backbone(config, spec.dense, pooling)
    assert spec.pretrained
    model = Model(backbone=spec.pretrained.source)
    location = locate(model)
    embedder = read_embedder(model.backbone, location, None) if spec.dense else Embedder()
    backbone = pretrained_backbone(model, location, embedder, pooling)
    check_origin(backbone, "head", spec.pretrained)
    return backbone


def _backbone(encoder: nn.Module, dense: nn.Module, pooling: str) -> nn.ModuleDict:
    """The parts together, without the layer after the first token's vector if the pooling does not
    use it: its parameters would get no gradients."""
    has_pooler = getattr(encoder, "pooler", None) is not None
    if pooling == "pooler" and not has_pooler:
        raise BackboneError(
            f"model.preprocessing.pooling: {type(encoder).__name__} has no pooler; expected one of "
            f"{', '.join(name for name in POOLINGS if name != 'pooler')}"
        )
    if pooling != "pooler" and has_pooler:
        encoder.pooler = None  # type: ignore[assignment]
    return nn.ModuleDict({"encoder": encoder, "dense": dense})


def _random_encoder(config: PreTrainedConfig) -> nn.Module:
    made: nn.Module = encoder_class(config).from_config(config, dtype=torch.float32)  # type: ignore[no-untyped-call]
    return without_copy(made)


def _pretrained_encoder(model: Model, location: str, pooling: str) -> nn.Module:
    with quiet(), hub_unless_local(location):
        try:
            config, exported = encoder_config(location)
            if exported:
                encoder = _random_encoder(config)
                state = prefixed_weights(location, ".", "encoder.")
                missing, differing = encoder.load_state_dict(state, strict=False).missing_keys, []
            else:
                encoder, report = encoder_class(config).from_pretrained(
                    location, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
                )
                encoder = without_copy(encoder)
                missing, differing = report["missing_keys"], report.get("mismatched_keys", ())
        except Exception as error:
            raise unavailable(model, location, error) from None
    absent = [key for key in missing if pooling == "pooler" or not key.startswith("pooler.")]
    unusable = sorted([*absent, *map(str, differing)])
    if unusable:
        only_pooler = all(key.startswith("pooler.") for key in absent)
        way_out = '; choose model.preprocessing.pooling = "mean"' if only_pooler else ""
        raise BackboneError(
            f"model.backbone: the weights of {model.backbone} do not fit its config.json: "
            f"{len(absent)} tensors are missing, {len(differing)} of another shape (such as "
            f"{unusable[0]}){way_out}"
        )
    return encoder


def check_vocabulary(
    tokenizer: PreTrainedTokenizerBase, backbone: nn.ModuleDict, name: str
) -> None:
    """Refuse a tokenizer without words, or with more of them than the encoder has vectors for."""
    vocabulary, vectors = tokenizer.get_vocab(), len(embeddings(backbone).weight)
    if not set(vocabulary) - set(tokenizer.all_special_tokens):
        raise BackboneError(
            f"model.backbone: the tokenizer of {name} knows no words; expected its files beside "
            "the weights (tokenizer.json, or vocab.txt)"
        )
    if max(vocabulary.values()) >= vectors:
        raise BackboneError(
            f"model.backbone: the tokenizer of {name} has tokens up to number "
            f"{max(vocabulary.values())}; its encoder has vectors for {vectors}"
        )


@torch.inference_mode()
def output_width(
    backbone: nn.ModuleDict,
    preprocessor: TextPreprocessor,
    preprocessing: TextPreprocessing,
    name: str,
) -> int:
    """The width of the features, tried out on a short text and one of the greatest length;
    BackboneError if the encoder cannot read them, or padding changes the features."""
    samples = [{"text": "a"}, {"text": "a " * preprocessing.max_length}]
    backbone["encoder"].eval()
    try:
        padded, alone = (
            features(backbone, preprocessing.pooling, preprocessor.collate(part))
            for part in (samples, samples[:1])
        )
    except Exception as error:
        raise BackboneError(
            f"model.backbone: {name} cannot read texts of {preprocessing.max_length} tokens "
            f"({first_line(error)}); expected its own tokenizer and a length that it allows"
        ) from None
    if padded.ndim != 2:
        raise BackboneError(
            f"model.backbone: {name} gives no vector a token; expected a text encoder"
        )
    if (padded[0] - alone[0]).norm() > MAX_PADDING_EFFECT * alone[0].norm():
        raise BackboneError(
            f"model.backbone: {name} reads a text in another way where longer ones stand beside "
            "it; expected an encoder that leaves padding out. Choose another backbone"
        )
    return int(padded.shape[1])


def text_blocks(net: nn.Module) -> dict[str, tuple[str, ...]]:
    """embeddings, layer 1 … N, neck (a last norm, dense layers), pooler and head.

    The layers are the longest list of modules; embeddings come first, or their name says so.
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
