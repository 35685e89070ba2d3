"""Attributions where the right answer is known: a bright square that alone decides, a word that
alone decides."""

from __future__ import annotations

from pathlib import Path

import pytest
import timm
import torch
from torch import Tensor, nn

from headstart.models.attribution import grad_cam, integrated_gradients
from headstart.models.text import text_network
from headstart.recipe import Model
from tests.models.test_text import texts


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext"])
def test_maps_have_the_size_of_the_image_and_leave_the_network_alone(name: str) -> None:
    torch.manual_seed(0)
    net = timm.create_model(name, num_classes=3).eval()
    net.requires_grad_(False)
    size = net.pretrained_cfg["input_size"][-1]
    pixels = torch.randn(2, 3, size, size)
    before = net(pixels)
    found = grad_cam(net, pixels, torch.tensor([0, 2]))
    assert found.shape == (2, size, size)
    assert found.min() >= 0
    assert found.max() <= 1
    assert found.amax((1, 2)).max() == pytest.approx(1)
    torch.testing.assert_close(net(pixels), before)
    assert all(parameter.grad is None for parameter in net.parameters())


class Bright(nn.Module):
    """Class 1 is as likely as the picture is bright."""

    num_features = 1

    def forward_features(self, pixels: Tensor) -> Tensor:
        return nn.functional.avg_pool2d(pixels.mean(1, keepdim=True), 8)

    def forward_head(self, maps: Tensor) -> Tensor:
        bright = maps.mean((1, 2, 3))
        return torch.stack([-bright, bright], dim=1)


def test_what_decides_is_what_lights_up() -> None:
    pixels = torch.zeros(1, 3, 64, 64)
    pixels[..., 8:24, 40:56] = 1
    found = grad_cam(Bright(), pixels, torch.tensor([1]))[0]
    assert found[12:20, 44:52].min() == 1, "away from its edges, which are interpolated"
    assert found[40:, :32].max() == 0
    assert grad_cam(Bright(), pixels, torch.tensor([0])).max() == 0, (
        "nothing speaks for the other class"
    )


def test_tokens_are_credited_with_the_whole_difference(bert: Path) -> None:
    torch.manual_seed(0)
    network = text_network(Model(backbone=str(bert)), texts(), True)[0].eval()
    preprocessor = network.preprocessor()
    inputs = preprocessor.collate([preprocessor("good film bad plot"), preprocessor("good")])
    found = network.attribute(inputs, torch.tensor([1, 1]))
    assert found is not None
    assert found.shape == inputs["input_ids"].shape
    assert not found[inputs["attention_mask"] == 0].any()
    words = network.net.get_submodule("encoder").get_input_embeddings()  # type: ignore[operator]
    with torch.no_grad():
        whole = network(**inputs)[:, 1]
        hook = words.register_forward_hook(lambda module, given, made: torch.zeros_like(made))
        nothing = network(**inputs)[:, 1]
        hook.remove()
    # padding is left out of what is credited
    assert found[0].sum().item() == pytest.approx((whole - nothing)[0].item(), abs=0.02)


def test_the_word_that_decides_is_credited() -> None:
    words = nn.Embedding(10, 4)
    with torch.no_grad():
        words.weight.zero_()
        words.weight[7, 0] = 2.0

    def logits(input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        total = words(input_ids)[..., 0].sum(1)
        return torch.stack([-total, total], dim=1)

    inputs = {
        "input_ids": torch.tensor([[3, 7, 5]]),
        "attention_mask": torch.ones(1, 3, dtype=torch.long),
    }
    assert integrated_gradients(logits, words, inputs, torch.tensor([1])).tolist() == [
        pytest.approx([0, 2, 0])
    ]


def test_pieces_put_together_are_the_text(bert: Path) -> None:
    preprocessor = text_network(Model(backbone=str(bert)), texts(), True)[0].preprocessor()
    text = "good  film,\tbad plot!"
    pieces = preprocessor.pieces(text)
    assert "".join(pieces) == text
    assert len(pieces) == preprocessor.collate([preprocessor(text)])["input_ids"].shape[1]
    assert pieces[0] == pieces[-1] == ""
