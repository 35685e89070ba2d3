"""Sentence embedders: what their own files say of pooling, dense layers, length and prompts."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import huggingface_hub.constants
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor
from transformers import AutoModel

import headstart
from headstart.commands.export import export
from headstart.errors import HeadstartError
from headstart.models import embedder as module
from headstart.models.spec import read_spec
from headstart.models.text import TextNetwork, load_text_network, text_network
from headstart.recipe import Model, Preprocessing
from tests.conftest import MakeRun
from tests.models.test_text_preprocessor import TEXTS, dataset

Parts = list[tuple[str, str, dict[str, Any]]]
DENSE = {
    "in_features": 16,
    "out_features": 5,
    "bias": True,
    "activation_function": "torch.nn.modules.activation.Tanh",
}
ENCODER: tuple[str, str, dict[str, Any]] = ("", "Transformer", {})
MEAN = ("1_Pooling", "Pooling", {"pooling_mode": "mean"})


Save = Callable[..., Path]


@pytest.fixture
def save_embedder(bert: Path, tmp_path: Path) -> Save:
    """Writes a tiny BERT with the files of sentence-transformers beside it: (folder, class,
    config.json) of its modules."""

    def save(parts: Parts, **files: Any) -> Path:
        folder = shutil.copytree(bert, tmp_path / "embedder")
        listed = [
            {"path": path, "type": f"sentence_transformers.models.{kind}"}
            for path, kind, _ in [ENCODER, *parts]
        ]
        for name, content in {"modules": listed, **files}.items():
            (folder / f"{name}.json").write_text(json.dumps(content), encoding="utf-8")
        for path, kind, config in parts:
            (folder / path).mkdir()
            (folder / path / "config.json").write_text(json.dumps(config), encoding="utf-8")
            if kind == "Dense":
                random = torch.Generator().manual_seed(0)
                shapes = {"linear.weight": (5, 16), "linear.bias": (5,)}
                weights = {
                    name: 0.3 * torch.randn(shape, generator=random)
                    for name, shape in shapes.items()
                }
                save_file(weights, folder / path / "model.safetensors")
        return folder

    return save


def opened(backbone: str | Path, **asked: Any) -> tuple[TextNetwork, list[str]]:
    network, notes = text_network(
        Model(backbone=str(backbone), preprocessing=Preprocessing(**asked)), dataset(TEXTS), True
    )
    return network.eval(), notes


def features(network: TextNetwork) -> Tensor:
    preprocessor = network.preprocessor()
    with torch.inference_mode():
        return network.features(**preprocessor.collate([preprocessor(text) for text in TEXTS]))


def tokens(folder: Path) -> list[Tensor]:
    """The token vectors of each text by transformers alone."""
    preprocessor, model = (
        opened(folder, pooling="mean")[0].preprocessor(),
        AutoModel.from_pretrained(folder).eval(),
    )
    with torch.inference_mode():
        return [
            model(**preprocessor.collate([preprocessor(text)])).last_hidden_state[0]
            for text in TEXTS
        ]


def by_position(vectors: Tensor) -> Tensor:
    weights = torch.arange(1.0, len(vectors) + 1)
    return weights @ vectors / weights.sum()


@pytest.mark.parametrize(
    ("where", "stated", "pooled"),
    [
        (
            "1_Pooling",
            {"pooling_mode_cls_token": True, "pooling_mode_mean_tokens": False},
            lambda v: v[0],
        ),
        ("1_Pooling", {"pooling_mode": "cls", "include_prompt": True}, lambda v: v[0]),
        ("elsewhere", {"pooling_mode_cls_token": True}, lambda v: v[0]),
        ("1_Pooling", {"pooling_mode": ["lasttoken"]}, lambda v: v[-1]),
        ("1_Pooling", {"pooling_mode_max_tokens": True}, lambda v: v.max(0).values),
        ("1_Pooling", {"pooling_mode": "mean_sqrt_len_tokens"}, lambda v: v.sum(0) / len(v) ** 0.5),
        ("1_Pooling", {"pooling_mode_weightedmean_tokens": True}, by_position),
        ("1_Pooling", {"word_embedding_dimension": 16}, lambda v: v.mean(0)),
    ],
)
def test_token_vectors_are_pooled_as_the_embedder_says(
    where: str, stated: Any, pooled: Any, save_embedder: Save
) -> None:
    folder = save_embedder([(where, "Pooling", stated)])
    network, notes = opened(folder)
    expected = torch.stack([pooled(vectors) for vectors in tokens(folder)])
    torch.testing.assert_close(features(network), expected, rtol=1e-5, atol=1e-6)
    assert notes == []


def test_layers_behind_the_pooling_are_read_or_left_out_with_a_note(
    save_embedder: Save, tmp_path: Path
) -> None:
    parts: Parts = [
        MEAN,
        ("2_Dense", "Dense", DENSE),
        ("3_Dropout", "Dropout", {}),
        ("4_Normalize", "Normalize", {}),
    ]
    folder = save_embedder(parts, config_sentence_transformers={"prompts": {"query": "query: "}})
    network, notes = opened(folder)
    dense = load_file(folder / "2_Dense" / "model.safetensors")
    pooled = torch.stack([vectors.mean(0) for vectors in tokens(folder)])
    expected = (pooled @ dense["linear.weight"].T + dense["linear.bias"]).tanh()
    torch.testing.assert_close(features(network), expected, rtol=1e-5, atol=1e-6)
    assert network.reads.endswith("pooling: mean, dense layer to 5")
    assert notes == [
        f"{folder} was trained with prompts before its texts (such as 'query: '); none is put "
        "before yours",
        f"Normalize of {folder} left out: the head reads vectors of any length",
    ]
    network.save(tmp_path / "run")
    again = load_text_network(tmp_path / "run", read_spec(tmp_path / "run")).eval()
    torch.testing.assert_close(features(again), expected, rtol=1e-5, atol=1e-6)
    alone, notes = opened(folder, pooling="cls")
    torch.testing.assert_close(
        features(alone), torch.stack([v[0] for v in tokens(folder)]), rtol=1e-5, atol=1e-6
    )
    assert notes[1] == (
        f"Dense, Normalize of {folder} left out: model.preprocessing.pooling takes its encoder "
        "alone"
    )


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        (
            [("p", "Pooling", {"pooling_mode": ["cls", "mean"]})],
            'pools by cls and mean; .*pooling = "cls"',
        ),
        (
            [("p", "Pooling", {"pooling_mode": "attention"})],
            'pools by attention; .*pooling = "mean"',
        ),
        (
            [("c", "CNN", {}), MEAN],
            "is .* made of Transformer, CNN, Pooling; expected Transformer, Pooling",
        ),
        ([MEAN, ("n", "LayerNorm", {})], "is .* made of Transformer, Pooling, LayerNorm"),
        (
            [MEAN, ("n", "Normalize", {}), ("2_Dense", "Dense", DENSE)],
            "is .* made of Transformer, Pooling, Normalize, Dense",
        ),
        (
            [MEAN, ("d", "Dense", {**DENSE, "activation_function": "os.system"})],
            "has a Dense layer of another kind",
        ),
        (
            [MEAN, ("d", "Dense", {**DENSE, "use_residual": True})],
            "has a Dense layer of another kind",
        ),
    ],
)
def test_what_is_not_supported_is_refused_and_the_encoder_alone_is_not(
    parts: Parts, said: str, save_embedder: Save
) -> None:
    folder = save_embedder(parts)
    with pytest.raises(HeadstartError, match=f"model.backbone: {folder} {said}"):
        opened(folder)
    assert opened(folder, pooling="mean")[0].spec.width == 16


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("modules.json", "[{}]", "has a damaged modules.json"),
        ("modules.json", "{", "is no readable JSON"),
        ("1_Pooling/config.json", None, "config.json is missing"),
        ("2_Dense/model.safetensors", None, "has no weights"),
        (
            "2_Dense/config.json",
            json.dumps({**DENSE, "in_features": 7}),
            "2_Dense do not fit its config.json",
        ),
    ],
)
def test_damaged_files_are_one_message(
    name: str, content: str | None, said: str, save_embedder: Save
) -> None:
    folder = save_embedder([MEAN, ("2_Dense", "Dense", DENSE)])
    (folder / name).unlink() if content is None else (folder / name).write_text(content)
    with pytest.raises(HeadstartError, match=said):
        opened(folder)


@pytest.mark.parametrize(("stated", "expected"), [(20, 20), (None, 64), (9_000, 64)])
def test_texts_are_cut_where_the_embedder_cuts_them(
    stated: int | None, expected: int, save_embedder: Save
) -> None:
    folder = save_embedder([MEAN], sentence_bert_config={"max_seq_length": stated})
    assert opened(folder)[0].spec.preprocessing.max_length == expected
    assert opened(folder, max_length=7)[0].spec.preprocessing.max_length == 7


@pytest.mark.parametrize("lower", [True, False])
def test_an_embedder_of_texts_in_lower_case_says_so_if_its_tokenizer_does_not(
    lower: bool, save_embedder: Save
) -> None:
    folder = save_embedder([MEAN], sentence_bert_config={"do_lower_case": True})
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    (folder / "tokenizer_config.json").write_text(json.dumps({**settings, "do_lower_case": lower}))
    said = (
        f"{folder} was trained with texts in lower case (do_lower_case); yours are read as they are"
    )
    assert opened(folder)[1] == ([] if lower else [said])


def test_a_name_on_the_hub_is_read_as_its_folder_is(
    save_embedder: Save, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = save_embedder(
        [("pool", "Pooling", {"pooling_mode": "cls"}), ("2_Dense", "Dense", DENSE)]
    )
    home, commit = tmp_path / "hub" / "models--tiny--embedder", "a" * 40
    shutil.copytree(folder, home / "snapshots" / commit)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(commit)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    network, notes = opened("tiny/embedder")
    torch.testing.assert_close(features(network), features(opened(folder)[0]))
    assert (network.spec.preprocessing.pooling, notes) == ("cls", [])
    with monkeypatch.context() as patch:
        patch.setattr(module, "hf_hub_download", Mock(side_effect=OSError("busy")))
        with pytest.raises(HeadstartError, match="could not be had from the hub .busy."):
            opened("tiny/embedder")
    (home / "snapshots" / commit / "modules.json").unlink()
    network, notes = opened("tiny/embedder")
    assert network.spec.preprocessing.pooling == "mean"
    assert notes == [
        "tiny/embedder may state a pooling of its own, which cannot be read without the hub (its "
        "cache holds no modules.json); model.preprocessing.pooling names one"
    ]


def test_an_embedder_is_exported_whole_and_is_a_backbone_again(
    save_embedder: Save, make_run: MakeRun, tmp_path: Path
) -> None:
    parts: Parts = [("1_Pooling", "Pooling", {"pooling_mode": "max"}), ("2_Dense", "Dense", DENSE)]
    folder = save_embedder(parts)
    run = make_run("text", "feature_extraction", seed=5, model={"backbone": str(folder)})
    assert export(str(run), "hf", out=tmp_path / "run.hf").agreement.largest < 1e-5
    trained: Any = headstart.load(run).members[0]
    again, notes = opened(tmp_path / "run.hf")
    torch.testing.assert_close(features(again), features(trained.network))
    assert (again.reads, notes) == (trained.network.reads, [])
