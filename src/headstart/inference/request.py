"""From the body of an HTTP request to examples, or to the sentence that says what is wrong with
it."""

from __future__ import annotations

import base64
import binascii
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from PIL import Image
from starlette.exceptions import HTTPException
from starlette.requests import Request

from headstart.data.image_formats import FIRST_BYTES, detect_format, heif_version, open_image
from headstart.data.images import describe_error

Image.init()
heif_version()  # registers its format
BLANK = " \t\r\n"
# none whose reader starts other programs, nor TIFF, whose tiles may be larger than the picture
KNOWN = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "MPO", "AVIF", "HEIF")
FORMATS = [name for name in KNOWN if name in Image.OPEN]
URL_SAFE = str.maketrans("-_", "+/")


@dataclass(frozen=True)
class Limits:
    """What one request may bring: bytes, examples, pixels of all its images, characters a text,
    seconds to arrive in; and how many bytes and examples of all requests may be inside."""

    bytes: int = 20_000_000
    examples: int = 64
    pixels: int = 50_000_000
    characters: int = 100_000
    seconds: float = 30.0
    all_bytes: int = 500_000_000
    all_examples: int = 512


class RefusedError(Exception):
    """A request that is answered with a status and one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        self.status, self.sentence = status, sentence
        super().__init__(sentence)


async def examples_in(request: Request, kind: str, limits: Limits) -> list[bytes] | list[str]:
    """The contents of image files, or texts, that a request brings.

    Args:
        kind: "image" or "text": what the model reads.

    Raises:
        RefusedError: it is of no kind that is known, not well-formed, too large, or brings nothing.
    """
    media = request.headers.get("content-type", "").split(";")[0].strip().lower()
    found: list[Any]
    if media == "application/json" or media.endswith("+json"):
        found = _of_json(await request.body(), kind, limits)
    elif kind == "image" and media == "multipart/form-data":
        found = await _files(request, limits)
    elif kind == "image" and (media.startswith("image/") or media == "application/octet-stream"):
        found = [await request.body()]
    else:
        known = "application/json" + (", multipart/form-data or image/*" if kind == "image" else "")
        raise RefusedError(415, f"found content type {media[:60] or 'none'!r}; expected {known}")
    if not found:
        raise RefusedError(422, f"found no {kind}; expected at least one, called {kind!r}")
    if len(found) > limits.examples:
        raise RefusedError(
            422, f"found {len(found)} {kind}s; at most {limits.examples} in a request"
        )
    for number, one in enumerate(found, 1):
        if isinstance(one, str) and len(one) > limits.characters:
            raise RefusedError(
                422, f"{kind} {number}: {len(one)} characters; at most {limits.characters}"
            )
        if not (one.strip(BLANK) if isinstance(one, str) else one):
            raise RefusedError(422, f"{kind} {number}: is empty")
    return found


def opened(content: bytes, number: int, limits: Limits) -> Image.Image:
    """The picture in a file's content, not yet decoded.

    Raises:
        RefusedError: there is none of a known format, or it has too many pixels.
    """
    try:
        image = open_image(io.BytesIO(content), FORMATS)
    except Exception as error:  # as many types as Pillow has readers
        known = detect_format(content[:FIRST_BYTES])
        if known and known not in FORMATS:
            sentence = f"image {number}: {known} is not taken here; send {', '.join(FORMATS)}"
            raise RefusedError(422, sentence) from None
        raise unreadable(error, number) from None
    if image.width * image.height > limits.pixels:
        raise RefusedError(
            413, f"image {number}: {image.width} x {image.height} pixels; at most {limits.pixels}"
        )
    return image


def unreadable(error: Exception, number: int) -> RefusedError:
    """The answer to an image that cannot be decoded."""
    if isinstance(error, Image.DecompressionBombError):
        return RefusedError(413, f"image {number}: too many pixels")
    return RefusedError(422, f"image {number}: cannot be read ({describe_error(error)})")


async def _files(request: Request, limits: Limits) -> list[bytes]:
    try:
        form = await request.form(
            max_files=limits.examples, max_fields=limits.examples, max_part_size=limits.bytes
        )
    except HTTPException as error:
        raise RefusedError(400, f"the form cannot be read ({str(error.detail)[:100]})") from None
    found = []
    for name, value in form.multi_items():
        if name != "image" or isinstance(value, str):
            raise RefusedError(422, f"found a field {name[:40]!r}; expected files called 'image'")
        found.append(await value.read())
    await form.close()
    return found


def _of_json(body: bytes, kind: str, limits: Limits) -> list[Any]:
    expected = f'expected {{"{kind}": …}} with a string or a list of strings' + (
        ", images in base64" if kind == "image" else ""
    )
    try:
        given = json.loads(body)
    except (ValueError, RecursionError):
        raise RefusedError(400, f"the body is no JSON; {expected}") from None
    if not isinstance(given, dict) or set(given) != {kind}:
        raise RefusedError(422, f"found {_shape(given)}; {expected}")
    values = given[kind] if isinstance(given[kind], list) else [given[kind]]
    if not all(isinstance(value, str) for value in values):
        raise RefusedError(
            422,
            f"{kind}: found {_shape(next(v for v in values if not isinstance(v, str)))}; "
            f"{expected}",
        )
    if len(values) > limits.examples:
        raise RefusedError(
            422, f"found {len(values)} {kind}s; at most {limits.examples} in a request"
        )
    return (
        [_decoded(value, number) for number, value in enumerate(values, 1)]
        if kind == "image"
        else _plain(values)
    )


def _plain(values: Sequence[str]) -> list[str]:
    """Texts without halves of characters, as JSON may hold them."""
    return [value.encode("utf-8", "replace").decode() for value in values]


def _decoded(value: str, number: int) -> bytes:
    """What base64 says, with or without line breaks, padding and a data URL's head, in the usual or
    the URL-safe alphabet."""
    head, comma, rest = value.partition(",")
    written = "".join((rest if comma and head.lstrip()[:5].lower() == "data:" else value).split())
    if "+" not in written and "/" not in written:
        written = written.translate(URL_SAFE)
    try:
        return base64.b64decode(written + "=" * (-len(written) % 4), validate=True)
    except (binascii.Error, ValueError):
        raise RefusedError(422, f"image {number}: no base64") from None


def _shape(value: Any) -> str:
    """What kind of JSON it is."""
    if isinstance(value, dict):
        return (
            f"an object with {', '.join(repr(key[:20]) for key in list(value)[:3])}"
            if value
            else "an empty object"
        )
    names = {list: "a list", str: "a string", bool: "a truth value", type(None): "null"}
    return names.get(type(value), "a number")
