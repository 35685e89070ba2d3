"""[data]: where the examples come from."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from headstart.sections.section import Name, Section, Share


class Columns(Section):
    """Which column of a table holds what; what is left out is guessed where there are no two candidates."""

    text: Name | None = Field(None, description="the text to classify")
    image: Name | None = Field(None, description="paths of images, counted from the table's folder")
    label: Name | None = Field(None, description="the class: a name or a whole number")


class Data(Section):
    """Where the examples come from and which part plays which role."""

    source: Name | None = Field(
        None,
        description="a folder (class/file, or train|val|test/class/file), a .zip or .tar of such a folder or its URL, a table "
        "(.csv, .tsv, .jsonl, .parquet) or a folder of tables (train.csv, dev.csv, test.csv), hub:org/name, or "
        "sample:patches, sample:digits, sample:docstrings",
    )
    sha1: str | None = Field(None, description="checksum of the file at a URL; other sources do not look at it")
    sha256: str | None = Field(None, description="checksum of the file at a URL; other sources do not look at it")
    train: Name | None = Field(None, description="folder or table of the training part, instead of `source`")
    validation: Share | Name | None = Field(
        None,
        description="a folder, a table, or the share carved from the training part (default: the given validation part, else "
        "0.15); 0 for none, which keeps the last epoch",
    )
    test: Annotated[float, Field(gt=0, lt=1)] | Name | None = Field(
        None,
        description="a folder, a table, or the share set aside for the test (default: the given test part, else 0.2)",
    )
    columns: Columns = Columns()
    limit: Annotated[int, Field(ge=2)] | None = Field(
        None, description="at most so many training examples, chosen at random by class before validation is carved"
    )
    unreadable: Literal["drop", "error"] = Field(
        "drop", description="what to do with files that cannot be read, empty texts and missing labels"
    )

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
            raise ValueError(
                "no data: expected data.source (a folder, a table or sample:NAME) or data.train (a folder or table)"
            )
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
