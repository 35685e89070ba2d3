"""The control of the engine: the same network, data, order, augmentation, precision and optimizer
in a loop of one's own.

    python -m benchmarks.controls.bare RECIPE.toml [--ready]

--ready feeds batches that lie in memory as the network reads them: the upper bound of what a loader
can reach. A recipe of one phase. The first two steps are left out of the speed.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterable
from typing import Any

import torch
import torch.nn.functional as F

from headstart.catalogue import read_recipe
from headstart.models.blocks import Blocks
from headstart.runtime.depthwise import fp32_depthwise_gradients
from headstart.runtime.machine import start
from headstart.train.context import Context
from headstart.train.loader import loader_of
from headstart.train.optimizer import optimizer
from headstart.train.precision import autocast
from headstart.train.prepare import prepare
from headstart.train.sampling import Batches, seed_for

SKIPPED = 2


def bare_loop(context: Context, losses: list[float] | None = None, ready: bool = False) -> float:
    """Forward, backward, step, and nothing else. Examples a second."""
    recipe, device, (phase,) = context.recipe, context.device, context.plan.phases
    network = context.network.to(device).train()
    blocks = Blocks(network)
    blocks.open(phase)
    steps = optimizer(blocks, phase, recipe.train)
    sizes = context.augmenting_preprocessor.sizes(context.train.items)
    batches = Batches(len(context.train), context.batch_size, 1, recipe.seed, 0, sizes=sizes)
    loader: Iterable[dict[str, Any]] = loader_of(context, batches)
    if ready:
        loader = [{key: value.to(device) for key, value in batch.items()} for batch in loader]
    seen = step = 0
    started = time.perf_counter()
    for epoch in range(phase.epochs):
        batches.epoch = epoch
        for batch in loader:
            torch.manual_seed(seed_for(recipe.seed, 0, step, 0, 1))
            inputs = {key: value.to(device, non_blocking=True) for key, value in batch.items()}
            del inputs["weights"], inputs["rows"]
            labels = inputs.pop("labels")
            with (
                autocast(device, context.precision),
                fp32_depthwise_gradients(device, context.precision),
            ):
                loss = F.cross_entropy(network(**inputs).float(), labels)
            loss.backward()
            steps.step()
            steps.zero_grad()
            step += 1
            if losses is not None:
                losses.append(loss.item())
            if step == SKIPPED:
                loss.item()
                started = time.perf_counter()
            elif step > SKIPPED:
                seen += len(labels)
    loss.item()  # until a GPU has done all of it
    return seen / (time.perf_counter() - started)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("recipe")
    parser.add_argument("--ready", action="store_true")
    args = parser.parse_args()
    context = prepare(read_recipe(args.recipe), start())
    speed = bare_loop(context, ready=args.ready)
    print(json.dumps({"examples_per_second": speed, "precision": context.precision}))


if __name__ == "__main__":
    main()
