"""Folders as the hub has them, which transformers loads by itself, and timm too if they are of
images."""

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

from headstart.errors import HeadstartError, first_line
from headstart.inference.exportable import exportable
from headstart.inference.loaded_model import NetworkModel
from headstart.models import pooled_encoder
from headstart.models.network import Network
from headstart.models.spec import ImageSpec
from headstart.models.text import TextNetwork
from headstart.models.text_preprocessor import save_tokenizer
from headstart.models.text_source import quiet

# What a backbone's config may say of a task that it was used for before, and of its number format
LEFTOVERS = (
    "id2label",
    "label2id",
    "num_labels",
    "problem_type",
    "function_to_apply",
    "finetuning_task",
    "dtype",
)
GREY_RANGE = "grey_range"  # in our preprocessing; kept beside that of timm, which has no such key


@dataclass(frozen=True)
class Timm:
    """The call of `timm.create_model` that loads an exported folder."""

    def line(self, folder: Path) -> str:
        return f'timm.create_model("local-dir:{folder}", pretrained=True)'

    def probabilities(
        self, folder: Path, items: Iterable[Any], labels: Sequence[str]
    ) -> np.ndarray:
        """What the call gives for opened images, shape (n, classes), by the preprocessing that lies
        in the folder."""
        import timm
        from timm.data import create_transform, resolve_data_config

        net: Any = timm.create_model(f"local-dir:{folder}", pretrained=True).eval()
        look = resolve_data_config(pretrained_cfg=net.pretrained_cfg, model=net)
        transform: Any = create_transform(**look, is_training=False)
        with torch.inference_mode():
            return np.array([net(transform(image)[None]).softmax(-1)[0].numpy() for image in items])


@dataclass(frozen=True)
class Pipeline:
    """The call of `transformers.pipeline` that loads an exported folder."""

    task: str
    options: Mapping[str, bool] = field(default_factory=dict)

    def line(self, folder: Path) -> str:
        return (
            f'transformers.pipeline("{self.task}", '
            f'"{folder}"{"".join(f", {k}={v}" for k, v in self.options.items())})'
        )

    def probabilities(
        self, folder: Path, items: Iterable[Any], labels: Sequence[str]
    ) -> np.ndarray:
        """What the call gives for texts or opened images, shape (n, classes), by what lies in the
        folder alone."""
        import transformers

        build: Any = transformers.pipeline  # whose overloads know no variable task
        with quiet():
            classify = build(self.task, str(folder), device="cpu", **self.options)
            found = [classify(item, top_k=len(labels)) for item in items]
        named = [{one["label"]: one["score"] for one in row} for row in found]
        return np.array([[row[label] for label in labels] for row in named])


Call = Timm | Pipeline


def write_hub_folder(member: NetworkModel, folder: Path) -> list[Call]:
    """Write a run's network in the layout of the hub: the calls that load it.

    Raises:
        HeadstartError: its head has no place in that layout.
    """
    network = exportable(member)
    folder.mkdir(parents=True, exist_ok=True)
    calls = HUB_WRITERS[member.task.modality.name](member, network, folder)
    for weights in folder.glob("*.safetensors"):
        # safetensors keeps others from reading its files
        weights.chmod((folder / "config.json").stat().st_mode)
    return calls


def write_timm_folder(member: NetworkModel, network: Network, folder: Path) -> list[Call]:
    """Write a network of timm in its own layout, which transformers reads too."""
    from timm.models import save_for_hf

    if not isinstance(network.head, nn.Linear):
        raise HeadstartError(
            f"{member.source}: timm's layout holds a linear head only; this one has "
            f"{len(list(network.head.modules()))} layers. Export to onnx or torch_export instead"
        )
    net: Any = network.net
    spec = member.spec
    assert isinstance(spec, ImageSpec)
    net.num_classes = spec.classes
    net.pretrained_cfg = {
        **{
            key: value
            for key, value in dict(net.pretrained_cfg).items()
            if key not in ("url", "file", "hf_hub_id", "source")
        },
        **spec.preprocessing.model_dump(exclude={GREY_RANGE}),
        "num_classes": spec.classes,
    }
    fixed = net.pretrained_cfg.get("fixed_input_size")
    architecture = spec.backbone.split(".")[0]
    config: dict[str, object] = {"architecture": architecture, "label_names": list(spec.labels)}
    if fixed and spec.size:
        config["model_args"] = {"img_size": spec.size}
    if spec.preprocessing.grey_range:
        config[GREY_RANGE] = list(spec.preprocessing.grey_range)
    try:
        save_for_hf(net, str(folder), config, safe_serialization=True)
    except RuntimeError as error:  # such as a weight that stands in two places
        raise HeadstartError(
            f"{member.source}: timm cannot write {architecture} ({first_line(error)}); export to "
            "onnx or torch_export instead"
        ) from None
    _leave_to_callers(folder / "config.json")
    return [Timm(), Pipeline("image-classification")]


def _leave_to_callers(path: Path) -> None:
    """Take out of timm's arguments what the file says elsewhere: transformers gives the number of
    classes by itself, and a second one is an error."""
    config = json.loads(path.read_bytes())
    for name in ("num_classes", "in_chans"):
        config.get("model_args", {}).pop(name, None)
    path.write_text(json.dumps(config, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")


def write_transformers_folder(member: NetworkModel, network: Network, folder: Path) -> list[Call]:
    """An architecture of transformers' own where one gives the same; else the encoder with the code
    that pools it."""
    assert isinstance(network, TextNetwork)
    if network.spec.preprocessing.keep == "both":
        raise HeadstartError(
            f"{member.source}: a tokenizer of transformers cuts texts at one side, and this run "
            "keeps start and end "
            '(model.preprocessing.keep = "both"). Export to onnx, or train with "start" or "end"'
        )
    labels = dict(enumerate(member.spec.labels))
    names: dict[str, Any] = {
        "id2label": labels,
        "label2id": {label: number for number, label in labels.items()},
        "problem_type": "single_label_classification",
    }
    model = _native(network, names) or _pooled(network, names)
    model.save_pretrained(folder)
    tokenizer = copy.deepcopy(network.tokenizer)
    # where `truncation=True` cuts
    tokenizer.model_max_length = network.spec.preprocessing.max_length
    tokenizer.padding_side = "right"
    save_tokenizer(tokenizer, folder)
    if not isinstance(model, pooled_encoder.PooledForSequenceClassification):
        return [Pipeline("text-classification", {"truncation": True})]
    shutil.copyfile(pooled_encoder.__file__, folder / "pooled_encoder.py")
    return [Pipeline("text-classification", {"truncation": True, "trust_remote_code": True})]


def _encoder_config(network: TextNetwork) -> dict[str, Any]:
    return {key: value for key, value in network.spec.config.items() if key not in LEFTOVERS}


def _native(network: TextNetwork, names: dict[str, Any]) -> PreTrainedModel | None:
    from transformers import AutoConfig, AutoModelForSequenceClassification

    encoder = network.net.get_submodule("encoder")
    try:
        with quiet():
            config = AutoConfig.for_model(**_encoder_config(network), **names)
            model: Any = AutoModelForSequenceClassification.from_config(
                config, dtype=torch.float32
            ).eval()
            model.base_model.load_state_dict(encoder.state_dict())
            heads = (getattr(model, name, None) for name in ("classifier", "score"))
            last = next(layer for layer in heads if isinstance(layer, nn.Linear))
            last.load_state_dict(network.head.state_dict())
    except (ValueError, RuntimeError, StopIteration, AttributeError):
        return None
    inputs = network.preprocessor().collate([{"text": "one or two words"}, {"text": "more"}])
    with torch.inference_mode():
        same = torch.allclose(model(**inputs).logits, network(**inputs), atol=1e-4)
    return model if same else None


def _pooled(
    network: TextNetwork, names: dict[str, Any]
) -> pooled_encoder.PooledForSequenceClassification:
    linear = [module for module in network.head.modules() if isinstance(module, nn.Linear)]
    pooled_encoder.PooledConfig.register_for_auto_class()
    pooled_encoder.PooledForSequenceClassification.register_for_auto_class(
        "AutoModelForSequenceClassification"
    )
    config = pooled_encoder.PooledConfig(
        encoder=_encoder_config(network),
        pooling=network.spec.preprocessing.pooling,
        dense=[layer.model_dump() for layer in network.spec.dense],
        widths=(linear[0].in_features, *(layer.out_features for layer in linear)),
        **names,
    )
    try:
        model = pooled_encoder.PooledForSequenceClassification(config).eval()
        model.encoder.load_state_dict(network.net.get_submodule("encoder").state_dict())
        model.dense.load_state_dict(network.net.get_submodule("dense").state_dict())
    except (RuntimeError, ValueError) as error:
        raise HeadstartError(
            f"{network.spec.backbone}: cannot be written for transformers: {first_line(error)}"
        ) from None
    places = [module for module in model.classifier if isinstance(module, nn.Linear)]
    for place, layer in zip(places, linear, strict=True):
        place.load_state_dict(layer.state_dict())
    return model


HUB_WRITERS = {"image": write_timm_folder, "text": write_transformers_folder}  # by modality
