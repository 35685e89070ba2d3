"""headstart predict: label and probability of each example, printed or as a table."""

from __future__ import annotations

import io
import sys
from collections.abc import Sequence
from contextlib import redirect_stderr
from pathlib import Path

from headstart.commands.evaluate import load_average
from headstart.data.inputs import STDIN
from headstart.data.unicode import printable
from headstart.inference.predict import Predictor, Unreadable
from headstart.inference.table import write_table
from headstart.runtime.bars import Bar


def predict(
    runs: str,
    paths: Sequence[str],
    out: Path | None = None,
    top: int = 1,
    weights: str | None = None,
    tta: bool = False,
    refuse_below: float | None = None,
) -> int:
    """Print label and probability of each example, or write a table.

    Args:
        runs, weights, refuse_below: see `load_average`.
        paths: files, folders, tables, texts, or "-" for standard input.
        out: the table to write. top: how many labels of each example. tta: see `Predictor.predict`.

    Returns:
        How many examples could not be read.

    Raises:
        HeadstartError: there is no such model or example, or the table cannot be written.
    """
    predictor = load_average(runs, weights, refuse_below)
    top = min(top, len(predictor.labels))
    if tta:
        predictor.check_views()
    if predictor.modality.describe_paths is not None:
        print(f"taken for: {predictor.modality.describe_paths(paths)}", file=sys.stderr)
    shown = out is not None or not sys.stdout.isatty()
    with Bar("predicting", _count(predictor, paths) if shown else None, shown=shown) as bar:
        if out is not None:
            rows, unreadable, refused = write_table(out, predictor, paths, top, tta, bar.advance)
            note = f", of which {unreadable} could not be read (column error)" if unreadable else ""
            bar.print(f"written to {out}: {rows} rows{note}")
        else:
            unreadable, refused = _print_all(predictor, paths, top, tta, bar)
        if refuse_below is not None:
            bar.print(f"refused, for no label has {refuse_below:g} or more: {refused}")
    return unreadable


def _print_all(
    predictor: Predictor, paths: Sequence[str], top: int, tta: bool, bar: Bar
) -> tuple[int, int]:
    """Print a line for each example; (unreadable, refused) examples."""
    unreadable = refused = 0
    for outcome in predictor.stream(predictor.inputs_from_paths(paths), tta):
        bar.advance()
        if isinstance(outcome, Unreadable):
            unreadable += 1
            bar.print(f"{outcome.name}: cannot be read ({outcome.fault})")
            continue
        refused += outcome.refused
        cells, (first, *others) = [outcome.name], outcome.top(top)
        for label, probability in [(outcome.label, first[1]), *others]:
            cells += [printable(label), f"{probability:.4f}"]
        print("\t".join(cells), flush=True)
    return unreadable, refused


def _count(predictor: Predictor, paths: Sequence[str]) -> int | None:
    """How many examples there are, where a bar shows it and they can be read twice."""
    if not sys.stderr.isatty() or STDIN in paths:
        return None
    with redirect_stderr(io.StringIO()):  # the same notes come again with the predictions
        return sum(1 for _ in predictor.inputs_from_paths(paths))
