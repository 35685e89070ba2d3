"""Tables and folders of texts: what is read, what is guessed, what is left out, and what is
refused."""

from __future__ import annotations

import csv
import hashlib
import json
import multiprocessing
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headstart.data.arrow_column import ArrowColumn
from headstart.data.dataset import Dataset
from headstart.data.inputs import images_at
from headstart.data.readers import read_images, read_texts
from headstart.data.tables import open_table
from headstart.errors import HeadstartError
from headstart.recipe import Recipe
from tests.conftest import draw_images, reviews, write_table

ROWS = [
    ("it was, all in all, fine", "pos"),
    ('he said "no"', "neg"),
    ("two\nlines", "pos"),
    ("plain", "neg"),
] * 3


@pytest.fixture(autouse=True)
def _empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))


def recipe(source: Path | str | None, seed: int = 0, **data: Any) -> Recipe:
    given = {"source": str(source), **data} if source else data
    return Recipe.model_validate(
        {
            "task": "text_classification",
            "seed": seed,
            "output": "run",
            "data": given,
            "model": {"backbone": "any"},
        }
    )


def read(source: Path | str | None, **data: Any) -> Dataset:
    return read_texts(recipe(source, **data))


def everything(dataset: Dataset) -> list[tuple[str, str]]:
    return sorted(
        (text, dataset.labels[label])
        for part in dataset.parts().values()
        for text, label in zip(part.items, part.labels, strict=True)
    )


def as_csv(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows([("text", "label"), *ROWS])


def as_excel_csv(path: Path) -> None:
    with path.open("w", newline="", encoding="utf-8-sig") as file:
        csv.writer(file, delimiter=";").writerows([("text", "label"), *ROWS])


def as_quoted_tsv(path: Path) -> None:
    pd.DataFrame(ROWS, columns=["text", "label"]).to_csv(path, sep="\t", index=False)


def as_json_lines(path: Path) -> None:
    path.write_text(
        "\n".join(json.dumps({"text": text, "label": label}) for text, label in ROWS) + "\n\n"
    )


def as_parquet(path: Path) -> None:
    pd.DataFrame(ROWS, columns=["text", "label"]).to_parquet(path)


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.csv", as_csv), ("b.csv", as_excel_csv), ("c.tsv", as_quoted_tsv), ("d.jsonl",
        as_json_lines),
        ("e.parquet", as_parquet),
    ],
)  # fmt: skip
def test_every_kind_of_table_holds_the_same(
    name: str, write: Callable[[Path], None], tmp_path: Path
) -> None:
    write(tmp_path / name)
    dataset = read(tmp_path / name)
    assert everything(dataset) == sorted(ROWS)
    assert dataset.labels == ("neg", "pos")


def test_quotes_in_a_tsv_are_plain_where_they_enclose_nothing(tmp_path: Path) -> None:
    rows = [
        ('"begun but not ended', "pos"),
        ('ended" but not begun', "neg"),
        ('"both" of them', "pos"),
        ("none", "neg"),
    ]
    assert everything(read(write_table(tmp_path / "t.tsv", rows), validation=0.0)) == sorted(rows)


def test_line_numbers_name_the_examples(tmp_path: Path) -> None:
    as_csv(tmp_path / "t.csv")
    numbers = [line for line, _ in open_table(tmp_path / "t.csv").rows(("text",))]
    assert numbers[:5] == [2, 3, 4, 6, 7], "the third row takes two lines"
    dataset = read(tmp_path / "t.csv")
    assert set(dataset.train.names) < {f"t.csv:{number}" for number in numbers}


def test_parts_by_their_names(tmp_path: Path) -> None:
    for name, count in (("train", 20), ("dev", 6), ("test", 8), ("test_labelled", 4)):
        write_table(tmp_path / f"{name}.tsv", reviews(count, seed=count))
    dataset = read(tmp_path)
    assert {role: len(part) for role, part in dataset.parts().items()} == {
        "train": 20,
        "validation": 6,
        "test": 8,
    }
    (tmp_path / "test.tsv").unlink()
    dataset = read(tmp_path)
    assert {role: len(part) for role, part in dataset.parts().items()} == {
        "train": 16,
        "validation": 4,
        "test": 6,
    }
    assert dataset.test.items[0] == reviews(6, seed=6)[0][0]


def test_a_test_part_without_labels_is_no_test(tmp_path: Path) -> None:
    write_table(tmp_path / "train.tsv", reviews(20))
    write_table(tmp_path / "dev.tsv", reviews(6))
    write_table(tmp_path / "test.tsv", [("1", "a film")], header="index\ttext")
    dataset = read(tmp_path)
    assert len(dataset.test) == 6
    assert any("has no column 'label', so it cannot be the test" in note for note in dataset.notes)


def test_folders_of_text_files(tmp_path: Path) -> None:
    for part, count in (("train", 4), ("test", 2)):
        for label in ("pos", "neg"):
            (tmp_path / part / label).mkdir(parents=True)
            for number in range(count):
                (tmp_path / part / label / f"{number}.txt").write_text(
                    f"{label} {part}\n{number}", encoding="utf-8"
                )
    (tmp_path / "train" / "neg" / "latin.txt").write_bytes("caf\xe9".encode("latin1"))
    (tmp_path / "train" / "neg" / "notes.md").write_text("x")
    dataset = read(tmp_path, validation=0.0)
    assert len(dataset.train) == 8
    assert "pos train\n3" in list(dataset.train.items)
    assert "neg/0.txt" in list(dataset.train.names)
    assert any("1 with no UTF-8 text (neg/latin.txt)" in note for note in dataset.notes)
    assert any(
        "files that are not texts: 1 (such as neg/notes.md)" in note for note in dataset.notes
    )


def test_what_is_empty_or_unlabelled_is_counted_and_named(tmp_path: Path) -> None:
    table = write_table(
        tmp_path / "t.tsv", [*reviews(20), ("  ", "pos"), ("a film", ""), ("", "neg")]
    )
    notes = " ".join(read(table).notes)
    assert (
        "left out of the train part: 2 with an empty text (t.tsv:22, t.tsv:24); 1 with no label "
        "(t.tsv:23)" in notes
    )
    with pytest.raises(HeadstartError, match="unusable examples: 2 with an empty text"):
        read(table, unreadable="error")


def test_labels_are_in_order_of_their_numbers(tmp_path: Path) -> None:
    table = write_table(
        tmp_path / "t.tsv", [(f"text {n} {k}", str(n)) for n in (10, 9, 2) for k in range(4)]
    )
    assert read(table).labels == ("2", "9", "10")


def test_limit_is_seeded_and_stratified(tmp_path: Path) -> None:
    rows = [(f"text {number}", "rare" if number % 10 == 0 else "often") for number in range(300)]
    write_table(tmp_path / "train.tsv", rows)
    write_table(tmp_path / "test.tsv", rows[:40])
    first, again = (read(tmp_path, limit=100, validation=0.0).train for _ in range(2))
    assert np.bincount(first.labels).tolist() == [90, 10]
    assert list(first.items) == list(again.items)
    other = read_texts(recipe(tmp_path, seed=1, limit=100, validation=0.0)).train
    assert list(other.items) != list(first.items)
    unsplit = read(tmp_path / "train.tsv", limit=100, test=0.2, validation=0.0)
    assert [len(part) for part in unsplit.parts().values()] == [100, 60]
    assert "data.limit: 100 of 240 training examples" in " ".join(unsplit.notes)
    assert "data.limit: 100 of 300 training examples" in " ".join(read(tmp_path, limit=100).notes)


def test_columns_are_guessed_with_a_reason_or_named(tmp_path: Path) -> None:
    rows = [(text, label) for text, label in reviews(20)]
    odd = write_table(tmp_path / "odd.tsv", rows, header="x1\tx2")
    assert any("of the two columns the labels repeat" in note for note in read(odd).notes)
    half = write_table(tmp_path / "half.tsv", rows, header="x1\tsentiment")
    assert any(
        "texts are column 'x1'" in note and "only two columns" in note for note in read(half).notes
    )
    known = write_table(tmp_path / "known.tsv", rows, header="review\tlabel")
    assert any("(by their names)" in note for note in read(known).notes)
    assert not any(
        "column" in note for note in read(odd, columns={"text": "x1", "label": "x2"}).notes
    )


def wrong_encoding(folder: Path) -> Path:
    lines = ["text\tlabel", *["\t".join(row) for row in reviews(30)], "caf\xe9\tpos"]
    (folder / "t.tsv").write_bytes("\n".join(lines).encode("latin1"))
    return folder / "t.tsv"


def utf16(folder: Path) -> Path:
    (folder / "t.csv").write_text("text,label\na,b\n", encoding="utf-16")
    return folder / "t.csv"


def utf16_without_mark(folder: Path) -> Path:
    (folder / "t.csv").write_text("text,label\nschön,b\n", encoding="utf-16-le")
    return folder / "t.csv"


def utf16_json(folder: Path) -> Path:
    (folder / "t.jsonl").write_text('{"text": "a", "label": "b"}', encoding="utf-16-be")
    return folder / "t.jsonl"


def empty(folder: Path) -> Path:
    (folder / "t.csv").write_text("")
    return folder / "t.csv"


def no_rows(folder: Path) -> Path:
    (folder / "t.csv").write_text("text,label\n")
    return folder / "t.csv"


def many_labels(folder: Path) -> Path:
    return write_table(
        folder / "t.tsv", [("a film", f"label {number}") for number in range(40_000)]
    )


def ragged(folder: Path) -> Path:
    (folder / "t.csv").write_text('text,label\n"one\ntwo",pos\nthree,four,neg\n')
    return folder / "t.csv"


def numbers(folder: Path) -> Path:
    return write_table(folder / "t.tsv", [(f"{number}.5", "pos") for number in range(9)])


def broken_json(folder: Path) -> Path:
    (folder / "t.jsonl").write_text('{"text": "a", "label": "b"}\n{"text": \n')
    return folder / "t.jsonl"


def broken_parquet(folder: Path) -> Path:
    (folder / "t.parquet").write_bytes(b"PAR1 no")
    return folder / "t.parquet"


def one_column(folder: Path) -> Path:
    (folder / "t.csv").write_text("text\na film\n")
    return folder / "t.csv"


def fractions(folder: Path) -> Path:
    pd.DataFrame({"text": list("abcd"), "label": [0.5, 1.0, 2.5, 4.0]}).to_parquet(
        folder / "t.parquet"
    )
    return folder / "t.parquet"


def endless_label(folder: Path) -> Path:
    (folder / "t.csv").write_text(f"text,label\na film,pos\nplot,{'x' * 1_000_000}\n")
    return folder / "t.csv"


def many_candidates(folder: Path) -> Path:
    (folder / "t.csv").write_text("title,author,place\na,b,c\n")
    return folder / "t.csv"


def spreadsheet(folder: Path) -> Path:
    (folder / "t.xlsx").write_bytes(b"PK")
    return folder / "t.xlsx"


def open_quote(folder: Path) -> Path:
    (folder / "t.csv").write_text('text,label\na film,pos\n"never, closed, neg\n')
    return folder / "t.csv"


@pytest.mark.parametrize(
    ("make", "data", "said"),
    [
        (
            wrong_encoding,
            {},
            r"t\.tsv, line 32: byte 0xe9 at position 4 is not UTF-8; expected UTF-8",
        ),
        (utf16, {}, "written in UTF-16; expected UTF-8"),
        (utf16_without_mark, {}, r"t\.csv is written in UTF-16; expected UTF-8"),
        (utf16_json, {}, r"t\.jsonl is written in UTF-16; expected UTF-8"),
        (empty, {}, "the table is empty"),
        (no_rows, {}, "no labelled text; expected a table with rows"),
        (many_labels, {}, r"label.* of .*t\.tsv has 10,000 different values in 10,000 rows"),
        (ragged, {}, r"t\.csv, line 4: found 3 fields; expected 2 \(text, label\)"),
        (numbers, {}, r"column 'text' of .* holds numbers only \(such as 0\.5\)"),
        (broken_json, {}, r"t\.jsonl, line 2: not JSON"),
        (broken_parquet, {}, "not a readable Parquet file"),
        (one_column, {}, "found the column text only"),
        (fractions, {}, "predicting a number is not possible yet"),
        (
            endless_label,
            {},
            r"t\.csv:3: found a label of 1,000,000 characters \(x{40}…\); "
            r"expected the name of a class",
        ),
        (
            many_candidates,
            {},
            "nothing says which column holds the text and label; it has title, author, place",
        ),
        (
            many_candidates,
            {"columns": {"text": "tilte"}},
            "has no column 'tilte'; it has title, author, place",
        ),
        (spreadsheet, {}, "is a file, and no table or archive; expected a table"),
        (open_quote, {}, r"t\.csv, line 3: unexpected end of data"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_trouble_is_one_message(
    make: Callable[[Path], Path], data: dict[str, Any], said: str, tmp_path: Path
) -> None:
    with pytest.raises(HeadstartError, match=said):
        read(make(tmp_path), **data)
    assert not list((tmp_path / "cache" / "texts").glob(".*")), "no draft stays"


def test_a_changed_table_is_read_anew_and_an_unchanged_one_is_not(tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.tsv", reviews(20))
    read(table)
    (kept,) = (tmp_path / "cache").rglob("*.arrow")
    before = kept.stat().st_mtime_ns
    read(table)
    assert kept.stat().st_mtime_ns == before
    write_table(tmp_path / "t.tsv", [*reviews(20), ("another film", "pos")])
    assert ("another film", "pos") in everything(read(table))


def test_characters_stay_as_they_are(tmp_path: Path) -> None:
    rows = [("這間酒店環境不錯~~", "好"), ("𝒳 👍🏽 é e\u0301 \u2028 x", "坏")] * 4
    assert everything(read(write_table(tmp_path / "t.tsv", rows))) == sorted(rows)


def test_digests_are_of_the_text(tmp_path: Path) -> None:
    part = read(write_table(tmp_path / "t.tsv", reviews(20)), validation=0.0).train
    for text, digest in zip(part.items, part.digests, strict=True):
        assert digest == hashlib.sha256(text.encode()).digest()


def test_a_column_is_a_sequence_that_other_processes_can_read(tmp_path: Path) -> None:
    first = read(write_table(tmp_path / "a.tsv", reviews(20, seed=1)), validation=0.0)
    second = read(write_table(tmp_path / "b.tsv", reviews(10, seed=2)), validation=0.0)
    column = first.train.items
    assert isinstance(column, ArrowColumn)
    plain = list(column)
    assert column[2:5].take([2, 0])[0] == plain[4]
    both = column + second.train.items  # type: ignore[operator]
    assert list(both) == plain + list(second.train.items)
    assert list(both + column) == [*both, *plain]
    assert list(pickle.loads(pickle.dumps(both))) == list(both)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        assert pool.map(list, [both]) == [list(both)]


def test_images_by_their_paths_in_a_table(tmp_path: Path) -> None:
    draw_images(tmp_path / "photos", 4)
    rows = [
        (f"photos/{path.parent.name}/{path.name}", path.parent.name)
        for path in sorted(tmp_path.rglob("*.png"))
    ]
    table = write_table(
        tmp_path / "all.csv", [(",".join(row),) for row in rows], header="image,label"
    )
    asked = recipe(table, validation=0.0).model_copy(update={"task": "image_classification"})
    dataset = read_images(asked)
    assert dataset.labels == ("blue", "green", "red")
    assert sum(map(len, dataset.parts().values())) == 12
    assert any("images are column 'image'" in note for note in dataset.notes)
    write_table(
        tmp_path / "all.csv",
        [*[(",".join(row),) for row in rows], ("gone.png,red",)],
        header="image,label",
    )
    assert any("gone.png (No such file" in note for note in read_images(asked).notes)
    nowhere = asked.model_copy(update={"data": asked.data.model_copy(update={"images": ".."})})
    with pytest.raises(
        HeadstartError, match=r"expected paths relative to '\.\.'\. Name the folder"
    ):
        read_images(nowhere)
    found = list(images_at([str(tmp_path / "all.csv")], dataset.column))
    assert (len(found), dataset.column) == (13, "image")
    assert [Path(example.item).name for example in found if not Path(example.item).exists()] == [
        "gone.png"
    ]


def test_a_hub_data_set_comes_as_tables_with_the_names_of_its_labels(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import datasets

    features = datasets.Features(
        {"sentence": datasets.Value("string"), "label": datasets.ClassLabel(names=["bad", "good"])}
    )

    def split(rows: int, withheld: bool = False) -> Any:
        texts, labels = (
            [f"text {n}" for n in range(rows)],
            [-1 if withheld else n % 2 for n in range(rows)],
        )
        return datasets.Dataset.from_dict({"sentence": texts, "label": labels}, features=features)

    asked = []

    def load_dataset(*names: Any) -> Any:
        asked.append(names)
        return datasets.DatasetDict(
            {"train": split(20), "validation": split(6), "test": split(8, withheld=True)}
        )

    monkeypatch.setattr(datasets, "load_dataset", load_dataset)
    dataset = read("hub:org/name/part")
    assert asked == [("org/name", "part")]
    assert dataset.labels == ("bad", "good")
    assert {role: len(part) for role, part in dataset.parts().items()} == {
        "train": 16,
        "validation": 4,
        "test": 6,
    }
    assert any("has no labels, so it cannot be the test" in note for note in dataset.notes)
    assert ("text 1", "good") in everything(dataset)


def test_a_hub_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(
        HeadstartError, match="hub:org/name could not be had from the hub.*give a local table"
    ):
        read("hub:org/name")


def test_docstrings_are_the_same_each_time_and_give_no_name_away() -> None:
    dataset = read("sample:docstrings", limit=120)
    assert dataset.labels == ("gensim", "numpy", "pandas", "scikit-learn", "scipy", "torch")
    assert set(dataset.counts("test").values()) == {100}
    train = dataset.train + dataset.validation  # type: ignore[operator]
    assert np.bincount(train.labels).tolist() == [20] * 6
    texts = [text.lower() for part in dataset.parts().values() for text in part.items]
    assert len(set(texts)) == len(texts)
    words = set(" ".join(texts).replace("`", " ").replace(".", " ").split())
    assert not words & {"numpy", "pandas", "sklearn", "scipy", "torch", "gensim", "pytorch"}
    assert read("sample:docstrings", limit=120).train.digest() == dataset.train.digest()


def test_quoted_fields_of_a_tsv_may_hold_lines_and_tabs(tmp_path: Path) -> None:
    rows = [(f"two {number}\nlines", f"ta\tb {number}") for number in range(2)] * 4
    pd.DataFrame([(label, text) for text, label in rows], columns=["label", "text"]).to_csv(
        tmp_path / "t.tsv", sep="\t", index=False
    )
    columns = {"text": "text", "label": "label"}
    found = everything(read(tmp_path / "t.tsv", columns=columns, validation=0.0))
    assert found == sorted(rows)


@pytest.mark.parametrize(
    ("value", "said"),
    [(["a"], "found list"), ({"a": 1}, "found dict"), (True, "found bool")],
)
def test_what_is_no_text_is_refused(value: Any, said: str, tmp_path: Path) -> None:
    rows = [{"text": text, "label": label} for text, label in reviews(20)]
    rows[3]["text"] = value
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    with pytest.raises(HeadstartError, match=rf"t\.jsonl:4: {said}.*expected a text"):
        read(tmp_path / "t.jsonl")


def test_bytes_are_texts_and_half_characters_do_not_stop_anything(tmp_path: Path) -> None:
    rows = reviews(20)
    frame = pd.DataFrame(
        {"text": [text.encode() for text, _ in rows], "label": [label for _, label in rows]}
    )
    frame.loc[0, "text"] = b"caf\xe9"
    frame.to_parquet(tmp_path / "t.parquet")
    dataset = read(tmp_path / "t.parquet")
    assert set(everything(dataset)) == set(rows[1:])
    assert any("1 with no UTF-8 text (t.parquet:1)" in note for note in dataset.notes)
    half = [
        {"text": f"half \ud83d {number}", "label": "ab\ud83d"[number % 3 :]} for number in range(20)
    ]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, half)))
    assert ("half ? 0", "ab\\ud83d") in everything(read(tmp_path / "t.jsonl"))


def test_folders_of_one_look_but_other_contents_are_not_mixed_up(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import os

    for place, letter in (("one", "a"), ("two", "b")):
        for label in ("pos", "neg"):
            (tmp_path / place / "set" / label).mkdir(parents=True)
            for number in range(3):
                file = tmp_path / place / "set" / label / f"{number}.txt"
                file.write_text(letter * 5 + str(number))
                os.utime(file, (1, 1))
    for place, letter in (("one", "a"), ("two", "b")):
        monkeypatch.chdir(tmp_path / place)
        assert {text[0] for text, _ in everything(read("set", validation=0.0))} == {letter}


@pytest.mark.parametrize("damage", ["cut", "gone", "about"])
def test_a_damaged_copy_in_the_cache_is_made_again(damage: str, tmp_path: Path) -> None:
    table = write_table(tmp_path / "t.tsv", reviews(20))
    before = everything(read(table))
    (kept,) = (tmp_path / "cache" / "texts").glob("*/texts.arrow")
    if damage == "gone":
        kept.unlink()
    else:
        file = kept if damage == "cut" else kept.with_name("about.json")
        file.write_bytes(file.read_bytes()[: 60 if damage == "cut" else 1])

    from headstart.data import arrow_column

    arrow_column._mapped.cache_clear()
    assert everything(read(table)) == before


def test_a_table_that_changes_while_it_is_read_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headstart.data import texts

    table = write_table(tmp_path / "t.tsv", reviews(20))
    plain = texts.plain_text

    def meanwhile(value: Any, name: str) -> str | None:
        if name.endswith(":9"):
            write_table(tmp_path / "t.tsv", reviews(30))
        return plain(value, name)

    monkeypatch.setattr(texts, "plain_text", meanwhile)
    with pytest.raises(HeadstartError, match="was changed while it was read"):
        read(table)
    monkeypatch.undo()


def test_rows_without_a_label_explain_a_single_class(tmp_path: Path) -> None:
    rows = [(text, label if label == "pos" else "") for text, label in reviews(20)]
    with pytest.raises(
        HeadstartError, match=r"one class only \(pos\).* 10 with no label \(t\.tsv:2, "
    ):
        read(write_table(tmp_path / "t.tsv", rows))
