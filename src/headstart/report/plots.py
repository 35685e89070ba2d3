"""Pictures for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path


def plot_rates(rates: Sequence[float], losses: Sequence[float], suggestion: float, now: float, path: Path) -> None:
    """Loss against learning rate, with the suggested rate and that of the recipe, as a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color="#1f4e79")
    axes.axvline(suggestion, color="#c0504d", linestyle="--", label=f"suggested: {suggestion:g}")
    axes.axvline(now, color="#888888", linestyle=":", label=f"train.lr of the recipe: {now:g}")
    axes.set(xscale="log", xlabel="train.lr", ylabel="training loss, smoothed", title="Learning rate range test")
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    draft = path.with_name(f".{path.name}.draft")
    figure.savefig(draft, dpi=120, format="png")
    draft.rename(path)
