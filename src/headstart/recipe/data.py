"""[data]: where the examples come from."""

from __future__ import annotations

import re
from datetime import date
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from headstart.recipe.section import Name, Section, Share


class Columns(Section):
    """Which column of a table holds what; what is left out is guessed where there are no two
    candidates."""

    text: Name | None = Field(None, description="the text to classify")
    image: Name | None = Field(None, description="paths of images, counted from data.images")
    label: Name | None = Field(None, description="the class: a name or a whole number")
    group: Name | None = Field(
        None,
        description="what must not be torn apart by a split: the patient, author or film "
        "an example is from",
    )
    time: Name | None = Field(
        None, description="when an example is from: dates (ISO 8601) or numbers"
    )
    split: Name | None = Field(
        None,
        description="which part an example is of: train, val or test (or training, valid, dev, "
        "testing); rows that say something else are left out",
    )


class Split(Section):
    """How parts that the data does not bring are set aside."""

    by: Literal["class", "group", "time"] | None = Field(
        None,
        description="class: at random, each class by its share; group: whole groups of "
        "columns.group or data.groups; time: the latest by columns.time (default: "
        "group or time where one is named, else class)",
    )
    folds: Annotated[int, Field(ge=2, le=1_000)] | None = Field(
        None, description="cross-validation: the test is one of so many parts, in turn"
    )
    fold: Annotated[int, Field(ge=0)] = Field(
        0, description="which part is the test, from 0 to folds - 1"
    )
    test_from: str | None = Field(
        None, description="by time: the test begins here, such as 2024-05-31"
    )
    file: Name | None = Field(
        None,
        description="split.parquet of an earlier run: the same examples in the same parts, "
        "whatever else would say which those are",
    )

    new: Literal["refuse", "train"] = Field(
        "refuse",
        description="examples that split.file does not name, or that are gone: 'refuse' stops "
        "the run; 'train' keeps the parts of those that are still there and trains "
        "on new ones, but for those that the data brings in a held-out part",
    )

    @field_validator("test_from", mode="before")
    @classmethod
    def _as_text(cls, given: object) -> object:
        """TOML has dates and numbers of its own."""
        return (
            given.isoformat()
            if isinstance(given, date)
            else str(given)
            if isinstance(given, int | float)
            else given
        )

    @model_validator(mode="after")
    def _fits(self) -> Split:
        if self.folds is not None and self.fold >= self.folds:
            raise ValueError(
                f"fold is {self.fold} of {self.folds} folds; expected 0 to {self.folds - 1}"
            )
        if self.folds is None and self.fold:
            raise ValueError(
                f"fold is {self.fold}, but there are no folds; add folds = 5, or remove fold"
            )
        if self.new == "train" and self.file is None:
            raise ValueError(
                'new = "train" is for examples that split.file does not name; add file, or '
                "remove new"
            )
        if self.test_from is not None and self.folds is not None:
            raise ValueError("test_from and folds both say what the test is; keep one of them")
        return self


class Data(Section):
    """Where the examples come from and which part plays which role."""

    source: Name | None = Field(
        None,
        description="a folder (class/file, or train|val|test/class/file), a .zip or .tar of such "
        "a folder or its URL, a table (.csv, .tsv, .jsonl, .parquet) or a folder of "
        "tables (train.csv, dev.csv, test.csv), hub:org/name, or sample:patches, "
        "sample:digits, sample:docstrings",
    )
    sha1: str | None = Field(
        None, description="checksum of the file at a URL; other sources do not look at it"
    )
    sha256: str | None = Field(
        None, description="checksum of the file at a URL; other sources do not look at it"
    )
    train: Name | None = Field(
        None, description="folder or table of the training part, instead of `source`"
    )
    validation: Share | Name | None = Field(
        None,
        description="a folder, a table, or the share carved from the training part (default: the "
        "given validation part, else 0.15); 0 for none, which keeps the last epoch",
    )
    test: Annotated[float, Field(gt=0, lt=1)] | Name | None = Field(
        None,
        description="a folder, a table, or the share set aside for the test (default: the given "
        "test part, else 0.2)",
    )
    columns: Columns = Columns()
    images: Name | None = Field(
        None,
        description="the folder that paths of images in a table are counted from (default: "
        "the table's own)",
    )
    header: bool = Field(
        True,
        description="false: the first line of a .csv or .tsv is an example too, and the columns "
        'are called "1", "2" and so on',
    )
    groups: str | None = Field(
        None,
        description="for files: a regular expression whose first group finds the name of an "
        "example's group in its path, such as '(patient_[0-9]+)'",
    )
    split: Split = Split()
    leaks: Literal["error", "drop", "report"] = Field(
        "report",
        description="what to do when a held-out part has examples that training has as well: "
        "stop, drop them from the training part, or give the score without them "
        "beside",
    )
    limit: Annotated[int, Field(ge=2)] | None = Field(
        None,
        description="at most so many training examples, chosen at random by class before "
        "validation is carved; smaller subsets lie in larger ones",
    )
    unreadable: Literal["drop", "error"] = Field(
        "drop",
        description="what to do with files that cannot be read, empty texts and missing labels",
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
                "no data: expected data.source (a folder, a table or sample:NAME) or data.train "
                "(a folder or table)"
            )
        if self.source is not None and self.train is not None:
            raise ValueError("data.source and data.train are both given; keep one of them")
        return self

    @field_validator("groups")
    @classmethod
    def _a_pattern(cls, given: str | None) -> str | None:
        try:
            pattern = re.compile(given or "()")
        except re.error as error:
            raise ValueError(f"found {given!r}, which is no regular expression ({error})") from None
        if not pattern.groups:
            raise ValueError(
                f"found {given!r}; expected a group in parentheses around what names the group, "
                "such as '(patient_[0-9]+)'"
            )
        return given

    @model_validator(mode="after")
    def _can_be_split(self) -> Data:
        by, columns, split = self.by, self.columns, self.split
        if self.groups is not None and columns.group is not None:
            raise ValueError(
                "data.groups and data.columns.group both name the groups; keep one of them"
            )
        if columns.time is not None and (columns.group is not None or self.groups is not None):
            raise ValueError(
                "groups and data.columns.time: a split goes by one of them; remove the other"
            )
        if by == "group" and self.groups is None and columns.group is None:
            raise ValueError(
                'data.split.by = "group" needs data.columns.group (a table) or data.groups (files)'
            )
        if by == "time" and columns.time is None:
            raise ValueError('data.split.by = "time" needs data.columns.time')
        if split.test_from is not None and by != "time":
            raise ValueError(
                f'data.split.test_from needs data.columns.time; the split goes by "{by}"'
            )
        if self.test is not None and (split.folds or split.test_from) and split.file is None:
            raise ValueError("data.test and data.split both say what the test is; keep one of them")
        return self

    @model_validator(mode="after")
    def _checked_download(self) -> Data:
        if self.is_url and not (self.sha1 or self.sha256):
            raise ValueError(
                f"data.source is a URL ({self.source}), so its checksum is needed: add sha256 "
                "(or sha1) as its publisher states it, or as `sha256sum FILE` prints it for a "
                "copy that you trust"
            )
        return self

    @property
    def by(self) -> str:
        """What the parts that are set aside go by."""
        named = (
            "group"
            if self.groups or self.columns.group
            else "time"
            if self.columns.time
            else "class"
        )
        return self.split.by or named

    @property
    def is_url(self) -> bool:
        """Whether the source is to be downloaded."""
        return self.source is not None and self.source.lower().startswith(("http://", "https://"))
