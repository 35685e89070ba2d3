"""`headstart serve` under load, beside the server of the tutorials: throughput and latency with 1, 8 and 64 clients.

    python -m benchmarks.serving RUN EXAMPLES [--onnx FILE.onnx] [--seconds 8] [--rounds 3]

EXAMPLES is a folder of images, or a table of texts. The servers take turns, each in a process of its own, and each round asks
each of them. Prints one JSON line a server and number of clients: medians over the rounds.
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

import httpx
import numpy as np

from headstart.data.gather import images_at, texts_at

CLIENTS = (1, 8, 64)
COUNT = 400  # examples, sent in turn
SERVER = "from headstart.cli import main; main()"


def bodies(examples: Path) -> list[dict[str, object]]:
    """Requests that bring one example each."""
    if examples.is_dir():
        found = [Path(one.item) for one in images_at([str(examples)])]
        some = found[:: max(len(found) // COUNT, 1)][:COUNT]
        return [{"files": {"image": (path.name, path.read_bytes(), "image/jpeg")}} for path in some]
    return [{"json": {"text": one.item}} for one in list(texts_at([str(examples)]))[:COUNT]]


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
    port: int, given: list[dict[str, object]], clients: int, seconds: float
) -> tuple[float, list[float], int]:
    """(answers a second, seconds each took, how many were no answer) of clients that ask again as soon as they are answered."""
    took: list[float] = []
    errors = 0
    limits = httpx.Limits(max_connections=clients, max_keepalive_connections=clients)
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=120, limits=limits) as client:
        requests = [client.build_request("POST", "/predict", **one) for one in given]  # type: ignore[arg-type]
        contents = [(dict(request.headers), request.read()) for request in requests]

        async def ask(number: int) -> None:
            nonlocal errors
            while time.perf_counter() < until:
                headers, content = contents[number % len(contents)]
                number += clients
                begun = time.perf_counter()
                answer = await client.post("/predict", content=content, headers=headers)
                took.append(time.perf_counter() - begun)
                errors += answer.status_code != 200

        begun = time.perf_counter()
        until = begun + seconds
        await asyncio.gather(*(ask(number) for number in range(clients)))
        return len(took) / (time.perf_counter() - begun), took, errors


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path)
    parser.add_argument("examples", type=Path)
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--seconds", type=float, default=8.0)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    given = bodies(asked.examples)
    ports = {name: free_port() for name in ("flask", "headstart", "headstart onnx")[: 3 if asked.onnx else 2]}
    commands = {
        "flask": [sys.executable, "-m", "benchmarks.controls.flask_server", str(asked.run), str(ports["flask"])],
        "headstart": [sys.executable, "-c", SERVER, "serve", str(asked.run), "--port", str(ports["headstart"])],
        "headstart onnx": [
            sys.executable,
            "-c",
            SERVER,
            "serve",
            str(asked.onnx),
            "--port",
            str(ports.get("headstart onnx")),
        ],
    }
    servers = {name: started(commands[name], port) for name, port in ports.items()}
    found: dict[tuple[str, int], list[tuple[float, float, float, int]]] = {}
    try:
        for port in ports.values():
            asyncio.run(load(port, given, 4, 3.0))  # to warm up
        for _ in range(asked.rounds):
            for clients in CLIENTS:
                for name, port in ports.items():
                    speed, took, errors = asyncio.run(load(port, given, clients, asked.seconds))
                    low, high = np.percentile(took, [50, 99])
                    found.setdefault((name, clients), []).append((speed, 1e3 * low, 1e3 * high, errors))
    finally:
        for process in servers.values():
            process.terminate()
            process.wait()
    for (name, clients), rounds in found.items():
        speed, low, high, _ = np.median(rounds, axis=0)
        pairs = [ours[0] / theirs[0] for ours, theirs in zip(rounds, found["flask", clients], strict=True)]
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
