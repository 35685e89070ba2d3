"""From a folder to labelled parts in their roles."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from PIL import Image

from headstart.catalogue import read_recipe
from headstart.data.dataset import Dataset
from headstart.data.readers import read_images
from headstart.errors import HeadstartError
from tests.conftest import WriteRecipe, draw_images


def read(path: Path, *overrides: str) -> Dataset:
    return read_images(read_recipe(path, overrides))


def sizes(dataset: Dataset) -> dict[str, int]:
    return {role: len(examples) for role, examples in dataset.parts().items()}


def test_a_single_held_out_part_is_the_test_and_validation_is_carved(
    write_recipe: WriteRecipe,
) -> None:
    dataset = read(write_recipe())
    assert dataset.labels == ("blue", "green", "red")
    assert sizes(dataset) == {"train": 24, "validation": 6, "test": 18}
    assert dataset.counts("validation") == {"blue": 2, "green": 2, "red": 2}
    assert not set(dataset.train.items) & set(dataset.validation.items)  # type: ignore[union-attr]
    assert dataset.test.names[0] == "blue/00.png"


def test_a_lone_validation_folder_becomes_the_test(
    tmp_path: Path, write_recipe: WriteRecipe
) -> None:
    draw_images(tmp_path / "set" / "train", 5)
    draw_images(tmp_path / "set" / "val", 3)
    assert sizes(read(write_recipe(data={"source": str(tmp_path / "set")}))) == {
        "train": 12,
        "validation": 3,
        "test": 9,
    }


def test_three_given_parts_keep_their_roles(tmp_path: Path, write_recipe: WriteRecipe) -> None:
    for part, count in (("train", 5), ("valid", 2), ("test", 3)):
        draw_images(tmp_path / "set" / part, count)
    path = write_recipe(data={"source": str(tmp_path / "set"), "validation": None})
    assert sizes(read(path)) == {"train": 15, "validation": 6, "test": 9}


def test_a_flat_folder_gives_all_three_parts(tmp_path: Path, write_recipe: WriteRecipe) -> None:
    draw_images(tmp_path / "flat", 10)
    assert sizes(read(write_recipe(data={"source": str(tmp_path / "flat")}))) == {
        "train": 18,
        "validation": 6,
        "test": 6,
    }


def test_no_validation_part_when_none_is_wanted(write_recipe: WriteRecipe) -> None:
    assert sizes(read(write_recipe(), "data.validation=0")) == {"train": 30, "test": 18}
    assert sizes(read(write_recipe(), "data.validation=0", "train.selection=test")) == {
        "train": 30,
        "test": 18,
    }


def test_paths_that_the_recipe_names(photos: Path, write_recipe: WriteRecipe) -> None:
    data = {
        "source": None,
        "train": str(photos / "train"),
        "validation": str(photos / "test"),
        "test": 0.2,
    }
    assert sizes(read(write_recipe(data=data))) == {"train": 24, "validation": 18, "test": 6}


def test_hidden_and_foreign_files_are_left_out(tmp_path: Path, write_recipe: WriteRecipe) -> None:
    folder = tmp_path / "set"
    draw_images(folder, 5)
    draw_images(folder / ".ipynb_checkpoints", 5)
    draw_images(folder / "red" / ".ipynb_checkpoints", 1)
    (folder / "red" / "notes.txt").write_text("hello")
    (folder / "red" / ".DS_Store").write_text("x")
    dataset = read(write_recipe(data={"source": str(folder)}))
    assert dataset.labels == ("blue", "green", "red")
    assert sum(sizes(dataset).values()) == 15
    (note,) = (note for note in dataset.notes if "left out" in note)
    assert "hidden or system files: 3 (such as .ipynb_checkpoints)" in note
    assert "files that are not images: 1 (such as red/notes.txt)" in note


def test_unreadable_images_are_named_and_left_out_or_fatal(
    tmp_path: Path, write_recipe: WriteRecipe
) -> None:
    draw_images(tmp_path / "set", 5)
    (tmp_path / "set" / "red" / "broken.jpg").write_bytes(b"\xff\xd8\xff broken")
    path = write_recipe(data={"source": str(tmp_path / "set")})
    dataset = read(path)
    assert any(
        "1 of 16 images cannot be read" in note and "broken.jpg" in note for note in dataset.notes
    )
    with pytest.raises(HeadstartError, match=r"1 of 16 images cannot be read: .*broken\.jpg"):
        read(path, "data.unreadable=error")


def test_names_that_are_no_text_and_things_that_are_no_files(
    tmp_path: Path, write_recipe: WriteRecipe
) -> None:
    import os

    draw_images(tmp_path / "set", 6)
    (tmp_path / "set" / "red").rename(os.fsdecode(os.fsencode(tmp_path / "set") + b"/\xff\x1b[31m"))
    os.mkfifo(tmp_path / "set" / "blue" / "pipe.png")
    dataset = read(write_recipe(data={"source": str(tmp_path / "set")}))
    assert dataset.labels == ("\\xff\\x1b[31m", "blue", "green")
    assert sum(sizes(dataset).values()) == 18


def test_nothing_left_to_carve(tmp_path: Path, write_recipe: WriteRecipe) -> None:
    draw_images(tmp_path / "set", 6)
    with pytest.raises(HeadstartError, match=r"data\.validation: nothing can be set aside"):
        read(write_recipe(data={"source": str(tmp_path / "set")}), "data.test=0.99")


def build(folder: Path, kind: str) -> str:
    """A folder with one kind of trouble; returns what the message must say."""
    match kind:
        case "empty":
            folder.mkdir()
            return "found nothing"
        case "file":
            folder.write_text("x")
            return "is a file"
        case "loose":
            folder.mkdir()
            Image.new("RGB", (8, 8)).save(folder / "a.png")
            return "1 images in no class folder"
        case "one class":
            draw_images(folder, 4)
            for name in ("blue", "green"):
                for file in (folder / name).iterdir():
                    file.unlink()
            return "one class only (red)"
        case "class of one":
            draw_images(folder, 4)
            for file in sorted((folder / "red").iterdir())[1:]:
                file.unlink()
            return "too few readable training images of red (1)"
        case "all unreadable":
            draw_images(folder, 2)
            for file in folder.rglob("*.png"):
                file.write_bytes(b"no image")
            return "6 of 6 images cannot be read"
        case "test only":
            draw_images(folder / "test", 2)
            return "no training part"
        case "strangers":
            draw_images(folder / "train", 4)
            draw_images(folder / "test", 2)
            (folder / "test" / "red").rename(folder / "test" / "pink")
            return "the test part has classes that training lacks: pink"
        case "parts in a part":
            draw_images(folder / "train", 4)
            draw_images(folder / "test" / "valid", 2)
            draw_images(folder / "test" / "test", 2)
            return (
                f"has parts (test, valid); name the one that is meant: {folder / 'test' / 'test'}"
            )
        case "parts of boxes":
            draw_images(folder / "images" / "train", 4)
            for number, file in enumerate(sorted((folder / "images").rglob("*.png"))):
                file.rename(folder / "images" / "train" / f"{number}.png")
            (folder / "labels").mkdir()
            return "the folders in it (train) are parts without class folders, as of boxes"
        case "parts in a folder":
            draw_images(folder / "images" / "train", 4)
            (folder / "labels").mkdir()
            return f'the folders in it are parts: write data.source = "{folder / "images"}"'
    return "no folder"


@pytest.mark.parametrize(
    "kind",
    [
        "missing",
        "empty",
        "file",
        "loose",
        "one class",
        "class of one",
        "all unreadable",
        "test only",
        "strangers",
        "parts in a part",
        "parts of boxes",
        "parts in a folder",
    ],
)
def test_trouble_is_one_message(tmp_path: Path, write_recipe: WriteRecipe, kind: str) -> None:
    said = build(tmp_path / "set", kind)
    with pytest.raises(HeadstartError) as caught:
        read(write_recipe(data={"source": str(tmp_path / "set")}))
    assert said in str(caught.value)
    assert str(tmp_path / "set") in str(caught.value)


def test_a_share_of_a_given_test_part_is_refused(write_recipe: WriteRecipe) -> None:
    with pytest.raises(HeadstartError, match="the data brings a test part"):
        read(write_recipe(), "data.test=0.3")


def test_sample_digits_and_unknown_sample(write_recipe: WriteRecipe) -> None:
    dataset = read(write_recipe(), "data.source=sample:digits")
    assert sum(sizes(dataset).values()) == 1797
    assert dataset.labels == tuple("0123456789")
    with pytest.raises(HeadstartError, match=r"unknown sample 'digit'; did you mean 'digits'\?"):
        read(write_recipe(), "data.source=sample:digit")


def test_sample_patches_is_always_the_same(
    write_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    pytest.importorskip("skimage")
    first = read(write_recipe(), "data.source=sample:patches")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "other"))
    second = read(write_recipe(), "data.source=sample:patches")
    assert first.test.digest() == second.test.digest()
    assert first.counts("test") == dict.fromkeys(first.labels, 40)
    assert len(first.labels) == 17


@pytest.mark.parametrize(
    ("cell", "said"),
    [
        (b"\x89PNG", "column 'image' of .* holds bytes, not paths of existing files"),
        ({"bytes": b"\x89PNG", "path": "gone.png"}, "holds bytes, not paths"),
        ([1, 2], "holds something else, not paths"),
        ("iVBORw0KGgo" * 1000, "holds something else, not paths"),
        ("http://a.org/1.png", r"such as http://a\.org/1\.png: they are addresses .* download"),
        ("s3://a/1.png", "are addresses"),
        ("/nowhere/1.png", "they are absolute; bring the files there"),
        ("file:///nowhere/1.png", "are addresses"),
        ("C:\\data\\1.png", "they are absolute; bring the files there"),
        ("nowhere/1.png", "Name the folder that they are relative to with data.images"),
    ],
)
def test_cells_that_lead_to_no_file(
    tmp_path: Path, write_recipe: WriteRecipe, cell: object, said: str
) -> None:
    pd.DataFrame({"image": [cell] * 8, "label": ["a", "b"] * 4}).to_parquet(tmp_path / "t.parquet")
    with pytest.raises(HeadstartError, match=said) as caught:
        read(write_recipe(data={"source": str(tmp_path / "t.parquet")}))
    assert len(str(caught.value).replace(str(tmp_path), "")) < 300, "no cell is quoted whole"
    assert ("data.images = " in str(caught.value)) == (cell == "nowhere/1.png")


def test_cells_that_lead_to_files(tmp_path: Path, write_recipe: WriteRecipe) -> None:
    draw_images(tmp_path, 4)
    files = sorted(tmp_path.rglob("*.png"))
    cells = {
        "url": [file.as_uri() for file in files],
        "both": [{"bytes": b"x", "path": str(file)} for file in files],
    }
    for name, column in cells.items():
        pd.DataFrame({"image": column, "label": [file.parent.name for file in files]}).to_parquet(
            tmp_path / f"{name}.parquet"
        )
        assert (
            sum(
                sizes(
                    read(write_recipe(data={"source": str(tmp_path / f"{name}.parquet")}))
                ).values()
            )
            == 12
        )


def test_rows_without_a_label_explain_a_single_class(
    tmp_path: Path, write_recipe: WriteRecipe
) -> None:
    draw_images(tmp_path, 4)
    rows = [
        f"{file.relative_to(tmp_path)},{'red' if 'red' in str(file) else ''}"
        for file in sorted(tmp_path.rglob("*.png"))
    ]
    (tmp_path / "t.csv").write_text("\n".join(["image,label", *rows]))
    with pytest.raises(
        HeadstartError, match=r"one class only \(red\).* 8 with no label \(t\.csv:2, "
    ):
        read(write_recipe(data={"source": str(tmp_path / "t.csv")}))
