"""What a table larger than memory costs: `python -m benchmarks.big_table [--rows 2000000]`.

Generates a csv, lets `headstart run` read it and train its first steps with the packaged MiniLM,
stops it there, and prints the peak memory (proportional set size of the process and its loader
workers together).
"""

from __future__ import annotations

import argparse
import json
import os
import random
import sys
import tempfile
import time
from contextlib import suppress
from pathlib import Path

import psutil

from headstart.data.samples import sample

RECIPE = """
task = "text_classification"
output = "{folder}/run"
[data]
source = "{folder}/big.csv"
[model]
backbone = "packaged:minilm_l6"
"""


def generate(path: Path, rows: int) -> None:
    """A table of texts of 5 to 25 English words in random order."""
    draw = random.Random(0)
    with (sample("docstrings") / "train.jsonl").open(encoding="utf-8") as file:
        words = sorted(
            {word for line in file for word in json.loads(line)["text"].split() if word.isalpha()}
        )
    with path.open("w") as file:
        file.write("text,label\n")
        for number in range(rows):
            text = " ".join(draw.choices(words, k=draw.randint(5, 25)))
            file.write(f'"{text}",{("no", "yes")[number % 2]}\n')


def peak_of(command: list[str], environment: dict[str, str], log: Path) -> tuple[int, float, str]:
    """(Peak bytes of a command and its children together until its second step is told, seconds,
    what it told)."""
    started, peak, log_text = time.perf_counter(), 0, ""
    with log.open("w") as file:
        process = psutil.Popen(command, env=environment, stdout=file, stderr=file)
        while process.poll() is None and log_text.count('"event": "step"') < 2:
            total = 0
            for child in [process, *process.children(recursive=True)]:
                with suppress(psutil.Error):
                    total += child.memory_full_info().pss
            peak = max(peak, total)
            time.sleep(0.2)
            log_text = log.read_text()
        if process.poll() is not None:
            sys.exit(log_text)
        seconds = time.perf_counter() - started
        process.terminate()
        process.wait()
    return peak, seconds, log_text.splitlines()[-1]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=2_000_000)
    rows = parser.parse_args().rows
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        generate(folder / "big.csv", rows)
        (folder / "big.toml").write_text(RECIPE.format(folder=folder))
        command = [
            sys.executable,
            "-c",
            "from headstart.cli import main; main()",
            "run",
            str(folder / "big.toml"),
        ]
        size = (folder / "big.csv").stat().st_size
        for time_named in ("first", "second"):
            environment = {**os.environ, "HEADSTART_CACHE": str(folder / "cache")}
            peak, seconds, last = peak_of(command, environment, folder / "log")
            print(
                f"{time_named} time: {rows:,} rows, {size / 1e6:.0f} MB: peak {peak / 1e9:.2f} "
                f"GB, {seconds:.0f} s; {last}"
            )


if __name__ == "__main__":
    main()
