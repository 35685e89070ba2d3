"""Runs in one or two processes of their own, quick to start because a server has the imports done;
they may be told to kill themselves at a chosen moment, or to leave what each has learned."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import sys
import time
from pathlib import Path
from typing import Any

from headstart.commands.isolated_runs import PRELOADED

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload([*PRELOADED, "headstart.models.text", "tests.processes"])


def start(
    recipe: Path,
    kill: tuple[str, int, int] | None,
    world: int = 1,
    *overrides: str,
    **environment: str,
) -> list[Any]:
    """Run a recipe in `world` processes and wait for their end: their exit codes. What process n
    prints is in recipe.n.log.

    Args:
        kill: when to die of SIGKILL: ("step", phase, step) after a step; ("open", phase, 0) when
            its blocks have just been opened; ("write", n, 0) in the middle of writing the n-th
            checkpoint; ("between", 0, 0) when the main strategy has finished. ("leave", 0, 0) is no
            end: each process leaves its network in rank0.pt, rank1.pt beside the recipe.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    if world > 1:
        variables |= {
            "MASTER_ADDR": "127.0.0.1",
            "MASTER_PORT": str(port),
            "WORLD_SIZE": str(world),
        }
        variables |= {"LOCAL_WORLD_SIZE": str(world)}
    children = [
        CONTEXT.Process(target=_child, args=(str(recipe), kill, rank, world, variables, overrides))
        for rank in range(world)
    ]
    for child in children:
        child.start()
    while any(child.is_alive() for child in children):
        # a launcher then ends the others
        if any(child.exitcode not in (None, 0) for child in children):
            time.sleep(0.2)
            for child in children:
                child.kill()
        time.sleep(0.02)
    return [child.exitcode for child in children]


def _child(
    recipe: str,
    kill: tuple[str, int, int] | None,
    rank: int,
    world: int,
    variables: dict[str, str],
    overrides: tuple[str, ...],
) -> None:
    os.environ.update(variables)
    if world > 1:
        os.environ |= {"RANK": str(rank), "LOCAL_RANK": str(rank)}
    import torch

    # of loader workers: what an ordinary process has
    multiprocessing.set_start_method("fork", force=True)
    torch.set_num_threads(1)
    if kill is not None and kill[0] == "leave":
        _leave(Path(recipe).with_name(f"rank{rank}.pt"))
    elif kill is not None:
        _arm(*kill)
    sys.stdout = open(Path(recipe).with_suffix(f".{rank}.log"), "a")  # noqa: SIM115
    from headstart.cli import main

    main(["run", recipe, *overrides])


def _leave(path: Path) -> None:
    import torch

    from headstart.train import learn as learn_module

    learn = learn_module.learn

    def learn_and_leave(context: Any, checkpoints: Any) -> Any:
        history = learn(context, checkpoints)
        torch.save(context.network.net.state_dict(), path)
        return history

    learn_module.learn = learn_and_leave


def _arm(moment: str, number: int, step: int) -> None:
    from headstart.commands import run as run_module
    from headstart.train import checkpoints, phase

    def die() -> None:
        os.kill(os.getpid(), signal.SIGKILL)

    phase.CHECK_STEPS = 2
    if moment == "step":
        on_step_end = phase.PhaseRun.on_step_end

        def then_die(self: Any, *args: Any, **more: Any) -> None:
            on_step_end(self, *args, **more)
            if (self._state.phase, self._state.step) == (number, step):
                die()

        phase.PhaseRun.on_step_end = then_die  # type: ignore[method-assign]
    elif moment == "open":
        run = phase.PhaseRun.run

        def open_and_die(self: Any) -> None:
            if self._state.phase == number:
                die()
            run(self)

        phase.PhaseRun.run = open_and_die  # type: ignore[method-assign]
    elif moment == "write":
        save_file, written = checkpoints.save_file, [0]

        def write_half(tensors: Any, path: Path) -> None:
            save_file(tensors, path)
            if path.stem == "moments":
                written[0] += 1
                if written[0] == number:
                    path.write_bytes(path.read_bytes()[:100])
                    die()

        checkpoints.save_file = write_half  # type: ignore[assignment]
    else:
        train = run_module._train

        def train_and_die(context: Any, name: str) -> Any:
            if name != "main":
                die()
            return train(context, name)

        run_module._train = train_and_die
