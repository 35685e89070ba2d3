"""What a backbone's name stands for, and runs and exported files in its place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headstart.commands.export import export
from headstart.errors import HeadstartError
from headstart.inference.loaded_model import open_model
from headstart.models.detect import kind_of, local_folder
from headstart.models.text import text_network
from headstart.models.vision import vision_network
from headstart.recipe import Model
from tests.conftest import MakeRun
from tests.models.test_text_preprocessor import dataset


def test_the_kind_of_a_backbone(bert: Path, tmp_path: Path) -> None:
    assert [kind_of(name) for name in (str(bert), "resnet18.tv_in1k", "packaged:glove_6b_50d",
    "org/name")] == [
        "text", "vision", "word_vectors", "text",
    ]  # fmt: skip
    with pytest.raises(HeadstartError, match="has no readable config.json"):
        kind_of(str(tmp_path))


@pytest.mark.parametrize(
    ("kind", "head", "said"),
    [
        ("vision", None, 'headstart export {run} --to hf.*model.backbone = "{run}.hf"'),
        ("text", "gradient", 'headstart export {run} --to hf.*model.backbone = "{run}.hf"'),
        ("text", "SVC", 'left its backbone as it was: write model.backbone = "org/name"'),
        ("word_vectors", None, 'left its backbone as it was: write model.backbone = "org/name"'),
    ],
)
@pytest.mark.parametrize("inside", ["", "model"])
def test_a_run_is_refused_with_what_to_write(
    kind: str, head: Any, said: str, inside: str, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    (run / "model").mkdir(parents=True)
    preprocessing = {
        "vision": {
            "input_size": [3, 32, 32],
            "interpolation": "bicubic",
            "mean": [0.5, 0.5, 0.5],
            "std": [0.5, 0.5, 0.5],
            "crop_pct": 1,
            "crop_mode": "center",
        },
        "text": {"max_length": 8, "pooling": "mean"},
        "word_vectors": {"pooling": "mean", "lower": True, "weights": "0"},
    }[kind]
    spec = {
        "kind": kind,
        "backbone": "some",
        "preprocessing": preprocessing,
        "head": {"classifier": head},
        "classes": 2,
        "labels": ["a", "b"],
        "pretrained": {"from": "org/name", "sha256": "0"},
        **({"words": 3} if kind == "word_vectors" else {}),
    }
    (run / "model" / "config.json").write_text(json.dumps(spec))
    given = Model(backbone=str(run / inside))
    for open_it in (
        lambda: kind_of(given.backbone),
        lambda: text_network(given, dataset(), True),
        lambda: vision_network(given, 2, True),
    ):
        with pytest.raises(
            HeadstartError, match=f"{given.backbone} is a run; .*{said.format(run=run)}"
        ):
            open_it()


@pytest.mark.parametrize("name", ["run.onnx", "run.pt2"])
def test_an_exported_file_is_refused_with_what_to_write(name: str, tmp_path: Path) -> None:
    (tmp_path / name).write_bytes(b"")
    with pytest.raises(
        HeadstartError, match="is an exported file, which cannot be trained; .* --to hf"
    ):
        local_folder(str(tmp_path / name))


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("image", {"backbone": "test_vit", "preprocessing": {"size": 48}}),
        ("text", {"preprocessing": {"pooling": "pooler"}}),
    ],
)
def test_an_exported_folder_is_a_backbone(
    make_run: MakeRun, kind: str, change: Any, tmp_path: Path
) -> None:
    run, folder = make_run(kind, seed=5, model=change), tmp_path / "run.hf"
    export(str(run), "hf", out=folder)
    given = Model(backbone=str(folder))
    network: Any = (
        vision_network(given, 3, True) if kind == "image" else text_network(given, dataset(), True)
    )[0]
    before: Any = open_model(run)
    ours, theirs = network.net.state_dict(), before.network.net.state_dict()
    for key in ours:
        if not key.startswith(network.head_name):
            assert (ours[key] == theirs[key]).all()
    other = (
        (lambda: text_network(given, dataset(), True))
        if kind == "image"
        else (lambda: vision_network(given, 3, True))
    )
    with pytest.raises(
        HeadstartError, match='which reads images; this task has texts|names an "architecture"'
    ):
        other()
