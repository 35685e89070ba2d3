"""Tables as people make them: delimiters, quotes, headers, parts in a column, and what else may be
meant."""

from __future__ import annotations

import csv
import json
import re
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from headstart.data.column_selection import select_columns
from headstart.data.label_encoding import LabelEncoder
from headstart.data.readers import read_images
from headstart.data.tables import open_table
from headstart.data.texts import of_table
from headstart.data.unicode import printable, similar_names
from headstart.errors import HeadstartError
from headstart.recipe import Columns
from headstart.report.describe import describe_parts
from tests.conftest import draw_images, reviews, write_table
from tests.data.test_texts import everything, read, recipe

COLUMNS = {"text": "text", "label": "label"}


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


def rows_of(path: Path) -> list[tuple[Any, ...]]:
    table = open_table(path)
    return [values for _, values in table.rows(table.columns)]


@pytest.mark.parametrize("name", ["t.tsv", "tabs.csv", "t.csv", "semicolons.csv"])
def test_a_quote_that_opens_one_text_and_one_that_ends_a_later_one_enclose_no_rows(
    name: str, tmp_path: Path
) -> None:
    sign = {"t.csv": ",", "semicolons.csv": ";"}.get(name, "\t")
    rows = reviews(40)
    rows[3] = ('"' + rows[3][0], rows[3][1])
    rows[23] = (rows[23][0] + '"', rows[23][1])
    (tmp_path / name).write_text(
        "\n".join(sign.join(row) for row in [("text", "label"), *rows]) + "\n"
    )
    dataset = read(tmp_path / name)
    assert everything(dataset) == sorted(rows)
    assert (
        f"{name}: quotes are read as plain characters, which gives 41 lines of 2 columns"
        in dataset.notes[0]
    )


@pytest.mark.parametrize(
    ("name", "content", "rows"),
    [
        ("lines.csv", 'text,label\n"Hello, you\nbye",pos\nfine,neg\ndull,pos\ngood,neg\n',
        ("Hello, you\nbye", "pos")),
        ("decimal.csv", "Preis, EUR;Text\n1,5;gut\n2,7;matt\n", ("1,5", "gut")),
        ("excel.csv", "sep=;\ntext;label\na, b;pos\n", ("a, b", "pos")),
        ("quoted_excel.csv", '"sep=|"\r\ntext|label\r\na;b, c|pos\r\n', ("a;b, c", "pos")),
        ("bars.csv", "text|label\na, b; c|pos\nb|neg\n", ("a, b; c", "pos")),
        ("header.csv", '"text, long";"label"\n"a; b";pos\n', ("a; b", "pos")),
        ("never_closed.csv", 'text,label\n"a film,pos\nplot,neg\n', ('"a film', "pos")),
        ("inches.tsv", 'text\tlabel\na 5" pipe\tpos\n"b"\tneg\n', ('a 5" pipe', "pos")),
        ("lines.tsv", 'text\tlabel\n"two\nlines"\tpos\nfine\tneg\n', ("two\nlines", "pos")),
        ("commas.tsv", "text,label\na film,pos\nplot,neg\n", ("a film", "pos")),
    ],
)  # fmt: skip
def test_the_file_tells_how_it_is_delimited(
    name: str, content: str, rows: tuple[str, ...], tmp_path: Path
) -> None:
    (tmp_path / name).write_text(content, newline="")
    assert rows_of(tmp_path / name)[0] == rows


def test_a_broken_line_is_named_in_the_reading_that_goes_furthest(tmp_path: Path) -> None:
    (tmp_path / "cut.csv").write_text('text,label\n"a, film",pos\n"b, plot",neg\n"cut, of')
    with pytest.raises(HeadstartError, match=r"cut\.csv, line 4: unexpected end of data"):
        rows_of(tmp_path / "cut.csv")
    (tmp_path / "ragged.tsv").write_text('text\tlabel\n"a\tpos\n' + "b\tneg\n" * 9 + "c\td\tneg\n")
    with pytest.raises(HeadstartError, match=r"ragged\.tsv, line 12: found 3 fields; expected 2"):
        rows_of(tmp_path / "ragged.tsv")


SIGNS = st.sampled_from(",;|\t")
TEXT = st.text('ab ,;|"\n\u00e9\u3042', max_size=8)


@settings(max_examples=80, deadline=None)
@given(
    sign=SIGNS, quoting=st.sampled_from([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    rows=st.lists(st.tuples(TEXT, st.sampled_from(["pos", "neg", "", " "]), st.integers(0, 99)),
    min_size=1, max_size=12),
    suffix=st.sampled_from([".csv", ".tsv"]),
)  # fmt: skip
def test_every_row_of_a_table_is_read_or_named(
    sign: str,
    quoting: Any,
    rows: list[tuple[str, str, int]],
    suffix: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    path = tmp_path_factory.mktemp("any") / f"t{suffix}"
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file, delimiter=sign, quoting=quoting).writerows([("text", "label", "n"), *rows])
    expected = pd.read_csv(path, sep=sign, dtype=str, keep_default_na=False, skip_blank_lines=False)
    table = open_table(path)
    assert [values for _, values in table.rows(table.columns)] == list(
        expected.itertuples(index=False, name=None)
    )
    columns = select_columns(table, Columns(text="text", label="label"), "text")
    parts, skipped = of_table(table, columns)
    texts = parts[""]
    found = Counter(
        zip(texts.examples.items, (texts.labels[n] for n in texts.examples.labels), strict=True)
    )
    assert found == Counter(
        (text, label) for text, label, _ in rows if text.strip() and label.strip()
    )
    assert len(texts) + sum(count for count, _ in skipped.values()) == len(rows)


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(
        st.tuples(st.text("ab ,;|\"'", min_size=1, max_size=8), st.sampled_from(["pos", "neg"])),
        min_size=4,
        max_size=20,
    )
)
def test_plain_lines_with_tabs_keep_their_rows(
    rows: list[tuple[str, str]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = write_table(tmp_path_factory.mktemp("any") / "t.tsv", [*rows, ('a "b', "pos")])
    assert len(rows_of(path)) == len(rows) + 1


@pytest.mark.parametrize(
    "header", [",text,label", "Unnamed: 0,text,label", "text,label,", "text,label,x,x"]
)
def test_columns_that_nobody_asked_for_may_lack_a_name_or_share_one(
    header: str, tmp_path: Path
) -> None:
    rows = reviews(20)
    cells = [",".join(row) for row in rows]
    match header.count(","):
        case 3:
            lines = [f"{cell},1,2" for cell in cells]
        case _:
            lines = [
                f"{cell}," if header.endswith(",") else f"{n},{cell}"
                for n, cell in enumerate(cells)
            ]
    (tmp_path / "t.csv").write_text("\n".join([header, *lines]))
    dataset = read(tmp_path / "t.csv")
    assert everything(dataset) == sorted(rows)
    assert any(
        "share their name with another are not read: x" in note for note in dataset.notes
    ) == ("x,x" in header)


def test_a_column_without_a_name_that_holds_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text(
        "text,label,\n" + "".join(f"{text},{label},much\n" for text, label in reviews(20))
    )
    assert (
        "a column of t.csv that has no name is not read (such as 'much'); to have it"
        in " ".join(read(tmp_path / "t.csv").notes)
    )
    frame = pd.DataFrame(
        reviews(20), columns=["text", "label"], index=[f"row {number}" for number in range(20)]
    )
    frame.to_parquet(tmp_path / "t.parquet")
    said = (
        "a column of t.parquet that has no name is not read (such as 'row 0'); to have it read, "
        "give it a name"
    )
    assert said in read(tmp_path / "t.parquet").notes
    (tmp_path / "t.csv").write_text(",label\na film,pos\n")
    with pytest.raises(
        HeadstartError, match=r"found the column label \(a column of t\.csv that has no name"
    ):
        read(tmp_path / "t.csv")
    (tmp_path / "t.csv").write_text("text,text,label\na film,b,pos\n")
    with pytest.raises(HeadstartError, match="two columns are named 'text'; rename one"):
        read(tmp_path / "t.csv", columns=COLUMNS)


@pytest.mark.parametrize(
    "rows", [reviews(20), [(text, str(n % 2)) for n, (text, _) in enumerate(reviews(20))]]
)
def test_a_table_without_a_header_loses_no_row(rows: list[tuple[str, str]], tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("".join(f"{text},{label}\n" for text, label in rows))
    with pytest.raises(
        HeadstartError, match=r"first line looks like an example.*data\.header = false"
    ):
        read(tmp_path / "t.csv")
    assert everything(read(tmp_path / "t.csv", header=False)) == sorted(rows)
    found = read(tmp_path / "t.csv", header=False, columns={"text": "1", "label": "2"})
    assert (everything(found), found.column) == (sorted(rows), "1")


@pytest.mark.parametrize(
    ("train", "other", "labels"),
    [
        (["True", "False"], [True, False], ("False", "True")),
        (["TRUE", "FALSE"], ["true", "false"], ("FALSE", "TRUE")),
        (["0", "1"], [0.0, 1.0], ("0", "1")),
        (["1.0", "2.0"], ["1", "2"], ("1.0", "2.0")),
        (["True", "False"], [1, 0], ("False", "True")),
        (["0", "1"], [False, True], ("0", "1")),
    ],
)
def test_labels_that_mean_the_same_are_one_class(
    train: list[Any], other: list[Any], labels: tuple[str, ...], tmp_path: Path
) -> None:
    words = [text for text, _ in reviews(20)]
    write_table(tmp_path / "train.tsv", [(text, train[n % 2]) for n, text in enumerate(words)])
    frame = pd.DataFrame({"text": words, "label": [other[n % 2] for n in range(20)]})
    frame.to_parquet(tmp_path / "test.parquet")
    dataset = read(tmp_path, validation=0.0)
    assert dataset.labels == labels
    assert [labels[n] for n in dataset.test.labels[:2]] == train
    assert any("labels of the test part: " in note for note in dataset.notes) == (
        "1.0" not in map(str, other)
    )


def test_the_order_of_labels_is_that_of_their_values_whatever_the_rows() -> None:
    for names in (["1", "01", "001", "2"], ["2", "001", "01", "1"]):
        assert LabelEncoder(names).labels == ("001", "01", "1", "2")
    assert LabelEncoder(["10.0", "9.0", "9"]).labels == ("9", "10.0")
    assert LabelEncoder(["b", "a", "true", "True"]).labels == ("True", "a", "b")


LABELS = ["👩‍🚀", "❤️‍🔥", "ورزش‌ها", "New\u00a0York", "C#", "red\x1b[31m"]


def test_decimal_labels_are_numbers(tmp_path: Path) -> None:
    labels = [Decimal(label) for label in ("1.50", "2.00", "0.10", "10.00")] * 5
    frame = pd.DataFrame({"text": [text for text, _ in reviews(20)], "label": labels})
    frame.to_parquet(tmp_path / "t.parquet")
    assert read(tmp_path / "t.parquet").labels == ("0.1", "1.5", "10", "2")
    frame["label"] = [None, *labels[1:]]
    frame.to_parquet(tmp_path / "t.parquet")
    assert "1 with no label" in " ".join(read(tmp_path / "t.parquet").notes)


def test_labels_stay_as_the_data_has_them(tmp_path: Path) -> None:
    rows = [{"text": f"text {n}", "label": f" {LABELS[n % 6]} "} for n in range(24)]
    rows += [
        {"text": f"more {n}", "label": "cafe\u0301" if n % 2 else "caf\u00e9"} for n in range(4)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(json.dumps(row) for row in rows))
    dataset = read(tmp_path / "t.jsonl")
    assert set(dataset.labels) == {*LABELS, "caf\u00e9"}
    assert "👩‍🚀 2" in describe_parts(dataset)
    assert "red\\x1b[31m 2" in describe_parts(dataset)
    assert [printable(name) for name in (*LABELS[:4], "a\x1b[31m", "b\u202e", "c\ud83d")] == [
        *LABELS[:4], "a\\x1b[31m", "b\\u202e", "c\\ud83d",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("names", "alike"),
    [
        (["hot dog", "Hot-Dog", "hot_dog", "ﬁne", "fine"], [["hot dog", "Hot-Dog", "hot_dog"],
        ["ﬁne", "fine"]]),
        (["C", "C#", "C++"], []), (["A", "A-", "A+"], []), (["-1", "1"], []), (["1-2", "12"], []),
        (["कि", "का", "क"], []), (["ดี", "ดู"], []), (["U.S.", "US"], []),
        (["ورزش‌ها", "ورزشها"], [["ورزش‌ها", "ورزشها"]]), (["Rome", "Ro\u200bme"], [["Rome",
        "Ro\u200bme"]]),
    ],
)  # fmt: skip
def test_names_are_twins_by_case_joints_and_what_cannot_be_seen(
    names: list[str], alike: list[list[str]]
) -> None:
    assert similar_names(names) == alike


SPLIT = ["train"] * 12 + ["val"] * 4 + ["TEST"] * 4 + ["maybe", ""]


@pytest.mark.parametrize("named", [{"split": "fold"}, {}])
def test_a_column_may_tell_the_parts(named: dict[str, str], tmp_path: Path) -> None:
    column = named.get("split", "split")
    frame = pd.DataFrame(reviews(22), columns=["text", "label"])
    frame[column] = SPLIT if named else [word if word != "maybe" else "dev" for word in SPLIT]
    frame = frame if named else frame[:21]
    frame.to_csv(tmp_path / "t.csv", index=False)
    dataset = read(tmp_path / "t.csv", columns=named)
    sizes = {role: len(part) for role, part in dataset.parts().items()}
    assert sizes == {"train": 12, "validation": 4 + (not named), "test": 4}
    assert dataset.test.items[0] == frame["text"][16]
    said = " ".join(dataset.notes)
    assert ("column 'split' tells the parts (by its name)" in said) == (not named)
    assert ("2 with no known part (t.csv:22, t.csv:23)" in said) == bool(named)
    if not named:
        whole = read(tmp_path / "t.csv", test=0.2)
        assert (
            "column 'split', which names parts, is not read, since the recipe says what the test is"
            in whole.notes
        )
        assert sum(map(len, whole.parts().values())) == 21
    with pytest.raises(HeadstartError, match="column 'label' of .* says train in no usable row"):
        read(tmp_path / "t.csv", columns={"text": "text", "label": column, "split": "label"})


@pytest.mark.parametrize(
    ("parts", "sizes", "said"),
    [
        (["test"] * 1001 + ["train"] * 40, [40, 1001], "column 'split' tells the parts"),
        ((["train"] * 4 + ["test"] * 4 + ["holdout", ""]) * 4, [16, 16], "8 with no known part"),
        (
            ["holdout", "", *["train"] * 20, *["test"] * 20],
            [20, 20],
            "column 'split' tells the parts",
        ),
        (
            ["train"] * 10 + ["holdout"] * 12,
            [18, 4],
            "column 'split' is not used: it also says 'holdout' (12 of 22 rows). To",
        ),
        (
            [*"01234"] * 4,
            [16, 4],
            "column 'split' is not used: it holds numbers of folds or sets (0, 1, 2). To",
        ),
        (
            ["test", "val"] * 9 + ["", "x"],
            [16, 4],
            "column 'split' is not used: it says train in no row. To",
        ),
        (
            ["a", ""] * 10,
            [16, 4],
            "column 'split' is not used: it says 'a', '' (20 of 20 rows). To",
        ),
        (["test", "val"] * 10, [16, 4], "column 'split' is not used: it says train in no row. To"),
    ],
)
def test_all_rows_of_a_column_say_whether_it_tells_the_parts(
    parts: list[str], sizes: list[int], said: str, tmp_path: Path
) -> None:
    texts, labels = zip(*reviews(len(parts)), strict=True)
    pd.DataFrame({"text": texts, "label": labels, "split": parts}).to_csv(
        tmp_path / "t.csv", index=False
    )
    dataset = read(tmp_path / "t.csv", validation=0.0)
    assert [len(part) for part in (dataset.train, dataset.test)] == sizes
    assert said in " ".join(dataset.notes)


@pytest.mark.parametrize(
    ("other", "sizes", "said"),
    [("A", [12, 8], "tells the parts"), ("train", [16, 4], "are not used: each")],
)
def test_one_of_two_columns_tells_the_parts(
    other: str, sizes: list[int], said: str, tmp_path: Path
) -> None:
    frame = pd.DataFrame(reviews(20), columns=["text", "label"])
    frame.assign(split=["train"] * 12 + ["test"] * 8, set=[other] * 12 + ["test"] * 8).to_csv(
        tmp_path / "t.csv", index=False
    )
    dataset = read(tmp_path / "t.csv", validation=0.0)
    assert [len(part) for part in (dataset.train, dataset.test)] == sizes
    assert said in " ".join(dataset.notes)


def test_a_column_tells_the_parts_of_images_too(tmp_path: Path) -> None:
    draw_images(tmp_path, 4)
    paths = sorted(tmp_path.rglob("*.png"))
    frame = pd.DataFrame({"image": [f"{path.parent.name}/{path.name}" for path in paths]})
    frame["label"] = [path.parent.name for path in paths]
    frame["split"] = ["train", "train", "val", "test"] * 3
    frame.loc[12] = ["red/00.png", None, "train"]
    frame.loc[13] = [None, "red", "train"]
    frame.to_csv(tmp_path / "t.csv", index=False)
    dataset = read_images(
        recipe(tmp_path / "t.csv").model_copy(update={"task": "image_classification"})
    )
    assert {role: len(part) for role, part in dataset.parts().items()} == {
        "train": 6,
        "validation": 3,
        "test": 3,
    }
    assert (
        "left out of the train part: 1 with no label (t.csv:14); 1 with no path (t.csv:15)"
        in dataset.notes
    )


def shaped(**columns: list[Any]) -> dict[str, list[Any]]:
    return {"text": [f"a film of {n} scenes" for n in range(40)], **columns}


TAGS = [n % 2 for n in range(40)]


@pytest.mark.parametrize(
    ("columns", "label", "said"),
    [
        (shaped(toxic=TAGS, obscene=TAGS), "toxic",
        r"'obscene' holds 0 and 1 only, as 'toxic' does.*a recipe for each"),
        (shaped(tags=["a;b", "a", "b", "c", "b;c"] * 8), "tags",
        r"labels such as 'a;b' look like several tags \(3 in all"),
        (shaped(tags=["a|b", "a", "b|c"] * 13 + ["a"]), "tags",
        r"labels such as 'a\|b' look like several tags"),
        (shaped(stars=[n % 5 + 1 for n in range(40)]), "stars",
        "the numbers 1 to 5: if they have an order"),
        (shaped(y=[n % 5 + 1 for n in range(40)]), "y",
        "the numbers 1 to 5: if they have an order"),
        (shaped(y=TAGS, title=[f"the {n}th title of a film" for n in range(40)]), "y",
        "though it holds texts: 'title'"),
        (shaped(y=TAGS, image=[f"{n}.jpg" for n in range(40)]), "y",
        "not read, though it holds images: 'image'"),
        (shaped(y=["Rome, Italy", "Paris, France"] * 20), "y", ""),
        (shaped(y=[n % 4 for n in range(40)]), "y", ""),
    ],
)  # fmt: skip
def test_what_else_may_be_meant_is_said(
    columns: dict[str, list[Any]], label: str, said: str, tmp_path: Path
) -> None:
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False)
    notes = " ".join(read(tmp_path / "t.csv", columns={"text": "text", "label": label}).notes)
    assert re.search(said, notes) if said else not notes


@pytest.mark.parametrize(
    ("columns", "asked", "said"),
    [
        (shaped(price=[n * 1.25 for n in range(40)]), {},
        "numbers of many different values .* predicting a number is not possible yet"),
        (shaped(price=[n * n for n in range(40)]), {}, "predicting a number is not possible yet"),
        (shaped(toxic=TAGS, rude=TAGS), {"text": "text"},
        "'toxic', 'rude' hold 0 and 1 only, one tag each"),
        (shaped(tags=["a;b", "a", "b", "c", "b;c"] * 7 + ["a;c"] + ["a"] * 4), {},
        "too few .* look like several tags"),
    ],
)  # fmt: skip
def test_what_cannot_be_learned_yet_is_refused_in_words(
    columns: dict[str, list[Any]], asked: dict[str, str], said: str, tmp_path: Path
) -> None:
    pd.DataFrame(columns).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(HeadstartError, match=said):
        read(tmp_path / "t.csv", columns=asked)


@pytest.mark.parametrize(
    "names",
    [("text_a", "text_b"), ("sentence1", "sentence2"), ("Question", "passage"), ("q1", "q2")],
)
def test_a_table_of_pairs_is_refused_or_what_is_not_read_is_named(
    names: tuple[str, str], tmp_path: Path
) -> None:
    rows = [(text, text[::-1], label) for text, label in reviews(20)]
    pd.DataFrame(rows, columns=[*names, "label"]).to_csv(tmp_path / "t.csv", index=False)
    with pytest.raises(
        HeadstartError, match=rf'look like pairs of texts.*data\.columns\.text = "{names[0]}"'
    ):
        read(tmp_path / "t.csv")
    notes = " ".join(read(tmp_path / "t.csv", columns={"text": names[0]}).notes)
    assert f"not read, though it holds texts: '{names[1]}'" in notes


def test_measured_numbers_and_numbers_of_classes(tmp_path: Path) -> None:
    ids = np.random.default_rng(0).integers(0, 77, 400)
    write_table(
        tmp_path / "t.tsv",
        [(f"text {n}", str(number)) for n, number in enumerate([*ids, *range(77)] * 2)],
    )
    assert len(read(tmp_path / "t.tsv").labels) == 77


def test_a_given_validation_part_that_is_not_used_is_named(tmp_path: Path) -> None:
    for part, count in (("train", 30), ("val", 8), ("test", 6)):
        write_table(tmp_path / f"{part}.tsv", reviews(count, seed=count))
    for share, size in ((0.2, 6), (0, None)):
        dataset = read(tmp_path, validation=share)
        assert (dataset.validation and len(dataset.validation)) == size
        assert (
            f"the given validation part, 8 examples, is not used, since data.validation is {share}"
            in dataset.notes
        )
