"""The thin subclass of transformers.Trainer that runs one phase."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from headstart.models.network import Network
from headstart.runtime.depthwise import fp32_depthwise_gradients
from headstart.train.loss import Loss
from headstart.train.prefix_cache import FrozenPrefix


class PhaseTrainer(Trainer):
    """transformers.Trainer with our loader, groups, schedule and loss.

    Args:
        factor: of the learning rates, at each step that this Trainer takes.
        penalty: what is added to the loss of a batch, or None.
        lower: enters the network above its frozen lower blocks, or None.
    """

    def __init__(
        self,
        network: Network,
        arguments: TrainingArguments,
        loader: DataLoader[Any],
        optimizer: torch.optim.Optimizer,
        factor: Callable[[int], float],
        loss: Loss,
        penalty: Callable[[], Tensor] | None,
        lower: FrozenPrefix | None,
        phase: TrainerCallback,
    ) -> None:
        super().__init__(
            model=network,
            args=arguments,
            train_dataset=loader.dataset,
            optimizers=(optimizer, None),
            callbacks=[phase],
        )
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = False
        self._loader, self._factor, self._loss, self._penalty = loader, factor, loss, penalty
        self._lower = lower
        self._eased = fp32_depthwise_gradients(
            arguments.device, "bf16" if arguments.bf16 else "fp32"
        )
        # this process's part of the sum over the batches
        self.seen_loss = torch.zeros((), device=arguments.device)

    def get_train_dataloader(self) -> DataLoader[Any]:
        return self._loader

    def create_scheduler(self, num_training_steps: int, optimizer: Any = None) -> Any:
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._factor)  # type: ignore[arg-type]
        return self.lr_scheduler

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> Any:
        # the Trainer would measure it at every step to log it: 4 % of a ResNet-18 step at batch 16
        return grad_norm

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: Any = None,
    ) -> Tensor:
        """The loss, weighted so that the sum over processes and micro-batches is the mean over the
        whole batch.

        The Trainer divides by the number of micro-batches and DistributedDataParallel by that of
        processes; both are undone.
        """
        labels, weights, rows = (inputs.pop(name) for name in ("labels", "weights", "rows"))
        with self._eased, self._lower.entered(rows) if self._lower else nullcontext():
            outputs = model(**inputs)
        part = (self._loss(outputs, labels) * weights).sum()
        self.seen_loss += part.detach()
        parts = self.accelerator.num_processes * self.current_gradient_accumulation_steps
        return part * parts + (self._penalty() if self._penalty else 0.0)
