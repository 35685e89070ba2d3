"""The README of an exported model: what it is, what it was measured at, and what it learned
from."""

from __future__ import annotations

from collections.abc import Sequence

from headstart.data.unicode import printable, quoted
from headstart.modalities import Modality
from headstart.models.spec import ImageSpec, Spec
from headstart.report.report import Report

MANY = 50  # labels that are listed


def model_card(report: Report, spec: Spec, modality: Modality, uses: Sequence[str]) -> str:
    """A model card (Mitchell et al. 2019) in Markdown, written from the report alone.

    Args:
        spec, modality: of the network. uses: the ways to load it, each a line of Python that begins
            with the library's name.
    """
    test, origin = report.test, spec.pretrained
    rows = {
        "accuracy": test.accuracy,
        "balanced accuracy": test.balanced_accuracy,
        "macro-F1": test.macro_f1,
        "log loss": test.log_loss,
        "calibration error": test.calibration_error,
    }
    labels = [f"`{printable(label)}`" for label in report.labels[:MANY]] + (
        ["…"] if len(report.labels) > MANY else []
    )
    counts = ", ".join(
        f"{sum(by_class.values())} {role}" for role, by_class in report.counts.items()
    )
    worst = test.worst_class()
    baselines = [f"- {result.name}: {result.test.accuracy}" for result in report.baselines]
    parts = [
        f"---\nlibrary_name: {modality.library}\npipeline_tag: "
        f"{modality.pipeline}\ntags: [headstart]\n---",
        f"# {report.name}",
        f"Tells {len(report.labels)} classes apart: {', '.join(labels)}.",
        "\n\nor\n\n".join(
            f"```python\nimport {use.partition('.')[0]}\n\n{use}\n```" for use in uses
        ),
        f"A `{spec.backbone}` network, "
        + (f"pretrained (`{origin.source}`)" if origin else "from random weights")
        + f", trained by headstart with the strategy `{report.main.name}` on {counts} examples.",
        f"## Measured on {test.n} test examples",
        "| | value | 95 % interval |\n|---|---|---|\n"
        + "\n".join(f"| {name} | {row.value:.3f} | {row.interval} |" for name, row in rows.items()),
        f"Always saying {quoted(test.majority_class)} is right in {test.majority_accuracy:.3f} "
        "of them."
        + (" The epoch was chosen on these examples." if report.selected_on == "test" else "")
        + (
            f" Worst class: {quoted(worst.name)}, {worst.recall} of its {worst.n} examples found."
            if worst
            else ""
        ),
        *(["On the same examples:\n\n" + "\n".join(baselines)] if baselines else []),
        "## Limits\n\nThe figures hold for examples like the test part's; an input of none of "
        "the classes gets one of them too."
        + (
            f" Test examples with a duplicate in training or validation: {report.leaked}."
            if report.leaked
            else ""
        )
        + _greys(spec.preprocessing.grey_range if isinstance(spec, ImageSpec) else None),
    ]
    return "\n\n".join(parts) + "\n"


def _greys(grey_range: Sequence[float] | None) -> str:
    if grey_range is None:
        return ""
    black, white = grey_range
    return (
        f" Greys of more than 8 bits are read with {black:g} as black and {white:g} as white; "
        "neither timm nor transformers does so: give them images of 8 bits."
    )
