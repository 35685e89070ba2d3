"""[search]: which fields of the recipe to vary, and within which bounds."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field, ValidationError, field_validator, model_validator

from headstart.recipe.renamed import check_given_once, current_name
from headstart.recipe.section import Name, Section

# by which trials are compared
YARDSTICK = ("train.metric", "train.selection", "data.validation", "data.test")


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


Values = Range | list[object]


def _by_dotted_name(prefix: str, space: dict[str, object]) -> Iterator[tuple[str, Values]]:
    """TOML reads `train.lr = …` as a table in a table."""
    for key, value in space.items():
        if (
            isinstance(value, dict)
            and not value.keys() & set(Range.model_fields)
            and any(map(_is_nested, value.values()))
        ):
            yield from _by_dotted_name(f"{prefix}{key}.", value)
        else:
            yield f"{prefix}{key}", _values(f"{prefix}{key}", value)


def _is_nested(value: object) -> bool:
    return isinstance(value, dict | list | Range)


def _values(key: str, value: object) -> Values:
    if isinstance(value, Range | list):
        return value
    try:
        return Range.model_validate(value)
    except ValidationError as error:
        first = error.errors()[0]
        more = first["msg"].removeprefix("Value error, ")
        more = f" ({more})" if first["type"] == "value_error" else ""
        raise ValueError(
            f"{key}: found {value!r}; expected a range such as {{ low = 1e-5, high = 1e-3, log = "
            f"true }}, or an array of values{more}"
        ) from None


class Search(Section):
    """What `headstart search` tries; `headstart run` does not look at it."""

    trials: Annotated[int, Field(ge=1, le=100_000)] = Field(
        20, description="of all processes of a search together"
    )
    space: dict[str, Values] = Field(
        min_length=1,
        description="for each field by its dotted name a range { low, high, log } "
        "or an array of values",
    )
    storage: Name | None = Field(
        None,
        description="a database that several machines reach, as Optuna names it (default: "
        "a file beside the run)",
    )

    @field_validator("space", mode="before")
    @classmethod
    def _flat(cls, space: object) -> object:
        if not space:
            raise ValueError(
                "expected at least one field to vary, such as train.lr = { low = 1e-5, high = "
                "1e-3, log = true }"
            )
        if not isinstance(space, dict):
            return space
        values = dict(_by_dotted_name("", space))
        check_given_once(values)
        return {current_name(key): value for key, value in values.items()}

    @model_validator(mode="after")
    def _has_choices(self) -> Search:
        empty = [
            key for key, values in self.space.items() if isinstance(values, list) and not values
        ]
        if empty:
            raise ValueError(f"space: {empty[0]} has no values; expected some")
        tables = [
            key
            for key, values in self.space.items()
            if isinstance(values, list) and any(isinstance(value, dict) for value in values)
        ]
        if tables:
            raise ValueError(
                f"space: {tables[0]} has tables as values; expected numbers, strings, true, "
                "false or arrays"
            )
        fixed = [
            key
            for key in self.space
            if key.split(".")[0] in ("search", "output", "task") or key in YARDSTICK
        ]
        if fixed:
            raise ValueError(
                f"space: {fixed[0]} cannot be varied, or trials could not be compared; expected "
                "fields such as train.lr"
            )
        return self
