"""transformers encoders as `Network`s: any of them, one way to find embeddings, layers and what
stands after them."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn
from transformers import AutoConfig

from headstart.data.dataset import Dataset
from headstart.errors import HeadstartError, first_line
from headstart.models.adapters import put_in
from headstart.models.attribution import integrated_gradients
from headstart.models.embedder import embedder, load_dense
from headstart.models.network import Network, build_head, check_origin, digest
from headstart.models.pooled_encoder import POOLINGS, dense_layers
from headstart.models.spec import DenseLayer, Origin, Spec, TextPreprocessing, TextSpec
from headstart.models.text_blocks import text_blocks
from headstart.models.text_preprocessor import (
    TextPreprocessor,
    files_digest,
    save_tokenizer,
    stated_keep,
)
from headstart.models.text_source import (
    SHORTEST,
    built,
    check_first_token,
    check_vocabulary,
    config_and_tokenizer,
    locate,
    pretrained_encoder,
    quiet,
    random_encoder,
    read_tokenizer,
)
from headstart.recipe import Model

TOKENIZER = "tokenizer"  # folder beside the weights
SAME = 1e-2  # relative
MANY_UNKNOWN = 0.05  # of all tokens


class TextNetwork(Network):
    """A transformers encoder, its token vectors pooled into one: reads `input_ids`,
    `attention_mask` … of shape (n, tokens)."""

    spec: TextSpec

    def __init__(
        self,
        encoder: nn.Module,
        dense: nn.Module,
        head: nn.Module,
        tokenizer: Any,
        spec: TextSpec,
    ) -> None:
        super().__init__()
        self.net, self.head_name = (
            nn.ModuleDict({"encoder": encoder, "dense": dense, "head": head}),
            "head",
        )
        self.partition, self.spec = text_blocks(self.net), spec
        self.tokenizer = tokenizer
        self._pool = POOLINGS[spec.preprocessing.pooling]

    def forward(self, **inputs: Tensor) -> Tensor:
        return self.head(self.features(**inputs))

    def features(self, **inputs: Tensor) -> Tensor:
        output = self.net.get_submodule("encoder")(**inputs)
        return self.net.get_submodule("dense")(self._pool(output, inputs["attention_mask"]))

    @property
    def reads(self) -> str:
        own = self.spec.preprocessing
        part = {"end": " (the end of longer ones)", "both": " (start and end of longer ones)"}.get(
            own.keep or "", ""
        )
        dense = "".join(f", dense layer to {layer.out_features}" for layer in self.spec.dense)
        return f"texts of up to {own.max_length} tokens{part}, pooling: {own.pooling}{dense}"

    def attribute(self, inputs: dict[str, Tensor], targets: Tensor) -> Tensor | None:
        if self.estimator is not None:
            return None
        words = cast(Any, self.net.get_submodule("encoder")).get_input_embeddings()
        return integrated_gradients(self.forward, words, inputs, targets)

    def preprocessor(self, policy: str = "none") -> TextPreprocessor:
        own = self.spec.preprocessing
        return TextPreprocessor(
            self.tokenizer, own.max_length, own.keep or stated_keep(self.tokenizer)
        )

    def save(self, folder: Path) -> None:
        sha256 = save_tokenizer(self.tokenizer, folder / TOKENIZER)
        self.spec = self.spec.model_copy(update={"tokenizer_sha256": sha256})
        super().save(folder)


def text_network(model: Model, dataset: Dataset, pretrained: bool) -> tuple[TextNetwork, list[str]]:
    """The recipe's encoder with a new head for the dataset's labels, and notes on texts that are
    cut or not understood, and on what of a sentence embedder is left out.

    Weights come with `pretrained` only; without it the architecture starts from random numbers,
    with the tokenizer it was made for. Seed torch first: the head (and a network from scratch) draw
    from its global generator.

    Raises:
        HeadstartError: a backbone that cannot be had or is no encoder, weights that do not fit, a
            tokenizer without pad token, or a length that the encoder does not allow.
    """
    source = locate(model)
    config, tokenizer, limit, causal = config_and_tokenizer(model, source)
    asked, stated = (
        model.preprocessing,
        embedder(model.backbone, source, model.preprocessing.pooling),
    )
    if asked.max_length and limit and asked.max_length > limit:
        raise HeadstartError(
            f"model.preprocessing.max_length: found {asked.max_length}; {model.backbone} allows "
            f"texts of at most {limit} tokens"
        )
    if asked.pooling == "cls":
        check_first_token(tokenizer, causal, model.backbone)
    keep = asked.keep or stated_keep(tokenizer)
    default = min(stated.max_length, limit or stated.max_length)
    preprocessing = TextPreprocessing(
        max_length=asked.max_length or max(default, SHORTEST),
        pooling=stated.pooling or ("last" if causal else "mean"),
        keep=keep,
        tokenizer=_digest_of(tokenizer),
    )
    encoder = (
        pretrained_encoder(model, source, preprocessing.pooling)
        if pretrained
        else random_encoder(model, config)
    )
    dense = load_dense(source, stated) if pretrained else _dense(stated.dense)
    _drop_pooler(encoder, preprocessing.pooling)
    check_vocabulary(tokenizer, encoder, model.backbone)
    reader = TextPreprocessor(tokenizer, preprocessing.max_length, keep)
    origin = (
        Origin(name=model.backbone, source=model.backbone, sha256=_digest(encoder, dense))
        if pretrained
        else None
    )
    name = f"{model.backbone} ({config.model_type})"
    spec = TextSpec(
        backbone=config.model_type,
        config={
            key: value
            for key, value in json.loads(config.to_json_string(use_diff=False)).items()
            if key[0] != "_"
        },
        dense=stated.dense,
        head=model.head,
        width=_try_out(encoder, dense, reader, preprocessing, name),
        classes=len(dataset.labels),
        preprocessing=preprocessing,
        pretrained=origin,
    )
    head = build_head(model.head, spec.width, spec.classes)
    network = TextNetwork(encoder, dense, head, tokenizer, spec)
    notes = list(stated.notes)
    if stated.lower and tokenizer.tokenize("A") != tokenizer.tokenize("a"):
        notes.append(
            f"{model.backbone} was trained with texts in lower case (do_lower_case); yours are "
            "read as they are"
        )
    if config.is_encoder_decoder:
        notes.append(f"of {model.backbone} ({config.model_type}) the encoder alone is used")
    if keep == "end" and not asked.keep:
        notes.append(
            f"the tokenizer of {model.backbone} keeps the end of a long text "
            "(model.preprocessing.keep has others)"
        )
    return network, notes + _reading_notes(model.backbone, preprocessing, limit, reader, dataset)


def _reading_notes(
    name: str,
    preprocessing: TextPreprocessing,
    limit: int | None,
    reader: TextPreprocessor,
    dataset: Dataset,
) -> list[str]:
    """What of the training texts is cut, or unknown to the tokenizer."""
    cut, unknown, seen = reader.look(dataset.train.items)
    of = "" if seen == len(dataset.train) else f" (of {seen:,} that were looked at)"
    how = {"start": "are cut there", "end": "keep their end only", "both": "lose their middle"}[
        preprocessing.keep or "start"
    ]
    notes = []
    if cut:
        notes.append(
            f"{100 * cut / seen:.1f} % of the training texts{of} are longer than "
            f"{preprocessing.max_length} tokens and {how} "
            f"(model.preprocessing.max_length{f', at most {limit}' if limit else ''})"
        )
    if unknown > MANY_UNKNOWN:
        notes.append(
            f"{100 * unknown:.0f} % of the tokens of the training texts{of} are unknown to "
            f"{name}; was it made for their language?"
        )
    return notes


def load_text_network(folder: Path, spec: Spec) -> TextNetwork:
    """The network that `save` wrote to a folder; needs no hub."""
    assert isinstance(spec, TextSpec)
    try:
        if not (folder / TOKENIZER).is_dir():
            raise FileNotFoundError("no folder of that name")
        if files_digest(folder / TOKENIZER) != spec.tokenizer_sha256:
            raise ValueError("another checksum than when it was saved")
        tokenizer = read_tokenizer(folder / TOKENIZER)
    except Exception as error:  # as manifold as damaged files
        raise HeadstartError(
            f"{folder / TOKENIZER}: expected the tokenizer of a run; found: {first_line(error)}"
        ) from None
    try:
        with quiet():
            encoder, dense = _pretrained_again(spec) if spec.adapters else _built_again(spec)
        _drop_pooler(encoder, spec.preprocessing.pooling)
        head = build_head(spec.head, spec.width, spec.classes)
        network = TextNetwork(encoder, dense, head, tokenizer, spec)
        if spec.adapters:
            put_in(network, **spec.adapters.model_dump())
    except HeadstartError:
        raise
    except Exception as error:
        raise HeadstartError(
            f"{folder}/config.json: damaged ({first_line(error)}); train the run again"
        ) from None
    network.load_weights(folder)
    return network


def _built_again(spec: TextSpec) -> tuple[nn.Module, nn.Module]:
    """Encoder and dense layers of a run, without weights."""
    config: dict[str, Any] = spec.config
    return built(AutoConfig.for_model(**config)), _dense(spec.dense)


def _pretrained_again(spec: TextSpec) -> tuple[nn.Module, nn.Module]:
    """The encoder and dense layers that a run's adapters belong to, from where they came."""
    assert spec.pretrained
    model, pooling = Model(backbone=spec.pretrained.source), spec.preprocessing.pooling
    source = locate(model)
    encoder = pretrained_encoder(model, source, pooling)
    _drop_pooler(encoder, pooling)
    dense = (
        load_dense(source, embedder(model.backbone, source, None))
        if spec.dense
        else nn.Sequential()
    )
    check_origin(_digest(encoder, dense), spec.pretrained)
    return encoder, dense


def _dense(layers: Sequence[DenseLayer]) -> nn.Sequential:
    return dense_layers([layer.model_dump() for layer in layers])


def _digest(encoder: nn.Module, dense: nn.Module) -> str:
    return digest(nn.ModuleDict({"encoder": encoder, "dense": dense}), "head")


def _digest_of(tokenizer: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return save_tokenizer(tokenizer, Path(folder))


def _drop_pooler(encoder: nn.Module, pooling: str) -> None:
    """Leave out the layer after the first token's vector where nothing reads it: its parameters
    would train nothing."""
    has = getattr(encoder, "pooler", None) is not None
    if pooling == "pooler" and not has:
        raise HeadstartError(
            f"model.preprocessing.pooling: {type(encoder).__name__} has no pooler; expected one of "
            f"{', '.join(name for name in POOLINGS if name != 'pooler')}"
        )
    if pooling != "pooler" and has:
        encoder.pooler = None  # type: ignore[assignment]


@torch.inference_mode()
def _try_out(
    encoder: nn.Module,
    dense: nn.Module,
    reader: TextPreprocessor,
    preprocessing: TextPreprocessing,
    name: str,
) -> int:
    """Pass a text of the greatest length through, and a short one beside it and alone: the width of
    what comes out.

    Raises:
        HeadstartError: the encoder cannot read them, or padding changes what it makes of the short
            one.
    """
    samples = [{"text": "a"}, {"text": "a " * preprocessing.max_length}]
    encoder.eval()
    try:
        pooled, alone = (
            dense(POOLINGS[preprocessing.pooling](encoder(**inputs), inputs["attention_mask"]))
            for inputs in (reader.collate(samples), reader.collate(samples[:1]))
        )
    except Exception as error:
        raise HeadstartError(
            f"model.backbone: {name} cannot read texts of {preprocessing.max_length} tokens "
            f"({first_line(error)}). Its tokenizer may belong to another model, or "
            "model.preprocessing.max_length be too long"
        ) from None
    if pooled.ndim != 2:
        raise HeadstartError(
            f"model.backbone: {name} gives no vector a token; expected a text encoder"
        )
    if (pooled[0] - alone[0]).norm() > SAME * alone[0].norm():
        raise HeadstartError(
            f"model.backbone: {name} reads a text in another way where "
            "longer ones stand beside it; expected an encoder that leaves padding out. Choose "
            "another backbone"
        )
    return int(pooled.shape[1])
