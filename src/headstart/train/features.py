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
import os
import time
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load, save

from headstart.data.cache import STALE_SECONDS, cache_folder, cache_limit, make_room
from headstart.data.dataset import Examples
from headstart.errors import HeadstartError
from headstart.files import atomic
from headstart.models.network import Network
from headstart.runtime.processes import broadcast_from_main, gather_to_main, rank_and_world
from headstart.train.context import TrainContext
from headstart.train.forward import BATCH, assemble, features, in_order, share_of
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
            for digest, row in _read_file(path):
                if digest in wanted:
                    found[digest] = row
        with suppress(OSError):
            os.utime(self.folder)  # the folders used longest ago go first when room is needed
        return found

    def write(self, digests: Sequence[bytes], rows: np.ndarray) -> None:
        """Keep rows of shape (n, width) of examples with these digests, shape (n, 32), if there is
        room; a cache that cannot be written is left alone."""
        names = np.frombuffer(b"".join(digests), np.uint8).reshape(-1, 32)
        content = save({"digests": names, "features": rows}, {"sha256": _checksum(names, rows)})
        with suppress(OSError):
            self.folder.mkdir(parents=True, exist_ok=True)
            _sweep(self.folder)
            if make_room(self.folder.parent, self.folder, len(content), cache_limit()):
                with atomic(self.folder / f"{uuid.uuid4().hex}.safetensors") as draft:
                    draft.write_bytes(content)


def extract(
    network: Network, part: str, examples: Examples, context: TrainContext
) -> tuple[np.ndarray | None, int]:
    """The features of all examples, shape (n, width), float32, and how many the cache had; None in
    all but the main process.

    Each example that the cache lacks passes through the network once, shared out over the
    processes.

    Args:
        part: the role of the examples, for telling.
    """
    cache = FeatureCache(network, context.precision)
    started = time.perf_counter()
    digests = list(examples.digests)
    known = cache.read(set(digests)) if rank_and_world()[0] == 0 else {}
    # exact copies count once
    first = {digest: row for row, digest in reversed(list(enumerate(digests)))}
    missing, cached = broadcast_from_main(
        lambda: (
            in_order(
                [row for digest, row in first.items() if digest not in known],
                examples.items,
                context.plain,
            ),
            sum(digest in known for digest in digests),
        )
    )
    mine = share_of(len(missing))
    own = _compute(
        network,
        part,
        examples.take([missing[number] for number in mine]),
        len(missing),
        cache,
        context,
    )
    parts = gather_to_main((mine, own))
    context.tell(
        {
            "event": "features",
            "part": part,
            "of": len(examples),
            "cached": cached,
            "computed": len(missing),
            "seconds": time.perf_counter() - started,
        }
    )
    if not parts:
        return None, cached
    computed = assemble(parts)
    del own, parts  # of many examples each copy of their features is large
    known.update(zip((digests[row] for row in missing), computed, strict=True))
    return np.stack([known[digest] for digest in digests]), cached


def seconds_to_extract(network: Network, examples: Examples, context: TrainContext) -> float:
    """A guess at the time that `extract` will take, from a few real batches of what the cache
    lacks."""
    digests = list(examples.digests)
    known = FeatureCache(network, context.precision).read(set(digests))
    missing = [row for row, digest in enumerate(digests) if digest not in known]
    items = [examples.items[row] for row in missing[: 3 * BATCH]]
    done, seconds = 0, 0.0
    network.to(context.device)
    started = time.perf_counter()
    for batch in features(network, items, context.plain, context.device, context.precision):
        done, seconds = done + len(batch), time.perf_counter() - started
    return len(missing) * seconds / max(done, 1) / rank_and_world()[1]


def _compute(
    network: Network,
    part: str,
    examples: Examples,
    count: int,
    cache: FeatureCache,
    context: TrainContext,
) -> np.ndarray:
    """The features of this process's share of `count` examples, put into the cache as they come."""
    rows = np.zeros((0, 0), np.float32)
    done = kept = 0
    started = time.perf_counter()
    network.to(context.device)
    try:
        for batch in features(
            network, list(examples.items), context.plain, context.device, context.precision
        ):
            _check(batch, examples.take(range(done, done + len(batch))), network, context)
            if not done:
                rows = np.empty((len(examples), batch.shape[1]), np.float32)
            rows[done : done + len(batch)] = batch
            done += len(batch)
            if done - kept >= ROWS:
                cache.write(examples.digests[kept:done], rows[kept:done])
                kept = done
            seen = min(done * rank_and_world()[1], count)
            speed = seen / (time.perf_counter() - started)
            context.tell(
                {
                    "event": "extracting",
                    "part": part,
                    "seen": seen,
                    "of": count,
                    "examples_per_second": speed,
                }
            )
    finally:  # an interrupted extraction goes on from here
        if done > kept:
            cache.write(examples.digests[kept:done], rows[kept:done])
    return rows


def _check(batch: np.ndarray, examples: Examples, network: Network, context: TrainContext) -> None:
    """Refuse features that are no numbers, or of something else than what was read before."""
    for row, made in enumerate(batch):
        assert_unchanged(examples, row, context.plain)
        if not np.isfinite(made).all():
            raise HeadstartError(
                f"model: {network.spec.backbone} makes no finite numbers of "
                f"{examples.names[row]}; are its weights "
                f"damaged, or is {context.precision} too narrow for them (train.precision = "
                '"fp32")?'
            )


def _read_file(path: Path) -> Iterator[tuple[bytes, np.ndarray]]:
    try:
        content = path.read_bytes()
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        arrays = load(content)
        names, rows = arrays["digests"], arrays["features"]
        if header["__metadata__"]["sha256"] == _checksum(names, rows):
            yield from ((name.tobytes(), row) for name, row in zip(names, rows, strict=True))
            return
    except FileNotFoundError:  # another process made room
        return
    except (OSError, ValueError, KeyError, TypeError, RecursionError, SafetensorError):
        pass
    with suppress(OSError):
        path.unlink()


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
