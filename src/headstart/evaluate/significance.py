"""p-values for people."""

from __future__ import annotations

DOUBTFUL = 0.05  # p-values from which on two are not told apart


def chance(p: float | None) -> str:
    """A p-value in as many digits as matter."""
    return "" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def equals(p: float | None) -> str:
    """A p-value behind the word p."""
    return chance(p) if p is not None and p < 0.001 else f"= {chance(p)}"
