"""Plain baselines without any network: what a headstart has to beat. From data and seed to probabilities on the test part."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from headstart.data.dataset import Dataset, Examples
from headstart.data.images import open_rgb
from headstart.registry import Registry

Baseline = Callable[[Dataset, int], np.ndarray]
baselines: Registry[Baseline] = Registry("baseline")


@baselines.register("raw_pixels_forest")
def raw_pixels_forest(dataset: Dataset, seed: int) -> np.ndarray:
    """Probabilities of shape (n, classes) by a random forest (Breiman 2001) of 300 trees on 32 × 32 RGB pixels."""
    from sklearn.ensemble import RandomForestClassifier

    forest = RandomForestClassifier(300, n_jobs=-1, random_state=seed)
    forest.fit(_pixels(dataset.train), dataset.train.targets)
    return forest.predict_proba(_pixels(dataset.test))


def _pixels(examples: Examples) -> np.ndarray:
    return np.stack([np.asarray(open_rgb(item).resize((32, 32))).reshape(-1) for item in examples.items])
