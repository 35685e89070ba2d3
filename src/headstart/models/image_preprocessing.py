"""What a vision network is shown: its own preprocessing, and the recipe's wishes over it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError
from timm.data import resolve_data_config
from torch import nn

from headstart.errors import HeadstartError
from headstart.recipe import Preprocessing, Section

Side = Annotated[int, Field(ge=8, le=4096)]


class _Look(Section):
    """What the preprocessing of a network must hold to be of use."""

    input_size: tuple[Literal[3], Side, Side] = Field(strict=False)
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
    mean: tuple[float, float, float] = Field(strict=False)
    std: tuple[float, float, float] = Field(strict=False)
    crop_pct: float = Field(gt=0)
    crop_mode: Literal["center", "squash", "border"]
    # not timm's: what is shown as black and white
    grey_range: tuple[float, float] | None = Field(None, strict=False)


def look_of(
    own: dict[str, Any], net: nn.Module, asked: Preprocessing, pretrained: bool
) -> tuple[dict[str, Any], list[str]]:
    """The backbone's own size, mean, std, interpolation and crop, with the recipe's wishes over it,
    each noted."""
    trained = resolve_data_config(pretrained_cfg=own, model=net)
    trained = {**trained, "input_size": own.get("input_size", trained["input_size"])}
    trained = {
        key: tuple(value) if isinstance(value, list) else value for key, value in trained.items()
    }
    wanted = {
        "input_size": (3, asked.size, asked.size) if asked.size else None,
        "mean": asked.mean,
        "std": asked.std,
        "interpolation": asked.interpolation,
        "crop_pct": asked.crop,
    }
    wishes = {
        key: value for key, value in wanted.items() if value is not None and value != trained[key]
    }
    notes = [
        f"model.preprocessing asks for {key} {_plain(value)}; the backbone was trained with "
        f"{_plain(trained[key])}"
        for key, value in wishes.items()
        if pretrained
    ]
    used = {**trained, **wishes}
    look = {
        key: list(v) if isinstance(v := used[key], tuple) else v
        for key in _Look.model_fields
        if key in used
    }
    check_look(look, "model.backbone")
    return look, notes


def check_look(look: Any, where: str) -> None:
    try:
        _Look.model_validate(look)
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"])) or "all of it"
        raise HeadstartError(
            f"{where}: its preprocessing is damaged: {key}: found {problem['input']!r}; "
            f"{problem['msg']}"
        ) from None


def _plain(value: Any) -> str:
    return (
        " × ".join(map(str, value[1:]))
        if isinstance(value, tuple) and value[0] == 3
        else str(value)
    )
