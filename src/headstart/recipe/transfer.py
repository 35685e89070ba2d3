"""[transfer]: how the pretrained knowledge is carried over."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated

from pydantic import Field, ValidationInfo, field_validator

from headstart.recipe.section import Section, Share, registered, several

OWNERS = {  # keys that only some strategies read
    "last_blocks": ("partial",),
    "train": ("partial",),
    "freeze": ("partial",),
    "layer_decay": ("discriminative", "gradual_unfreezing"),
    "unfreeze_every": ("gradual_unfreezing",),
    "adapters": ("lora",),
}
FROM_RANDOM, FROZEN, PROBES = "scratch", "feature_extraction", ("feature_extraction", "lp_ft")
AUTO = "auto"  # no strategy, but the choice of one


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
        return registered("strategy", name, info)

    @property
    def pretrained(self) -> bool:
        """Whether the strategy starts from pretrained weights."""
        return self.strategy != FROM_RANDOM

    @property
    def frozen(self) -> bool:
        """Whether the backbone stays as it is, so that its features can be computed once."""
        return self.strategy == FROZEN

    @property
    def probes(self) -> bool:
        """Whether the strategy begins with a head on frozen features."""
        return self.strategy in PROBES

    @property
    def adapted(self) -> bool:
        """Whether adapters are put into the backbone."""
        return self.strategy == "lora"

    def given(self, key: str) -> bool:
        """Whether a key has another value than its default."""
        return bool(getattr(self, key) != type(self).model_fields[key].default)

    def check(self, strategies: Iterable[str]) -> None:
        """Refuse keys that no strategy of the recipe reads.

        Args:
            strategies: the recipe's own, and those beside it.

        Raises:
            ValueError: there is one.
        """
        own, named = self.strategy, set(strategies)
        if self.freeze_statistics and own == FROM_RANDOM:
            raise ValueError(
                "strategy 'scratch' starts from random weights, so there are no statistics to "
                "keep; found transfer.freeze_statistics: remove it"
            )
        choices = [
            key for key, owners in OWNERS.items() if owners == ("partial",) and self.given(key)
        ]
        for key in filter(self.given, OWNERS):
            if named.isdisjoint(OWNERS[key]) and AUTO not in named:
                if own == FROM_RANDOM and key in choices:
                    raise ValueError(
                        "strategy 'scratch' starts from random weights, so nothing may stay "
                        f"frozen; found transfer.{key}: remove it, or use strategy 'partial'"
                    )
                raise ValueError(
                    f"transfer.{key} belongs to strategy {' or '.join(map(repr, OWNERS[key]))}; "
                    f"found strategy {own!r}: "
                    f'remove the key, or set transfer.strategy = "{OWNERS[key][0]}"'
                )
        if "partial" in named and len(choices) != 1:
            raise ValueError(
                "strategy 'partial' needs exactly one of transfer.last_blocks, transfer.train, "
                "transfer.freeze; found " + (" and ".join(choices) or "none of them")
            )
        for key in ("l2_sp", "wise_ft"):
            if self.given(key) and own in (FROM_RANDOM, FROZEN, "lora"):
                raise ValueError(
                    f"transfer.{key} keeps pretrained weights that train near their start; with "
                    f"strategy {own!r} there are none: remove it, or choose 'fine_tune', "
                    "'discriminative', 'gradual_unfreezing', 'lp_ft' or 'partial'"
                )
