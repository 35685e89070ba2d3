"""What several processes of one run tell each other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import torch
import torch.distributed as dist

T = TypeVar("T")


def rank_and_world() -> tuple[int, int]:
    """(number of this process, how many there are)."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


def broadcast_from_main(make: Callable[[], T]) -> T:
    """What the main process makes, in every process."""
    rank, world = rank_and_world()
    if world == 1:
        return make()
    made: list[Any] = [make() if rank == 0 else None]
    dist.broadcast_object_list(made, src=0)
    return made[0]


def gather_to_main(own: T) -> list[T]:
    """What every process has, by its number, in the main process; elsewhere an empty list."""
    rank, world = rank_and_world()
    if world == 1:
        return [own]
    gathered: list[Any] | None = [None] * world if rank == 0 else None
    dist.gather_object(own, gathered)
    return gathered or []


def from_all(own: T) -> list[T]:
    """What every process has, by its number, in every process."""
    gathered: list[Any] = [own] * rank_and_world()[1]
    if len(gathered) > 1:
        dist.all_gather_object(gathered, own)
    return gathered


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
