from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from headstart.errors import HeadstartError
from headstart.runtime.depthwise import DepthwiseGradients
from headstart.train import precision
from headstart.train.engine import tune
from headstart.train.precision import choose_precision
from headstart.transfer.plan import Phase, Plan
from tests.train.conftest import MakeContext, small_network, whole

TUNED = (Phase("all", {"head": 1e-3}, 1),)


@pytest.fixture(autouse=True)
def settled(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path))
    monkeypatch.setattr(precision, "bf16_instructions", lambda: "amx_tile")


@pytest.fixture
def choose(make_context: MakeContext) -> Callable[..., str]:
    def choose(wanted: str = "auto", tuned: tuple[Phase, ...] = TUNED) -> str:
        return choose_precision(make_context(plan=Plan("all", tuned), precision=wanted))

    return choose


@contextmanager
def taking(monkeypatch: pytest.MonkeyPatch, **seconds: float) -> Iterator[list[str]]:
    """A machine on which steps take so long."""
    timed: list[str] = []

    def fake(network: Any, batch: Any, number: str, backward: bool) -> float:
        timed.append(number)
        return seconds[number]

    with monkeypatch.context() as patch:
        patch.setattr(precision, "_seconds", fake)
        yield timed


@pytest.mark.parametrize(
    ("fp32", "bf16", "chosen"),
    [(1.0, 0.5, "bf16"), (1.0, 2.0, "fp32"), (1.0, 0.95, "fp32"), (0.001, 0.0001, "fp32")],
)
def test_auto_takes_bf16_where_steps_are_clearly_faster_in_it(
    fp32: float,
    bf16: float,
    chosen: str,
    choose: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with taking(monkeypatch, fp32=fp32, bf16=bf16):
        assert choose() == chosen


def test_what_was_chosen_is_remembered_for_the_same_plan(
    choose: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with taking(monkeypatch, fp32=1.0, bf16=0.5):
        assert choose() == "bf16"
    with taking(monkeypatch, fp32=1.0, bf16=2.0) as timed:
        assert choose() == "bf16"
        assert not timed
        assert choose(tuned=()) == "fp32", "the forward pass alone is another question"


def test_without_bf16_instructions_nothing_is_timed(
    choose: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "bf16_instructions", lambda: None)
    with taking(monkeypatch) as timed:
        assert choose() == "fp32"
    assert not timed


def test_the_timed_steps_leave_no_trace() -> None:
    network = small_network().eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    assert precision._faster_precision(
        network, TUNED, {"pixel_values": torch.randn(4, 3, 32, 32)}
    ) in (
        "fp32",
        "bf16",
    )
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None for parameter in network.parameters())


def test_the_launcher_comes_before_auto_and_after_the_recipe(
    choose: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setattr(precision, "bf16_instructions", lambda: None)
    assert choose() == "bf16"
    assert choose("fp32") == "fp32"


@pytest.mark.parametrize("launched", ["bf16", "fp8", ""])
def test_a_run_computes_in_what_the_recipe_says_whatever_the_launcher_says(
    launched: str, make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    def trained() -> torch.Tensor:
        network = small_network()
        tune(make_context(network, whole(network, epochs=1)))
        return torch.cat([parameter.detach().flatten() for parameter in network.parameters()])

    plain = trained()
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", launched)
    assert torch.equal(plain, trained())


@pytest.mark.parametrize("damaged", [b"fp16", b"\xff\xfe\x00", b""])
def test_what_is_remembered_wrongly_is_chosen_again(
    damaged: bytes,
    choose: Callable[..., str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with taking(monkeypatch, fp32=1.0, bf16=0.5):
        choose()
    (remembered,) = (tmp_path / "precision").iterdir()
    remembered.write_bytes(damaged)
    with taking(monkeypatch, fp32=0.5, bf16=1.0):
        assert choose() == "fp32"
    assert remembered.read_bytes() == b"fp32"


def test_fp16_needs_a_gpu(choose: Callable[..., str]) -> None:
    with pytest.raises(HeadstartError, match="fp16 needs a GPU; found cpu"):
        choose("fp16")


@pytest.mark.parametrize(
    ("size", "stride", "bias"), [(5, 1, True), (3, 2, False), (5, 2, False), (3, 1, False)]
)
def test_gradients_of_depthwise_convolutions_are_those_of_fp32_on_rounded_numbers(
    size: int, stride: int, bias: bool
) -> None:
    torch.manual_seed(0)
    layer = nn.Conv2d(8, 8, size, stride, size // 2, groups=8, bias=bias)
    inputs = torch.randn(2, 8, 12, 12)

    def found(eased: bool, dtype: torch.dtype | None) -> list[torch.Tensor]:
        given = inputs.clone().requires_grad_()
        layer.zero_grad()
        with torch.autocast("cpu", dtype, enabled=dtype is not None):
            outputs = _within(layer, given) if eased else layer(given)
        outputs.float().square().sum().backward()
        assert given.grad is not None
        return [
            outputs,
            given.grad,
            *(
                parameter.grad.clone()
                for parameter in layer.parameters()
                if parameter.grad is not None
            ),
        ]

    plain, ours, exact = (
        found(False, torch.bfloat16),
        found(True, torch.bfloat16),
        found(False, None),
    )
    assert torch.equal(plain[0], ours[0])
    assert len(ours) == len(exact) == 3 + bias
    for mine, theirs, true in zip(ours[1:], plain[1:], exact[1:], strict=True):
        assert mine.dtype == torch.float32
        assert mine.shape == true.shape
        assert (mine - true).norm() <= 1.5 * (theirs - true).norm() + 1e-6
        assert (mine - true).norm() < 0.02 * true.norm()


def _within(layer: nn.Module, inputs: torch.Tensor) -> torch.Tensor:
    with DepthwiseGradients():
        return layer(inputs)
