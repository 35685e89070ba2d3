"""Finished models given examples in Python and on the command line."""

from __future__ import annotations

import io
import os
import sys
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

import headstart
from headstart.data.image_formats import heif_version
from headstart.errors import HeadstartError
from headstart.inference.loaded_model import open_model
from headstart.inference.predict import Prediction, Predictor, Unreadable
from tests.conftest import MakeRun, reviews, write_table
from tests.test_cli import call

Capture = pytest.CaptureFixture[str]


def test_an_image_is_the_same_as_a_path_opened_in_a_list_and_from_an_iterator(
    make_run: MakeRun, photos: Path
) -> None:
    model = headstart.load(make_run("image"))
    path = photos / "test" / "red" / "00.png"
    (by_path,) = model.predict(path)
    with Image.open(path) as opened:
        (by_image,) = model.predict(opened)
    assert by_path.probabilities == by_image.probabilities
    (streamed,) = model.predict(iter([path]))
    assert streamed == by_path
    assert by_path.top(2)[0] == (by_path.label, by_path.probability)
    assert by_path.top(3)[1][1] >= by_path.top(3)[2][1]


def test_an_iterator_goes_on_where_a_sequence_stops(
    make_run: MakeRun, photos: Path, tmp_path: Path
) -> None:
    model = headstart.load(make_run("image"))
    (tmp_path / "broken.png").write_bytes(b"no image")
    paths = [
        photos / "test" / "red" / "00.png",
        tmp_path / "broken.png",
        tmp_path / "gone.png",
        photos / "test" / "red" / "01.png",
    ]
    outcomes = list(model.predict(iter(paths)))
    assert [type(outcome) for outcome in outcomes] == [
        Prediction,
        Unreadable,
        Unreadable,
        Prediction,
    ]
    assert outcomes[1].fault == "no picture in a format that Pillow reads"
    assert outcomes[2].fault == "No such file or directory"
    with pytest.raises(HeadstartError, match=r"broken\.png: cannot be read \(no picture"):
        model.predict(paths[:2])
    words = headstart.load(make_run("text"))
    said = list(words.predict(iter(["a fine film", " ", "a bad one"])))
    assert [type(outcome) for outcome in said] == [Prediction, Unreadable, Prediction]
    assert said[1].name == "' '"


def test_what_an_iterator_names_and_cannot_be_read_is_one_unreadable(
    make_run: MakeRun, photos: Path, tmp_path: Path
) -> None:
    broken, no_texts = tmp_path / "broken.csv", tmp_path / "none"
    broken.write_text("text,image\ngood,test/red/00.png\nbad\n")
    no_texts.mkdir()
    given = [tmp_path / "gone.txt", broken, no_texts, tmp_path / "gone.csv"]
    texts = list(headstart.load(make_run("text")).predict(iter([*given, "good"])))
    assert [type(outcome) for outcome in texts] == [
        Unreadable,
        Prediction,
        *[Unreadable] * 3,
        Prediction,
    ]
    faults = [outcome.fault for outcome in texts if isinstance(outcome, Unreadable)]
    assert [fault.split(";")[0] for fault in faults] == [
        *(
            "no such file",
            "line 3: found 1 fields",
            "found no .txt file in this folder",
            "no such file",
        ),
    ]
    images = list(
        headstart.load(make_run("image")).predict(
            iter([broken, no_texts, photos / "test/red/00.png"])
        )
    )
    assert [type(outcome) for outcome in images] == [*[Unreadable] * 3, Prediction]
    assert [outcome.name for outcome in images[1:3]] == [str(broken), str(no_texts)]


def test_what_lies_in_a_folder_has_a_row_or_is_counted(
    make_run: MakeRun,
    photos: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    heif_version.cache_clear()
    folder, picture = tmp_path / "new", photos / "test" / "red" / "00.png"
    folder.mkdir()
    (folder / "phone.heic").write_bytes(b"\0\0\0\x18ftypheic" + bytes(20))
    (folder / "no ending").write_bytes(picture.read_bytes())
    (folder / "linked").symlink_to(photos / "test" / "blue")
    (folder / "again.png").symlink_to(picture)
    (folder / "dead.jpg").symlink_to("nowhere.jpg")
    for name in ("notes.txt", "Thumbs.db", ".DS_Store"):
        (folder / name).write_text("x")
    run = make_run("image")
    assert call("predict", run, folder) == 1
    said = capsys.readouterr()
    rows = [line.split("\t")[0] for line in said.out.splitlines()]
    assert rows == [
        str(folder / name)
        for name in ("again.png", "no ending", *(f"linked/{n:02}.png" for n in range(6)))
    ]
    assert f"{folder}/phone.heic: cannot be read (a HEIC picture" in said.err
    assert f"{folder}/dead.jpg: cannot be read (a link that leads nowhere)" in said.err
    counted = (
        "files that are not images: 1 (such as notes.txt); hidden or system files: 2 (such as "
        ".DS_Store)"
    )
    assert f"left out of {folder}: {counted}" in said.err
    # where examples are counted first, for a bar
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert call("predict", run, folder) == 1
    assert capsys.readouterr().err.count("left out of") == 1
    model = headstart.load(run)
    with pytest.raises(
        HeadstartError,
        match=r"phone\.heic: cannot be read \(a HEIC picture.*pip install pillow-heif",
    ):
        model.predict(folder)
    for name in ("phone.heic", "dead.jpg"):
        (folder / name).unlink()
    assert [found.name for found in model.predict(folder)] == rows


def test_what_is_no_text_in_a_folder_is_counted_or_has_a_row(
    make_run: MakeRun, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "good.txt").write_text("a fine film")
    (tmp_path / "notes.md").write_text("x")
    (tmp_path / "dead.txt").symlink_to("nowhere")
    os.mkfifo(tmp_path / "pipe.txt")
    assert call("predict", make_run("text"), tmp_path) == 1
    said = capsys.readouterr()
    assert [line.split("\t")[0] for line in said.out.splitlines()] == [f"{tmp_path}/good.txt"]
    assert f"left out of {tmp_path}: files that are not texts: 1 (such as notes.md)" in said.err
    assert "dead.txt: cannot be read (No such file" in said.err
    assert "pipe.txt: cannot be read (no plain file)" in said.err


def test_an_iterator_is_worked_through_in_constant_memory(make_run: MakeRun) -> None:
    model = headstart.load(make_run("text"))
    given = 0

    def texts() -> Iterator[str]:
        nonlocal given
        for text, _ in reviews(4_500, seed=1):
            given += 1
            yield text

    outcomes = model.predict(texts())
    next(outcomes)
    assert given <= 1024
    tracemalloc.start()
    for _ in range(1_500):
        next(outcomes)
    early = tracemalloc.get_traced_memory()[0]
    count = sum(1 for _ in outcomes)
    late = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert count == 4_500 - 1_501
    assert late < early + 2**20


def test_several_runs_are_averaged(make_run: MakeRun, photos: Path) -> None:
    runs = [make_run("image", seed=seed) for seed in (0, 1)]
    paths = sorted((photos / "test").rglob("*.png"))
    single = [headstart.load(run).probabilities(paths) for run in runs]
    assert np.abs(single[0] - single[1]).max() > 1e-3
    np.testing.assert_allclose(
        headstart.load(runs).probabilities(paths), sum(single) / 2, atol=1e-7
    )
    weighed = headstart.load(runs, weights=[3, 1]).probabilities(paths)
    np.testing.assert_allclose(weighed, 0.75 * single[0] + 0.25 * single[1], atol=1e-7)
    with pytest.raises(
        HeadstartError,
        match="a run of text_classification, and .* of image_classification; only models of",
    ):
        headstart.load([runs[0], make_run("text")])
    members = [open_model(run) for run in runs]
    labels = ("black", *members[1].spec.labels[1:])
    members[1].spec = members[1].spec.model_copy(update={"labels": labels})
    with pytest.raises(
        HeadstartError,
        match=r"has other classes than .* \(black, green, red; blue, green, red\)",
    ):
        Predictor(members)
    for wrong in ([1.0], [0, 0], [1, -1], [1, float("nan")]):
        with pytest.raises(HeadstartError, match="expected 2 numbers of at least 0"):
            headstart.load(runs, weights=wrong)


def test_ten_looks_at_an_image_are_averaged(
    make_run: MakeRun, photos: Path, tmp_path: Path
) -> None:
    model = headstart.load(make_run("image"))
    path = str(photos / "test" / "red" / "00.png")
    preprocessor = model.members[0].preprocessor
    views = [view["pixel_values"].numpy() for view in preprocessor.views(path)]  # type: ignore[attr-defined]
    assert len(views) == 10
    # the middle is what is seen without
    np.testing.assert_array_equal(views[8], preprocessor(path)["pixel_values"].numpy())
    np.testing.assert_array_equal(views[9], views[8][..., ::-1])
    each = model.members[0].probabilities(
        [
            {"pixel_values": view}
            for view in map(__import__("torch").from_numpy, map(np.copy, views))
        ]
    )
    np.testing.assert_allclose(model.probabilities([path], tta=True)[0], each.mean(0), atol=1e-6)
    Image.new("RGB", (1, 900), "red").save(tmp_path / "narrow.png")
    assert len(model.predict(tmp_path / "narrow.png", tta=True)) == 1
    with pytest.raises(HeadstartError, match="--tta"):
        headstart.load(make_run("text")).predict("a film", tta=True)


def test_labels_from_the_most_probable_on(make_run: MakeRun, photos: Path, capsys: Capture) -> None:
    assert call("predict", make_run("image"), photos / "test" / "red" / "00.png", "--top", "9") == 0
    cells = capsys.readouterr().out.strip().split("\t")
    assert sorted(cells[1::2]) == ["blue", "green", "red"]
    chances = [float(cell) for cell in cells[2::2]]
    assert chances == sorted(chances, reverse=True)
    assert sum(chances) == pytest.approx(1, abs=1e-3)


def test_standard_input_names_examples(
    make_run: MakeRun, photos: Path, capsys: Capture, monkeypatch: pytest.MonkeyPatch
) -> None:
    def give(content: bytes) -> None:
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))

    give("a fine film\r\nschön und gut\n".encode())
    assert call("predict", make_run("text"), "-") == 0
    assert [line.split("\t")[0] for line in capsys.readouterr().out.splitlines()] == ["-:1", "-:2"]
    give(b"a fine film\n\n \t\nsch\xf6n\n\xff\xfe\nso so")
    assert call("predict", make_run("text"), "-") == 1
    texts = capsys.readouterr()
    assert [line.split("\t")[0] for line in texts.out.splitlines()] == ["-:1", "-:6"]
    faults = [f"-:{line}: cannot be read ({fault})" for line, fault in
              ((2, "an empty text"), (3, "an empty text"), (4, "no UTF-8 text"), (5,
              "no UTF-8 text"))]  # fmt: skip
    assert texts.err.splitlines()[-4:] == faults
    path = photos / "test" / "red" / "00.png"
    give(f"\n{path}\n\nnowhere.png\n".encode())
    assert call("predict", make_run("image"), "-") == 1
    said = capsys.readouterr()
    assert said.out.startswith(f"{path}\t")
    assert "nowhere.png: cannot be read (No such file or directory)" in said.err
    give(b"")
    assert call("predict", make_run("text"), "-") == 2


def test_paths_that_are_none(
    make_run: MakeRun,
    photos: Path,
    tmp_path: Path,
    capsys: Capture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "t.csv").write_text(
        f"image,label\n{photos}/test/red/00.png,red\n,red\n /gone.png,red\nhttp://a/b.png,red\n"
    )
    (tmp_path / "all.zip").write_bytes(b"PK")
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"a.png\0b.png\0")))
    assert call("predict", make_run("image"), tmp_path / "t.csv", tmp_path / "all.zip", "-") == 1
    said = capsys.readouterr()
    assert len(said.out.splitlines()) == 1
    assert "t.csv:3: cannot be read (no path in this row)" in said.err
    assert "no such file; they are addresses (URLs)" in said.err
    assert "all.zip: cannot be read (an archive; unpack it" in said.err
    assert "a.png\\x00b.png\\x00: cannot be read (no path: a NUL byte" in said.err
    pd.DataFrame({"image": [b"\x89PNG"]}).to_parquet(tmp_path / "t.parquet")
    assert call("predict", make_run("image"), tmp_path / "t.parquet") == 2
    assert "the column of images holds bytes, not paths" in capsys.readouterr().err


def test_values_that_are_no_text_are_rows_with_a_reason(
    make_run: MakeRun, tmp_path: Path, capsys: Capture
) -> None:
    table = tmp_path / "odd.jsonl"
    table.write_text(
        '{"text": "a fine film"}\n{"text": {"a": 1}}\n{"text": null}\n', encoding="utf-8"
    )
    assert call("predict", make_run("text"), table) == 1
    said = capsys.readouterr()
    assert said.out.count("\n") == 1
    assert "odd.jsonl:2: cannot be read (found dict" in said.err
    assert "odd.jsonl:3: cannot be read (an empty text)" in said.err


def test_weights_that_are_no_numbers(make_run: MakeRun, capsys: Capture) -> None:
    runs = ",".join(str(make_run("text", seed=seed)) for seed in (0, 1))
    assert call("predict", runs, "a film", "--weights", "much,little") == 2
    assert "expected numbers such as 0.5,0.3,0.2" in capsys.readouterr().err
    assert call("predict", runs, "a film", "--weights", "1,3") == 0


def test_rows_of_a_table_of_texts_keep_their_places(make_run: MakeRun, tmp_path: Path) -> None:
    rows = reviews(1_100, seed=5)
    table = write_table(tmp_path / "many.tsv", rows)
    found = headstart.load(make_run("text")).predict(table)
    assert [prediction.name for prediction in found] == [
        f"{table}:{line}" for line in range(2, 1_102)
    ]
    (alone,) = headstart.load(make_run("text")).predict(rows[1_050][0])
    assert found[1_050].probabilities["pos"] == pytest.approx(alone.probabilities["pos"], abs=1e-5)


@pytest.mark.parametrize(
    "texts",
    [["10/10", "N/A", "drama"], ("-", "gone.csv"), np.array(["a film", "drama"]), pd.Series(["a",
    "b"], [5, 9]), [], "."],
    ids=["slashes", "stdin", "array", "series", "empty", "one"],
)  # fmt: skip
def test_strings_are_texts(
    texts: Any, make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drama").mkdir()
    (tmp_path / "drama" / "1.txt").write_text("a fine film")
    model = headstart.load(make_run("text"))
    expected = [texts] if isinstance(texts, str) else list(texts)
    assert [prediction.name for prediction in model.predict(texts)] == expected
    assert [prediction.name for prediction in model.predict(iter(expected))] == expected  # type: ignore[union-attr]


def test_paths_are_files_tables_and_folders(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "drama").mkdir()
    (tmp_path / "drama" / "1.txt").write_text("a fine film")
    write_table(tmp_path / "more.tsv", reviews(2))
    model = headstart.load(make_run("text"))
    names = ["drama/1.txt", "more.tsv:2", "more.tsv:3", "drama/1.txt", "item 3", "drama"]
    given = [Path("drama"), "more.tsv", "drama/1.txt", b"a fine film", "drama"]
    assert [prediction.name for prediction in model.predict(given)] == names
    with pytest.raises(HeadstartError, match=r"gone: cannot be read \(no such file"):
        model.predict(Path("gone"))
    assert call("predict", make_run("text"), "drama", "more.tsv", "10/10", "N/A") == 0
    assert "taken for: 1 folder, 1 table, 2 texts" in capsys.readouterr().err
    (tmp_path / "bare.csv").write_text(
        "a film that has no name for its column but is a text\na bad film\n"
    )
    with pytest.raises(
        HeadstartError, match="looks like an example, not like the name of the column"
    ):
        model.predict("bare.csv")


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (["a film", {"a": 1}], "item 1: cannot be read (found dict; expected a text)"),
        (["a film", float("nan")], "item 1: cannot be read (nothing is there; expected a text)"),
        (
            [np.zeros((200, 300))],
            "item 0: cannot be read (found ndarray of shape (200, 300); expected a text)",
        ),
        ([b"\xff"], "item 0: cannot be read (no UTF-8 text)"),
        (
            np.zeros((200, 300)),
            "predict: found ndarray of shape (200, 300); expected one example, or a list",
        ),
        (pd.DataFrame({"text": ["a film"]}), "predict: found DataFrame of shape (1, 1)"),
        ({"a film"}, "predict: found set;"),
    ],
)
def test_what_is_no_example_is_named_by_its_kind_and_place(
    given: Any, said: str, make_run: MakeRun
) -> None:
    with pytest.raises(HeadstartError) as caught:
        headstart.load(make_run("text")).predict(given)
    assert str(caught.value).startswith(said)
    assert len(str(caught.value)) < 250


def test_images_are_paths_bytes_and_opened_ones(make_run: MakeRun, photos: Path) -> None:
    model = headstart.load(make_run("image"))
    path = photos / "test" / "red" / "00.png"
    with Image.open(path) as opened:
        found = model.predict(
            [str(path), path.read_bytes(), opened, Image.fromarray(np.asarray(opened))]
        )
    assert [prediction.name for prediction in found] == [str(path), "item 1", str(path), "item 3"]
    assert all(prediction.probabilities == found[0].probabilities for prediction in found)
    assert len(model.predict(pd.Series([str(path)] * 2))) == 2
    assert model.predict([]) == []
    with pytest.raises(HeadstartError, match=r"item 0: cannot be read \(no picture in a format"):
        model.predict([b"no image"])
    with pytest.raises(
        HeadstartError,
        match=r"item 0: cannot be read \(found ndarray of shape \(40, 40, 3\); .*Image\.fromarray",
    ):
        model.predict([np.zeros((40, 40, 3), np.uint8)])
