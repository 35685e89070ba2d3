"""Order, weights and seeds of training examples."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from headstart.train.sampling import Batches, SampleSpec, Shard, seed_for


def epoch(
    world: int, accumulation: int, count: int = 21, batch_size: int = 8, number: int = 0
) -> list[list[list[SampleSpec]]]:
    """For each optimizer step, the micro-batches of all processes."""
    ranks = []
    for rank in range(world):
        batches = Batches(
            count, batch_size, accumulation, seed=1, phase=0, shard=Shard(rank, world)
        )
        batches.epoch = number
        micro = list(batches)
        assert len(micro) == len(batches)
        ranks.append([micro[i : i + accumulation] for i in range(0, len(micro), accumulation)])
    return [[part for rank in ranks for part in rank[step]] for step in range(len(ranks[0]))]


@pytest.mark.parametrize(("world", "accumulation"), [(1, 1), (1, 4), (2, 1), (2, 2), (3, 2)])
def test_every_step_holds_the_same_examples_and_weights_that_sum_to_one(
    world: int, accumulation: int
) -> None:
    for whole, parts in zip(epoch(1, 1), epoch(world, accumulation), strict=True):
        counted = [pick for part in parts for pick in part if pick.weight]
        assert sorted(counted) == sorted(whole[0])
        assert sum(pick.weight for pick in counted) == pytest.approx(1)
        assert all(parts), "no process is left without work"


def test_an_epoch_is_a_permutation_and_epochs_differ() -> None:
    rows = [
        [pick.row for step in epoch(1, 1, number=n) for part in step for pick in part]
        for n in (0, 1)
    ]
    assert sorted(rows[0]) == sorted(rows[1]) == list(range(21))
    assert rows[0] != rows[1]


@pytest.mark.parametrize(
    ("count", "batch_size"), [(9, 8), (33, 32), (21, 8), (100, 7), (5, 8), (64, 32)]
)
def test_batches_are_as_few_as_can_be_and_of_one_size(count: int, batch_size: int) -> None:
    sizes = [len(batch) for batch in Batches(count, batch_size, 1, seed=0, phase=0)]
    assert len(sizes) == -(-count // batch_size)
    assert max(sizes) <= batch_size
    assert max(sizes) - min(sizes) <= 1
    assert sum(sizes) == count


def test_seeds_depend_on_the_whole_key() -> None:
    keys = [(1, 0, 0, 5), (1, 0, 1, 5), (1, 1, 0, 5), (2, 0, 0, 5), (1, 0, 0, 6), (1, 0, 5)]
    assert max(Counter(seed_for(*key) for key in keys).values()) == 1
    assert seed_for(1, 2, 3) == seed_for(1, 2, 3)


@pytest.mark.parametrize(
    ("count", "batch_size", "world"),
    [(1000, 8, 1), (1000, 8, 2), (1003, 8, 1), (5, 8, 1), (2000, 16, 2)],
)
def test_examples_of_like_size_share_a_batch(count: int, batch_size: int, world: int) -> None:
    sizes = np.random.default_rng(0).integers(1, 1000, count)

    def batches(sized: np.ndarray | None, number: int = 0) -> list[list[int]]:
        ranks = []
        for rank in range(world):
            made = Batches(
                count, batch_size, 1, seed=1, phase=0, shard=Shard(rank, world), sizes=sized
            )
            made.epoch = number
            ranks.append([[pick.row for pick in picks if pick.weight] for picks in made])
        return [[row for part in step for row in part] for step in zip(*ranks, strict=True)]

    def padding(found: list[list[int]]) -> float:
        return sum(len(rows) * sizes[rows].max() for rows in found) / sizes.sum() - 1

    grouped, plain = batches(sizes), batches(None)
    assert sorted(row for rows in grouped for row in rows) == list(range(count))
    assert [len(rows) for rows in sorted(grouped, key=len)] == [
        len(rows) for rows in sorted(plain, key=len)
    ]
    assert grouped == batches(sizes)
    if count > batch_size:
        assert padding(grouped) < 0.2 * padding(plain)
        assert grouped != batches(sizes, number=1)
        largest = [int(sizes[rows].max()) for rows in grouped]
        assert largest != sorted(largest), "short and long batches come in random order"
