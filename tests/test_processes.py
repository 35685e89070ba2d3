"""Two processes: the same split, every example once, equal parameters, the same result as one."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file as load_numpy
from safetensors.torch import load_file

from headstart.report.report import Report
from tests.conftest import WriteRecipe, draw_images
from tests.processes import start

ROOT = Path(__file__).parents[1]


def launch(count: int, *command: str, **variables: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", **variables}
    torchrun = [
        sys.executable,
        "-m",
        "torch.distributed.run",
        "--standalone",
        "--nproc_per_node",
        str(count),
    ]
    return subprocess.run(
        [*torchrun, *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=240,
    )


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_two_processes(backbone: str, write_recipe: WriteRecipe, tmp_path: Path) -> None:
    # BatchNorm sees each process's share of a batch, so figures differ a little
    statistics = backbone == "test_resnet"
    train = {"accumulation": 1 if statistics else 2, "epochs": 4, "optimizer": "sgd", "lr": 0.05}
    beside = {"baselines": ["raw_pixels_forest"]}
    path = write_recipe(
        model={"backbone": backbone}, train=train, augment={"policy": "crop_flip"}, evaluate=beside
    )
    assert start(path, ("leave", 0, 0), 2) == [0, 0]
    said = [path.with_suffix(f".{rank}.log").read_text() for rank in (0, 1)]
    assert [text.count("test accuracy") for text in said] == [1, 0], "one process speaks"
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert all(torch.equal(ranks[0][name], value) for name, value in ranks[1].items())
    saved = load_file(tmp_path / "run" / "model" / "network.safetensors")
    assert all(torch.equal(ranks[0][name], value) for name, value in saved.items())

    two = Report.read(tmp_path / "run")
    rows = (tmp_path / "run" / "predictions.csv").read_text().splitlines()[1:]
    assert len(rows) == len({row.split(",")[0] for row in rows}) == two.test.n == 18
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["processes"] == 2
    assert start(path, None, 1, f"output={tmp_path / 'alone'}") == [0]
    one = Report.read(tmp_path / "alone")
    assert one.counts == two.counts
    assert one.baselines[0].test == two.baselines[0].test
    if not statistics:  # the same network but for rounding
        other = load_file(tmp_path / "alone" / "model" / "network.safetensors")
        for name, value in saved.items():
            np.testing.assert_allclose(value, other[name], rtol=1e-3, atol=2e-5, err_msg=name)
        assert [e.loss for e in two.main.epochs] == pytest.approx(
            [e.loss for e in one.main.epochs], rel=1e-4
        )
    else:
        assert one.test.accuracy.low <= two.test.accuracy.high
        assert two.test.accuracy.low <= one.test.accuracy.high


def test_two_processes_share_an_extraction(
    write_recipe: WriteRecipe, weights: Path, tmp_path: Path
) -> None:
    """The same features to the bit, each computed by one process, and the same head."""
    draw_images(tmp_path / "many" / "train", 40, seed=1)
    draw_images(tmp_path / "many" / "test", 30, seed=2)
    found: list[dict[str, np.ndarray]] = []
    for count in (1, 2):
        path = write_recipe(
            data={"source": str(tmp_path / "many")},
            model={"weights": str(weights)},
            transfer={"strategy": "feature_extraction"},
            output=str(tmp_path / f"run{count}"),
        )
        assert (
            start(path, None, count, HEADSTART_CACHE=str(tmp_path / f"cache{count}")) == [0] * count
        )
        files = list((tmp_path / f"cache{count}" / "features").rglob("*.safetensors"))
        assert len(files) == 2 * count, "a file of each process for each part"
        rows: dict[str, np.ndarray] = {}
        for file in files:
            arrays = load_numpy(file)
            assert not rows.keys() & {name.tobytes().hex() for name in arrays["digests"]}, (
                "computed twice"
            )
            rows |= {
                n.tobytes().hex(): row
                for n, row in zip(arrays["digests"], arrays["features"], strict=True)
            }
        found.append(rows)
    one, two = found
    assert len(one) == 120 + 90
    assert one.keys() == two.keys()
    assert all(np.array_equal(one[name], two[name]) for name in one)
    heads = [
        load_file(tmp_path / f"run{count}" / "model" / "network.safetensors") for count in (1, 2)
    ]
    assert all(torch.equal(heads[0][name], value) for name, value in heads[1].items())
    tables = [(tmp_path / f"run{count}" / "predictions.csv").read_text() for count in (1, 2)]
    assert tables[0] == tables[1]


def test_two_processes_share_a_classifier(
    write_recipe: WriteRecipe, weights: Path, tmp_path: Path
) -> None:
    """A forest fitted by one process serves a strategy of both beside it."""
    path = write_recipe(
        model={"weights": str(weights), "head": {"classifier": "RandomForestClassifier"}},
        transfer={"strategy": "fine_tune"},
        train={"epochs": 1},
        evaluate={"baselines": ["feature_extraction"]},
    )
    assert start(path, None, 2) == [0, 0]
    (forest,) = Report.read(tmp_path / "run").baselines
    assert forest.fitted == "RandomForestClassifier"
    assert forest.test.accuracy.value > 0.5


def test_an_error_is_said_once(write_recipe: WriteRecipe) -> None:
    done = launch(2, "run.py", str(write_recipe(data={"source": "nowhere"})))
    assert done.returncode != 0
    assert done.stderr.count("error: data.source: no folder or table nowhere") == 1
