"""Frozen lower blocks run once a phase: what comes out of them is kept, and each step begins above
them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import psutil
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from headstart.evaluate.events import Extracting
from headstart.models.network import Network
from headstart.runtime.machine import free_memory
from headstart.train.context import Context
from headstart.train.forward import BATCH, batches, in_order
from headstart.train.integrity import assert_unchanged
from headstart.train.precision import autocast
from headstart.transfer.plan import Phase

SHARE = 8  # of the machine's memory may go to what is kept: one part in so many
# relative, between a network that was entered above and the whole: a few roundings of bf16
TOLERANCE = 0.05


class FrozenPrefix:
    """Enters a network above its frozen lower blocks, with what they make of each training example.

    Args:
        entry: the module that training begins with.
        skipped: the modules below, but for the first block, whose output says how large a batch is.
    """

    def __init__(self, entry: nn.Module, skipped: list[nn.Module]) -> None:
        self._entry, self._skipped = entry, skipped
        self._made: dict[int, Tensor] = {}

    @contextmanager
    def entered(self, rows: Tensor) -> Iterator[None]:
        """Within it the network reads a batch of these rows and computes what is above alone."""
        made = [self._made[row] for row in rows.tolist()]
        for module in self._skipped:
            module.forward = _pass_on
        hook = self._entry.register_forward_pre_hook(
            lambda module, given: (_batch(made, given[0]), *given[1:])
        )
        try:
            yield
        finally:
            hook.remove()
            for module in self._skipped:
                del module.forward

    def keep(self, network: Network, rows: list[int], batch: dict[str, Tensor]) -> int:
        """Run a batch of these rows and keep what comes to the entry; the bytes that it takes."""
        came: list[Tensor] = []
        hook = self._entry.register_forward_pre_hook(lambda module, given: came.append(given[0]))
        try:
            network(**batch)
        finally:
            hook.remove()
        self._made.update(zip(rows, came[0].cpu().clone(), strict=True))
        return int(came[0].nbytes)


@torch.no_grad()
def frozen_prefix(context: Context, phase: Phase) -> FrozenPrefix | None:
    """What a phase's frozen lower blocks make of the training examples; the network is left in
    evaluation mode.

    On 2 cores in batches of 32: MiniLM on phrases of SST-2, the last of six layers trained, 350 →
    700 texts/s; EfficientNet- Lite0, the last two of eight blocks, 79 → 128 images/s. A phase that
    is begun anew after an interruption finds the same.

    Returns:
        None where it would not pay or not come to the same: nothing above the first block is
            frozen, the phase looks at no example twice, examples are varied, memory is short, or
            the network cannot be entered there.
    """
    network = context.network
    names = list(network.partition)
    first = next(name for name in names if name in phase.rates)
    below, entries = names[: names.index(first)], _within(network, first)
    if (
        not entries
        or len(below) < 2
        or "adapters" in phase.rates
        or context.augments
        or phase.epochs <= context.machine.world
    ):
        return None
    network.eval()
    prefix = FrozenPrefix(
        entries[0], [module for name in below[1:] for module in _within(network, name)]
    )
    items = context.train.items
    rows = in_order(range(len(items)), items, context.preprocessor)[::-1]  # the largest first
    sizes = context.preprocessor.sizes(items)
    shares = np.ones(len(items)) if sizes is None else sizes
    limit = min(psutil.virtual_memory().total // SHARE, free_memory(torch.device("cpu")) // 2)
    started = time.perf_counter()
    try:
        with autocast(context.device, context.precision):
            for done, batch in enumerate(
                batches([items[row] for row in rows], context.preprocessor)
            ):
                some = rows[done * BATCH : (done + 1) * BATCH]
                for row in some:
                    assert_unchanged(context.train, row, context.preprocessor)
                taken = prefix.keep(
                    network, some, {key: value.to(context.device) for key, value in batch.items()}
                )
                if not done and taken * shares.sum() / shares[some].sum() > limit:
                    return None
                seen = done * BATCH + len(some)
                speed = seen / (time.perf_counter() - started)
                context.on_event(Extracting(f"below {first}", seen, len(items), speed))
            return prefix if _agrees(context, prefix, [*rows[:4], *rows[-4:]]) else None
    # as manifold as networks
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, RuntimeError):
        return None


def _within(network: Network, block: str) -> list[nn.Module]:
    """The outermost modules that belong to a block as a whole."""
    names = set(network.partition[block])
    modules: list[nn.Module] = []

    def search(module: nn.Module, prefix: str) -> None:
        own = [f"{prefix}{name}" for name, _ in module.named_parameters()]
        if own and names.issuperset(own):
            modules.append(module)
            return
        for name, child in module.named_children():
            search(child, f"{prefix}{name}.")

    search(network.net, "")
    return modules


def _agrees(context: Context, prefix: FrozenPrefix, rows: list[int]) -> bool:
    """Whether the network makes the same of some examples when it is entered above."""
    inputs = context.preprocessor.collate(
        [context.preprocessor(context.train.items[row]) for row in rows]
    )
    inputs = {key: value.to(context.device) for key, value in inputs.items()}
    whole = context.network(**inputs)
    with prefix.entered(torch.tensor(rows)):
        entered = context.network(**inputs)
    return bool((whole - entered).norm() <= TOLERANCE * whole.norm())


def _batch(made: list[Tensor], given: Tensor) -> Tensor:
    """A batch of kept outputs, as long as the given one where examples differ in length."""
    batch = pad_sequence(
        [value.to(given.device, non_blocking=True) for value in made], batch_first=True
    )
    if batch.ndim == 3:
        # a negative one cuts off
        batch = nn.functional.pad(batch, (0, 0, 0, given.shape[1] - batch.shape[1]))
    return batch.contiguous(memory_format=torch.channels_last) if batch.ndim == 4 else batch


def _pass_on(given: Tensor, *_: object, **__: object) -> Tensor:
    return given
