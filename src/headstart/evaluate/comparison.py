"""What several ways to train, each with some seeds, are worth beside each other on one test part:
as plain values."""

from __future__ import annotations

from collections.abc import Callable

from headstart.evaluate.results import Figure, Part
from headstart.evaluate.significance import DOUBTFUL, chance, equals


class Cost(Part):
    """What one run took: seconds of training and testing, peak bytes of its process, and bytes of
    its model on disk."""

    seconds: float
    peak_bytes: int
    model_bytes: int


class Row(Part):
    """One way to train. `accuracy` is the mean over the seeds, its interval over examples and seeds
    drawn anew; `points` is how far it is behind the best, `p` the chance of a difference as large
    if there were none (corrected for the number of rows)."""

    name: str
    seeds: tuple[int, ...]
    accuracy: Figure
    by_seed: tuple[float, ...]
    macro_f1: float
    log_loss: float
    points: float
    p: float | None
    seconds: float
    peak_bytes: int
    model_bytes: int
    trainable: int
    cached: int = 0  # examples whose frozen features were there already, in all of its runs

    @property
    def told_apart(self) -> bool:
        """Whether it is behind the best by more than chance."""
        return self.p is not None and self.p <= DOUBTFUL


class Comparison(Part):
    """Rows from the highest accuracy down, on n test examples, and a sentence for each run that
    failed."""

    n: int
    rows: tuple[Row, ...]
    failed: tuple[str, ...]

    def verdict(self) -> str:
        """What a reader may take from the table, in sentences."""
        if not self.rows:
            return "No run came to an end."
        best, *others = self.rows
        told = [f"{best.name} has the highest accuracy, {best.accuracy} (n = {self.n})."]
        for row in others:
            apart = "behind by more than chance" if row.told_apart else "not distinguishable"
            lower = f"is {row.points:.1f} points lower" if row.points else "reaches the same"
            told.append(f"{row.name} {lower}, p {equals(row.p)}: {apart}{_price(row, best)}.")
        cheapest = min(
            (row for row in self.rows if not row.told_apart), key=lambda row: row.seconds
        )
        if cheapest is not best:
            told.append(
                f"Of those that cannot be told from the best, {cheapest.name} costs the least."
            )
        if any(row.cached for row in self.rows):
            told.append("Seconds do not count frozen features that lay in the cache.")
        return " ".join(told)

    def markdown(self) -> str:
        """The table, for people."""
        columns: dict[str, Callable[[Row], str]] = {
            "": lambda row: row.name.replace("|", "/"),
            "accuracy": lambda row: f"{row.accuracy.value:.3f}",
            "95 % interval": lambda row: f"{row.accuracy.low:.3f} to {row.accuracy.high:.3f}",
            "by seed": lambda row: ", ".join(f"{value:.3f}" for value in row.by_seed),
            "macro-F1": lambda row: f"{row.macro_f1:.3f}",
            "log loss": lambda row: f"{row.log_loss:.3f}",
            "points behind": lambda row: f"{row.points:.1f}",
            "p": lambda row: chance(row.p),
            "seconds": lambda row: f"{row.seconds:.1f}",
            "peak memory": lambda row: size(row.peak_bytes),
            "trainable": lambda row: f"{row.trainable:,}",
            "model": lambda row: size(row.model_bytes),
        }
        if all(len(row.seeds) == 1 for row in self.rows):
            del columns["by seed"]
        lines = [
            list(columns),
            ["---"] * len(columns),
            *([told(row) for told in columns.values()] for row in self.rows),
        ]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def size(count: int) -> str:
    """Bytes for people."""
    return f"{count / 1e9:.2f} GB" if count >= 1e9 else f"{count / 1e6:.1f} MB"


def _price(row: Row, best: Row) -> str:
    ratio = best.seconds / max(row.seconds, 1e-9)
    if ratio >= 1.5:
        return (
            f"; it takes 1/{ratio:.0f} of the time"
            if ratio >= 2
            else f"; it takes {1 / ratio:.2f} of the time"
        )
    return f"; it takes {1 / ratio:.0f} times as long" if ratio <= 0.5 else ""
