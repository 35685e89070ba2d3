"""Decoded examples that stay in memory."""

from __future__ import annotations

import multiprocessing
import pickle

import numpy as np
import pytest

from headstart.train.decoded_cache import DecodedCache
from headstart.train.loader import TrainingSet
from headstart.train.sampling import SampleSpec
from tests.train.conftest import Pixels, examples

ARRAYS = [
    np.arange(24, dtype=np.uint8).reshape(2, 4, 3),
    np.arange(7, dtype=np.int32),
    np.full((2, 5), 70_000, np.int32),
]


def test_what_is_put_comes_back() -> None:
    kept = DecodedCache(3, 1000)
    assert [kept.get(row) for row in range(3)] == [None] * 3
    for row, array in reversed(list(enumerate(ARRAYS))):
        kept.put(row, array)
    for row, array in enumerate(ARRAYS):
        found = kept.get(row)
        assert found is not None
        assert found.dtype == array.dtype
        np.testing.assert_array_equal(found, array)


def test_what_does_not_fit_is_left_out_and_smaller_ones_still_come_in() -> None:
    kept = DecodedCache(3, 50)
    for row, array in enumerate(ARRAYS):  # 24, 28 and 40 bytes
        kept.put(row, array)
    assert [kept.get(row) is None for row in range(3)] == [False, True, True]
    kept.put(1, ARRAYS[0][:1])
    np.testing.assert_array_equal(kept.get(1), ARRAYS[0][:1])  # type: ignore[arg-type]
    nothing = pickle.loads(pickle.dumps(kept))
    nothing.put(0, ARRAYS[0])
    assert nothing.get(0) is None


def test_forked_processes_share_it() -> None:
    kept = DecodedCache(200, 200 * 24)
    context = multiprocessing.get_context("fork")

    def fill(rows: range) -> None:
        for row in rows:
            kept.put(row, ARRAYS[0] + row)

    processes = [context.Process(target=fill, args=(range(start, 200, 2),)) for start in (0, 1)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    for row in range(200):
        np.testing.assert_array_equal(kept.get(row), ARRAYS[0] + row)  # type: ignore[arg-type]


class Counting(Pixels):
    """Decodes a number into an array, and counts how often."""

    def __init__(self) -> None:
        self.decodings = 0

    def decoded(self, item: str) -> np.ndarray:
        self.decodings += 1
        return np.array([int(item)], np.int32)

    def __call__(self, item: object, seed: int | None = None) -> dict[str, object]:  # type: ignore[override]
        assert isinstance(item, np.ndarray)
        return {"number": int(item[0]), "seed": seed}


@pytest.mark.parametrize(("limit", "decodings"), [(1000, 3), (8, 5), (0, 6)])
def test_each_example_is_decoded_once_while_there_is_room(limit: int, decodings: int) -> None:
    preprocessor = Counting()
    data = TrainingSet(examples(3), preprocessor, 3, DecodedCache(3, limit))
    for epoch in range(2):
        samples = data.__getitems__([SampleSpec(row, 10 * epoch + row, 1 / 3) for row in range(3)])
        assert [inputs for inputs, *_ in samples] == [
            {"number": row, "seed": 10 * epoch + row} for row in range(3)
        ]
    assert preprocessor.decodings == decodings
