"""Where a result comes from: data, weights, packages, hardware, source revision, seed."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from headstart.data.dataset import Dataset
from headstart.models.spec import Spec
from headstart.recipe import Recipe

PACKAGES = (
    "headstart",
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "accelerate",
    "datasets",
    "gensim",
    "pyarrow",
    "pandas",
    "scikit-learn",
    "numpy",
    "pillow",
)


def manifest(
    recipe: Recipe,
    dataset: Dataset,
    spec: Spec,
    settings: dict[str, Any],
    device: str,
    processes: int,
) -> dict[str, Any]:
    """Plain values for `manifest.json`. `settings` holds what the recipe left open and the run
    settled."""
    origin = spec.pretrained
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
        "backbone": {
            "architecture": spec.backbone,
            "pretrained": origin
            and {"from": origin.source, "name": origin.name, "sha256": origin.sha256},
        },
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
    """The revision of the repository the command was given in, if there is one."""
    try:
        command = ["git", "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
        asked = subprocess.run(command, capture_output=True, text=True, timeout=5, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    return asked.stdout.strip() or None
