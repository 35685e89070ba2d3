"""The private interfaces of other packages that headstart uses: here alone, each with a test that
it still is what is said of it."""

from __future__ import annotations

import atexit
import logging
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from datasets import Dataset
    from sklearn.base import BaseEstimator
    from sklearn.neighbors import KNeighborsClassifier
    from torch import nn
    from transformers import TrainingArguments


def run_exit_handlers() -> None:
    """Call what was registered with `atexit`, for a process that then ends by `os._exit`."""
    atexit._run_exitfuncs()


def content_id(dataset: Dataset) -> str:
    """A digest of a `datasets.Dataset`: of its files and of all that was done with them."""
    return str(dataset._fingerprint)


def use_one_gpu(arguments: TrainingArguments) -> None:
    """Keep the Trainer from `nn.DataParallel`: several GPUs are the launcher's work."""
    arguments._n_gpu = min(arguments.n_gpu, 1)


def is_compiled(module: nn.Module) -> bool:
    """Whether `module.compile()` was called."""
    return module._compiled_call_impl is not None


def undo_compile(module: nn.Module) -> None:
    """Run a module as it was before `module.compile()`."""
    module._compiled_call_impl = None


def only_log_errors_of_compiling() -> None:
    """No traceback of each function that stays uncompiled."""
    import torch._logging

    torch._logging.set_logs(all=logging.ERROR)  # type: ignore[attr-defined]


def run_uncompiled_on_errors() -> None:
    """What cannot be compiled runs as it was."""
    import torch._dynamo

    torch._dynamo.config.suppress_errors = True


def check_parameters(estimator: BaseEstimator) -> None:
    """Validate a scikit-learn estimator's parameters, which otherwise happens when it is fitted.

    Raises:
        ValueError: one has a wrong type or value.
    """
    estimator._validate_params()


class Neighbours(NamedTuple):
    """What a fitted KNeighborsClassifier looks up: its labels, its examples, shape (n, features),
    and the tree over them, None for brute force."""

    labels: np.ndarray
    examples: np.ndarray
    tree: object


def neighbours_of(classifier: KNeighborsClassifier) -> Neighbours:
    return Neighbours(classifier._y, classifier._fit_X, classifier._tree)


class SupportVectors(NamedTuple):
    """What libsvm reads of a fitted SVC or NuSVC: how many vectors each class has, shape
    (classes,), their coefficients, shape (classes - 1, vectors), and an intercept for each pair of
    classes."""

    counts: np.ndarray
    coefficients: np.ndarray
    intercepts: np.ndarray


def support_vectors_of(classifier: BaseEstimator) -> SupportVectors | None:
    """None for an estimator of another kind."""
    if not hasattr(classifier, "_n_support"):
        return None
    return SupportVectors(classifier._n_support, classifier._dual_coef_, classifier._intercept_)
