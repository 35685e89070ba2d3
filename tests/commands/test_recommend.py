"""headstart recommend, and LogME against brute force."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.optimize import minimize

from headstart.cli import main
from headstart.commands.recommend import Ranked, _marked, recommend
from headstart.errors import HeadstartError
from headstart.evaluate.logme import logme
from headstart.evaluate.results import Estimate
from tests.conftest import WriteRecipe


def evidence(features: np.ndarray, target: np.ndarray) -> float:
    """The best log evidence of a Bayesian linear model over its two precisions, by the full
    covariance."""
    n = len(features)

    def minus(logarithms: np.ndarray) -> float:
        alpha, beta = np.exp(logarithms)
        covariance = features @ features.T / alpha + np.eye(n) / beta
        sign, determinant = np.linalg.slogdet(covariance)
        assert sign > 0
        return float(
            0.5
            * (n * np.log(2 * np.pi) + determinant + target @ np.linalg.solve(covariance, target))
        )

    return -min(
        float(minimize(minus, start, method="Nelder-Mead").fun)
        for start in ([0, 0], [2, 3], [-2, 2])
    )


@pytest.mark.parametrize(("n", "width"), [(40, 5), (20, 30)])
def test_logme_is_the_best_evidence(n: int, width: int) -> None:
    random = np.random.default_rng(0)
    labels = random.integers(2, size=n)
    features = random.normal(size=(n, width)) + labels[:, None] * np.linspace(0, 2, width)
    wanted = np.mean([evidence(features, (labels == label).astype(float)) / n for label in (0, 1)])
    assert logme(features, labels) == pytest.approx(wanted, abs=0.01)


def test_logme_rises_with_what_features_know() -> None:
    random = np.random.default_rng(0)
    labels = random.integers(3, size=200)
    found = [
        logme(random.normal(size=(200, 16)) + lead * np.eye(3, 16)[labels], labels)
        for lead in (0, 1, 3)
    ]
    assert found == sorted(found)
    assert found[2] > found[0] + 0.2


def test_backbones_are_ranked(
    write_recipe: WriteRecipe, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = str(write_recipe(task="text_classification", model={"backbone": "unused"}))
    with pytest.raises(HeadstartError, match="none of 1 backbones can be had; the first: "):
        recommend(path, [str(tmp_path)])
    images = str(write_recipe())
    with pytest.raises(SystemExit) as ended:
        main(["recommend", images, "--backbones", "random:test_resnet,random:test_vit,no_such"])
    assert not ended.value.code
    said = capsys.readouterr().out
    assert "| random:test_resnet |" in said
    assert "failed: no_such: model.backbone: unknown backbone" in said
    assert "This is a heuristic" in said
    assert (tmp_path / "run.recommend.md").read_text().startswith("| backbone | probe accuracy |")


def test_stars_mark_what_nothing_beats_in_both() -> None:
    def row(name: str, probe: float, seconds: float) -> Ranked:
        return Ranked(name, 0.0, Estimate(value=probe, low=0, high=1), seconds, 1)

    rows = [row("good and slow", 0.9, 2.0), row("fast", 0.7, 0.5), row("neither", 0.6, 1.0)]
    assert [_marked(one, rows).pareto for one in rows] == [True, True, False]
