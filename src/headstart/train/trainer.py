"""The thin subclass of transformers.Trainer that runs one phase."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader
from transformers import PrinterCallback, Trainer, TrainerCallback, TrainingArguments

from headstart.runtime.depthwise import fp32_depthwise_gradients
from headstart.runtime.private import use_one_gpu
from headstart.train.context import Context
from headstart.train.loader import TrainingSample
from headstart.train.loss import Loss
from headstart.train.prefix_cache import FrozenPrefix


class PhaseTrainer(Trainer):
    """transformers.Trainer with our loader, groups, schedule and loss.

    Args:
        factor: of the learning rates, at each step that this Trainer takes.
        penalty: what is added to the loss of a batch, or None.
        prefix: enters the network above its frozen lower blocks, or None.
    """

    def __init__(
        self,
        context: Context,
        arguments: TrainingArguments,
        loader: DataLoader[TrainingSample],
        optimizer: torch.optim.Optimizer,
        factor: Callable[[int], float],
        penalty: Callable[[], Tensor] | None,
        prefix: FrozenPrefix | None,
        phase: TrainerCallback,
    ) -> None:
        super().__init__(
            model=context.network,
            args=arguments,
            train_dataset=loader.dataset,
            optimizers=(optimizer, None),
            callbacks=[phase],
        )
        self.remove_callback(PrinterCallback)
        self.model_accepts_loss_kwargs = False
        self._loader, self._factor, self._penalty = loader, factor, penalty
        self._loss = Loss(context.recipe.train, context.class_weights, context.device)
        self._prefix = prefix
        self._depthwise = fp32_depthwise_gradients(
            arguments.device, "bf16" if arguments.bf16 else "fp32"
        )
        # this process's part of the sum over the batches
        self.seen_loss = torch.zeros((), device=arguments.device)

    def get_train_dataloader(self) -> DataLoader[TrainingSample]:
        return self._loader

    def create_scheduler(
        self, num_training_steps: int, optimizer: torch.optim.Optimizer | None = None
    ) -> torch.optim.lr_scheduler.LRScheduler:
        if self.lr_scheduler is None:
            self.lr_scheduler = torch.optim.lr_scheduler.LambdaLR(self.optimizer, self._factor)  # type: ignore[arg-type]
        return self.lr_scheduler

    def _get_grad_norm(self, model: nn.Module, grad_norm: float | None = None) -> float | None:
        # the Trainer would measure it at every step to log it: 4 % of a ResNet-18 step at batch 16
        return grad_norm

    def compute_loss(
        self,
        model: nn.Module,
        inputs: dict[str, Tensor],
        return_outputs: bool = False,
        num_items_in_batch: object = None,
    ) -> Tensor:
        """The loss, weighted so that the sum over processes and micro-batches is the mean over the
        whole batch.

        The Trainer divides by the number of micro-batches and DistributedDataParallel by that of
        processes; both are undone.
        """
        labels, weights, rows = (inputs.pop(name) for name in ("labels", "weights", "rows"))
        with self._depthwise, self._prefix.entered(rows) if self._prefix else nullcontext():
            outputs = model(**inputs)
        part = (self._loss(outputs, labels) * weights).sum()
        self.seen_loss += part.detach()
        parts = self.accelerator.num_processes * self.current_gradient_accumulation_steps
        loss: Tensor = part * parts + (self._penalty() if self._penalty else 0.0)
        return loss


def training_arguments(context: Context, steps: int, phase: int, folder: str) -> TrainingArguments:
    """What the Trainer is told of a phase, counted from 0; nothing is written into the folder."""
    processes = context.machine.world
    on_cpu = context.device.type == "cpu"
    arguments = TrainingArguments(
        output_dir=folder,
        max_steps=steps,
        per_device_train_batch_size=max(
            context.batch_size // (processes * context.accumulation), 1
        ),
        gradient_accumulation_steps=context.accumulation,
        max_grad_norm=context.recipe.train.max_grad_norm or 0.0,
        seed=(context.recipe.seed + phase) % 2**32,
        bf16=context.precision == "bf16",
        fp16=context.precision == "fp16",
        use_cpu=on_cpu,
        ddp_backend="gloo" if on_cpu and processes > 1 else None,
        ddp_find_unused_parameters=False,
        remove_unused_columns=False,
        logging_strategy="no",
        logging_nan_inf_filter=False,
        log_level="error",
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
    )
    use_one_gpu(arguments)
    # whatever a launcher says
    arguments.mixed_precision = {"fp32": "no"}.get(context.precision, context.precision)
    return arguments
