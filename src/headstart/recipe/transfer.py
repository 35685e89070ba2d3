"""[transfer]: how the pretrained knowledge is carried over."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from headstart.recipe.section import Section, Share, registered, several

AUTO = "auto"  # in place of a strategy's name: chosen from the data


class Adapters(Section):
    """The low-rank matrices of strategy 'lora'."""

    rank: Annotated[int, Field(ge=1, le=4096)] = 8
    alpha: Annotated[float, Field(gt=0, le=100_000)] = Field(
        16.0, description="what they add is scaled by alpha / rank"
    )
    dropout: Share = 0.0
    targets: several(str) = Field(  # type: ignore[valid-type]
        (),
        description="last names of the layers to adapt, e.g. 'query' (default: by a rule for "
        "the architecture)",
    )
    merge: bool = Field(
        False,
        description="save one network with the adapters merged in, instead of adapters "
        "and head alone",
    )


class Transfer(Section):
    """How the pretrained knowledge is carried over."""

    strategy: str = "fine_tune"
    head_lr_ratio: float = Field(
        10.0,
        gt=0,
        le=10_000,
        description="learning rate of the new head, as a multiple of train.lr",
    )
    layer_decay: Annotated[float, Field(gt=0, le=1)] = Field(
        0.8,
        description="discriminative, gradual_unfreezing: rate of a block as a share of the rate "
        "of the one above it",
    )
    unfreeze_every: Annotated[int, Field(ge=1)] = Field(
        1, description="gradual_unfreezing: epochs between two groups of blocks"
    )
    last_blocks: Annotated[int, Field(ge=0)] | None = Field(
        None, description="partial: blocks below the head to train"
    )
    train: several(str) = Field(  # type: ignore[valid-type]
        (), description="partial: patterns of block names to train, e.g. 'block 4'"
    )
    freeze: several(str) = Field(  # type: ignore[valid-type]
        (), description="partial: patterns of block names to freeze, e.g. 'stem'"
    )
    adapters: Adapters = Adapters()
    l2_sp: Annotated[float, Field(ge=0, le=1_000)] = Field(
        0.0,
        description="penalty on the squared distance from the pretrained weights, instead "
        "of weight decay on them",
    )
    wise_ft: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="share of the fine-tuned weights in a final average with the pretrained ones",
    )
    freeze_statistics: bool = Field(
        False, description="keep the running statistics of BatchNorm as they were pretrained"
    )

    @field_validator("strategy")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        return name if name == AUTO else registered("strategy", name, info)

    def given(self, key: str) -> bool:
        """Whether a key has another value than its default."""
        return bool(getattr(self, key) != type(self).model_fields[key].default)
