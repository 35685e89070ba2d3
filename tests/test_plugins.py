"""Other packages add strategies, baselines and backbones by entry points, which are loaded when a
recipe names them."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import headstart
from headstart.catalogue import read_recipe, recipe_schema
from headstart.errors import HeadstartError
from headstart.models.baselines import baselines
from headstart.transfer.strategies import strategies
from tests.conftest import WriteRecipe

STRATEGY = """
from headstart.transfer.plan import Phase, Plan
from headstart.transfer.strategies import strategy

@strategy("tops_only", reads=("layer_decay",))
def tops_only(recipe, blocks):
    rates = {name: recipe.train.lr * recipe.transfer.layer_decay for name in blocks[-2:]}
    return Plan("tops_only", (Phase("the top", rates, recipe.train.epochs),))
"""
BASELINE = """
import numpy as np
from headstart.models.baselines import baselines

@baselines.register("coin")
def coin(dataset, seed):
    return np.random.default_rng(seed).dirichlet(np.ones(len(dataset.labels)), len(dataset.test))
"""
BACKBONE = """
import timm

@timm.models.register_model
def tiny_net(pretrained=False, **options):
    return timm.create_model("test_resnet", **options)
"""
ENTRY_POINTS = """
[headstart.strategies]
tops_only = tiny_strategy
broken = tiny_broken
twice = tiny_strategy
forgotten = tiny_baseline
[headstart.baselines]
coin = tiny_baseline:coin
[headstart.backbones]
tiny_net = tiny_backbone
"""
MODULES = ("tiny_strategy", "tiny_baseline", "tiny_backbone", "tiny_broken")


def install(folder: Path, package: str, entry_points: str) -> None:
    info = folder / f"{package}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(entry_points)


@pytest.fixture(autouse=True)
def _tiny_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    site = tmp_path / "site"
    install(site, "tiny", ENTRY_POINTS)
    for module, code in zip(
        MODULES, (STRATEGY, BASELINE, BACKBONE, "import no_such_module"), strict=True
    ):
        (site / f"{module}.py").write_text(code)
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    yield
    for registry in (strategies, baselines):
        for name in ("tops_only", "coin"):
            registry._things.pop(name, None)  # type: ignore[attr-defined]
    for module in MODULES:
        sys.modules.pop(module, None)


def test_a_strategy_a_baseline_and_a_backbone_of_another_package_run(
    write_recipe: WriteRecipe, weights: Path, photos: Path, tmp_path: Path
) -> None:
    recipe = write_recipe(
        transfer={"strategy": "tops_only", "layer_decay": 0.5},
        model={"backbone": "tiny_net", "weights": str(weights)},
        evaluate={"baselines": ["coin"]},
        train={"epochs": 1},
    )
    report = headstart.run(recipe)
    assert report.main.phases[0].rates == {"block 4": 5e-4, "head": 5e-4}
    assert [result.name for result in report.baselines] == ["coin"]
    answers = headstart.load(tmp_path / "run").predict([photos / "test"])
    assert len(answers) == report.test.n


def test_nothing_is_loaded_unless_a_recipe_names_it(write_recipe: WriteRecipe) -> None:
    read_recipe(write_recipe(evaluate={"baselines": ["raw_pixels_forest"]}))
    assert "tops_only" in recipe_schema()["$defs"]["Transfer"]["properties"]["strategy"]["enum"]
    with pytest.raises(HeadstartError, match="did you mean 'tops_only'"):
        read_recipe(write_recipe(transfer={"strategy": "tops_onli"}))
    assert not sys.modules.keys() & set(MODULES)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        (
            "broken",
            r"package tiny: entry point 'broken' of headstart.strategies \(tiny_broken\) cannot be "
            r"imported \(ModuleNotFoundError: No module named 'no_such_module'\); update or uninst",
        ),
        ("forgotten", "package tiny: entry point 'forgotten' .* registers no strategy of that na"),
        ("twice", "package tiny: .* and package other: .* have the same name; uninstall one"),
    ],
)
def test_a_broken_package_is_one_message_that_names_it(
    name: str, message: str, write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    install(tmp_path / "site", "other", "[headstart.strategies]\ntwice = tiny_strategy\n")
    with pytest.raises(HeadstartError, match=message):
        read_recipe(write_recipe(transfer={"strategy": name}))
