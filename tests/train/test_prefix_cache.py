"""Training that begins above frozen blocks is the training of the whole network."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headstart.data.dataset import Dataset, Examples
from headstart.evaluate.events import Event, Extracting
from headstart.models.blocks import Blocks
from headstart.models.network import Network
from headstart.models.text import text_network
from headstart.recipe import Augment, Model
from headstart.train import prefix_cache
from headstart.train.context import Context
from headstart.train.engine import tune
from headstart.train.prefix_cache import frozen_prefix
from headstart.transfer.plan import Phase, Plan
from tests.conftest import reviews
from tests.train.conftest import MakeContext, Pixels, small_network


class Same(Pixels):
    """Makes the same of an example whatever the seed."""

    def __call__(self, item: str, seed: int | None = None) -> dict[str, torch.Tensor]:
        return super().__call__(item)


@pytest.fixture
def unvaried(make_context: MakeContext) -> MakeContext:
    """Makes contexts in which an example looks the same each time."""

    def make(network: Network, plan: Plan | None = None, **options: Any) -> Context:
        if network.spec.kind == "text":
            options |= {"train": texts().train, "preprocessor": None}
        else:
            options["preprocessor"] = Same()
        return make_context(network, plan, augment=Augment(policy="none"), **options)

    return make


def varied(context: Context) -> Context:
    """The same, for all that it knows of its preprocessor."""
    augment = Augment(policy="crop_flip")
    return replace(context, recipe=context.recipe.model_copy(update={"augment": augment}))


def texts() -> Dataset:
    found, labels = zip(*reviews(24, seed=1), strict=True)
    contents = tuple(hashlib.sha256(text.encode()).digest() for text in found)
    part = Examples(found, np.array([int(label == "pos") for label in labels]), found, contents)
    return Dataset(("neg", "pos"), part, None, part)


def made(name: str, bert: Path) -> Network:
    if name != "bert":
        return small_network(name)
    torch.manual_seed(0)
    return text_network(Model(backbone=str(bert)), texts(), pretrained=True)[0]


def last(network: Network, blocks: int, epochs: int = 2) -> Phase:
    return Phase("last", dict.fromkeys(Blocks(network).names[-blocks:], 0.01), epochs)


@pytest.mark.parametrize("blocks", [1, 2])  # that train
@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit", "bert"])
def test_the_weights_are_those_of_the_whole_network(
    name: str, blocks: int, bert: Path, unvaried: MakeContext
) -> None:
    told: list[Event] = []
    entered, whole = made(name, bert), made(name, bert)
    phase = last(entered, blocks)
    plan = Plan("p", (phase,))
    context = unvaried(entered, plan, selection=None, on_event=told.append)
    tune(context)
    assert any(isinstance(event, Extracting) for event in told)
    assert frozen_prefix(context, phase) is not None
    tune(varied(unvaried(whole, plan, selection=None)))
    for (key, one), other in zip(
        entered.net.state_dict().items(), whole.net.state_dict().values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5, msg=key)


def test_a_step_runs_only_what_is_above(bert: Path, unvaried: MakeContext) -> None:
    network = made("bert", bert)
    context = unvaried(network)
    found = frozen_prefix(context, last(network, 2))
    assert found is not None
    layers = [
        module
        for name, module in network.net.named_modules()
        if name.endswith(("layer.0", "layer.1"))
    ]
    rows = [5, 17, 2]
    inputs = context.preprocessor.collate(
        [context.preprocessor(context.train.items[row]) for row in rows]
    )
    calls: list[Any] = []
    inner = [next(iter(layer.children())) for layer in layers]
    hooks = [
        module.register_forward_hook(lambda module, *_: calls.append(module)) for module in inner
    ]
    with torch.no_grad():
        whole = network(**inputs)
        assert len(calls) == len(layers)
        with found.entered(torch.tensor(rows)):
            torch.testing.assert_close(network(**inputs), whole, rtol=1e-4, atol=1e-5)
        assert len(calls) < 2 * len(layers)
        torch.testing.assert_close(network(**inputs), whole, rtol=0, atol=0)
    for hook in hooks:
        hook.remove()


def test_begun_anew_it_is_the_same_to_the_bit(bert: Path, unvaried: MakeContext) -> None:
    network = made("bert", bert)
    context = unvaried(network)
    one, other = (frozen_prefix(context, last(network, 2)) for _ in range(2))
    assert one is not None
    assert other is not None
    assert all(torch.equal(one._made[row], other._made[row]) for row in range(len(context.train)))


def test_the_whole_network_runs_where_it_would_not_pay_or_not_be_the_same(
    unvaried: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = small_network("test_vit")
    context = unvaried(network)
    assert frozen_prefix(context, last(network, 2)) is not None
    assert frozen_prefix(context, last(network, 2, epochs=1)) is None
    assert frozen_prefix(context, last(network, len(Blocks(network).names))) is None
    assert frozen_prefix(varied(context), last(network, 2)) is None
    with monkeypatch.context() as patch:
        patch.setattr(prefix_cache, "SHARE", 10**12)
        assert frozen_prefix(context, last(network, 2)) is None
    network.features = lambda pixel_values: pixel_values.mean((2, 3)).repeat(1, 64)[:, :64]  # type: ignore
    assert frozen_prefix(context, last(network, 2)) is None
