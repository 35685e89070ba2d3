"""transformers encoders as `Network`s."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from torch import Tensor, nn

from headstart.data.dataset import Dataset
from headstart.errors import BackboneError, RunError, first_line
from headstart.models import text_backbone, text_source
from headstart.models.adapters import add_adapters
from headstart.models.attribution import integrated_gradients
from headstart.models.embedder import Embedder, read_embedder
from headstart.models.network import Network, build_head, digest
from headstart.models.spec import Origin, Spec, TextPreprocessing, TextSpec
from headstart.models.text_preprocessor import (
    TextPreprocessor,
    default_keep,
    files_digest,
    save_tokenizer,
)
from headstart.models.text_source import TextSource
from headstart.recipe import Model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TOKENIZER = "tokenizer"  # folder beside the weights
MAX_UNKNOWN = 0.05  # of all tokens
LOST = {"start": "are cut there", "end": "keep their end only", "both": "lose their middle"}
KEPT = {"end": " (the end of longer ones)", "both": " (start and end of longer ones)"}


class TextNetwork(Network):
    """A transformers encoder, its token vectors pooled into one, dense layers if any, and the head:
    reads `input_ids`, `attention_mask` … of shape (n, tokens).

    Args:
        backbone: `encoder` and `dense`; the head is added to it.
    """

    spec: TextSpec
    net: nn.ModuleDict

    def __init__(
        self, backbone: nn.ModuleDict, tokenizer: PreTrainedTokenizerBase, spec: TextSpec
    ) -> None:
        super().__init__()
        backbone["head"] = build_head(spec.head, spec.width, spec.classes)
        self.net, self.head_name, self.spec, self.tokenizer = backbone, "head", spec, tokenizer
        self.partition = text_backbone.text_blocks(backbone)

    def features(self, **inputs: Tensor) -> Tensor:
        return text_backbone.features(self.net, self.spec.preprocessing.pooling, inputs)

    @property
    def reads(self) -> str:
        settings = self.spec.preprocessing
        dense = "".join(f", dense layer to {layer.out_features}" for layer in self.spec.dense)
        return (
            f"texts of up to {settings.max_length} tokens{KEPT.get(settings.keep or '', '')}, "
            f"pooling: {settings.pooling}{dense}"
        )

    def attribute(self, inputs: dict[str, Tensor], targets: Tensor) -> Tensor | None:
        if self.estimator is not None:
            return None
        embeddings = text_backbone.embeddings(self.net)
        return integrated_gradients(self.forward, embeddings, inputs, targets)

    def preprocessor(self, policy: str = "none") -> TextPreprocessor:
        return text_preprocessor(self.tokenizer, self.spec.preprocessing)

    def save(self, folder: Path) -> None:
        sha256 = save_tokenizer(self.tokenizer, folder / TOKENIZER)
        self.spec = self.spec.model_copy(update={"tokenizer_sha256": sha256})
        super().save(folder)


def text_preprocessor(
    tokenizer: PreTrainedTokenizerBase, settings: TextPreprocessing
) -> TextPreprocessor:
    """The preprocessor of a text network with these settings."""
    keep = settings.keep or default_keep(tokenizer)
    return TextPreprocessor(tokenizer, settings.max_length, keep)


def text_network(model: Model, dataset: Dataset, pretrained: bool) -> tuple[TextNetwork, list[str]]:
    """The recipe's encoder with a new head, and notes on texts that are cut or not understood, and
    on parts of the backbone that are left out.

    Without `pretrained` the weights are random, but not the tokenizer. Seed torch first.

    Raises:
        BackboneError: it cannot be had or is no encoder, its weights do not fit, its tokenizer has
            no pad token, or it does not allow the recipe's settings.
    """
    location = text_source.locate(model)
    source = text_source.read_source(model, location)
    embedder = read_embedder(model.backbone, location, model.preprocessing.pooling)
    preprocessing = _preprocessing(model, source, embedder)
    pooling = preprocessing.pooling
    if pretrained:
        backbone = text_backbone.pretrained_backbone(model, location, embedder, pooling)
    else:
        backbone = text_backbone.random_backbone(source.config, embedder.dense, pooling)
    text_backbone.check_vocabulary(source.tokenizer, backbone, model.backbone)
    preprocessor = text_preprocessor(source.tokenizer, preprocessing)
    config = json.loads(source.config.to_json_string(use_diff=False))
    origin, place = None, model.backbone
    if pretrained:
        origin = Origin(name=place, source=place, sha256=digest(backbone, "head"))
    spec = TextSpec(
        backbone=source.config.model_type,
        config={key: value for key, value in config.items() if key[0] != "_"},
        dense=embedder.dense,
        head=model.head,
        width=text_backbone.output_width(backbone, preprocessor, preprocessing, place),
        classes=len(dataset.labels),
        preprocessing=preprocessing,
        pretrained=origin,
    )
    network = TextNetwork(backbone, source.tokenizer, spec)
    notes = [*embedder.notes, *_backbone_notes(model, source, embedder)]
    return network, notes + _reading_notes(model, network, source.limit, dataset)


def _preprocessing(model: Model, source: TextSource, embedder: Embedder) -> TextPreprocessing:
    """The recipe's settings, and the backbone's where it has none."""
    wanted, limit = model.preprocessing, source.limit
    if wanted.max_length and limit and wanted.max_length > limit:
        limits = f"{model.backbone} allows texts of at most {limit} tokens"
        raise BackboneError(f"model.preprocessing.max_length: found {wanted.max_length}; {limits}")
    if wanted.pooling == "cls":
        text_source.check_first_token(source, model.backbone)
    default = min(embedder.max_length, limit or embedder.max_length)
    with tempfile.TemporaryDirectory() as folder:
        sha256 = save_tokenizer(source.tokenizer, Path(folder))
    return TextPreprocessing(
        max_length=wanted.max_length or max(default, text_source.SHORTEST),
        pooling=embedder.pooling or ("last" if source.causal else "mean"),
        keep=wanted.keep or default_keep(source.tokenizer),
        tokenizer=sha256,
    )


def _backbone_notes(model: Model, source: TextSource, embedder: Embedder) -> list[str]:
    """Notes on parts of the backbone that are left out, and on its tokenizer."""
    name, tokenizer, notes = model.backbone, source.tokenizer, []
    if embedder.lower and tokenizer.tokenize("A") != tokenizer.tokenize("a"):
        how = "was trained with texts in lower case (do_lower_case)"
        notes.append(f"{name} {how}; yours are read as they are")
    if source.config.is_encoder_decoder:
        notes.append(f"of {name} ({source.config.model_type}) the encoder alone is used")
    if not model.preprocessing.keep and default_keep(tokenizer) == "end":
        how = "keeps the end of a long text (model.preprocessing.keep has others)"
        notes.append(f"the tokenizer of {name} {how}")
    return notes


def _reading_notes(
    model: Model, network: TextNetwork, limit: int | None, dataset: Dataset
) -> list[str]:
    """Notes on training texts that are cut, or unknown to the tokenizer."""
    preprocessing = network.spec.preprocessing
    truncated, unknown, count = network.preprocessor().statistics(dataset.train.items)
    of = "" if count == len(dataset.train) else f" (of {count:,} that were looked at)"
    notes = []
    if truncated:
        notes.append(
            f"{100 * truncated / count:.1f} % of the training texts{of} are longer than "
            f"{preprocessing.max_length} tokens and {LOST[preprocessing.keep or 'start']} "
            f"(model.preprocessing.max_length{f', at most {limit}' if limit else ''})"
        )
    if unknown > MAX_UNKNOWN:
        notes.append(
            f"{100 * unknown:.0f} % of the tokens of the training texts{of} are unknown to "
            f"{model.backbone}; was it made for their language?"
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
        tokenizer = text_source.read_tokenizer(folder / TOKENIZER)
    except Exception as error:  # damaged files raise many types
        raise RunError(
            f"{folder / TOKENIZER}: expected the tokenizer of a run; found: {first_line(error)}"
        ) from None
    try:
        network = TextNetwork(text_backbone.saved_backbone(spec), tokenizer, spec)
    except Exception as error:
        if spec.adapters:  # the fault is that of their backbone
            raise
        raise RunError(
            f"{folder}/config.json: damaged ({first_line(error)}); train the run again"
        ) from None
    if spec.adapters:
        add_adapters(network, **spec.adapters.model_dump())
    network.load_weights(folder)
    return network
