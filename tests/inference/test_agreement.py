"""Whatever a run was trained with, its model says the same wherever it is asked."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import headstart
from headstart.export import export
from headstart.report.predictions import read_predictions
from headstart.transfer.strategies import strategies
from tests.conftest import MakeRun
from tests.inference.serving import served
from tests.test_cli import call

WAYS = sorted(strategies.names())
USUAL = {("image", "feature_extraction"), ("text", "lora")}
CASES = [
    pytest.param(kind, way, marks=() if (kind, way) in USUAL else pytest.mark.thorough)
    for kind in ("image", "text")
    for way in WAYS
]


@pytest.mark.parametrize(("kind", "strategy"), CASES)
def test_predictions_agree(
    make_run: MakeRun, photos: Path, review_tables: Path, weights: Path, tmp_path: Path, kind: str, strategy: str
) -> None:
    pretrained = {"weights": str(weights)} if kind == "image" and strategy != "scratch" else {}
    epochs = 3 if strategy == "chain_thaw" else 2
    own = {"transfer": {"last_blocks": 1}} if strategy == "partial" else {}
    run = make_run(kind, strategy, model=pretrained, train={"epochs": epochs}, **own)
    stated = read_predictions(run)
    data = photos / "test" if kind == "image" else review_tables / "test.tsv"
    model = headstart.load(run)
    found = model.predict(data)
    said = np.array([list(prediction.probabilities.values()) for prediction in found])
    np.testing.assert_allclose(said, stated.probabilities, atol=2e-6)

    table = tmp_path / "p.csv"
    assert call("predict", run, data, "--out", table) == 0
    rows = list(csv.DictReader(table.open(encoding="utf-8")))
    assert [row["example"] for row in rows] == [prediction.name for prediction in found]
    assert [row["predicted"] for row in rows] == list(stated.predicted)
    np.testing.assert_allclose([float(row["probability"]) for row in rows], said.max(1), atol=2e-6)

    items = [example.item for example in model.gather([str(data)])]
    with served(run) as client:
        if kind == "image":
            files = [("image", Path(item).read_bytes()) for item in items]
            answer = client.post("/predict", files=files)
        else:
            answer = client.post("/predict", json={"text": items})
    assert answer.status_code == 200
    answered = [list(one["probabilities"].values()) for one in answer.json()["predictions"]]
    np.testing.assert_allclose(answered, said, atol=1e-5)

    exported = export(str(run), "onnx", out=tmp_path / "model.onnx")
    np.testing.assert_allclose(headstart.load(exported.path).probabilities(items), said, atol=1e-4)
