"""A word of warning when training and validation part ways."""

from __future__ import annotations

from typing import Any

RISE, GAP = 1.1, 2.0


def overfitting(rows: list[dict[str, Any]]) -> str | None:
    """What to say of a course of epochs that ends in overfitting, and what to try; None where it
    does not.

    It does if the held-out loss has risen by a tenth from an earlier epoch's and is at least twice
    the training loss.
    """
    scored = [row for row in rows if "selection_loss" in row]
    if len(scored) < 2:
        return None
    best, last = min(scored, key=lambda row: row["selection_loss"]), scored[-1]
    if (
        last["selection_loss"] < RISE * best["selection_loss"]
        or last["selection_loss"] < GAP * last["loss"]
    ):
        return None
    return (
        f"overfitting: from phase {best['phase']}, epoch {best['epoch']} to the end the held-out "
        f"loss rose from {best['selection_loss']:.3f} to {last['selection_loss']:.3f} while the "
        f"training loss fell to {last['loss']:.3f}. Try fewer epochs (or train.early_stopping), "
        "more augmentation, train.label_smoothing, transfer.l2_sp, or a strategy that trains "
        "less, such as 'partial', 'lora' or 'feature_extraction'"
    )
