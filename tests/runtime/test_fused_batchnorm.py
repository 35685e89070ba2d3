"""A network whose BatchNorm has gone into its convolutions says what it said before."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from headstart.models.network import Network
from headstart.runtime.fused_batchnorm import fused_batchnorm
from tests.train.conftest import small_network


def norms(modules: Iterable[nn.Module]) -> list[nn.Module]:
    return [module for module in modules if isinstance(module, nn.BatchNorm2d)]


def lived(network: Network) -> Network:
    """With statistics as training leaves them."""
    for norm in norms(network.modules()):
        assert isinstance(norm, nn.BatchNorm2d)
        for values in (norm.running_mean, norm.running_var, norm.weight.data, norm.bias.data):
            assert values is not None
            values.uniform_(0.5, 2)
    return network.eval()


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet"])
def test_it_has_the_same_features_and_no_norms(name: str) -> None:
    network = lived(small_network(name))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    fast, pixels = network.for_inference(), torch.randint(0, 255, (3, 3, 32, 32), dtype=torch.uint8)
    assert norms(network.modules())
    assert not norms(fast.modules())
    with torch.inference_mode():
        torch.testing.assert_close(
            fast.features(pixel_values=pixels),
            network.features(pixel_values=pixels),
            rtol=1e-3,
            atol=1e-4,
        )
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())


def test_it_follows_the_weights() -> None:
    network = lived(small_network("test_resnet"))
    pixels = torch.randint(0, 255, (3, 3, 32, 32), dtype=torch.uint8)
    first = network.for_inference()
    for parameter in network.parameters():
        parameter.data *= 1.1
    with torch.inference_mode():
        whole = network.features(pixel_values=pixels)
        assert not torch.allclose(first.features(pixel_values=pixels), whole, rtol=1e-2)
        torch.testing.assert_close(
            network.for_inference().features(pixel_values=pixels), whole, rtol=1e-3, atol=1e-4
        )


def test_nothing_draws_and_the_mode_stays() -> None:
    network = small_network("test_resnet").train()
    drawn = torch.random.get_rng_state()
    network.for_inference()
    assert torch.equal(torch.random.get_rng_state(), drawn)
    assert network.training
    assert network.net.training


def test_a_network_without_norms_is_left_as_it_is() -> None:
    network = small_network("test_vit")
    assert network.for_inference() is network


class Odd(nn.Module):
    """Something else than its norm reads what the convolution makes."""

    def __init__(self, twice: bool) -> None:
        super().__init__()
        self.convolution, self.twice = nn.Conv2d(3, 4, 3), twice
        self.one, self.other = nn.BatchNorm2d(4), nn.BatchNorm2d(4)
        for norm in (self.one, self.other):
            norm.running_mean.uniform_(1, 2)  # type: ignore[union-attr]

    def forward(self, pixels: Tensor) -> Any:
        made = self.convolution(pixels)
        return self.one(made) + (self.other(made) if self.twice else made)


@pytest.mark.parametrize("twice", [False, True])
def test_what_others_read_as_well_is_left_alone(twice: bool) -> None:
    net = Odd(twice).eval()
    assert fused_batchnorm(net, torch.randn(2, 3, 8, 8)) is net


def test_a_convolution_with_a_bias_keeps_it() -> None:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1), nn.BatchNorm2d(2, affine=False)
    ).eval()
    net[1].running_mean.uniform_(-1, 1)  # type: ignore[union-attr, operator]
    pixels = torch.randn(2, 3, 8, 8)
    fast = fused_batchnorm(net, pixels)
    assert not norms(fast.modules())
    with torch.no_grad():
        torch.testing.assert_close(fast(pixels), net(pixels), rtol=1e-4, atol=1e-5)
