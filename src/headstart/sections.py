"""The tables of a recipe: what each key means and may be. Imports no torch."""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from headstart.registry import unknown

Share = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(min_length=1)]


def _several(kind: Any) -> Any:
    """A TOML array of `kind` as a tuple; one bare value counts as an array of one."""
    one_is_enough = BeforeValidator(lambda value: value if isinstance(value, list | tuple) else (value,))
    return Annotated[tuple[kind, ...], Field(strict=False), one_is_enough]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)


class Data(Section):
    """Where the examples come from and which part plays which role."""

    source: Name | None = Field(
        None,
        description="a folder (class/file, or train|val|test/class/file), a .zip or .tar of such a folder or its URL, or "
        "sample:patches, sample:digits",
    )
    sha1: str | None = Field(None, description="checksum of the file at a URL; other sources do not look at it")
    sha256: str | None = Field(None, description="checksum of the file at a URL; other sources do not look at it")
    train: Name | None = Field(None, description="folder of the training part, instead of `source`")
    validation: Share | Name | None = Field(
        None,
        description="a folder, or the share carved from the training part (default: the given validation part, else "
        "0.15); 0 for none, which keeps the last epoch",
    )
    test: Annotated[float, Field(gt=0, lt=1)] | Name | None = Field(
        None, description="a folder, or the share set aside for the test (default: the given test part, else 0.2)"
    )
    unreadable: Literal["drop", "error"] = Field("drop", description="what to do with files that cannot be read")

    @field_validator("sha1", "sha256")
    @classmethod
    def _a_checksum(cls, given: str | None, info: ValidationInfo) -> str | None:
        digits = 40 if info.field_name == "sha1" else 64
        if given is not None and not re.fullmatch(f"[0-9a-f]{{{digits}}}", given.lower()):
            raise ValueError(f"found {given!r}; expected {digits} hexadecimal digits")
        return given and given.lower()

    @model_validator(mode="after")
    def _one_source(self) -> Data:
        if self.source is None and self.train is None:
            raise ValueError("no data: expected data.source (a folder or sample:NAME) or data.train (a folder)")
        if self.source is not None and self.train is not None:
            raise ValueError("data.source and data.train are both given; keep one of them")
        return self

    @model_validator(mode="after")
    def _checked_download(self) -> Data:
        if self.is_url and not (self.sha1 or self.sha256):
            raise ValueError(
                f"data.source is a URL ({self.source}), so its checksum is needed: add sha256 (or sha1) as its publisher "
                "states it, or as `sha256sum FILE` prints it for a copy that you trust"
            )
        return self

    @property
    def is_url(self) -> bool:
        """Whether the source is to be downloaded."""
        return self.source is not None and self.source.lower().startswith(("http://", "https://"))


class Head(Section):
    """The new classifier on top of the backbone."""

    classifier: str | None = Field(
        None,
        description="how feature_extraction fits the head: logistic_regression (default for a linear head), gradient "
        "(default with hidden layers or dropout), or a scikit-learn classifier such as RandomForestClassifier",
    )
    options: dict[str, Any] = Field({}, description="parameters of the scikit-learn classifier")

    hidden: _several(Annotated[int, Field(ge=1, le=65_536)]) = Field(  # type: ignore[valid-type]
        (), description="widths of hidden layers; empty for a linear head"
    )
    dropout: _several(Annotated[float, Field(ge=0, lt=1)]) = Field(  # type: ignore[valid-type]
        (0.0,), description="dropout before each linear layer; one value serves all"
    )

    @field_validator("options")
    @classmethod
    def _plain(cls, options: dict[str, Any]) -> dict[str, Any]:
        for key, value in options.items():
            numbers = [
                number for number in (value if isinstance(value, list) else [value]) if isinstance(number, float)
            ]
            if not isinstance(value, bool | int | float | str | list) or not all(map(math.isfinite, numbers)):
                raise ValueError(f"{key}: found {value!r}; expected a finite number, a string, true, false or a list")
        return options

    @field_validator("classifier")
    @classmethod
    def _known(cls, name: str | None, info: ValidationInfo) -> str | None:
        return name if name is None else registered("classifier", name, info)

    @property
    def fitting(self) -> str:
        """How a head on frozen features is fitted: the classifier, or its default for these layers."""
        layers = bool(self.hidden) or any(self.dropout)
        return self.classifier or ("gradient" if layers else "logistic_regression")

    @property
    def is_estimator(self) -> bool:
        """Whether the head is a scikit-learn classifier and no layer of the network."""
        return self.classifier not in (None, "logistic_regression", "gradient")

    @model_validator(mode="after")
    def _layers_or_estimator(self) -> Head:
        if self.classifier not in (None, "gradient") and (self.hidden or any(self.dropout)):
            raise ValueError(
                f"classifier {self.classifier!r} has no hidden layers and no dropout; remove them, or set classifier = "
                "'gradient'"
            )
        if self.options and not self.is_estimator:
            raise ValueError("options are those of a scikit-learn classifier; name it with classifier, or remove them")
        return self

    @model_validator(mode="after")
    def _one_rate_a_layer(self) -> Head:
        if len(self.dropout) not in (1, len(self.hidden) + 1):
            raise ValueError(
                f"dropout has {len(self.dropout)} values; expected one, or one for each of the {len(self.hidden) + 1} "
                "linear layers"
            )
        return self


class Preprocessing(Section):
    """What to ask for instead of the backbone's own preprocessing."""

    size: Annotated[int, Field(ge=8, le=4096)] | None = Field(None, description="side of the square input in pixels")
    mean: tuple[float, ...] | None = Field(None, strict=False, min_length=3, max_length=3)
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(None, strict=False, min_length=3, max_length=3)
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    crop: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="share of the side the centre crop keeps"
    )


class Model(Section):
    """The pretrained network."""

    backbone: Name = Field(description="a timm name, a local folder (config.json + weights), or packaged:NAME")
    weights: Name | None = Field(None, description="a local .safetensors or .pth file for a timm name")
    head: Head = Head()
    preprocessing: Preprocessing = Preprocessing()


class Transfer(Section):
    """How the pretrained knowledge is carried over."""

    strategy: str = "fine_tune"
    head_lr_ratio: float = Field(
        10.0, gt=0, le=10_000, description="learning rate of the new head, as a multiple of train.lr"
    )
    last_blocks: Annotated[int, Field(ge=0)] | None = Field(None, description="partial: blocks below the head to train")
    train: _several(str) = Field((), description="partial: patterns of block names to train, e.g. 'block 4'")  # type: ignore[valid-type]
    freeze: _several(str) = Field((), description="partial: patterns of block names to freeze, e.g. 'stem'")  # type: ignore[valid-type]

    @field_validator("strategy")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        return registered("strategy", name, info)

    @property
    def pretrained(self) -> bool:
        """Whether the strategy starts from pretrained weights."""
        return self.strategy != "scratch"

    @property
    def frozen(self) -> bool:
        """Whether the backbone stays as it is, so that its features can be computed once."""
        return self.strategy == "feature_extraction"

    @model_validator(mode="after")
    def _fits_the_strategy(self) -> Transfer:
        choices = [key for key in ("last_blocks", "train", "freeze") if getattr(self, key) not in (None, ())]
        if self.strategy == "scratch" and choices:
            raise ValueError(
                f"strategy 'scratch' starts from random weights, so nothing may stay frozen; found transfer.{choices[0]}"
                ": remove it, or use strategy 'partial'"
            )
        if self.strategy == "partial" and len(choices) != 1:
            raise ValueError(
                "strategy 'partial' needs exactly one of transfer.last_blocks, transfer.train, transfer.freeze; found "
                + (" and ".join(choices) or "none of them")
            )
        if self.strategy != "partial" and choices:
            raise ValueError(
                f"transfer.{choices[0]} belongs to strategy 'partial'; found strategy {self.strategy!r}: "
                'remove the key, or set transfer.strategy = "partial"'
            )
        return self


class Schedule(Section):
    """How the learning rate moves during a phase; a bare name is short for `{ name = … }`."""

    name: Literal["constant", "step", "cosine", "exponential", "linear", "plateau"] = "cosine"
    every: Annotated[float, Field(gt=0, le=100_000)] = Field(7.0, description="step: epochs between two drops")
    factor: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1, description="step, plateau: a drop multiplies the rate by it; exponential: each epoch does"
    )
    patience: Annotated[int, Field(ge=0)] = Field(2, description="plateau: epochs without a better loss before a drop")


class Train(Section):
    """The optimisation. One batch is `batch_size` examples over all processes and accumulation steps together."""

    epochs: int = Field(5, ge=1, le=100_000)
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["auto"] = Field(
        32,
        description="examples an optimizer step, whatever the number of processes; 'auto' goes by the number of training "
        "examples (about 50 steps an epoch, a power of two from 16 to 256)",
    )
    accumulation: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["auto"] = Field(
        "auto",
        description="parts in which each process works through its share of a batch; 'auto' takes as few as fit into memory",
    )
    optimizer: Literal["sgd", "adamw"] = "adamw"
    lr: float = Field(1e-4, gt=0, lt=100)
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd only")
    weight_decay: float = Field(
        0.01, ge=0, le=1_000, description="on weight matrices and kernels; never on biases and norms"
    )
    schedule: Annotated[
        Schedule, BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value)
    ] = Schedule()
    warmup: Share = Field(0.0, description="share of a phase's steps over which the rate rises from 0")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    workers: Annotated[int, Field(ge=0, le=256)] | Literal["auto"] = Field("auto", description="loader processes")
    select_on: Literal["validation", "test"] = Field(
        "validation",
        description="the held-out part that chooses the epoch; 'test' is reported as 'selected on this set'",
    )


class Augment(Section):
    """What is varied at random in a training example."""

    policy: Literal["none", "crop", "crop_flip"] | None = Field(
        None,
        description="random resized crop, and a mirror image half of the time (default: crop_flip, or none where the "
        "backbone is frozen)",
    )


class Beside(Section):
    """A strategy or a plain baseline to run on the same split; a bare name is short for `{ name = … }`."""

    name: str
    lr: Annotated[float, Field(gt=0, lt=100)] | None = Field(None, description="instead of train.lr")
    epochs: Annotated[int, Field(ge=1, le=100_000)] | None = Field(None, description="instead of train.epochs")

    @field_validator("name")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        return registered("beside", name, info)


class Evaluate(Section):
    """What is measured, and against what."""

    beside: _several(  # type: ignore[valid-type]
        Annotated[Beside, BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value)]
    ) = ()
    bootstrap: int = Field(
        1000, ge=100, le=100_000, description="resamples behind the intervals that have no closed form"
    )


def registered(kind: str, name: str, info: ValidationInfo) -> str:
    """The name itself, if the registries that the validation was given know it; without registries, any name.

    Raises:
        ValueError: they do not know it.
    """
    known = (info.context or {}).get(kind)
    if known is not None and name not in known:
        raise ValueError(unknown("strategy or baseline" if kind == "beside" else kind, name, sorted(known)))
    return name
