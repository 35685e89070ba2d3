"""The recipe: a validated, frozen picture of one TOML file. Imports no torch.

`file.read` makes one from a file; unknown keys are refused.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationInfo, field_validator, model_validator

from headstart.recipe.data import Data
from headstart.recipe.evaluation import Baseline, Evaluate
from headstart.recipe.model import Model
from headstart.recipe.renamed import with_current_names, with_first_names
from headstart.recipe.search import Search
from headstart.recipe.section import Section, registered
from headstart.recipe.strategy import FROZEN, check_strategies
from headstart.recipe.training import NO_EFFECT_ON_RESULT, Augment, Train
from headstart.recipe.transfer import Transfer

FROZEN_TASKS = ("embedding_classification",)  # which feature_extraction is the strategy of
ALWAYS_SHOWN = (
    "strategy", "epochs", "batch_size", "lr", "optimizer", "precision", "accumulation", "policy",
    *NO_EFFECT_ON_RESULT,
)  # fmt: skip


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
    search: Search | None = None

    @field_validator("task")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        return registered("task", name, info)

    @model_validator(mode="before")
    @classmethod
    def _present_names(cls, given: object) -> object:
        return with_current_names(given) if isinstance(given, dict) else given

    @model_validator(mode="before")
    @classmethod
    def _embedders_stay_frozen(cls, given: object) -> object:
        if not isinstance(given, dict) or given.get("task") not in FROZEN_TASKS:
            return given
        transfer = given.get("transfer", {})
        if not isinstance(transfer, dict) or "strategy" in transfer:
            return given
        return {**given, "transfer": {**transfer, "strategy": FROZEN}}

    @field_validator("output")
    @classmethod
    def _a_folder_name(cls, output: str) -> str:
        if not Path(output).name or Path(output).name == ".." or "\0" in output:
            raise ValueError(
                f"found {output!r}; expected the name of a folder to make, such as runs/first"
            )
        return os.path.expanduser(output)

    @property
    def strategies(self) -> tuple[str, ...]:
        """All that are to train: the recipe's own strategy, and what stands beside it (baselines
        among them)."""
        return (self.transfer.strategy, *(other.name for other in self.evaluate.baselines))

    @model_validator(mode="after")
    def _fits_its_strategies(self, info: ValidationInfo) -> Recipe:
        if (registry := (info.context or {}).get("strategy")) is not None:
            check_strategies(
                self.strategies,
                self.transfer,
                self.model.head,
                self.train,
                self.augment,
                registry,
            )
        return self

    @model_validator(mode="after")
    def _roles(self) -> Recipe:
        if self.train.selection == "test" and self.data.validation:
            raise ValueError(
                "train.selection = 'test' leaves a validation part without a role; set "
                "data.validation = 0.0 or train.selection = 'validation'"
            )
        if (
            self.train.early_stopping
            and self.data.validation == 0
            and self.train.selection == "validation"
        ):
            raise ValueError(
                f"train.early_stopping: found {self.train.early_stopping} and data.validation = "
                "0, so nothing says when to stop; give a validation part (data.validation = "
                "0.15), or remove train.early_stopping"
            )
        return self

    def with_changes(self, **changes: Mapping[str, object]) -> Recipe:
        """A copy with some fields of its sections changed: `recipe.with_changes(train={"lr":
        0.1})`."""
        return self.model_copy(
            update={
                section: getattr(self, section).model_copy(update=fields)
                for section, fields in changes.items()
            }
        )

    def with_strategy(self, strategy: str) -> Recipe:
        """A copy with another strategy, and without a classifier that only frozen features have."""
        head = self.model.head
        if head.is_estimator and strategy != FROZEN:
            head = head.model_copy(update={"classifier": None, "options": {}})
        return self.with_changes(transfer={"strategy": strategy}, model={"head": head})

    @property
    def rivals(self) -> tuple[Baseline, ...]:
        """The baselines, less the strategy that the recipe itself names."""
        strategy, baselines = self.transfer.strategy, self.evaluate.baselines
        return tuple(
            other for other in baselines if other.name != strategy or other.lr or other.epochs
        )

    def resolved(self) -> dict[str, Any]:
        """Every field, defaults included, as plain values that TOML can hold; what is unset is left
        out."""
        return self.model_dump(mode="json", exclude_none=True)

    def non_defaults(self) -> dict[str, object]:
        """Training settings that differ from their default, by key, less those that every run
        states anyway."""
        changed: dict[str, object] = {}
        for section in (self.transfer, self.train, self.augment):
            for key, field in type(section).model_fields.items():
                value = getattr(section, key)
                if key not in ALWAYS_SHOWN and value != field.get_default(
                    call_default_factory=True
                ):
                    changed[key] = value.stated() if isinstance(value, Section) else value
        return changed

    def digest(self) -> str:
        """SHA-256 of the resolved recipe less the run directory: equal for recipes that ask for the
        same thing, also under names that a key had in an earlier version."""
        fields = with_first_names(self.resolved())
        del fields["output"]
        return hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
