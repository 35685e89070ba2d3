"""Folders as the hub has them: what transformers (texts) or timm (images) loads by itself."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from headstart.errors import HeadstartError, first_line
from headstart.inference.member import NetworkMember
from headstart.inference.trace import exportable
from headstart.models import pooled_encoder
from headstart.models.network import Network
from headstart.models.text_encoder import save_tokenizer


def write_hub_folder(member: NetworkMember, folder: Path) -> str:
    """Write a run's network in the layout of the hub: how to load it, as a line of Python.

    Raises:
        HeadstartError: its head has no place in that layout.
    """
    network = exportable(member)
    folder.mkdir(parents=True, exist_ok=True)
    write = _of_timm if member.spec["kind"] == "vision" else _of_transformers
    use = write(member, network, folder)
    for weights in folder.glob("*.safetensors"):
        weights.chmod((folder / "config.json").stat().st_mode)  # safetensors keeps others from reading its files
    return use


def read_hub_folder(folder: Path, member: NetworkMember, items: list[Any]) -> np.ndarray:
    """What timm or transformers make of examples by what lies in the folder alone: probabilities, shape (n, classes)."""
    if member.spec["kind"] == "vision":
        return _timm_reads(folder, items)
    from transformers import pipeline

    from headstart.models.text_source import quiet

    limit = member.spec["preprocessing"]["max_length"]
    with quiet():
        classify = pipeline("text-classification", model=str(folder), trust_remote_code=True, device="cpu", top_k=None)
        found: Any = classify(list(items), batch_size=32, truncation=True, max_length=limit)
    named = [{one["label"]: one["score"] for one in row} for row in found]
    return np.array([[row[str(label)] for label in member.spec["labels"]] for row in named])


def _of_timm(member: NetworkMember, network: Network, folder: Path) -> str:
    from timm.models import save_for_hf

    if not isinstance(network.head, nn.Linear):
        raise HeadstartError(
            f"{member.source}: timm's layout holds a linear head only; this one has {len(list(network.head.modules()))} "
            "layers. Export to onnx or torch_export instead"
        )
    net: Any = network.net
    look = member.spec["preprocessing"]
    net.num_classes = member.spec["classes"]
    net.pretrained_cfg = {
        **{
            key: value
            for key, value in dict(net.pretrained_cfg).items()
            if key not in ("url", "file", "hf_hub_id", "source")
        },
        **{key: tuple(value) if isinstance(value, list) else value for key, value in look.items()},
        "num_classes": member.spec["classes"],
    }
    size, fixed = member.spec["size"], net.pretrained_cfg.get("fixed_input_size")
    more = {"model_args": {"img_size": size}} if fixed and size else {}
    architecture = member.spec["backbone"].split(".")[0]
    config = {"architecture": architecture, "label_names": [str(label) for label in member.spec["labels"]], **more}
    save_for_hf(net, str(folder), config, safe_serialization=True)
    return f'timm.create_model("local-dir:{folder}", pretrained=True)'


def _timm_reads(folder: Path, items: list[Any]) -> np.ndarray:
    import timm
    from timm.data import create_transform, resolve_data_config

    from headstart.data.images import open_rgb

    net: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
    transform: Any = create_transform(
        **resolve_data_config(pretrained_cfg=net.pretrained_cfg, model=net), is_training=False
    )
    with torch.inference_mode():
        return np.array([net(transform(open_rgb(item))[None]).softmax(-1)[0].numpy() for item in items])


def _of_transformers(member: NetworkMember, network: Any, folder: Path) -> str:
    """An architecture of transformers' own where one gives the same; else the encoder with the code that pools it."""
    if network.spec["preprocessing"].get("keep") == "both":
        raise HeadstartError(
            f"{member.source}: a tokenizer of transformers cuts texts at one side, and this run keeps start and end "
            '(model.preprocessing.keep = "both"). Export to onnx, or train with "start" or "end"'
        )
    labels = {number: str(label) for number, label in enumerate(member.spec["labels"])}
    names = {"id2label": labels, "label2id": {label: number for number, label in labels.items()}}
    model = _native(network, names) or _pooled(network, names)
    model.save_pretrained(folder)
    save_tokenizer(network.tokenizer, folder)
    code = ""
    if isinstance(model, pooled_encoder.PooledForSequenceClassification):
        shutil.copyfile(pooled_encoder.__file__, folder / "pooled_encoder.py")
        code = ", trust_remote_code=True"
    return f'transformers.pipeline("text-classification", "{folder}"{code})'


def _native(network: Any, names: dict[str, Any]) -> Any:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    from headstart.models.text_source import quiet

    encoder = network.net.get_submodule("encoder")
    try:
        with quiet():
            config = AutoConfig.for_model(**{**network.spec["config"], **names})
            model: Any = AutoModelForSequenceClassification.from_config(config, dtype=torch.float32).eval()
            model.base_model.load_state_dict(encoder.state_dict())
            heads = (getattr(model, name, None) for name in ("classifier", "score"))
            last = next(layer for layer in heads if isinstance(layer, nn.Linear))
            last.load_state_dict(network.head.state_dict())
    except (ValueError, RuntimeError, StopIteration, AttributeError):
        return None
    inputs = network.encoder().collate([{"text": "one or two words"}, {"text": "more"}])
    with torch.inference_mode():
        same = torch.allclose(model(**inputs).logits, network(**inputs), atol=1e-4)
    return model if same else None


def _pooled(network: Any, names: dict[str, Any]) -> Any:
    linear = [module for module in network.head.modules() if isinstance(module, nn.Linear)]
    pooled_encoder.PooledConfig.register_for_auto_class()
    pooled_encoder.PooledForSequenceClassification.register_for_auto_class("AutoModelForSequenceClassification")
    config = pooled_encoder.PooledConfig(
        encoder=network.spec["config"],
        pooling=network.spec["preprocessing"]["pooling"],
        dense=network.spec.get("dense", ()),
        widths=(linear[0].in_features, *(layer.out_features for layer in linear)),
        **names,
    )
    try:
        model = pooled_encoder.PooledForSequenceClassification(config).eval()
        model.encoder.load_state_dict(network.net.get_submodule("encoder").state_dict())
        model.dense.load_state_dict(network.net.get_submodule("dense").state_dict())
    except (RuntimeError, ValueError) as error:
        raise HeadstartError(
            f"{network.spec['backbone']}: cannot be written for transformers: {first_line(error)}"
        ) from None
    places = [module for module in model.classifier if isinstance(module, nn.Linear)]
    for place, layer in zip(places, linear, strict=True):
        place.load_state_dict(layer.state_dict())
    return model
