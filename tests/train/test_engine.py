"""The engine's contracts: what is frozen does not move, what trains does, and equal seeds give
equal networks."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from headstart.errors import HeadstartError
from headstart.evaluate.events import Event
from headstart.evaluate.results import Epoch
from headstart.models.blocks import Blocks
from headstart.models.image_preprocessor import POLICIES, ImagePreprocessor
from headstart.runtime import threads
from headstart.train import loader
from headstart.train.engine import tune
from headstart.train.estimate import seconds_per_epoch
from headstart.train.forward import logits
from headstart.transfer.plan import Phase, Plan

from .conftest import MakeContext, encode, examples, small_network, whole


def state(network: Any) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in network.net.state_dict().items()}


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in after.items() if not torch.equal(before[name], value)}


@pytest.mark.parametrize("name", ["test_resnet", "test_efficientnet", "test_vit"])
@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_frozen_blocks_are_bit_identical_batchnorm_statistics_included(
    name: str, optimizer: str, make_context: MakeContext
) -> None:
    network = small_network(name)
    before = state(network)
    names = Blocks(network).names
    open_blocks = names[-2:]
    plan = Plan("partial", (Phase("top", dict.fromkeys(open_blocks, 0.1), 2),))
    tune(make_context(network, plan, selection=None, optimizer=optimizer, weight_decay=0.1))
    parameters = {parameter for block in open_blocks for parameter in network.partition[block]}
    after = moved(before, state(network))
    assert parameters <= after
    modules = {parameter.rpartition(".")[0] for parameter in parameters}
    assert {name for name in after - parameters if name.rpartition(".")[0] not in modules} == set()


def test_each_phase_opens_its_blocks_and_no_others(make_context: MakeContext) -> None:
    """A second phase trains what the first one froze, and freezes what it trained."""
    network = small_network("test_vit")
    names = Blocks(network).names
    states = [state(network)]
    for phase in (Phase("head", {"head": 0.1}, 1), Phase("stem", {"stem": 0.1}, 1)):
        tune(make_context(network, Plan("one", (phase,)), selection=None))
        states.append(state(network))
    twice = small_network("test_vit")
    rows: list[Event] = []
    plan = Plan("two", (Phase("head", {"head": 0.1}, 1), Phase("stem", {"stem": 0.1}, 1)))
    history = tune(make_context(twice, plan, selection=None, on_event=rows.append))
    assert moved(states[0], states[1]) == set(network.partition["head"])
    assert moved(states[1], states[2]) == set(network.partition["stem"])
    assert moved(states[0], state(twice)) == {
        *network.partition["head"],
        *network.partition["stem"],
    }
    assert [(row.phase, row.epoch, set(row.lr)) for row in history.epochs] == [
        (1, 1, {"head"}),
        (2, 1, {"stem"}),
    ]
    assert names[0] == "stem"
    assert all(parameter.grad_fn is None for parameter in twice.parameters())


def test_two_runs_with_one_seed_are_equal_and_another_seed_is_not(
    make_context: MakeContext,
) -> None:
    found = []
    for seed in (3, 3, 4):
        network = small_network("test_resnet")
        tune(make_context(network, seed=seed))
        found.append(state(network))
    assert moved(found[0], found[1]) == set()
    assert moved(found[0], found[2])


@pytest.mark.parametrize("workers", [0, 2])
def test_loader_workers_and_accumulation_change_nothing(
    workers: int, make_context: MakeContext
) -> None:
    """On a network without BatchNorm; 20 examples make the last batch an uneven one."""
    networks = [small_network("test_vit") for _ in range(2)]
    tune(make_context(networks[0], selection=None))
    tune(make_context(networks[1], selection=None, workers=workers, accumulation=4))
    for (name, one), other in zip(
        state(networks[0]).items(), state(networks[1]).values(), strict=True
    ):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6, msg=name)


def test_rates_are_the_plans_at_every_step(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[dict[str, float]] = []
    original = torch.optim.SGD.step

    def spy(self: Any, *args: Any, **kwargs: Any) -> Any:
        seen.append({group["block"]: group["lr"] for group in self.param_groups})
        return original(self, *args, **kwargs)

    monkeypatch.setattr(torch.optim.SGD, "step", spy)
    network = small_network("test_vit")
    plan = Plan("p", (Phase("p", {"stem": 0.01, "head": 0.1}, 2),))
    tune(make_context(network, plan, selection=None, schedule="linear"))
    assert [row["stem"] for row in seen] == pytest.approx(
        [0.01 * (1 - step / 6) for step in range(6)]
    )
    assert [row["head"] for row in seen] == pytest.approx(
        [0.1 * (1 - step / 6) for step in range(6)]
    )


def test_the_best_epoch_is_kept(make_context: MakeContext) -> None:
    """A rate that wrecks the network in the second epoch: the weights of the first one stand in the
    end."""
    network = small_network("test_resnet")
    plan = Plan(
        "p",
        (
            Phase("good", dict.fromkeys(Blocks(network).names, 0.05), 1),
            Phase("bad", {"head": 50.0}, 1),
        ),
    )
    rows: list[Event] = []
    context = make_context(network, plan, train=60, selection=30, on_event=rows.append)
    history = tune(context)
    accuracies = [row.selection("accuracy") for row in history.epochs]
    assert accuracies[0] is not None
    assert accuracies[1] is not None
    assert accuracies[0] > accuracies[1]
    assert history.kept == Epoch(phase=1, epoch=1)
    assert context.selection is not None
    again = logits(context, context.selection)
    assert np.mean(again.argmax(1) == context.selection.labels) == pytest.approx(accuracies[0])
    assert history.examples_per_second
    assert {row.kind for row in rows} == {"step", "epoch"}


def test_a_loss_that_is_no_number_stops_the_run(make_context: MakeContext) -> None:
    network = small_network("test_vit")
    with pytest.raises(HeadstartError, match=r"the loss is (nan|inf) at step .* Lower train\.lr"):
        tune(make_context(network, whole(network, lr=1e30, epochs=3), selection=None))


def test_sharded_launchers_are_refused(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ACCELERATE_USE_FSDP", "true")
    network = small_network()
    with pytest.raises(HeadstartError, match="asks for FSDP"):
        tune(make_context(network))


def test_an_estimate_leaves_the_network_alone(make_context: MakeContext) -> None:
    network = small_network("test_resnet")
    before = state(network)
    context = make_context(network, train=64)
    assert seconds_per_epoch(context, context.plan.phases[0]) > 0
    assert moved(before, state(network)) == set()


def test_mixed_precision_is_taken_off_again(make_context: MakeContext) -> None:
    network = small_network("test_resnet")
    tune(replace(make_context(network), precision="bf16"))
    fresh = small_network("test_resnet")
    fresh.net.load_state_dict(network.net.state_dict())
    pixels = torch.randn(2, 3, 32, 32)
    first, second = (net.eval()(pixel_values=pixels) for net in (network, fresh))
    assert torch.equal(first, second), "autocast is still in the way"


def test_evaluation_gives_each_example_its_row_and_keeps_the_mode(
    make_context: MakeContext,
) -> None:
    network = small_network("test_resnet").train()
    context, many = make_context(network), examples(150)
    found = logits(context, many)
    assert network.training
    network.eval()
    with torch.inference_mode():
        alone = network(pixel_values=encode(many.items[149])["pixel_values"][None]).numpy()
    assert found.shape == (150, 3)
    np.testing.assert_allclose(found[149:], alone, rtol=1e-4, atol=1e-5)
    assert logits(context, examples(0)).shape == (0, 3)


@pytest.mark.parametrize("policy", POLICIES)
def test_augmentation_depends_on_its_seed_alone(policy: str, photos: Any) -> None:
    preprocessing = small_network().spec.preprocessing
    preprocessor = ImagePreprocessor(preprocessing, policy)
    path = str(next((photos / "train").rglob("*.png")))
    torch.manual_seed(0)
    first = preprocessor(path, 5)["pixel_values"]
    state_before = torch.random.get_rng_state()
    assert torch.equal(preprocessor(path, 5)["pixel_values"], first)
    assert torch.equal(torch.random.get_rng_state(), state_before)
    assert first.shape == (3, 32, 32)
    plain = preprocessor(path)["pixel_values"]
    assert torch.equal(plain, preprocessor(path)["pixel_values"])
    assert torch.equal(preprocessor(path, 6)["pixel_values"], first) == (policy == "none")


def test_bytes_are_normalised_by_the_network(photos: Any) -> None:
    network = small_network().eval()
    preprocessor = network.preprocessor("crop_flip")
    path = str(next((photos / "train").rglob("*.png")))
    pixels = preprocessor.collate([preprocessor(path, 5)])["pixel_values"]
    assert pixels.dtype == torch.uint8
    own = network.spec.preprocessing
    mean, std = (torch.tensor(values).reshape(3, 1, 1) for values in (own.mean, own.std))
    with torch.inference_mode():
        floats = (pixels / 255 - mean) / std
        torch.testing.assert_close(network(pixel_values=pixels), network(pixel_values=floats))
    assert not any(
        "mean" in name or "std" in name for name in network.state_dict() if "running" not in name
    )


def test_what_was_decoded_before_is_augmented_as_the_file_is(photos: Any) -> None:
    preprocessor = small_network().preprocessor("classic")
    path = str(next((photos / "train").rglob("*.png")))
    array = preprocessor.decoded(path)  # type: ignore[attr-defined]
    assert torch.equal(
        preprocessor(array, 5)["pixel_values"], preprocessor(path, 5)["pixel_values"]
    )


def test_large_pictures_are_decoded_no_larger_than_a_crop_needs(tmp_path: Path) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    preprocessor = small_network().preprocessor("crop_flip")  # of 32 pixels, so 64 will do
    for name in ("large.jpg", "large.png"):
        Image.fromarray(noise).resize((800, 600), Image.Resampling.BICUBIC).save(tmp_path / name)
        found = preprocessor.decoded(str(tmp_path / name))  # type: ignore[attr-defined]
        assert 64 <= min(found.shape[:2]) < 128
        whole = (
            Image.open(tmp_path / name)
            .convert("RGB")
            .resize(found.shape[1::-1], Image.Resampling.BOX)
        )
        assert np.abs(found.astype(float) - np.asarray(whole)).mean() < 3
    Image.fromarray(noise).save(tmp_path / "small.png")
    assert np.array_equal(preprocessor.decoded(str(tmp_path / "small.png")), noise)  # type: ignore[attr-defined]


def test_workers_follow_recipe_then_cores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "cores", lambda: 16)
    assert loader.loader_workers(3, torch.device("cpu")) == 3
    assert loader.loader_workers("auto", torch.device("cpu")) == 0
    assert loader.loader_workers("auto", torch.device("cuda")) == 15
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "8")
    assert loader.loader_workers("auto", torch.device("cuda")) == 1
