"""LogME, an estimate of how well a linear head would do on frozen features."""

from __future__ import annotations

import numpy as np

MAX_ITERATIONS, TOLERANCE = 20, 1e-3  # of the fixed point; the tolerance is relative


def logme(features: np.ndarray, labels: np.ndarray) -> float:
    """LogME: the log evidence of a Bayesian linear model of each class against the rest, averaged
    over classes and examples (You et al. 2021). Higher is better; it compares backbones on the same
    examples only.

    Args:
        features: shape (n, width). labels: shape (n,), ints.
    """
    left, scales, _ = np.linalg.svd(features.astype(np.float64), full_matrices=False)
    squares, n, width = scales**2, len(features), features.shape[1]
    evidences = []
    for label in np.unique(labels):
        target = (labels == label).astype(np.float64)
        within = (left.T @ target) ** 2  # of the target, along each direction of the features
        outside = float(target @ target - within.sum())
        alpha = beta = 1.0
        for _ in range(MAX_ITERATIONS):
            ratio = alpha / beta
            effective = (squares / (squares + ratio)).sum()
            weights = (squares * within / (squares + ratio) ** 2).sum()
            residual = (within / (1 + squares / ratio) ** 2).sum() + outside
            alpha, beta = effective / (weights + 1e-12), (n - effective) / (residual + 1e-12)
            if abs(alpha / beta - ratio) <= TOLERANCE * ratio:
                break
        evidence = (
            width * np.log(alpha)
            + n * np.log(beta / (2 * np.pi))
            - beta * residual
            - alpha * weights
        )
        evidence -= np.log(alpha + beta * squares).sum() + (width - len(squares)) * np.log(alpha)
        evidences.append(evidence / (2 * n))
    return float(np.mean(evidences))
