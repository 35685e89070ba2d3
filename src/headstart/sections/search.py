"""[search]: which fields of the recipe to vary, and within which bounds."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import Field, field_validator, model_validator

from headstart.sections.section import Name, Section


class Range(Section):
    """Numbers from low to high; whole ones if both bounds are."""

    low: int | float
    high: int | float
    log: bool = Field(False, description="draw evenly by order of magnitude")

    @model_validator(mode="after")
    def _rises(self) -> Range:
        if not self.low < self.high:
            raise ValueError(f"low is {self.low} and high {self.high}; expected low < high")
        if self.log and self.low <= 0:
            raise ValueError(f"low is {self.low} with log = true; expected a number above 0")
        return self


def _is_table(value: Any) -> bool:
    return isinstance(value, dict)


class Search(Section):
    """What `headstart search` tries; `headstart run` does not look at it."""

    trials: Annotated[int, Field(ge=1, le=100_000)] = Field(20, description="of all processes of a search together")
    space: dict[str, Range | list[Any]] = Field(
        min_length=1, description="for each field by its dotted name a range { low, high, log } or an array of values"
    )
    storage: Name | None = Field(
        None, description="a database that several machines reach, as Optuna names it (default: a file beside the run)"
    )

    @field_validator("space", mode="before")
    @classmethod
    def _flat(cls, space: Any) -> Any:
        """TOML reads `train.lr = …` as a table in a table."""
        if not isinstance(space, dict):
            return space
        flat: dict[str, Any] = {}
        for key, value in space.items():
            if isinstance(value, dict) and not value.keys() & set(Range.model_fields):
                flat |= {f"{key}.{inner}": found for inner, found in cls._flat(value).items()}
            else:
                flat[key] = value
        return flat

    @model_validator(mode="after")
    def _has_choices(self) -> Search:
        empty = [key for key, values in self.space.items() if isinstance(values, list) and not values]
        if empty:
            raise ValueError(f"space: {empty[0]} has no values; expected some")
        tables = [key for key, values in self.space.items() if isinstance(values, list) and any(map(_is_table, values))]
        if tables:
            raise ValueError(
                f"space: {tables[0]} has tables as values; expected numbers, strings, true, false or arrays"
            )
        own = [key for key in self.space if key.split(".")[0] in ("search", "output", "task")]
        if own:
            raise ValueError(f"space: {own[0]} cannot be varied; expected fields such as train.lr")
        return self
