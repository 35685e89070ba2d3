"""Splits keep their promises, whatever the data."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.catalogue import read_recipe
from headstart.data.dataset import Dataset, Examples
from headstart.data.readers import read_texts
from headstart.data.splits import (
    group_folds,
    group_mask,
    stratified_folds,
    stratified_mask,
    subset,
    time_mask,
    times_of,
)
from headstart.errors import HeadstartError
from tests.conftest import WriteRecipe

LABELS = st.lists(st.integers(0, 3), min_size=4, max_size=80)
SEEDS = st.integers(0, 2**31 - 1)


def examples(labels: list[int], keys: list[str] | None = None) -> Examples:
    items = tuple(f"text {row}" for row in range(len(labels)))
    digests = tuple(hashlib.sha256(item.encode()).digest() for item in items)
    return Examples(items, np.array(labels), items, digests, None if keys is None else tuple(keys))


@given(LABELS, st.floats(0.05, 0.95), SEEDS)
def test_a_share_of_each_class_within_one(labels: list[int], share: float, seed: int) -> None:
    part = examples(labels)
    carved = stratified_mask(part, share, seed)
    for label in set(labels):
        own = part.labels == label
        count, taken = int(own.sum()), int(carved[own].sum())
        assert taken == (0 if count == 1 else min(max(round(share * count), 1), count - 1))
        assert abs(taken - share * count) <= 1


@given(LABELS, SEEDS, st.randoms())
def test_the_order_of_the_rows_does_not_matter(
    labels: list[int], seed: int, random: object
) -> None:
    part = examples(labels)
    order = np.random.default_rng(seed).permutation(len(labels))
    mixed = part.take(order)
    for choose in (
        lambda some: stratified_mask(some, 0.3, seed),
        lambda some: stratified_folds(some, 3, seed) == 1,
        lambda some: np.isin(np.arange(len(some)), subset(some, len(some) // 2, seed)),
    ):
        assert set(part.take(np.flatnonzero(choose(part))).items) == set(
            mixed.take(np.flatnonzero(choose(mixed))).items
        )


@given(LABELS, st.integers(2, 6), SEEDS)
def test_folds_are_disjoint_complete_and_stratified_within_one(
    labels: list[int], folds: int, seed: int
) -> None:
    found = stratified_folds(examples(labels), folds, seed)
    assert found.shape == (len(labels),)
    assert set(found) <= set(range(folds))
    for label in set(labels):
        sizes = np.bincount(found[np.array(labels) == label], minlength=folds)
        assert sizes.max() - sizes.min() <= 1


@given(LABELS, SEEDS)
def test_smaller_subsets_lie_in_larger_ones_and_keep_the_classes(
    labels: list[int], seed: int
) -> None:
    part = examples(labels)
    counts = np.bincount(labels)
    before: set[int] = set()
    for size in range(1, len(labels) + 1):
        rows = subset(part, size, seed)
        assert len(rows) == max(size, (counts > 0).sum())
        assert before <= set(rows.tolist())
        before = set(rows.tolist())
        if size >= 2 * len(counts):
            taken = np.bincount(part.labels[rows], minlength=len(counts))
            assert (np.abs(taken - counts * size / len(labels)) <= len(counts)).all()
            assert (taken[counts > 0] >= 1).all()


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 12)), min_size=12, max_size=80),
    st.floats(0.1, 0.5),
    SEEDS,
)
def test_groups_stay_whole(rows: list[tuple[int, int]], share: float, seed: int) -> None:
    keys = [f"patient {group}" for _, group in rows]
    part = examples([label for label, _ in rows], keys)
    if len(set(keys)) < 2:
        with pytest.raises(HeadstartError, match=r"data\.split: found 1 groups"):
            group_mask(part, share, seed)
        return
    carved = group_mask(part, share, seed)
    assert carved.any()
    assert not carved.all()
    inside, outside = (
        {key for key, taken in zip(keys, carved, strict=True) if taken is wanted}
        for wanted in (True, False)
    )
    assert not inside & outside


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 30), min_size=2, max_size=60).filter(lambda times: len(set(times)) > 1),
    st.floats(0.05, 0.9),
)
def test_the_latest_are_held_out_and_one_time_stays_together(
    times: list[int], share: float
) -> None:
    carved = time_mask(examples([0] * len(times), [str(time) for time in times]), share, 0)
    late, early = np.array(times)[carved], np.array(times)[~carved]
    assert len(late) >= round(share * len(times))
    assert not len(early) or early.max() < late.min()


def test_folds_of_groups_deal_out_every_group_once() -> None:
    keys = [f"{row % 9}" for row in range(90)]
    found = group_folds(examples([row % 2 for row in range(90)], keys), 3, seed=0)
    assert sorted(set(found)) == [0, 1, 2]
    assert all(
        len({fold for fold, key in zip(found, keys, strict=True) if key == one}) == 1
        for one in set(keys)
    )


def dated(*keys: str) -> Examples:
    return examples([0] * len(keys), list(keys))


def test_moments() -> None:
    found = times_of(
        dated("2024-05-31", "20240531T1800", "2024-06-01T00:00:00+02:00", "20240601", "2024-06-02")
    )
    assert (np.diff(found) > 0).all()
    assert times_of(dated("3", "12.5", "20240531")).tolist() == [3, 12.5, 20240531]
    np.testing.assert_array_equal(
        *(
            times_of(dated(*keys))
            for keys in (("20240531", "2024-05-31"), ("2024-05-31", "20240531"))
        )
    )


@pytest.mark.parametrize("keys", [("May",), ("2024-05-31", "12"), ("1", "nan"), ("1", "1e999")])
def test_what_is_no_moment(keys: tuple[str, ...]) -> None:
    with pytest.raises(HeadstartError, match=rf"data\.columns\.time: found '{keys[-1][:40]}' of "):
        times_of(dated(*keys))


@pytest.fixture
def table(tmp_path: Path) -> Path:
    """60 texts of 2 classes by 12 authors in 30 days."""
    path = tmp_path / "posts.csv"
    rows = [
        f"text {row},{'ab'[row % 2]},author {row % 12},2024-01-{row // 2 + 1:02},7"
        for row in range(60)
    ]
    path.write_text("text,label,author,day,same\n" + "\n".join(rows) + "\n")
    return path


def read(write_recipe: WriteRecipe, table: Path, *overrides: str) -> Dataset:
    path = write_recipe(task="text_classification", data={"source": str(table), "validation": None})
    return read_texts(read_recipe(path, overrides))


def keys(part: Examples | None) -> set[str]:
    assert part is not None
    assert part.keys is not None
    return set(part.keys)


def test_a_recipe_splits_by_group(write_recipe: WriteRecipe, table: Path) -> None:
    found = read(write_recipe, table, "data.columns.group=author")
    parts = [keys(part) for part in (found.train, found.validation, found.test)]
    assert sum(map(len, parts)) == len(set().union(*parts)) == 12


def test_a_recipe_splits_by_time(write_recipe: WriteRecipe, table: Path) -> None:
    asked = ("data.columns.time=day",)
    found = read(write_recipe, table, *asked)
    assert (
        max(keys(found.train))
        < min(keys(found.validation))
        <= max(keys(found.validation))
        < min(keys(found.test))
    )
    later = read(write_recipe, table, *asked, "data.split.test_from=2024-01-21")
    assert min(keys(later.test)) == "2024-01-21"
    assert len(later.test) == 20


def test_the_folds_of_a_recipe_share_out_all_examples(
    write_recipe: WriteRecipe, table: Path
) -> None:
    tests = [
        set(read(write_recipe, table, "data.split.folds=4", f"data.split.fold={fold}").test.names)
        for fold in range(4)
    ]
    assert [len(part) for part in tests] == [15] * 4
    assert len(set().union(*tests)) == 60


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        (["data.split.by=group"], r'data\.split\.by = "group" needs data\.columns\.group'),
        (["data.split.by=time"], r'data\.split\.by = "time" needs data\.columns\.time'),
        (["data.columns.time=day", "data.groups=(a)"], "a split goes by one of them"),
        (
            ["data.columns.group=autor", "data.split.by=group"],
            r"data\.columns\.group: .* has no column 'autor'",
        ),
        (["data.split.folds=3", "data.split.fold=3"], r"fold is 3 of 3 folds; expected 0 to 2"),
        (["data.split.fold=1"], "there are no folds"),
        (
            ["data.split.folds=3", "data.test=0.2"],
            r"data\.test and data\.split both say what the test is",
        ),
        (["data.split.test_from=2024-01-01"], r"test_from needs data\.columns\.time"),
        (["data.groups=["], "no regular expression"),
        (["data.groups=author"], "expected a group in parentheses"),
        (["data.groups='(post [0-9]+)'", "data.split.by=group"], "finds nothing in 60 of 60 names"),
        (
            ["data.split.file=x.parquet"],
            r"data\.split\.file: x\.parquet: no such file; expected the split\.parquet",
        ),
        (
            ["data.columns.time=author", "data.split.by=time"],
            r"data\.columns\.time: found 'author 0'",
        ),
        (
            ["data.columns.time=day", "data.split.test_from=2031-01-01"],
            "all 60 examples are before that time",
        ),
        (
            ["data.columns.time=same"],
            r"all 60 examples are of one time \(7\), so none are the latest",
        ),
        (
            ["data.columns.time=day", "data.split.test_from=soon"],
            "found 'soon' as data.split.test_from",
        ),
    ],
)
def test_splits_that_cannot_be(
    write_recipe: WriteRecipe, table: Path, overrides: list[str], said: str
) -> None:
    with pytest.raises(HeadstartError, match=said):
        read(write_recipe, table, *overrides)
