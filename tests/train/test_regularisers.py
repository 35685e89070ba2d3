"""Losses, mixing, balance, averages, distance from the start, stopping: each against what its
definition says."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from sklearn.metrics import (
    balanced_accuracy_score,
    f1_score,
    log_loss,
    matthews_corrcoef,
    roc_auc_score,
)
from torch import Tensor, nn

from headstart.evaluate.metrics import metrics, softmax
from headstart.evaluate.results import EpochRecord
from headstart.models.blocks import Blocks
from headstart.models.image_preprocessor import ImagePreprocessor
from headstart.models.spec import Origin
from headstart.recipe import Augment, Train, Transfer
from headstart.runtime.machine import Shard
from headstart.train.average import MovingAverage, towards_start
from headstart.train.decoded_cache import DecodedCache
from headstart.train.engine import tune
from headstart.train.epochs import epochs_since_best, overfitting
from headstart.train.loader import TrainingSet
from headstart.train.loss import L2SP, Loss, balanced
from headstart.train.sampling import Batches, SampleSpec
from headstart.transfer.plan import Phase, Plan

from .conftest import MakeContext, encode, examples, small_network
from .conftest import whole as at_one_rate

CPU = torch.device("cpu")


def by_definition(
    logits: Tensor, labels: Tensor, gamma: float, smoothing: float, weights: np.ndarray | None
) -> list[float]:
    found = []
    for row, label in zip(logits.double(), labels, strict=True):
        p = row.softmax(0)
        shares = label.double() if label.ndim else torch.eye(len(row), dtype=torch.double)[label]
        total = 0.0
        for c in range(len(row)):
            share = (1 - smoothing) * shares[c] + smoothing / len(row)
            weight = 1.0 if weights is None else weights[c]
            total -= float(weight * share * (1 - p[c]) ** gamma * p[c].log())
        found.append(total)
    return found


@pytest.mark.parametrize("gamma", [0.0, 2.0])
@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("weights", [None, np.array([1.0, 2.0, 0.5])])
@pytest.mark.parametrize("soft", [False, True])
def test_losses_are_those_of_their_definition(
    gamma: float, smoothing: float, weights: np.ndarray | None, soft: bool
) -> None:
    torch.manual_seed(0)
    logits, labels = torch.randn(6, 3), torch.tensor([0, 1, 2, 2, 1, 0])
    if soft:
        labels = torch.rand(6, 3).softmax(1)
    asked = {
        "loss": {"name": "focal", "gamma": gamma} if gamma else "cross_entropy",
        "label_smoothing": smoothing,
    }
    found = Loss(Train.model_validate(asked), weights, CPU)(logits, labels)
    assert found.tolist() == pytest.approx(
        by_definition(logits, labels, gamma, smoothing, weights), rel=1e-5
    )


def test_balanced_weights_give_each_class_the_same_part() -> None:
    labels = np.array([0] * 90 + [1] * 9 + [2])
    weights = balanced(labels, 3)
    assert [weights[c] * np.sum(labels == c) for c in range(3)] == pytest.approx([100 / 3] * 3)
    assert weights[labels].mean() == pytest.approx(1)


@pytest.mark.parametrize("name", metrics.names())
def test_metrics_are_scikit_learns(name: str) -> None:
    random = np.random.default_rng(0)
    truth, logits = (
        np.repeat(np.arange(3), [40, 15, 5]),
        random.normal(0, 1, (60, 3)).astype(np.float32),
    )
    logits[np.arange(60), truth] += 1
    guess, p = logits.argmax(1), softmax(logits)
    expected = {
        "accuracy": np.mean(guess == truth),
        "balanced_accuracy": balanced_accuracy_score(truth, guess),
        "macro_f1": f1_score(truth, guess, average="macro"),
        "matthews": matthews_corrcoef(truth, guess),
        "auroc": roc_auc_score(truth, p, multi_class="ovr"),
        "loss": -log_loss(truth, p),
    }
    assert metrics.get(name)(truth, logits) == pytest.approx(expected[name], rel=1e-6)


def picks(batches: Batches, epoch: int = 0) -> list[list[SampleSpec]]:
    batches.epoch = epoch
    return list(batches)


def test_balanced_sampling_draws_each_class_equally_often() -> None:
    labels = np.array([0] * 900 + [1] * 90 + [2] * 10)
    drawn = [pick for batch in picks(Batches(1000, 50, 1, 0, 0, balance=labels)) for pick in batch]
    assert len(drawn) == 1000
    assert np.bincount(labels[[pick.row for pick in drawn]]) == pytest.approx([333] * 3, abs=60)
    twice = [pick.seed for pick in drawn if pick.row == 995]
    assert len(twice) > 10
    assert len(set(twice)) == len(twice), "an example that comes again looks different"


@pytest.mark.parametrize(("world", "accumulation"), [(1, 4), (2, 1), (2, 2), (3, 1)])
@pytest.mark.parametrize(
    "augment", [Augment(mixup=0.4), Augment(cutmix=1.0), Augment(mixup=0.2, cutmix=1.0)]
)
def test_partners_and_shares_belong_to_the_example_not_to_the_split(
    augment: Augment, world: int, accumulation: int
) -> None:
    def all_of(world: int, accumulation: int) -> dict[tuple[int, int], SampleSpec]:
        found = {}
        for rank in range(world):
            batches = Batches(40, 8, accumulation, 3, 1, Shard(rank, world), mixing=augment)
            for number, part in enumerate(picks(batches, epoch=2)):
                found |= {(number // accumulation, pick.row): pick for pick in part if pick.weight}
        return found

    one = all_of(1, 1)
    assert one == all_of(world, accumulation)
    partners = [pick.partner for pick in one.values()]
    assert all(
        partner and partner.row != pick.row
        for pick, partner in zip(one.values(), partners, strict=True)
    )
    assert {partner.how for partner in partners if partner} == {
        key for key in ("mixup", "cutmix") if getattr(augment, key)
    }
    assert 0.2 < np.mean([partner.share for partner in partners if partner]) < 0.8


def test_partners_of_a_batch_are_in_one_part_where_its_size_allows() -> None:
    part = picks(Batches(64, 16, 4, 0, 0, mixing=Augment(mixup=1.0)))[0]
    rows = {pick.row for pick in part}
    assert all(pick.partner and pick.partner.row in rows for pick in part)


@pytest.mark.parametrize("how", ["mixup", "cutmix"])
def test_mixed_images_hold_the_shares_that_their_labels_say(how: str) -> None:
    preprocessor = ImagePreprocessor(small_network().spec.preprocessing)
    one, other = {"pixel_values": torch.zeros(3, 20, 30)}, {"pixel_values": torch.ones(3, 20, 30)}
    shares = []
    for seed in range(60):
        mixed, share = preprocessor.mix(one, other, how, 0.7, seed)
        assert mixed["pixel_values"].mean().item() == pytest.approx(1 - share, abs=1e-6)
        shares.append(share)
        again, _ = preprocessor.mix(one, other, how, 0.7, seed)
        assert torch.equal(again["pixel_values"], mixed["pixel_values"])
    assert one["pixel_values"].sum() == 0
    assert 0.69 < np.mean(shares) < 0.9
    assert (len(set(shares)) == 1) == (how == "mixup")


def test_labels_are_mixed_as_the_inputs_are() -> None:
    class Mixing(type(encode)):  # type: ignore[misc]
        def mix(self, one: Any, other: Any, how: str, share: float, seed: int) -> tuple[Any, float]:
            return {key: share * one[key] + (1 - share) * other[key] for key in one}, share

    part = examples(9)
    data = TrainingSet(part, Mixing(), 3, DecodedCache(0, 0))
    (drawn, *_) = picks(Batches(9, 9, 1, 0, 0, mixing=Augment(mixup=1.0)))
    batch = data.collate(data.__getitems__(drawn))
    for pick, pixels, target in zip(drawn, batch["pixel_values"], batch["labels"], strict=True):
        assert pick.partner
        share = pick.partner.share
        own, their = (
            encode(str(pick.row), pick.seed),
            encode(str(pick.partner.row), pick.partner.seed),
        )
        torch.testing.assert_close(
            pixels, share * own["pixel_values"] + (1 - share) * their["pixel_values"]
        )
        expected = np.zeros(3)
        expected[pick.row % 3] += share
        expected[pick.partner.row % 3] += 1 - share
        assert target.tolist() == pytest.approx(expected.tolist(), abs=1e-6)


def test_a_moving_average_is_that_of_its_definition() -> None:
    net = nn.Sequential(nn.Linear(2, 2), nn.BatchNorm1d(2))
    average = MovingAverage(net, 0.9)
    expected = {name: value.double() for name, value in net.state_dict().items()}
    for step in range(1, 30):
        with torch.no_grad():
            for parameter in net.parameters():
                parameter.add_(torch.randn_like(parameter))
        net(torch.randn(4, 2))
        average.step()
        decay = min(0.9, (1 + step) / (10 + step))
        for name, value in net.state_dict().items():
            kept = (
                decay * expected[name] + (1 - decay) * value if value.is_floating_point() else value
            )
            expected[name] = kept.double()
    own = {name: value.clone() for name, value in net.state_dict().items()}
    with average.in_place():
        for name, value in net.state_dict().items():
            torch.testing.assert_close(value.double(), expected[name], rtol=1e-4, atol=1e-5)
    assert all(torch.equal(value, own[name]) for name, value in net.state_dict().items())


def whole(network: Any, epochs: int = 2) -> Plan:
    return at_one_rate(network, 0.05, epochs)


def test_the_average_is_what_is_scored_and_kept(make_context: MakeContext) -> None:
    plain, averaged = small_network("test_vit"), small_network("test_vit")
    tune(make_context(plain, whole(plain), selection=None))
    tune(make_context(averaged, whole(averaged), selection=None, ema=0.5))
    start = small_network("test_vit").net.state_dict()
    far = {
        name: float((value - start[name]).norm()) for name, value in plain.net.state_dict().items()
    }
    near = {
        name: float((value - start[name]).norm())
        for name, value in averaged.net.state_dict().items()
    }
    assert all(0 < near[name] < far[name] for name in far)


def test_averaging_with_the_start_is_a_straight_line(make_context: MakeContext) -> None:
    start = pretrained()
    first = {name: value.clone() for name, value in start.net.state_dict().items()}
    tuned, mixed = pretrained(), pretrained()
    tune(make_context(tuned, whole(tuned)))
    history = tune(make_context(mixed, whole(mixed), transfer=Transfer(wise_ft=0.25)))
    for name, value in mixed.net.state_dict().items():
        end = tuned.net.state_dict()[name]
        expected = end if name.startswith("head.") else 0.25 * end + 0.75 * first[name]
        torch.testing.assert_close(value, expected, rtol=1e-5, atol=1e-6)
    assert any(
        "0.25 of the fine-tuned weights" in note
        and "accuracy on the part that chose the epoch" in note
        for note in history.notes
    )
    net = nn.BatchNorm1d(2)
    towards_start(net, {"running_mean": torch.ones(2), "num_batches_tracked": torch.tensor(9)}, 0.5)
    assert net.running_mean is not None
    assert net.running_mean.tolist() == [0.5, 0.5]


def pretrained() -> Any:
    network = small_network("test_vit")
    origin = Origin(name="some", source="somewhere", sha256="0")
    network.spec = network.spec.model_copy(update={"pretrained": origin})
    return network


def test_l2_sp_is_half_the_strength_times_the_squared_distance() -> None:
    weight = nn.Parameter(torch.tensor([1.0, 2.0]))
    penalty = L2SP({"w": torch.tensor([0.0, 4.0])}, 0.1).of({"w": weight})
    value = penalty()
    value.backward()
    assert value.item() == pytest.approx(0.1 / 2 * (1 + 4))
    assert weight.grad is not None
    assert weight.grad.tolist() == pytest.approx([0.1 * 1, 0.1 * -2])


@pytest.mark.parametrize("accumulation", [1, 4])
def test_l2_sp_counts_once_a_step(accumulation: int, make_context: MakeContext) -> None:
    """Two steps of plain SGD: the first begins at the start, where there is no penalty; the second
    one feels it."""

    def after(epochs: int, strength: float) -> dict[str, torch.Tensor]:
        network = pretrained()
        options = {
            "momentum": 0.0,
            "schedule": "constant",
            "weight_decay": 0.0,
            "accumulation": accumulation,
        }
        plan, transfer = whole(network, epochs), Transfer(l2_sp=strength)
        tune(make_context(network, plan, train=8, selection=None, transfer=transfer, **options))
        return network.net.state_dict()

    start, one = pretrained().net.state_dict(), after(1, 0.0)
    free, pulled = after(2, 0.0), after(2, 0.5)
    for name, value in free.items():
        pull = 0.0 if name.startswith("head.") else 0.05 * 0.5 * (one[name] - start[name])
        torch.testing.assert_close(pulled[name], value - pull, rtol=1e-3, atol=2e-6)


def test_l2_sp_takes_the_place_of_weight_decay_below_the_head() -> None:
    blocks = Blocks(small_network("test_vit"))
    phase = Phase("all", dict.fromkeys(blocks.names, 0.1), 1)
    decays = {group["block"]: 0.0 for group in blocks.groups(phase, 0.3, head_only=True)}
    for group in blocks.groups(phase, 0.3, head_only=True):
        decays[group["block"]] = max(decays[group["block"]], group["weight_decay"])
    assert decays == {name: 0.3 if name == "head" else 0.0 for name in blocks.names}


def test_clipping_bounds_the_gradient(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    lengths: list[float] = []
    step = torch.optim.SGD.step

    def spied(self: Any, *args: Any, **more: Any) -> Any:
        values = [
            p.grad.norm()
            for group in self.param_groups
            for p in group["params"]
            if p.grad is not None
        ]
        lengths.append(float(torch.stack(values).norm()))
        return step(self, *args, **more)

    monkeypatch.setattr(torch.optim.SGD, "step", spied)
    for bound in (None, 0.01):
        network = small_network("test_vit")
        tune(make_context(network, whole(network), selection=None, max_grad_norm=bound))
    free, cut = lengths[: len(lengths) // 2], lengths[len(lengths) // 2 :]
    assert min(free) > 0.02
    assert max(cut) <= 0.0101


def test_frozen_statistics_stay_while_weights_train(make_context: MakeContext) -> None:
    network = small_network("test_resnet")
    before = {name: value.clone() for name, value in network.net.state_dict().items()}
    transfer = Transfer(freeze_statistics=True)
    tune(make_context(network, whole(network), selection=None, transfer=transfer))
    for name, value in network.net.state_dict().items():
        if name.rpartition(".")[2] in ("running_mean", "running_var", "num_batches_tracked"):
            assert torch.equal(value, before[name]), name
    assert not torch.equal(network.net.state_dict()["bn1.weight"], before["bn1.weight"])


def test_patience_ends_a_phase_and_not_the_run(make_context: MakeContext) -> None:
    network = small_network("test_resnet")
    names = Blocks(network).names
    plan = Plan(
        "p", (Phase("bad", {"head": 50.0}, 9), Phase("good", dict.fromkeys(names, 0.02), 3))
    )
    history = tune(make_context(network, plan, train=40, selection=30, early_stopping=2, epochs=9))
    first = [row for row in history.epochs if row.phase == 1]
    assert len(first) < 9
    assert epochs_since_best(first, "accuracy") == 2
    assert [row.phase for row in history.epochs][-1] == 2
    assert any(f"phase 1 stopped after epoch {len(first)} of 9" in note for note in history.notes)


@pytest.mark.parametrize("metric", metrics.names())
def test_the_metric_chooses_the_epoch(metric: str, make_context: MakeContext) -> None:
    network = small_network("test_resnet")
    plan = whole(network, epochs=4)
    history = tune(make_context(network, plan, train=40, selection=30, epochs=4, metric=metric))
    scores = [row.selection(metric) for row in history.epochs]
    best = min(scores) if metric == "loss" else max(scores)
    assert history.kept is not None
    assert scores[history.kept.epoch - 1] == best


def test_overfitting_is_said_in_words() -> None:
    def rows(*losses: tuple[float, float]) -> list[EpochRecord]:
        return [
            EpochRecord(phase=1, epoch=n, loss=train, selection_loss=held_out)
            for n, (train, held_out) in enumerate(losses, 1)
        ]

    said = overfitting(rows((0.9, 0.8), (0.4, 0.6), (0.1, 0.9)))
    assert said is not None
    assert "from phase 1, epoch 2 to the end the held-out loss rose from 0.600 to 0.900" in said
    assert "early_stopping" in said
    assert overfitting(rows((0.9, 0.8), (0.4, 0.6), (0.3, 0.62))) is None, "hardly any rise"
    assert overfitting(rows((0.9, 0.8), (0.8, 0.6), (0.7, 0.8))) is None, "training is no better"
    assert overfitting([EpochRecord(phase=1, epoch=1, loss=0.1)]) is None
