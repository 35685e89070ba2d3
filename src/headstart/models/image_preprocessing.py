"""The preprocessing of a vision network: the backbone's settings, changed by the recipe's."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError
from timm.data.config import resolve_data_config
from torch import nn

from headstart.errors import BackboneError
from headstart.models.spec import ImagePreprocessing
from headstart.recipe import Preprocessing


def image_preprocessing(
    config: Mapping[str, object], net: nn.Module, wanted: Preprocessing, pretrained: bool
) -> tuple[ImagePreprocessing, list[str]]:
    """The backbone's size, mean, std, interpolation and crop, each replaced by the recipe's if it
    has one, and a note on each change.

    Args:
        config: timm's `pretrained_cfg`.

    Raises:
        BackboneError: the backbone's settings are damaged.
    """
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
        raise BackboneError(
            f"model.backbone: its preprocessing is damaged: {key}: found {problem['input']!r}; "
            f"{problem['msg']}"
        ) from None


def _text(value: object) -> str:
    if isinstance(value, tuple) and value[0] == 3:  # a size with its channels
        return " × ".join(map(str, value[1:]))
    return str(value)
