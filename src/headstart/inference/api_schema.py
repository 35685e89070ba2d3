"""What a server says and what it takes, for the API's own description."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field

from headstart.evaluate.results import Scores
from headstart.inference.limits import Limits
from headstart.inference.request import BLANK
from headstart.modalities import Modality

Schema = dict[str, Any]


class LabelledExample(BaseModel):
    """One example: its label, and the probability of each class."""

    label: str = Field(description="the most probable class; empty where the example is refused")
    probability: float = Field(description="of the most probable class")
    refused: bool = Field(
        description="whether that is below what the server was started with (--refuse-below)"
    )
    probabilities: dict[str, float]


class Predictions(BaseModel):
    """One an example, in the order of the request."""

    predictions: list[LabelledExample]


class ErrorBody(BaseModel):
    """What is wrong with a request, in a sentence."""

    detail: str


class Health(BaseModel):
    status: str = "ok"


class Info(BaseModel):
    """What is served; figures and recipe are those of the first run."""

    task: str
    reads: str = Field(description="image or text")
    labels: list[str]
    models: list[str]
    weights: list[float]
    refuse_below: float | None = Field(
        description="the least probability, with the report's temperature, that gets a label"
    )
    test: Scores | None
    recipe: str | None = Field(description="TOML")


def request_body(modality: Modality, limits: Limits) -> Schema:
    """The description of the body of a request."""
    noun, upload = modality.noun, modality.upload
    characters = {"maxLength": limits.characters, "pattern": f"[^{BLANK}]"}
    kind: Schema = {"contentEncoding": "base64"} if upload else characters
    one: Schema = {"type": "string", "minLength": 1, **kind}
    several: Schema = {"type": "array", "minItems": 1, "maxItems": limits.examples}
    shared: Schema = {"type": "object", "required": [noun], "additionalProperties": False}
    either = {"oneOf": [one, {**several, "items": one}]}
    content = {"application/json": {"schema": {**shared, "properties": {noun: either}}}}
    if upload:
        file = {"type": "string", "format": "binary"}
        files = {noun: {**several, "items": file}}
        content["multipart/form-data"] = {"schema": {**shared, "properties": files}}
        content[upload.media_type] = {"schema": file}
    return {"required": True, "content": content}


# what may be wrong with a request, by the status of the answer
ERROR_RESPONSES: dict[int | str, Schema] = {
    status: {"model": ErrorBody, "description": sentence}
    for status, sentence in {
        400: "The body is damaged",
        408: "It did not arrive in time",
        413: "Too many bytes or pixels",
        415: "Another content type",
        422: "An example cannot be read, or there are too many, or too long ones",
        503: "Too many requests at once",
    }.items()
}
