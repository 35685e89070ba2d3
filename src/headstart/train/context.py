"""What training needs beside network and plan, and what it leaves beside the weights."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headstart.data.dataset import Examples
from headstart.models.preprocessor import Preprocessor
from headstart.recipe import Augment, Train, Transfer
from headstart.train.checkpoints import Checkpoint, Checkpoints
from headstart.train.decoded_cache import DecodedCache
from headstart.train.sampling import Shard


@dataclass(frozen=True)
class TrainContext:
    """All that a phase needs beside the network and the plan."""

    train: Examples
    selection: Examples | None  # the held-out part that chooses the epoch
    augmented: Preprocessor  # of training examples
    plain: Preprocessor
    options: Train
    transfer: Transfer
    augment: Augment
    varied: bool  # whether an example may look different each time
    class_weights: np.ndarray | None
    batch_size: int
    accumulation: int
    seed: int
    device: torch.device
    precision: str
    shard: Shard
    folder: Path
    tell: Callable[[dict[str, Any]], None]
    checkpoints: Checkpoints | None = None
    found: Checkpoint | None = None  # that of an interrupted training, to go on from
    kept: DecodedCache = field(
        default_factory=lambda: DecodedCache(0, 0)
    )  # decoded training examples; none unless told


@dataclass
class History:
    """What happened: one row an epoch, which epoch's weights were kept, and our own measure of
    speed."""

    epochs: list[dict[str, Any]] = field(default_factory=list)
    kept: dict[str, int] | None = None
    fitted: str | None = None  # a head that was fitted as a whole: how, for people
    # training examples whose features were there already, which `seconds` does not count
    cached: int = 0
    examples_per_second: float | None = None
    seconds: float = 0.0
    notes: list[str] = field(default_factory=list)  # remarks for people
