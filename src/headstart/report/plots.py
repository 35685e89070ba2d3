"""Plots: learning curves and reliability as inline SVG, the learning rate range test as PNG."""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from markupsafe import Markup

from headstart.evaluate.results import Result
from headstart.files import atomic

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_POINTS = 400  # of a curve
# readable on a white and on a dark page
TEXT, BLUE, RED, GREY = "#667085", "#2266cc", "#c0504d", "#9aa7b8"


def plot_lr_range_test(
    rates: Sequence[float], losses: Sequence[float], suggestion: float, current: float, path: Path
) -> None:
    """Loss against learning rate as a PNG file, with the suggested rate and the recipe's."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    axes.plot(rates, losses, color="#1f4e79")
    axes.axvline(suggestion, color=RED, linestyle="--", label=f"suggested: {suggestion:g}")
    axes.axvline(
        current, color="#888888", linestyle=":", label=f"train.lr of the recipe: {current:g}"
    )
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
    """Losses and held-out accuracy by epoch as SVG, with a line at the start of each phase and a
    circle at the selected epoch."""
    from matplotlib.ticker import MaxNLocator

    rows = list(result.epochs)
    epochs = np.arange(1, len(rows) + 1)
    starts = [i for i in range(1, len(rows)) if rows[i].phase != rows[i - 1].phase]

    def mark_phases(axes: Axes) -> None:
        for i in starts:
            axes.axvline(i + 0.5, color=GREY, linestyle=":")
            axes.annotate(
                str(rows[i].phase),
                (i + 0.55, 0.97),
                xycoords=("data", "axes fraction"),
                fontsize=7,
                color=TEXT,
            )
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set_xlabel("epoch" + (" (numbers at lines: phase)" if starts else ""))

    def losses(axes: Axes) -> None:
        axes.plot(epochs, [row.loss for row in rows], color=BLUE, marker=".", label="training")
        if rows[0].selection("loss") is not None:
            held_out = np.array([row.selection("loss") for row in rows], float)
            axes.plot(epochs, held_out, color=RED, marker=".", label="held out")
        mark_phases(axes)
        axes.set_ylabel("loss")
        axes.legend(frameon=False, labelcolor=TEXT)

    def accuracy(axes: Axes) -> None:
        values = np.array([row.selection("accuracy") for row in rows], float)
        kept = (result.kept.phase, result.kept.epoch) if result.kept else None
        selected = [i for i, row in enumerate(rows) if (row.phase, row.epoch) == kept]
        axes.plot(epochs, values, color=RED, marker=".")
        axes.plot(
            epochs[selected], values[selected], "o", color=RED, markersize=9, fillstyle="none"
        )
        mark_phases(axes)
        axes.set_ylabel("held-out accuracy")

    return _as_svg(losses, *([accuracy] if rows[0].selection("accuracy") is not None else []))


def reliability_diagram(
    confidence: np.ndarray, correct: np.ndarray, coverage: np.ndarray, error: np.ndarray
) -> Markup:
    """Accuracy by confidence, and the error rate by coverage, as SVG.

    Args:
        confidence: probability of the most likely class, shape (n,).
        correct: whether it is the label, shape (n,).
        coverage, error: share of examples answered and error rate among them, shape (n,) each.
    """

    def reliability(axes: Axes) -> None:
        bins = np.minimum((confidence * 10).astype(int), 9)
        counts = np.bincount(bins, minlength=10)
        used = counts > 0
        accuracy = np.bincount(bins, correct, minlength=10)[used] / counts[used]
        mean_confidence = np.bincount(bins, confidence, minlength=10)[used] / counts[used]
        axes.plot([0, 1], [0, 1], color=GREY, linestyle=":")
        axes.plot(mean_confidence, accuracy, color=BLUE, marker="o", markersize=4)
        axes.bar((np.arange(10) + 0.5) / 10, counts / counts.sum(), 0.09, color=GREY, alpha=0.5)
        axes.set(
            xlim=(0, 1),
            ylim=(0, 1),
            xlabel="confidence (bars: share of examples)",
            ylabel="accuracy",
        )

    def risk(axes: Axes) -> None:
        points = np.linspace(0, len(coverage) - 1, min(len(coverage), MAX_POINTS))
        points = np.unique(points.round().astype(int))
        axes.plot(coverage[points], error[points], color=BLUE)
        axes.set(xlim=(0, 1), xlabel="share of examples answered", ylabel="error rate among them")
        axes.set_ylim(0, 1.05 * max(float(error.max()), 0.05))

    return _as_svg(reliability, risk)


def _as_svg(*panels: Callable[[Axes], None]) -> Markup:
    """Panels side by side, or one below the other on a phone. Text stays text, so that the page's
    fonts show every character."""
    import matplotlib
    from matplotlib.figure import Figure

    images = []
    with matplotlib.rc_context(
        {
            "svg.fonttype": "none",
            "svg.hashsalt": "headstart",
            "font.size": 9,
            "font.family": "sans-serif",
            "text.color": TEXT,
            "axes.labelcolor": TEXT,
            "axes.edgecolor": GREY,
            "xtick.color": TEXT,
            "ytick.color": TEXT,
            "axes.spines.top": False,
            "axes.spines.right": False,
        }
    ):
        for draw in panels:
            figure = Figure(figsize=(3.9, 2.8), layout="constrained")
            draw(figure.subplots())
            content = io.StringIO()
            figure.savefig(content, format="svg", transparent=True, metadata={"Date": None})
            images.append(_inline(content.getvalue()))
    return Markup('<div class="row">{}</div>').format(Markup("").join(images))


def _inline(svg: str) -> Markup:
    """An SVG file as a part of a page: without preamble and namespaces, sized by the page."""
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    svg = re.sub(r' xmlns(:xlink)?="[^"]*"', "", svg).replace("xlink:href", "href")
    return Markup(
        re.sub(r'width="[^"]*pt" height="[^"]*pt"', 'class="plot" role="img"', svg, count=1)
    )
