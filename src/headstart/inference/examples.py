"""Test examples for the report: wrong and right ones, with the evidence for the predicted class."""

from __future__ import annotations

import numpy as np
import torch

from headstart.data.dataset import Dataset
from headstart.modalities import Modality
from headstart.models.network import Network
from headstart.report.html import Example, Shown

EACH = 6  # wrong and right examples
TOP = 3  # classes of each


def examples(
    dataset: Dataset, network: Network, modality: Modality, probabilities: np.ndarray, seed: int
) -> dict[str, list[Example]]:
    """Test examples by the title of their section: wrong ones with the largest loss, and right ones
    at random."""
    truth, predicted = dataset.test.labels, probabilities.argmax(1)
    losses = -np.log(np.maximum(probabilities[np.arange(len(truth)), truth], 1e-12))
    by_loss = np.argsort(-losses, kind="stable")
    wrong = by_loss[predicted[by_loss] != truth[by_loss]][:EACH]
    right = np.random.default_rng(seed).permutation(np.flatnonzero(predicted == truth))[:EACH]
    network.eval()

    def example(row: int) -> Example:
        top = np.argsort(-probabilities[row], kind="stable")[:TOP].tolist()
        return Example(
            name=dataset.test.names[row],
            label=dataset.labels[truth[row]],
            top=tuple((dataset.labels[k], float(probabilities[row, k])) for k in top),
            loss=float(losses[row]),
            shown=_shown(network, modality, dataset.test.items[row], top[0]),
        )

    sections = {"Wrong, the largest losses": wrong, "Right, at random": right}
    return {
        title: list(map(example, rows.tolist())) for title, rows in sections.items() if len(rows)
    }


def _shown(network: Network, modality: Modality, item: str, target: int) -> list[Shown]:
    """An example, and the same with the evidence for a class; of a text only the latter."""
    preprocessor = network.preprocessor()
    plain, evidence = modality.as_shown(preprocessor, item), _evidence(network, item, target)
    if evidence is None:
        return [plain]
    highlighted = modality.highlight(preprocessor, item, evidence)
    return [highlighted] if isinstance(plain, str) else [plain, highlighted]


def _evidence(network: Network, item: str, target: int) -> np.ndarray | None:
    """How much each place of an example speaks for a class.

    None where that cannot be computed: it is no reason to lose a run.
    """
    preprocessor = network.preprocessor()
    device = next((parameter.device for parameter in network.parameters()), torch.device("cpu"))
    batch = preprocessor.collate([preprocessor(item)])
    inputs = {name: value.to(device) for name, value in batch.items()}
    try:
        result = network.attribute(inputs, torch.tensor([target], device=device))
    except (RuntimeError, ValueError, TypeError, AttributeError, LookupError):
        return None
    if result is None or not result.isfinite().all() or not result.any():
        return None
    return result[0].float().cpu().numpy()
