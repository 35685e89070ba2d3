"""headstart check, init and verify: what a user sees of the data before training, and of a run
after it."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from headstart.catalogue import read_recipe
from headstart.cli import main
from headstart.commands.run import run
from headstart.data.dataset import Dataset
from headstart.data.split_file import read_split, write_split
from headstart.errors import HeadstartError
from headstart.tasks import task_for
from tests.conftest import WriteRecipe, draw_images, reviews, write_table

Capture = pytest.CaptureFixture[str]


def call(*arguments: str) -> int:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    return int(stopped.value.code or 0)


def test_check_says_what_is_wrong_and_shows_it(
    write_recipe: WriteRecipe, tmp_path: Path, weights: Path, capsys: Capture
) -> None:
    source = tmp_path / "set"
    draw_images(source / "train", 20, seed=1)
    draw_images(source / "test", 8, seed=2)
    odd = "red\n<script>alert(1)<\u202egnp.png"
    (source / "test" / "red" / odd).write_bytes((source / "train" / "red" / "00.png").read_bytes())
    (source / "train" / "blue" / "broken.png").write_bytes(b"nothing")
    Image.open(source / "train" / "red" / "05.png").save(
        source / "train" / "blue" / "flipped.png", optimize=True
    )
    path = write_recipe(
        data={"source": str(source)},
        model={"weights": str(weights)},
        transfer={"strategy": "fine_tune"},
    )
    assert call("check", str(path), "--page") == 0
    said = capsys.readouterr().out
    assert "test examples with a duplicate in an earlier part: 1 of 25 (1 a copy)" in " ".join(
        said.split()
    )
    assert "1 of 62 images of the train part cannot be read" in said
    folder = tmp_path / "run.check"
    rows = list(csv.DictReader((folder / "alike.csv").open(encoding="utf-8", newline="")))
    (row,) = [row for row in rows if row["part"] == "test" and row["how"] == "a copy"]
    assert row["like"] == "red/00.png"
    assert "blue/flipped.png" in [
        row["example"] for row in csv.DictReader((folder / "suspects.csv").open(encoding="utf-8"))
    ]
    page = (folder / "check.html").read_text(encoding="utf-8")
    assert "<script" not in page
    assert "&lt;script&gt;alert(1)&lt;\\u202egnp.png" in page
    assert page.count("data:image/jpeg;base64,") > 30
    assert not (tmp_path / "run").exists()


def test_check_of_texts_by_themselves(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [*reviews(60), reviews(60)[0], ("", "pos")]
    table = write_table(tmp_path / "posts.tsv", rows, header="review\tstars")
    monkeypatch.setattr("headstart.commands.init._backbone", lambda defaults: ("no/such", "none"))
    assert call("check", str(table)) == 0
    said = capsys.readouterr().out
    assert "copies of other examples: " in said
    assert "1 with an empty text" in said
    assert "need the backbone, which cannot be had" in said
    assert (tmp_path / "runs" / "posts.check" / "alike.csv").is_file()


def test_the_page_shows_texts_as_they_stand_and_as_they_are_read(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    folder = tmp_path / "films"
    write_table(folder / "train.tsv", [*reviews(60), ("Wonderful: a «good» FILM", "pos")])
    write_table(folder / "test.tsv", [*reviews(20, seed=3), ("wonderful, a good film!", "pos")])
    path = write_recipe(task="text_classification", data={"source": str(folder)})
    assert call("check", str(path), "--page") == 0
    page = (tmp_path / "run.check" / "check.html").read_text(encoding="utf-8")
    assert "Wonderful: a «good» FILM" in page
    assert "wonderful, a good film!" in page
    assert "[CLS]" in page.partition("Training examples")[2]


def test_init_writes_a_recipe_that_can_be_planned(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    assert call("init", str(photos)) == 0
    recipe = read_recipe(tmp_path / "recipe.toml")
    assert recipe.task == "image_classification"
    assert recipe.data.source == str(photos)
    assert "# Made by `headstart init`" in capsys.readouterr().out
    assert call("init", str(photos)) == 2
    assert "recipe.toml exists already" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("header", "row", "task", "columns"),
    [
        (
            "review\tstars",
            "{text}\t{label}",
            "text_classification",
            {"text": "review", "label": "stars"},
        ),
        (
            "id\tclass\tbody\tname",
            "{n}\t{label}\t{text}\tAnn",
            "text_classification",
            {"text": "body", "label": "class"},
        ),
        (
            "n\twhat\tsaid",
            "{n}\t{label}\t{text}",
            "text_classification",
            {"text": "said", "label": "what"},
        ),
        (
            "file\tkind",
            "train/red/{n:02}.png\t{label}",
            "image_classification",
            {"image": "file", "label": "kind"},
        ),
        ("a film\tpos", "{text}\t{label}", "text_classification", {"text": "1", "label": "2"}),
        (
            "q1\tq2\tsame",
            "{text}\t{text}\t{label}",
            "text_classification",
            {"text": "q1", "label": "same"},
        ),
    ],
)
def test_init_finds_the_columns(
    header: str,
    row: str,
    task: str,
    columns: dict[str, str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    draw_images(tmp_path / "train", 40)
    lines = [row.format(n=n, text=text, label=label) for n, (text, label) in enumerate(reviews(40))]
    (tmp_path / "posts.tsv").write_text("\n".join([header, *lines]) + "\n")
    assert call("init", "posts.tsv", "--output", "mine.toml") == 0
    recipe = read_recipe(tmp_path / "mine.toml")
    assert recipe.task == task
    assert {role: name for role, name in recipe.data.columns if name is not None} == columns


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("a\n1\n", "at least two columns"),
        ("a\tb\n", "expected rows"),
        ("a\tb\n" + "".join(f"{n}\tx{n}\n" for n in range(50)), "no column looks like labels"),
        (
            "a\tb\n" + "".join(f"{n}.5\tx{n}\n" for n in range(50)),
            "'a' holds numbers; to predict a number is not possible",
        ),
    ],
)
def test_tables_that_tell_nothing(content: str, said: str, tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "odd.tsv").write_text(content)
    assert call("init", str(tmp_path / "odd.tsv"), "--output", str(tmp_path / "r.toml")) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "r.toml").exists()


def test_no_name_is_no_data(tmp_path: Path, capsys: Capture) -> None:
    assert call("init", "", "--output", str(tmp_path / "r.toml")) == 2
    assert call("check", "") == 2
    assert capsys.readouterr().err.count("found no name; expected a folder, a table") == 2


@pytest.mark.parametrize("strategy", ["scratch", "feature_extraction"])
def test_a_run_is_verified_until_its_data_or_its_model_changes(
    strategy: str, write_recipe: WriteRecipe, tmp_path: Path, weights: Path, capsys: Capture
) -> None:
    source = tmp_path / "set"
    draw_images(source, 14)
    model = {"weights": str(weights)} if strategy != "scratch" else {}
    run(
        write_recipe(
            data={"source": str(source), "limit": 24}, transfer={"strategy": strategy}, model=model
        )
    )
    folder = tmp_path / "run"
    assert call("verify", str(folder)) == 0
    said = capsys.readouterr().out
    assert "9 of 9 test predictions are the same" in said
    assert said.endswith("the figures hold\n")
    report = json.loads((folder / "metrics.json").read_text())
    rows = (folder / "predictions.csv").read_text().splitlines()
    name, label, _, best, *numbers, refused, error = rows[1].split(",")
    (folder / "predictions.csv").write_text(
        "\n".join(
            [
                rows[0],
                ",".join([name, label, label, best, *numbers[::-1], refused, error]),
                *rows[2:],
            ]
        )
        + "\n"
    )
    assert call("verify", str(folder)) == 1
    assert "the figures do NOT hold" in capsys.readouterr().out
    assert report["counts"]["train"]
    (source / "red" / "00.png").unlink()
    assert call("verify", str(folder)) == 1
    assert "the data has changed: 1 of 42 gone (such as red/00.png, red)" in capsys.readouterr().out


def test_damaged_runs_and_moved_files_are_told_apart(
    write_recipe: WriteRecipe, tmp_path: Path, capsys: Capture
) -> None:
    source = tmp_path / "set"
    draw_images(source, 14)
    run(write_recipe(data={"source": str(source)}))
    for path in list((source / "red").iterdir()):
        path.rename(path.with_stem(f"renamed {path.stem}"))
    assert call("verify", str(tmp_path / "run")) == 0
    capsys.readouterr()
    for name, content in (
        *(("manifest.json", text) for text in ("", "[]", '{"data": 3}', '{"data": {}}')),
        *(("predictions.csv", text) for text in ("", "example,label\n", None)),
    ):
        path = tmp_path / "run" / name
        whole = path.read_bytes()
        path.unlink()
        if content is not None:
            path.write_text(content)
        assert call("verify", str(tmp_path / "run")) == 2
        message = capsys.readouterr().err
        assert name in message
        assert "train the run again" in message
        path.write_bytes(whole)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda rows: [*rows, rows[0]], r"1 of 71 new \(such as t\.tsv:2, neg\)"),
        (
            lambda rows: [rows[0], rows[0], *rows[2:]],
            r"1 of 70 gone \(such as t\.tsv:3, pos\), 1 of 70 new",
        ),
        (
            lambda rows: [(rows[0][0], "pos"), *rows[1:]],
            r"1 of 70 gone \(such as t\.tsv:2, neg\), 1 of 70 new",
        ),
    ],
    ids=["a copy more", "a copy for another", "a label"],
)
def test_a_split_is_refused_when_the_data_has_changed(
    change: Callable[..., Any], said: str, write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    rows = reviews(70)
    table = write_table(tmp_path / "t.tsv", rows)
    path = write_recipe(task="text_classification", data={"source": str(table), "validation": 0.2})
    run(path)
    write_table(table, change(rows))
    with pytest.raises(
        HeadstartError, match=f"this is not the data that .*split.parquet was written for: {said}"
    ):
        run(
            path,
            [
                f"data.split.file={tmp_path / 'run' / 'split.parquet'}",
                f"output={tmp_path / 'again'}",
            ],
        )


def test_grown_data_keeps_its_parts_or_is_refused(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    rows = reviews(70)
    table = write_table(tmp_path / "t.tsv", rows)
    path = write_recipe(
        task="text_classification",
        data={"source": str(table), "validation": 0.2},
        train={"epochs": 1},
    )
    run(path)
    split = tmp_path / "run" / "split.parquet"
    tested = [text for digest, label, text, part in read_split(split) if part == "test"]
    before = split.read_bytes()
    relabelled = [(text, {"neg": "pos", "pos": "neg"}[label]) for text, label in rows[:1]]
    write_table(table, [*relabelled, *rows[1:68], *reviews(10, seed=23)])
    with pytest.raises(
        HeadstartError, match=r"of its 14 test examples \(such as .* would now be learned from"
    ) as refused:
        run(path)
    assert split.read_bytes() == before
    kept = [f"data.split.file={split}", "data.split.new=train", f"output={tmp_path / 'run'}-2"]
    assert all(word in str(refused.value) for word in kept)
    again = read(path, kept)
    then = {digest: part for digest, _, _, part in read_split(split)}
    now = {digest: role for role, part in again.parts().items() for digest in part.digests}
    assert all(now[digest] == part for digest, part in then.items() if digest in now)
    assert {now[digest] for digest in set(now) - set(then)} == {"train"}
    assert len(tested) - 2 <= len(again.test) <= len(tested)
    assert any(
        re.search(r"the data has changed since: 3 of 70 gone .*, 11 of 78 new", note)
        for note in again.notes
    )


def test_data_that_grew_elsewhere_is_noted(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    write_table(tmp_path / "set" / "train.tsv", reviews(60))
    write_table(tmp_path / "set" / "test.tsv", reviews(20, seed=3))
    path = write_recipe(
        task="text_classification", data={"source": str(tmp_path / "set")}, train={"epochs": 1}
    )
    assert not any("had other data" in note for note in run(path).notes)
    write_table(tmp_path / "set" / "train.tsv", reviews(64))
    assert any("had other data: 4 of 84 new" in note for note in run(path).notes)
    moved = [f"data.split.file={tmp_path / 'run' / 'split.parquet'}", "data.split.new=train"]
    write_table(tmp_path / "set" / "test.tsv", [*reviews(20, seed=3), *reviews(4, seed=8)])
    assert len(read(path, moved).test) == 24, "what the data brings as a test stays one"


@pytest.mark.parametrize(
    ("by", "told"), [("group", None), ("time", "would train on examples later than the test")]
)
def test_new_examples_of_known_groups_and_of_later_times(
    by: str, told: str | None, write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    def write(count: int) -> None:
        lines = [
            f"{text}\t{label}\t{row % 10 if by == 'group' else row}"
            for row, (text, label) in enumerate(reviews(count))
        ]
        (tmp_path / "t.tsv").write_text("text\tlabel\tkey\n" + "\n".join(lines) + "\n")

    write(60)
    data = {"source": str(tmp_path / "t.tsv"), "validation": 0.0, "columns": {by: "key"}}
    path = write_recipe(task="text_classification", data=data)
    first = read(path)
    write_split(first, tmp_path / "split.parquet")
    write(80)
    kept = [f"data.split.file={tmp_path / 'split.parquet'}", "data.split.new=train"]
    if told is not None:
        with pytest.raises(HeadstartError, match=told):
            read(path, kept)
        return
    again = read(path, kept)
    assert set(again.test.keys or ()) == set(first.test.keys or ())
    assert not set(again.test.keys or ()) & set(again.train.keys or ())
    assert len(again.test) > len(first.test)


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (lambda table: table.drop_columns(["part"]), r"it has example \(string\), sha256"),
        (
            lambda table: table.set_column(3, "part", [["foo"] * len(table)]),
            "has the part 'foo'; expected train",
        ),
        (
            lambda table: table.set_column(
                3, "part", pa.array([None] * len(table), pa.string())[None:]
            ),
            "is not the split",
        ),
        (lambda table: table.set_column(3, "part", [[["train"]] * len(table)]), r"part \(list"),
        (lambda table: table.slice(1), "1 of 30 new"),
    ],
    ids=["no parts", "an unknown part", "no value", "lists", "a row less"],
)
def test_a_damaged_split_is_refused(
    damage: Callable[[pa.Table], pa.Table],
    said: str,
    write_recipe: WriteRecipe,
    tmp_path: Path,
    photos: Path,
) -> None:
    dataset = read(write_recipe(data={"source": str(photos / "train")}))
    write_split(dataset, tmp_path / "split.parquet")
    pq.write_table(damage(pq.read_table(tmp_path / "split.parquet")), tmp_path / "split.parquet")
    with pytest.raises(HeadstartError, match=said):
        read(
            write_recipe(
                data={
                    "source": str(photos / "train"),
                    "split": {"file": str(tmp_path / "split.parquet")},
                }
            )
        )


def read(path: Path, overrides: Sequence[str] = ()) -> Dataset:
    recipe = read_recipe(path, overrides)
    return task_for(recipe.task, recipe.model.backbone).modality.read(recipe)


def test_the_same_split_again(write_recipe: WriteRecipe, tmp_path: Path, photos: Path) -> None:
    first = run(write_recipe(data={"source": str(photos / "train")}))
    split = str(tmp_path / "run" / "split.parquet")
    data = {"source": str(photos / "train"), "split": {"file": split}}
    again = run(write_recipe(data=data, seed=5, output=str(tmp_path / "again")))
    assert again.counts == first.counts
    ours, theirs = (
        [
            line.split(",")[0]
            for line in (tmp_path / name / "predictions.csv").read_text().splitlines()
        ]
        for name in ("run", "again")
    )
    assert sorted(ours) == sorted(theirs)
