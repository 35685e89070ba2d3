"""A transformers encoder whose token vectors are pooled into one, under a classifier.

A copy of this file lies beside the weights that `headstart export --to hf` writes, for
`trust_remote_code=True`; it needs nothing but torch and transformers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, cast

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
DenseSettings = Mapping[str, Any]


class EncoderOutput(Protocol):
    """last_hidden_state: shape (n, tokens, width). pooler_output: shape (n, width)."""

    last_hidden_state: Tensor
    pooler_output: Tensor


def _mean(output: EncoderOutput, weights: Tensor) -> Tensor:
    weights = weights.unsqueeze(-1).float()
    return (output.last_hidden_state.float() * weights).sum(1) / weights.sum(1).clamp(min=1)


def _last(output: EncoderOutput, mask: Tensor) -> Tensor:
    places = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(1)
    states = output.last_hidden_state
    return states.gather(1, places[:, None, None].expand(-1, 1, states.shape[2])).squeeze(1)


# (output of an encoder, mask of shape (n, tokens), padded on the right) -> shape (n, width)
POOLINGS: dict[str, Callable[[EncoderOutput, Tensor], Tensor]] = {
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


def encoder_class(config: PreTrainedConfig) -> type[AutoModel | AutoModelForTextEncoding]:
    """The auto class of the encoder alone: AutoModel would give T5 and its kind a decoder too."""
    return (
        AutoModelForTextEncoding if type(config) in MODEL_FOR_TEXT_ENCODING_MAPPING else AutoModel
    )


def without_copy(model: nn.Module) -> nn.Module:
    """The encoder itself of T5EncoderModel and its kind, which hold the word vectors twice."""
    return cast(nn.Module, model.encoder) if hasattr(model, "shared") else model


def dense_layers(settings: Sequence[DenseSettings]) -> nn.Sequential:
    """Layers between the pooled vector and the classifier, by `in_features`, `out_features`, `bias`
    and `activation` (a name in ACTIVATIONS) of each."""
    layers: list[nn.Module] = []
    for layer in settings:
        if layer["activation"] not in ACTIVATIONS:
            raise ValueError(
                f"activation {layer['activation']!r}; expected {', '.join(ACTIVATIONS)}"
            )
        layers.append(nn.Linear(layer["in_features"], layer["out_features"], layer["bias"]))
        layers.append(getattr(nn, layer["activation"])())
    return nn.Sequential(*layers)


class PooledConfig(PreTrainedConfig):  # type: ignore[no-untyped-call]
    """encoder: its own config. pooling: a name in POOLINGS. dense: settings of `dense_layers`.
    widths: of the head's layers, from features to classes."""

    model_type = "headstart_pooled"

    def __init__(
        self,
        encoder: dict[str, Any] | None = None,
        pooling: str = "mean",
        dense: Sequence[DenseSettings] = (),
        widths: Sequence[int] = (),
        **options: Any,
    ) -> None:
        self.encoder, self.pooling = encoder or {}, pooling
        self.dense, self.widths = list(dense), list(widths)
        super().__init__(**options)


class PooledForSequenceClassification(PreTrainedModel):  # type: ignore[no-untyped-call]
    """Gives `logits` of shape (n, classes)."""

    config_class = PooledConfig
    base_model_prefix = "encoder"

    def __init__(self, config: PooledConfig) -> None:
        super().__init__(config)
        encoder_config = AutoConfig.for_model(**config.encoder)
        encoder = encoder_class(encoder_config).from_config(encoder_config)  # type: ignore[no-untyped-call]
        self.encoder = without_copy(encoder)
        if config.pooling != "pooler" and getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None  # type: ignore[assignment]
        self.dense = dense_layers(config.dense)
        layers: list[nn.Module] = []
        for in_features, out_features in zip(config.widths, config.widths[1:], strict=False):
            layers += [nn.GELU(), nn.Linear(in_features, out_features)]
        self.classifier = nn.Sequential(*layers[1:])
        self.post_init()  # type: ignore[no-untyped-call]

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: all weights come from the file."""

    def forward(
        self, attention_mask: Tensor, labels: Tensor | None = None, **inputs: object
    ) -> SequenceClassifierOutput:
        inputs.pop("return_dict", None)
        output = self.encoder(attention_mask=attention_mask, **inputs)
        logits = self.classifier(self.dense(POOLINGS[self.config.pooling](output, attention_mask)))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)
