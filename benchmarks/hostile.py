"""`headstart serve` under hostile requests: does it stay up, honest and small?

    python -m benchmarks.hostile RUN EXAMPLES [--requests 2000]

Truncated and foreign files, bombs, bodies of 100 MB, wrong types, huge batches, slow senders and
those that hang up, mixed at random (seed 0), 16 at a time; after each hundred a good request, whose
answer must be the one it got at first. Prints a JSON
line: what came back how often, and the server's memory at rest before, half-way and in the end.
Exit code 1 for any status above 499 but 503, or a good request that is answered otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import random
import sys
import zlib
from collections import Counter
from collections.abc import Callable
from functools import cache
from pathlib import Path

import psutil
from PIL import Image

from benchmarks.serving import SERVER, bodies, free_port, post, started

AT_ONCE, REST = 16, 4.0  # requests; seconds until the server has given its memory back
LARGE = 100 * 2**20  # bytes


@cache
def bomb(width: int) -> bytes:
    """A request with a small file of a large picture."""
    content = io.BytesIO()
    Image.new("1", (width, 20_000)).save(content, "PNG")
    return json.dumps({"image": base64.b64encode(content.getvalue()).decode()}).encode()


def hostile(draw: random.Random, good: bytes, kind: str) -> bytes:
    """A request that should be refused."""
    head, _, content = good.partition(b"\r\n\r\n")
    media = head.split(b"Content-Type: ")[1].split(b"\r\n")[0].decode()
    cut = draw.randrange(1, len(content))
    noise = bytes(draw.randrange(256) for _ in range(draw.randrange(1, 3000)))
    odd: tuple[object, ...] = (3, None, {}, [[]], True, [1.5], ["a", 3], "", [])
    paths = (b"GET /predict", b"POST /../../etc/passwd", b"DELETE /", b"POST /\xff")
    ways: list[Callable[[], bytes]] = [
        lambda: post(content[:cut], media),
        lambda: post(noise, draw.choice((media, "application/json", "image/png",
        "multipart/form-data", "text/plain", ""))),
        lambda: post(bomb(draw.choice((9_000, 20_000, 60_000))), "application/json"),
        lambda: post(zlib.compress(bytes(10**7)), "image/png"),
        lambda: post(json.dumps({kind: draw.choice(odd)}).encode(), "application/json"),
        lambda: post(json.dumps({kind: ["aaaa"] * draw.randrange(65, 9_000)}).encode(),
        "application/json"),
        lambda: post(b"[" * draw.randrange(1, 200_000), "application/json"),
        lambda: post(json.dumps({"text": "a" * draw.randrange(100_001, 5_000_000)}).encode(),
        "application/json"),
        lambda: good.replace(b"POST /predict", draw.choice(paths)),
        lambda: good.replace(b"Content-Length: ", b"Content-Length: -"),
    ]  # fmt: skip
    return draw.choice(ways)()


async def answer(port: int, request: bytes) -> tuple[str, bytes]:
    """(status, body) of a request of its own connection; "closed" where there is none."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=2**24)
        try:
            writer.write(request)
            head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 60)
            length = head.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            return head.split()[1].decode(), await reader.readexactly(int(length or 0))
        finally:
            writer.close()
    except (OSError, asyncio.IncompleteReadError, TimeoutError):
        return "closed", b""


async def rude(port: int, draw: random.Random, good: bytes) -> str:
    """One that sends slowly and hangs up, or sends 100 MB."""
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        if draw.random() < 0.1:
            writer.write(
                "POST /predict HTTP/1.1\r\nHost: a\r\nContent-Type: image/png\r\nContent-Length: "
                f"{LARGE}\r\n\r\n".encode()
            )
            for _ in range(LARGE // 2**20):
                writer.write(bytes(2**20))
                await writer.drain()
            return (await reader.readline()).split()[1].decode()
        for start in range(0, draw.randrange(1, 600), 40):
            writer.write(good[start : start + 40])
            await asyncio.sleep(0.05)
        writer.transport.abort()
        return "hung up"
    except (OSError, IndexError):
        return "closed"


async def attack(
    port: int, server: psutil.Process, given: list[bytes], kind: str, count: int
) -> dict[str, object]:
    """What came back, and the memory at rest."""
    draw, statuses = random.Random(0), Counter[str]()
    first = [await answer(port, request) for request in given]
    wrong = sum(status != "200" for status, _ in first)
    memory = []

    async def one() -> None:
        good = draw.choice(given)
        if draw.random() < 0.15:
            statuses[await rude(port, draw, good)] += 1
        else:
            statuses[(await answer(port, hostile(draw, good, kind)))[0]] += 1

    for done in range(0, count, 100):
        if done in (0, count // 200 * 100):
            await asyncio.sleep(REST)
            memory.append(server.memory_info().rss // 10**6)
        for _ in range(0, 100, AT_ONCE):
            await asyncio.gather(*(one() for _ in range(AT_ONCE)))
        number = draw.randrange(len(given))
        wrong += not same(await answer(port, given[number]), first[number])
    await asyncio.sleep(REST)
    memory.append(server.memory_info().rss // 10**6)
    return {
        "statuses": dict(statuses.most_common()),
        "good_ones_answered_otherwise": wrong,
        "megabytes_at_rest": memory,
    }


def same(one: tuple[str, bytes], other: tuple[str, bytes]) -> bool:
    """Whether two answers have the same label and nearly the same probability: other batches round
    otherwise."""
    if one[0] != other[0]:
        return False
    (a,), (b,) = (json.loads(body)["predictions"] for _, body in (one, other))
    return a["label"] == b["label"] and abs(a["probability"] - b["probability"]) < 0.02


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("examples", type=Path)
    parser.add_argument("--requests", type=int, default=2_000)
    args = parser.parse_args()
    port = free_port()
    process = started(
        [sys.executable, "-c", SERVER, "serve", str(args.run), "--port", str(port)], port
    )
    try:
        kind = "image" if args.examples.is_dir() else "text"
        given = bodies(args.examples)[:50]
        result = asyncio.run(attack(port, psutil.Process(process.pid), given, kind, args.requests))
    finally:
        process.terminate()
        process.wait()
    print(json.dumps({"requests": args.requests, **result}))
    bad = [
        status
        for status in result["statuses"]  # type: ignore[attr-defined]
        if status.isdigit() and int(status) > 499 and status != "503"
    ]
    sys.exit(bool(bad or result["good_ones_answered_otherwise"]))


if __name__ == "__main__":
    main()
