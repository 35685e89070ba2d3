"""A model behind HTTP: POST /predict, a page to try it, /info, /healthz and /docs."""

from __future__ import annotations

import asyncio
import socket
import sys
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, JSONResponse
from fastapi_offline import FastAPIOffline
from starlette.requests import ClientDisconnect

from headstart.errors import RunError
from headstart.inference.api_schema import ERROR_RESPONSES, Health, Info, Predictions, request_body
from headstart.inference.batcher import Batcher, OverloadedError
from headstart.inference.limits import Bounded, Limits, RefusedError
from headstart.inference.pipeline import Preprocessed
from headstart.inference.predict import Predictor
from headstart.inference.request import read_examples, unreadable
from headstart.report.folder import RECIPE
from headstart.report.html import render
from headstart.report.report import FILE, Report
from headstart.runtime.threads import readers

SECURITY_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; style-src 'unsafe-inline'; "
    "script-src 'unsafe-inline'; img-src 'self' blob: data:; connect-src 'self'",
    "X-Content-Type-Options": "nosniff",
}
RETRY_LATER = {"Retry-After": "1"}  # seconds
SHUTDOWN_SECONDS = 30  # that requests get to end in


def serve(load: Callable[[], Predictor], host: str, port: int) -> None:
    """Answer requests until SIGINT or SIGTERM; requests that have arrived by then are answered.

    Args:
        load: gives the model.

    Raises:
        HeadstartError: the address cannot be had, or the model cannot be loaded.
    """
    import uvicorn

    listening = _listening(host, port)
    batcher = Batcher(load, Limits.all_examples)
    where = f"http://{f'[{host}]' if ':' in host else host}:{listening.getsockname()[1]}"
    sources = ", ".join(member.source for member in batcher.predictor.members)
    print(
        f"serving {sources} at {where}\npage: {where}/   requests: POST {where}/predict   "
        f"description: {where}/docs   Ctrl-C stops",
        file=sys.stderr,
        flush=True,
    )
    config = uvicorn.Config(
        application(batcher, Limits()),
        log_level="warning",
        access_log=False,
        timeout_graceful_shutdown=SHUTDOWN_SECONDS,
        server_header=False,
    )
    uvicorn.Server(config).run(sockets=[listening])


def application(batcher: Batcher, limits: Limits) -> FastAPI:
    """The ASGI application; it closes the batcher in the end."""
    predictor = batcher.predictor
    modality = predictor.modality
    pool = readers()

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        yield
        batcher.close()
        pool.shutdown()

    app = FastAPIOffline(
        title="headstart",
        description=f"Tells {len(predictor.labels)} classes of {modality.noun}s apart.",
        version="1",
        lifespan=lifespan,
    )
    app.add_middleware(Bounded, limits=limits)

    @app.exception_handler(RefusedError)
    async def refuse(_: Request, error: RefusedError) -> JSONResponse:
        return JSONResponse(
            {"detail": error.sentence}, error.status, RETRY_LATER if error.status == 503 else None
        )

    @app.exception_handler(ClientDisconnect)
    async def disconnected(_: Request, error: ClientDisconnect) -> JSONResponse:
        return JSONResponse({"detail": "the connection was closed"}, 400)  # which nobody reads

    body = request_body(modality, limits)

    @app.post("/predict", openapi_extra={"requestBody": body}, responses=ERROR_RESPONSES)
    async def predict(request: Request) -> Predictions:
        """Label and probabilities of one or several examples."""
        examples = await read_examples(request, modality, limits)
        try:
            batcher.admit(len(examples))
        except OverloadedError:
            raise RefusedError(503, "too many requests wait; try again in a second") from None
        try:
            preprocessed = await _preprocess(predictor, examples, pool)
            rows = await asyncio.gather(
                *(asyncio.wrap_future(batcher.submit(example)) for example in preprocessed)
            )
        finally:
            batcher.leave(len(examples))
        predictions = [predictor.prediction("", row) for row in rows]
        return Predictions.model_validate({"predictions": predictions}, from_attributes=True)

    @app.get("/healthz")
    async def healthz() -> Health:
        """Whether it answers."""
        return Health()

    facts = _info(predictor)

    @app.get("/info")
    async def info() -> Info:
        """What is served, what it was measured at, and how it was trained."""
        return facts

    page = render(
        "serve.html",
        noun=modality.noun,
        media_type=modality.upload.media_type if modality.upload else None,
        info=facts,
        name=Path(facts.models[0]).name,
    )

    @app.get("/", include_in_schema=False)
    async def try_it() -> HTMLResponse:
        return HTMLResponse(page, headers=SECURITY_HEADERS)

    return app


async def _preprocess(
    predictor: Predictor, examples: list[object], pool: ThreadPoolExecutor
) -> list[Preprocessed]:
    noun, upload = predictor.modality.noun, predictor.modality.upload
    if upload is None:
        return [predictor.preprocess(example) for example in examples]

    def decode(example: object, number: int) -> Preprocessed:
        try:
            return predictor.preprocess(example)
        except Exception as error:  # as many types as there are decoders
            raise unreadable(error, f"{noun} {number}", upload) from None

    loop = asyncio.get_running_loop()
    decoded = [
        loop.run_in_executor(pool, decode, example, number)
        for number, example in enumerate(examples, 1)
    ]
    return list(await asyncio.gather(*decoded))


def _info(predictor: Predictor) -> Info:
    sources = [member.source for member in predictor.members]
    first = Path(sources[0])
    return Info(
        task=predictor.spec.task,
        reads=predictor.modality.noun,
        labels=list(predictor.labels),
        models=[Path(source).name for source in sources],
        weights=predictor.weights.tolist(),
        refuse_below=predictor.refusal.least if predictor.refusal else None,
        test=Report.read(first).test if (first / FILE).is_file() else None,
        recipe=(first / RECIPE).read_text(encoding="utf-8") if (first / RECIPE).is_file() else None,
    )


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
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RunError(
            f"--host, --port: {host}:{port} cannot be had ({reason}); give others"
        ) from None
    return listening
