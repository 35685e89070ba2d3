"""The optimizer that a recipe names."""

from __future__ import annotations

from typing import Any

import torch

from headstart.sections import Train


def optimizer(groups: list[dict[str, Any]], options: Train) -> torch.optim.Optimizer:
    """SGD with momentum, or AdamW (Loshchilov & Hutter 2019), over groups that bring their rates and weight decay."""
    if options.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=options.lr, momentum=options.momentum)
    return torch.optim.AdamW(groups, lr=options.lr)
