"""What a run is about to do, in words and a table: the first thing a user sees."""

from __future__ import annotations

import io

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from headstart.data.dataset import Dataset
from headstart.data.unicode import printable
from headstart.evaluate.results import PhaseRecord
from headstart.recipe import Recipe

MANY_CLASSES = 12


def describe(
    recipe: Recipe, dataset: Dataset, backbone: str, sizes: dict[str, int],
    phases: tuple[PhaseRecord, ...], where: str,
    detailed: bool,
) -> str:  # fmt: skip
    """Task, data, backbone and phases; with `detailed` also the counts a class and each block's
    size and rates.

    Args:
        backbone: the network, in words.
        sizes: parameters of each block.
        where: device, precision and processes, in words.
    """
    total = sum(sizes.values())
    lines = [
        f"task       {recipe.task}",
        f"data       {recipe.data.source or recipe.data.train}: {describe_parts(dataset)}",
        *(f"           note: {note}" for note in dataset.notes),
        f"backbone   {backbone}",
        f"running    {where}",
        *(
            f"phase {number}    {recipe.transfer.strategy}: "
            f"{_course(phase, dataset, total, phases)}"
            for number, phase in enumerate(phases, 1)
        ),
    ]
    varied = {"policy": recipe.augment.policy} if recipe.augment.policy else {}
    if more := recipe.non_defaults() | varied:
        lines.append("with       " + ", ".join(f"{key} {value}" for key, value in more.items()))
    if recipe.evaluate.baselines:
        lines.append(f"beside     {', '.join(other.name for other in recipe.evaluate.baselines)}")
    text = "\n".join(lines)
    return text + "\n" + _tables(dataset, sizes, phases) if detailed else text


def _course(
    phase: PhaseRecord, dataset: Dataset, total: int, phases: tuple[PhaseRecord, ...]
) -> str:
    if not phase.epochs:
        alone = dataset.validation is None or any(other.epochs for other in phases)
        parts = "training part" if alone else "training and validation part"
        return f"{phase.name} of the {parts}, each example passed through the backbone once"
    epochs = f"{phase.epochs} epoch{'s' if phase.epochs > 1 else ''}"
    course = f"{epochs}, {millions(phase.trainable)} of {millions(total)} parameters train"
    return f"{phase.name}; {course}, rates {_rates(phase)}"


def describe_parts(dataset: Dataset) -> str:
    """How many examples each part has, and each class of the training part."""
    parts = ", ".join(f"{role} {len(examples)}" for role, examples in dataset.parts().items())
    return f"{parts}; {_classes(dataset)}"


def _classes(dataset: Dataset) -> str:
    counts = dataset.counts("train")
    if len(counts) <= MANY_CLASSES:
        return f"{len(counts)} classes: " + ", ".join(
            f"{printable(name)} {count}" for name, count in counts.items()
        )
    low, high = min(counts.values()), max(counts.values())
    return (
        f"{len(counts)} classes of {low if low == high else f'{low} to {high}'} training examples"
    )


def _rates(phase: PhaseRecord) -> str:
    low, high = min(phase.rates.values()), max(phase.rates.values())
    return f"{high:.3g}" if low == high else f"{low:.3g} to {high:.3g}"


def _rate(phase: PhaseRecord, block: str) -> str:
    if block not in phase.rates:
        return "frozen"
    return f"{phase.rates[block]:.3g}" if phase.epochs else "fitted"


def _tables(dataset: Dataset, sizes: dict[str, int], phases: tuple[PhaseRecord, ...]) -> str:
    blocks = Table(
        "block",
        "parameters",
        *(f"rate in phase {n}" for n in range(1, len(phases) + 1)),
        box=SIMPLE_HEAD,
    )
    for name, size in sizes.items():
        blocks.add_row(name, f"{size:,}", *(_rate(phase, name) for phase in phases))
    counts = Table("class", *dataset.parts(), box=SIMPLE_HEAD)
    by_part = {role: dataset.counts(role) for role in dataset.parts()}
    for label in dataset.labels:
        counts.add_row(printable(label), *(str(by_part[role][label]) for role in by_part))
    console = Console(file=io.StringIO(), width=100, markup=False)
    console.print(counts, blocks)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue().rstrip()


def millions(count: int) -> str:
    """A number of parameters, in millions where there are many."""
    return f"{count / 1e6:.2f} M" if count >= 10_000 else f"{count:,}"
