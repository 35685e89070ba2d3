"""The one engine for gradients: a plan's phases, each in a fresh transformers.Trainer.

The Trainer hands precision and data parallelism to Accelerate; what is fixed here is which blocks train at which rate, the
data order, the loss, and the choice of the best epoch. A Trainer is never trained twice: its old optimizer would go on
stepping the parameters of the phase before.
"""

from __future__ import annotations

import copy
import logging
import math
import os
import time
from dataclasses import dataclass, field
from typing import Any

import torch
import transformers
from torch.utils.data import DataLoader
from transformers import TrainerCallback, TrainingArguments

from headstart.data.dataset import Examples
from headstart.errors import HeadstartError
from headstart.models.network import Network
from headstart.train.best import Best
from headstart.train.draws import Batches, TrainingSet, seed_for
from headstart.train.forward import logits
from headstart.train.meter import WARMUP_STEPS, Meter
from headstart.train.optimizer import optimizer
from headstart.train.processes import share_buffers
from headstart.train.schedules import LearningRate
from headstart.train.setting import History, Setting
from headstart.train.trainer import PhaseTrainer
from headstart.transfer.blocks import Blocks
from headstart.transfer.plan import Phase, Plan


def tune(network: Network, plan: Plan, setting: Setting) -> History:
    """Train a network as a plan says, in place, and leave it with the weights of the best epoch.

    The best epoch is the one with the highest accuracy on the selection part over all phases (of equals, the one with the
    lower loss); without a selection part the last epoch is kept. A phase starts from the last weights of the one before.

    Raises:
        HeadstartError: the loss is no longer finite, or the launcher asks for sharded training.
    """
    _refuse_sharding()
    started = time.perf_counter()
    course = _Course()
    history, best = course.history, course.best
    blocks = Blocks(network)
    for number, phase in enumerate(plan.phases):
        _Phase(network, blocks, phase, number, setting, course).run()
    share_buffers(network)
    if best.weights is not None:
        network.net.load_state_dict(best.weights)
        history.kept = best.epoch
    elif history.epochs:
        history.kept = {key: history.epochs[-1][key] for key in ("phase", "epoch")}
    history.examples_per_second = course.meter.examples_per_second
    history.seconds = time.perf_counter() - started
    return history


def seconds_per_epoch(network: Network, phase: Phase, setting: Setting) -> float:
    """A guess at an epoch's time, from a few real steps on a copy of the network; validation is not in it."""
    twin = copy.deepcopy(network)
    course = _Course()
    _Phase(twin, Blocks(twin), phase, 0, setting, course, max_steps=WARMUP_STEPS + 2).run()
    return len(setting.train) / (course.meter.examples_per_second or math.inf)


@dataclass
class _Course:
    """What the phases of one run share."""

    history: History = field(default_factory=History)
    best: Best = field(default_factory=Best)
    meter: Meter = field(default_factory=Meter)


class _Phase(TrainerCallback):
    """One phase from start to end; the Trainer calls back at each step and epoch."""

    def __init__(
        self,
        network: Network,
        blocks: Blocks,
        phase: Phase,
        number: int,
        setting: Setting,
        course: _Course,
        max_steps: int = -1,
    ) -> None:
        options = setting.options
        self._network, self._phase, self._number, self._setting = network, phase, number, setting
        self._history, self._best, self._meter = course.history, course.best, course.meter
        self._max_steps = max_steps
        blocks.open(phase)
        self._batches = Batches(
            len(setting.train),
            setting.batch_size,
            setting.accumulation,
            setting.seed,
            number,
            setting.shard,
            setting.augmented.sizes(setting.train.items),
        )
        self._schedule = LearningRate(options, self._batches.steps, phase.epochs)
        self._groups = blocks.groups(phase, options.weight_decay)
        self._loss = 0.0
        self._epoch_started = 0.0

    def run(self) -> None:
        setting, options = self._setting, self._setting.options
        transformers.logging.set_verbosity_error()
        arguments = TrainingArguments(
            output_dir=str(setting.folder),
            num_train_epochs=self._phase.epochs,
            max_steps=self._max_steps,
            per_device_train_batch_size=max(setting.batch_size // (setting.shard.world * setting.accumulation), 1),
            gradient_accumulation_steps=setting.accumulation,
            max_grad_norm=0.0,
            seed=(setting.seed + self._number) % 2**32,
            bf16=setting.precision == "bf16",
            fp16=setting.precision == "fp16",
            use_cpu=setting.device.type == "cpu",
            ddp_backend="gloo" if setting.device.type == "cpu" and setting.shard.world > 1 else None,
            ddp_find_unused_parameters=False,
            remove_unused_columns=False,
            logging_steps=max(self._batches.steps // 10, 1),
            logging_nan_inf_filter=False,
            log_level="error",
            save_strategy="no",
            report_to="none",
            disable_tqdm=True,
        )
        arguments._n_gpu = min(arguments.n_gpu, 1)  # several GPUs are the launcher's work, never nn.DataParallel's
        self._network.to(setting.device)
        steps = optimizer(self._groups, options)
        trainer = PhaseTrainer(self._network, arguments, self._loader(), steps, self._schedule, self)
        try:
            trainer.train()
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise HeadstartError(
                f"train.batch_size: found {setting.batch_size} for {len(setting.train)} training examples, "
                f"{setting.accumulation} micro-batches and {setting.shard.world} processes, which leaves "
                "a single example to work on at once; BatchNorm needs two. Choose a larger batch size"
            ) from None
        trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_fp32_wrapper=False)  # takes autocast off again

    def _loader(self) -> DataLoader[Any]:
        setting = self._setting
        workers = loader_workers(setting.options.workers, setting.device)
        examples = TrainingSet(setting.train, setting.augmented)
        return DataLoader(
            examples,
            batch_sampler=self._batches,
            collate_fn=examples.collate,
            num_workers=workers,
            persistent_workers=workers > 0,
            pin_memory=setting.device.type == "cuda",
        )

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._batches.epoch = round(state.epoch or 0)
        self._loss = 0.0
        self._epoch_started = time.perf_counter()
        self._meter.start()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        setting = self._setting
        torch.manual_seed(seed_for(setting.seed, self._number, state.global_step, setting.shard.rank, 1))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        setting, done = self._setting, (state.global_step - 1) % self._batches.steps + 1
        self._meter.step(len(setting.train) / self._batches.steps)
        control.should_log = control.should_log or done == self._batches.steps
        setting.tell(
            {
                "event": "step",
                "phase": self._number + 1,
                "epoch": self._batches.epoch + 1,
                "epochs": self._phase.epochs,
                "seen": round(done * len(setting.train) / self._batches.steps),
                "of": len(setting.train),
                "examples_per_second": self._meter.examples_per_second,
            }
        )

    def on_log(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        logs: dict[str, float] = more["logs"]
        if "loss" not in logs:
            return
        if not math.isfinite(logs["loss"]):
            raise HeadstartError(
                f"train: the loss is {logs['loss']} at step {state.global_step} of phase {self._phase.name!r}; expected a "
                f"finite number. Lower train.lr (now {self._setting.options.lr:g}) or transfer.head_lr_ratio, set "
                'train.precision = "fp32", or look whether weights and preprocessing hold sensible numbers'
            )
        steps = (state.global_step - 1) % self._batches.steps + 1
        logged = steps % args.logging_steps or args.logging_steps
        self._loss += (logs["loss"] * logged - self._loss * logged) / steps  # running mean over the epoch's steps

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._max_steps > 0:
            return
        factor = self._schedule(max(state.global_step - 1, 0))
        row: dict[str, Any] = {
            "phase": self._number + 1,
            "epoch": self._batches.epoch + 1,
            "loss": self._loss,
            "lr": {block: rate * factor for block, rate in self._phase.rates.items()},
        }
        if self._setting.selection is not None:
            row |= self._select(self._setting.selection, row)
        self._schedule.observe(row.get("selection_loss", self._loss))
        row["seconds"] = time.perf_counter() - self._epoch_started
        self._history.epochs.append(row)
        self._setting.tell({"event": "epoch", "epochs": self._phase.epochs, **row, **self._best.so_far()})

    def _select(self, examples: Examples, row: dict[str, Any]) -> dict[str, float]:
        """Score the epoch on the held-out part and keep its weights if it is the best so far."""
        setting = self._setting
        share_buffers(self._network)
        scores = logits(self._network, examples.items, setting.plain, setting.device, setting.precision)
        where = {key: row[key] for key in ("phase", "epoch")}
        return self._best.offer(scores, examples.labels, where, self._network.net)


def loader_workers(wanted: int | str, device: torch.device) -> int:
    """Loader processes of one training process: what the recipe says, else by the cores that one process has."""
    if isinstance(wanted, int):
        return wanted
    cores = (os.cpu_count() or 1) // int(os.environ.get("LOCAL_WORLD_SIZE", 1))
    return min(cores, 2 if device.type == "cpu" else 8)


def _refuse_sharding() -> None:
    for variable, name in (("ACCELERATE_USE_FSDP", "FSDP"), ("ACCELERATE_USE_DEEPSPEED", "DeepSpeed")):
        if os.environ.get(variable, "").lower() in ("1", "true", "yes"):
            raise HeadstartError(
                f"accelerate: the launcher asks for {name}; headstart trains data-parallel only. Choose multi-GPU without "
                f"{name} in `accelerate config`"
            )


logging.getLogger("accelerate").setLevel(logging.ERROR)
