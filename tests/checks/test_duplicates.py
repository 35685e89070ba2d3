"""Copies and near copies of images and texts, among many that are none."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageOps
from scipy.ndimage import gaussian_filter

from headstart.checks.duplicate_images import find_duplicate_images
from headstart.checks.duplicate_texts import MAX_CHARACTERS, find_duplicate_texts, normalise
from headstart.checks.duplicates import KIND_NAMES, WORDS, Duplicates, cached_duplicates, factorize
from headstart.checks.similar_pairs import similar_pairs, similar_vectors
from headstart.data.dataset import Examples


def picture(seed: int, size: int = 96) -> Image.Image:
    """A smooth random picture of the spectrum of photographs."""
    random = np.random.default_rng(seed)
    layers = [
        gaussian_filter(random.normal(size=(size, size, 3)), (s, s, 0)) * s**1.5
        for s in (1, 2, 4, 8, 16)
    ]
    values = np.sum(layers, axis=0)
    values = (values - values.min()) / (values.max() - values.min())
    return Image.fromarray((values * 255).astype(np.uint8))


def images(folder: Path, made: dict[str, Image.Image]) -> Examples:
    paths = []
    for name, image in made.items():
        paths.append(folder / name)
        image.save(paths[-1], **({"quality": 85} if name.endswith(".jpg") else {}))
    digests = tuple(hashlib.sha256(path.read_bytes()).digest() for path in paths)
    items = tuple(map(str, paths))
    return Examples(items, np.zeros(len(items), np.int64), tuple(made), digests)


def kinds_by_pair(found: Duplicates, part: Examples) -> dict[tuple[str, str], str]:
    """The kinds of the near duplicates, by name."""
    _, first = np.unique(found.content, return_index=True)
    return {
        (part.names[first[a]], part.names[first[b]]): KIND_NAMES[kind]
        for (a, b), kind in zip(found.pairs, found.kinds, strict=True)
    }


def test_images_that_show_the_same_picture(tmp_path: Path) -> None:
    made = {f"{seed:03}.png": picture(seed) for seed in range(60)}
    width, height = made["000.png"].size
    made |= {
        "copy.png": made["000.png"],
        "reencoded.jpg": made["001.png"].resize((70, 70)),
        "mirrored.jpg": ImageOps.mirror(made["002.png"]),
        "cropped.jpg": made["003.png"].crop((4, 2, width - 1, height - 5)),
        "resaved.bmp": made["004.png"],
    }
    part = images(tmp_path, made)
    found = find_duplicate_images(part)
    assert found.content[60] == found.content[0]
    assert len(set(found.content.tolist())) == 64
    assert kinds_by_pair(found, part) == {
        ("001.png", "reencoded.jpg"): "almost the same picture",
        ("002.png", "mirrored.jpg"): "mirrored",
        ("003.png", "cropped.jpg"): "almost the same picture",
        ("004.png", "resaved.bmp"): "the same pixels",
    }


def test_plain_images_are_like_nothing(tmp_path: Path) -> None:
    made = {
        f"{grey}.png": Image.new("RGB", (40, 40), (grey, grey, grey)) for grey in range(0, 200, 20)
    }
    assert not len(find_duplicate_images(images(tmp_path, made)).pairs)


def texts(*items: str) -> Examples:
    digests = tuple(hashlib.sha256(item.encode()).digest() for item in items)
    return Examples(items, np.zeros(len(items), np.int64), items, digests)


LONG = (
    "a charming and often affecting journey through the crowded streets of an old city by the sea"
)


def test_texts_that_say_the_same() -> None:
    part = texts(
        LONG,
        f"  {LONG.upper().replace(' ', '   ')} !!! ",
        LONG.replace("old", "new"),
        "nothing of the kind was ever said about it in any of the papers that I have read since "
        "then",
        "好电影,我喜欢。",
        "好电影 我喜欢",
        "👍",
        "👎",
        "...",
        "?!",
    )
    found = find_duplicate_texts(part)
    assert found.content.tolist() == [0, 0, 1, 2, 3, 3, 4, 5, 6, 7]
    assert found.pairs.tolist() == [[0, 1]]
    assert found.kinds.tolist() == [WORDS]


def test_plain_texts() -> None:
    assert normalise(["It's  GOOD\n—really!", "ＡＢＣ", "हिन्दी", ""]) == [
        "it s good really",
        "abc",
        "हिन्दी",
        "",
    ]


def test_many_copies_cost_no_more_than_their_number() -> None:
    compared = 0

    def alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        nonlocal compared
        compared += len(first)
        return np.ones(len(first), bool)

    pairs = similar_pairs(iter([np.zeros(5_000, np.int64)] * 4), alike, 100)
    assert compared <= 4 * 3 * 5_000
    assert len(pairs) <= 3 * 5_000


def test_where_all_are_alike_each_row_has_a_few_likes_and_not_all() -> None:
    def alike(first: np.ndarray, second: np.ndarray) -> np.ndarray:
        return np.ones(len(first), bool)

    random = np.random.default_rng(0)
    pairs = similar_pairs((random.integers(0, 2**60, 2_000) for _ in range(50)), alike, 8)
    likes = np.bincount(pairs.ravel(), minlength=2_000)
    assert likes.min() >= 8
    assert likes.mean() < 2 * 8


def test_vectors_at_a_small_angle_are_found_among_many() -> None:
    random = np.random.default_rng(0)
    vectors = random.normal(size=(3_000, 64)).astype(np.float32)
    near = vectors[:300] + 0.15 * random.normal(size=(300, 64)).astype(np.float32)
    everything = np.concatenate([vectors, near])
    everything /= np.linalg.norm(everything, axis=1, keepdims=True)
    found = set(map(tuple, similar_vectors(everything, 0.95).tolist()))
    wanted = {
        (row, 3_000 + row)
        for row in range(300)
        if everything[row] @ everything[3_000 + row] >= 0.95
    }
    assert len(wanted) > 290
    assert found <= {(a, b) for a, b in found if everything[a] @ everything[b] >= 0.95}
    assert len(found & wanted) >= 0.97 * len(wanted)


def test_numbers_follow_the_first_occurrence() -> None:
    numbers, first = factorize(np.array([b"z", b"a", b"z", b"m"]))
    assert numbers.tolist() == [0, 1, 0, 2]
    assert first.tolist() == [0, 1, 3]


def test_what_was_found_is_found_again_without_looking() -> None:
    part = texts(LONG, LONG.replace("old", "new"), "quite another one")
    looked = []

    def look(examples: Examples) -> Duplicates:
        looked.append(examples)
        return find_duplicate_texts(examples)

    found, again = cached_duplicates(look, part), cached_duplicates(look, part)
    assert len(looked) == 1
    for name in ("content", "pairs", "kinds"):
        np.testing.assert_array_equal(getattr(again, name), getattr(found, name))


@pytest.mark.parametrize("damage", [b"", b"PK\003\004garbage", None])
def test_a_damaged_cache_of_likes_is_made_again(
    damage: bytes | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    part = texts(LONG, LONG.replace("old", "new"), "quite another one")
    found = cached_duplicates(find_duplicate_texts, part)
    (path,) = (tmp_path / "likes").iterdir()
    if damage is None:
        np.savez(path, content=found.content[:1], pairs=found.pairs, how=found.kinds)
    else:
        path.write_bytes(damage)
    np.testing.assert_array_equal(
        cached_duplicates(find_duplicate_texts, part).content, found.content
    )


def test_long_texts_are_copies_only_as_a_whole() -> None:
    head = LONG * (MAX_CHARACTERS // len(LONG) + 2)
    assert find_duplicate_texts(
        texts(f"{head} one end", f"{head} another end")
    ).content.tolist() == [0, 1]
