"""What a sentence embedder does after its encoder, by its files."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from torch import Tensor, nn

from headstart.data.hub import hub
from headstart.errors import BackboneError, first_line
from headstart.models.pooled_encoder import ACTIVATIONS, PooledConfig, dense_layers
from headstart.models.spec import DenseLayer
from headstart.models.weights import WEIGHTS, folder_weights

JsonObject = dict[str, Any]
# poolings by their names in sentence-transformers
MODES = {name: name for name in ("cls", "max", "mean", "weightedmean")}
MODES |= {"mean_sqrt_len_tokens": "mean_sqrt_len", "lasttoken": "last"}
OLD_ENDINGS = ("", "_token", "_tokens")  # of these names in its versions before 5.4
DEFAULT_LENGTH = 128  # tokens
LONGEST_DEFAULT = 512  # tokens; time and memory of attention grow with their square
ENCODER_ALONE = "model.preprocessing.pooling takes its encoder alone"
MEAN_ALONE = 'model.preprocessing.pooling = "mean" takes its encoder alone'


@dataclass(frozen=True)
class Embedder:
    """What follows the encoder, and how texts were read.

    pooling: a name in POOLINGS. dense: settings of `dense_layers`. places: for each of these layers
    the folder of its weights and the prefix of their names. max_length: tokens of a text by
    default. lower: whether texts were in lower case.
    """

    pooling: str | None = None
    dense: tuple[DenseLayer, ...] = ()
    places: tuple[tuple[str, str], ...] = ()
    max_length: int = DEFAULT_LENGTH
    lower: bool = False
    notes: tuple[str, ...] = ()


def read_embedder(name: str, source: str, pooling: str | None) -> Embedder:
    """The settings that sentence-transformers or `headstart export --to hf` wrote, if any.

    Args:
        name: the backbone. source: its folder or name on the hub. pooling: the recipe's, which
            takes the encoder without the layers that follow it.

    Raises:
        BackboneError: it has a part that is not supported, or a damaged file.
    """
    if name.startswith("packaged:"):  # only files with a known checksum are read
        return Embedder(pooling)
    config = _json(source, "config.json") or {}
    if config.get("model_type") == PooledConfig.model_type:
        return _exported(name, config, pooling)
    modules = _json(source, "modules.json")
    if modules is None:
        return Embedder(pooling, notes=() if pooling else _offline_note(name, source))
    try:
        return _from_modules(name, source, modules, pooling)
    except (TypeError, KeyError, AttributeError, IndexError, ValueError) as error:
        raise BackboneError(
            f"model.backbone: {name} has a damaged modules.json or config.json "
            f"({first_line(error)}); expected files of sentence-transformers. Fetch them anew"
        ) from None


def load_dense(source: str, embedder: Embedder) -> nn.Sequential:
    """The layers after the pooling; BackboneError if their weights are missing or do not fit."""
    layers = dense_layers([layer.model_dump() for layer in embedder.dense])
    for layer, (folder, prefix) in zip(layers[::2], embedder.places, strict=True):
        try:
            layer.load_state_dict(prefixed_weights(source, folder, prefix))
        except RuntimeError as error:
            fault = f"do not fit its config.json: {str(error).splitlines()[-1].strip()}"
            raise BackboneError(
                f"model.backbone: the weights of {source}/{folder} {fault}"
            ) from None
    return layers


def prefixed_weights(source: str, folder: str, prefix: str) -> dict[str, Tensor]:
    """The tensors in a folder of a model whose names have a prefix, by the rest of their names;
    BackboneError if they cannot be read."""
    files = (_file(source, f"{folder}/{name}") for name in WEIGHTS)
    state = folder_weights(next(filter(None, files), Path(source) / folder / WEIGHTS[0]).parent)
    return {k.removeprefix(prefix): value for k, value in state.items() if k.startswith(prefix)}


def _exported(name: str, config: JsonObject, pooling: str | None) -> Embedder:
    dense = tuple(map(DenseLayer.model_validate, config.get("dense", ())))
    if pooling:
        notes = _left_out(name, ["Dense"] * len(dense), ENCODER_ALONE)
        return Embedder(pooling, max_length=LONGEST_DEFAULT, notes=notes)
    places = tuple((".", f"dense.{2 * number}.") for number in range(len(dense)))
    return Embedder(config["pooling"], dense, places, LONGEST_DEFAULT)


def _from_modules(
    name: str, source: str, modules: list[JsonObject], pooling: str | None
) -> Embedder:
    parts = [(str(part["type"]).rpartition(".")[2], str(part["path"])) for part in modules]
    kinds = [kind for kind, _ in parts if kind != "Dropout"]
    settings = _json(source, f"{parts[0][1]}/sentence_bert_config.json".lstrip("/")) or {}
    length = min(int(settings.get("max_seq_length") or LONGEST_DEFAULT), LONGEST_DEFAULT)
    lower, notes = bool(settings.get("do_lower_case")), _prompt_note(name, source)
    if pooling:
        rest = [kind for kind in kinds if kind not in ("Transformer", "Pooling")]
        notes += _left_out(name, rest, ENCODER_ALONE)
        return Embedder(pooling, max_length=length, lower=lower, notes=notes)
    _check_order(name, kinds)
    pools, denses = ([path for kind, path in parts if kind == k] for k in ("Pooling", "Dense"))
    mode = _pooling(name, _required_config(source, pools[0])) if pools else None
    dense = tuple(_dense(name, _required_config(source, path)) for path in denses)
    if "Normalize" in kinds:
        notes += _left_out(name, ["Normalize"], "the head reads vectors of any length")
    return Embedder(mode, dense, tuple((p, "linear.") for p in denses), length, lower, notes)


def _check_order(name: str, kinds: list[str]) -> None:
    rest = kinds[2:-1] if kinds[-1] == "Normalize" else kinds[2:]
    if kinds[:2] not in (["Transformer"], ["Transformer", "Pooling"]) or set(rest) - {"Dense"}:
        raise BackboneError(
            f"model.backbone: {name} is a sentence embedder made of {', '.join(kinds)}; expected "
            f"Transformer, Pooling, any number of Dense, Normalize. {MEAN_ALONE}"
        )


def _pooling(name: str, config: JsonObject) -> str:
    modes = config.get("pooling_mode") or [
        mode for mode in MODES if any(config.get(f"pooling_mode_{mode}{e}") for e in OLD_ENDINGS)
    ]
    modes = [modes] if isinstance(modes, str) else modes or ["mean"]
    if len(modes) > 1 or modes[0] not in MODES:
        raise BackboneError(
            f"model.backbone: {name} pools by {' and '.join(map(str, modes))}; choose one, such as "
            f'model.preprocessing.pooling = "{MODES.get(modes[0], "mean")}"'
        )
    return MODES[modes[0]]


def _dense(name: str, config: JsonObject) -> DenseLayer:
    function = str(config.get("activation_function", "torch.nn.Tanh"))
    activation = function.rpartition(".")[2]
    if (
        not function.startswith("torch.nn.")
        or activation not in ACTIVATIONS
        or config.get("use_residual")
        or config.get("module_input_name", "sentence_embedding") != "sentence_embedding"
    ):
        raise BackboneError(
            f"model.backbone: {name} has a Dense layer of another kind ({config}); expected one of "
            f"{', '.join(ACTIVATIONS)} on the pooled vector. {MEAN_ALONE}"
        )
    return DenseLayer(
        in_features=int(config["in_features"]),
        out_features=int(config["out_features"]),
        bias=bool(config.get("bias", True)),
        activation=activation,
    )


def _left_out(name: str, kinds: list[str], why: str) -> tuple[str, ...]:
    return (f"{', '.join(kinds)} of {name} left out: {why}",) if kinds else ()


def _prompt_note(name: str, source: str) -> tuple[str, ...]:
    prompts = (_json(source, "config_sentence_transformers.json") or {}).get("prompts") or {}
    prompt = next(filter(None, prompts.values()), None)
    return (
        f"{name} was trained with prompts before its texts (such as {prompt!r}); none is put "
        "before yours",
    ) * bool(prompt)


def _offline_note(name: str, source: str) -> tuple[str, ...]:
    """A note where the hub's cache was filled by a program that had no use for modules.json."""
    with hub() as reachable:
        if reachable or Path(source).is_dir():
            return ()
    if try_to_load_from_cache(source, "modules.json") is not None:
        return ()
    return (
        f"{name} may state a pooling of its own, which cannot be read without the hub (its cache "
        "holds no modules.json); model.preprocessing.pooling names one",
    )


def _required_config(source: str, folder: str) -> JsonObject:
    config = _json(source, f"{folder}/config.json")
    if not isinstance(config, dict):
        raise KeyError(f"{folder}/config.json is missing")
    return config


def _json(source: str, name: str) -> Any:
    """A file's content; None where there is no such file."""
    path = _file(source, name)
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise BackboneError(
            f"model.backbone: {path} is no readable JSON ({first_line(error)})"
        ) from None


def _file(source: str, name: str) -> Path | None:
    name = name.removeprefix("./")
    if Path(source).is_dir():
        path = Path(source) / name
        return path if path.is_file() else None
    with hub():
        try:
            return Path(hf_hub_download(source, name))
        except EntryNotFoundError:  # also where the hub cannot be reached
            return None
        except Exception as error:  # the hub's client raises many types
            raise BackboneError(
                f"model.backbone: {source}/{name} could not be had from the hub "
                f"({first_line(error)}); try again"
            ) from None
