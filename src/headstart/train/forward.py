"""A network over examples, each exactly once, whatever the number of processes: no gradients, no training."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor

from headstart.models.network import Network
from headstart.train.draws import Collate, Encode
from headstart.train.precision import FORMATS

BATCH = 64


@torch.inference_mode()
def logits(
    network: Network, items: tuple[str, ...], encode: Encode, collate: Collate, device: torch.device, precision: str
) -> np.ndarray:
    """Logits of all items in their order, shape (n, classes), float32, the same in every process.

    Process r of w works on items r, r + w, … Each decodes ahead in threads while the network computes.
    """
    rank, world = (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)
    was_training = network.training
    network.eval()
    mine = items[rank::world]
    parts = []
    for batch in _batches(mine, encode, collate):
        inputs = {key: value.to(device) for key, value in batch.items()}
        with torch.autocast(device.type, FORMATS[precision], enabled=FORMATS[precision] is not None):
            parts.append(network(**inputs).float().cpu().numpy())
    network.train(was_training)
    classes = int(network.spec["classes"])
    own = np.concatenate(parts) if parts else np.zeros((0, classes), np.float32)
    return _interleave(own, len(items), rank, world)


def _interleave(own: np.ndarray, count: int, rank: int, world: int) -> np.ndarray:
    """Put the rows that each process has into the order of the items."""
    if world == 1:
        return own
    gathered: list[np.ndarray | None] = [None] * world
    dist.all_gather_object(gathered, own)
    whole = np.empty((count, own.shape[1]), own.dtype)
    for sender, rows in enumerate(gathered):
        whole[sender::world] = rows
    return whole


def _batches(items: tuple[str, ...], encode: Encode, collate: Collate) -> Iterator[dict[str, Tensor]]:
    threads = max((os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1)), 1)
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[list[Future[dict[str, Tensor]]]] = deque()
        for start in range(0, len(items), BATCH):
            waiting.append([pool.submit(encode, item, None) for item in items[start : start + BATCH]])
            if len(waiting) > 2:
                yield collate([future.result() for future in waiting.popleft()])
        while waiting:
            yield collate([future.result() for future in waiting.popleft()])


def share_buffers(network: torch.nn.Module) -> None:
    """Give every process the buffers of process 0 (BatchNorm statistics differ between processes otherwise)."""
    if dist.is_initialized() and dist.get_world_size() > 1:
        for buffer in network.buffers():
            dist.broadcast(buffer, src=0)
