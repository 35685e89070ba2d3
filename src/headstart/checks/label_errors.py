"""Labels that a classifier which has not seen them doubts (confident learning in its simplest form;
Northcutt et al. 2021)."""

from __future__ import annotations

import numpy as np


def suspects(probabilities: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Rows whose label another class beats, the worst first, shape (m,).

    Args:
        probabilities: out of fold, shape (n, classes). labels: as given, shape (n,).
    """
    rows = np.arange(len(labels))
    others = probabilities.copy()
    others[rows, labels] = -1.0
    lead = others.max(axis=1) - probabilities[rows, labels]
    order = np.argsort(-lead, kind="stable")
    return order[lead[order] > 0]
