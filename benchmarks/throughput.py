"""How fast headstart is, beside the tutorials' scripts, the HF Trainer, a bare loop and what the
machine allows.

    python -m benchmarks.throughput --data DIR [--only LINE …] [--pairs 5]

Every way is a process of its own with an empty cache; the ways of a line run in turn, forwards and
backwards, and each line ends as one JSON line: the median of each way, the median of headstart's
ratio to each other way, pair by pair (above 1 headstart is the faster), peak memory of the main
process (0.7 GB, what this program takes, where it needs less), and accuracy with its interval where
a way tests what it trained. A table follows. `benchmarks/lines.py` says what the lines and ways
are.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.lines import LINES, SECONDS, SPEED, Line, Way
from headstart import Report
from headstart.evaluate.intervals import wilson
from headstart.train.precision import bf16_instructions


def measured(way: Way, work: Path) -> dict[str, float]:
    """One process from its start to its end, with an empty cache."""
    cache = work / ("kept-cache" if way.again else "cache")
    for place in (None if way.again else cache, way.run):
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
    environment = {**os.environ, "HEADSTART_CACHE": str(cache), "PYTHONWARNINGS": "ignore"}
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(way.command, stdout=output, stderr=errors, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        output.seek(0), errors.seek(0)
        lines = output.read().strip().splitlines()
        if status:
            raise SystemExit(
                f"error: {' '.join(way.command)}: exit status {status}\n{errors.read()[-2000:]}"
            )
    figures = {SECONDS: seconds, "peak_gb": usage.ru_maxrss / 2**20}
    if way.run is None:
        return {**figures, **json.loads(lines[-1])}
    report = Report.read(way.run)
    test = {"accuracy": report.test.accuracy.value, "n": report.test.n}
    return {**figures, **test, SPEED: report.main.examples_per_second or 0.0}


def compared(name: str, line: Line, pairs: int, work: Path) -> dict[str, Any]:
    """All ways of a line in turn, so many times."""
    results: dict[str, list[dict[str, float]]] = {way: [] for way in line.ways}
    for number in range(pairs):
        for way in list(line.ways)[:: 1 if number % 2 else -1]:
            results[way].append(measured(line.ways[way], work))
            print(
                f"{name}, pair {number + 1}, {way}: {results[way][-1]}", file=sys.stderr, flush=True
            )
    result: dict[str, Any] = {
        "benchmark": "throughput",
        "line": name,
        "figure": line.figure,
        "pairs": pairs,
        **machine(),
    }
    result["median"] = {way: round(median(rows, line.figure), 2) for way, rows in results.items()}
    others = {way: rows for way, rows in results.items() if way != "headstart"}
    result["ratio"] = {
        way: round(ratio(results["headstart"], rows, line.figure), 3)
        for way, rows in others.items()
    }
    result["peak_gb"] = {way: round(median(rows, "peak_gb"), 2) for way, rows in results.items()}
    result["accuracy"] = {
        way: tested(rows[0]) for way, rows in results.items() if "accuracy" in rows[0]
    }
    return result


def median(rows: list[dict[str, float]], figure: str) -> float:
    return statistics.median(row[figure] for row in rows)


def ratio(ours: list[dict[str, float]], theirs: list[dict[str, float]], figure: str) -> float:
    """How many times as fast headstart is: the median over the pairs."""
    ratios = [a[figure] / b[figure] for a, b in zip(ours, theirs, strict=True)]
    return statistics.median(ratios if figure == SPEED else [1 / value for value in ratios])


def tested(row: dict[str, float]) -> str:
    """Accuracy with its 95 % interval."""
    low, high = wilson(round(row["accuracy"] * row["n"]), int(row["n"]))
    return f"{row['accuracy']:.3f} [{low:.3f}, {high:.3f}], n = {row['n']:.0f}"


def machine() -> dict[str, str | int | None]:
    """What it is measured on, and the bf16 instructions of the processor, if it has any."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else None
    return {
        "cores": os.cpu_count(),
        "bf16": bf16_instructions(),
        "gpu": gpu,
        "torch": torch.__version__,
    }


def table(results: list[dict[str, Any]]) -> str:
    """The medians, and headstart's ratios to them, in Markdown."""
    rows = [
        "| line | of | way | median | headstart is so many times as fast | peak memory, GB | "
        "accuracy |"
    ]
    rows.append("| --- " * 7 + "|")
    for result in results:
        for way, value in result["median"].items():
            ratio, test = result["ratio"].get(way, ""), result["accuracy"].get(way, "")
            first = (
                (result["line"], result["figure"].replace("_", " "))
                if way == "headstart"
                else ("", "")
            )
            cells = (*first, way, value, ratio, result["peak_gb"][way], test)
            rows.append(f"| {' | '.join(map(str, cells))} |")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=LINES, default=list(LINES), metavar="LINE")
    parser.add_argument("--pairs", type=int, default=5)
    args = parser.parse_args()
    results = []
    for name in args.only:
        with tempfile.TemporaryDirectory() as folder:
            line = LINES[name](args.data.resolve(), Path(folder))
            results.append(compared(name, line, args.pairs, Path(folder)))
            print(json.dumps(results[-1]), flush=True)
    print(table(results))


if __name__ == "__main__":
    main()
