"""Batch sizes: a rule on the data for the effective one, a measurement for what fits at once."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

import headstart
from headstart.models.blocks import Blocks
from headstart.models.network import Network
from headstart.runtime import machine
from headstart.runtime.machine import free_memory
from headstart.train import memory
from headstart.train.memory import batch_size, bytes_per_example, parts
from headstart.transfer.plan import Phase, Plan
from tests.conftest import WriteRecipe
from tests.train.conftest import MakeContext, small_network

CPU = torch.device("cpu")
SAMPLE = {"pixel_values": torch.randn(4, 3, 32, 32)}


def everything(network: Network) -> Phase:
    return Phase("all", dict.fromkeys(Blocks(network).names, 0.1), 1)


@pytest.mark.parametrize(
    ("wanted", "examples", "size"),
    [
        (7, 5000, 7),
        ("auto", 10, 16),
        ("auto", 244, 16),
        ("auto", 2000, 32),
        ("auto", 6400, 128),
        ("auto", 10**6, 256),
    ],
)
def test_the_effective_batch_size_goes_by_the_data(
    wanted: int | str, examples: int, size: int
) -> None:
    assert batch_size(wanted, examples) == size


def test_frozen_blocks_keep_less() -> None:
    network = small_network()
    whole = bytes_per_example(network, everything(network), SAMPLE, CPU, "fp32")
    head = bytes_per_example(network, Phase("head", {"head": 0.1}, 1), SAMPLE, CPU, "fp32")
    assert 0 < head < whole / 2


def test_measuring_leaves_the_network_alone() -> None:
    network = small_network()
    before = {key: value.clone() for key, value in network.state_dict().items()}
    bytes_per_example(network, everything(network), SAMPLE, CPU, "fp32")
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_the_measure_is_that_of_a_network_one_can_count() -> None:
    class Layers(torch.nn.Module):
        partition = {"head": ("a.weight", "b.weight")}  # noqa: RUF012

        def __init__(self) -> None:
            super().__init__()
            self.net = torch.nn.Sequential()
            self.net.a = torch.nn.Linear(1000, 2000, bias=False)
            self.net.b = torch.nn.Linear(2000, 10, bias=False)

        def set_trainable(self, names: object, freeze_statistics: bool = False) -> None: ...

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.net.b(torch.relu(self.net.a(x)))

    found = bytes_per_example(
        Layers(), Phase("all", {"head": 1.0}, 1), {"x": torch.randn(4, 1000)}, CPU, "fp32"
    )  # type: ignore[arg-type]
    # the input, what relu leaves, and the widest output
    assert found == 4 * (1000 + 2000 + memory.WORKING * 2000)


@pytest.mark.parametrize(("room", "expected"), [(1000, 1), (16, 2), (4, 8), (0.5, 16), (0, 16)])
def test_a_share_is_cut_into_as_few_parts_as_fit(
    room: float, expected: int, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = small_network()
    context = make_context(network, Plan("all", (everything(network),)), batch_size=32)
    state = 16 * sum(parameter.numel() for parameter in network.parameters())
    each = bytes_per_example(network, everything(network), SAMPLE, CPU, "fp32")
    monkeypatch.setattr(
        memory, "free_memory", lambda device: state + (room * each + 1) / memory.SHARE
    )
    assert parts(context) == expected


def test_free_memory_is_shared_by_the_processes_of_a_machine(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        machine.psutil, "virtual_memory", lambda: type("M", (), {"available": 1000})
    )
    assert 0 < free_memory(CPU) <= 1000
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert free_memory(CPU) <= 250


def test_an_automatic_batch_that_does_not_fit_trains_the_same_network(
    write_recipe: WriteRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """On a network without BatchNorm the parts of a batch add up to the batch."""
    from safetensors.torch import load_file

    from headstart.report.progress import Progress

    train = {"batch_size": "auto", "optimizer": "sgd", "lr": 0.05}
    path = write_recipe(model={"backbone": "test_vit"}, train=train)
    headstart.run(path, progress=Progress())
    assert "batches of 16\n" in capsys.readouterr().out
    whole = load_file(tmp_path / "run" / "model" / "network.safetensors")
    monkeypatch.setattr(memory, "parts", lambda *_: 4)
    headstart.run(path, progress=Progress())
    assert "batches of 16 in 4 parts\n" in capsys.readouterr().out
    for name, value in load_file(tmp_path / "run" / "model" / "network.safetensors").items():
        torch.testing.assert_close(value, whole[name], rtol=1e-3, atol=2e-5)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads the peak that Linux keeps")
def test_a_step_takes_about_what_was_measured() -> None:
    """The peak of a process that takes steps, against the prediction: within the margin that SHARE
    leaves."""
    code = """
import pathlib, psutil, torch
from headstart.models.vision import vision_network
from headstart.recipe import Model
from headstart.train.memory import bytes_per_example
from headstart.models.blocks import Blocks
from headstart.transfer.plan import Phase, Plan
network, _ = vision_network(Model(backbone="resnet18"), 2, False)
phase = Phase("all", dict.fromkeys(Blocks(network).names, 0.1), 1)
inputs = torch.randn(24, 3, 160, 160)
each = bytes_per_example(network, phase, {"pixel_values": inputs[:4]}, torch.device("cpu"), "fp32")
network.train()
before = psutil.Process().memory_info().rss
for _ in range(2):
    network(pixel_values=inputs).sum().backward()
lines = pathlib.Path("/proc/self/status").read_text().splitlines()
status = dict(line.split(":") for line in lines)
peak = int(status["VmHWM"].split()[0]) * 1024
gradients = 4 * sum(parameter.numel() for parameter in network.parameters())
print((peak - before - gradients) / len(inputs) / each)
"""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment
    )
    assert 0.3 < float(done.stdout) < 1 / memory.SHARE
