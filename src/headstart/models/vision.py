"""timm networks as `Network`s, with one rule for stem, blocks, neck and head."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from pydantic import ValidationError
from timm.data.config import resolve_data_config
from timm.models import group_parameters
from torch import Tensor, nn

from headstart.data.greyscale import GreyRange
from headstart.errors import BackboneError, first_line
from headstart.models.adapters import add_adapters
from headstart.models.attribution import grad_cam
from headstart.models.detect import is_timm_model
from headstart.models.image_preprocessor import ImagePreprocessor, normalised
from headstart.models.network import Network, build_head, check_origin, digest
from headstart.models.spec import ImagePreprocessing, ImageSpec, Origin, Spec
from headstart.models.vision_source import (
    TimmModel,
    classifier_name,
    create_model,
    find_source,
    fixed_size,
    pretrained_model,
)
from headstart.recipe import Model, Preprocessing
from headstart.runtime.fused_batchnorm import fused_batchnorm


class VisionNetwork(Network):
    """A timm network: reads `pixel_values`, shape (n, 3, height, width), bytes or normalised."""

    net: TimmModel
    spec: ImageSpec
    _mean: Tensor
    _std: Tensor

    def __init__(
        self, net: TimmModel, head: str, partition: dict[str, tuple[str, ...]], spec: ImageSpec
    ) -> None:
        super().__init__()
        self.net, self.head_name, self.partition, self.spec = net, head, partition, spec
        self.register_buffer("_mean", torch.tensor(spec.preprocessing.mean), persistent=False)
        self.register_buffer("_std", torch.tensor(spec.preprocessing.std), persistent=False)
        # speed of training on 2 cores: ResNet-18 × 1.14 (bf16 1.24), Lite0 × 1.63 (1.09)
        self.to(memory_format=torch.channels_last)

    def features(self, pixel_values: Tensor) -> Tensor:  # type: ignore[override]
        pixels = normalised(pixel_values, self._mean, self._std)
        maps = self.net.forward_features(pixels.contiguous(memory_format=torch.channels_last))
        return self.net.forward_head(maps, pre_logits=True)

    def for_inference(self) -> Network:
        device = next(self.net.parameters()).device
        generator = torch.Generator().manual_seed(0)
        noise = torch.randn(1, *self.spec.preprocessing.input_size, generator=generator)
        net = cast(TimmModel, fused_batchnorm(self.net, noise.to(device)))
        if net is self.net:
            return self
        return VisionNetwork(net, self.head_name, dict(self.partition), self.spec).to(device).eval()

    @property
    def family(self) -> str:
        return type(self.net).__name__

    @property
    def reads(self) -> str:
        settings = self.spec.preprocessing
        size, greys = " × ".join(map(str, settings.input_size[1:])), ""
        if settings.grey_range:
            greys = ", greys from {:g} to {:g}".format(*settings.grey_range)
        return f"{size} pixels, {settings.interpolation}, crop {settings.crop_pct:g}{greys}"

    def attribute(self, inputs: dict[str, Tensor], targets: Tensor) -> Tensor | None:
        if self.estimator is not None:
            return None
        return grad_cam(self.net, inputs["pixel_values"], targets)

    def preprocessor(self, policy: str = "none") -> ImagePreprocessor:
        return ImagePreprocessor(self.spec.preprocessing, policy)


def vision_network(
    model: Model, classes: int, pretrained: bool, grey_range: GreyRange | None = None
) -> tuple[VisionNetwork, list[str]]:
    """The recipe's backbone with a new head, and a note on each setting that is not its own.

    Without `pretrained` the weights are random. Seed torch first.

    Args:
        classes: number of logits. grey_range: the values of more than 8 bits that become black and
            white, if the data set has any.

    Raises:
        BackboneError: unknown backbone, weights that cannot be had or do not fit, or a network
            without one linear classifier.
    """
    model.preprocessing.only("size", "mean", "std", "interpolation", "crop", "grey_range")
    source = find_source(model, pretrained)
    size = model.preprocessing.size or fixed_size(source)
    net = pretrained_model(source, size, model) if pretrained else create_model(source[0], size)
    origin = None
    if pretrained:
        sha256, place = digest(net, classifier_name(net)), model.weights or model.backbone
        origin = Origin(name=model.backbone, source=place, sha256=sha256)
    preprocessing, notes = _image_preprocessing(
        {**net.pretrained_cfg, **source[2]}, net, model.preprocessing, pretrained
    )
    spec = ImageSpec(
        backbone=source[0],
        head=model.head,
        width=net.head_hidden_size,
        classes=classes,
        size=size,
        preprocessing=preprocessing.model_copy(update={"grey_range": grey_range}),
        pretrained=origin,
    )
    network = _with_head(net, spec)
    if model.preprocessing.size:
        _check_size(network)
    return network, notes


def _image_preprocessing(
    config: Mapping[str, object], net: nn.Module, wanted: Preprocessing, pretrained: bool
) -> tuple[ImagePreprocessing, list[str]]:
    """The backbone's size, mean, std, interpolation and crop, or the recipe's with a note on each;
    BackboneError if those in timm's `pretrained_cfg` are damaged."""
    settings: dict[str, object] = resolve_data_config(pretrained_cfg=config, model=net)  # type: ignore[no-untyped-call]
    settings["input_size"] = config.get("input_size", settings["input_size"])
    settings = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in settings.items()
        if key in ImagePreprocessing.model_fields
    }
    changes = {
        "input_size": (3, wanted.size, wanted.size) if wanted.size else None,
        "mean": wanted.mean,
        "std": wanted.std,
        "interpolation": wanted.interpolation,
        "crop_pct": wanted.crop,
    }
    changes = {key: value for key, value in changes.items() if value not in (None, settings[key])}
    notes = [
        f"model.preprocessing asks for {key} {_text(value)}; the backbone was trained with "
        f"{_text(settings[key])}"
        for key, value in changes.items()
        if pretrained
    ]
    try:
        return ImagePreprocessing.model_validate(settings | changes), notes
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        found = f"found {problem['input']!r}; {problem['msg']}"
        raise BackboneError(
            f"model.backbone: its preprocessing is damaged: {key}: {found}"
        ) from None


def _text(value: object) -> str:
    if isinstance(value, tuple) and value[0] == 3:  # a size with its channels
        return " × ".join(map(str, value[1:]))
    return str(value)


def load_vision_network(folder: Path, spec: Spec) -> VisionNetwork:
    """The network that `save` wrote to a folder; needs no hub."""
    assert isinstance(spec, ImageSpec)
    if not is_timm_model(spec.backbone):  # create_model would also take an address
        raise ValueError(f"backbone {spec.backbone!r}")
    if spec.adapters:
        assert spec.pretrained
        origin = spec.pretrained
        weights = None if origin.source == origin.name else origin.source
        model = Model(backbone=origin.name, weights=weights)
        net = pretrained_model(find_source(model, True), spec.size, model)
        check_origin(net, classifier_name(net), origin)
    else:
        net = create_model(spec.backbone, spec.size)
    network = _with_head(net, spec)
    if spec.adapters:
        add_adapters(network, **spec.adapters.model_dump())
    network.load_weights(folder)
    return network


def _check_size(network: VisionNetwork) -> None:
    """Pass an empty image through, as some networks accept only some sizes."""
    size = network.spec.preprocessing.input_size
    network.eval()
    try:
        with torch.inference_mode():
            network(pixel_values=torch.zeros(1, *size))
    except (RuntimeError, AssertionError, ValueError) as error:
        raise BackboneError(
            f"model.preprocessing.size: {network.spec.backbone} cannot read {size[1]} × {size[2]} "
            f"pixels ({first_line(error, 150)}); choose another size, such as a multiple of 32"
        ) from None


def _with_head(net: TimmModel, spec: ImageSpec) -> VisionNetwork:
    """Replace timm's classifier by the recipe's head and name the blocks."""
    head = classifier_name(net)
    if not isinstance(net.get_submodule(head), nn.Linear):
        net.reset_classifier(spec.classes)  # some networks start with an identity
    classifier = net.get_submodule(head)
    if not isinstance(classifier, nn.Linear):
        raise BackboneError(
            f"model.backbone: the classifier of {spec.backbone} is a {type(classifier).__name__}; "
            "expected a linear layer. Choose another backbone"
        )
    blocks = _blocks(net, head)
    net.set_submodule(head, build_head(spec.head, spec.width, spec.classes))
    blocks["head"] = tuple(
        name for name, _ in net.named_parameters() if name.startswith(f"{head}.")
    )
    return VisionNetwork(net, head, blocks, spec)


def _blocks(net: TimmModel, head: str) -> dict[str, tuple[str, ...]]:
    """Stem, block 1 … N, and neck: what is beside the head in timm's last group."""
    if not hasattr(net, "group_matcher"):
        raise BackboneError(
            f"model.backbone: timm has no groups of layers of {type(net).__name__}; choose another"
        )
    grouped = group_parameters(net, net.group_matcher(coarse=True))
    stem, *middle, last = (tuple(grouped[key]) for key in sorted(grouped))
    blocks = {"stem": stem} | {f"block {n}": group for n, group in enumerate(middle, 1)}
    neck = tuple(name for name in last if not name.startswith(f"{head}."))
    return blocks | {"neck": neck} if neck else blocks
