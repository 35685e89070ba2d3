"""The preprocessing of a vision network: the backbone's own, and the recipe's wishes over it."""

from __future__ import annotations

from collections.abc import Mapping

from pydantic import ValidationError
from timm.data import resolve_data_config
from torch import nn

from headstart.errors import HeadstartError
from headstart.models.spec import ImagePreprocessing
from headstart.recipe import Preprocessing


def image_preprocessing(
    stated: Mapping[str, object], net: nn.Module, wanted: Preprocessing, pretrained: bool
) -> tuple[ImagePreprocessing, list[str]]:
    """The backbone's own size, mean, std, interpolation and crop, with the recipe's wishes over it,
    each noted.

    Args:
        stated: timm's `pretrained_cfg`.

    Raises:
        HeadstartError: the backbone states what no preprocessing can be.
    """
    trained = resolve_data_config(pretrained_cfg=stated, model=net)
    trained |= {"input_size": stated.get("input_size", trained["input_size"])}
    trained = {
        key: tuple(value) if isinstance(value, list) else value
        for key, value in trained.items()
        if key in ImagePreprocessing.model_fields
    }
    changes = {
        "input_size": (3, wanted.size, wanted.size) if wanted.size else None,
        "mean": wanted.mean,
        "std": wanted.std,
        "interpolation": wanted.interpolation,
        "crop_pct": wanted.crop,
    }
    changes = {key: value for key, value in changes.items() if value not in (None, trained[key])}
    notes = [
        f"model.preprocessing asks for {key} {_shown(value)}; the backbone was trained with "
        f"{_shown(trained[key])}"
        for key, value in changes.items()
        if pretrained
    ]
    try:
        return ImagePreprocessing.model_validate({**trained, **changes}), notes
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"]))
        raise HeadstartError(
            f"model.backbone: its preprocessing is damaged: {key}: found {problem['input']!r}; "
            f"{problem['msg']}"
        ) from None


def _shown(value: object) -> str:
    return (
        " × ".join(map(str, value[1:]))
        if isinstance(value, tuple) and value[0] == 3
        else str(value)
    )
