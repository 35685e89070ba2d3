"""What the engine costs: headstart against a bare loop of the same model, data order and seed.

    python -m benchmarks.bare_loop [--data FOLDER] [--pairs 5] [--backbone resnet18]

First both take 20 steps in fp32 and their losses are compared one by one; then they are timed in
turn (20 steps each, the first two left out) and the median of the pairwise speed ratios is printed,
as one JSON line at the end. FOLDER holds train/CLASS/…; without it the patches of `sample:patches`
serve.
"""

from __future__ import annotations

import argparse
import json
import statistics
from dataclasses import replace
from typing import Any

import torch

from benchmarks.controls.bare import bare_loop
from headstart.recipe import Recipe
from headstart.runtime.machine import Machine, start
from headstart.train.context import Context
from headstart.train.engine import tune
from headstart.train.prepare import prepare
from headstart.train.trainer import PhaseTrainer

STEPS, BATCH, LR = 20, 16, 0.01


def headstart_engine(context: Context, losses: list[float] | None) -> float:
    """The same steps by the engine. Examples a second."""
    original = PhaseTrainer.training_step
    if losses is not None:

        def recording(self: Any, *arguments: Any, **named: Any) -> torch.Tensor:
            loss = original(self, *arguments, **named)
            losses.append(loss.item())
            return loss

        PhaseTrainer.training_step = recording  # type: ignore[method-assign]
    try:
        return tune(context).examples_per_second or 0.0
    finally:
        PhaseTrainer.training_step = original  # type: ignore[method-assign]


def fresh(recipe: Recipe, machine: Machine, before: Context | None) -> Context:
    """The same network and data anew, the training part cut to just so many steps."""
    context = prepare(recipe, machine, (before.dataset, before.leaks) if before else None)
    count = len(context.dataset.train)
    # a small set comes round again
    cut = context.dataset.train.take([row % count for row in range(STEPS * BATCH)])
    return replace(context, dataset=replace(context.dataset, train=cut, validation=None))


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", default="sample:patches")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--backbone", default="resnet18")
    arguments = parser.parse_args()
    recipe = Recipe.model_validate(
        {
            "task": "image_classification",
            "output": "unused",
            "data": {"source": arguments.data, "validation": 0.0},
            "model": {"backbone": arguments.backbone},
            "transfer": {"strategy": "scratch"},
            "train": {
                "epochs": 1,
                "batch_size": BATCH,
                "optimizer": "sgd",
                "lr": LR,
                "schedule": "constant",
                "precision": "fp32",
            },
        }
    )
    machine = start()
    ways = {"bare": bare_loop, "engine": headstart_engine}
    context = None
    losses: dict[str, list[float]] = {}
    for way, loop in ways.items():
        context = fresh(recipe, machine, context)
        loop(context, losses.setdefault(way, []))
    differences = [
        abs(one - other) for one, other in zip(losses["bare"], losses["engine"], strict=True)
    ]
    print(
        f"{len(differences)} steps in fp32; largest difference of two losses: "
        f"{max(differences):.2e}"
    )
    pairs = []
    for number in range(arguments.pairs):
        speeds = {}
        for way in list(ways)[:: 1 if number % 2 else -1]:  # in alternating order
            context = fresh(recipe, machine, context)
            speeds[way] = ways[way](context, None)
        pairs.append(speeds["engine"] / speeds["bare"])
        print(
            f"pair {number + 1}: bare {speeds['bare']:.1f}, engine {speeds['engine']:.1f} "
            "examples/s"
        )
    result = {
        "benchmark": "bare_loop",
        "backbone": arguments.backbone,
        "steps": len(differences),
        "largest_loss_difference": max(differences),
        "speed_ratio": round(statistics.median(pairs), 4),
        "pairs": [round(pair, 4) for pair in pairs],
    }
    print(json.dumps(result))


if __name__ == "__main__":
    main()
