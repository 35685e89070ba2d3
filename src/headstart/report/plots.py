"""Pictures for people."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from markupsafe import Markup

from headstart.evaluate.results import Result
from headstart.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

POINTS = 400  # of a curve
# readable on white and on dark paper
INK, FIRST, SECOND, SOFT = "#667085", "#2266cc", "#c0504d", "#9aa7b8"


def plot_rates(
    rates: Sequence[float], losses: Sequence[float], suggestion: float, now: float, path: Path
) -> None:
    """Loss against learning rate, with the suggested rate and that of the recipe, as a PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color="#1f4e79")
    axes.axvline(suggestion, color="#c0504d", linestyle="--", label=f"suggested: {suggestion:g}")
    axes.axvline(now, color="#888888", linestyle=":", label=f"train.lr of the recipe: {now:g}")
    axes.set(
        xscale="log",
        xlabel="train.lr",
        ylabel="training loss, smoothed",
        title="Learning rate range test",
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(frameon=False)
    with atomic(path) as draft:
        figure.savefig(draft, dpi=120, format="png")


def learning_curves(result: Result) -> Markup:
    """Losses and held-out accuracy by epoch as SVG; a line stands where a phase begins, a circle
    around the epoch kept."""
    from matplotlib.ticker import MaxNLocator

    rows = list(result.epochs)
    epochs = np.arange(1, len(rows) + 1)
    begins = [
        place for place in range(1, len(rows)) if rows[place]["phase"] != rows[place - 1]["phase"]
    ]

    def phases(axes: Axes) -> None:
        for place in begins:
            axes.axvline(place + 0.5, color=SOFT, linestyle=":")
            axes.annotate(
                str(rows[place]["phase"]),
                (place + 0.55, 0.97),
                xycoords=("data", "axes fraction"),
                fontsize=7,
                color=INK,
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch" + (" (at the lines: phase)" if begins else ""))

    def losses(axes: Axes) -> None:
        axes.plot(epochs, [row["loss"] for row in rows], color=FIRST, marker=".", label="training")
        if "selection_loss" in rows[0]:
            axes.plot(
                epochs,
                [row["selection_loss"] for row in rows],
                color=SECOND,
                marker=".",
                label="held out",
            )
        phases(axes)
        axes.set_ylabel("loss")
        axes.legend(frameon=False, labelcolor=INK)

    def accuracy(axes: Axes) -> None:
        values = np.array([row["selection_accuracy"] for row in rows])
        kept = [place for place, row in enumerate(rows) if result.kept and _is(row, result.kept)]
        axes.plot(epochs, values, color=SECOND, marker=".")
        axes.plot(epochs[kept], values[kept], "o", color=SECOND, markersize=9, fillstyle="none")
        phases(axes)
        axes.set_ylabel("held-out accuracy")

    return _drawn(losses, *([accuracy] if "selection_accuracy" in rows[0] else []))


def _is(row: dict[str, Any], kept: dict[str, int]) -> bool:
    return all(row[key] == value for key, value in kept.items())


def reliability(
    confidence: np.ndarray, right: np.ndarray, coverage: np.ndarray, error: np.ndarray
) -> Markup:
    """How often the model is right at each confidence, and its error when it refuses the least
    certain examples, as SVG.

    Args:
        confidence: probability of the likeliest class, shape (n,). right: whether it is the label,
            shape (n,).
        coverage: share of examples answered. error: among them; shape (n,) each.
    """

    def calibration(axes: Axes) -> None:
        bins = np.minimum((confidence * 10).astype(int), 9)
        counts = np.bincount(bins, minlength=10)
        there = counts > 0
        share = np.bincount(bins, right, minlength=10)[there] / counts[there]
        mean = np.bincount(bins, confidence, minlength=10)[there] / counts[there]
        axes.plot([0, 1], [0, 1], color=SOFT, linestyle=":")
        axes.plot(mean, share, color=FIRST, marker="o", markersize=4)
        axes.bar((np.arange(10) + 0.5) / 10, counts / counts.sum(), 0.09, color=SOFT, alpha=0.5)
        axes.set(
            xlim=(0, 1),
            ylim=(0, 1),
            xlabel="confidence (bars: share of examples)",
            ylabel="share that is right",
        )

    def refusing(axes: Axes) -> None:
        some = np.unique(
            np.linspace(0, len(coverage) - 1, min(len(coverage), POINTS)).round().astype(int)
        )
        axes.plot(coverage[some], error[some], color=FIRST)
        axes.set(xlim=(0, 1), xlabel="share of examples answered", ylabel="error among them")
        axes.set_ylim(0, 1.05 * max(float(error.max()), 0.05))

    return _drawn(calibration, refusing)


def _drawn(*panels: Callable[[Axes], None]) -> Markup:
    """Panels that stand beside each other, or one below the other on a phone; text stays text, so
    that no sign is missing."""
    import matplotlib
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {
        "svg.fonttype": "none", "svg.hashsalt": "headstart", "font.size": 9,
        "font.family": "sans-serif", "text.color": INK,
        "axes.labelcolor": INK, "axes.edgecolor": SOFT, "xtick.color": INK, "ytick.color": INK,
        "axes.spines.top": False, "axes.spines.right": False,
    }  # fmt: skip
    drawn = []
    with matplotlib.rc_context(settings):
        for draw in panels:
            figure = Figure(figsize=(3.9, 2.8), layout="constrained")
            draw(figure.subplots())
            content = io.StringIO()
            figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
            drawn.append(_inline(content.getvalue()))
    return Markup('<div class="row">{}</div>').format(Markup("").join(drawn))


def _inline(svg: str) -> Markup:
    """A picture as a part of a page, which needs neither its preamble nor namespaces, and sets the
    width itself."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    return Markup(
        re.sub(r'width="[^"]*pt" height="[^"]*pt"', 'class="plot" role="img"', svg, count=1)
    )
