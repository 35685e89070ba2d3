"""What changes after the data was looked at is refused, by one message that names it."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.dataset import Examples
from headstart.errors import HeadstartError
from headstart.files import file_digest
from headstart.models.image_preprocessor import ImagePreprocessor
from headstart.train.engine import tune
from headstart.train.forward import batches
from tests.train.conftest import MakeContext, small_network


@pytest.fixture
def pictures(tmp_path: Path) -> Examples:
    paths = [tmp_path / f"{number}.png" for number in range(6)]
    for number, path in enumerate(paths):
        Image.new("RGB", (40, 40), (40 * number, 90, 10)).save(path)
    digests = tuple(bytes.fromhex(file_digest(path)) for path in paths)
    return Examples(
        tuple(map(str, paths)), np.arange(6) % 3, tuple(path.name for path in paths), digests
    )


def other(path: Path) -> None:
    Image.new("RGB", (40, 40), (1, 2, 3)).save(path)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:50])


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (other, "3.png: has changed since the data was read; run"),
        (os.remove, "3.png: cannot be read any more (No such"),
    ],
)
def test_training_refuses_it(
    workers: int,
    spoil: Callable[[Path], None],
    said: str,
    pictures: Examples,
    make_context: MakeContext,
) -> None:
    network = small_network()
    preprocessor = ImagePreprocessor(network.spec.preprocessing)
    context = make_context(
        network, train=pictures, selection=None, preprocessor=preprocessor, workers=workers
    )
    spoil(Path(pictures.items[3]))
    with pytest.raises(HeadstartError) as refused:
        tune(context)
    assert str(refused.value).startswith(said)
    assert "Traceback" not in str(refused.value)


def test_so_does_a_pass_over_examples_that_can_no_longer_be_read(pictures: Examples) -> None:
    preprocessor = ImagePreprocessor(small_network().spec.preprocessing)
    cut(Path(pictures.items[3]))
    with pytest.raises(
        HeadstartError, match=r"3\.png: cannot be read any more \(.+\); put it back, or run"
    ):
        list(batches(pictures.items, preprocessor))
