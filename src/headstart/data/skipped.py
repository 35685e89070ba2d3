"""What reading leaves out: counted by its reason, with the first few examples."""

from __future__ import annotations

from headstart.errors import HeadstartError

SHOWN = 5
NO_LABEL, NO_KEY, NO_ROLE = "no label", "no group or time", "no known part"
LeftRows = dict[str, tuple[int, list[str]]]  # reason: (how many, the first few)


def leave_out(left_out: LeftRows, reason: str, example: str) -> None:
    """Count one more example."""
    count, some = left_out.get(reason, (0, []))
    left_out[reason] = count + 1, [*some, example][:SHOWN]


def left_out_notes(part: str, left_out: LeftRows, policy: str) -> list[str]:
    """A sentence on what is left out; none if that is nothing.

    Raises:
        HeadstartError: there is something, and the recipe's data.unreadable (`policy`) calls it
            fatal.
    """
    if not left_out:
        return []
    counted = "; ".join(
        f"{count:,} with {reason} ({', '.join(some)}{', …' if count > len(some) else ''})"
        for reason, (count, some) in left_out.items()
    )
    if policy == "error":
        raise HeadstartError(
            f"the {part} part has examples of no use: {counted}. Mend them, or set "
            'data.unreadable = "drop"'
        )
    return [f"left out of the {part} part: {counted}"]


def reasons(left_out: LeftRows) -> str:
    """The first examples of each reason, the most frequent first."""
    ordered = sorted(left_out.items(), key=lambda item: -item[1][0])
    shown = [
        f"{', '.join(some)}{f' and {count - len(some)} more' if count > len(some) else ''} "
        f"({reason})"
        for reason, (count, some) in ordered[:SHOWN]
    ]
    rest = sum(count for _, (count, _) in ordered[SHOWN:])
    return "; ".join(shown) + (f"; and {rest} more" if rest else "")
