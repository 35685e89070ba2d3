"""An encoder of transformers, its token vectors pooled into one, under a classifier: for transformers alone.

This file lies beside the weights that `headstart export --to hf` writes, and is what `trust_remote_code=True` runs.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import SequenceClassifierOutput


class PooledConfig(PreTrainedConfig):
    """encoder: its own config. pooling: mean, cls, last or pooler. widths: of the head's layers, from features to classes."""

    model_type = "headstart_pooled"

    def __init__(
        self, encoder: dict[str, Any] | None = None, pooling: str = "mean", widths: tuple[int, ...] = (), **more: Any
    ) -> None:
        self.encoder, self.pooling, self.widths = encoder or {}, pooling, list(widths)
        super().__init__(**more)


class PooledForSequenceClassification(PreTrainedModel):
    """Gives `logits` of shape (n, classes)."""

    config_class = PooledConfig
    base_model_prefix = "encoder"

    def __init__(self, config: PooledConfig) -> None:
        super().__init__(config)
        self.encoder = AutoModel.from_config(AutoConfig.for_model(**config.encoder))
        if config.pooling != "pooler" and getattr(self.encoder, "pooler", None) is not None:
            self.encoder.pooler = None
        layers: list[nn.Module] = []
        for wide, narrow in zip(config.widths, config.widths[1:], strict=False):
            layers += [nn.GELU(), nn.Linear(wide, narrow)]
        self.classifier = nn.Sequential(*layers[1:])
        self.post_init()

    def _init_weights(self, module: nn.Module) -> None:
        """Nothing: all weights come from the file."""

    def forward(self, attention_mask: Tensor, labels: Tensor | None = None, **inputs: Any) -> SequenceClassifierOutput:
        inputs.pop("return_dict", None)
        found = self.encoder(attention_mask=attention_mask, **inputs)
        logits = self.classifier(self._pooled(found, attention_mask))
        loss = None if labels is None else nn.functional.cross_entropy(logits, labels)
        return SequenceClassifierOutput(loss=loss, logits=logits)

    def _pooled(self, found: Any, mask: Tensor) -> Tensor:
        vectors = found.last_hidden_state
        if self.config.pooling == "pooler":
            return found.pooler_output
        if self.config.pooling == "cls":
            return vectors[:, 0]
        if self.config.pooling == "last":
            last = (mask * torch.arange(1, mask.shape[1] + 1, device=mask.device)).argmax(1)
            return vectors[torch.arange(len(mask), device=mask.device), last]
        weights = mask.unsqueeze(-1).to(vectors.dtype)
        return (vectors * weights).sum(1) / weights.sum(1).clamp(min=1)
