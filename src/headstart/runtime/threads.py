"""How many threads this process takes, how they wait, and the threads that read examples while the
network computes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from typing import Any

SPINS = 10_000  # looks for work before a thread of GNU OpenMP sleeps; its own default is 300,000


def share_cores() -> None:
    """Let OpenMP threads soon sleep while they wait, and let the processes of one run divide the
    cores between them.

    OpenMP reads these variables when torch or scikit-learn is first imported, so call it before;
    one that is set already stays as it is. Threads that spin while they wait keep other processes
    from computing: frozen MiniLM features of 872 sentences on 2 cores take one process 10 s, two at
    once 59 s, with SPINS 21 s; a batch by itself 0.080 and 0.082 s.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
    if neighbours() > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(cores_each()))


def readers() -> ThreadPoolExecutor:
    """As many threads as this process has cores, each of which computes by itself.

    Without that every one of them has torch's own threads as helpers, and they crowd each other and
    the network out (predicting with EfficientNet-Lite0 on 2 cores: 33 → 120 images/s).
    """
    return ThreadPoolExecutor(cores_each(), initializer=_alone)


def cores_each() -> int:
    """How many each process of this run has for itself."""
    return max(cores() // neighbours(), 1)


def neighbours() -> int:
    """How many processes of this run this machine has."""
    said = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(int(said), 1) if said.isdecimal() else 1


def cores() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_blas_thread() -> AbstractContextManager[Any]:
    """Within it, linear algebra of numpy and scipy takes one thread.

    Solvers make thousands of small products, whose threads crowd each other and torch's out: a
    logistic regression on 2,000 × 1,280 features with cross-validated strength takes 6.5 s on two
    cores, 0.9 s on one.
    """
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")


def _alone() -> None:
    import torch

    torch.set_num_threads(1)  # of this thread
