"""Which kind of backbone a name stands for, where a task takes any."""

from __future__ import annotations

import json
import os
from pathlib import Path

from headstart.errors import HeadstartError
from headstart.models.packaged import packaged
from headstart.models.word_vectors import is_word_vectors


def kind_of(backbone: str) -> str:
    """ "vision", "text" or "word_vectors", by the package, the file, a folder's config.json, or timm's list of names.

    Raises:
        HeadstartError: a package or folder that holds none of them.
    """
    if backbone.startswith("packaged:"):
        return packaged(backbone.removeprefix("packaged:")).kind
    if is_word_vectors(backbone):
        return "word_vectors"
    folder = Path(os.path.expanduser(backbone))
    if folder.is_dir():
        try:
            config = json.loads((folder / "config.json").read_text(encoding="utf-8"))
            return "vision" if "architecture" in config else "text"
        except (OSError, ValueError, TypeError, RecursionError):
            raise HeadstartError(
                f"model.backbone: {folder} has no readable config.json; expected the folder of a timm or transformers model"
            ) from None
    import timm

    return "vision" if timm.is_model(backbone.split(".")[0]) else "text"
