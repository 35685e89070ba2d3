"""Every strategy on photographs and on texts, seed by seed: what it reaches, what it costs, how much of the network it trains.

    python -m benchmarks.strategies --data DIR [--seeds 0 1 2] [--only lora auto] [--sets ants_bees]

DIR holds `hymenoptera/` (train, val) and `sst2/` (train.tsv, dev.tsv, test_labelled.tsv). Prints a line of JSON for each run as
it ends, then the table. All strategies have the settings of the set below, but for the rate of LoRA, whose matrices start at
zero and are used to ten times the rate.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
from pathlib import Path
from typing import Any

from headstart import run
from headstart.recipe import Recipe
from headstart.transfer.strategies import strategies

TRANSFER: dict[str, dict[str, Any]] = {"partial": {"last_blocks": 2}}


def recipe(which: str, data: Path, strategy: str, seed: int, output: Path) -> Recipe:
    """The recipe of one run."""
    if which == "ants_bees":
        asked: dict[str, Any] = {
            "task": "image_classification",
            "data": {"source": str(data / "hymenoptera")},
            "model": {"backbone": "packaged:efficientnet_lite0"},
            "train": {"epochs": 8, "lr": 1e-4, "batch_size": 16},
        }
    else:
        parts = {role: str(data / "sst2" / f"{name}.tsv") for role, name in SST2.items()}
        asked = {
            "task": "text_classification",
            "data": {**parts, "limit": 2000},
            "model": {"backbone": "packaged:minilm_l6"},
            "train": {"epochs": 4, "lr": 6e-5, "batch_size": 32, "schedule": "linear", "warmup": 0.1},
        }
    if strategy == "lora":
        asked["train"]["lr"] *= 10
        asked["transfer"] = {"head_lr_ratio": 1.0}
    transfer = {**asked.pop("transfer", {}), "strategy": strategy, **TRANSFER.get(strategy, {})}
    return Recipe.model_validate({**asked, "transfer": transfer, "seed": seed, "output": str(output)})


SST2 = {"train": "train", "validation": "test_labelled", "test": "dev"}
SETS = ("ants_bees", "sst2_2000")


def measure(which: str, data: Path, strategy: str, seed: int) -> dict[str, Any]:
    """One run: its figures."""
    with tempfile.TemporaryDirectory() as folder:
        report = run(recipe(which, data, strategy, seed, Path(folder) / "run"))
    accuracy = report.test.accuracy
    return {
        "set": which,
        "strategy": strategy,
        "ran": report.main.name,
        "seed": seed,
        "accuracy": accuracy.value,
        "low": accuracy.low,
        "high": accuracy.high,
        "n": report.test.n,
        "seconds": round(report.main.seconds, 1),
        "trainable": max(phase.trainable for phase in report.main.phases),
        "kept": report.main.kept,
        "notes": [*report.main.notes, *(note for note in report.notes if "auto" in note)],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--only", nargs="+", default=[*strategies.names(), "auto"])
    parser.add_argument("--sets", nargs="+", default=SETS, choices=SETS)
    asked = parser.parse_args()
    rows = []
    for seed in asked.seeds:
        for which in asked.sets:
            for strategy in asked.only:
                rows.append(measure(which, asked.data, strategy, seed))
                print(json.dumps(rows[-1]), flush=True)
    seeds = ", ".join(map(str, asked.seeds))
    print(f"\n| set | strategy | test accuracy, seeds {seeds} | 95 % interval, first seed | seconds | trainable |")
    print("|---|---|---|---|---|---|")
    for which in asked.sets:
        for strategy in asked.only:
            own = [row for row in rows if (row["set"], row["strategy"]) == (which, strategy)]
            figures = ", ".join(f"{row['accuracy']:.3f}" for row in own)
            seconds = statistics.median(row["seconds"] for row in own)
            interval = f"[{own[0]['low']:.3f}, {own[0]['high']:.3f}]"
            print(f"| {which} | {strategy} | {figures} | {interval} | {seconds:.0f} | {own[0]['trainable']:,} |")


if __name__ == "__main__":
    main()
