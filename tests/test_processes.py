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
from safetensors.torch import load_file

from headstart.report.report import Report
from tests.conftest import WriteRecipe

ROOT = Path(__file__).parents[1]

SPY = """
import sys, torch, torch.distributed as dist
from headstart.train import engine
tune = engine.tune
def spied(network, plan, setting):
    history = tune(network, plan, setting)
    torch.save(network.net.state_dict(), f"{sys.argv[1]}/rank{dist.get_rank()}.pt")
    return history
engine.tune = spied
from headstart.cli import main
main(["run", *sys.argv[2:]])
"""


def launch(count: int, *command: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node", str(count)]
    return subprocess.run([*torchrun, *command], cwd=ROOT, env=environment, capture_output=True, text=True, timeout=240)


@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_two_processes(backbone: str, write_recipe: WriteRecipe, tmp_path: Path) -> None:
    spy = tmp_path / "spy.py"
    spy.write_text(SPY)
    statistics = backbone == "test_resnet"  # BatchNorm sees each process's share of a batch, so figures differ a little
    train = {"accumulation": 1 if statistics else 2, "epochs": 4, "optimizer": "sgd", "lr": 0.05}
    beside = {"beside": ["raw_pixels_forest"]}
    path = write_recipe(model={"backbone": backbone}, train=train, augment={"policy": "crop_flip"}, evaluate=beside)
    done = launch(2, str(spy), str(tmp_path), str(path))
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("test accuracy") == 1, "one process speaks"
    ranks = [torch.load(tmp_path / f"rank{rank}.pt", weights_only=True) for rank in (0, 1)]
    assert all(torch.equal(ranks[0][name], value) for name, value in ranks[1].items())
    saved = load_file(tmp_path / "run" / "model" / "network.safetensors")
    assert all(torch.equal(ranks[0][name], value) for name, value in saved.items())

    two = Report.read(tmp_path / "run")
    rows = (tmp_path / "run" / "predictions.csv").read_text().splitlines()[1:]
    assert len(rows) == len({row.split(",")[0] for row in rows}) == two.test.n == 18
    assert json.loads((tmp_path / "run" / "manifest.json").read_text())["processes"] == 2
    alone = launch(1, "run.py", str(path), f"output={tmp_path / 'alone'}")
    assert alone.returncode == 0, alone.stderr
    one = Report.read(tmp_path / "alone")
    assert one.counts == two.counts
    assert one.beside[0].test == two.beside[0].test
    if not statistics:  # the same network but for rounding
        other = load_file(tmp_path / "alone" / "model" / "network.safetensors")
        for name, value in saved.items():
            np.testing.assert_allclose(value, other[name], rtol=1e-3, atol=2e-5, err_msg=name)
        assert [e["loss"] for e in two.main.epochs] == pytest.approx([e["loss"] for e in one.main.epochs], rel=1e-4)
    else:
        assert one.test.accuracy.low <= two.test.accuracy.high
        assert two.test.accuracy.low <= one.test.accuracy.high


def test_an_error_is_said_once(write_recipe: WriteRecipe) -> None:
    done = launch(2, "run.py", str(write_recipe(data={"source": "nowhere"})))
    assert done.returncode != 0
    assert done.stderr.count("error: data.source: no folder nowhere") == 1
