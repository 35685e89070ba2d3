"""scikit-learn classifiers as heads: built by name, saved and loaded without pickle.

A file of a classifier is read by skops, and only if it holds nothing but the types that a
classifier of that name and these options holds when it is fitted here; the indices that trees and
support vectors follow in memory are checked.
"""

from __future__ import annotations

import importlib
import io
import json
import warnings
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from headstart.errors import HeadstartError, first_line
from headstart.recipe import Head
from headstart.registry import unknown
from headstart.runtime.private import check_parameters, neighbours_of, support_vectors_of

FILE = "head.skops"
HOMES = {
    "AdaBoostClassifier": "ensemble",
    "BernoulliNB": "naive_bayes",
    "DecisionTreeClassifier": "tree",
    "DummyClassifier": "dummy",
    "ExtraTreeClassifier": "tree",
    "ExtraTreesClassifier": "ensemble",
    "GaussianNB": "naive_bayes",
    "GaussianProcessClassifier": "gaussian_process",
    "GradientBoostingClassifier": "ensemble",
    "HistGradientBoostingClassifier": "ensemble",
    "KNeighborsClassifier": "neighbors",
    "LinearDiscriminantAnalysis": "discriminant_analysis",
    "LinearSVC": "svm",
    "LogisticRegression": "linear_model",
    "MLPClassifier": "neural_network",
    "NearestCentroid": "neighbors",
    "NuSVC": "svm",
    "Perceptron": "linear_model",
    "RandomForestClassifier": "ensemble",
    "RidgeClassifier": "linear_model",
    "SGDClassifier": "linear_model",
    "SVC": "svm",
}
LEVELS, MANY_ROWS = 64, 10_000  # of features, for a random forest
MANY = 12  # classes that a trial has at most
COUNTS = ("n_estimators", "max_iter")  # parameters that are kept small in a trial
OWN = ("logistic_regression", "gradient")


def names() -> list[str]:
    """Every `model.head.classifier` there is."""
    return [*OWN, *HOMES]


def build(head: Head, seed: int) -> Any:
    """The unfitted classifier on standardised features, with `predict_proba`.

    Those that give no probabilities get them by Platt's scaling in 5-fold cross-validation (Platt
    1999).

    Raises:
        HeadstartError: there is no such classifier, or it does not know an option.
    """
    from sklearn.calibration import CalibratedClassifierCV
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    name = head.fitting
    if name not in HOMES:
        raise HeadstartError(f"model.head.classifier: {unknown('classifier', name, names())}")
    kind = _kind(name)
    known = kind().get_params()
    strangers = sorted(set(head.options) - set(known))
    if strangers:
        raise HeadstartError(
            f"model.head.options: {name} has no parameter {strangers[0]!r}; it has "
            f"{', '.join(sorted(known))}"
        )
    own: dict[str, Any] = {"random_state": seed} if "random_state" in known else {}
    if HOMES[name] in ("ensemble", "neighbors") and "n_jobs" in known:
        own["n_jobs"] = -1
    # in hundreds of dimensions its trees are no faster, and they cannot be checked
    if name == "KNeighborsClassifier":
        own["algorithm"] = "brute"
        if head.options.get("algorithm", "brute") != "brute":
            raise HeadstartError(
                "model.head.options: algorithm: only 'brute' can be saved; remove it"
            )
    if "categorical_features" in head.options:
        raise HeadstartError(
            "model.head.options: categorical_features: features of a network are numbers; remove it"
        )
    classifier = kind(**{**own, **head.options})
    if not hasattr(classifier, "predict_proba"):
        classifier = CalibratedClassifierCV(classifier, ensemble=False)
    return make_pipeline(StandardScaler(), classifier)


def fitted(
    head: Head, features: np.ndarray, targets: np.ndarray, weights: np.ndarray | None, seed: int
) -> Any:
    """The classifier of `build`, fitted; with `weights`, shape (n,), each example counts as much as
    its own says.

    Weights reach the calibration of a classifier without probabilities as well, or it would undo
    them.
    """
    model = build(head, seed)
    weighing = {} if weights is None else {f"{model.steps[-1][0]}__sample_weight": weights}
    return model.fit(quantised(head, features), targets, **weighing)


def check_weights(head: Head) -> None:
    """Make sure that a classifier can weigh its examples, and is not told twice how.

    Raises:
        HeadstartError: it cannot, or its own options weigh the classes too.
    """
    from sklearn.utils.validation import has_fit_parameter

    if "class_weight" in head.options:
        raise HeadstartError(
            "model.head.options: class_weight is given beside train.class_weights or "
            "train.sampling, so classes would be weighed twice; keep one of them"
        )
    if not has_fit_parameter(_kind(head.fitting), "sample_weight"):
        able = ", ".join(name for name in HOMES if has_fit_parameter(_kind(name), "sample_weight"))
        raise HeadstartError(
            f"model.head.classifier: {head.fitting} cannot weigh its examples, which "
            "train.class_weights and train.sampling = "
            '"balanced" need. Remove them, or choose one that can: logistic_regression, '
            f"gradient, {able}"
        )


def _kind(name: str) -> Any:
    return getattr(importlib.import_module(f"sklearn.{HOMES[name]}"), name)


def quantised(head: Head, features: np.ndarray) -> np.ndarray:
    """What a classifier is fitted on: many features for a random forest come in LEVELS levels, as
    gradient boosting on histograms has them (Ke et al. 2017), for it sorts them at every split.

    Its splits then lie between levels, and serve any number. 77,000 × 50 features, 60 trees on 2
    cores: 18 → 9 s, accuracy 0.774 and 0.773 → 0.777 and 0.774 (n = 19,457).
    """
    if head.fitting != "RandomForestClassifier" or len(features) < MANY_ROWS:
        return features
    found = np.empty_like(features)
    for column, values in enumerate(features.T):
        edges = np.quantile(values, np.linspace(0, 1, LEVELS + 1)[1:-1])
        level = np.searchsorted(edges, values)
        counts = np.maximum(np.bincount(level, minlength=LEVELS), 1)
        found[:, column] = (np.bincount(level, values, LEVELS) / counts)[level]
    return found


def try_out(head: Head, width: int, classes: int) -> bytes:
    """A file of the classifier fitted on a few made-up numbers: shows whether its options are
    right, and what it holds.

    Raises:
        HeadstartError: the options are wrong, or such a classifier cannot be saved.
    """
    import skops.io

    random = np.random.default_rng(0)
    labels = np.repeat(np.arange(min(classes, MANY)), 12)
    values = (random.normal(size=(len(labels), width)) + labels[:, None]).astype(np.float32)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            twin = build(head, 0)
            for part in (twin[-1], getattr(twin[-1], "estimator", None)):
                if part is not None:
                    check_parameters(part)
            few = {
                key: 2
                for key, value in twin.get_params().items()
                if key.endswith(COUNTS) and isinstance(value, int)
            }
            twin.set_params(**few).fit(values, labels).predict_proba(values[:2])
            return skops.io.dumps(twin)
    except HeadstartError:
        raise
    except Exception as error:  # what classifiers raise on odd options is as manifold as they are
        raise HeadstartError(f"model.head.options: {first_line(error)}") from None


def save(estimator: Any, folder: Path) -> None:
    """Write a fitted classifier into a folder."""
    import skops.io

    skops.io.dump(estimator, folder / FILE)


def load(folder: Path, head: Head, width: int, classes: int) -> Any:
    """Read the classifier that `save` wrote.

    Args:
        head: the settings it was made with.
        width: features it must take.
        classes: probabilities it must give.

    Raises:
        HeadstartError: the file is missing or damaged, or holds anything that such a classifier
            does not hold.
    """
    import skops.io

    path = folder / FILE
    twin = try_out(head, width, classes)
    try:
        content = path.read_bytes()
        strangers = _types(content) - _types(twin)
        strangers |= set(skops.io.get_untrusted_types(data=content)) - set(
            skops.io.get_untrusted_types(data=twin)
        )
        if strangers:
            raise ValueError(
                f"it holds {', '.join(sorted(strangers)[:3])}, which no {head.fitting} holds"
            )
        estimator = skops.io.loads(content, trusted=skops.io.get_untrusted_types(data=content))
        if estimator.n_features_in_ != width or list(estimator.classes_) != list(range(classes)):
            raise ValueError(
                f"it was fitted for {estimator.n_features_in_} features and "
                f"{len(estimator.classes_)} classes"
            )
        for part in _parts(estimator, set()):
            _check_indices(part, width, classes)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tried = estimator.predict_proba(np.zeros((2, width), np.float32))
        if tried.shape != (2, classes) or not np.isfinite(tried).all():
            raise ValueError(f"it gives no {classes} probabilities")
    except Exception as error:  # a damaged file can go wrong anywhere in the classifier's own code
        raise HeadstartError(
            f"{path}: expected a fitted {head.fitting}; found: {first_line(error)}"
        ) from None
    return estimator


def _types(content: bytes) -> set[str]:
    """The types that a skops file says it holds, each with the way it is to be loaded."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        todo = [json.loads(archive.read("schema.json"))]
    found = set()
    while todo:
        node = todo.pop()
        if isinstance(node, dict):
            if "__loader__" in node:
                found.add(
                    f"{node.get('__module__')}.{node.get('__class__')} ({node['__loader__']})"
                )
            todo += node.values()
        elif isinstance(node, list):
            todo += node
    return found


def _parts(thing: Any, seen: set[int]) -> Iterator[Any]:
    """Every object that a fitted classifier is made of."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    yield thing
    if isinstance(thing, dict):
        inner = list(thing.values())
    elif isinstance(thing, list | tuple) or (
        isinstance(thing, np.ndarray) and thing.dtype == object
    ):
        inner = (
            list(np.asarray(thing, dtype=object).flat)
            if isinstance(thing, np.ndarray)
            else list(thing)
        )
    else:
        inner = list(getattr(thing, "__dict__", {}).values())
    for part in inner:
        yield from _parts(part, seen)


def _check_indices(part: Any, width: int, classes: int) -> None:
    """Refuse what would lead compiled code, which follows its numbers unchecked, out of its
    arrays."""
    kind = type(part).__name__
    if kind == "Tree":
        _check_tree(
            part.children_left, part.children_right, part.children_left == -1, part.feature, width
        )
    elif kind == "TreePredictor":
        nodes = part.nodes
        if nodes["is_categorical"].any():
            raise ValueError("a tree that splits on categories")
        _check_tree(
            nodes["left"], nodes["right"], nodes["is_leaf"] == 1, nodes["feature_idx"], width
        )
    elif kind == "GradientBoostingClassifier":
        if part.estimators_.ndim != 2 or part.estimators_.shape[1] != (
            1 if classes == 2 else classes
        ):
            raise ValueError("trees for another number of classes")
    elif kind == "KNeighborsClassifier":
        labels, examples, tree = neighbours_of(part)
        if tree is not None or len(labels) != len(examples) or examples.shape[1] != width:
            raise ValueError("neighbours that do not fit together")
    elif support := support_vectors_of(part):
        vectors, counts = len(part.support_vectors_), support.counts
        shapes = *(values.shape for values in support), part.support_vectors_.shape[1:]
        pairs = classes * (classes - 1) // 2
        if (
            shapes != ((classes,), (classes - 1, vectors), (pairs,), (width,))
            or counts.sum() != vectors
            or (counts < 0).any()
        ):
            raise ValueError("support vectors that do not fit together")


def _check_tree(
    left: np.ndarray, right: np.ndarray, leaf: np.ndarray, feature: np.ndarray, width: int
) -> None:
    inner = np.flatnonzero(~leaf)
    if not len(left):
        raise ValueError("a tree without a root")
    for child in (left[inner].astype(np.int64), right[inner].astype(np.int64)):
        if (child <= inner).any() or (child >= len(left)).any():
            raise ValueError("a tree whose branches lead nowhere")
    if (feature[inner] < 0).any() or (feature[inner] >= width).any():
        raise ValueError("a tree that asks for features there are not")
