"""The config of a saved network: with its spec and its weights it is rebuilt without a hub."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Annotated, Literal, Self, cast

from pydantic import Field, JsonValue, TypeAdapter, ValidationError, model_validator

from headstart.errors import RunError
from headstart.recipe import Head, Section

CONFIG = "config.json"
LOCAL = "local"  # stands for the path of local weights in an exported file
Side = Annotated[int, Field(ge=8, le=4096)]  # pixels
Scale = tuple[float, float, float]  # of red, green and blue


class Origin(Section):
    """Pretrained weights: the backbone's name in the recipe, where they were read from (with
    `model.weights` that file), and their SHA-256 without the classifier."""

    name: str
    source: str
    sha256: str


class AddedAdapters(Section):
    """LoRA matrices beside the layers with these names."""

    rank: int
    alpha: float
    dropout: float
    layers: tuple[str, ...]


class ImagePreprocessing(Section):
    """timm's settings, and the values of more than 8 bits that become black and white."""

    input_size: tuple[Literal[3], Side, Side]
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
    mean: Scale
    std: Scale
    crop_pct: float = Field(gt=0)
    crop_mode: Literal["center", "squash", "border"]
    grey_range: tuple[float, float] | None = None


class TextPreprocessing(Section):
    """The most tokens of a text, what is kept of a longer one (None: the tokenizer's default), the
    pooling of token vectors, and the SHA-256 of the tokenizer's files."""

    max_length: int = Field(ge=3)
    pooling: str
    keep: Literal["start", "end", "both"] | None = None
    tokenizer: str | None = None


class WordPreprocessing(Section):
    """The pooling, whether texts are lower-cased, and the SHA-256 of the words' weights."""

    pooling: str
    lower: bool
    weights: str


class DenseLayer(Section):
    """A layer between the pooled vector and the head; `activation` is a class of torch.nn."""

    in_features: int
    out_features: int
    bias: bool
    activation: str


class Spec(Section):
    """What all kinds of networks have in common.

    kind: of the backbone. backbone: its architecture. width: number of features. classes: number of
    logits. task, labels, precision (number format of training), column (of the table): the run's.
    """

    version: Literal[1] = 1
    kind: str
    backbone: str
    head: Head
    width: int
    classes: int
    pretrained: Origin | None
    adapters: AddedAdapters | None = None
    task: str = ""
    labels: tuple[str, ...] = ()
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    column: str | None = None
    preprocessing: ImagePreprocessing | TextPreprocessing | WordPreprocessing

    @model_validator(mode="after")
    def _one_label_a_class(self) -> Self:
        if self.labels and len(set(self.labels)) != self.classes:
            raise ValueError(f"{len(self.labels)} labels for {self.classes} classes")
        return self

    def features_key(self) -> list[JsonValue]:
        """What the features of a frozen backbone depend on."""
        parts = self.model_dump(mode="json", include={"backbone", "config", "dense"})
        return [
            *(parts.get(name) for name in ("backbone", "config", "dense")),
            self.pretrained.sha256 if self.pretrained else None,
            self.preprocessing.model_dump(mode="json", exclude_none=True),
        ]

    def without_local_paths(self) -> Self:
        """The spec for an exported file: paths of this machine become "local"."""
        if self.pretrained is None:
            return self
        name, source = self.pretrained.name, self.pretrained.source
        origin = Origin(
            name=LOCAL if _is_path(name) else name,
            # `model.weights`, unlike the name of the backbone, is always a path
            source=LOCAL if source != name or _is_path(source) else source,
            sha256=self.pretrained.sha256,
        )
        return self.model_copy(update={"pretrained": origin})


class ImageSpec(Spec):
    """A timm network. size: the side it was built for in pixels, None for its default."""

    kind: Literal["vision"] = "vision"
    size: int | None
    preprocessing: ImagePreprocessing


class TextSpec(Spec):
    """A transformers encoder: its config, and the SHA-256 of its saved tokenizer's files."""

    kind: Literal["text"] = "text"
    config: dict[str, JsonValue]
    dense: tuple[DenseLayer, ...] = ()
    tokenizer_sha256: str | None = None
    preprocessing: TextPreprocessing


class WordVectorSpec(Spec):
    """Word vectors. words: size of the vocabulary."""

    kind: Literal["word_vectors"] = "word_vectors"
    words: int
    preprocessing: WordPreprocessing


_ANY_SPEC: TypeAdapter[ImageSpec | TextSpec | WordVectorSpec] = TypeAdapter(
    Annotated[ImageSpec | TextSpec | WordVectorSpec, Field(discriminator="kind")]
)


def read_spec(folder: Path) -> Spec:
    """The spec that a network was saved with, of this version or an older one.

    Raises:
        OSError: it cannot be read.
        RunError: it is damaged, or of a newer version.
    """
    path = folder / CONFIG
    return parse_spec(path.read_bytes(), str(path))


def parse_spec(content: str | bytes, source: str) -> Spec:
    """A spec from JSON; RunError, which names `source`, if it is damaged or of a newer version."""
    try:
        values = json.loads(content)
        if not isinstance(values, dict):
            raise TypeError("no JSON object")
        return _ANY_SPEC.validate_json(json.dumps(_upgraded(values)))
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"][1:])) or "kind"
        if key == "version":
            version = f"a spec of version {problem['input']!r}"
            raise RunError(
                f"{source}: has {version}; expected 1 or older. Update headstart"
            ) from None
        cause = f"{key}: found {str(problem['input'])[:100]!r}; {problem['msg']}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        cause = f"{type(error).__name__}: {error}"
    raise RunError(f"{source}: damaged ({cause}); train the run again")


# required values that version 0 left out
VERSION_0_DEFAULTS: dict[str, dict[str, JsonValue]] = {
    "vision": {"size": None},
    "text": {"config": {}},
}


def _upgraded(values: dict[str, JsonValue]) -> dict[str, JsonValue]:
    """The values of version 0, which had no number and in exported files less, as those of 1."""
    if "version" in values:
        return values
    origin = values.get("pretrained")
    if isinstance(origin, dict):
        source = origin["from"]
        origin = {"source": source, "name": origin.get("name", source), "sha256": origin["sha256"]}
    return {
        "head": {},
        "width": 0,
        **VERSION_0_DEFAULTS.get(str(values["kind"]), {}),
        **values,
        "labels": [str(label) for label in cast(list[JsonValue], values["labels"])],
        "pretrained": origin,
    }


def _is_path(backbone: str) -> bool:
    """Whether a backbone is a path; a name on the hub has at most one slash."""
    return backbone[:1] in ".~/" or backbone.count("/") > 1 or os.path.exists(backbone)
