"""What one request, and all of them together, may bring to a server."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from starlette.types import ASGIApp, Message, Receive, Scope, Send


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


class Bounded:
    """Middleware: lets no request bring more than it may, take longer to arrive, or all of them
    hold more than the memory is for."""

    def __init__(self, app: ASGIApp, limits: Limits) -> None:
        self._app, self._limits, self._bytes_inside = app, limits, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        received, complete, limits = 0, False, self._limits
        too_large = RefusedError(413, f"the body is too large; at most {limits.bytes} bytes")
        deadline = asyncio.get_running_loop().time() + limits.seconds
        stated = dict(scope["headers"]).get(b"content-length", b"")

        async def bounded() -> Message:
            nonlocal received, complete
            if stated.isdigit() and int(stated) > limits.bytes:
                raise too_large
            if complete:  # all that can follow is the end of the connection
                return await receive()
            try:
                async with asyncio.timeout_at(deadline):
                    message = await receive()
            except TimeoutError:
                raise RefusedError(
                    408, f"the body did not arrive within {limits.seconds:g} seconds"
                ) from None
            size = len(message.get("body", b""))
            received += size
            self._bytes_inside += size
            complete = not message.get("more_body", False)
            if received > limits.bytes:
                raise too_large
            if self._bytes_inside > limits.all_bytes:
                raise RefusedError(503, "too many requests at once; try again in a second")
            return message

        try:
            await self._app(scope, bounded, send)
        finally:
            self._bytes_inside -= received
