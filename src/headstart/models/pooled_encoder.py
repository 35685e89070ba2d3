"""An encoder of transformers, its token vectors pooled into one, under a classifier: for
transformers alone.

A copy of this file lies beside the weights that `headstart export --to hf` writes, and is what
`trust_remote_code=True` runs; so it needs torch and transformers only.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import (
    MODEL_FOR_TEXT_ENCODING_MAPPING,
    AutoConfig,
    AutoModel,
    AutoModelForTextEncoding,
    PreTrainedConfig,
    PreTrainedModel,
)
from transformers.modeling_outputs import SequenceClassifierOutput

ACTIVATIONS = ("Identity", "Tanh", "ReLU", "GELU", "SiLU", "Sigmoid")  # of torch.nn


def _mean(output: Any, weights: Tensor) -> Tensor:
    weights = weights.unsqueeze(-1).float()
    return (output.last_hidden_state.float() * weights).sum(1) / weights.sum(1).clamp(min=1)


def _last(output: Any, mask: Tensor) -> Tensor:
    places = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(1)
    states = output.last_hidden_state
    return states.gather(1, places[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)


# (output of an encoder, mask of shape (n, tokens), padded on the right) -> shape (n, width)
POOLINGS = {
    "mean": _mean,
    "cls": lambda output, mask: output.last_hidden_state[:, 0],
    "last": _last,
    "max": lambda output, mask: output.last_hidden_state.masked_fill(
        mask.unsqueeze(-1) == 0, -torch.inf
    ).amax(1),
    # by position (Muennighoff 2022)
    "weightedmean": lambda output, mask: _mean(output, mask * mask.cumsum(1)),
    "mean_sqrt_len": lambda output, mask: _mean(output, mask) * mask.sum(1, keepdim=True).sqrt(),
    "pooler": lambda output, mask: output.pooler_output,
}


def encoder_class(config: Any) -> Any:
    """The auto class that makes the encoder alone: AutoModel would give T5 and its kind a decoder
    too."""
    return (
        AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel
    )


def without_copy(model: Any) -> Any:
    """The encoder itself of a T5EncoderModel and its kind, which hold the word vectors under a
    second name."""
    return model.encoder if hasattr(model, "shared") else model


def dense_layers(settings: Sequence[dict[str, Any]]) -> nn.Sequential:
    """Layers between the pooled vector and the classifier.

    Args:
        settings: of each layer `in_features`, `out_features`, `bias` and `activation`, a name in
            ACTIVATIONS.
    """
    layers: list[nn.Module] = []
    for layer in settings:
        if layer["activation"] not in ACTIVATIONS:
            raise ValueError(
                f"activation {layer['activation']!r}; expected {', '.join(ACTIVATIONS)}"
            )
        layers.append(nn.Linear(layer["in_features"], layer["out_features"], layer["bias"]))
        layers.append(getattr(nn, layer["activation"])())
    return nn.Sequential(*layers)


class PooledConfig(PreTrainedConfig):
    """encoder: its own config. pooling: a name in POOLINGS. dense: settings of `dense_layers`.
    widths: of the head's layers, from features to classes."""

    model_type = "headstart_pooled"

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        pooling: str = "mean",
        dense: Sequence[dict[str, Any]] = (),
        widths: Sequence[int] = (),
        **more: Any,
    ) -> None:
        self.encoder, self.pooling, self.dense, self.widths = (
            encoder or {},
            pooling,
            list(dense),
            list(widths),
        )
        super().__init__(**more)


class PooledForSequenceClassification(PreTrainedModel):
    """Gives `logits` of shape (n, classes)."""

    config_class = PooledConfig
    base_model_prefix = "encoder"

    def __init__(self, config: PooledConfig) -> None:
        super().__init__(config)
        own = AutoConfig.for_model(**config.encoder)
        self.encoder = without_copy(encoder_class(own).from_config(own))
        if config.pooling != "pooler" and getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None
        self.dense = dense_layers(config.dense)
        layers: list[nn.Module] = []
        for wide, narrow in zip(config.widths, config.widths[1:], strict=False):
            layers += [nn.GELU(), nn.Linear(wide, narrow)]
        self.classifier = nn.Sequential(*layers[1:])
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: all weights come from the file."""

    def forward(
        self, attention_mask: Tensor, labels: Tensor | None = None, **inputs: Any
    ) -> SequenceClassifierOutput:
        inputs.pop("return_dict", None)
        output = self.encoder(attention_mask=attention_mask, **inputs)
        logits = self.classifier(self.dense(POOLINGS[self.config.pooling](output, attention_mask)))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)
