"""Folders in the layout of the hub for transformers, those of images for timm too."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from transformers import PreTrainedModel

from headstart.errors import RunError, first_line
from headstart.inference.exportable import exportable
from headstart.inference.loaded_model import NetworkModel
from headstart.models import pooled_encoder
from headstart.models.network import Network
from headstart.models.preprocessor import Item
from headstart.models.text import TextNetwork
from headstart.models.text_preprocessor import save_tokenizer
from headstart.models.text_source import quiet
from headstart.models.vision import VisionNetwork

# of a task that a backbone was used for before, and of its number format
LEFTOVERS = {
    "id2label", "label2id", "num_labels", "problem_type", "function_to_apply", "finetuning_task",
    "dtype",
}  # fmt: skip
GREY_RANGE = "grey_range"  # in headstart's preprocessing; timm has no such key
PLACES = ("url", "file", "hf_hub_id", "source")  # of timm's weights
OTHERS = "export to onnx or torch_export instead"


@dataclass(frozen=True)
class Timm:
    """The call of `timm.create_model` that loads an exported folder."""

    def line(self, folder: Path) -> str:
        return f'timm.create_model("local-dir:{folder}", pretrained=True)'

    def probabilities(
        self, folder: Path, items: Iterable[Item], labels: Sequence[str]
    ) -> np.ndarray:
        """The probabilities for opened images, shape (n, classes)."""
        import timm
        from timm.data.config import resolve_data_config
        from timm.data.transforms_factory import create_transform

        net = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        settings = resolve_data_config(pretrained_cfg=net.pretrained_cfg, model=net)  # type: ignore[no-untyped-call]
        transform: Any = create_transform(**settings, is_training=False)
        with torch.inference_mode():
            return np.array([net(transform(image)[None]).softmax(-1)[0].numpy() for image in items])


@dataclass(frozen=True)
class Pipeline:
    """The call of `transformers.pipeline` that loads an exported folder."""

    task: str
    options: Mapping[str, bool] = field(default_factory=dict)

    def line(self, folder: Path) -> str:
        options = "".join(f", {key}={value}" for key, value in self.options.items())
        return f'transformers.pipeline("{self.task}", "{folder}"{options})'

    def probabilities(
        self, folder: Path, items: Iterable[Item], labels: Sequence[str]
    ) -> np.ndarray:
        """The probabilities for texts or opened images, shape (n, classes)."""
        import transformers

        build: Any = transformers.pipeline  # whose overloads take no variable task
        with quiet():
            classify = build(self.task, str(folder), device="cpu", **self.options)
            rows = [classify(item, top_k=len(labels)) for item in items]
        scores = [{result["label"]: result["score"] for result in row} for row in rows]
        return np.array([[row[label] for label in labels] for row in scores])


Call = Timm | Pipeline


def write_hub_folder(model: NetworkModel, folder: Path) -> list[Call]:
    """Write a run's network in the layout of the hub, and return the calls that load it; RunError
    if its head has no place in that layout."""
    network = exportable(model)
    folder.mkdir(parents=True, exist_ok=True)
    calls = HUB_WRITERS[model.task.modality.name](model.source, network, folder)
    for weights in folder.glob("*.safetensors"):
        # safetensors makes files that only their owner can read
        weights.chmod((folder / "config.json").stat().st_mode)
    return calls


def write_timm_folder(source: str, network: Network, folder: Path) -> list[Call]:
    """Write a network of timm in its own layout, which transformers reads too."""
    from timm.models import save_for_hf

    assert isinstance(network, VisionNetwork)
    if not isinstance(network.head, nn.Linear):
        raise RunError(
            f"{source}: timm's layout holds a linear head only; this one has "
            f"{len(list(network.head.modules()))} layers. Export to onnx or torch_export instead"
        )
    net, spec = network.net, network.spec
    net.num_classes = spec.classes
    net.pretrained_cfg = {
        **{key: value for key, value in dict(net.pretrained_cfg).items() if key not in PLACES},
        **spec.preprocessing.model_dump(exclude={GREY_RANGE}),
        "num_classes": spec.classes,
    }
    architecture = spec.backbone.split(".")[0]
    config: dict[str, Any] = {"architecture": architecture, "label_names": list(spec.labels)}
    if net.pretrained_cfg.get("fixed_input_size") and spec.size:
        config["model_args"] = {"img_size": spec.size}
    if spec.preprocessing.grey_range:
        config[GREY_RANGE] = list(spec.preprocessing.grey_range)
    try:
        save_for_hf(net, str(folder), config, safe_serialization=True)
    except RuntimeError as error:  # such as a weight that stands in two places
        raise RunError(
            f"{source}: timm cannot write {architecture} ({first_line(error)}); {OTHERS}"
        ) from None
    # transformers passes these by itself, and two of them are an error
    path = folder / "config.json"
    config = json.loads(path.read_bytes())
    for name in ("num_classes", "in_chans"):
        config.get("model_args", {}).pop(name, None)
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return [Timm(), Pipeline("image-classification")]


def write_transformers_folder(source: str, network: Network, folder: Path) -> list[Call]:
    """Write an architecture of transformers if one has the same outputs; else the encoder with the
    code that pools it."""
    assert isinstance(network, TextNetwork)
    settings = network.spec.preprocessing
    if settings.keep == "both":
        raise RunError(
            f"{source}: a tokenizer of transformers cuts texts at one side, and this run keeps "
            'start and end (model.preprocessing.keep = "both"). Export to onnx, or train with '
            '"start" or "end"'
        )
    config = {key: value for key, value in network.spec.config.items() if key not in LEFTOVERS}
    labels = dict(enumerate(network.spec.labels))
    names: dict[str, Any] = {
        "id2label": labels,
        "label2id": {label: number for number, label in labels.items()},
        "problem_type": "single_label_classification",
    }
    options = {"truncation": True}
    model = _native(network, config, names)
    if model is None:
        model = _pooled(network, config, names)
        shutil.copyfile(pooled_encoder.__file__, folder / "pooled_encoder.py")
        options["trust_remote_code"] = True
    model.save_pretrained(folder)
    tokenizer = copy.deepcopy(network.tokenizer)
    tokenizer.model_max_length = settings.max_length  # where `truncation=True` cuts
    tokenizer.padding_side = "right"
    save_tokenizer(tokenizer, folder)
    return [Pipeline("text-classification", options)]


def _native(
    network: TextNetwork, config: dict[str, Any], names: dict[str, Any]
) -> PreTrainedModel | None:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    build: Any = AutoModelForSequenceClassification.from_config
    try:
        with quiet():
            native = AutoConfig.for_model(**config, **names)
            model: PreTrainedModel = build(native, dtype=torch.float32).eval()
            model.base_model.load_state_dict(network.net["encoder"].state_dict())
            heads = (getattr(model, name, None) for name in ("classifier", "score"))
            last = next(layer for layer in heads if isinstance(layer, nn.Linear))
            last.load_state_dict(network.head.state_dict())
    except (ValueError, RuntimeError, StopIteration, AttributeError):
        return None
    inputs = network.preprocessor().collate([{"text": "one or two words"}, {"text": "more"}])
    with torch.inference_mode():
        same = torch.allclose(model(**inputs).logits, network(**inputs), atol=1e-4)
    return model if same else None


def _pooled(network: TextNetwork, config: dict[str, Any], names: dict[str, Any]) -> PreTrainedModel:
    linear = [module for module in network.head.modules() if isinstance(module, nn.Linear)]
    settings, build = pooled_encoder.PooledConfig, pooled_encoder.PooledForSequenceClassification
    register: Any = settings.register_for_auto_class
    register()
    register = build.register_for_auto_class
    register("AutoModelForSequenceClassification")
    pooled_config = settings(
        encoder=config,
        pooling=network.spec.preprocessing.pooling,
        dense=[layer.model_dump() for layer in network.spec.dense],
        widths=(linear[0].in_features, *(layer.out_features for layer in linear)),
        **names,
    )
    try:
        model = build(pooled_config)
        model.encoder.load_state_dict(network.net["encoder"].state_dict())
        model.dense.load_state_dict(network.net["dense"].state_dict())
    except (RuntimeError, ValueError) as error:
        raise RunError(
            f"{network.spec.backbone}: cannot be written for transformers: {first_line(error)}"
        ) from None
    places = [module for module in model.classifier if isinstance(module, nn.Linear)]
    for place, layer in zip(places, linear, strict=True):
        place.load_state_dict(layer.state_dict())
    return model


HUB_WRITERS = {"image": write_timm_folder, "text": write_transformers_folder}  # by modality
