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


def prefix(part: str) -> str:
    """How a sentence on what is left out of a part begins."""
    return f"left out of the {part} part: "


def left_out_note(part: str, left_out: LeftRows, policy: str) -> str:
    """A sentence on what is left out.

    Raises:
        HeadstartError: the recipe's data.unreadable (`policy`) calls it fatal.
    """
    counted = "; ".join(
        f"{count:,} with {reason} ({', '.join(some)}{', …' if count > len(some) else ''})"
        for reason, (count, some) in left_out.items()
    )
    if policy == "error":
        raise HeadstartError(
            f'the {part} part has examples of no use: {counted}. Mend them, or set data.unreadable = "drop"'
        )
    return prefix(part) + counted
