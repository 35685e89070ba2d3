"""Folders as people have them: which are parts, which are classes, and that nothing in them is
passed over in silence."""

from __future__ import annotations

import os
import re
import sys
import tempfile
import types
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from headstart.catalogue import read_recipe
from headstart.data.class_folders import ClassFiles, list_class_folders
from headstart.data.image_formats import heif_version, is_image
from headstart.data.inputs import images_at
from headstart.data.pictures import look
from headstart.data.readers import IMAGE_FILES, TEXT_FILES, read_images, read_texts
from headstart.data.sources import find_sources
from headstart.data.train_test_folders import role_from_name
from headstart.errors import HeadstartError
from headstart.recipe import Data
from headstart.train.loss import class_weights
from tests.conftest import WriteRecipe, draw_images, reviews

PNG, HEIC = b"\x89PNG\r\n\x1a\n and so on", b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"
NFC, NFD = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def touch(folder: Path, *names: str, content: bytes = b"") -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)


def layout(root: Path, *folders: str) -> Path:
    """Two files that are images by their names in each folder; names in braces stand for several
    folders."""
    for folder in folders:
        head, _, rest = folder.partition("{")
        several, _, tail = rest.partition("}")
        for name in several.split(","):
            touch(root / f"{head}{name}{tail}", "1.png", "2.png")
    return root


def listed(data: Data) -> tuple[dict[str, ClassFiles], str]:
    """The listing of each part, and all notes in one text."""
    found, notes = find_sources(data, IMAGE_FILES)
    parts = {role: list_class_folders(place, IMAGE_FILES) for role, place in found.items()}
    return parts, "\n".join(
        [*notes, *(note for part in parts.values() for note in part.notes("image"))]
    )


def classes(data: Data) -> dict[str, str]:
    return {role: ",".join(sorted(part.files)) for role, part in listed(data)[0].items()}


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("training_set", "train"), ("Training Data", "train"), ("seg_train", "train"), ("train2017",
        "train"),
        ("ImagesTrain", "train"), ("VALID", "validation"), ("dev-set", "validation"), ("evaluation",
        "validation"),
        ("test_images", "test"), ("Testing", "test"), ("train-00000-of-00002", "train"),
        ("trains", None), ("invalid", None), ("latest", None), ("contest", None), ("images", None),
        ("training wheels", None),
    ],
)  # fmt: skip
def test_names_of_parts(name: str, role: str | None) -> None:
    assert role_from_name(name) == role


@pytest.mark.parametrize(
    ("folders", "train", "test"),
    [
        (["training_set/{cat,dog}", "test_set/{cat,dog}"], "cat,dog", "cat,dog"),
        (["Training/{cat,dog}", "Testing/{cat,dog}"], "cat,dog", "cat,dog"),
        (["seg_train/seg_train/{cat,dog}", "seg_test/seg_test/{cat,dog}"], "cat,dog", "cat,dog"),
        (["pets_train/{cat,dog}", "pets_test/{cat,dog}"], "cat,dog", "cat,dog"),
        (
            ["archive/dataset/train/{cat,dog}", "archive/dataset/val/{cat,dog}"],
            "cat,dog",
            "cat,dog",
        ),
        (["train/{cat,dog}", "test"], "cat,dog", None),
        (["pets_train/pets_train/{cat,dog}", "pets_test/pets_test"], "cat,dog", None),
        (["{train,car,bus}"], "bus,car,train", None),
        (["{valid,invalid}"], "invalid,valid", None),
        (["{test 1,test 2}"], "test 1,test 2", None),
        (["train/{cat,dog}", "holdout/{cat,dog}"], "cat,dog", None),
        (["wrapped/{cat,dog}"], "cat,dog", None),
        (["cat/s1", "dog/s2"], "cat,dog", None),
    ],
)
def test_parts_and_classes(
    tmp_path: Path, folders: list[str], train: str, test: str | None
) -> None:
    found = classes(Data(source=str(layout(tmp_path / "set", *folders))))
    assert (found["train"], found.get("test")) == (train, test)
    assert set(found) <= {"train", "test"}


@pytest.mark.parametrize(
    ("folders", "said", "all_classes"),
    [
        (
            ["train/{steam,electric}", "car/red", "bus/blue"],
            "holds train/, which may be a part or a class",
            "bus,car,train",
        ),
        (["train/{cat,dog}", "unlabelled"], "may be a part or a class", "train,unlabelled"),
        (["train", "test"], "train and test in .* hold no class folders", "test,train"),
        (
            ["a/{cat,dog}", "b/{cat,dog}"],
            r"\(a, b\) all hold folders of the same names \(cat, dog\)",
            "a,b",
        ),
        (["cat/{train,val}", "dog/{train,val}"], r"the same names \(train, val\)", "cat,dog"),
        (["valid/{a,b}", "invalid/{c,d}"], "holds valid/, which may be a part", "invalid,valid"),
        (["train/{cat,dog}", "training/{cat,dog}"], "more than one train part", "train,training"),
        (["test/{cat,dog}", "val/{cat,dog}"], "no training part", "test,val"),
    ],
)
def test_what_may_be_either_is_refused_with_ways_out_that_work(
    tmp_path: Path, folders: list[str], said: str, all_classes: str
) -> None:
    folder = layout(tmp_path / "set", *folders)
    with pytest.raises(HeadstartError, match=said) as caught:
        find_sources(Data(source=str(folder)), IMAGE_FILES)
    assert f'data.train = "{folder}"' in str(caught.value)
    assert classes(Data(train=str(folder))) == {"train": all_classes}


def test_class_folders_beside_another_folder(tmp_path: Path, write_recipe: WriteRecipe) -> None:
    draw_images(tmp_path / "set" / "images", 5)
    touch(tmp_path / "set" / "annotations", "1.xml")
    with pytest.raises(
        HeadstartError, match="'images' is the only class; if the folders in it are the classes"
    ) as caught:
        read_images(read_recipe(write_recipe(data={"source": str(tmp_path / "set")})))
    (way_out,) = re.findall('data.train = "([^"]*)"', str(caught.value))
    assert classes(Data(train=way_out)) == {"train": "blue,green,red"}


def test_what_lies_beside_parts_is_named(tmp_path: Path) -> None:
    folder = layout(
        tmp_path / "set", "train/{cat,dog}", "test/{cat,dog}", "holdout/{cat,dog}", "unlabelled"
    )
    touch(folder, "sample.csv", "docs/paper.doc")
    _, notes = listed(Data(source=str(folder)))
    assert (
        "not used: docs/ (no images), holdout/ (4 images), unlabelled/ (2 images), sample.csv"
        in notes
    )
    layout(folder, "val")
    assert "val has no class folders" in listed(Data(source=str(folder)))[1]
    touch(tmp_path / "outer", "about.md")
    folder.rename(tmp_path / "outer" / "set")
    assert (
        "files beside it, left out: 1 (such as about.md)"
        in listed(Data(source=str(tmp_path / "outer")))[1]
    )
    tabled = tmp_path / "tabled"
    touch(
        tabled,
        "train.csv",
        "test.csv",
        "old.csv",
        "pos/1.txt",
        "pos/2.txt",
        "more/train.csv",
        "pictures/1.png",
    )
    assert (
        "not used: more/ (no texts, tables: 1), pictures/ (no texts), pos/ (2 texts), old.csv."
        in " ".join(find_sources(Data(source=str(tabled)), TEXT_FILES).notes)
    )
    assert "not used: old.csv." in " ".join(
        find_sources(Data(source=str(tabled)), IMAGE_FILES).notes
    )


def test_pieces_of_a_table_are_refused_with_a_way_out_that_works(
    tmp_path: Path, write_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", str(tmp_path / "datasets"))
    folder = tmp_path / "set"
    folder.mkdir()
    for number, name in enumerate(
        ("train-00000-of-00002", "train-00001-of-00002", "test-00000-of-00001")
    ):
        pd.DataFrame(reviews(10, seed=number), columns=["text", "label"]).to_csv(
            folder / f"{name}.csv", index=False
        )
    said = (
        r"lies in pieces: train-00000-of-00002\.csv, train-00001-of-00002\.csv; expected one table"
    )
    with pytest.raises(HeadstartError, match=said) as caught:
        find_sources(Data(source=str(folder)), TEXT_FILES)
    (way_out,) = re.findall('data.source = "([^"]*)"', str(caught.value))
    data = {"source": way_out, "validation": 0.0}
    dataset = read_texts(read_recipe(write_recipe(task="text_classification", data=data)))
    assert [len(part) for part in dataset.parts().values()] == [20, 10]


def test_what_class_folders_hold_is_named(tmp_path: Path) -> None:
    folder = layout(
        tmp_path / "set",
        "{cat,dog}",
        "dog/puppies",
        "@eaDir",
        "$RECYCLE.BIN",
        "cat/.ipynb_checkpoints",
    )
    (folder / "fish").mkdir()
    touch(
        folder,
        "bird/1.txt",
        "bird/2.txt",
        "loose.jpg",
        "cat/Thumbs.db",
        "dog/notes.doc",
        "labels.csv",
    )
    touch(folder, "cat/IMG_0001", "cat/2024-03-05 12.30", content=PNG)
    touch(folder, "cat/README", content=b"about these cats")
    os.symlink("nowhere.png", folder / "dog" / "dead.png")
    os.mkfifo(folder / "dog" / "pipe.png")
    parts, notes = listed(Data(source=str(folder)))
    assert {name: len(files) for name, files in parts["train"].files.items()} == {
        "cat": 4,
        "dog": 4,
    }
    for said in (
        "bird (files that are not images: 2 (such as 1.txt)), fish (empty)",
        "images in no class folder: 1 (such as loose.jpg)",
        "files that are not images: 5 (such as labels.csv)",
        "hidden or system files: 4 (such as $RECYCLE.BIN)",
        "broken links: 1 (such as dog/dead.png)",
        "neither files nor folders: 1 (such as dog/pipe.png)",
        "whose images count to the class: dog/puppies",
    ):
        assert said in notes


def test_links_are_followed_but_not_in_circles(tmp_path: Path) -> None:
    folder = layout(tmp_path / "set", "{cat,dog}")
    layout(tmp_path, "store")
    os.symlink(tmp_path / "store", folder / "cat" / "session 2")
    os.symlink(tmp_path / "store", folder / "cat" / "session 3")
    os.symlink(tmp_path / "store" / "1.png", folder / "dog" / "linked.png")
    os.symlink("../..", folder / "dog" / "up")
    os.symlink("one", folder / "dog" / "two")
    os.symlink("two", folder / "dog" / "one")
    os.symlink(tmp_path / "store", folder / "mouse")
    parts, notes = listed(Data(source=str(folder)))
    assert {name: len(files) for name, files in parts["train"].files.items()} == {
        "cat": 4,
        "dog": 3,
        "mouse": 2,
    }
    assert "folders that a link leads to again: 2 (such as cat/session 3)" in notes
    assert "broken links: 2 (such as dog/one)" in notes


@pytest.mark.parametrize(("train", "test"), [(NFD, NFC), (NFC, NFD)])
def test_class_names_are_one_in_every_form_of_unicode(
    tmp_path: Path, write_recipe: WriteRecipe, train: str, test: str
) -> None:
    for part, name in (("train", train), ("test", test)):
        draw_images(tmp_path / "set" / part, 4)
        (tmp_path / "set" / part / "red").rename(tmp_path / "set" / part / name)
    dataset = read_images(read_recipe(write_recipe(data={"source": str(tmp_path / "set")})))
    assert dataset.labels == ("blue", NFC, "green")
    assert any(Path(item).parent.name == train for item in dataset.train.items), (
        "files keep their names"
    )
    weighed = read_recipe(write_recipe(train={"class_weights": {NFD: 3.0}}))
    assert class_weights(weighed.train, dataset.train.labels, dataset.labels).tolist() == [
        1.0,
        3.0,
        1.0,
    ]  # type: ignore[union-attr]
    (tmp_path / "set" / "train" / test).mkdir()
    touch(tmp_path / "set" / "train" / test, "9.png")
    listing = list_class_folders(tmp_path / "set" / "train", IMAGE_FILES)
    assert len(listing.files[NFC]) == 5
    assert any(note.endswith(f"are one class: {NFC}") for note in listing.notes("image"))


@pytest.fixture
def no_heif(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    heif_version.cache_clear()
    yield
    heif_version.cache_clear()


@pytest.fixture
def heif(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A stand-in for pillow-heif, whose pictures are all grey."""
    package = types.ModuleType("pillow_heif")
    package.__version__ = "0"  # type: ignore[attr-defined]
    package.register_heif_opener = (
        lambda: Image.register_open(  # type: ignore[attr-defined]
            "HEIF",
            lambda file, name: Image.new("RGB", (9, 9), "grey"),
            lambda first: first[4:8] == b"ftyp",
        )
    )
    monkeypatch.setitem(sys.modules, "pillow_heif", package)
    monkeypatch.setattr(Image, "OPEN", dict(Image.OPEN))
    monkeypatch.setattr(Image, "ID", list(Image.ID))
    heif_version.cache_clear()
    yield
    heif_version.cache_clear()


@pytest.mark.parametrize("name", ["bird.heic", "bird.HIF", "bird.jpg", "bird"])
def test_heic_is_named_with_the_package_that_reads_it(
    tmp_path: Path, no_heif: None, name: str
) -> None:
    touch(tmp_path, name, content=HEIC)
    assert is_image(tmp_path / name)
    assert "pip install pillow-heif" in look(str(tmp_path / name)).fault


def test_a_class_of_heic_is_refused_until_the_package_is_there(
    tmp_path: Path, write_recipe: WriteRecipe, no_heif: None, request: pytest.FixtureRequest
) -> None:
    draw_images(tmp_path / "set", 5)
    touch(tmp_path / "set" / "blue", "broken.png")
    for number in range(7):
        touch(tmp_path / "set" / "bird", f"{number}.heic", content=HEIC + bytes([number]))
    recipe = read_recipe(write_recipe(data={"source": str(tmp_path / "set")}))
    with pytest.raises(
        HeadstartError, match=r"bird \(0\).* and 2 more \(a HEIC .*\); .*broken\.png \(no picture"
    ):
        read_images(recipe)
    request.getfixturevalue("heif")
    assert read_images(recipe).labels == ("bird", "blue", "green", "red")


HIDDEN = {".d", "@eaDir"}
NAMES = st.sampled_from(["a", "b", "c", *HIDDEN])
TREES = st.recursive(
    st.sampled_from(["image", "image without ending", "text", "dead link", "link up"]),
    lambda inner: st.dictionaries(NAMES, inner, max_size=4),
    max_leaves=25,
)
ENDINGS = {"image": ".png", "text": ".txt", "dead link": ".jpg"}
FATES = {
    "text": "files that are not images",
    "dead link": "broken links",
    "link up": "folders that a link leads to again",
}


def build(folder: Path, tree: dict[str, object]) -> Iterator[tuple[str, str]]:
    """Makes what a tree describes below a folder; yields each path with what is to become of it."""
    for name, kind in tree.items():
        path = folder / (name + ENDINGS.get(str(kind), ""))
        hidden = path.name in HIDDEN or path.name.startswith(".")
        if isinstance(kind, dict):
            path.mkdir()
            inner = list(build(path, kind))
            yield from [] if hidden else inner
        elif kind in ("dead link", "link up"):
            os.symlink("nowhere" if kind == "dead link" else "..", path)
        else:
            path.write_bytes(PNG if kind == "image without ending" else b"x")
        if hidden:
            yield str(path), "hidden or system files"
        elif not isinstance(kind, dict):
            yield str(path), FATES.get(str(kind), "read")


@settings(max_examples=60, deadline=None, database=None)
@given(st.dictionaries(NAMES, TREES, min_size=1))
def test_what_is_read_and_what_is_named_is_all_there_is(tree: dict[str, object]) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "set"
        root.mkdir()
        there = dict(build(root, tree))
        touch(root, "one more/1.png")
        there[str(root / "one more" / "1.png")] = "read"
        loose = {path: "images in no class folder" for path in there if Path(path).parent == root}
        expected = {
            path: loose.get(path, fate) if fate == "read" else fate for path, fate in there.items()
        }
        listing = list_class_folders(root, IMAGE_FILES)
        found = [(path, "read") for files in listing.files.values() for path in files]
        found += [(path, reason) for reason, paths in listing.skipped.items() for path in paths]
        assert sorted(found) == sorted(expected.items())
        notes = "\n".join(listing.notes("image"))
        assert all(
            f"{reason}: {len(paths)} (such as" in notes for reason, paths in listing.skipped.items()
        )
        rows = sorted(example.name for example in images_at([str(root)]))
        assert rows == sorted(
            path for path, fate in there.items() if fate in ("read", "broken links")
        )


PART_NAMES = st.sampled_from(["train", "train_set", "test", "val", "cat", "dog", "unlabelled"])
SOURCES = st.recursive(
    st.just(1),
    lambda inner: st.dictionaries(PART_NAMES | st.just("file"), inner, max_size=3),
    max_leaves=12,
)


def draw(folder: Path, tree: dict[str, object]) -> Iterator[Path]:
    """Makes folders with an image for each leaf; yields the images."""
    for name, inner in tree.items():
        if isinstance(inner, dict):
            (folder / name).mkdir(parents=True, exist_ok=True)
            yield from draw(folder / name, inner)
        else:
            path = folder / ("1.png" if name == "file" else f"{name}/1.png")
            touch(path.parent, path.name)
            yield path


@settings(max_examples=60, deadline=None, database=None)
@given(st.dictionaries(PART_NAMES, SOURCES, min_size=2))
def test_a_source_is_refused_or_each_of_its_images_is_in_a_part_or_named(
    tree: dict[str, object],
) -> None:
    with tempfile.TemporaryDirectory() as place:
        root = Path(place) / "source"
        root.mkdir()
        images = list(draw(root, tree))
        try:
            parts, notes = listed(Data(source=str(root)))
        except HeadstartError:
            return
        known = {path for part in parts.values() for files in part.files.values() for path in files}
        known |= {
            path for part in parts.values() for paths in part.skipped.values() for path in paths
        }
        for image in images:
            above = [*image.relative_to(root).parents][:-1]
            assert str(image) in known or any(
                f"{folder.name}/ (" in notes
                or f"{root / folder} has no class folders" in notes
                or "files beside it" in notes
                for folder in above
            ), (image, notes)


def table_of(folder: Path, names: list[str]) -> str:
    rows = [f"{name},{'ab'[row % 2]}" for row, name in enumerate(names)]
    (folder / "labels.csv").write_text("\n".join(["image,label", *rows]) + "\n", encoding="utf-8")
    return str(folder / "labels.csv")


@pytest.mark.parametrize("shape", ["{}.png", "{}", "inner/{}", "inner\\{}.png"])
def test_paths_in_a_table_are_counted_from_the_folder_that_is_named(
    tmp_path: Path, write_recipe: WriteRecipe, monkeypatch: pytest.MonkeyPatch, shape: str
) -> None:
    folder = tmp_path / "photos" / ("inner" if "inner" in shape else "")
    folder.mkdir(parents=True)
    for number in range(12):
        noise = np.random.default_rng(number).integers(0, 255, (9, 9, 3), np.uint8)
        Image.fromarray(noise).save(folder / f"img.{number}.png")
    source = table_of(tmp_path, [shape.format(f"img.{number}") for number in range(12)])
    recipe = write_recipe(data={"source": source})
    monkeypatch.setenv("HOME", str(tmp_path))
    dataset = read_images(read_recipe(recipe, ["data.images=~/photos"]))
    assert sum(map(len, dataset.parts().values())) == 12
    assert all(name.endswith(".png") for name in dataset.train.names)
    with pytest.raises(
        HeadstartError, match=r"none of its files exists, such as .*data\.images = \"photos\""
    ):
        read_images(read_recipe(recipe))
    with pytest.raises(HeadstartError, match=r"data\.images: no folder .*gone"):
        read_images(read_recipe(recipe, [f"data.images={tmp_path}/gone"]))


def test_a_name_that_fits_two_files_and_a_folder_that_no_table_needs(
    tmp_path: Path, write_recipe: WriteRecipe, photos: Path
) -> None:
    touch(tmp_path, "img1.png", "img1.jpg")
    with pytest.raises(
        HeadstartError,
        match=r"labels.csv:2: 'img1' may be img1\.jpg or img1\.png; write its extension",
    ):
        read_images(
            read_recipe(write_recipe(data={"source": table_of(tmp_path, ["img1", "img2"])}))
        )
    with pytest.raises(HeadstartError, match=r"data\.images: is for paths in a table"):
        read_images(read_recipe(write_recipe(data={"images": str(photos)})))
