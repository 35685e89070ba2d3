"""scikit-learn heads: every name works, comes back as it was, and hostile files are refused."""

from __future__ import annotations

import io
import json
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io
from sklearn.ensemble import RandomForestClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils import all_estimators

from headstart.errors import HeadstartError
from headstart.models.sklearn_head import (
    FILE,
    HOMES,
    LEVELS,
    MANY_ROWS,
    build,
    load,
    names,
    quantised,
    save,
    try_out,
)
from headstart.recipe import Head

LEFT_OUT = {  # and why
    "BaggingClassifier": "its trees see parts of the features that no check can follow",
    "CalibratedClassifierCV": "put around those that need it",
    "CategoricalNB": "for categories",
    "ComplementNB": "for counts",
    "LabelPropagation": "for missing labels",
    "LabelSpreading": "for missing labels",
    "LogisticRegressionCV": "logistic_regression is one",
    "MultinomialNB": "for counts",
    "PassiveAggressiveClassifier": "deprecated",
    "QuadraticDiscriminantAnalysis": "needs more examples a class than features",
    "RadiusNeighborsClassifier": "has no answer far from every example",
    "RidgeClassifierCV": "RidgeClassifier with an alpha is one",
    **dict.fromkeys(
        ("ClassifierChain", "FixedThresholdClassifier", "MultiOutputClassifier",
        "OneVsOneClassifier",
         "OneVsRestClassifier", "OutputCodeClassifier", "SelfTrainingClassifier",
         "StackingClassifier",
         "TunedThresholdClassifierCV", "VotingClassifier"),
        "needs another classifier",
    ),
}  # fmt: skip
WIDTH = 24


def data(classes: int) -> tuple[np.ndarray, np.ndarray]:
    random = np.random.default_rng(1)
    labels = np.arange(60) % classes
    return (random.normal(size=(60, WIDTH)) + 1.5 * labels[:, None]).astype(np.float32), labels


def test_every_classifier_is_known_or_left_out_for_a_reason() -> None:
    there = {name for name, _ in all_estimators("classifier")}
    assert len(HOMES) >= 20
    assert set(HOMES) <= there
    assert there - set(HOMES) <= set(LEFT_OUT)
    assert set(names()) == {"logistic_regression", "gradient", *HOMES}


@pytest.mark.filterwarnings("ignore:Stochastic Optimizer")
@pytest.mark.parametrize("classes", [2, 4])
@pytest.mark.parametrize("name", HOMES)
def test_every_classifier_learns_and_comes_back_as_it_was(
    name: str, classes: int, tmp_path: Path
) -> None:
    head = Head(classifier=name)
    values, labels = data(classes)
    fitted = build(head, seed=3).fit(values, labels)
    probabilities = fitted.predict_proba(values)
    assert probabilities.shape == (60, classes)
    save(fitted, tmp_path)
    again = load(tmp_path, head, WIDTH, classes)
    np.testing.assert_array_equal(again.predict_proba(values), probabilities)
    if name != "DummyClassifier":
        assert np.mean(probabilities.argmax(1) == labels) > 1 / classes + 0.1


def test_the_same_seed_gives_the_same_forest() -> None:
    values, labels = data(3)
    forests = [
        build(Head(classifier="RandomForestClassifier"), seed).fit(values, labels)
        for seed in (1, 1, 2)
    ]
    first, same, other = (forest.predict_proba(values) for forest in forests)
    np.testing.assert_array_equal(first, same)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n_tree": 3}, "RandomForestClassifier has no parameter 'n_tree'; it has bootstrap"),
        (
            {"n_estimators": 0},
            "The 'n_estimators' parameter of RandomForestClassifier must be an int in the range",
        ),
        ({"criterion": "magic"}, "The 'criterion' parameter"),
    ],
)
def test_wrong_options_are_said_before_anything_is_computed(
    options: dict[str, object], message: str
) -> None:
    with pytest.raises(HeadstartError, match=r"model.head.options: .*" + re.escape(message)):
        try_out(Head(classifier="RandomForestClassifier", options=options), WIDTH, 3)


def test_an_unknown_classifier_is_said() -> None:
    with pytest.raises(
        HeadstartError,
        match="unknown classifier 'RandomForest'; did you mean 'RandomForestClassifier'",
    ):
        try_out(Head(classifier="RandomForest"), WIDTH, 3)


FOREST = Head(classifier="RandomForestClassifier", options={"n_estimators": 5})


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    values, labels = data(3)
    save(build(FOREST, 0).fit(values, labels), tmp_path)
    return tmp_path


def refused(folder: Path, head: Head = FOREST, width: int = WIDTH, classes: int = 3) -> str:
    with pytest.raises(HeadstartError) as error:
        load(folder, head, width, classes)
    return str(error.value)


def test_a_file_for_something_else_is_refused(saved: Path) -> None:
    assert "fitted for 24 features and 3 classes" in refused(saved, width=25)
    assert "fitted for 24 features and 3 classes" in refused(saved, classes=4)
    assert "which no LinearSVC holds" in refused(saved, head=Head(classifier="LinearSVC"))
    (saved / FILE).write_bytes((saved / FILE).read_bytes()[:-50])
    assert f"{saved / FILE}: expected a fitted RandomForestClassifier" in refused(saved)
    (saved / FILE).unlink()
    assert "No such file" in refused(saved)


def test_a_pickle_is_not_opened(saved: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return (Path.touch, (saved / "sprung",))

    (saved / FILE).write_bytes(pickle.dumps(Trap()))
    refused(saved)
    assert not (saved / "sprung").exists()


def test_a_type_that_no_such_classifier_holds_is_refused(saved: Path) -> None:
    """Also one that skops itself trusts."""
    values, labels = data(3)
    fitted = build(FOREST, 0).fit(values, labels)
    fitted.extra_ = np.random.RandomState(0)
    save(fitted, saved)
    assert "numpy.random" in refused(saved)


def test_a_function_in_the_place_of_a_type_is_refused(saved: Path) -> None:
    with zipfile.ZipFile(saved / FILE) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(files["schema.json"])
    schema["content"] = {
        "__module__": "posix", "__class__": "system", "__loader__": "FunctionNode", "__id__": 1,
        "content": {"module_path": "posix", "function": "system"},
    }  # fmt: skip
    with zipfile.ZipFile(saved / FILE, "w") as archive:
        for name, content in files.items():
            archive.writestr(name, json.dumps(schema) if name == "schema.json" else content)
    assert "posix.system" in refused(saved)


@pytest.mark.parametrize("damage", ["child", "loop", "feature"])
def test_a_tree_that_leads_out_of_its_arrays_is_refused(damage: str, saved: Path) -> None:
    values, labels = data(3)
    fitted = make_pipeline(
        StandardScaler(), RandomForestClassifier(5, random_state=0, n_jobs=-1)
    ).fit(values, labels)
    tree = fitted[-1].estimators_[2].tree_
    state = tree.__getstate__()
    nodes = state["nodes"].copy()
    field, value = {
        "child": ("left_child", 10_000),
        "loop": ("right_child", 0),
        "feature": ("feature", 900),
    }[damage]
    nodes[0][field] = value
    tree.__setstate__({**state, "nodes": nodes})
    save(fitted, saved)
    assert (
        "features there are not" if damage == "feature" else "branches lead nowhere"
    ) in refused(saved)


def test_a_boosted_tree_that_leads_nowhere_is_refused(tmp_path: Path) -> None:
    head = Head(
        classifier="HistGradientBoostingClassifier", options={"max_iter": 3, "min_samples_leaf": 5}
    )
    values, labels = data(3)
    fitted = build(head, 0).fit(values, labels)
    predictor = fitted[-1]._predictors[1][0]
    assert not predictor.nodes["is_leaf"][0]
    predictor.nodes["left"][0] = 60_000
    save(fitted, tmp_path)
    assert "branches lead nowhere" in refused(tmp_path, head)
    predictor.nodes = predictor.nodes[:0]
    save(fitted, tmp_path)
    assert "a tree without a root" in refused(tmp_path, head)


@pytest.mark.parametrize(
    ("name", "options", "classes"),
    [
        ("LinearDiscriminantAnalysis", {"n_components": 4}, 5),
        ("GaussianNB", {"priors": [0.2] * 5}, 5),
        ("HistGradientBoostingClassifier", {"monotonic_cst": [1] * 40}, 2),
    ],
)
def test_options_that_fit_the_data_are_accepted(
    name: str, options: dict[str, object], classes: int
) -> None:
    try_out(Head(classifier=name, options=options), 40, classes)


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("KNeighborsClassifier", {"algorithm": "kd_tree"}, "only 'brute' can be saved"),
        ("KNeighborsClassifier", {"n_neighbors": 1000}, "Expected n_neighbors <= n_samples"),
        (
            "HistGradientBoostingClassifier",
            {"categorical_features": [0]},
            "features of a network are numbers",
        ),
        ("RandomForestClassifier", {"max_depth": 10**30}, "model.head.options: "),
        (
            "HistGradientBoostingClassifier",
            {"early_stopping": True, "scoring": "accuracy"},
            "model.head.options: ",
        ),
    ],
)
def test_options_that_go_wrong_later_are_said_first(
    name: str, options: dict[str, object], said: str
) -> None:
    with pytest.raises(HeadstartError) as error:
        try_out(Head(classifier=name, options=options), WIDTH, 3)
    assert said in str(error.value)


def test_a_trial_takes_no_longer_for_a_huge_forest() -> None:
    assert (
        len(
            try_out(
                Head(classifier="RandomForestClassifier", options={"n_estimators": 10**9}), WIDTH, 3
            )
        )
        < 10**6
    )


HOSTILE = {
    "boosting": (
        "GradientBoostingClassifier",
        lambda last: wider(last),
        "trees for another number of classes",
    ),
    "neighbours": (
        "KNeighborsClassifier",
        lambda last: setattr(last, "_y", last._y[:3]),
        "do not fit together",
    ),
    "labels": (
        "KNeighborsClassifier",
        lambda last: setattr(last, "_y", last._y + 10**6),
        "expected a fitted",
    ),
    "mean": (
        "GaussianNB",
        lambda last: setattr(last, "theta_", last.theta_[:, :3]),
        "expected a fitted",
    ),
    "rows": (
        "LogisticRegression",
        lambda last: setattr(last, "coef_", np.ones((7, WIDTH))),
        "expected a fitted",
    ),
    "nan": (
        "LogisticRegression",
        lambda last: setattr(last, "intercept_", last.intercept_ * np.nan),
        "no 3 prob",
    ),
}


def wider(last: object) -> None:
    last.estimators_ = np.concatenate([last.estimators_] * 2, 1)  # type: ignore[attr-defined]


@pytest.mark.parametrize("kind", HOSTILE)
def test_numbers_that_do_not_fit_the_classifier_are_refused(kind: str, tmp_path: Path) -> None:
    name, tamper, said = HOSTILE[kind]
    values, labels = data(3)
    head = Head(classifier=name, options={"n_estimators": 3} if kind == "boosting" else {})
    fitted = build(head, 0).fit(values, labels)
    tamper(fitted[-1])
    save(fitted, tmp_path)
    assert said in refused(tmp_path, head)


def test_support_vectors_that_do_not_fit_are_refused(tmp_path: Path) -> None:
    head = Head(classifier="SVC")
    values, labels = data(3)
    fitted = build(head, 0).fit(values, labels)
    machine = fitted[-1].calibrated_classifiers_[0].estimator
    machine._n_support = machine._n_support + 500
    save(fitted, tmp_path)
    assert "support vectors that do not fit together" in refused(tmp_path, head)


def test_a_file_holds_no_pickle(saved: Path) -> None:
    content = (saved / FILE).read_bytes()
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert not [name for name in archive.namelist() if not name.endswith((".npy", ".json"))]
    assert skops.io.get_untrusted_types(data=content) == ["sklearn.tree._tree.Tree"]


def test_a_forest_learns_from_levels_that_keep_the_order() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(MANY_ROWS, 3)).astype(np.float32)
    features[:, 1] = features[:, 1] > 0  # fewer values than levels stay as they are
    features[:, 2] = 7.0
    found = quantised(Head(classifier="RandomForestClassifier"), features)
    assert found.dtype == np.float32
    assert len(np.unique(found[:, 0])) == LEVELS
    order = np.argsort(features[:, 0])
    assert (np.diff(found[order, 0]) >= 0).all()
    inner = slice(MANY_ROWS // LEVELS, -MANY_ROWS // LEVELS)
    assert np.abs(found[order, 0] - features[order, 0])[inner].max() < 0.4
    assert found[:, 0].mean() == pytest.approx(features[:, 0].mean(), abs=1e-4)
    np.testing.assert_allclose(found[:, 1:], features[:, 1:])


def test_few_examples_and_other_classifiers_are_learned_from_as_they_are() -> None:
    features = np.random.default_rng(0).normal(size=(MANY_ROWS, 2)).astype(np.float32)
    np.testing.assert_array_equal(
        quantised(Head(classifier="RandomForestClassifier"), features[:-1]), features[:-1]
    )
    assert quantised(Head(classifier="ExtraTreesClassifier"), features) is features
