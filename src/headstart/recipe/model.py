"""[model]: the backbone, what it is shown, and the head on top."""

from __future__ import annotations

import math
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator, model_validator

from headstart.errors import RecipeError
from headstart.recipe.section import Name, Section, registered, several


class Head(Section):
    """The new classifier on top of the backbone."""

    classifier: str | None = Field(
        None,
        description="how feature_extraction fits the head: logistic_regression (default for a "
        "linear head), gradient (default with hidden layers or dropout), or a "
        "scikit-learn classifier such as RandomForestClassifier",
    )
    options: dict[str, object] = Field({}, description="parameters of the scikit-learn classifier")

    hidden: several(Annotated[int, Field(ge=1, le=65_536)]) = Field(  # type: ignore[valid-type]
        (), description="widths of hidden layers; empty for a linear head"
    )
    dropout: several(Annotated[float, Field(ge=0, lt=1)]) = Field(  # type: ignore[valid-type]
        (0.0,), description="dropout before each linear layer; one value serves all"
    )

    @field_validator("options")
    @classmethod
    def _plain(cls, options: dict[str, object]) -> dict[str, object]:
        for key, value in options.items():
            numbers = [
                number
                for number in (value if isinstance(value, list) else [value])
                if isinstance(number, float)
            ]
            if not isinstance(value, bool | int | float | str | list) or not all(
                map(math.isfinite, numbers)
            ):
                raise ValueError(
                    f"{key}: found {value!r}; expected a finite number, a string, true, false or "
                    "a list"
                )
        return options

    @field_validator("classifier")
    @classmethod
    def _known(cls, name: str | None, info: ValidationInfo) -> str | None:
        return name if name is None else registered("classifier", name, info)

    @property
    def fitting(self) -> str:
        """How a head on frozen features is fitted: the classifier, or its default for these
        layers."""
        layers = bool(self.hidden) or any(self.dropout)
        return self.classifier or ("gradient" if layers else "logistic_regression")

    @property
    def is_estimator(self) -> bool:
        """Whether the head is a scikit-learn classifier and no layer of the network."""
        return self.classifier not in (None, "logistic_regression", "gradient")

    @model_validator(mode="after")
    def _layers_or_estimator(self) -> Head:
        if self.classifier not in (None, "gradient") and (self.hidden or any(self.dropout)):
            raise ValueError(
                f"classifier {self.classifier!r} has no hidden layers and no dropout; remove "
                "them, or set classifier = 'gradient'"
            )
        if self.options and not self.is_estimator:
            raise ValueError(
                "options are those of a scikit-learn classifier; name it with classifier, or "
                "remove them"
            )
        return self

    @model_validator(mode="after")
    def _one_rate_a_layer(self) -> Head:
        if len(self.dropout) not in (1, len(self.hidden) + 1):
            raise ValueError(
                f"dropout has {len(self.dropout)} values; expected one, or one for each of the "
                f"{len(self.hidden) + 1} linear layers"
            )
        return self


class Preprocessing(Section):
    """What to ask for instead of the backbone's own preprocessing."""

    size: Annotated[int, Field(ge=8, le=4096)] | None = Field(
        None, description="side of the square input in pixels"
    )
    mean: tuple[float, ...] | None = Field(None, strict=False, min_length=3, max_length=3)
    std: tuple[Annotated[float, Field(gt=0)], ...] | None = Field(
        None, strict=False, min_length=3, max_length=3
    )
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos"] | None = None
    crop: Annotated[float, Field(gt=0, le=1)] | None = Field(
        None, description="share of the side the centre crop keeps"
    )
    grey_range: tuple[float, float] | None = Field(
        None,
        strict=False,
        description="of greys of more than 8 bits, the values that are shown as black and as "
        "white, such as [0, 4095] (default: those of the training images, less a "
        "thousandth of each one's pixels at either end)",
    )
    max_length: Annotated[int, Field(ge=3, le=131_072)] | None = Field(
        None, description="tokens after which a text is cut (default 128)"
    )
    keep: Literal["start", "end", "both"] | None = Field(
        None,
        description="what remains of a text of more than max_length tokens: its start, its end, "
        "or half of them from each (default: what its tokenizer keeps, mostly the "
        "start)",
    )
    pooling: (
        Literal["mean", "cls", "pooler", "last", "max", "weightedmean", "mean_sqrt_len", "tfidf"]
        | None
    ) = Field(
        None,
        description="how the vectors of tokens or words become one: their mean, that of the "
        "first token (cls), the first through the pretrained pooler, the last "
        "token's, the greatest number of each place (max), a mean weighted by "
        "position, their sum by the root of their number, or for word vectors a mean "
        "weighted by TF-IDF (default: what the backbone was made for, else mean)",
    )
    pad_token: Name | None = Field(
        None, description="which token fills up, for tokenizers that have none, such as GPT-2's"
    )

    @field_validator("grey_range")
    @classmethod
    def _rising(cls, values: tuple[float, float] | None) -> tuple[float, float] | None:
        if values is not None and values[0] >= values[1]:
            raise ValueError(
                f"found {list(values)}; expected [low, high] with low < high, such as [0, 4095]"
            )
        return values

    def only(self, *keys: str) -> None:
        """Refuse what the backbone at hand has no use for.

        Raises:
            RecipeError: another key than these is given.
        """
        unread = [
            key
            for key in type(self).model_fields
            if getattr(self, key) is not None and key not in keys
        ]
        if unread:
            raise RecipeError(
                f"model.preprocessing.{unread[0]}: this backbone has no use for it; remove it "
                f"(it reads {', '.join(keys)})"
            )


class Model(Section):
    """The pretrained network."""

    backbone: Name = Field(
        description="a timm name, a transformers name on the hub, a local folder (config.json + "
        "weights), packaged:NAME, or word vectors (a .bin, .txt or .kv file, or a "
        "name of gensim's downloader)"
    )
    weights: Name | None = Field(
        None, description="a local .safetensors or .pth file for a timm name"
    )
    head: Head = Head()
    preprocessing: Preprocessing = Preprocessing()
