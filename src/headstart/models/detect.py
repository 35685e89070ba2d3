"""The kind of a backbone, by its name, and what cannot be a backbone."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from pathlib import Path

from headstart.errors import BackboneError
from headstart.models.packaged import packaged
from headstart.models.spec import CONFIG, Spec, read_spec
from headstart.registry import load_plugin

EXPORTED = (".onnx", ".pt2")
KINDS = ("vision", "text", "word_vectors")


def kind_of(backbone: str, kinds: Sequence[str] = KINDS) -> str:
    """The kind that the package, the file, the folder's config.json or timm's list of names states.

    A package of none of `kinds` counts as the first of them, whose loader reports what is wrong.

    Raises:
        BackboneError: a folder without a config.json, a run or an exported file.
    """
    from headstart.models.word_vectors import is_word_vectors

    if backbone.startswith("packaged:"):
        kind = packaged(backbone.removeprefix("packaged:")).kind
        return kind if kind in kinds else kinds[0]
    if "word_vectors" in kinds and is_word_vectors(backbone):
        return "word_vectors"
    if "vision" not in kinds:
        return "text"
    folder = local_folder(backbone)
    if folder is not None:
        config = _config(folder)
        if config is None:
            raise BackboneError(
                f"model.backbone: {folder} has no readable config.json of timm or transformers"
            )
        return "vision" if "architecture" in config else "text"
    return "vision" if is_timm_model(backbone) else "text"


def is_timm_model(name: str) -> bool:
    """Whether timm has a model of that name, or an entry point of `headstart.backbones` adds it;
    HeadstartError if its module cannot be imported."""
    import timm

    model = name.split(".")[0]
    return timm.is_model(model) or (
        load_plugin("headstart.backbones", model) and timm.is_model(model)
    )


def is_kind(backbone: str, kind: str) -> bool:
    """Whether a backbone is of a kind."""
    return kind_of(backbone) == kind


def local_folder(backbone: str) -> Path | None:
    """The local folder that a backbone's name stands for, if it does.

    Raises:
        BackboneError: it is a run, or a file exported from one; the message has the way out.
    """
    path = Path(os.path.expanduser(backbone))
    if path.suffix in EXPORTED and path.is_file():
        raise BackboneError(
            f"model.backbone: {path} is an exported file, which cannot be trained; expected a "
            "folder of weights, as its run gives with headstart export RUN --to hf"
        )
    for run, model in ((path, path / "model"), (path.parent, path)):
        if {"kind", "preprocessing", "head"} <= (_config(model) or {}).keys():
            spec = read_spec(model)
            raise BackboneError(f"model.backbone: {path} is a run; {_instead(run, spec)}")
    return path if path.is_dir() else None


def _instead(run: Path, spec: Spec) -> str:
    if spec.pretrained and (spec.kind == "word_vectors" or spec.head.is_estimator):
        source = json.dumps(spec.pretrained.source)
        return f"it left its backbone as it was: write model.backbone = {source}"
    return (
        f'export it first (headstart export {run} --to hf), and write model.backbone = "{run}.hf"'
    )


def _config(folder: Path) -> dict[str, object] | None:
    try:
        config = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return None
    return config if isinstance(config, dict) else None
