"""timm networks as `Network`s: any of its names, one way to find stem, blocks, neck and head."""

from __future__ import annotations

import os
import warnings
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import group_parameters
from torch import Tensor, nn

from headstart.data.greyscale import GreyRange
from headstart.data.hub import hub
from headstart.errors import HeadstartError, first_line
from headstart.models.adapters import put_in
from headstart.models.attribution import grad_cam
from headstart.models.detect import is_timm_model, local_folder
from headstart.models.image_preprocessing import image_preprocessing
from headstart.models.image_preprocessor import ImagePreprocessor, normalised
from headstart.models.lite0 import ARCHITECTURE, lite0_weights
from headstart.models.network import Network, build_head, check_origin, digest
from headstart.models.packaged import packaged
from headstart.models.spec import ImageSpec, Origin, Spec
from headstart.models.weights import (
    OFFLINE_WAY_OUT,
    check_offline,
    folder_weights,
    from_file,
    from_folder,
)
from headstart.recipe import Model
from headstart.registry import suggest
from headstart.runtime.fused_batchnorm import fused_batchnorm

KIND = "vision"


class VisionNetwork(Network):
    """A timm network: reads `pixel_values` of shape (n, 3, height, width), bytes, or floats
    normalised as `spec` says."""

    spec: ImageSpec

    def __init__(
        self, net: nn.Module, head: str, partition: dict[str, tuple[str, ...]], spec: ImageSpec
    ) -> None:
        super().__init__()
        self.net, self.head_name, self.partition, self.spec = net, head, partition, spec
        self.register_buffer("_mean", torch.tensor(spec.preprocessing.mean), persistent=False)
        self.register_buffer("_std", torch.tensor(spec.preprocessing.std), persistent=False)
        # Training on 2 cores is so many times as fast: ResNet-18 1.14 (bf16 1.24), Lite0 1.63
        # (1.09).
        self.to(memory_format=torch.channels_last)

    def forward(self, pixel_values: Tensor) -> Tensor:  # type: ignore[override]
        return self.net(self._read(pixel_values))

    def features(self, pixel_values: Tensor) -> Tensor:  # type: ignore[override]
        maps = self.net.forward_features(self._read(pixel_values))  # type: ignore[operator]
        return self.net.forward_head(maps, pre_logits=True)  # type: ignore[operator]

    def for_inference(self) -> Network:
        device = next(self.net.parameters()).device
        noise = torch.randn(
            1, *self.spec.preprocessing.input_size, generator=torch.Generator().manual_seed(0)
        )
        net = fused_batchnorm(self.net, noise.to(device))
        if net is self.net:
            return self
        return VisionNetwork(net, self.head_name, dict(self.partition), self.spec).to(device).eval()

    def _read(self, pixels: Tensor) -> Tensor:
        return normalised(pixels, self._mean, self._std).contiguous(  # type: ignore[arg-type]
            memory_format=torch.channels_last
        )

    @property
    def family(self) -> str:
        return type(self.net).__name__

    @property
    def reads(self) -> str:
        own = self.spec.preprocessing
        size = " × ".join(map(str, own.input_size[1:]))
        greys = ", greys from {:g} to {:g}".format(*own.grey_range) if own.grey_range else ""
        return f"{size} pixels, {own.interpolation}, crop {own.crop_pct:g}{greys}"

    def attribute(self, inputs: dict[str, Tensor], targets: Tensor) -> Tensor | None:
        return (
            None
            if self.estimator is not None
            else grad_cam(self.net, inputs["pixel_values"], targets)
        )

    def preprocessor(self, policy: str = "none") -> ImagePreprocessor:
        return ImagePreprocessor(self.spec.preprocessing, policy)


def vision_network(
    model: Model, classes: int, pretrained: bool, grey_range: GreyRange | None = None
) -> tuple[VisionNetwork, list[str]]:
    """The recipe's backbone with a new head of `classes` logits, and notes on what was asked for
    beyond its own settings.

    Weights come with `pretrained` only; without it the architecture starts from random numbers.
    Seed torch first: the head (and a network from scratch) draw from its global generator.

    Args:
        grey_range: of greys of more than 8 bits, what is shown as black and as white, if the data
            set has any.

    Raises:
        HeadstartError: unknown backbone, weights that cannot be had or do not fit, or a network
            without one plain head.
    """
    model.preprocessing.only("size", "mean", "std", "interpolation", "crop", "grey_range")
    architecture, state, own = _resolve(model, pretrained)
    from_hub = pretrained and state is None
    size = model.preprocessing.size or _fixed_size(architecture, own)
    net = _create(architecture, size, from_hub)
    if state is not None:
        _load(net, state, model)
    weights = digest(net, _classifier_name(net)) if pretrained else None
    preprocessing, notes = image_preprocessing(
        {**net.pretrained_cfg, **own},  # type: ignore[dict-item]
        net,
        model.preprocessing,
        pretrained,
    )
    source = model.weights or model.backbone
    spec = ImageSpec(
        backbone=architecture,
        head=model.head,
        width=int(net.head_hidden_size),  # type: ignore[arg-type]
        classes=classes,
        size=size,
        preprocessing=preprocessing.model_copy(update={"grey_range": grey_range}),
        pretrained=Origin(name=model.backbone, source=source, sha256=weights) if weights else None,
    )
    network = _with_head(net, spec)
    if model.preprocessing.size:
        _try_size(network)
    return network, notes


def load_vision_network(folder: Path, spec: Spec) -> VisionNetwork:
    """The network that `save` wrote to a folder; needs no hub."""
    assert isinstance(spec, ImageSpec)
    if not is_timm_model(spec.backbone):  # nor an address of one
        raise ValueError(f"backbone {spec.backbone!r}")
    net = _pretrained_again(spec) if spec.adapters else _create(spec.backbone, spec.size, False)
    network = _with_head(net, spec)
    if spec.adapters:
        put_in(network, **spec.adapters.model_dump())
    network.load_weights(folder)
    return network


def _pretrained_again(spec: ImageSpec) -> nn.Module:
    """The backbone that a run's adapters belong to, from where it came."""
    origin = spec.pretrained
    assert origin
    weights = None if origin.source == origin.name else origin.source
    model = Model(backbone=origin.name, weights=weights)
    architecture, state, _ = _resolve(model, True)
    net = _create(architecture, spec.size, state is None)
    if state is not None:
        _load(net, state, model)
    check_origin(digest(net, _classifier_name(net)), origin)
    return net


def _resolve(
    model: Model, pretrained: bool
) -> tuple[str, dict[str, Tensor] | None, dict[str, Any]]:
    """(timm architecture, its state dict or None for the hub, its own preprocessing where the
    source states one)."""
    name = model.backbone
    if model.weights and (name.startswith("packaged:") or Path(os.path.expanduser(name)).is_dir()):
        raise HeadstartError(
            f"model.weights: {name} brings its own weights; remove model.weights, or give a timm "
            "name"
        )
    if name.startswith("packaged:"):
        package = packaged(name.removeprefix("packaged:"), KIND)
        return ARCHITECTURE, lite0_weights(package.path()) if pretrained else None, {}
    folder = local_folder(name)
    if folder is not None:
        architecture, own = from_folder(folder)
        if not is_timm_model(architecture):
            raise HeadstartError(
                f"model.backbone: {folder}/config.json names {architecture!r}, which timm does "
                "not know"
            )
        return architecture, folder_weights(folder) if pretrained else None, own
    if not is_timm_model(name):
        raise HeadstartError(
            f"model.backbone: unknown backbone {name!r}; {suggest(name, timm.list_models())}; "
            "expected a timm name such as resnet18.tv_in1k, a local folder, or "
            "packaged:efficientnet_lite0"
        )
    return name, from_file(model.weights) if pretrained and model.weights else None, {}


def _fixed_size(architecture: str, own: dict[str, Any]) -> int | None:
    """The side that a folder's weights were made for, where it is not the architecture's and cannot
    be chosen freely."""
    default: Any = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
    match own.get("input_size"):
        case [3, int(height), int(width)] if (
            default is not None and default.fixed_input_size and height == width
        ):
            return height if (3, height, width) != default.input_size else None
    return None


def _create(architecture: str, size: int | None, from_hub: bool) -> nn.Module:
    try:
        default = timm.get_pretrained_cfg(architecture, allow_unregistered=True)
        options = (
            {"img_size": size} if size and default is not None and default.fixed_input_size else {}
        )
        if from_hub and default is not None and not default.hf_hub_id and default.url:
            check_offline(str(default.url))
        with warnings.catch_warnings(), hub() if from_hub else nullcontext():
            warnings.simplefilter("ignore")
            return timm.create_model(architecture, pretrained=from_hub, **options)  # type: ignore[arg-type]
    # the hub client's errors are many, and none of them tells our user what to do
    except Exception as error:
        cause = first_line(error)
        if from_hub:
            raise HeadstartError(
                f"model.backbone: the pretrained weights of {architecture!r} could not be had "
                f"from the hub ({cause}). {OFFLINE_WAY_OUT}"
            ) from None
        raise HeadstartError(
            f"model.backbone: timm cannot build {architecture!r}: {cause}"
        ) from None


def _load(net: nn.Module, state: dict[str, Tensor], model: Model) -> None:
    """Load a backbone's weights; a classifier of another size is left out, for a new head takes its
    place."""
    own = net.state_dict()
    classifier = _classifier_name(net) + "."
    fitting = {
        k: v
        for k, v in state.items()
        if not (k.startswith(classifier) and k in own and own[k].shape != v.shape)
    }
    absent = [key for key in own if key not in fitting and not key.startswith(classifier)]
    surplus = [key for key in fitting if key not in own]
    differing = [k for k, v in fitting.items() if k in own and own[k].shape != v.shape]
    if absent or surplus or differing:
        raise HeadstartError(
            f"model.weights: {model.weights or model.backbone} does not fit {model.backbone}: "
            f"{len(absent)} tensors are missing, {len(surplus)} unknown, {len(differing)} of "
            f"another shape (such as {(absent + surplus + differing)[0]}); name the architecture "
            "the file was made for"
        )
    try:
        net.load_state_dict(fitting, strict=False)
    except RuntimeError as error:
        cause = str(error).splitlines()[-1].strip()[:200]
        raise HeadstartError(
            f"model.weights: {model.weights or model.backbone} cannot be loaded: {cause}"
        ) from None


def _try_size(network: VisionNetwork) -> None:
    """Pass one empty picture through, for some networks accept only some sizes.

    Raises:
        HeadstartError: the network cannot read pictures of its spec's size.
    """
    size = network.spec.preprocessing.input_size
    network.eval()
    try:
        with torch.inference_mode():
            network(torch.zeros(1, *size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise HeadstartError(
            f"model.preprocessing.size: {network.spec.backbone} cannot read {size[1]} × "
            f"{size[2]} pixels ({first_line(error, 150)}); choose another size, such as a "
            "multiple of 32"
        ) from None


def _classifier_name(net: nn.Module) -> str:
    name = net.pretrained_cfg["classifier"]  # type: ignore[index]
    if not isinstance(name, str):
        raise HeadstartError(
            f"model.backbone: {type(net).__name__} has {len(name)} classifiers "
            f"({', '.join(name)}); expected a network with one: choose the variant without "
            "distillation"
        )
    return name


def _with_head(net: nn.Module, spec: ImageSpec) -> VisionNetwork:
    """Replace timm's classifier by the recipe's head and name the blocks."""
    classifier = _classifier_name(net)
    if not isinstance(net.get_submodule(classifier), nn.Linear):
        net.reset_classifier(spec.classes)  # type: ignore[operator]  # some networks build a linear one when asked
    if not isinstance(net.get_submodule(classifier), nn.Linear):
        raise HeadstartError(
            f"model.backbone: the classifier of {spec.backbone} is a "
            f"{type(net.get_submodule(classifier)).__name__}; expected a linear layer. Choose "
            "another backbone"
        )
    blocks = _blocks(net, classifier)
    net.set_submodule(classifier, build_head(spec.head, spec.width, spec.classes))
    blocks["head"] = tuple(
        name for name, _ in net.named_parameters() if name.startswith(f"{classifier}.")
    )
    return VisionNetwork(net, classifier, blocks, spec)


def _blocks(net: nn.Module, classifier: str) -> dict[str, tuple[str, ...]]:
    """stem, block 1 … N, neck (what stands in timm's last group beside the classifier), without the
    head."""
    if not hasattr(net, "group_matcher"):
        raise HeadstartError(
            f"model.backbone: {type(net).__name__} does not say how its layers are grouped; "
            "choose another"
        )
    grouped = group_parameters(net, net.group_matcher(coarse=True))  # type: ignore[operator]
    groups = [grouped[key] for key in sorted(grouped)]
    neck = [name for name in groups[-1] if not name.startswith(f"{classifier}.")]
    blocks = {
        "stem": groups[0],
        **{f"block {number}": group for number, group in enumerate(groups[1:-1], 1)},
    }
    if neck:
        blocks["neck"] = neck
    return {name: tuple(parameters) for name, parameters in blocks.items()}
