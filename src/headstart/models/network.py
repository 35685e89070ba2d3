"""A pretrained network with a new head, the same from outside whatever it reads."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headstart.errors import HeadstartError, first_line
from headstart.models import sklearn_head
from headstart.models.preprocessor import Preprocessor
from headstart.models.spec import CONFIG, Origin, Spec
from headstart.recipe import Head

WEIGHTS = "network.safetensors"
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Network(nn.Module):
    """Holds the network proper (`net`), how its parameters fall into blocks, and what rebuilds it.

    `partition` maps each block name, in forward order, to the names of its parameters in `net`.
    With its `spec` and the saved weights the network comes back with no hub.
    `head_name` is the module of `net` that works on the features; where a scikit-learn classifier
    takes its place (`estimator`, once it is fitted) it passes them on unchanged.
    """

    net: nn.Module
    head_name: str
    partition: Mapping[str, tuple[str, ...]]
    spec: Spec
    estimator: Any

    def __init__(self) -> None:
        super().__init__()
        self.estimator = None
        self._held: list[nn.Module] = []

    @property
    def head(self) -> nn.Module:
        """The part of `net` that works on the features."""
        return self.net.get_submodule(self.head_name)

    @abstractmethod
    def forward(self, **inputs: Tensor) -> Tensor:
        """Logits, shape (n, classes)."""

    @abstractmethod
    def features(self, **inputs: Tensor) -> Tensor:
        """The input of the head, shape (n, width): what a frozen backbone knows about the
        examples."""

    def for_inference(self) -> Network:
        """What has the same features and no use but evaluation, as fast as it can be made; may be
        the network itself."""
        return self

    def attribute(self, inputs: dict[str, Tensor], targets: Tensor) -> Tensor | None:
        """How much each place of the inputs speaks for a class, shape (n, height, width) or (n,
        tokens); None where that cannot be told."""
        return None

    @property
    def family(self) -> str:
        """The architecture, as its library calls it."""
        return self.spec.backbone

    @property
    @abstractmethod
    def reads(self) -> str:
        """What it makes of an example before it looks at it, in words."""

    @property
    def statistics(self) -> list[nn.Module]:
        """The modules that keep running statistics of what passes through them: BatchNorm and its
        like."""
        return [module for module in self.net.modules() if isinstance(module, BATCH_NORMS)]

    @abstractmethod
    def preprocessor(self, policy: str = "none") -> Preprocessor:
        """How its examples are read, training examples varied by a policy."""

    def set_trainable(self, names: Iterable[str], freeze_statistics: bool = False) -> None:
        """Let gradients into exactly these parameters of `net`; everything else is frozen.

        A frozen part is held in evaluation mode too: neither its parameters nor its BatchNorm
        statistics move, and it drops nothing out. With `freeze_statistics` those of the other parts
        stay as well.
        """
        wanted = set(names)
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(name in wanted)
        self._held = _frozen_modules(self.net)
        if freeze_statistics:
            self._held += self.statistics

    def train(self, mode: bool = True) -> Network:
        """As in torch, but what is frozen stays in evaluation mode."""
        super().train(mode)
        for module in self._held:
            module.eval()
        return self

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and config (JSON) into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        own = self._own_state()
        save_file(
            {name: value.detach().cpu().contiguous().clone() for name, value in own.items()},
            folder / WEIGHTS,
        )
        if self.estimator is not None:
            sklearn_head.save(self.estimator, folder)
        (folder / CONFIG).write_text(self.spec.model_dump_json(indent=2) + "\n", encoding="utf-8")
        # safetensors keeps others from reading its files
        (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)

    def _own_state(self) -> dict[str, Tensor]:
        """What a run saves: all tensors, or beside an untouched backbone those of the adapters and
        the head."""
        state = self.net.state_dict()
        if not self.spec.adapters:
            return state
        head = f"{self.head_name}."
        return {key: state[key] for key in state if ".lora_" in key or key.startswith(head)}

    def load_weights(self, folder: Path) -> None:
        """Read the weights, and the classifier if there is one, that `save` wrote.

        Raises:
            HeadstartError: the file is missing, damaged or belongs to another network.
        """
        path = folder / WEIGHTS
        try:
            state = load_file(path)
            if set(state) != set(self._own_state()):
                raise RuntimeError("other tensors than it has")
            self.net.load_state_dict(state, strict=False)
        except (OSError, SafetensorError, RuntimeError) as error:
            raise HeadstartError(
                f"{path}: expected the weights of a {self.spec.backbone} network; found: "
                f"{first_line(error)}"
            ) from None
        if self.spec.head.is_estimator:
            self.estimator = sklearn_head.load(
                folder, self.spec.head, self.spec.width, self.spec.classes
            )


def _frozen_modules(module: nn.Module) -> list[nn.Module]:
    """The topmost modules all of whose parameters are frozen.

    A module with buffers but no parameters (a BatchNorm without affine weights) goes with the
    sibling before it.
    """
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        return [module]
    held: list[nn.Module] = []
    frozen_before = False
    for child in module.children():
        if any(True for _ in child.parameters()):
            inner = _frozen_modules(child)
            frozen_before = inner == [child]
            held += inner
        elif frozen_before and any(True for _ in child.buffers()):
            held.append(child)
    return held


def build_head(head: Head, width: int, classes: int) -> nn.Module:
    """A linear classifier, or an MLP with GELU, with dropout before each linear layer; nothing
    where a scikit-learn classifier will stand.

    Args:
        head: the recipe's settings.
        width: features of the backbone.
        classes: logits.
    """
    if head.is_estimator:
        return nn.Identity()
    rates = head.dropout if len(head.dropout) > 1 else head.dropout * (len(head.hidden) + 1)
    layers: list[nn.Module] = []
    for wide, narrow, rate in zip(
        (width, *head.hidden), (*head.hidden, classes), rates, strict=True
    ):
        if layers:
            layers.append(nn.GELU())
        if rate > 0:
            layers.append(nn.Dropout(rate))
        layers.append(nn.Linear(wide, narrow))
    last = layers[-1]
    assert isinstance(last, nn.Linear)
    nn.init.zeros_(last.bias)
    # starts near "every class alike", so the first gradients stay small
    nn.init.trunc_normal_(last.weight, std=0.01)
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def digest(net: nn.Module, classifier: str) -> str:
    """SHA-256 over names and values of all tensors of a network but those of its classifier."""
    total = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        if name.startswith(f"{classifier}."):
            continue
        total.update(name.encode())
        total.update(
            value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy().tobytes()
        )
    return total.hexdigest()


def check_origin(sha256: str, origin: Origin) -> None:
    """Make sure that a backbone is the one that adapters were trained beside.

    Raises:
        HeadstartError: its SHA-256 is another one.
    """
    if sha256 != origin.sha256:
        raise HeadstartError(
            f"{origin.source}: holds other weights than those the adapters were trained beside "
            f"(SHA-256 {sha256[:12]}…, expected {origin.sha256[:12]}…). Bring the old ones "
            "back, or train again with transfer.adapters.merge = true for a model that needs no "
            "other"
        )
