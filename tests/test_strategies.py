"""What every strategy owes, for images and for texts: the plan that is shown is the one that runs,
what is frozen does not move, what trains does, and a saved network gives what the trained one
gave."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from headstart.catalogue import read_recipe
from headstart.cli import main
from headstart.errors import HeadstartError
from headstart.evaluate.intervals import wilson
from headstart.models.adapters import TARGETS, merge
from headstart.runtime.machine import start
from headstart.tasks import task_of
from headstart.train.context import Context
from headstart.train.forward import logits
from headstart.train.learn import learn
from headstart.train.phase import PhaseRun
from headstart.train.prepare import prepare
from headstart.transfer.choice import FrozenFit, choose
from headstart.transfer.strategies import plan, strategies
from tests.conftest import WriteRecipe
from tests.processes import start as run_in

KINDS = ("image_classification", "text_classification")
SETTINGS: dict[str, dict[str, Any]] = {
    "partial": {"last_blocks": 2},
    "lora": {"adapters": {"rank": 2}},
}
TRAIN = {"epochs": 3, "weight_decay": 0.1, "schedule": "linear", "lr": 0.01}

Make = Callable[..., Context]


@pytest.fixture
def make(write_recipe: WriteRecipe, weights: Path) -> Make:
    def prepared(kind: str, strategy: str, **changes: Any) -> Context:
        transfer = {
            "strategy": strategy,
            **SETTINGS.get(strategy, {}),
            **changes.pop("transfer", {}),
        }
        model = {"weights": str(weights), **changes.pop("model", {})} if kind == KINDS[0] else {}
        recipe = {
            "task": kind,
            "transfer": transfer,
            "train": {**TRAIN, **changes.pop("train", {})},
            **changes,
        }
        return prepare(read_recipe(write_recipe(model=model, **recipe)), start())

    return prepared


def state(prepared: Context) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in prepared.network.net.state_dict().items()}


def moved(before: dict[str, torch.Tensor], after: dict[str, torch.Tensor]) -> set[str]:
    return {name for name, value in after.items() if not torch.equal(before[name], value)}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", strategies.names())
def test_the_plan_that_is_shown_is_the_one_that_runs(
    strategy: str, kind: str, make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepared = make(kind, strategy)
    steps: list[dict[str, float]] = []
    run, step = PhaseRun.run, torch.optim.AdamW.step

    def spied_step(self: Any, *args: Any, **more: Any) -> Any:
        steps.append({group["block"]: group["lr"] for group in self.param_groups})
        return step(self, *args, **more)

    ran: list[tuple[Any, set[str], list[dict[str, float]]]] = []

    def spied_run(self: Any) -> None:
        before = state(prepared)
        steps.clear()
        run(self)
        ran.append((self._phase, moved(before, state(prepared)), list(steps)))

    monkeypatch.setattr(torch.optim.AdamW, "step", spied_step)
    monkeypatch.setattr(PhaseRun, "run", spied_run)
    first = state(prepared)
    learn(prepared)
    shown = [phase for phase in prepared.phases if not phase.probe]
    assert len(ran) == len(shown)
    partition = prepared.network.partition
    for (phase, changed, rates), planned in zip(ran, shown, strict=True):
        assert (phase.name, dict(phase.rates), phase.epochs) == (
            planned.name,
            planned.rates,
            planned.epochs,
        )
        opened = {name for block in phase.rates for name in partition[block]}
        assert opened <= changed, "an unfreeze without effect"
        layers = {name.rpartition(".")[0] for name in opened}
        assert {
            name for name in changed - opened if name.rpartition(".")[0] not in layers
        } == set(), "frozen, yet moved"
        assert len(rates) == phase.epochs * -(-len(prepared.dataset.train) // prepared.batch_size)
        for number, found in enumerate(rates):
            assert found == pytest.approx(
                {b: r * (1 - number / len(rates)) for b, r in phase.rates.items()}
            )
    if not shown:
        assert moved(first, state(prepared)) == set(partition["head"])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("strategy", [*strategies.names(), "lora, merged"])
def test_a_saved_network_gives_what_the_trained_one_gave(
    strategy: str, kind: str, make: Make, tmp_path: Path
) -> None:
    merged = {"transfer": {"adapters": {"rank": 2, "merge": True}}} if "merged" in strategy else {}
    prepared = make(kind, strategy.split(",")[0], **merged)
    head = state(prepared)
    learn(prepared)
    network, dataset = prepared.network, prepared.dataset
    names = [name for name in head if name.startswith(f"{network.head_name}.")]
    assert names
    assert all(not torch.equal(head[name], state(prepared)[name]) for name in names), (
        "the head did not move"
    )
    network.save(tmp_path / "model")
    modality = task_of(kind, network.spec.kind).modality
    again = modality.load(tmp_path / "model", network.spec)
    ours, theirs = (
        logits(replace(prepared, network=n, precision="fp32"), dataset.test)
        for n in (network, again)
    )
    np.testing.assert_array_equal(ours, theirs)
    saved = (tmp_path / "model" / "network.safetensors").stat().st_size
    whole = sum(value.nbytes for value in network.net.state_dict().values())
    assert (saved < whole / 2) == (strategy == "lora"), "adapters and head alone"


@pytest.mark.parametrize("kind", KINDS)
def test_merging_changes_nothing_but_the_number_of_layers(
    kind: str, make: Make, tmp_path: Path
) -> None:
    plain, adapted = make(kind, "fine_tune"), make(kind, "lora")
    preprocessor = plain.network.preprocessor()
    batch = preprocessor.collate([preprocessor(item) for item in plain.dataset.test.items])

    @torch.inference_mode()
    def outputs(prepared: Context) -> np.ndarray:
        return prepared.network.eval()(**batch).numpy()

    np.testing.assert_array_equal(outputs(plain), outputs(adapted))
    learn(adapted)
    tuned = outputs(adapted)
    assert not np.allclose(tuned, outputs(plain), atol=1e-3)
    merge(adapted.network)
    np.testing.assert_allclose(outputs(adapted), tuned, rtol=1e-4, atol=1e-5)
    assert adapted.network.net.state_dict().keys() == plain.network.net.state_dict().keys()
    assert dict(adapted.network.partition) == dict(plain.network.partition)


def test_adapters_beside_other_weights_are_refused(
    make: Make, tmp_path: Path, weights: Path
) -> None:
    prepared = make(KINDS[0], "lora")
    prepared.network.save(tmp_path / "model")
    spec = prepared.network.spec
    assert spec.pretrained
    origin = spec.pretrained.model_copy(update={"sha256": "0" * 64})
    spec = spec.model_copy(update={"pretrained": origin})
    with pytest.raises(
        HeadstartError, match="holds other weights than those the adapters were trained beside"
    ):
        task_of(KINDS[0], "vision").modality.load(tmp_path / "model", spec)


def test_a_backbone_without_layers_to_adapt_says_which_it_has(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(
        HeadstartError,
        match=r"no layer of test_resnet is called 'query'; .*conv1 \(Conv2d\), conv2 \(Conv2d\)",
    ):
        make(KINDS[0], "lora", transfer={"adapters": {"targets": ["query"]}})
    monkeypatch.delitem(TARGETS, "ResNet")
    with pytest.raises(
        HeadstartError,
        match=r"there is no rule which layers of ResNet to adapt; .*name some of them",
    ):
        make(KINDS[0], "lora")
    adapted = make(KINDS[0], "lora", transfer={"adapters": {"targets": ["conv2"]}})
    assert {
        name.split(".lora_")[0].rpartition(".")[2] for name in adapted.network.partition["adapters"]
    } == {"conv2"}


def test_every_rule_names_layers_of_its_architecture() -> None:
    """As far as they can be built here without weights."""
    import timm
    import torch.nn as nn

    small = {
        "VisionTransformer": "test_vit",
        "ResNet": "test_resnet",
        "EfficientNet": "test_efficientnet",
    }
    small |= {
        "ConvNeXt": "test_convnext",
        "RegNet": "regnetx_002",
        "DenseNet": "densenet121",
        "Eva": "eva02_tiny_patch14_224",
    }
    small |= {"Beit": "beit_base_patch16_224", "SwinTransformer": "swin_tiny_patch4_window7_224"}
    small |= {
        "SwinTransformerV2": "swinv2_tiny_window8_256",
        "MobileNetV3": "mobilenetv3_small_050",
    }
    with torch.device("meta"):
        for family, name in small.items():
            net = timm.create_model(name)
            assert type(net).__name__ == family
            layers = {
                n.rpartition(".")[2]
                for n, m in net.named_modules()
                if isinstance(m, nn.Linear | nn.Conv2d)
            }
            assert layers & set(TARGETS[family]), family
    from transformers import AutoConfig, AutoModel

    texts = [family for family in TARGETS if family[0].islower()]
    assert texts
    with torch.device("meta"):
        for family in texts:
            layers = set()
            # which T5 comes in
            for form in ({"feed_forward_proj": "relu"}, {"feed_forward_proj": "gated-gelu"}):
                modules = AutoModel.from_config(
                    AutoConfig.for_model(family, **form)
                ).named_modules()
                layers |= {
                    n.rpartition(".")[2]
                    for n, m in modules
                    if type(m).__name__ in ("Linear", "Conv1D")
                }
            assert set(TARGETS[family]) <= layers, (family, layers)
    assert set(small) | set(texts) == set(TARGETS)


def test_mixing_is_the_same_over_processes_and_parts(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    """On a network without BatchNorm: 2 processes × 2 parts = 1 process × 4 parts = 1 process ×
    1."""
    found = []
    for world, accumulation in ((1, 1), (1, 4), (2, 2)):
        path = write_recipe(
            model={"backbone": "test_vit"},
            augment={"policy": "crop_flip", "mixup": 0.4, "cutmix": 1.0},
            train={
                "accumulation": accumulation,
                "optimizer": "sgd",
                "lr": 0.05,
                "label_smoothing": 0.1,
            },
            output=str(tmp_path / f"{world}x{accumulation}"),
        )
        assert run_in(path, None, world) == [0] * world
        found.append(
            load_file(tmp_path / f"{world}x{accumulation}" / "model" / "network.safetensors")
        )
    for name, value in found[0].items():
        for other in found[1:]:
            torch.testing.assert_close(other[name], value, rtol=0, atol=1e-5, msg=name)


def test_unfreezing_takes_effect_in_two_processes(
    write_recipe: WriteRecipe, weights: Path, tmp_path: Path
) -> None:
    path = write_recipe(
        model={"weights": str(weights)},
        transfer={"strategy": "gradual_unfreezing", "layer_decay": 1.0},
        data={"validation": 0.0},
        train={"epochs": 3, "lr": 0.01},
    )
    assert run_in(path, None, 2) == [0, 0]
    before, after = (
        load_file(weights),
        load_file(tmp_path / "run" / "model" / "network.safetensors"),
    )
    kept = [
        name
        for name in after
        if name in before and "fc." not in name and torch.equal(before[name], after[name])
    ]
    assert kept == []


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        (
            {"transfer": {"strategy": "gradual_unfreezing", "unfreeze_every": 2}},
            "transfer.unfreeze_every: found 2 with 2 epochs",
        ),
        ({"train": {"metric": "acuracy"}}, "unknown metric 'acuracy'; did you mean 'accuracy'"),
        ({"train": {"lr": 0.0}}, "train.lr: found 0.0; expected greater than 0"),
        ({"train": {"lr": -1.0}}, "train.lr: found -1.0; expected greater than 0"),
        (
            {"train": {"early_stopping": 2}, "data": {"validation": 0.0}},
            "so nothing says when to stop",
        ),
        ({"train": {"early_stopping": 0}}, "train.early_stopping: found 0; expected"),
        (
            {"transfer": {"strategy": "feature_extraction"}, "augment": {"mixup": 0.2}},
            "augment.mixup: found 0.2; strategy",
        ),
        (
            {"task": "text_classification", "augment": {"mixup": 0.2}},
            "augment.mixup: text_classification has examples that",
        ),
        (
            {"transfer": {"strategy": "fine_tune", "layer_decay": 0.5}},
            "belongs to strategy 'discriminative' or 'gradual_un",
        ),
        (
            {"transfer": {"strategy": "fine_tune", "adapters": {"rank": 4}}},
            "transfer.adapters belongs to strategy 'lora'",
        ),
        (
            {"transfer": {"strategy": "lora", "l2_sp": 0.1}},
            "transfer.l2_sp keeps pretrained weights",
        ),
        (
            {"transfer": {"strategy": "scratch", "wise_ft": 0.5}},
            "transfer.wise_ft keeps pretrained weights",
        ),
        ({"train": {"class_weights": {"rde": 2.0}}}, "unknown class 'rde'; did you mean 'red'"),
        ({"transfer": {"freeze_statistics": True}}, "transfer.freeze_statistics: remove it"),
        (
            {"train": {"class_weights": {"red": 0.0, "blue": 0.0}}},
            "expected at least two classes with a weight above 0",
        ),
        (
            {"transfer": {"strategy": "feature_extraction"}, "train": {"label_smoothing": 0.1}},
            "train.label_smoothing: strategy 'feature_extraction' fits this head as a whole",
        ),
        (
            {"transfer": {"strategy": "feature_extraction"}, "train": {"compile": True}},
            "train.compile: compiles steps of",
        ),
        (
            {"transfer": {"strategy": "lp_ft"}, "model": {"head": {"classifier": "SVC"}}},
            "model.head.classifier: 'SVC' is fitted on frozen features",
        ),
    ],
)
def test_bad_input_is_one_message(
    changes: dict[str, Any],
    said: str,
    write_recipe: WriteRecipe,
    weights: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if (
        changes.get("transfer", {}).get("strategy", "scratch") != "scratch"
        and "task" not in changes
    ):
        changes = {**changes, "model": {"weights": str(weights), **changes.get("model", {})}}
    with pytest.raises(SystemExit) as stopped:
        main(["run", str(write_recipe(**changes))])
    err = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said in err
    assert err.count("error:") == 1


@pytest.mark.parametrize("kind", KINDS)
def test_auto_says_what_it_chose_and_why(kind: str, make: Make) -> None:
    prepared = make(kind, "auto")
    (note,) = [note for note in prepared.dataset.notes if "strategy 'auto' chose" in note]
    chosen = prepared.recipe.transfer.strategy
    assert chosen in strategies.names()
    assert (
        f"chose {chosen}: {len(prepared.dataset.train)} training examples are little data" in note
    )
    assert prepared.plan.strategy == chosen


@pytest.mark.parametrize(
    ("choice", "name"),
    [
        ({"last_blocks": 2}, "block 3 and above"),
        ({"train": ["block 1"]}, "block 1, head"),
        ({"freeze": ["stem", "block [1-3]"]}, "block 4 and above"),
    ],
)
def test_partial_says_which_blocks_train(
    choice: dict[str, Any], name: str, write_recipe: WriteRecipe
) -> None:
    recipe = read_recipe(write_recipe(transfer={"strategy": "partial", **choice}))
    (phase,) = plan(recipe, ["stem", "block 1", "block 2", "block 3", "block 4", "head"]).phases
    assert phase.name == name


@pytest.mark.parametrize("kind", KINDS)
def test_a_strategy_does_not_stand_beside_itself(kind: str, make: Make) -> None:
    def beside(strategy: str) -> list[tuple[str, float | None]]:
        rivals = ["feature_extraction", {"name": "fine_tune", "lr": 1e-3}, "fine_tune", "scratch"]
        return [
            (one.name, one.lr)
            for one in make(
                kind, strategy, evaluate={"baselines": rivals}
            ).recipe.evaluate.baselines
        ]

    assert beside("fine_tune") == [
        ("feature_extraction", None),
        ("fine_tune", 1e-3),
        ("scratch", None),
    ]
    chosen = make(kind, "auto").recipe.transfer.strategy
    assert (chosen, None) not in beside("auto")
    assert len(beside("auto")) == (4 if chosen == "lp_ft" else 3)


@pytest.mark.parametrize(
    ("examples", "linear_separability", "expected"),
    [
        (100, 0.99, "feature_extraction"),
        (100, 0.3, "lp_ft"),
        (50_000, 0.99, "lp_ft"),
        (50_000, 0.3, "fine_tune"),
    ],
)
def test_auto_is_the_textbooks_table(
    examples: int, linear_separability: float, expected: str
) -> None:
    frozen = FrozenFit(
        linear_separability,
        linear_separability - 0.01,
        linear_separability + 0.01,
        fitted=0.9,
        majority=0.0,
    )
    assert choose(examples, frozen, chance=0.02).strategy == expected


@pytest.mark.parametrize(
    ("accuracy", "fitted", "tested", "expected"),
    [
        # it fits what it has seen: there is little for fine-tuning to mend
        (0.78, 0.985, 400, "feature_extraction"),
        (0.80, 0.877, 872, "fine_tune"),  # it does not: the features lack something
        (0.78, 0.985, 40_000, "fine_tune"),  # a test that tells so small a gain from chance
        (0.25, 0.99, 400, "fine_tune"),  # features that tell nothing, however well noise is fitted
    ],
)
def test_auto_weighs_what_training_may_bring(
    accuracy: float, fitted: float, tested: int, expected: str
) -> None:
    low, high = wilson(round(accuracy * 2_000), 2_000)
    ends = wilson(round(accuracy * tested), tested)
    choice = choose(
        2_000, FrozenFit(accuracy, low, high, fitted, majority=0.25), (ends[1] - ends[0]) / 2
    )
    assert (choice.strategy, choice.table) == (expected, "fine_tune")
    assert (
        f"fine_tune can mend what a classifier on them cannot fit, {100 * (1 - fitted):.1f} points"
        in choice.reason
    )
