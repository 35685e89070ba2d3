"""Examples for people: right and wrong ones, with what in them spoke for the class that the model
chose."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from markupsafe import Markup
from PIL import Image
from torch import Tensor

from headstart.data.dataset import Dataset
from headstart.models.network import Network
from headstart.models.text_preprocessor import TextPreprocessor
from headstart.report.html import as_html

EACH = 6  # right and wrong ones
LIKELIEST = 3  # classes
LONGEST = 128  # tokens of a text that are marked


@dataclass(frozen=True)
class Example:
    """One test example: how it is called, its label, the likeliest classes with their
    probabilities, its log loss, and as HTML itself and what spoke for the likeliest class (empty
    where that cannot be told)."""

    name: str
    label: str
    likeliest: tuple[tuple[str, float], ...]
    loss: float
    shown: Markup
    marked: Markup


def examples(
    dataset: Dataset, network: Network, probabilities: np.ndarray, seed: int
) -> dict[str, list[Example]]:
    """Test examples by what they are examples of: those with the largest loss, and some at random
    that are right."""
    truth, guess = dataset.test.labels, probabilities.argmax(1)
    losses = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12))
    wrong = [
        row for row in np.argsort(-losses, kind="stable").tolist() if guess[row] != truth[row]
    ][:EACH]
    right = np.random.default_rng(seed).permutation(np.flatnonzero(guess == truth))[:EACH].tolist()
    network.eval()
    return {
        title: [
            _example(dataset, network, row, probabilities[row], float(losses[row])) for row in rows
        ]
        for title, rows in (("Wrong, the largest losses", wrong), ("Right, at random", right))
        if rows
    }


def _example(
    dataset: Dataset, network: Network, row: int, probabilities: np.ndarray, loss: float
) -> Example:
    test, item = dataset.test, dataset.test.items[row]
    order = np.argsort(-probabilities, kind="stable")[:LIKELIEST].tolist()
    shown, marked = _drawn(network, item, order[0])
    return Example(
        name=test.names[row],
        label=dataset.labels[test.labels[row]],
        likeliest=tuple((dataset.labels[k], float(probabilities[k])) for k in order),
        loss=loss,
        shown=shown,
        marked=marked,
    )


def _drawn(network: Network, item: str, target: int) -> tuple[Markup, Markup]:
    """An example as HTML, and with what speaks for a class marked."""
    preprocessor = network.preprocessor()
    seen = preprocessor.show(item)
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    inputs = {
        name: value.to(device) for name, value in preprocessor.collate([preprocessor(item)]).items()
    }
    marks = _marks(network, inputs, torch.tensor([target], device=device))
    if isinstance(seen, str):
        if marks is None or not isinstance(preprocessor, TextPreprocessor):
            return as_html(item), Markup("")
        return Markup(""), _marked_text(preprocessor.pieces(item), marks)
    if marks is None:
        return as_html(seen), Markup("")
    return as_html(seen), as_html(_overlaid(seen, marks))


def _marks(network: Network, inputs: dict[str, Tensor], targets: Tensor) -> np.ndarray | None:
    """What speaks for the class in the one example; None where the network does not let itself be
    asked, for that is no reason to lose a run."""
    try:
        found = network.attribute(inputs, targets)
    except (
        RuntimeError,
        ValueError,
        TypeError,
        AttributeError,
        IndexError,
        KeyError,
        NotImplementedError,
    ):
        return None
    told = found is not None and bool(found.isfinite().all()) and bool(found.any())
    return found[0].float().cpu().numpy() if told and found is not None else None


def _overlaid(picture: Image.Image, marks: np.ndarray) -> Image.Image:
    """What speaks for the class in its own colours, the rest darkened towards blue."""
    from matplotlib import colormaps

    heat = (colormaps["inferno"](marks)[..., :3] * 255).astype(np.float32)
    share = 0.55
    mixed = np.asarray(picture, np.float32) * (1 - share) + heat * share
    return Image.fromarray(mixed.round().astype(np.uint8))


def _marked_text(pieces: list[str], marks: np.ndarray) -> Markup:
    """A text whose pieces have a blue ground as far as they speak for the class, and a red one as
    far as against it."""
    most = float(np.abs(marks).max()) or 1.0
    told = []
    for piece, mark in list(zip(pieces, marks.tolist(), strict=False))[:LONGEST]:
        if piece:
            colour = "34,102,204" if mark > 0 else "204,51,51"
            told.append(
                Markup('<span style="background:rgba({},{:.2f})">{}</span>').format(
                    Markup(colour), 0.75 * abs(mark) / most, piece
                )
            )
    more = Markup(" …") if len(pieces) > LONGEST else Markup("")
    return Markup("<q>{}{}</q>").format(Markup("").join(told), more)
