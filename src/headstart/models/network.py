"""A pretrained network with a new head, with one interface for all backbones."""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from headstart.errors import BackboneError, RunError, first_line
from headstart.models import sklearn_head
from headstart.models.preprocessor import Preprocessor
from headstart.models.spec import CONFIG, Origin, Spec
from headstart.recipe import Head

WEIGHTS = "network.safetensors"
BATCH_NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d, nn.SyncBatchNorm)


class Network(nn.Module):
    """A backbone and its head.

    net: the module that is trained and saved.
    head_name: the submodule of `net` that takes the features. Where a scikit-learn classifier
        (`estimator`, once it is fitted) takes its place, it passes them on unchanged.
    partition: the names of the parameters of `net` by block, in forward order.
    spec: what rebuilds the network; with the saved weights it needs no hub.
    """

    net: nn.Module
    head_name: str
    partition: Mapping[str, tuple[str, ...]]
    spec: Spec
    estimator: sklearn_head.Classifier | None

    def __init__(self) -> None:
        super().__init__()
        self.estimator = None
        self._frozen: list[nn.Module] = []

    @property
    def head(self) -> nn.Module:
        """The part of `net` that works on the features."""
        return self.net.get_submodule(self.head_name)

    def forward(self, **inputs: Tensor) -> Tensor:
        """Logits, shape (n, classes)."""
        logits: Tensor = self.head(self.features(**inputs))
        return logits

    @abstractmethod
    def features(self, **inputs: Tensor) -> Tensor:
        """The input of the head, shape (n, width)."""

    def for_inference(self) -> Network:
        """A network with the same features, faster and for evaluation only; may be this one."""
        return self

    def attribute(self, inputs: dict[str, Tensor], targets: Tensor) -> Tensor | None:
        """How much each part of the inputs speaks for the target classes, shape (n, height, width)
        or (n, tokens); None where there is no method for it."""
        return None

    @property
    def family(self) -> str:
        """The architecture, as its library calls it."""
        return self.spec.backbone

    @property
    @abstractmethod
    def reads(self) -> str:
        """A description of its preprocessing."""

    @property
    def statistics(self) -> list[nn.Module]:
        """The modules with running statistics: BatchNorm of all kinds."""
        return [module for module in self.net.modules() if isinstance(module, BATCH_NORMS)]

    @abstractmethod
    def preprocessor(self, policy: str = "none") -> Preprocessor:
        """Its preprocessor; `policy` names how training examples are augmented."""

    def set_trainable(self, names: Iterable[str], freeze_statistics: bool = False) -> None:
        """Make exactly these parameters of `net` trainable.

        Frozen modules stay in evaluation mode: their BatchNorm statistics do not move, and they
        apply no dropout. `freeze_statistics` does the same to all other BatchNorms.
        """
        trainable = set(names)
        for name, parameter in self.net.named_parameters():
            parameter.requires_grad_(name in trainable)
        self._frozen = _frozen_modules(self.net)
        if freeze_statistics:
            self._frozen += self.statistics

    def train(self, mode: bool = True) -> Network:
        """As in torch, but frozen modules stay in evaluation mode."""
        super().train(mode)
        for module in self._frozen:
            module.eval()
        return self

    def save(self, folder: Path) -> None:
        """Write weights (safetensors) and config (JSON) into a folder."""
        folder.mkdir(parents=True, exist_ok=True)
        state = self._saved_state()
        save_file(
            {k: v.detach().cpu().contiguous().clone() for k, v in state.items()}, folder / WEIGHTS
        )
        if self.estimator is not None:
            sklearn_head.save(self.estimator, folder)
        (folder / CONFIG).write_text(self.spec.model_dump_json(indent=2) + "\n", encoding="utf-8")
        # safetensors makes files that only their owner can read
        (folder / WEIGHTS).chmod((folder / CONFIG).stat().st_mode)

    def _saved_state(self) -> dict[str, Tensor]:
        """All tensors; beside an untouched backbone those of the adapters and the head."""
        state = self.net.state_dict()
        if not self.spec.adapters:
            return state
        head = f"{self.head_name}."
        return {key: state[key] for key in state if ".lora_" in key or key.startswith(head)}

    def load_weights(self, folder: Path) -> None:
        """Read the weights, and the classifier if there is one, that `save` wrote.

        Raises:
            RunError: a file is missing, damaged or belongs to another network.
        """
        path = folder / WEIGHTS
        try:
            state = load_file(path)
            if set(state) != set(self._saved_state()):
                raise RuntimeError("other tensors than it has")
            self.net.load_state_dict(state, strict=False)
        except (OSError, SafetensorError, RuntimeError) as error:
            wanted = f"the weights of a {self.spec.backbone} network"
            raise RunError(f"{path}: expected {wanted}; found: {first_line(error)}") from None
        if self.spec.head.is_estimator:
            spec = self.spec
            self.estimator = sklearn_head.load(folder, spec.head, spec.width, spec.classes)


def _frozen_modules(module: nn.Module) -> list[nn.Module]:
    """The topmost modules without trainable parameters.

    One with buffers alone (a BatchNorm without affine weights) goes with the sibling before it.
    """
    parameters = list(module.parameters())
    if parameters and not any(parameter.requires_grad for parameter in parameters):
        return [module]
    frozen: list[nn.Module] = []
    previous_is_frozen = False
    for child in module.children():
        if any(True for _ in child.parameters()):
            inner = _frozen_modules(child)
            previous_is_frozen = inner == [child]
            frozen += inner
        elif previous_is_frozen and any(True for _ in child.buffers()):
            frozen.append(child)
    return frozen


def build_head(head: Head, width: int, classes: int) -> nn.Module:
    """A linear classifier or an MLP with GELU, from `width` features to `classes` logits, with
    dropout before each linear layer; the identity where a scikit-learn classifier follows."""
    if head.is_estimator:
        return nn.Identity()
    rates = head.dropout if len(head.dropout) > 1 else head.dropout * (len(head.hidden) + 1)
    sizes = (width, *head.hidden, classes)
    layers: list[nn.Module] = []
    for in_features, out_features, rate in zip(sizes, sizes[1:], rates, strict=False):
        if layers:
            layers.append(nn.GELU())
        if rate > 0:
            layers.append(nn.Dropout(rate))
        last = nn.Linear(in_features, out_features)
        layers.append(last)
    nn.init.zeros_(last.bias)
    # all classes start nearly equal, so the first gradients stay small
    nn.init.trunc_normal_(last.weight, std=0.01)
    return layers[0] if len(layers) == 1 else nn.Sequential(*layers)


def digest(net: nn.Module, head_name: str) -> str:
    """SHA-256 over names and values of all tensors of a network but those of its head."""
    total = hashlib.sha256()
    for name, value in sorted(net.state_dict().items()):
        if not name.startswith(f"{head_name}."):
            total.update(name.encode())
            total.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return total.hexdigest()


def check_origin(net: nn.Module, head_name: str, origin: Origin) -> None:
    """Refuse a backbone with other weights than those that adapters were trained with."""
    sha256 = digest(net, head_name)
    if sha256 != origin.sha256:
        raise BackboneError(
            f"{origin.source}: holds other weights than those the adapters were trained beside "
            f"(SHA-256 {sha256[:12]}…, expected {origin.sha256[:12]}…). Restore them, or train "
            "again with transfer.adapters.merge = true, which saves all weights"
        )
