"""Features are computed once and never mistaken for others, whoever writes and dies beside."""

from __future__ import annotations

import itertools
import multiprocessing
import os
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.data.cache import STALE_SECONDS
from headstart.data.dataset import Examples
from headstart.errors import HeadstartError
from headstart.evaluate.events import Event, FeaturesDone
from headstart.models.network import Network
from headstart.models.spec import Origin
from headstart.train.context import Context
from headstart.train.features import FeatureCache, extract
from tests.train.conftest import MakeContext, Pixels, digests, encode, examples, small_network

DIGESTS = digests(range(200))


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


def pretrained(seed: int = 0, preprocessor: Pixels = encode, **changes: Any) -> Network:
    network = small_network(seed=seed)
    network.preprocessor = lambda policy="none": preprocessor  # type: ignore[method-assign]
    origin = Origin(name="some", source="somewhere", sha256=f"weights {seed}")
    network.spec = network.spec.model_copy(update={"pretrained": origin, **changes})
    return network


def some(count: int) -> Examples:
    return replace(examples(count), digests=DIGESTS[:count])


def rows(network: Network, part: str, wanted: Examples, context: Context) -> Any:
    return extract(replace(context, network=network), part, wanted)[0]


class Later(Pixels):
    def fingerprint(self, item: str) -> str:
        return super().fingerprint(str(20 + int(item)))


class LastChanged(Pixels):
    def fingerprint(self, item: str) -> str:
        return super().fingerprint("99" if item == "19" else item)


class Log(list[Event]):
    def computed(self) -> list[int]:
        return [event.computed for event in self if isinstance(event, FeaturesDone)]


def test_each_example_passes_through_the_network_once(
    make_context: MakeContext,
) -> None:
    log = Log()
    context = make_context(on_event=log.append)
    network = pretrained()
    first = rows(network, "train", some(70), context)
    again = rows(network, "train", some(70), context)
    more = rows(network, "train", some(75), context)
    assert log.computed() == [70, 0, 5]
    np.testing.assert_array_equal(first, again)
    np.testing.assert_array_equal(first, more[:70])
    with torch.inference_mode():
        alone = network.eval().features(encode("33")["pixel_values"][None]).numpy()
    np.testing.assert_allclose(first[33:34], alone, rtol=1e-4, atol=1e-5)


def test_exact_copies_are_computed_once(make_context: MakeContext) -> None:
    log = Log()
    twice = replace(examples(6), digests=DIGESTS[:3] * 2)
    found = rows(pretrained(), "train", twice, make_context(on_event=log.append))
    assert log.computed() == [3]
    assert isinstance(log[-1], FeaturesDone)
    assert log[-1].cached == 0
    np.testing.assert_array_equal(found[:3], found[3:])


@pytest.mark.parametrize(
    "change",
    [
        lambda context: (pretrained(seed=1), some(20), context),
        lambda context: (pretrained(backbone="test_resnet2"), some(20), context),
        lambda context: (
            pretrained(
                preprocessing=pretrained().spec.preprocessing.model_copy(update={"crop_pct": 0.5})
            ),
            some(20), context
        ),
        lambda context: (pretrained(), some(20), replace(context, precision="bf16")),
        lambda context: (
            pretrained(preprocessor=Later()),
            replace(some(20), digests=DIGESTS[20:40]),
            context,
        ),
    ],
    ids=["weights", "architecture", "preprocessing", "number format", "contents"],
)  # fmt: skip
def test_nothing_stale_is_read(change: Callable[[Context], Any], make_context: MakeContext) -> None:
    log = Log()
    context = make_context(on_event=log.append)
    rows(pretrained(), "train", some(20), context)
    network, other, changed = change(context)
    rows(network, "train", other, changed)
    assert log.computed() == [20, 20]


def test_one_changed_example_is_computed_anew_alone(
    make_context: MakeContext,
) -> None:
    log = Log()
    context = make_context(on_event=log.append)
    rows(pretrained(), "train", some(20), context)
    changed = replace(some(20), digests=(*DIGESTS[:19], DIGESTS[99]))
    with pytest.raises(HeadstartError, match="19: has changed since the data was read"):
        rows(pretrained(), "train", changed, context)
    rows(pretrained(preprocessor=LastChanged()), "train", changed, context)
    assert log.computed() == [20, 1]


def test_features_that_are_no_numbers_are_refused_and_not_kept(
    make_context: MakeContext,
) -> None:
    network = pretrained()
    with torch.no_grad():
        next(network.parameters()).fill_(float("nan"))
    with pytest.raises(HeadstartError, match="makes no finite numbers of 0"):
        rows(network, "train", some(5), make_context())
    assert not list(FeatureCache(network, "fp32").folder.glob("*"))


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "json"])
def test_a_damaged_file_is_deleted_and_its_rows_are_made_again(
    damage: str, make_context: MakeContext
) -> None:
    log = Log()
    context, network = make_context(on_event=log.append), pretrained()
    first = rows(network, "train", some(20), context)
    (file,) = FeatureCache(network, "fp32").folder.glob("*.safetensors")
    content = bytearray(file.read_bytes())
    if damage == "flip":
        content[-100] ^= 1  # one bit of one feature
    file.write_bytes(
        {"cut": content[:-4], "flip": content, "empty": b"", "json": b"\x04" + bytes(7) + b"nope"}[
            damage
        ]
    )
    np.testing.assert_array_equal(rows(network, "train", some(20), context), first)
    assert log.computed() == [20, 20]
    assert not file.exists()


def test_an_interrupted_extraction_goes_on(make_context: MakeContext) -> None:
    log = Log()
    context, network = make_context(on_event=log.append), pretrained()

    class Stopping(Pixels):
        def __call__(self, item: str, seed: int | None = None) -> dict[str, torch.Tensor]:
            if item == "100":
                raise KeyboardInterrupt
            return super().__call__(item, seed)

    with pytest.raises(KeyboardInterrupt):
        rows(pretrained(preprocessor=Stopping()), "train", some(150), context)
    rows(network, "train", some(150), context)
    assert 50 <= log.computed()[0] < 150


def test_the_cache_keeps_to_its_limit(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log()
    context = make_context(on_event=log.append)
    networks = [pretrained(seed) for seed in range(3)]
    rows(networks[0], "train", some(100), context)
    (file,) = FeatureCache(networks[0], "fp32").folder.iterdir()
    file_size = file.stat().st_size
    monkeypatch.setenv("HEADSTART_CACHE_GB", str(2.5 * file_size / 1e9))
    for number, network in enumerate(networks):
        if number:
            rows(network, "train", some(100), context)
        os.utime(FeatureCache(network, "fp32").folder, (number, number))
    there = [FeatureCache(network, "fp32").folder.exists() for network in networks]
    assert there == [False, True, True], "the one used longest ago went"
    monkeypatch.setenv("HEADSTART_CACHE_GB", str(0.5 * file_size / 1e9))
    rows(pretrained(7), "train", some(100), context)
    assert all(FeatureCache(network, "fp32").folder.exists() for network in networks[1:]), (
        "nothing makes room in vain"
    )
    monkeypatch.setenv("HEADSTART_CACHE_GB", "0")
    assert rows(pretrained(5), "train", some(10), context) is not None
    assert not list(FeatureCache(pretrained(5), "fp32").folder.glob("*"))
    monkeypatch.setenv("HEADSTART_CACHE_GB", "much")
    with pytest.raises(HeadstartError, match="HEADSTART_CACHE_GB: found 'much'"):
        rows(pretrained(6), "train", some(10), context)


def test_a_cache_that_cannot_be_written_is_no_trouble(
    make_context: MakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "file"))
    assert rows(pretrained(), "train", some(5), make_context()) is not None


def test_what_killed_writers_left_is_swept_in_time() -> None:
    cache = FeatureCache(pretrained(), "fp32")
    cache.folder.mkdir(parents=True)
    old, new = cache.folder / ".old.headstart-draft", cache.folder / ".new.headstart-draft"
    for draft in (old, new):
        draft.write_bytes(b"half")
    os.utime(old, (0, time.time() - STALE_SECONDS - 5))
    cache.write(DIGESTS[:2], np.ones((2, 3), np.float32))
    assert (old.exists(), new.exists()) == (False, True)
    assert set(cache.read(set(DIGESTS))) == set(DIGESTS[:2])


def row_of(digest: bytes) -> np.ndarray:
    return np.full(50_000, int.from_bytes(digest), np.float32)


def write_for_ever(cache: FeatureCache) -> None:
    while True:
        for start in range(0, 200, 20):
            names = DIGESTS[start : start + 20]
            cache.write(names, np.stack([row_of(name) for name in names]))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks writers")
@pytest.mark.filterwarnings("ignore:This process")
def test_two_writers_and_kill_leave_no_wrong_row() -> None:
    cache = FeatureCache(pretrained(), "fp32")
    seen = drafts = 0
    deadline = time.monotonic() + 60
    for pause in itertools.cycle((0.02, 0.05, 0.08, 0.13, 0.21, 0.34)):
        writers = [
            multiprocessing.get_context("fork").Process(target=write_for_ever, args=(cache,))
            for _ in range(2)
        ]
        for writer in writers:
            writer.start()
        time.sleep(pause)
        for writer in writers:
            writer.kill()
            writer.join()
        drafts += len(list(cache.folder.glob(".*.headstart-draft*")))
        found = cache.read(set(DIGESTS))
        seen += len(found)
        for digest, row in found.items():
            np.testing.assert_array_equal(row, row_of(digest))
        if seen and drafts and pause == 0.34:
            return
        assert time.monotonic() < deadline, (
            f"{seen} rows seen, {drafts} writers killed in the middle of a write"
        )
