"""What all tables of a recipe share."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo

from headstart.registry import unknown

Share = Annotated[float, Field(ge=0, lt=1)]
Name = Annotated[str, Field(min_length=1)]


def several(kind: Any) -> Any:
    """A TOML array of `kind` as a tuple; one bare value counts as an array of one."""
    one_is_enough = BeforeValidator(
        lambda value: value if isinstance(value, list | tuple) else (value,)
    )
    return Annotated[tuple[kind, ...], Field(strict=False), one_is_enough]


class Section(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def stated(self) -> str:
        """Keys that differ from their default, with their values, for people."""
        return " ".join(
            f"{key} {value}" for key, value in self.model_dump(exclude_defaults=True).items()
        )


def registered(kind: str, name: str, info: ValidationInfo) -> str:
    """The name itself, if it is among those of its kind that the validation was given; without
    any, every name.

    Raises:
        ValueError: it is not among them.
    """
    known = (info.context or {}).get(kind)
    if known is not None and name not in known:
        raise ValueError(unknown(kind, name, sorted(known)))
    return name
