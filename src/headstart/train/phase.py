"""One phase of a plan from start, or from where a checkpoint left it, to its end: a fresh Trainer,
which calls back here."""

from __future__ import annotations

import math
import tempfile
import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass

import torch
import transformers
from transformers import TrainerCallback, TrainerControl

from headstart.data.dataset import Examples
from headstart.errors import RecipeError
from headstart.evaluate.events import EpochDone, StepDone
from headstart.evaluate.results import Epoch, EpochRecord
from headstart.models.blocks import Blocks
from headstart.runtime.private import undo_compile
from headstart.runtime.processes import from_all, share_buffers
from headstart.train.checkpoints import Checkpoints
from headstart.train.compiled import compile_steps
from headstart.train.context import Context
from headstart.train.epochs import epochs_since_best
from headstart.train.forward import logits
from headstart.train.loader import loader_of
from headstart.train.loss import L2SP
from headstart.train.optimizer import moments_of, optimizer, set_moments
from headstart.train.prefix_cache import frozen_prefix
from headstart.train.sampling import Batches, seed_for
from headstart.train.schedules import LearningRate
from headstart.train.state import TrainState
from headstart.train.trainer import PhaseTrainer, training_arguments
from headstart.transfer.plan import Phase

CHECK_STEPS = 10  # between two checks whether a checkpoint is due


@dataclass(frozen=True)
class DryRun:
    """A few steps to learn something from, of which nothing stays: no epoch is scored, nothing
    saved.

    Args:
        factor: of the rates at each step, instead of the schedule.
        on_loss: is told each step's loss, and stops by True.
    """

    steps: int
    factor: Callable[[int], float] | None = None
    on_loss: Callable[[float], bool] | None = None


class PhaseRun(TrainerCallback):
    """The Trainer calls back at each step and epoch. Steps and epochs are counted in the training's
    state, over interruptions."""

    def __init__(
        self,
        context: Context,
        phase: Phase,
        state: TrainState,
        l2_sp: L2SP | None = None,
        checkpoints: Checkpoints | None = None,
        dry_run: DryRun | None = None,
    ) -> None:
        options, network = context.recipe.train, context.network
        self._context, self._phase, self._state = context, phase, state
        self._options, self._network = options, network
        self._checkpoints, self._dry_run = checkpoints, dry_run
        blocks = Blocks(network)
        blocks.open(phase, context.recipe.transfer.freeze_statistics)
        self._batches = Batches(
            len(context.train),
            context.batch_size,
            context.accumulation,
            context.recipe.seed,
            state.phase,
            context.machine.shard,
            context.augmenting_preprocessor.sizes(context.train.items),
            context.train.labels if options.sampling == "balanced" else None,
            context.recipe.augment,
        )
        self._schedule = LearningRate(options, self._batches.steps, phase.epochs)
        self._schedule.plateau |= state.plateau
        state.plateau = self._schedule.plateau
        self._first = state.step
        self._optimizer = optimizer(blocks, phase, options, head_only=l2_sp is not None)
        if phase.carries or state.step:
            set_moments(self._optimizer, network.net, state.moments)
        self._penalty = l2_sp.of(blocks.pretrained(phase)) if l2_sp else None
        self._epoch_started = 0.0

    def run(self) -> None:
        """Train to the end of the phase."""
        transformers.logging.set_verbosity_error()  # type: ignore[no-untyped-call]
        self._network.to(self._context.device)
        loader = loader_of(self._context, self._batches)
        prefix = None if self._dry_run else frozen_prefix(self._context, self._phase)
        left = self._batches.steps * self._phase.epochs - self._first
        steps = self._dry_run.steps if self._dry_run else left
        with tempfile.TemporaryDirectory() as folder:
            trainer = PhaseTrainer(
                self._context,
                training_arguments(self._context, steps, self._state.phase, folder),
                loader,
                self._optimizer,
                self._factor,
                self._penalty,
                prefix,
                self,
            )
            self._compilable = not (prefix or self._dry_run)
            if prefix:
                compiled = ", so training steps are not compiled" * (self._options.compile is True)
                self._note(f"frozen lower blocks ran once and not at each step{compiled}")
            self._train(trainer)

    def _train(self, trainer: PhaseTrainer) -> None:
        context, state = self._context, self._state
        self._trainer = trainer
        trainer.seen_loss += state.loss
        self._compile(left=0.0)
        scaler = trainer.accelerator.scaler
        if scaler is not None and state.scaler and (self._first or self._phase.carries):
            scaler.load_state_dict(state.scaler)
        try:
            trainer.train()
        except ValueError as error:
            if "more than 1 value per channel" not in str(error):
                raise
            raise RecipeError(
                f"train.batch_size: found {context.batch_size} for {len(context.train)} training "
                f"examples, {context.accumulation} micro-batches and {context.machine.world} "
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
        return self._state.step // self._batches.steps

    def _factor(self, taken: int) -> float:
        """Of the rates, after so many steps of this Trainer."""
        factor = self._dry_run.factor if self._dry_run else None
        return (factor or self._schedule)(self._first + taken)

    def on_epoch_begin(self, *_: object, **__: object) -> None:
        self._batches.epoch, self._batches.start = divmod(self._state.step, self._batches.steps)
        if not self._batches.start:
            self._trainer.seen_loss.zero_()
        self._epoch_started = time.perf_counter()
        self._state.meter.start()

    def on_step_begin(self, *_: object, **__: object) -> None:
        recipe, rank = self._context.recipe, self._context.machine.rank
        torch.manual_seed(seed_for(recipe.seed, self._state.phase, self._state.step, rank, 1))

    def on_step_end(
        self, args: object, state: object, control: TrainerControl, **_: object
    ) -> None:
        count, steps, epoch = len(self._context.train), self._batches.steps, self._epoch
        self._state.step += 1
        done = (self._state.step - 1) % steps + 1
        self._state.meter.step(count / steps)
        if self._state.average is not None:
            self._state.average.step()
        if self._dry_run:
            if self._dry_run.on_loss and self._dry_run.on_loss(self._take_loss()):
                control.should_training_stop = True
            return
        if done % max(steps // 10, 1) == 0:
            self._check_loss(done)
        self._context.on_event(
            StepDone(
                phase=self._state.phase + 1,
                epoch=epoch + 1,
                epochs=self._phase.epochs,
                seen=round(done * count / steps),
                of=count,
                examples_per_second=self._state.meter.examples_per_second,
            )
        )
        if done < steps and done % CHECK_STEPS == 0:
            self._save_if_due()

    def on_epoch_end(
        self, args: object, state: object, control: TrainerControl, **_: object
    ) -> None:
        self._trainer.seen_loss.item()  # waits for a GPU to have done it all
        self._state.meter.stop()
        if self._dry_run:
            return
        record = self._record()
        self._state.history.epochs.append(record)
        self._context.on_event(EpochDone(self._phase.epochs, record, self._state.best.so_far()))
        self._state.over = self._epoch == self._phase.epochs
        if not self._state.over and self._out_of_patience():
            self._state.over = control.should_training_stop = True
        if not self._state.over:
            self._compile(left=record.seconds * (self._phase.epochs - self._epoch))
        self._save_if_due()

    def _record(self) -> EpochRecord:
        """Score the epoch that has just ended, and tell the schedule."""
        epoch = Epoch(phase=self._state.phase + 1, epoch=self._epoch)
        loss, factor = self._check_loss(self._batches.steps), self._schedule(self._state.step - 1)
        selection = self._context.selection
        scores = {} if selection is None else self._select(selection, epoch)
        self._schedule.observe(scores.get("selection_loss", loss))
        return EpochRecord(
            **epoch.model_dump(),
            loss=loss,
            lr={block: rate * factor for block, rate in self._phase.rates.items()},
            seconds=time.perf_counter() - self._epoch_started,
            **scores,
        )

    def _out_of_patience(self) -> bool:
        """Whether early stopping ends the phase, which becomes a note."""
        patience, metric = self._options.early_stopping, self._options.metric
        history = self._state.history
        if not patience or self._context.selection is None:
            return False
        phase = self._state.phase + 1
        epochs = [record for record in history.epochs if record.phase == phase and record.epoch]
        if epochs_since_best(epochs, metric) < patience:
            return False
        history.notes.append(
            f"phase {phase} stopped after epoch {self._epoch} of "
            f"{self._phase.epochs}: {patience} epochs without a better {metric}"
        )
        return True

    def _compile(self, left: float) -> None:
        if self._compilable and (fault := compile_steps(self._context, left)):
            self._compilable = False
            self._note(fault)

    def _note(self, note: str) -> None:
        """Once a run."""
        if note not in self._state.history.notes:
            self._state.history.notes.append(note)

    def _take_loss(self) -> float:
        """The sum of the losses since the last call."""
        loss = sum(from_all(float(self._trainer.seen_loss)))
        self._trainer.seen_loss.zero_()
        return loss

    def _check_loss(self, done: int) -> float:
        """The mean loss over the steps of this epoch so far.

        Raises:
            HeadstartError: it is no finite number.
        """
        loss = sum(from_all(float(self._trainer.seen_loss))) / done
        if not math.isfinite(loss):
            raise RecipeError(
                f"train: the loss is {loss} at step {self._state.step} of phase "
                f"{self._phase.name!r}; expected a finite number. Lower train.lr (now "
                f"{self._options.lr:g}) or transfer.head_lr_ratio, set "
                'train.precision = "fp32", or look whether weights and preprocessing hold '
                "sensible numbers"
            )
        return loss

    def _select(self, examples: Examples, epoch: Epoch) -> dict[str, float]:
        """Score the epoch on the held-out part and keep its weights if it is the best so far."""
        average, best, network = self._state.average, self._state.best, self._network
        with average.in_place() if average else nullcontext():
            share_buffers(network)
            outputs = logits(self._context, examples)
            return best.offer(outputs, examples.labels, epoch, network.net.state_dict())

    def _save_if_due(self) -> None:
        if self._checkpoints is None or not self._checkpoints.due():
            return
        share_buffers(self._network)
        self._state.loss = float(self._trainer.seen_loss)
        self._remember(self._trainer)
        self._state.save(self._checkpoints, self._network)

    def _remember(self, trainer: PhaseTrainer) -> None:
        scaler = trainer.accelerator.scaler
        self._state.moments = moments_of(self._optimizer, self._network.net)
        self._state.scaler = scaler.state_dict() if scaler is not None else {}
