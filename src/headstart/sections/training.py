"""[transfer], [train], [augment] and [evaluate]: how it learns, and what it is measured against."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator, model_validator

from headstart.sections.section import Section, Share, registered, several


class Transfer(Section):
    """How the pretrained knowledge is carried over."""

    strategy: str = "fine_tune"
    head_lr_ratio: float = Field(
        10.0, gt=0, le=10_000, description="learning rate of the new head, as a multiple of train.lr"
    )
    last_blocks: Annotated[int, Field(ge=0)] | None = Field(None, description="partial: blocks below the head to train")
    train: several(str) = Field((), description="partial: patterns of block names to train, e.g. 'block 4'")  # type: ignore[valid-type]
    freeze: several(str) = Field((), description="partial: patterns of block names to freeze, e.g. 'stem'")  # type: ignore[valid-type]

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

    beside: several(  # type: ignore[valid-type]
        Annotated[Beside, BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value)]
    ) = ()
    bootstrap: int = Field(
        1000, ge=100, le=100_000, description="resamples behind the intervals that have no closed form"
    )
