"""What a network must remember to come back: with its spec and its weights it needs no hub."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, JsonValue, TypeAdapter, ValidationError, model_validator

from headstart.errors import HeadstartError
from headstart.recipe import Head, Section

CONFIG = "config.json"
Side = Annotated[int, Field(ge=8, le=4096)]  # pixels
Scale = tuple[float, float, float]  # of red, green and blue


class Origin(Section):
    """Pretrained weights: the backbone's name in the recipe, the place they were read from (another
    one with `model.weights`), and their SHA-256 without the classifier."""

    name: str
    source: str
    sha256: str


class AddedAdapters(Section):
    """LoRA matrices beside the layers of these names."""

    rank: int
    alpha: float
    dropout: float
    layers: tuple[str, ...]


class ImagePreprocessing(Section):
    """timm's settings, and of greys of more than 8 bits the values shown as black and as white."""

    input_size: tuple[Literal[3], Side, Side]
    interpolation: Literal["nearest", "bilinear", "bicubic", "lanczos", "box", "hamming"]
    mean: Scale
    std: Scale
    crop_pct: float = Field(gt=0)
    crop_mode: Literal["center", "squash", "border"]
    grey_range: tuple[float, float] | None = None


class TextPreprocessing(Section):
    """Tokens of a text, what remains of a longer one (None: what its tokenizer keeps), how token
    vectors are pooled, and the SHA-256 of the tokenizer's files."""

    max_length: int = Field(ge=3)
    pooling: str
    keep: Literal["start", "end", "both"] | None = None
    tokenizer: str | None = None


class WordPreprocessing(Section):
    """How word vectors are pooled, whether texts are put in lower case, and the SHA-256 of the
    words' weights."""

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
    """What all networks remember.

    kind: of the backbone. backbone: its architecture. width: features that reach the head. classes:
    logits. task, labels, precision (the number format of training) and column (of the table with
    the examples) are those of the run.
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


class ImageSpec(Spec):
    """A timm network. size: the side it was built for, None for its own."""

    kind: Literal["vision"] = "vision"
    size: int | None
    preprocessing: ImagePreprocessing


class TextSpec(Spec):
    """A transformers encoder, by its config, and the SHA-256 of its saved tokenizer's files."""

    kind: Literal["text"] = "text"
    config: dict[str, JsonValue]
    dense: tuple[DenseLayer, ...] = ()
    tokenizer_sha256: str | None = None
    preprocessing: TextPreprocessing


class WordVectorSpec(Spec):
    """A file of vectors of so many words."""

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
        HeadstartError: it is damaged, or of a newer version.
    """
    path = folder / CONFIG
    return parse_spec(path.read_bytes(), str(path))


def parse_spec(content: str | bytes, source: str) -> Spec:
    """A spec from JSON.

    Raises:
        HeadstartError: it is damaged, or of a newer version; the message names `source`.
    """
    try:
        values = json.loads(content)
        if not isinstance(values, dict):
            raise TypeError("no JSON object")
        return _ANY_SPEC.validate_json(json.dumps(_upgraded(values)))
    except ValidationError as error:
        problem = error.errors()[0]
        key = ".".join(map(str, problem["loc"][1:])) or "kind"
        if key == "version":
            raise HeadstartError(
                f"{source}: has a spec of version {problem['input']!r}; expected 1 or older. "
                "Update headstart"
            ) from None
        cause = f"{key}: found {str(problem['input'])[:100]!r}; {problem['msg']}"
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        cause = f"{type(error).__name__}: {error}"
    raise HeadstartError(f"{source}: damaged ({cause}); train the run again")


# what the first version left out where it had no value
OLD_DEFAULTS: dict[str, dict[str, object]] = {"vision": {"size": None}, "text": {"config": {}}}


def _upgraded(values: dict[str, Any]) -> Mapping[str, Any]:
    """The values of an older spec as those of this version.

    Version 0 had no number. Its exported files held only what a prediction needs.
    """
    if "version" in values:
        return values
    kind, origin = values["kind"], values.get("pretrained")
    if origin is not None:
        source = origin["from"]
        origin = {"source": source, "name": origin.get("name", source), "sha256": origin["sha256"]}
    return {
        "head": {},
        "width": 0,
        **OLD_DEFAULTS.get(kind, {}),
        **values,
        "labels": [str(label) for label in values["labels"]],
        "pretrained": origin,
    }
