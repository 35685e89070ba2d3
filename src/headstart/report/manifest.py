"""The origin of a result: data, weights, packages, hardware, source revision, seed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path

from headstart.data.dataset import Dataset
from headstart.recipe import Recipe

PACKAGES = (
    "headstart", "torch", "torchvision", "timm", "transformers", "accelerate", "datasets", "gensim",
    "pyarrow", "pandas", "scikit-learn", "numpy", "pillow",
)  # fmt: skip


def manifest(
    recipe: Recipe,
    dataset: Dataset,
    backbone: Mapping[str, object],
    settings: Mapping[str, object],
    device: str,
    processes: int,
) -> dict[str, object]:
    """The values of `manifest.json`.

    Args:
        backbone: its architecture and pretrained weights.
        settings: of training, with those that the recipe left open.
    """
    return {
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "recipe_sha256": recipe.digest(),
        "seed": recipe.seed,
        "settings": settings,
        "source": recipe.data.source or recipe.data.train,
        "data": {
            role: {"n": len(examples), "sha256": examples.digest()}
            for role, examples in dataset.parts().items()
        },
        "labels": list(dataset.labels),
        "backbone": backbone,
        "packages": {name: _version(name) for name in PACKAGES},
        "python": platform.python_version(),
        "system": platform.platform(),
        "device": device,
        "processor": _processor(),
        "cores": os.cpu_count(),
        "processes": processes,
        "git_commit": _commit(),
        "command": sys.argv[1:],
    }


def _version(name: str) -> str | None:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.partition(":")[2].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor()


def _commit() -> str | None:
    """The commit of the working directory's repository, if there is one."""
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        result = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return result.stdout.strip() or None
