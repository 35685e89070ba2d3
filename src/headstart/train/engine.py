"""The one engine for gradients: a plan's phases, each in a fresh transformers.Trainer.

The Trainer hands precision and data parallelism to Accelerate; what is fixed here is which blocks
train at which rate, the data order, the loss, and the choice of the best epoch. A Trainer is never
trained twice: its old optimizer would go on stepping the parameters of the phase before.
"""

from __future__ import annotations

import copy
import gc
import logging
import math
import os

from torch import Tensor

from headstart.errors import HeadstartError
from headstart.models.blocks import Blocks
from headstart.models.network import Network
from headstart.runtime.processes import share_buffers
from headstart.train.average import MovingAverage, towards_start
from headstart.train.best import BestEpoch
from headstart.train.context import History, TrainContext
from headstart.train.forward import logits
from headstart.train.meter import WARMUP_STEPS
from headstart.train.overfitting import overfitting
from headstart.train.penalties import L2SP
from headstart.train.phase import DryRun, PhaseRun
from headstart.train.probe import probe
from headstart.train.state import TrainState
from headstart.transfer.plan import Phase, Plan


def tune(network: Network, plan: Plan, context: TrainContext) -> History:
    """Train a network as a plan says, in place, and leave it with the weights of the best epoch.

    The best epoch is the one with the highest metric on the selection part over all phases (of
    equals, the one with the lower loss); without a selection part the last epoch is kept. A phase
    starts from the last weights of the one before. With checkpoints an interrupted training goes on
    where the last one was written.

    Raises:
        HeadstartError: the loss is no longer finite, or the launcher asks for sharded training.
    """
    _refuse_sharding()
    network.to(context.device)
    course = TrainState(BestEpoch(context.options.metric))
    blocks = Blocks(network)
    for number, phase in enumerate(plan.phases):
        if phase.probe:  # after an interruption again: its features are cached
            course.enter(number)
            _probe(network, phase, context, course)
    start = _start(network, plan, context)
    if context.options.ema is not None:
        course.average = MovingAverage(network.net, context.options.ema)
    _resume(network, context, course)
    distance = L2SP(start, context.transfer.l2_sp) if context.transfer.l2_sp else None
    # a Trainer collects garbage before its first step: 0.3 s over all that was imported
    gc.freeze()
    try:
        for number, phase in enumerate(plan.phases):
            if phase.probe or number < course.phase or (number == course.phase and course.over):
                continue
            course.enter(number)
            PhaseRun(network, blocks, phase, context, course, distance).run()
    finally:
        gc.unfreeze()
    _finish(network, context, course, start)
    return course.history


def seconds_per_epoch(network: Network, phase: Phase, context: TrainContext) -> float:
    """A guess at an epoch's time, from a few real steps on a copy of the network; validation is not
    in it."""
    course = rehearse(network, phase, context, DryRun(WARMUP_STEPS + 2))
    return len(context.train) / (course.meter.examples_per_second or math.inf)


def rehearse(
    network: Network, phase: Phase, context: TrainContext, rehearsal: DryRun
) -> TrainState:
    """Some steps of a phase on a copy of the network."""
    twin = copy.deepcopy(network)
    course = TrainState(BestEpoch(context.options.metric))
    PhaseRun(twin, Blocks(twin), phase, context, course, rehearsal=rehearsal).run()
    return course


def _probe(network: Network, phase: Phase, context: TrainContext, course: TrainState) -> None:
    """The head on frozen features that a plan may begin with; what it makes is a candidate for the
    best epoch."""
    found = probe(network, phase, context)
    course.history.epochs += found.epochs
    course.history.fitted, course.history.cached = found.fitted, found.cached
    course.history.notes += found.notes
    if context.selection is not None:
        scores = logits(
            network, context.selection.items, context.plain, context.device, context.precision
        )
        where = found.kept or {"phase": course.phase + 1, "epoch": 0}
        row = course.best.offer(scores, context.selection.labels, where, network.net.state_dict())
        context.tell({"event": "probe", "phase": course.phase + 1, **row})
    course.over = True


def _start(network: Network, plan: Plan, context: TrainContext) -> dict[str, Tensor]:
    """The weights that training begins with, where something is to stay near them; a head from
    random numbers is not one."""
    if not (context.transfer.l2_sp or context.transfer.wise_ft) or network.spec.pretrained is None:
        return {}
    new = () if plan.phases[0].probe else tuple(network.partition["head"])
    state = network.net.state_dict()
    return {name: value.detach().clone() for name, value in state.items() if name not in new}


def _resume(network: Network, context: TrainContext, course: TrainState) -> None:
    if context.found is None:
        return
    course.unpack(context.found, network, context.shard.rank)
    where = {"phase": course.phase + 1, "step": course.step}
    context.tell(
        {"event": "note", "note": f"going on from phase {where['phase']}, step {where['step']}"}
    )


def _finish(
    network: Network, context: TrainContext, course: TrainState, start: dict[str, Tensor]
) -> None:
    """The weights that stay: the best epoch's or the last ones, averaged where the recipe says
    so."""
    history, best, share = course.history, course.best, context.transfer.wise_ft
    if course.average is not None:
        network.net.load_state_dict(course.average.values)
    share_buffers(network)
    if best.weights is not None:
        network.net.load_state_dict(best.weights)
        history.kept = best.epoch
        if best.epoch and not best.epoch["epoch"]:
            history.notes.append(
                "no epoch was better than the head on frozen features alone, so that is what was "
                "kept"
            )
    elif history.epochs:
        history.kept = {key: history.epochs[-1][key] for key in ("phase", "epoch")}
    if share is not None and start:
        towards_start(network.net, start, share)
        note = (
            f"{share:g} of the fine-tuned weights averaged with {1 - share:g} of the pretrained "
            "ones (WiSE-FT)"
        )
        if context.selection is not None:
            before = best.so_far()
            scores = logits(
                network, context.selection.items, context.plain, context.device, context.precision
            )
            after = BestEpoch(best.metric)
            after.offer(scores, context.selection.labels, {}, {})
            where = f"{best.metric} on the part that chose the epoch"
            note += f": {where} {before['best']:.3f} before, {abs(after.score):.3f} after"
            if after.score < best.score:
                note += ", so the average is worse there; it is what was kept all the same"
        history.notes.append(note)
    history.notes += filter(None, [overfitting(history.epochs)])
    history.examples_per_second = course.meter.examples_per_second
    history.seconds = course.seconds


def _refuse_sharding() -> None:
    for variable, name in (
        ("ACCELERATE_USE_FSDP", "FSDP"),
        ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed"),
    ):
        if os.environ.get(variable, "").lower() in ("1", "true", "yes"):
            raise HeadstartError(
                f"accelerate: the launcher asks for {name}; headstart trains data-parallel only. "
                f"Choose multi-GPU without {name} in `accelerate config`"
            )


logging.getLogger("accelerate").setLevel(logging.ERROR)
