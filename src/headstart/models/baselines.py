"""Baselines without a network, to compare transfer with."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import numpy as np

from headstart.data.dataset import Dataset, Examples
from headstart.data.greyscale import GreyRange
from headstart.data.images import open_rgb
from headstart.data.unicode import nfc
from headstart.data.word_splitting import has_spaced_words, words
from headstart.errors import RecipeError
from headstart.registry import Registry

# (data, seed) -> probabilities of the test part, shape (n, classes)
Baseline = Callable[[Dataset, int], np.ndarray]
baselines: Registry[Baseline] = Registry("baseline", group="headstart.baselines")


def majority(dataset: Dataset) -> int:
    """The most frequent class of training and validation, by its number; the first of equals."""
    counts = [
        np.bincount(part.labels, minlength=len(dataset.labels))
        for part in dataset.for_learning().values()
    ]
    return int(np.sum(counts, axis=0).argmax())


@baselines.register("raw_pixels_forest")
def raw_pixels_forest(dataset: Dataset, seed: int) -> np.ndarray:
    """A random forest (Breiman 2001) of 300 trees on 32 × 32 RGB pixels."""

    def pixels(part: Examples) -> np.ndarray:
        return np.stack([_pixels(item, dataset.grey_range) for item in part.items])

    return _forest(pixels(dataset.train), dataset.train.labels, pixels(dataset.test), seed)


def _pixels(item: str, grey_range: GreyRange | None) -> np.ndarray:
    return np.asarray(open_rgb(item, grey_range=grey_range).resize((32, 32))).reshape(-1)


@baselines.register("glove_forest")
def glove_forest(dataset: Dataset, seed: int) -> np.ndarray:
    """A random forest of 300 trees on the mean of the words' GloVe vectors."""
    from headstart.models.word_vectors import WordVectorizer, read_vectors

    vectorizer = WordVectorizer(read_vectors("packaged:glove_6b_50d"))
    train = vectorizer.fit(dataset.train.items).transform(dataset.train.items)
    return _forest(train, dataset.train.labels, vectorizer.transform(dataset.test.items), seed)


def _forest(train: np.ndarray, labels: np.ndarray, test: np.ndarray, seed: int) -> np.ndarray:
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(300, n_jobs=-1, random_state=seed).fit(train, labels)
    return np.asarray(forest.predict_proba(test))


@baselines.register("tfidf_logistic_regression")
def tfidf_logistic_regression(dataset: Dataset, seed: int) -> np.ndarray:
    """A logistic regression on TF-IDF of words and pairs of words, or of characters and pairs of
    them in scripts without spaces. The penalty is chosen by cross-validation among three."""
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.model_selection import StratifiedKFold

    by_words = has_spaced_words("".join(dataset.train.items[:1000]))
    tokens = {"tokenizer": words, "token_pattern": None} if by_words else {"analyzer": "char"}
    vectorizer = TfidfVectorizer(
        **tokens, preprocessor=_plain, ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32
    )
    try:
        train = vectorizer.fit_transform(dataset.train.items)
    except ValueError as error:
        raise RecipeError(
            f"evaluate.baselines: tfidf_logistic_regression finds no words in the texts ({error})"
        ) from None
    labels = dataset.train.labels
    folds = min(3, int(np.bincount(labels)[np.unique(labels)].min()))
    model = LogisticRegression(C=10, max_iter=300)
    if folds > 1:
        model = LogisticRegressionCV(
            Cs=[1, 10, 100],
            cv=StratifiedKFold(folds, shuffle=True, random_state=seed),
            scoring="neg_log_loss",
            max_iter=300,
            use_legacy_attributes=False,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(train, labels)
    return np.asarray(model.predict_proba(vectorizer.transform(dataset.test.items)))


def _plain(text: str) -> str:
    return nfc(text.lower())
