"""The recipe: a validated, frozen picture of one TOML file. Imports no torch.

`recipe_file.read` makes one from a file; unknown keys are refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from headstart.sections import Augment, Data, Evaluate, Head, Model, Section, Train, Transfer, registered

EMBEDDING = "embedding_classification"


class Recipe(Section):
    """One experiment."""

    task: str
    seed: int = Field(0, ge=0, lt=2**31)
    output: str = Field(description="the run directory; default runs/<name of the recipe file>")
    data: Data
    model: Model
    transfer: Transfer = Transfer()
    train: Train = Train()
    augment: Augment = Augment()
    evaluate: Evaluate = Evaluate()

    @field_validator("task")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        return registered("task", name, info)

    @model_validator(mode="before")
    @classmethod
    def _embedders_stay_frozen(cls, given: Any) -> Any:
        if not isinstance(given, dict) or given.get("task") != EMBEDDING:
            return given
        transfer = given.get("transfer", {})
        if not isinstance(transfer, dict) or "strategy" in transfer:
            return given
        return {**given, "transfer": {**transfer, "strategy": "feature_extraction"}}

    @field_validator("output")
    @classmethod
    def _a_folder_name(cls, output: str) -> str:
        if not Path(output).name or Path(output).name == ".." or "\0" in output:
            raise ValueError(f"found {output!r}; expected the name of a folder to make, such as runs/first")
        return os.path.expanduser(output)

    @model_validator(mode="after")
    def _rivals(self) -> Recipe:
        if self.transfer.strategy != "partial" and any(other.name == "partial" for other in self.evaluate.beside):
            raise ValueError(
                "evaluate.beside: 'partial' takes its blocks from [transfer], where only strategy 'partial' may name them; "
                "found strategy " + repr(self.transfer.strategy)
            )
        return self

    @model_validator(mode="after")
    def _frozen_features(self) -> Recipe:
        strategies = [self.transfer.strategy, *(other.name for other in self.evaluate.beside)]
        if self.model.head.classifier and "feature_extraction" not in strategies:
            raise ValueError(
                f"model.head.classifier: {self.model.head.classifier!r} is fitted on frozen features; set transfer.strategy "
                "= 'feature_extraction', or remove it"
            )
        if self.augment.policy not in (None, "none") and self.transfer.frozen:
            raise ValueError(
                f"augment.policy: found {self.augment.policy!r}; strategy 'feature_extraction' passes each example through "
                "the frozen backbone once and keeps its features, so an example cannot look different each epoch. Remove "
                "augment.policy, or choose a strategy that trains the backbone, such as 'fine_tune'"
            )
        return self

    @model_validator(mode="after")
    def _roles(self) -> Recipe:
        if self.train.select_on == "test" and self.data.validation:
            raise ValueError(
                "train.select_on = 'test' leaves a validation part without a role; set data.validation = 0.0 or "
                "train.select_on = 'validation'"
            )
        return self

    def but(self, **changes: Mapping[str, Any]) -> Recipe:
        """A copy with some fields of its sections changed: `recipe.but(train={"lr": 0.1})`."""
        return self.model_copy(
            update={section: getattr(self, section).model_copy(update=fields) for section, fields in changes.items()}
        )

    def head(self) -> Head:
        """The head as the strategy fits it: `classifier` says how on frozen features, and is None where gradients do."""
        head = self.model.head
        fitting = head.fitting if self.transfer.frozen else None
        return head.model_copy(update={"classifier": fitting, "options": head.options if fitting else {}})

    def resolved(self) -> dict[str, Any]:
        """Every field, defaults included, as plain values that TOML can hold; what is unset is left out."""
        return self.model_dump(mode="json", exclude_none=True)

    def digest(self) -> str:
        """SHA-256 of the resolved recipe less the run directory: equal for recipes that ask for the same thing."""
        fields = {key: value for key, value in self.resolved().items() if key != "output"}
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
