"""A context for the engine with tensors made on the spot."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from headstart.checks.leaks import Leaks
from headstart.data.dataset import Dataset, Examples
from headstart.evaluate.events import OnEvent, ignore
from headstart.models.blocks import Blocks
from headstart.models.network import Network
from headstart.models.preprocessor import stack
from headstart.models.vision import vision_network
from headstart.recipe import Augment, Data, Model, Preprocessing, Recipe, Train, Transfer
from headstart.runtime.machine import Machine
from headstart.tasks import task_for
from headstart.train.context import Context
from headstart.transfer.plan import Phase, Plan


def examples(count: int) -> Examples:
    names = tuple(map(str, range(count)))
    return Examples(names, np.arange(count) % 3, names, digests(range(count)))


def digests(numbers: Iterable[int]) -> tuple[bytes, ...]:
    """What plays the SHA-256 of examples with these numbers."""
    return tuple(number.to_bytes(32) for number in numbers)


class Pixels:
    """Makes of a number an image whose brightness tells its class; with a seed, noisy."""

    def __call__(self, item: str, seed: int | None = None) -> dict[str, torch.Tensor]:
        random = np.random.default_rng(int(item) if seed is None else seed)
        pixels = random.normal(int(item) % 3 - 1, 1, (3, 32, 32)).astype(np.float32)
        return {"pixel_values": torch.from_numpy(pixels)}

    def show(self, item: str, seed: int | None = None) -> str:
        return item

    def collate(self, samples: list[dict[str, torch.Tensor]]) -> dict[str, torch.Tensor]:
        return stack(samples)

    def sizes(self, items: Sequence[str]) -> np.ndarray | None:
        return None

    def fingerprint(self, item: str) -> str:
        return f"{int(item):064x}"


encode = Pixels()


MakeContext = Callable[..., Context]


@pytest.fixture
def make_context() -> MakeContext:
    """Makes the context of a network whose examples are numbers."""

    def make(
        network: Network | None = None,
        plan: Plan | None = None,
        train: int | Examples = 20,
        selection: int | None = 9,
        on_event: OnEvent = ignore,
        preprocessor: Any = encode,
        transfer: Transfer | None = None,
        augment: Augment | None = None,
        seed: int = 3,
        **options: Any,
    ) -> Context:
        options = {
            "epochs": 2,
            "batch_size": 8,
            "lr": 1e-2,
            "workers": 0,
            "optimizer": "sgd",
            **options,
        }
        recipe = Recipe.model_construct(
            task="image_classification",
            seed=seed,
            output="run",
            data=Data(source="nowhere"),
            model=Model(backbone="test_resnet"),
            transfer=transfer or Transfer(),
            train=Train.model_validate(options),
            augment=augment or Augment(policy="crop_flip"),
        )
        network = network or small_network()
        if preprocessor is not None:
            network.preprocessor = lambda policy="none": preprocessor  # type: ignore[method-assign]
        accumulation = recipe.train.accumulation
        return Context(
            recipe=recipe,
            machine=Machine(torch.device("cpu")),
            task=task_for("image_classification", "test_resnet"),
            dataset=Dataset(
                ("a", "b", "c"),
                train if isinstance(train, Examples) else examples(train),
                examples(selection) if selection else None,
                examples(3),
            ),
            leaks=Leaks((), (), {}, {}),
            network=network,
            plan=plan or whole(network),
            precision="fp32",
            batch_size=int(recipe.train.batch_size),
            accumulation=1 if accumulation == "auto" else accumulation,
            sizes={},
            on_event=on_event,
        )

    return make


def whole(network: Network, lr: float = 0.01, epochs: int = 2) -> Plan:
    """All blocks at one rate."""
    return Plan("all", (Phase("all", dict.fromkeys(Blocks(network).names, lr), epochs),))


def small_network(name: str = "test_resnet", seed: int = 0) -> Network:
    torch.manual_seed(seed)
    return vision_network(
        Model(backbone=name, preprocessing=Preprocessing(size=32)), 3, pretrained=False
    )[0]
