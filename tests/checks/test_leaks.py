"""What held-out parts share with training, and what a recipe has done about it."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

from headstart.catalogue import read_recipe
from headstart.checks.leaks import Leaks, table
from headstart.checks.sanity_checks import check_classes, find_label_errors
from headstart.commands.run import run
from headstart.data.dataset import Dataset, Examples
from headstart.errors import HeadstartError
from headstart.train.prepare import read_checked
from tests.conftest import WriteRecipe, reviews, write_table

TRAIN = [
    (f"{text} number {row} of all these", label)
    for row, (text, label) in enumerate(reviews(80, seed=1))
]
TEST = [
    (f"{text} {row} in the other part", label)
    for row, (text, label) in enumerate(reviews(40, seed=2))
]


@pytest.fixture
def leaky(tmp_path: Path) -> Path:
    """Tables whose test part has six rows of the training part: two as they are, two in upper case,
    two with another word."""
    changed = [TRAIN[0], TRAIN[1], *((text.upper(), label) for text, label in TRAIN[2:4])]
    changed += [(text.replace("of all these", "of all those"), label) for text, label in TRAIN[4:6]]
    write_table(tmp_path / "leaky" / "train.tsv", TRAIN)
    write_table(tmp_path / "leaky" / "test.tsv", [*TEST, *changed])
    return tmp_path / "leaky"


def read(write_recipe: WriteRecipe, source: Path, **data: object) -> tuple[Dataset, Leaks]:
    path = write_recipe(
        task="text_classification", data={"source": str(source), "validation": 0.0, **data}
    )
    recipe = read_recipe(path)
    return read_checked(recipe)


def test_leaks_are_named_and_the_score_without_them_given(
    write_recipe: WriteRecipe, leaky: Path, tmp_path: Path
) -> None:
    dataset, leaks = read(write_recipe, leaky)
    assert leaks.leaked["test"].tolist() == [40, 41, 42, 43, 44, 45]
    assert [pair.other_name for pair in leaks.leaks] == [f"train.tsv:{row}" for row in range(2, 8)]
    assert [pair.kind for pair in leaks.leaks] == ["a copy"] * 4 + ["almost the same words"] * 2
    note = (
        "test examples with a duplicate in an earlier part: 6 of 46 (4 a copy, 2 almost the same "
        "words), such as test.tsv:42"
    )
    assert any(text.startswith(note) for text in dataset.notes)
    assert "copies of other examples: 4" in dataset.notes
    report = run(write_recipe(task="text_classification", data={"source": str(leaky)}))
    assert report.leaked == 6
    assert report.without_leaks is not None
    assert report.without_leaks.n == 40
    predictions = list(csv.reader((tmp_path / "run" / "predictions.csv").open(encoding="utf-8")))[
        1:41
    ]
    accuracy = np.mean([label == predicted for _, label, predicted, *_ in predictions])
    assert report.without_leaks.accuracy.value == pytest.approx(accuracy)
    assert "without the 6 test examples that are also in training" in report.summary()
    rows = list(csv.DictReader((tmp_path / "run" / "leaks.csv").open(encoding="utf-8")))
    assert rows[0] == {
        "part": "test",
        "example": "test.tsv:42",
        "label": "neg",
        "like": "train.tsv:2",
        "of_part": "train",
        "of_label": "neg",
        "how": "a copy",
    }


@pytest.mark.parametrize(
    ("trained", "tested", "alike"),
    [
        ("what is a fear of bees", "What is a fear of being alone?", False),
        ("how many people live in chile", "how many people live in tokyo", False),
        ("how many people live in chile", "How many people live in Chile?", True),
        (
            "it is a fine film with a lovely cast and great music",
            "it is a fine film with a dull cast and great music",
            True,
        ),
        ("这家酒店的房间很大", "这家酒店的房间很小", False),
    ],
)
def test_a_word_changed_makes_no_copy_of_a_short_text(
    write_recipe: WriteRecipe, tmp_path: Path, trained: str, tested: str, alike: bool
) -> None:
    write_table(tmp_path / "two" / "train.tsv", [(trained, "neg"), *TRAIN])
    write_table(tmp_path / "two" / "test.tsv", [(tested, "pos"), *TEST])
    _, leaks = read(write_recipe, tmp_path / "two")
    assert [pair.name for pair in leaks.leaks] == ["test.tsv:2"] * alike


def test_leaks_are_dropped_from_training(write_recipe: WriteRecipe, leaky: Path) -> None:
    dataset, leaks = read(write_recipe, leaky, leaks="drop")
    assert len(dataset.train) == 74
    assert len(dataset.test) == 46
    assert not {f"train.tsv:{row}" for row in range(2, 8)} & set(dataset.train.names)
    assert [pair.other_part for pair in leaks.leaks] == ["unused"] * 6
    assert not len(leaks.leaked["test"])
    assert dataset.notes[-1].endswith("6 examples were left out of training and validation")


def test_a_leak_that_is_a_conflict_too_is_told_once(write_recipe: WriteRecipe, leaky: Path) -> None:
    write_table(
        leaky / "train.tsv", [*TRAIN, (TEST[0][0], {"pos": "neg", "neg": "pos"}[TEST[0][1]])]
    )
    _, leaks = read(write_recipe, leaky)
    told = [*leaks.leaks, *leaks.conflicts]
    assert len(told) == 8
    assert len(table(told).splitlines()) == 1 + 7


def test_leaks_can_be_fatal(write_recipe: WriteRecipe, leaky: Path) -> None:
    with pytest.raises(
        HeadstartError,
        match=r"earlier part: 6 of 46 .*Fix the data, or set data\.leaks = \"drop\"",
    ):
        read(write_recipe, leaky, leaks="error")


def test_validation_is_held_against_training_too(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    for name, rows in (
        ("train", TRAIN),
        ("dev", [*TEST[:10], TRAIN[7]]),
        ("test", [*TEST[10:], TEST[3]]),
    ):
        write_table(tmp_path / "three" / f"{name}.tsv", rows)
    _, leaks = read(write_recipe, tmp_path / "three", validation=None)
    assert [(pair.part, pair.other_part) for pair in leaks.leaks] == [
        ("validation", "train"),
        ("test", "validation"),
    ]
    dropped, _ = read(write_recipe, tmp_path / "three", validation=None, leaks="drop")
    sizes = {role: len(part) for role, part in dropped.parts().items()}
    assert sizes == {"train": 79, "validation": 10, "test": 31}


def test_one_text_under_two_labels(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    text, label = TRAIN[3]
    write_table(
        tmp_path / "two" / "train.tsv",
        [*TRAIN, (text.title(), {"neg": "pos", "pos": "neg"}[label])],
    )
    write_table(tmp_path / "two" / "test.tsv", TEST)
    dataset, leaks = read(write_recipe, tmp_path / "two")
    (conflict,) = leaks.conflicts
    assert (conflict.name, conflict.other_name) == ("train.tsv:82", "train.tsv:5")
    assert any("copies with a different label: 1, such as" in note for note in dataset.notes)


def test_a_group_in_two_parts_is_a_leak(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    folder = tmp_path / "groups"
    for name, rows, first in (("train", TRAIN, 0), ("test", TEST, 18)):
        lines = [
            f"{text}\t{label}\tauthor {first + row // 4}" for row, (text, label) in enumerate(rows)
        ]
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.tsv").write_text(
            "text\tlabel\tauthor\n" + "\n".join(lines) + "\n", encoding="utf-8"
        )
    _, leaks = read(write_recipe, folder, columns={"group": "author"})
    assert leaks.leaked["test"].tolist() == list(range(8))
    assert {pair.kind for pair in leaks.leaks} == {"the same group"}


def test_nothing_left_of_a_class(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    write_table(tmp_path / "same" / "train.tsv", TRAIN)
    write_table(tmp_path / "same" / "test.tsv", TRAIN)
    with pytest.raises(HeadstartError, match=r"no training example of 'neg' is left"):
        read(write_recipe, tmp_path / "same", leaks="drop")


def part(labels: list[int]) -> Examples:
    items = tuple(map(str, range(len(labels))))
    return Examples(
        items, np.array(labels), items, tuple(bytes([row % 256] * 32) for row in range(len(labels)))
    )


def test_classes_that_look_wrong_are_said() -> None:
    dataset = Dataset(
        ("hot_dog", "Hot Dog", "other"), part([0] * 30 + [1] * 3 + [2] * 25), None, part([0, 0, 1])
    )
    said = " | ".join(check_classes(dataset))
    assert "30 training examples of 'hot_dog', 3 of 'Hot Dog'" in said
    assert "fewer than 20 training examples of 'Hot Dog' (3)" in said
    assert "the test part has no example of 'other'" in said
    assert (
        "classes 'hot_dog' and 'Hot Dog' differ only in case, spaces, hyphens or invisible" in said
    )


@pytest.mark.parametrize(
    ("held_out", "said"),
    [
        ([0] * 40 + [1] * 60, "'b' is 60.0 % of it and 19.2 % of training"),
        ([0] * 78 + [1] * 22, None),  # less than is worth naming
        ([0] * 4 + [1] * 3, None),  # chance
        # a class that training has four of
        ([0] * 40 + [1] * 30 + [2] * 30, "'a' is 40.0 % of it"),
    ],
)
def test_a_shift_of_the_classes_is_named_where_it_is_more_than_chance(
    held_out: list[int], said: str | None
) -> None:
    dataset = Dataset(("a", "b", "c"), part([0] * 400 + [1] * 96 + [2] * 4), None, part(held_out))
    found = [note for note in check_classes(dataset) if "shares of the test part differ" in note]
    assert len(found) == (said is not None)
    assert said is None or said in found[0]


def test_suspects_are_those_whose_label_another_beats() -> None:
    probabilities = np.array(
        [[0.9, 0.1, 0.0], [0.2, 0.7, 0.1], [0.05, 0.05, 0.9], [0.4, 0.35, 0.25]]
    )
    assert find_label_errors(probabilities, np.array([1, 1, 0, 2])).tolist() == [2, 0, 3]
