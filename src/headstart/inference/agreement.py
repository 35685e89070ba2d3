"""Whether an exported file answers as the run's weights do."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headstart.errors import HeadstartError
from headstart.evaluate.paired_tests import difference_interval, sign_flip_test

LARGEST = 1e-3  # difference of two probabilities that a file in float32 may show
INT8_LOST = 0.02  # share of examples that may get another label in 8 bits, rounded up


@dataclass(frozen=True)
class Agreement:
    """An exported file beside the same weights in float32, in which it computes, and beside the run
    as it answers itself.

    Args:
        file, exact, run: probabilities of the same examples, each of shape (n, classes).
        precision: number format in which the run answers.
        labels: the true classes, shape (n,), if they are known.
    """

    file: np.ndarray
    exact: np.ndarray
    run: np.ndarray
    precision: str
    labels: np.ndarray | None = None

    @property
    def examples(self) -> int:
        return len(self.file)

    @property
    def same(self) -> int:
        """Examples with the same label as the weights in float32."""
        return _same(self.file, self.exact)

    @property
    def share(self) -> float:
        return self.same / self.examples

    @property
    def largest(self) -> float:
        """The largest difference of a probability from that of the weights in float32."""
        return float(np.abs(self.file - self.exact).max())

    def check(self, run: str, form: str, int8: bool) -> None:
        """Whether the file may be kept: in float32 by its numbers, in 8 bits by its labels.

        Raises:
            HeadstartError: it may not.
        """
        differing, of = (
            self.examples - self.same,
            f"of {self.examples:,} examples get another label",
        )
        allowed = math.ceil(INT8_LOST * self.examples)
        if int8 and differing > allowed:
            raise HeadstartError(
                f"{run}: in 8 bits {differing:,} {of}; expected at most {allowed:,}, so it is "
                "not kept. 8 bits are too coarse for this network; export it without --int8"
            )
        if not np.allclose(self.file.sum(1), 1, atol=1e-3) or (
            not int8 and not self.largest <= LARGEST
        ):
            raise HeadstartError(
                f"{run}: {form} does not compute what the run's weights do: probabilities differ "
                f"by up to {self.largest:.2g} (expected at most {LARGEST:g}), and {differing:,} "
                f"{of}, so it is not kept. An operation of this network is translated wrongly; "
                f"try another --to, or use the run itself: headstart serve {run}"
            )

    def lines(self) -> list[str]:
        """For people."""
        n = f"{self.examples:,}"
        first = (
            f"{self.same:,} of {n} examples get the label that the run's weights give in fp32; "
            f"probabilities differ by at most {self.largest:.2g}"
        )
        second = (
            f"the run itself answers in {self.precision}, and {_same(self.file, self.run):,} of "
            f"{n} get its label"
        )
        return [first, second + self._accuracies()]

    def _accuracies(self) -> str:
        if self.labels is None:
            return ""
        file, run = (found.argmax(1) == self.labels for found in (self.file, self.run))
        differences = file.astype(int) - run.astype(int)
        low, high = (100 * end for end in difference_interval(differences))
        points = 100 * float(differences.mean())
        return (
            f"; accuracy {file.mean():.3f}, of the run {run.mean():.3f} ({points:+.1f} points "
            f"[{low:+.1f}, {high:+.1f}], p = {sign_flip_test(differences):.2g})"
        )


def _same(some: np.ndarray, others: np.ndarray) -> int:
    return int((some.argmax(1) == others.argmax(1)).sum())
