"""A finished run behind HTTP: POST /predict, a page to try it, /info, /healthz, and the API's own
description at /docs."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi_offline import FastAPIOffline
from PIL import Image
from pydantic import BaseModel, Field
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from headstart.errors import HeadstartError
from headstart.evaluate.results import Scores
from headstart.inference.batcher import Batcher, OverloadedError
from headstart.inference.predict import Encoded, Prediction, Predictor
from headstart.inference.request import BLANK, Limits, RefusedError, examples_in, opened, unreadable
from headstart.report.folder import RECIPE
from headstart.report.html import render
from headstart.report.report import FILE, Report
from headstart.runtime.threads import readers

SAFE = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src 'self' blob: data:; connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
}
AGAIN = {"Retry-After": "1"}  # seconds
LONGEST_GOODBYE = 30  # seconds that requests get to end in


class Answer(BaseModel):
    """One example: its label, and the probability of each class."""

    label: str = Field(description="the most probable class; empty where the example is refused")
    probability: float = Field(description="of the most probable class")
    refused: bool = Field(
        description="whether that is below what the server was started with (--refuse-below)"
    )
    probabilities: dict[str, float]


class Answers(BaseModel):
    """One an example, in the order of the request."""

    predictions: list[Answer]


class Trouble(BaseModel):
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


def serve(load: Callable[[], Predictor], host: str, port: int, say: Callable[[str], None]) -> None:
    """Answer requests until the process is told to stop; what has come in by then is answered
    still.

    Raises:
        HeadstartError: the address cannot be had, or the model cannot be loaded.
    """
    import uvicorn

    listening = _listening(host, port)
    batcher = Batcher(load, Limits.all_examples)
    where = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    say(f"serving {', '.join(member.source for member in batcher.predictor.members)} at {where}")
    say(
        f"page: {where}/   requests: POST {where}/predict   description: {where}/docs   Ctrl-C "
        "stops"
    )
    config = uvicorn.Config(
        application(batcher, Limits()),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=LONGEST_GOODBYE,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[listening])


def application(batcher: Batcher, limits: Limits) -> Any:
    """The ASGI application; it closes the batcher in the end."""
    predictor = batcher.predictor
    kind = "image" if predictor.reads_images else "text"
    pool = readers()

    @asynccontextmanager
    async def until_the_end(_: Any) -> AsyncIterator[None]:
        yield
        batcher.close()
        pool.shutdown()

    app = FastAPIOffline(
        title="headstart",
        description=f"Tells {len(predictor.labels)} classes of {kind}s apart.",
        version="1",
        lifespan=until_the_end,
    )
    app.add_middleware(Bounded, limits=limits)

    @app.exception_handler(RefusedError)
    async def refuse(_: Request, error: RefusedError) -> JSONResponse:
        return JSONResponse(
            {"detail": error.sentence}, error.status, AGAIN if error.status == 503 else None
        )

    @app.exception_handler(ClientDisconnect)
    async def gone(_: Request, error: ClientDisconnect) -> JSONResponse:
        return JSONResponse({"detail": "the connection was closed"}, 400)  # which nobody reads

    @app.post("/predict", openapi_extra={"requestBody": _body(kind, limits)}, responses=_troubles())
    async def predict(request: Request) -> Answers:
        """Label and probabilities of one or several examples."""
        given = await examples_in(request, kind, limits)
        try:
            batcher.admit(len(given))
        except OverloadedError:
            raise RefusedError(503, "too many requests wait; try again in a second") from None
        try:
            encoded = await _encoded(predictor, given, pool, limits)
            rows = await asyncio.gather(
                *(asyncio.wrap_future(batcher.submit(one)) for one in encoded)
            )
        finally:
            batcher.leave(len(given))
        return Answers(predictions=[_answer(predictor.prediction("", row)) for row in rows])

    @app.get("/healthz")
    async def healthz() -> Health:
        """Whether it answers."""
        return Health()

    facts = _info(predictor, kind)

    @app.get("/info")
    async def info() -> Info:
        """What is served, what it was measured at, and how it was trained."""
        return facts

    page = render("serve.html", kind=kind, info=facts, name=Path(facts.models[0]).name)

    @app.get("/", include_in_schema=False)
    async def try_it() -> HTMLResponse:
        return HTMLResponse(page, headers=SAFE)

    return app


async def _encoded(
    predictor: Predictor, given: list[bytes] | list[str], pool: ThreadPoolExecutor, limits: Limits
) -> list[Encoded]:
    def decode(image: Image.Image, number: int) -> Encoded:
        try:
            return predictor.encode(image)
        except Exception as error:  # as many types as Pillow has decoders
            raise unreadable(error, number) from None

    loop = asyncio.get_running_loop()
    images = [
        opened(content, number, limits)
        for number, content in enumerate(given, 1)
        if isinstance(content, bytes)
    ]
    if sum(image.width * image.height for image in images) > limits.pixels:
        raise RefusedError(
            413, f"the images have too many pixels together; at most {limits.pixels}"
        )
    decoded = [
        loop.run_in_executor(pool, decode, image, number) for number, image in enumerate(images, 1)
    ]
    return list(await asyncio.gather(*decoded)) or [predictor.encode(text) for text in given]


class Bounded:
    """Lets no request bring more than it may, take longer to arrive, or all of them hold more than
    the memory is for."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits, self._held = app, limits, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        came, limits = 0, self._limits
        too_large = RefusedError(413, f"the body is too large; at most {limits.bytes} bytes")
        until = asyncio.get_running_loop().time() + limits.seconds
        whole = False
        stated = dict(scope["headers"]).get(b"content-length", b"")

        async def bounded() -> Message:
            nonlocal came, whole
            if stated.isdigit() and int(stated) > limits.bytes:
                raise too_large
            if whole:  # all that can follow is the end of the connection
                return await receive()
            try:
                async with asyncio.timeout_at(until):
                    message = await receive()
            except TimeoutError:
                raise RefusedError(
                    408, f"the body did not arrive within {limits.seconds:g} seconds"
                ) from None
            size = len(message.get("body", b""))
            came, self._held, whole = (
                came + size,
                self._held + size,
                not message.get("more_body", False),
            )
            if came > limits.bytes:
                raise too_large
            if self._held > limits.all_bytes:
                raise RefusedError(503, "too many requests at once; try again in a second")
            return message

        try:
            await self._app(scope, bounded, send)
        finally:
            self._held -= came


def _answer(said: Prediction) -> Answer:
    return Answer(
        label=said.label,
        probability=said.probability,
        refused=said.refused,
        probabilities=said.probabilities,
    )


def _info(predictor: Predictor, kind: str) -> Info:
    sources = [member.source for member in predictor.members]
    first = Path(sources[0])
    return Info(
        task=predictor.spec.task,
        reads=kind,
        labels=list(predictor.labels),
        models=[Path(source).name for source in sources],
        weights=predictor.weights.tolist(),
        refuse_below=predictor.refusal.least if predictor.refusal else None,
        test=Report.read(first).test if (first / FILE).is_file() else None,
        recipe=(first / RECIPE).read_text(encoding="utf-8") if (first / RECIPE).is_file() else None,
    )


def _body(kind: str, limits: Limits) -> dict[str, Any]:
    """What the API's description says of the body of a request."""
    text = {"maxLength": limits.characters, "pattern": f"[^{BLANK}]"}
    one: dict[str, Any] = {
        "type": "string",
        "minLength": 1,
        **(text if kind == "text" else {"contentEncoding": "base64"}),
    }
    several: dict[str, Any] = {
        "type": "array",
        "items": one,
        "minItems": 1,
        "maxItems": limits.examples,
    }
    shared: dict[str, Any] = {"type": "object", "required": [kind], "additionalProperties": False}
    content = {
        "application/json": {"schema": {**shared, "properties": {kind: {"oneOf": [one, several]}}}}
    }
    if kind == "image":
        file = {"type": "string", "format": "binary"}
        files = {**several, "items": file}
        content["multipart/form-data"] = {"schema": {**shared, "properties": {kind: files}}}
        content["image/*"] = {"schema": file}
    return {"required": True, "content": content}


def _troubles() -> dict[int | str, dict[str, Any]]:
    said = {
        400: "The body is damaged",
        408: "It did not arrive in time",
        413: "Too many bytes or pixels",
        415: "Another content type",
        422: "An example cannot be read, or there are too many, or too long ones",
        503: "Too many requests at once",
    }
    return {
        status: {"model": Trouble, "description": sentence} for status, sentence in said.items()
    }


def _listening(host: str, port: int) -> socket.socket:
    """A socket that listens there.

    Raises:
        HeadstartError: it cannot be had.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        # or small answers wait for acknowledgements
        listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        listening.bind((host, port))
        listening.listen(1024)
    except (OSError, UnicodeError, OverflowError) as error:
        said = error.strerror if isinstance(error, OSError) else str(error)
        raise HeadstartError(
            f"--host, --port: {host}:{port} cannot be had ({said}); give others"
        ) from None
    return listening
