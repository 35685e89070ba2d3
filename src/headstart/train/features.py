"""What a frozen backbone makes of examples: computed once, kept under an address that says all it
depends on.

A feature belongs to (weights, preprocessing, number format, content of the example). The first
three name a folder, the last a row in one of its files; so any change to weights or preprocessing
leads to another folder, a changed example to another row, and runs that share examples share their
features. A file is written under another name, renamed when it is whole, and carries a checksum:
whatever a killed writer or a second one leaves, no wrong row is ever read.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

from headstart.data.cache import STALE_SECONDS, cache_folder, cache_limit, make_room, mark_used
from headstart.data.dataset import Examples
from headstart.errors import RecipeError
from headstart.evaluate.events import Event, Extracting, FeaturesDone
from headstart.files import atomic, remove
from headstart.models.network import Network
from headstart.runtime.bars import Bar
from headstart.runtime.processes import from_main, gather_to_main, rank_and_world
from headstart.train.context import Context
from headstart.train.forward import assemble, features, in_order, share_of
from headstart.train.integrity import assert_unchanged

FORMAT = 3  # raise it when what a feature is changes
ROWS = 512  # of a file: what a killed extraction loses at most


class FeatureCache:
    """The features of one frozen backbone, by the SHA-256 of each example."""

    def __init__(self, network: Network, precision: str) -> None:
        assert network.spec.pretrained, "features of random weights are not worth keeping"
        address = [FORMAT, *network.spec.features_key(), precision]
        name = hashlib.sha256(json.dumps(address, sort_keys=True).encode()).hexdigest()
        cache_limit()  # a wrong one is said before anything is computed
        self.folder = cache_folder() / "features" / name[:32]

    def read(self, wanted: set[bytes]) -> dict[bytes, np.ndarray]:
        """The rows that are there, of shape (width,) each. A file that does not match its checksum
        is deleted."""
        found: dict[bytes, np.ndarray] = {}
        for path in sorted(self.folder.glob("*.safetensors")):
            found.update(_read_file(path, wanted))
        mark_used(self.folder)
        return found

    def write(self, digests: Sequence[bytes], rows: np.ndarray) -> None:
        """Keep rows of shape (n, width) of examples with these digests, shape (n, 32), if there is
        room; a cache that cannot be written is left alone."""
        names = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)
        content = save({"digests": names, "features": rows}, {"sha256": _checksum(names, rows)})
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            _sweep(self.folder)
            if make_room(self.folder, len(content)):
                with atomic(self.folder / f"{uuid.uuid4().hex}.safetensors") as draft:
                    draft.write_bytes(content)


def extract(context: Context, part: str, examples: Examples) -> tuple[np.ndarray | None, int]:
    """The features of all examples, shape (n, width), float32, and how many the cache had; None in
    all but the main process.

    Each example that the cache lacks passes through the network once, shared out over the
    processes.

    Args:
        part: the role of the examples, for events.
    """
    cache = FeatureCache(context.network, context.precision)
    started = time.perf_counter()
    digests = list(examples.digests)
    known = cache.read(set(digests)) if rank_and_world()[0] == 0 else {}
    missing, cached = _missing(context, examples, known)
    mine = share_of(len(missing))
    share = examples.take([missing[number] for number in mine])
    computed = _compute(context, part, share, len(missing), cache)
    parts = gather_to_main((mine, computed))
    seconds = time.perf_counter() - started
    context.on_event(FeaturesDone(part, len(examples), cached, len(missing), seconds))
    if not parts:
        return None, cached
    computed = assemble(parts)
    del parts  # of many examples each copy of their features is large
    known |= dict(zip((digests[row] for row in missing), computed, strict=True))
    return np.stack([known[digest] for digest in digests]), cached


@from_main
def _missing(
    context: Context, examples: Examples, known: Collection[bytes]
) -> tuple[list[int], int]:
    """The rows to compute, exact copies once, and how many examples are known."""
    digests = examples.digests
    first = {digest: row for row, digest in reversed(list(enumerate(digests)))}
    rows = [row for digest, row in first.items() if digest not in known]
    return (
        in_order(rows, examples.items, context.preprocessor),
        sum(digest in known for digest in digests),
    )


def extract_with_bar(context: Context, part: str, examples: Examples) -> np.ndarray | None:
    """The features alone, with a progress bar on a terminal."""
    title = f"features of {part}"
    with Bar(title, len(examples)) as bar:

        def show(event: Event) -> None:
            if isinstance(event, Extracting):
                bar.update(event.seen, title)

        return extract(replace(context, on_event=show), part, examples)[0]


def _compute(
    context: Context, part: str, examples: Examples, count: int, cache: FeatureCache
) -> np.ndarray:
    """The features of this process's share of `count` examples, put into the cache as they come."""
    rows = np.zeros((0, 0), np.float32)
    done = kept = 0
    started = time.perf_counter()
    context.network.to(context.device)
    try:
        for batch in features(context, examples.items):
            _check(context, batch, examples, done)
            if not done:
                rows = np.empty((len(examples), batch.shape[1]), np.float32)
            rows[done : done + len(batch)] = batch
            done += len(batch)
            if done - kept >= ROWS:
                cache.write(examples.digests[kept:done], rows[kept:done])
                kept = done
            seen = min(done * rank_and_world()[1], count)
            speed = seen / (time.perf_counter() - started)
            context.on_event(Extracting(part, seen, count, speed))
    finally:  # an interrupted extraction goes on from here
        if done > kept:
            cache.write(examples.digests[kept:done], rows[kept:done])
    return rows


def _check(context: Context, batch: np.ndarray, examples: Examples, first: int) -> None:
    """Refuse features that are not finite, and examples (the batch begins at row `first`) that
    have changed since they were read."""
    for row, values in enumerate(batch, first):
        assert_unchanged(examples, row, context.preprocessor)
        if not np.isfinite(values).all():
            raise RecipeError(
                f"model: {context.network.spec.backbone} makes no finite numbers of "
                f"{examples.names[row]}; are its weights "
                f"damaged, or is {context.precision} too narrow for them (train.precision = "
                '"fp32")?'
            )


def _read_file(path: Path, wanted: set[bytes]) -> dict[bytes, np.ndarray]:
    """The wanted rows of a file. One that has none of them is not read beyond its digests."""
    try:
        with safe_open(path, "numpy") as file:
            names = file.get_tensor("digests")
            digests = [name.tobytes() for name in names]
            if wanted.isdisjoint(digests):
                return {}
            rows = file.get_tensor("features")
            if file.metadata()["sha256"] == _checksum(names, rows):
                found = zip(digests, rows, strict=True)
                return {digest: row for digest, row in found if digest in wanted}
    except FileNotFoundError:  # another process made room
        return {}
    except (OSError, ValueError, KeyError, TypeError, SafetensorError):
        pass
    remove(path)
    return {}


def _checksum(names: np.ndarray, rows: np.ndarray) -> str:
    total = hashlib.sha256(repr(rows.shape).encode())
    total.update(np.ascontiguousarray(names).data)
    total.update(np.ascontiguousarray(rows).data)
    return total.hexdigest()


def _sweep(folder: Path) -> None:
    """Delete what writers left that were killed long ago."""
    for draft in folder.glob(".*.headstart-draft*"):
        with suppress(OSError):
            if time.time() - draft.stat().st_mtime > STALE_SECONDS:
                draft.unlink()
