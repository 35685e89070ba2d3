"""Where a process computes, and which of how many it is."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from headstart.runtime.allocator import keep_freed_memory
from headstart.runtime.threads import local_processes, share_cores

if TYPE_CHECKING:
    import torch

# for one process to wait for another, such as for the main one while it fits a forest
TIMEOUT = timedelta(days=2)


@dataclass(frozen=True)
class Shard:
    """The part of each batch that one of several processes works on."""

    rank: int = 0
    world: int = 1


@dataclass(frozen=True)
class Machine:
    """The device of this process, its rank, and the number of processes."""

    device: torch.device
    rank: int = 0
    world: int = 1

    @property
    def shard(self) -> Shard:
        """The part of each batch that is this process's."""
        return Shard(self.rank, self.world)


def start() -> Machine:
    """Set up threads, memory, device and processes (Accelerate reads what the launcher left)."""
    share_cores()
    keep_freed_memory()
    import torch
    from accelerate import PartialState

    state = PartialState(cpu=not torch.accelerator.is_available(), timeout=TIMEOUT)
    return Machine(state.device, state.process_index, state.num_processes)


def free_memory(device: torch.device) -> int:
    """Bytes that one process of this machine may still take on a device."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.mem_get_info(device)[0])
    free = psutil.virtual_memory().available
    with suppress(OSError, ValueError):  # a container's own limit, where there is one
        limit, used = (
            int(Path(f"/sys/fs/cgroup/memory.{name}").read_bytes()) for name in ("max", "current")
        )
        free = min(free, limit - used)
    return int(free // local_processes())
