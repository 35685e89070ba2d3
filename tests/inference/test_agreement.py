"""Whatever a run was trained with, its model says the same wherever it is asked."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import headstart
from headstart.commands.export import export
from headstart.commands.verify import verify
from headstart.errors import HeadstartError
from headstart.report.predictions import read_predictions
from headstart.transfer.strategies import strategies
from tests.conftest import MakeRun, WriteRecipe
from tests.data.test_grey import save_set, texture
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
    make_run: MakeRun,
    photos: Path,
    review_tables: Path,
    weights: Path,
    tmp_path: Path,
    kind: str,
    strategy: str,
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

    items = [example.item for example in model.inputs_from_paths([str(data)])]
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


def test_deep_greys_are_read_alike_everywhere(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    save_set(tmp_path / "deep", ".png", texture(1))
    data = {"source": str(tmp_path / "deep"), "validation": 0.2, "test": 0.3}
    headstart.run(write_recipe(data=data, train={"epochs": 1}))
    run = tmp_path / "run"
    stated, model = read_predictions(run), headstart.load(run)
    items = [str(tmp_path / "deep" / name) for name in stated.names]
    np.testing.assert_allclose(model.probabilities(items), stated.probabilities, atol=2e-6)
    assert np.ptp(stated.probabilities, axis=0).min() > 1e-3  # the images do not all look black
    assert verify(run).holds
    with served(run) as client:
        answer = client.post(
            "/predict", files=[("image", Path(item).read_bytes()) for item in items]
        )
    answered = [list(one["probabilities"].values()) for one in answer.json()["predictions"]]
    np.testing.assert_allclose(answered, stated.probabilities, atol=1e-5)
    exported = export(str(run), "onnx", out=tmp_path / "model.onnx")
    np.testing.assert_allclose(
        headstart.load(exported.path).probabilities(items), stated.probabilities, atol=1e-4
    )

    config = run / "model" / "config.json"
    spec = json.loads(config.read_text(encoding="utf-8"))
    low, high = spec["preprocessing"].pop("grey_range")
    assert 400 < low < high < 640
    config.write_text(json.dumps(spec), encoding="utf-8")  # as runs were before there was a range
    before = headstart.load(run).probabilities(items)
    opened = [
        Image.fromarray((np.array(Image.open(item)) / 65535 * 255).round().astype(np.uint8))
        for item in items
    ]
    np.testing.assert_allclose(before, headstart.load(run).probabilities(opened), atol=1e-6)
    spec["preprocessing"]["grey_range"] = ["a", 3]
    config.write_text(json.dumps(spec), encoding="utf-8")
    with pytest.raises(HeadstartError, match="preprocessing.grey_range.0: found 'a'"):
        headstart.load(run)
