"""`headstart serve` under load, beside the server of the tutorials: throughput and latency with 1,
8 and 64 clients.

    python -m benchmarks.serving RUN EXAMPLES [--onnx FILE.onnx] [--seconds 8] [--rounds 3]

EXAMPLES is a folder of images, or a table of texts. The servers take turns, each in a process of
its own, and each round asks each of them. Prints one JSON line a server and number of clients:
medians over the rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import socket
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

import numpy as np

from headstart.data.inputs import images_at, texts_at

CLIENTS = (1, 8, 64)
COUNT = 400  # examples, sent in turn
BORDER = "----headstart"
SERVER = "from headstart.cli import main; main()"


def bodies(examples: Path) -> list[bytes]:
    """Requests that bring one example each, as they go over the line."""
    if examples.is_dir():
        found = [Path(one.item) for one in images_at([str(examples)])]
        some = found[:: max(len(found) // COUNT, 1)][:COUNT]
        head = (
            f"--{BORDER}\r\n"
            'Content-Disposition: form-data; name="image"; filename="image.jpg"\r\n\r\n'
        ).encode()
        tail = f"\r\n--{BORDER}--\r\n".encode()
        return [
            post(head + path.read_bytes() + tail, f"multipart/form-data; boundary={BORDER}")
            for path in some
        ]
    texts = list(texts_at([str(examples)]))[:COUNT]
    return [post(json.dumps({"text": one.item}).encode(), "application/json") for one in texts]


def post(content: bytes, kind: str) -> bytes:
    head = (
        f"POST /predict HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: {kind}\r\nContent-Length: "
        f"{len(content)}\r\n\r\n"
    )
    return head.encode() + content


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def started(command: list[str], port: int) -> subprocess.Popen[bytes]:
    """A server that answers."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while process.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return process
        except OSError:
            time.sleep(0.2)
    raise SystemExit(f"error: {' '.join(command[:4])} … ended with exit code {process.returncode}")


async def load(
    port: int, given: list[bytes], clients: int, seconds: float
) -> tuple[float, list[float], int]:
    """(answers a second, seconds each took, how many were no answer) of clients that ask again as
    soon as they are answered.

    They speak HTTP by hand: a library's client would take more of the two cores than the servers'
    own share of HTTP.
    """
    took: list[float] = []
    errors = 0

    async def ask(number: int) -> None:
        nonlocal errors
        reader = writer = None
        while time.perf_counter() < until:
            sent = time.perf_counter()
            if writer is None or reader is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(given[number % len(given)])
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            await reader.readexactly(int(head.split(b"content-length:")[1].split(b"\r\n")[0]))
            took.append(time.perf_counter() - sent)
            errors += b" 200 " not in head.split(b"\r\n")[0]
            number += clients
            if b"connection: close" in head:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()

    begun = time.perf_counter()
    until = begun + seconds
    await asyncio.gather(*(ask(number) for number in range(clients)))
    return len(took) / (time.perf_counter() - begun), took, errors


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("run", type=Path)
    parser.add_argument("examples", type=Path)
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    given = bodies(args.examples)
    ports = {
        name: free_port()
        for name in ("flask", "headstart", "headstart onnx")[: 3 if args.onnx else 2]
    }
    commands = {
        "flask": [
            sys.executable,
            "-m",
            "benchmarks.controls.flask_server",
            str(args.run),
            str(ports["flask"]),
        ],
        "headstart": [
            sys.executable,
            "-c",
            SERVER,
            "serve",
            str(args.run),
            "--port",
            str(ports["headstart"]),
        ],
        "headstart onnx": [
            sys.executable,
            "-c",
            SERVER,
            "serve",
            str(args.onnx),
            "--port",
            str(ports.get("headstart onnx")),
        ],
    }
    servers = {name: started(commands[name], port) for name, port in ports.items()}
    found: dict[tuple[str, int], list[tuple[float, float, float, int]]] = {}
    try:
        for port in ports.values():
            asyncio.run(load(port, given, 4, 3.0))  # to warm up
        for _ in range(args.rounds):
            for clients in CLIENTS:
                for name, port in ports.items():
                    speed, took, errors = asyncio.run(load(port, given, clients, args.seconds))
                    low, high = np.percentile(took, [50, 99])
                    found.setdefault((name, clients), []).append(
                        (speed, 1e3 * low, 1e3 * high, errors)
                    )
    finally:
        for process in servers.values():
            process.terminate()
            process.wait()
    for (name, clients), rounds in found.items():
        speed, low, high, _ = np.median(rounds, axis=0)
        pairs = [
            ours[0] / theirs[0]
            for ours, theirs in zip(rounds, found["flask", clients], strict=True)
        ]
        line = {
            "server": name,
            "clients": clients,
            "answers_per_second": round(float(speed), 1),
            "p50_ms": round(float(low), 1),
            "p99_ms": round(float(high), 1),
            "times_flask": round(median(pairs), 2),
            "errors": sum(one[3] for one in rounds),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
