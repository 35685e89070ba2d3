"""Whether an exported file gives the same probabilities as the run's weights."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from headstart.errors import RunError
from headstart.evaluate.paired_tests import difference_interval, sign_flip_test

LARGEST = 1e-3  # difference of two probabilities that a file in float32 may show
INT8_LOST = 0.02  # share of examples that may get another label in 8 bits, rounded up


@dataclass(frozen=True)
class Agreement:
    """Probabilities of the same examples, each of shape (n, classes).

    file: by the exported file. exact: by the run's weights in float32. run: by the run in its
    number format `precision`. labels: the true classes, shape (n,), if they are known.
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
    def largest(self) -> float:
        """The largest difference of a probability from `exact`."""
        return float(np.abs(self.file - self.exact).max())

    def check(self, run: str, form: str, int8: bool) -> None:
        """Compare a file in float32 by its probabilities, one in 8 bits by its labels.

        Raises:
            RunError: they differ too much.
        """
        differing = self.examples - self.same
        of = f"of {self.examples:,} examples get another label"
        allowed = math.ceil(INT8_LOST * self.examples)
        if int8 and differing > allowed:
            raise RunError(
                f"{run}: in 8 bits {differing:,} {of}; expected at most {allowed:,}, so it is "
                "not kept. 8 bits are too coarse for this network; export it without --int8"
            )
        if not np.allclose(self.file.sum(1), 1, atol=1e-3) or (
            not int8 and not self.largest <= LARGEST
        ):
            raise RunError(
                f"{run}: {form} does not compute what the run's weights do: probabilities differ "
                f"by up to {self.largest:.2g} (expected at most {LARGEST:g}), and {differing:,} "
                f"{of}, so it is not kept. An operation of this network is translated wrongly; "
                f"try another --to, or use the run itself: headstart serve {run}"
            )

    def lines(self) -> list[str]:
        """The comparison for people."""
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
        file, run = (made.argmax(1) == self.labels for made in (self.file, self.run))
        differences = file.astype(int) - run.astype(int)
        low, high = (100 * end for end in difference_interval(differences))
        points = 100 * float(differences.mean())
        return (
            f"; accuracy {file.mean():.3f}, of the run {run.mean():.3f} ({points:+.1f} points "
            f"[{low:+.1f}, {high:+.1f}], p = {sign_flip_test(differences):.2g})"
        )


def _same(first: np.ndarray, second: np.ndarray) -> int:
    return int((first.argmax(1) == second.argmax(1)).sum())
