"""What a sentence embedder says of its own use, in the layout of sentence-transformers or of
`headstart export --to hf`."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from huggingface_hub import hf_hub_download, try_to_load_from_cache
from huggingface_hub.errors import EntryNotFoundError
from torch import Tensor, nn

from headstart.data.hub import hub
from headstart.errors import HeadstartError, first_line
from headstart.models.pooled_encoder import ACTIVATIONS, PooledConfig, dense_layers
from headstart.models.spec import DenseLayer
from headstart.models.weights import WEIGHTS, folder_weights

MODES = {  # names of sentence-transformers
    "cls": "cls", "max": "max", "mean": "mean", "mean_sqrt_len_tokens": "mean_sqrt_len",
    "weightedmean": "weightedmean",
    "lasttoken": "last",
}  # fmt: skip
OLD_MODES = {  # keys of its versions before 5.4
    "cls_token": "cls", "max_tokens": "max", "mean_tokens": "mean",
    "mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "weightedmean_tokens": "weightedmean", "lasttoken": "lasttoken",
}  # fmt: skip
DEFAULT_LENGTH = 128  # tokens
# tokens, whatever an embedder states: attention takes time and memory by their square
LONGEST_DEFAULT = 512
ALONE = "model.preprocessing.pooling takes its encoder alone"


@dataclass(frozen=True)
class Embedder:
    """What follows the encoder: a pooling of POOLINGS, settings of `dense_layers`, and for each of
    these layers the folder of its weights and how their names begin; the tokens that texts are cut
    to by default, and whether they were in lower case."""

    pooling: str | None = None
    dense: tuple[DenseLayer, ...] = ()
    places: tuple[tuple[str, str], ...] = ()
    max_length: int = DEFAULT_LENGTH
    lower: bool = False
    notes: tuple[str, ...] = ()


def embedder(name: str, source: str, pooling: str | None) -> Embedder:
    """What a folder or a name on the hub says; nothing where it is a bare encoder.

    Args:
        name: as the recipe has it. pooling: the recipe's, which takes the encoder without the
            layers that follow it.

    Raises:
        HeadstartError: a part that headstart has not, or a damaged file.
    """
    if name.startswith("packaged:"):
        # of the files in packages only those with a known checksum are read
        return Embedder(pooling)
    config = _json(source, "config.json") or {}
    if config.get("model_type") == PooledConfig.model_type:
        return _exported(name, config, pooling)
    modules = _json(source, "modules.json")
    if modules is None:
        return Embedder(pooling, notes=() if pooling else _unseen(name, source))
    try:
        parts = [(str(part["type"]).rpartition(".")[2], str(part["path"])) for part in modules]
        kinds = [kind for kind, _ in parts if kind != "Dropout"]
        own = _json(source, f"{parts[0][1]}/sentence_bert_config.json".lstrip("/")) or {}
        length = min(int(own.get("max_seq_length") or LONGEST_DEFAULT), LONGEST_DEFAULT)
        lower, notes = bool(own.get("do_lower_case")), _prompts(name, source)
        if pooling:
            notes += _left_out(
                name, [kind for kind in kinds if kind not in ("Transformer", "Pooling")], ALONE
            )
            return Embedder(pooling, max_length=length, lower=lower, notes=notes)
        _check_order(name, kinds)
        pools, denses = (
            [path for other, path in parts if other == kind] for kind in ("Pooling", "Dense")
        )
        modes = [_pooling(name, _needed(source, f"{path}/config.json")) for path in pools]
        dense = tuple(_dense(name, _needed(source, f"{path}/config.json")) for path in denses)
    except (TypeError, KeyError, AttributeError, IndexError, ValueError) as error:
        raise HeadstartError(
            f"model.backbone: {name} has a damaged modules.json, or a damaged config.json beside "
            f"it ({first_line(error)}); expected files of sentence-transformers. Fetch them anew"
        ) from None
    notes += _left_out(
        name,
        [kind for kind in kinds if kind == "Normalize"],
        "the head reads vectors of any length",
    )
    places = tuple((path, "linear.") for path in denses)
    return Embedder(next(iter(modes), None), dense, places, length, lower, notes)


def load_dense(source: str, stated: Embedder) -> nn.Sequential:
    """The layers after the pooling, with their weights.

    Raises:
        HeadstartError: weights that are not there or do not fit.
    """
    layers = dense_layers([layer.model_dump() for layer in stated.dense])
    for layer, place in zip(layers[::2], stated.places, strict=True):
        try:
            layer.load_state_dict(weights_beside(source, *place))
        except RuntimeError as error:
            raise HeadstartError(
                f"model.backbone: the weights of {source}/{place[0]} do not fit its config.json: "
                f"{str(error).splitlines()[-1].strip()}"
            ) from None
    return layers


def weights_beside(source: str, folder: str, begin: str) -> dict[str, Tensor]:
    """The tensors in a folder of a model whose names begin so, by the rest of their names.

    Raises:
        HeadstartError: there is no weights file, or a damaged one.
    """
    files = (_file(source, f"{folder}/{name}") for name in WEIGHTS)
    state = folder_weights(next(filter(None, files), Path(source) / folder / WEIGHTS[0]).parent)
    return {key.removeprefix(begin): value for key, value in state.items() if key.startswith(begin)}


def _exported(name: str, config: dict[str, Any], pooling: str | None) -> Embedder:
    dense = tuple(map(DenseLayer.model_validate, config.get("dense", ())))
    if pooling:
        notes = _left_out(name, ["Dense"] * len(dense), ALONE)
        return Embedder(pooling, max_length=LONGEST_DEFAULT, notes=notes)
    places = tuple((".", f"dense.{2 * number}.") for number in range(len(dense)))
    return Embedder(config["pooling"], dense, places, LONGEST_DEFAULT)


def _check_order(name: str, kinds: list[str]) -> None:
    rest = kinds[2:-1] if kinds[-1] == "Normalize" else kinds[2:]
    if kinds[:2] not in (["Transformer"], ["Transformer", "Pooling"]) or set(rest) - {"Dense"}:
        raise HeadstartError(
            f"model.backbone: {name} is a sentence embedder made of {', '.join(kinds)}; expected "
            "Transformer, Pooling, any "
            'number of Dense, Normalize. model.preprocessing.pooling = "mean" takes its encoder '
            "alone"
        )


def _pooling(name: str, stated: dict[str, Any]) -> str:
    modes = stated.get("pooling_mode") or [
        mode for key, mode in OLD_MODES.items() if stated.get(f"pooling_mode_{key}")
    ]
    modes = [modes] if isinstance(modes, str) else modes or ["mean"]
    if len(modes) > 1 or modes[0] not in MODES:
        raise HeadstartError(
            f"model.backbone: {name} pools by {' and '.join(map(str, modes))}; expected one of "
            f"{', '.join(MODES)}. Choose one: "
            f'model.preprocessing.pooling = "{MODES.get(modes[0], "mean")}"'
        )
    return MODES[modes[0]]


def _dense(name: str, stated: dict[str, Any]) -> DenseLayer:
    function = str(stated.get("activation_function", "torch.nn.Tanh"))
    activation = function.rpartition(".")[2]
    if (
        not function.startswith("torch.nn.")
        or activation not in ACTIVATIONS
        or stated.get("use_residual")
        or stated.get("module_input_name", "sentence_embedding") != "sentence_embedding"
    ):
        raise HeadstartError(
            f"model.backbone: {name} has a Dense layer of another kind (activation {function}, "
            f"residual {bool(stated.get('use_residual'))}); expected one of "
            f"{', '.join(ACTIVATIONS)} on the pooled vector. "
            'model.preprocessing.pooling = "mean" takes its encoder alone'
        )
    return DenseLayer(
        in_features=int(stated["in_features"]),
        out_features=int(stated["out_features"]),
        bias=bool(stated.get("bias", True)),
        activation=activation,
    )


def _left_out(name: str, kinds: list[str], why: str) -> tuple[str, ...]:
    return (f"{', '.join(kinds)} of {name} left out: {why}",) if kinds else ()


def _prompts(name: str, source: str) -> tuple[str, ...]:
    stated = (_json(source, "config_sentence_transformers.json") or {}).get("prompts") or {}
    prompt = next(filter(None, stated.values()), None)
    return (
        f"{name} was trained with prompts before its texts (such as {prompt!r}); none is put "
        "before yours",
    ) * bool(prompt)


def _unseen(name: str, source: str) -> tuple[str, ...]:
    """Said where the hub's cache was filled by others, who had no use for modules.json."""
    with hub() as there:
        if (
            there
            or Path(source).is_dir()
            or try_to_load_from_cache(source, "modules.json") is not None
        ):
            return ()
    return (
        f"{name} may state a pooling of its own, which cannot be read without the hub (its cache "
        "holds no modules.json); model.preprocessing.pooling names one",
    )


def _needed(source: str, name: str) -> dict[str, Any]:
    found = _json(source, name)
    if not isinstance(found, dict):
        raise KeyError(f"{name} is missing")
    return found


def _json(source: str, name: str) -> Any:
    """A file's content; None where there is no such file."""
    path = _file(source, name)
    if path is None:
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise HeadstartError(
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
        except EntryNotFoundError:  # or it is not known without the hub
            return None
        except Exception as error:  # the hub client's errors are many
            raise HeadstartError(
                f"model.backbone: {name} of {source!r} could not be had from the hub "
                f"({first_line(error)}); try again"
            ) from None
