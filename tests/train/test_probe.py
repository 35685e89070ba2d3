"""Heads on frozen features: what they learn, that nothing else moves, that no Trainer is
imported."""

from __future__ import annotations

import subprocess
import sys
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import headstart
from headstart.errors import HeadstartError
from headstart.evaluate.results import Epoch
from headstart.models.network import build_head
from headstart.models.sklearn_head import build
from headstart.models.spec import Origin
from headstart.models.vision import vision_network
from headstart.recipe import Head, Model, Preprocessing
from headstart.report.report import Report
from headstart.train import probe as module
from headstart.train.context import Context
from headstart.train.features import extract
from headstart.train.forward import classify, head_outputs
from headstart.train.probe import probe
from headstart.transfer.plan import Phase, Plan
from tests.conftest import WriteRecipe
from tests.train.conftest import MakeContext, examples

WHOLE = Phase("head", {"head": 0.0}, 0, probe=True)
HEADS = {
    "logistic_regression": Head(classifier="logistic_regression"),
    "linear by gradient": Head(classifier="gradient"),
    "mlp by gradient": Head(hidden=(16,), dropout=(0.1, 0.2)),
    "forest": Head(classifier="RandomForestClassifier", options={"n_estimators": 30}),
}


def network_for(head: Head) -> Any:
    torch.manual_seed(0)
    model = Model(backbone="test_resnet", head=head, preprocessing=Preprocessing(size=32))
    network, _ = vision_network(model, 3, pretrained=False)
    origin = Origin(name="none", source="nowhere", sha256="random")
    network.spec = network.spec.model_copy(update={"pretrained": origin})
    return network


def phase_for(head: Head) -> Phase:
    return Phase("head", {"head": 0.5}, 12, probe=True) if head.fitting == "gradient" else WHOLE


@pytest.fixture
def context(make_context: MakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    return make_context(train=60, selection=30)


def with_head(context: Context, head: Head) -> Context:
    """The same with a network with another head, and its plan."""
    network = network_for(head)
    network.preprocessor = context.network.preprocessor
    return replace(context, network=network, plan=Plan("head", (phase_for(head),)))


def with_train(context: Context, labels: np.ndarray) -> Context:
    """The same with as many training examples of these labels, and no validation part."""
    train = replace(examples(len(labels)), labels=labels)
    return replace(context, dataset=replace(context.dataset, train=train, validation=None))


def with_options(context: Context, **options: Any) -> Context:
    train = context.recipe.train.model_copy(update=options)
    return replace(context, recipe=context.recipe.model_copy(update={"train": train}))


@pytest.mark.parametrize("name", HEADS)
def test_a_head_learns_and_nothing_else_moves(name: str, context: Context) -> None:
    context = with_head(context, HEADS[name])
    network = context.network
    before = {key: value.clone() for key, value in network.net.state_dict().items()}
    history = probe(context, context.plan.phases[0])
    after = network.net.state_dict()
    head = {key for key in after if key.startswith("fc.")}
    assert all(torch.equal(after[key], value) for key, value in before.items() if key not in head)
    assert not head or any(not torch.equal(after[key], before[key]) for key in head)
    features, cached = extract(context, "train", context.train)
    assert (history.cached, cached) == (0, len(context.train))
    assert features is not None
    probabilities = classify(network, head_outputs(network, features))
    np.testing.assert_allclose(probabilities.sum(1), 1, rtol=1e-5)
    assert np.mean(probabilities.argmax(1) == context.train.labels) > 0.8
    assert (len(history.epochs) == 12) == (HEADS[name].fitting == "gradient")
    assert history.fitted


def test_the_logistic_regression_is_scikit_learns(context: Context) -> None:
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    random = np.random.default_rng(0)
    for classes in (2, 3):
        targets = np.arange(80) % classes
        features = (random.normal(size=(80, 7)) * np.arange(7) + targets[:, None] + 5).astype(
            np.float32
        )
        history, state = module._logistic_regression(with_train(context, targets), features)
        head = build_head(Head(), 7, classes)
        head.load_state_dict(state)
        with torch.inference_mode():
            ours = torch.softmax(head(torch.from_numpy(features)), 1).numpy()
        assert history.fitted is not None
        strength = float(history.fitted.split("C = ")[1].split()[0])
        theirs = make_pipeline(StandardScaler(), LogisticRegression(C=strength, max_iter=1000)).fit(
            features, targets
        )
        np.testing.assert_allclose(ours, theirs.predict_proba(features), atol=5e-3)
        assert "5-fold cross-validation" in history.fitted


FORESTS = ["RandomForestClassifier", "GradientBoostingClassifier"]
WEIGHED = ["LogisticRegression", "SVC", "GaussianNB", *FORESTS]


@pytest.mark.parametrize("name", WEIGHED)
def test_class_weights_reach_every_classifier(name: str, context: Context) -> None:
    random = np.random.default_rng(0)
    targets = np.repeat([0, 1, 2], [60, 20, 10])
    features = (random.normal(size=(90, 5)) + 0.5 * targets[:, None]).astype(np.float32)
    plain = with_train(context, targets)
    weights = len(targets) / (3 * np.bincount(targets))
    weighed = {
        "class_weights": with_options(plain, class_weights="balanced"),
        "sampling": with_options(plain, sampling="balanced"),
    }
    head = Head(classifier=name, options={"n_estimators": 20} if name in FORESTS else {})
    without = module._estimator(plain, head, features)[1].predict_proba(features)
    model = build(head, plain.recipe.seed)
    if name in ("LogisticRegression", "RandomForestClassifier"):
        model.set_params(**{f"{name.lower()}__class_weight": "balanced"}).fit(features, targets)
    else:
        model.fit(features, targets, **{f"{model.steps[-1][0]}__sample_weight": weights[targets]})
    right = model.predict_proba(features)
    assert np.abs(right - without).max() > 0.1
    for changed in weighed.values():
        np.testing.assert_allclose(
            module._estimator(changed, head, features)[1].predict_proba(features), right, atol=1e-6
        )


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("GaussianNB", "the probabilities of GaussianNB are no numbers"),
        ("NuSVC", "nu is infeasible; lower nu, such as model.head.options.nu = 0.1, or choose SVC"),
    ],
)
def test_what_a_classifier_cannot_do_is_said_of_it(name: str, said: str, context: Context) -> None:
    targets = np.repeat([0, 1, 2], [50, 5, 5])
    head = Head(classifier=name)
    network = network_for(head)
    features, known = np.zeros((60, 5), np.float32), with_train(context, targets)

    def fitted_probabilities() -> np.ndarray:
        network.estimator = module._estimator(known, head, features)[1]
        return classify(network, features)

    with (
        warnings.catch_warnings(action="ignore"),
        pytest.raises(HeadstartError, match=f"model.head.classifier: .*{said}"),
    ):
        fitted_probabilities()


@pytest.mark.parametrize("train", [{"class_weights": "balanced"}, {"sampling": "balanced"}])
def test_a_classifier_that_cannot_weigh_classes_is_refused(
    write_recipe: WriteRecipe, weights: Path, train: dict[str, str]
) -> None:
    for head, said in (
        ({"classifier": "KNeighborsClassifier"}, "KNeighborsClassifier cannot weigh its examples"),
        (
            {"classifier": "SVC", "options": {"class_weight": "balanced"}},
            "classes would be weighed twice",
        ),
    ):
        path = write_recipe(
            model={"weights": str(weights), "head": head},
            transfer={"strategy": "feature_extraction"},
            train=train,
        )
        with pytest.raises(HeadstartError, match=said):
            headstart.run(path)


def test_a_strength_chosen_on_some_examples_is_used_on_all(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ENOUGH", 30)
    rows = module._some_of_each(context.train.labels, 0)
    assert np.bincount(context.train.labels[rows]).tolist() == [10, 10, 10]
    history = probe(with_head(context, Head()), WHOLE)
    assert history.fitted is not None
    assert history.fitted.startswith("logistic regression, C = ")


def test_classes_too_small_to_cross_validate(context: Context) -> None:
    few = with_train(with_head(context, Head()), np.arange(3))
    history = probe(few, WHOLE)
    assert (
        history.fitted == "logistic regression, C = 1 (a class has too few examples to choose it)"
    )


def test_the_best_epoch_of_a_gradient_head_is_kept(context: Context) -> None:
    context = with_head(context, Head(classifier="gradient"))
    history = probe(context, Phase("head", {"head": 0.5}, 6, probe=True))
    scores = [(row.selection("accuracy"), -row.selection("loss")) for row in history.epochs]  # type: ignore[operator]
    assert history.kept == Epoch(phase=1, epoch=scores.index(max(scores)) + 1)
    held_out, _ = extract(context, "selection", context.selection)  # type: ignore[arg-type]
    found = head_outputs(context.network, held_out).argmax(1)  # type: ignore[arg-type]
    assert np.mean(found == context.selection.labels) == max(scores)[0]  # type: ignore[union-attr]


def test_a_head_that_diverges_says_so(context: Context) -> None:
    with pytest.raises(HeadstartError, match=r"the loss of the head is (nan|inf) in epoch"):
        probe(
            with_head(context, Head(classifier="gradient")),
            Phase("head", {"head": 1e38}, 4, probe=True),
        )


@pytest.mark.parametrize("name", HEADS)
def test_a_run_and_its_model(
    name: str, write_recipe: WriteRecipe, weights: Path, photos: Path, tmp_path: Path
) -> None:
    head = HEADS[name]
    fields = {
        "classifier": head.classifier,
        "hidden": list(head.hidden) or None,
        "dropout": list(head.dropout) if head.hidden else None,
        "options": head.options or None,
    }
    transfer = {"strategy": "feature_extraction"}
    path = write_recipe(
        model={"weights": str(weights), "head": fields}, transfer=transfer, train={"lr": 0.05}
    )
    report = headstart.run(path)
    assert Report.read(tmp_path / "run") == report
    assert report.main.phases[0].probe
    rows = (tmp_path / "run" / "predictions.csv").read_text().splitlines()[1:]
    predictions = headstart.load(tmp_path / "run").predict(photos / "test")
    assert [p.label for p in predictions] == [row.split(",")[2] for row in rows]
    shown = [float(row.split(",")[4]) for row in rows]
    np.testing.assert_allclose([p.probabilities["blue"] for p in predictions], shown, atol=2e-6)
    assert (
        "head.skops" in {file.name for file in (tmp_path / "run" / "model").iterdir()}
    ) == head.is_estimator


def test_the_same_run_twice_is_equal_with_and_without_the_cache(
    write_recipe: WriteRecipe, weights: Path, tmp_path: Path
) -> None:
    path = write_recipe(
        model={"weights": str(weights)}, transfer={"strategy": "feature_extraction"}
    )
    headstart.run(path)
    first = (tmp_path / "run" / "model" / "network.safetensors").read_bytes()
    headstart.run(path)
    assert (tmp_path / "run" / "model" / "network.safetensors").read_bytes() == first
    assert (
        '"of": 30, "cached": 30, "computed": 0' in (tmp_path / "run" / "log.jsonl").read_text()
    ), "with validation"
    assert Report.read(tmp_path / "run").main.cached == 30


def test_a_page_without_a_validation_part(
    write_recipe: WriteRecipe, weights: Path, tmp_path: Path
) -> None:
    transfer = {"strategy": "feature_extraction"}
    headstart.run(
        write_recipe(data={"validation": 0.0}, model={"weights": str(weights)}, transfer=transfer)
    )
    page = (tmp_path / "run" / "report.html").read_text()
    assert "fitted on the training part." in page
    modes = {file.stat().st_mode for file in (tmp_path / "run" / "model").iterdir()}
    assert len(modes) == 1


def test_a_probe_never_imports_the_trainer(write_recipe: WriteRecipe, weights: Path) -> None:
    path = write_recipe(
        model={"weights": str(weights)}, transfer={"strategy": "feature_extraction"}
    )
    code = (
        f"import sys, headstart; headstart.run({str(path)!r}); print([m for m in "
        "('transformers', 'headstart.train.engine') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_beside_fine_tuning_and_the_other_way_round(
    write_recipe: WriteRecipe, weights: Path
) -> None:
    forest = {"classifier": "RandomForestClassifier", "options": {"n_estimators": 20}}
    for main, other in (("fine_tune", "feature_extraction"), ("feature_extraction", "fine_tune")):
        path = write_recipe(
            model={"weights": str(weights), "head": forest},
            transfer={"strategy": main},
            train={"epochs": 1},
            evaluate={"baselines": [other]},
        )
        report = headstart.run(path, [f"output={path.parent / main}"])
        by_name = {result.name: result for result in (report.main, *report.baselines)}
        assert by_name["feature_extraction"].fitted == "RandomForestClassifier"
        assert report.selected_on == ("validation" if main == "fine_tune" else None)
        assert len(by_name["fine_tune"].epochs) == 1
    with pytest.raises(
        HeadstartError,
        match="feature_extraction fits its head as a whole; remove its lr and epochs",
    ):
        headstart.run(
            write_recipe(
                model={"weights": str(weights)},
                transfer={"strategy": "fine_tune"},
                evaluate={"baselines": [{"name": "feature_extraction", "epochs": 3}]},
            )
        )
