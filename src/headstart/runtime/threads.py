"""Threads of this process: their number, how they wait, and those that read examples while the
network computes."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from threadpoolctl import threadpool_limits

SPINS = 10_000  # of a waiting GNU OpenMP thread before it sleeps; the default is 300,000


def share_cores() -> None:
    """Let waiting OpenMP threads sleep soon, and divide the cores between the processes of a run.

    OpenMP reads these variables when torch or scikit-learn is first imported, so call this before.
    Variables that are already set are kept. Spinning threads block other processes: frozen MiniLM
    features of 872 sentences on 2 cores take 10 s alone, two processes at once 59 s, with SPINS
    21 s; a single batch takes 0.080 s and 0.082 s.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("GOMP_SPINCOUNT", str(SPINS))
    if local_processes() > 1:
        os.environ.setdefault("OMP_NUM_THREADS", str(cores_per_process()))


def readers() -> ThreadPoolExecutor:
    """A pool of one thread per core, without torch's thread pool inside each of them, which would
    oversubscribe the cores (predicting with EfficientNet-Lite0 on 2 cores: 33 → 120 images/s)."""
    return ThreadPoolExecutor(cores_per_process(), initializer=_limit_torch)


def cores_per_process() -> int:
    """Cores per process of this run."""
    return max(cores() // local_processes(), 1)


def local_processes() -> int:
    """Processes of this run on this machine."""
    size = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(int(size), 1) if size.isdecimal() else 1


def cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def one_blas_thread() -> threadpool_limits:
    """A context in which linear algebra of numpy and scipy uses one thread.

    Solvers make thousands of small products, for which threads cost more than they gain: a logistic
    regression on 2,000 × 1,280 features with cross-validated C takes 6.5 s with two threads, 0.9 s
    with one.
    """
    from threadpoolctl import threadpool_limits

    return threadpool_limits(1, "blas")


def _limit_torch() -> None:
    import torch

    torch.set_num_threads(1)  # for this thread only
