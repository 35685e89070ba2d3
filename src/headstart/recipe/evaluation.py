"""[evaluate]: what is measured, and against what."""

from __future__ import annotations

from typing import Annotated

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from headstart.recipe.section import Section, registered, several


class Baseline(Section):
    """A strategy or a plain baseline to run on the same split; a bare name is short for `{ name = …
    }`."""

    name: str
    lr: Annotated[float, Field(gt=0, lt=100)] | None = Field(
        None, description="instead of train.lr"
    )
    epochs: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None, description="instead of train.epochs"
    )

    @field_validator("name")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        return registered("strategy or baseline", name, info)


class Evaluate(Section):
    """What is measured, and against what."""

    baselines: several(  # type: ignore[valid-type]
        Annotated[
            Baseline,
            BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value),
        ]
    ) = ()
    bootstrap: int = Field(
        1000,
        ge=100,
        le=100_000,
        description="resamples behind the intervals that have no closed form",
    )
