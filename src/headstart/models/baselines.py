"""Plain baselines without any network: what a headstart has to beat. From data and seed to
probabilities on the test part."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

from headstart.data.dataset import Dataset, Examples
from headstart.data.greyscale import GreyRange
from headstart.data.images import open_rgb
from headstart.data.unicode import nfc
from headstart.data.word_splitting import has_spaced_words, words
from headstart.errors import HeadstartError
from headstart.registry import Registry

Baseline = Callable[[Dataset, int], np.ndarray]
baselines: Registry[Baseline] = Registry("baseline", group="headstart.baselines")


def majority(dataset: Dataset) -> int:
    """The class that training and validation have most examples of, by its number; of equals the
    first."""
    seen = [
        np.bincount(part.labels, minlength=len(dataset.labels))
        for part in dataset.for_learning().values()
    ]
    return int(np.sum(seen, axis=0).argmax())


@baselines.register("raw_pixels_forest")
def raw_pixels_forest(dataset: Dataset, seed: int) -> np.ndarray:
    """Probabilities of shape (n, classes) by a random forest (Breiman 2001) of 300 trees on 32 × 32
    RGB pixels."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(300, n_jobs=-1, random_state=seed)
    forest.fit(_pixels(dataset.train, dataset.grey_range), dataset.train.labels)
    return forest.predict_proba(_pixels(dataset.test, dataset.grey_range))


def _pixels(examples: Examples, grey_range: GreyRange | None) -> np.ndarray:
    images = (open_rgb(item, grey_range=grey_range).resize((32, 32)) for item in examples.items)
    return np.stack([np.asarray(image).reshape(-1) for image in images])


@baselines.register("tfidf_logistic_regression")
def tfidf_logistic_regression(dataset: Dataset, seed: int) -> np.ndarray:
    """Probabilities of shape (n, classes) by a logistic regression on TF-IDF of words and pairs of
    words.

    Texts in scripts that put no spaces between words are cut into characters and pairs of them
    instead. The strength of the penalty is chosen by cross-validation among three.
    """
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.linear_model import LogisticRegression, LogisticRegressionCV
    from sklearn.model_selection import StratifiedKFold

    by_words = has_spaced_words("".join(dataset.train.items[:1000]))
    cut = {"tokenizer": words, "token_pattern": None} if by_words else {"analyzer": "char"}
    vectorizer = TfidfVectorizer(
        **cut, preprocessor=_plain, ngram_range=(1, 2), sublinear_tf=True, dtype=np.float32
    )
    try:
        train = vectorizer.fit_transform(dataset.train.items)
    except ValueError as error:
        raise HeadstartError(
            f"evaluate.baselines: tfidf_logistic_regression finds no words in the texts ({error})"
        ) from None
    labels = dataset.train.labels
    folds = min(3, int(np.bincount(labels)[np.unique(labels)].min()))
    model: Any = LogisticRegression(C=10, max_iter=300)
    if folds > 1:
        splits = StratifiedKFold(folds, shuffle=True, random_state=seed)
        model = LogisticRegressionCV(
            Cs=[1, 10, 100],
            cv=splits,
            scoring="neg_log_loss",
            max_iter=300,
            use_legacy_attributes=False,
        )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        model.fit(train, labels)
    return model.predict_proba(vectorizer.transform(dataset.test.items))


def _plain(text: str) -> str:
    return nfc(text.lower())


@baselines.register("glove_forest")
def glove_forest(dataset: Dataset, seed: int) -> np.ndarray:
    """Probabilities of shape (n, classes) by a random forest of 300 trees on the mean of the words'
    GloVe vectors."""
    from sklearn.ensemble import RandomForestClassifier

    from headstart.models.word_vectors import WordVectorizer, read_vectors

    vectorizer = WordVectorizer(read_vectors("packaged:glove_6b_50d")).fit(dataset.train.items)
    forest = RandomForestClassifier(300, n_jobs=-1, random_state=seed)
    forest.fit(vectorizer.transform(dataset.train.items), dataset.train.labels)
    return forest.predict_proba(vectorizer.transform(dataset.test.items))
