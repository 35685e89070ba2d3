"""Compiled training steps train the same network, and only where that was asked for or pays."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from functools import partialmethod
from typing import Any

import pytest
import torch
import torch._dynamo
from torch import nn

from headstart.models.blocks import Blocks
from headstart.runtime.machine import Machine
from headstart.runtime.private import undo_compile
from headstart.train import compiled
from headstart.train.compiled import _fault as fault
from headstart.train.compiled import compile_steps
from headstart.train.engine import tune
from headstart.transfer.plan import Phase, Plan

from .conftest import MakeContext, small_network


@pytest.fixture(autouse=True)
def working(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(compiled, "_fault", lambda device: None)
    with torch._dynamo.config.patch(suppress_errors=True):
        yield


def trained(make_context: MakeContext, **options: Any) -> Any:
    network = small_network("test_resnet")
    phases = (
        Phase("head", {"head": 0.01}, 1),
        Phase("all", dict.fromkeys(Blocks(network).names, 0.01), 2),
    )
    return network, tune(make_context(network, Plan("two", phases), **options))


def test_compiled_steps_come_to_the_same(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the compiler's own front end, whose back end here calls torch's operations one by one."""
    from torch._dynamo.utils import counters

    plain, _ = trained(make_context)
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend="aot_eager"))
    counters.clear()
    network, history = trained(make_context, compile=True)
    assert counters["stats"]["unique_graphs"] == 4, (
        "two phases, and in each whole batches and a smaller last one"
    )
    assert not counters["graph_break"]
    assert network._compiled_call_impl is None
    assert len(history.epochs) == 3
    for (name, one), other in zip(
        plain.net.state_dict().items(), network.net.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-3, atol=1e-5, msg=name)


def test_what_cannot_be_compiled_runs_as_it_was(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    tried = []

    def broken(*_: Any) -> Any:
        tried.append(1)
        raise RuntimeError("no compiler here")

    plain, _ = trained(make_context)
    monkeypatch.setattr(nn.Module, "compile", partialmethod(nn.Module.compile, backend=broken))
    network, _ = trained(make_context, compile=True)
    assert tried
    for name, value in plain.net.state_dict().items():
        torch.testing.assert_close(network.net.state_dict()[name], value, msg=name)


def test_without_a_compiler_it_says_so_once_and_runs_as_it_was(
    make_context: MakeContext,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    def broken(*_: Any, **__: Any) -> Any:
        raise RuntimeError("no compiler here\nand much more")

    monkeypatch.setattr(compiled, "_fault", fault.__wrapped__)
    monkeypatch.setattr(torch, "compile", broken)
    plain, _ = trained(make_context)
    network, history = trained(make_context, compile=True)
    assert history.notes == ["training steps are not compiled: no compiler here"]
    assert "Traceback" not in "".join(capfd.readouterr())
    for name, value in plain.net.state_dict().items():
        assert torch.equal(network.net.state_dict()[name], value), name


@pytest.mark.parametrize(
    ("wanted", "device", "left", "compiles"),
    [
        ("auto", "cuda", 700.0, True),
        ("auto", "cuda", 500.0, False),
        ("auto", "cpu", 7_000.0, False),
        (True, "cpu", 0.0, True),
        (False, "cuda", 7_000.0, False),
    ],
)
def test_long_phases_on_a_gpu_are_compiled(
    wanted: bool | str,
    device: str,
    left: float,
    compiles: bool,
    make_context: MakeContext,
) -> None:
    network = small_network()
    machine = Machine(torch.device(device))
    compile_steps(replace(make_context(network, compile=wanted), machine=machine), left)
    assert (network._compiled_call_impl is not None) == compiles
    undo_compile(network)
    assert network._compiled_call_impl is None
