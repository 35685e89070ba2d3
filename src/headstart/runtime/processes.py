"""What several processes of one run tell each other."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import ParamSpec, TypeVar, cast

import torch
import torch.distributed as dist

P = ParamSpec("P")
T = TypeVar("T")


def rank_and_world() -> tuple[int, int]:
    """The number of this process, and how many there are."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def from_main(function: Callable[P, T]) -> Callable[P, T]:
    """A decorator: the main process alone computes, and every process gets its result."""

    @wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        rank, world = rank_and_world()
        if world == 1:
            return function(*args, **kwargs)
        results: list[T | None] = [function(*args, **kwargs) if rank == 0 else None]
        dist.broadcast_object_list(results, src=0)
        return cast(T, results[0])

    return call


def gather_to_main(value: T) -> list[T]:
    """The value of every process, by its number, in the main process; elsewhere an empty list."""
    rank, world = rank_and_world()
    if world == 1:
        return [value]
    values: list[T] | None = [value] * world if rank == 0 else None
    dist.gather_object(value, values)
    return values or []


def from_all(value: T) -> list[T]:
    """The value of every process, by its number, in every process."""
    values = [value] * rank_and_world()[1]
    if len(values) > 1:
        dist.all_gather_object(values, value)
    return values


def wait() -> None:
    """Until every process has come here."""
    if rank_and_world()[1] > 1:
        dist.barrier()


def share_buffers(network: torch.nn.Module) -> None:
    """Give every process the buffers of process 0 (BatchNorm statistics differ between processes
    otherwise)."""
    if rank_and_world()[1] > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)
