from __future__ import annotations

import pytest
import torch
from torch import nn

from headstart.errors import HeadstartError
from headstart.train import precision
from headstart.train.precision import choose_precision

CPU = torch.device("cpu")
PLAIN = nn.Conv2d(3, 8, 3)
DEPTHWISE = nn.Sequential(nn.Conv2d(8, 8, 3, groups=8))


def test_auto_takes_bf16_where_the_processor_is_fast_in_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ACCELERATE_MIXED_PRECISION", raising=False)
    monkeypatch.setattr(precision, "_fast_bf16_cpu", lambda: True)
    assert choose_precision("auto", PLAIN, CPU) == "bf16"
    assert choose_precision("auto", DEPTHWISE, CPU) == "fp32"
    assert choose_precision("fp32", PLAIN, CPU) == "fp32"
    monkeypatch.setattr(precision, "_fast_bf16_cpu", lambda: False)
    assert choose_precision("auto", PLAIN, CPU) == "fp32"


def test_the_launcher_comes_before_auto_and_after_the_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ACCELERATE_MIXED_PRECISION", "bf16")
    monkeypatch.setattr(precision, "_fast_bf16_cpu", lambda: False)
    assert choose_precision("auto", PLAIN, CPU) == "bf16"
    assert choose_precision("fp32", PLAIN, CPU) == "fp32"


def test_fp16_needs_a_gpu() -> None:
    with pytest.raises(HeadstartError, match="fp16 needs a GPU; found cpu"):
        choose_precision("fp16", PLAIN, CPU)
