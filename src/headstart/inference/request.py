"""From the body of an HTTP request to examples, or to the sentence that says what is wrong with
it."""

from __future__ import annotations

import base64
import binascii
import json
import math
from collections.abc import Sequence

from starlette.exceptions import HTTPException
from starlette.requests import Request

from headstart.data.images import describe_error
from headstart.inference.limits import Limits, RefusedError
from headstart.modalities import Modality, UnsupportedFormatError, Upload

BLANK = " \t\r\n"
URL_SAFE = str.maketrans("-_", "+/")


async def read_examples(request: Request, modality: Modality, limits: Limits) -> list[object]:
    """The examples that a request brings: opened files, not yet decoded, or strings.

    Raises:
        RefusedError: the content type is unknown, the body is not well-formed or too large, or
            brings nothing.
    """
    noun, upload = modality.noun, modality.upload
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    contents: Sequence[str | bytes]
    if media == "application/json" or media.endswith("+json"):
        contents = _from_json(await request.body(), modality, limits)
    elif upload and media == "multipart/form-data":
        contents = await _files(request, noun, limits)
    elif upload and (
        media.startswith(upload.media_type.rstrip("*")) or media == "application/octet-stream"
    ):
        contents = [await request.body()]
    else:
        known = "application/json" + (
            f", multipart/form-data or {upload.media_type}" if upload else ""
        )
        raise RefusedError(415, f"found content type {media[:60] or 'none'!r}; expected {known}")
    if not contents:
        raise RefusedError(422, f"found no {noun}; expected at least one, called {noun!r}")
    _check_count(contents, noun, limits)
    for number, content in enumerate(contents, 1):
        if isinstance(content, str) and len(content) > limits.characters:
            raise RefusedError(
                422, f"{noun} {number}: {len(content)} characters; at most {limits.characters}"
            )
        if not (content.strip(BLANK) if isinstance(content, str) else content):
            raise RefusedError(422, f"{noun} {number}: is empty")
    return _opened(contents, noun, upload, limits) if upload else list(contents)


def unreadable(error: Exception, name: str, upload: Upload) -> RefusedError:
    """The answer to a file that cannot be decoded."""
    if isinstance(error, upload.too_large):
        return RefusedError(413, f"{name}: too many {upload.unit}")
    return RefusedError(422, f"{name}: cannot be read ({describe_error(error)})")


def _opened(
    contents: Sequence[str | bytes], noun: str, upload: Upload, limits: Limits
) -> list[object]:
    examples, total = [], 0
    for number, content in enumerate(contents, 1):
        name = f"{noun} {number}"
        assert isinstance(content, bytes)
        try:
            example = upload.open(content)
        except UnsupportedFormatError as error:
            raise RefusedError(422, f"{name}: {error}") from None
        except Exception as error:  # as many types as there are readers
            raise unreadable(error, name, upload) from None
        sides = upload.size(example)
        if math.prod(sides) > limits.pixels:
            size = " x ".join(map(str, sides))
            raise RefusedError(413, f"{name}: {size} {upload.unit}; at most {limits.pixels}")
        total += math.prod(sides)
        examples.append(example)
    if total > limits.pixels:
        raise RefusedError(
            413,
            f"the {noun}s have too many {upload.unit} together; at most {limits.pixels}",
        )
    return examples


def _check_count(contents: Sequence[object], noun: str, limits: Limits) -> None:
    if len(contents) > limits.examples:
        raise RefusedError(
            422, f"found {len(contents)} {noun}s; at most {limits.examples} in a request"
        )


async def _files(request: Request, noun: str, limits: Limits) -> list[bytes]:
    try:
        form = await request.form(
            max_files=limits.examples, max_fields=limits.examples, max_part_size=limits.bytes
        )
    except HTTPException as error:
        raise RefusedError(400, f"the form cannot be read ({str(error.detail)[:100]})") from None
    contents = []
    for name, value in form.multi_items():
        if name != noun or isinstance(value, str):
            raise RefusedError(422, f"found a field {name[:40]!r}; expected files called {noun!r}")
        contents.append(await value.read())
    await form.close()
    return contents


def _from_json(body: bytes, modality: Modality, limits: Limits) -> list[str] | list[bytes]:
    noun = modality.noun
    expected = f'expected {{"{noun}": …}} with a string or a list of strings' + (
        f", {noun}s in base64" if modality.upload else ""
    )
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(400, f"the body is no JSON; {expected}") from None
    if not isinstance(parsed, dict) or set(parsed) != {noun}:
        raise RefusedError(422, f"found {_json_type(parsed)}; {expected}")
    values = parsed[noun] if isinstance(parsed[noun], list) else [parsed[noun]]
    for value in values:
        if not isinstance(value, str):
            raise RefusedError(422, f"{noun}: found {_json_type(value)}; {expected}")
    _check_count(values, noun, limits)
    if modality.upload:
        return [_decoded(value, f"{noun} {number}") for number, value in enumerate(values, 1)]
    # JSON may hold halves of characters
    return [value.encode("utf-8", "replace").decode() for value in values]


def _decoded(value: str, name: str) -> bytes:
    """What base64 says, with or without line breaks, padding and a data URL's head, in the usual or
    the URL-safe alphabet."""
    head, comma, rest = value.partition(",")
    is_data_url = comma and head.lstrip()[:5].lower() == "data:"
    written = "".join((rest if is_data_url else value).split())
    if "+" not in written and "/" not in written:
        written = written.translate(URL_SAFE)
    try:
        return base64.b64decode(written + "=" * (-len(written) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError(422, f"{name}: no base64") from None


def _json_type(value: object) -> str:
    """What kind of JSON it is."""
    if isinstance(value, dict):
        return (
            f"an object with {', '.join(repr(key[:20]) for key in list(value)[:3])}"
            if value
            else "an empty object"
        )
    names = {list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
