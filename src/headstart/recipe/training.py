"""[train] and [augment]: the optimisation, and what is varied at random."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field, ValidationInfo, field_validator

from headstart.recipe.section import Name, Section, Share, registered, several

# keys of [train] that change no result
NO_EFFECT_ON_RESULT = {"workers": "auto", "checkpoint_seconds": 180.0, "trackers": ()}


class Schedule(Section):
    """How the learning rate moves during a phase; a bare name is short for `{ name = … }`."""

    name: Literal["constant", "step", "cosine", "exponential", "linear", "plateau"] = "cosine"
    every: Annotated[float, Field(gt=0, le=100_000)] = Field(
        7.0, description="step: epochs between two drops"
    )
    factor: Annotated[float, Field(gt=0, lt=1)] = Field(
        0.1,
        description="step, plateau: a drop multiplies the rate by it; exponential: each epoch does",
    )
    patience: Annotated[int, Field(ge=0)] = Field(
        2, description="plateau: epochs without a better loss before a drop"
    )


class Loss(Section):
    """What training minimises; a bare name is short for `{ name = … }`."""

    name: Literal["cross_entropy", "focal"] = "cross_entropy"
    gamma: Annotated[float, Field(ge=0, le=100)] = Field(
        2.0, description="focal: how much less what is right already counts"
    )


class Train(Section):
    """The optimisation. One batch is `batch_size` examples over all processes and accumulation
    steps together."""

    epochs: int = Field(5, ge=1, le=100_000)
    batch_size: Annotated[int, Field(ge=1, le=1_000_000)] | Literal["auto"] = Field(
        32,
        description="examples an optimizer step, whatever the number of processes; 'auto' goes "
        "by the number of training examples (about 50 steps an epoch, a power of two "
        "from 16 to 256)",
    )
    accumulation: Annotated[int, Field(ge=1, le=4_096)] | Literal["auto"] = Field(
        "auto",
        description="parts in which each process works through its share of a batch; 'auto' "
        "takes as few as fit into memory",
    )
    optimizer: Literal["sgd", "adamw"] = "adamw"
    lr: float = Field(1e-4, gt=0, lt=100)
    momentum: float = Field(0.9, ge=0, lt=1, description="sgd only")
    weight_decay: float = Field(
        0.01,
        ge=0,
        le=1_000,
        description="on weight matrices and kernels; never on biases and norms",
    )
    schedule: Annotated[
        Schedule,
        BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value),
    ] = Schedule()
    warmup: Share = Field(
        0.0, description="share of a phase's steps over which the rate rises from 0"
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = "auto"
    compile: bool | Literal["auto"] = Field(
        "auto",
        description="torch.compile for training steps; auto: on a GPU, once an epoch shows that "
        "a phase takes ten minutes more",
    )
    loss: Annotated[
        Loss, BeforeValidator(lambda value: {"name": value} if isinstance(value, str) else value)
    ] = Loss()
    label_smoothing: Share = Field(
        0.0, description="share of the label's weight that is spread over all classes"
    )
    class_weights: (
        Literal["balanced"] | dict[str, Annotated[float, Field(ge=0, le=10_000)]] | None
    ) = Field(
        None,
        description="weight of each class in the loss or in the fit of a scikit-learn head, by "
        "its name; 'balanced': the same for each class as a whole",
    )
    sampling: Literal["shuffle", "balanced"] = Field(
        "shuffle",
        description="each example once an epoch; 'balanced': drawn anew so that the classes come "
        "equally often (a head that is fitted as a whole weighs its examples by that "
        "instead)",
    )
    max_grad_norm: Annotated[float, Field(gt=0, le=1_000_000)] | None = Field(
        None, description="longer gradients are cut to this length"
    )
    ema: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="decay of a moving average of the weights, which then is what is "
        "validated and kept",
    )
    workers: Annotated[int, Field(ge=0, le=256)] | Literal["auto"] = Field(
        "auto",
        description="loader processes of each training process; auto: none on a processor, which "
        "loads between two steps, and on a GPU one for each core but one, at most 16",
    )
    checkpoint_seconds: Annotated[float, Field(ge=0)] = Field(
        180.0, description="least time between two checkpoints that a killed run goes on from"
    )
    trackers: several(Name) = Field(  # type: ignore[valid-type]
        (),
        description="where to send losses and metrics as well: tensorboard, wandb, mlflow or "
        "another that Accelerate knows",
    )
    metric: str = Field(
        "accuracy", description="of the held-out part, chooses the epoch and stops early"
    )
    early_stopping: Annotated[int, Field(ge=1, le=100_000)] | None = Field(
        None, description="a phase ends after so many epochs without a better metric"
    )
    selection: Literal["validation", "test"] = Field(
        "validation",
        description="the held-out part that chooses the epoch; 'test' is reported as 'selected "
        "on this set'",
    )

    @field_validator("metric")
    @classmethod
    def _known(cls, name: str, info: ValidationInfo) -> str:
        return registered("metric", name, info)


class Augment(Section):
    """What is varied at random in a training example."""

    policy: (
        Literal["none", "crop", "crop_flip", "classic", "rand_augment", "trivial_augment"] | None
    ) = Field(
        None,
        description="random resized crop; crop_flip: and a mirror image half of the time; "
        "classic: and rotation, colour jitter and erasing; or a crop, a mirror image "
        "and torchvision's policy of that name (default: crop_flip, or none where "
        "the backbone is frozen)",
    )
    mixup: Annotated[float, Field(ge=0, le=100)] = Field(
        0.0,
        description="alpha of the Beta distribution of the share that two mixed examples "
        "have; 0 for none",
    )
    cutmix: Annotated[float, Field(ge=0, le=100)] = Field(
        0.0,
        description="alpha of the share that a patch of another example takes; with mixup "
        "each half of the time",
    )

    @property
    def mixes(self) -> bool:
        """Whether examples are mixed with each other."""
        return self.mixup > 0 or self.cutmix > 0
