"""Where a killed run goes on: states of one training, written under another name and renamed when
they are whole.

A checkpoint is a folder of tensors (safetensors) and one JSON file, which names the others with
their SHA-256 and begins with its own. One that is damaged in any way is removed, and the one before
takes its place. At most two are kept.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from headstart.evaluate.events import Note
from headstart.files import atomic, file_digest, remove
from headstart.recipe.training import NO_EFFECT_ON_RESULT
from headstart.runtime.processes import from_main, rank_and_world
from headstart.train.context import Context

STATE = "state.json"
FORMAT = 2  # raise it when what a checkpoint holds changes
KEPT = 2
Tensors = dict[str, dict[str, Tensor]]


@dataclass(frozen=True)
class Checkpoint:
    """A state as plain JSON values, and tensors in named groups."""

    state: dict[str, object]
    tensors: Tensors


class Checkpoints:
    """The checkpoints of one training, in a folder of their own."""

    def __init__(self, context: Context, folder: Path) -> None:
        self._folder, self._key, self._on_event = folder, _key(context), context.on_event
        self._seconds = context.recipe.train.checkpoint_seconds
        self._saved = time.monotonic()

    @from_main
    def due(self) -> bool:
        """Whether enough time has passed since the last one; the same in every process."""
        return time.monotonic() - self._saved >= self._seconds

    def save(
        self, name: str, state: Mapping[str, object], tensors: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        """Write a checkpoint; names sort in the order of time.

        A disk that is full costs the checkpoint, not the run.
        """
        if rank_and_world()[0] == 0:
            try:
                with atomic(self._folder / name, exclusive=True) as draft:
                    self._write(draft, state, tensors)
                for old in self._whole()[KEPT:]:
                    remove(old)
            except (OSError, SafetensorError) as error:
                self._note(f"no checkpoint could be written: {error}")
        self._saved = time.monotonic()

    @from_main
    def latest(self) -> Checkpoint | None:
        """The newest one that is whole and belongs to the key; the same in every process."""
        for folder in self._whole():
            try:
                return self._read(folder)
            except (
                OSError,
                ValueError,
                KeyError,
                TypeError,
                AttributeError,
                RecursionError,
                SafetensorError,
            ) as error:
                self._note(
                    f"checkpoint {folder.name} is damaged ({error}); going on from the one before"
                )
                remove(folder)
        return None

    def _read(self, folder: Path) -> Checkpoint | None:
        """A checkpoint; None, and all are removed, if it belongs to another key."""
        digest, _, content = (folder / STATE).read_bytes().partition(b"\n")
        if hashlib.sha256(content).hexdigest().encode() != digest:
            raise ValueError(f"{STATE} does not match its checksum")
        saved = json.loads(content)
        changed = [name for name in self._key if saved["key"].get(name) != self._key[name]]
        if changed:
            self._note(
                f"{', '.join(changed)} changed since this run was interrupted, so it starts anew"
            )
            for other in self._whole():
                remove(other)
            return None
        for name, digest in saved["files"].items():
            if file_digest(folder / name) != digest:
                raise ValueError(f"{name} does not match its checksum")
        groups = {Path(name).stem: load_file(folder / name) for name in saved["files"]}
        return Checkpoint(saved["state"], groups)

    def _note(self, note: str) -> None:
        self._on_event(Note(note))

    def _whole(self) -> list[Path]:
        """Folders that were renamed, the newest first."""
        with suppress(OSError):
            return sorted(
                (path for path in self._folder.iterdir() if path.name[0] != "."), reverse=True
            )
        return []

    def _write(
        self, draft: Path, state: Mapping[str, object], tensors: Mapping[str, Mapping[str, Tensor]]
    ) -> None:
        draft.mkdir(parents=True)
        files = {}
        for group, values in tensors.items():
            path = draft / f"{group}.safetensors"
            save_file(
                {name: value.detach().cpu().contiguous() for name, value in values.items()}, path
            )
            files[path.name] = file_digest(path)
        content = json.dumps(
            {"key": self._key, "files": files, "state": state}, ensure_ascii=False
        ).encode()
        (draft / STATE).write_bytes(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)


def _key(context: Context) -> dict[str, object]:
    """What the checkpoints of a training depend on: they serve no other."""
    recipe = context.recipe.model_copy(update={"search": None})
    pretrained = context.network.spec.pretrained
    return {
        "the format of checkpoints": FORMAT,
        "the recipe": recipe.with_changes(train=NO_EFFECT_ON_RESULT).digest(),
        **{f"the {role} part": part.sequence() for role, part in context.dataset.parts().items()},
        "the weights": pretrained.sha256 if pretrained else None,
        "the number format": context.precision,
    }
