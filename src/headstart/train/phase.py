"""One phase of a plan from start, or from where a checkpoint left it, to its end: a fresh Trainer,
which calls back here."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
import transformers
from transformers import TrainerCallback, TrainingArguments

from headstart.data.dataset import Examples
from headstart.errors import HeadstartError
from headstart.models.blocks import Blocks
from headstart.models.network import Network
from headstart.runtime.private import undo_compile, use_one_gpu
from headstart.runtime.processes import from_all, share_buffers
from headstart.train.best import epochs_since_the_best
from headstart.train.compiled import compile_steps
from headstart.train.context import TrainContext
from headstart.train.forward import logits
from headstart.train.loader import loader_of
from headstart.train.loss import Loss
from headstart.train.moments import moments_of, remember
from headstart.train.optimizer import optimizer
from headstart.train.penalties import L2SP
from headstart.train.prefix_cache import lower_of
from headstart.train.sampling import Batches, TrainingSet, seed_for
from headstart.train.schedules import LearningRate
from headstart.train.state import TrainState
from headstart.train.trainer import PhaseTrainer
from headstart.transfer.plan import Phase

CHECK_STEPS = 10  # between two looks at whether a checkpoint is due


@dataclass(frozen=True)
class DryRun:
    """A few steps to learn something from, of which nothing stays: no epoch is scored, nothing
    saved.

    factor: of the rates at each step, instead of the schedule. hear: is told each step's loss, and
    stops by True.
    """

    steps: int
    factor: Callable[[int], float] | None = None
    hear: Callable[[float], bool] | None = None


class PhaseRun(TrainerCallback):
    """The Trainer calls back at each step and epoch. Steps and epochs are counted in the course,
    over interruptions."""

    def __init__(
        self,
        network: Network,
        blocks: Blocks,
        phase: Phase,
        context: TrainContext,
        course: TrainState,
        distance: L2SP | None = None,
        rehearsal: DryRun | None = None,
    ) -> None:
        options = context.options
        self._network, self._phase, self._context, self._course = network, phase, context, course
        self._distance, self._rehearsal = distance, rehearsal
        blocks.open(phase, context.transfer.freeze_statistics)
        self._batches = Batches(
            len(context.train),
            context.batch_size,
            context.accumulation,
            context.seed,
            course.phase,
            context.shard,
            context.augmented.sizes(context.train.items),
            context.train.labels if options.sampling == "balanced" else None,
            context.augment,
        )
        self._schedule = LearningRate(options, self._batches.steps, phase.epochs)
        self._schedule.plateau |= course.plateau
        course.plateau = self._schedule.plateau
        self._first = course.step
        self._optimizer = optimizer(
            blocks.groups(phase, options.weight_decay, distance is not None), options
        )
        if phase.carries or course.step:
            remember(self._optimizer, network.net, course.moments)
        self._penalty = distance.of(blocks.pretrained(phase)) if distance else None
        self._epoch_started = 0.0

    def run(self) -> None:
        """Train to the end of the phase."""
        context, options, course = self._context, self._context.options, self._course
        transformers.logging.set_verbosity_error()
        left = self._batches.steps * self._phase.epochs - self._first
        arguments = TrainingArguments(
            output_dir=str(context.folder),
            max_steps=self._rehearsal.steps if self._rehearsal else left,
            per_device_train_batch_size=max(
                context.batch_size // (context.shard.world * context.accumulation), 1
            ),
            gradient_accumulation_steps=context.accumulation,
            max_grad_norm=options.max_grad_norm or 0.0,
            seed=(context.seed + course.phase) % 2**32,
            bf16=context.precision == "bf16",
            fp16=context.precision == "fp16",
            use_cpu=context.device.type == "cpu",
            ddp_backend="gloo"
            if context.device.type == "cpu" and context.shard.world > 1
            else None,
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
        self._network.to(context.device)
        loss = Loss(options, context.class_weights, context.device)
        examples = TrainingSet(
            context.train, context.augmented, self._network.spec.classes, context.kept
        )
        loader = loader_of(examples, self._batches, options.workers, context.device)
        lower = None if self._rehearsal else lower_of(self._network, self._phase, context)
        trainer = PhaseTrainer(
            self._network,
            arguments,
            loader,
            self._optimizer,
            self._factor,
            loss,
            self._penalty,
            lower,
            self,
        )
        self._trainer = trainer
        trainer.seen_loss += course.loss
        self._compilable = not (lower or self._rehearsal)
        if lower:
            self._note(
                "frozen lower blocks ran once and not at each step"
                + (", so training steps are not compiled" if options.compile is True else "")
            )
        self._compile(left=0.0)
        if (
            trainer.accelerator.scaler is not None
            and course.scaler
            and (self._first or self._phase.carries)
        ):
            trainer.accelerator.scaler.load_state_dict(course.scaler)
        try:
            trainer.train()
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise HeadstartError(
                f"train.batch_size: found {context.batch_size} for {len(context.train)} training "
                f"examples, {context.accumulation} micro-batches and {context.shard.world} "
                "processes, which leaves a single example to work on at once; BatchNorm needs "
                "two. Choose a larger batch size"
            ) from None
        del self._trainer  # a circle would keep the loader's processes alive
        self._remember(trainer)
        undo_compile(self._network)
        # takes autocast off again
        trainer.accelerator.unwrap_model(trainer.model_wrapped, keep_fp32_wrapper=False)

    @property
    def _epoch(self) -> int:
        """Of the step that comes next, from 0."""
        return self._course.step // self._batches.steps

    def _factor(self, taken: int) -> float:
        """Of the rates, after so many steps of this Trainer."""
        step = self._first + taken
        return (
            self._rehearsal.factor(step)
            if self._rehearsal and self._rehearsal.factor
            else self._schedule(step)
        )

    def on_epoch_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._batches.epoch, self._batches.start = divmod(self._course.step, self._batches.steps)
        if not self._batches.start:
            self._trainer.seen_loss.zero_()
        self._epoch_started = time.perf_counter()
        self._course.meter.start()

    def on_step_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        context, course = self._context, self._course
        torch.manual_seed(seed_for(context.seed, course.phase, course.step, context.shard.rank, 1))

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        context, course, steps = self._context, self._course, self._batches.steps
        epoch = self._epoch
        course.step += 1
        done = (course.step - 1) % steps + 1
        course.meter.step(len(context.train) / steps)
        if course.average is not None:
            course.average.step()
        if self._rehearsal:
            self._hear(control)
            return
        if done % max(steps // 10, 1) == 0:
            self._check_loss(done)
        context.tell(
            {
                "event": "step",
                "phase": course.phase + 1,
                "epoch": epoch + 1,
                "epochs": self._phase.epochs,
                "seen": round(done * len(context.train) / steps),
                "of": len(context.train),
                "examples_per_second": course.meter.examples_per_second,
            }
        )
        if done < steps and done % CHECK_STEPS == 0:
            self._save_if_due()

    def on_epoch_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        self._trainer.seen_loss.item()  # waits for a GPU to have done it all
        self._course.meter.stop()
        if self._rehearsal:
            return
        context, course, options = self._context, self._course, self._context.options
        factor = self._schedule(course.step - 1)
        row: dict[str, Any] = {
            "phase": course.phase + 1,
            "epoch": self._epoch,
            "loss": self._check_loss(self._batches.steps),
            "lr": {block: rate * factor for block, rate in self._phase.rates.items()},
        }
        if context.selection is not None:
            row |= self._select(context.selection, row)
        self._schedule.observe(row.get("selection_loss", row["loss"]))
        row["seconds"] = time.perf_counter() - self._epoch_started
        course.history.epochs.append(row)
        context.tell(
            {"event": "epoch", "epochs": self._phase.epochs, **row, **course.best.so_far()}
        )
        course.over = self._epoch == self._phase.epochs
        if options.early_stopping and context.selection is not None and not course.over:
            own = [
                row
                for row in course.history.epochs
                if row["phase"] == course.phase + 1 and row["epoch"]
            ]
            if epochs_since_the_best(own, options.metric) >= options.early_stopping:
                course.over = control.should_training_stop = True
                course.history.notes.append(
                    f"phase {course.phase + 1} stopped after epoch {self._epoch} of "
                    f"{self._phase.epochs}: {options.early_stopping} epochs without a better "
                    f"{options.metric}"
                )
        if not course.over:
            self._compile(left=row["seconds"] * (self._phase.epochs - self._epoch))
        self._save_if_due()

    def _compile(self, left: float) -> None:
        if self._compilable and (fault := compile_steps(self._network, self._context, left)):
            self._compilable = False
            self._note(fault)

    def _note(self, remark: str) -> None:
        """Once a run."""
        if remark not in self._course.history.notes:
            self._course.history.notes.append(remark)

    def _hear(self, control: Any) -> None:
        assert self._rehearsal
        if self._rehearsal.hear:
            loss = sum(from_all(float(self._trainer.seen_loss)))
            self._trainer.seen_loss.zero_()
            control.should_training_stop = control.should_training_stop or self._rehearsal.hear(
                loss
            )

    def _check_loss(self, done: int) -> float:
        """The mean loss over the steps of this epoch so far.

        Raises:
            HeadstartError: it is no finite number.
        """
        course = self._course
        loss = sum(from_all(float(self._trainer.seen_loss))) / done
        if not math.isfinite(loss):
            raise HeadstartError(
                f"train: the loss is {loss} at step {course.step} of phase {self._phase.name!r}; "
                f"expected a finite number. Lower train.lr (now {self._context.options.lr:g}) or "
                "transfer.head_lr_ratio, set "
                'train.precision = "fp32", or look whether weights and preprocessing hold '
                "sensible numbers"
            )
        return loss

    def _select(self, examples: Examples, row: dict[str, Any]) -> dict[str, float]:
        """Score the epoch on the held-out part and keep its weights if it is the best so far."""
        average = self._course.average
        if average is None:
            return self._scored(examples, row)
        with average.in_place():
            return self._scored(examples, row)

    def _scored(self, examples: Examples, row: dict[str, Any]) -> dict[str, float]:
        context, network = self._context, self._network
        share_buffers(network)
        scores = logits(network, examples.items, context.plain, context.device, context.precision)
        where = {key: row[key] for key in ("phase", "epoch")}
        return self._course.best.offer(scores, examples.labels, where, network.net.state_dict())

    def _save_if_due(self) -> None:
        course, checkpoints = self._course, self._context.checkpoints
        if checkpoints is None or not checkpoints.due():
            return
        share_buffers(self._network)
        course.loss = float(self._trainer.seen_loss)
        self._remember(self._trainer)
        checkpoints.save(f"{course.phase:03}-{course.step:09}", *course.packed(self._network))

    def _remember(self, trainer: PhaseTrainer) -> None:
        scaler = trainer.accelerator.scaler
        self._course.moments = moments_of(self._optimizer, self._network.net)
        self._course.scaler = scaler.state_dict() if scaler is not None else {}
