"""Runs and files of earlier versions go on working.

`old_runs/version_0.zip` holds four small runs with their data, and an ONNX file of one of them, as
they were written when the spec in `model/config.json` had no version: an image network (its weights
are sparse, so that they pack well), a text network, one with adapters, and word vectors under a
Gaussian naive Bayes.
"""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import headstart
from headstart.commands.export import export
from headstart.commands.verify import verify
from tests.inference.serving import served

VERSION_0 = Path(__file__).parent / "old_runs" / "version_0.zip"
RUNS = ("image", "text", "lora", "words")


@pytest.fixture(autouse=True)
def _in_their_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The runs name their data by relative paths."""
    with zipfile.ZipFile(VERSION_0) as archive:
        archive.extractall(tmp_path)
    monkeypatch.chdir(tmp_path)


def examples(run: str) -> list[str]:
    return (
        [f"images/test/{name}" for name in pd.read_csv(f"runs/{run}/predictions.csv").example]
        if run == "image"
        else pd.read_csv("texts/test.tsv", sep="\t").text.to_list()
    )


def stated(run: str) -> np.ndarray:
    """The probabilities that a run wrote of its test part, with six decimals."""
    return pd.read_csv(f"runs/{run}/predictions.csv").filter(like="p(").to_numpy()


@pytest.mark.parametrize("run", RUNS)
def test_an_old_run_gives_the_numbers_that_it_gave(run: str) -> None:
    items = examples(run)
    model = headstart.load(f"runs/{run}")
    np.testing.assert_allclose(model.probabilities(items), stated(run), atol=2e-6)
    assert verify(f"runs/{run}").holds


def test_an_old_onnx_file_gives_the_numbers_of_its_run() -> None:
    model = headstart.load("text.onnx")
    assert model.labels == ("neg", "pos")
    np.testing.assert_allclose(model.probabilities(examples("text")), stated("text"), atol=1e-5)


@pytest.mark.parametrize(("run", "to"), [("image", "hf"), ("lora", "hf"), ("text", "torch_export")])
def test_an_old_run_can_be_exported(run: str, to: str) -> None:
    agreement = export(f"runs/{run}", to).agreement
    assert agreement.same == agreement.examples


def test_an_old_run_can_be_served() -> None:
    items = examples("text")
    with served(Path("runs/text")) as client:
        answer = client.post("/predict", json={"text": items}).json()
    served_probabilities = [list(row["probabilities"].values()) for row in answer["predictions"]]
    np.testing.assert_allclose(served_probabilities, stated("text"), atol=2e-6)
