"""headstart export: a finished run as a file for other programs, kept only if it says what the run
says."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.errors import HeadstartError, first_line
from headstart.files import atomic, remove
from headstart.inference.agreement import Agreement
from headstart.inference.finished import finished
from headstart.inference.loaded_model import NetworkModel
from headstart.inference.predict import Predictor, load
from headstart.report.report import Report

SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "hf": ".hf"}
CHECKED, CALIBRATED, TRACED = 1_000, 256, 2  # examples
BATCH = 32


@dataclass(frozen=True)
class Exported:
    """Where it lies, how it was checked and how to use it."""

    path: Path
    agreement: Agreement
    bytes: int
    bytes_before: int
    uses: tuple[str, ...]

    def lines(self) -> list[str]:
        megabytes, before = self.bytes / 1e6, self.bytes_before / 1e6
        return [
            *self.agreement.lines(),
            f"written to {self.path} ({megabytes:.1f} MB; the run's model has {before:.1f} MB)",
            *(f"{'or' if number else 'use it'}: {use}" for number, use in enumerate(self.uses)),
        ]


def export(
    run: str, to: str, int8: bool = False, out: Path | None = None, examples: Sequence[str] = ()
) -> Exported:
    """Write the model of a finished run in another form, and check it on real examples before it is
    kept.

    Args:
        to: "onnx", "torch_export" or "hf".
        int8: weights of an ONNX file as 8-bit numbers.
        out: where to; without it beside the run.
        examples: files, folders or texts to check it with; without them up to 1,000 of the run's
            test part.

    Raises:
        HeadstartError: the run cannot be exported so, its data is gone, the place is taken, or the
            file says something else.
    """
    if to not in SUFFIXES:
        raise HeadstartError(f"--to: found {to!r}; expected {', '.join(SUFFIXES)}")
    if int8 and to != "onnx":
        raise HeadstartError("--int8: goes with --to onnx only")
    home = Path(run).resolve() if Path(run).name in ("", "..") else Path(run)
    path = out or home.with_name(f"{home.name}{'.int8' if int8 else ''}{SUFFIXES[to]}")
    if to != "hf" and path.suffix != SUFFIXES[to]:
        raise HeadstartError(
            f"--out: found {path.name!r}; expected a name that ends in {SUFFIXES[to]}"
        )
    if path.exists():
        raise HeadstartError(
            f"--out: {path} is there already; move it away, or give another name with --out"
        )
    before = load(run)
    (member,) = before.members
    if not isinstance(member, NetworkModel):
        raise HeadstartError(f"{run}: is an exported file already; expected the folder of a run")
    checked, labels, calibrated = _examples(run, before, examples)
    precision, own = member.precision, before.probabilities(checked)
    exact = own
    if not member.in_float32:
        member.to_float32()
        exact = before.probabilities(checked)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path, exclusive=True) as draft:
        answers = WRITERS[to](member, draft, path, checked, calibrated if int8 else [])
        found = [Agreement(answer, exact, own, precision, labels) for answer in answers.values()]
        for agreement in found:
            agreement.check(run, f"{to} int8" if int8 else to, int8)
        sizes = [_bytes(draft), _bytes(Path(run) / "model")]
    return Exported(
        path, max(found, key=lambda one: one.largest), sizes[0], sizes[1], tuple(answers)
    )


def _examples(
    run: str, model: Predictor, given: Sequence[str]
) -> tuple[list[Any], np.ndarray | None, list[Any]]:
    """(Examples to check an export with, their classes if they are known, others to calibrate it
    with)."""
    if given:
        inputs = model.inputs_from_paths(list(given))
        found = [example.item for example in inputs if not example.fault]
        if len(found) < TRACED:
            raise HeadstartError(f"--examples: found {len(found)}; expected at least {TRACED}")
        return found[:CHECKED], None, found[:CALIBRATED]
    try:
        dataset = finished(run).dataset
    except HeadstartError as error:
        raise HeadstartError(
            f"{run}: its examples, which an export is checked with, cannot be read ({error}); "
            "give others with --examples"
        ) from None
    test, train = dataset.test, dataset.train
    rows = _spread(len(test), CHECKED)
    checked, calibrated = (
        [test.items[row] for row in rows],
        [train.items[row] for row in _spread(len(train), CALIBRATED)],
    )
    return checked, test.labels[rows], calibrated


def _spread(n: int, count: int) -> list[int]:
    """Up to `count` of n rows, evenly spaced."""
    return np.unique(np.linspace(0, n - 1, min(n, count)).round().astype(int)).tolist()


# probabilities of the checked examples by the line that tells how to get them
Answers = dict[str, np.ndarray]


def _onnx(
    member: NetworkModel, draft: Path, path: Path, checked: list[Any], calibrated: list[Any]
) -> Answers:
    from headstart.inference.onnx_file import write_onnx

    write_onnx(member, checked[:TRACED], draft)
    if calibrated:
        from headstart.inference.int8 import QUANTIZERS

        whole = draft.with_stem(f"{draft.stem}-float")
        draft.rename(whole)
        try:
            quantize = QUANTIZERS[member.task.modality.name]
            quantize(whole, draft, _batches(member, calibrated))
        finally:
            remove(whole)
    return {
        f"headstart predict {path} …; headstart serve {path}": load(draft).probabilities(checked)
    }


def _batches(member: NetworkModel, items: list[Any]) -> Iterator[dict[str, np.ndarray]]:
    from headstart.inference.exportable import inputs_of

    for start in range(0, len(items), BATCH):
        yield {
            name: value.numpy()
            for name, value in inputs_of(member, items[start : start + BATCH]).items()
        }


def _torch_export(
    member: NetworkModel, draft: Path, path: Path, checked: list[Any], _: list[Any]
) -> Answers:
    from headstart.inference.torch_file import read_torch_file, write_torch_file

    write_torch_file(member, checked[:TRACED], draft)
    return {f'torch.export.load("{path}").module()': read_torch_file(draft, member, checked)}


def _hf(member: NetworkModel, draft: Path, path: Path, checked: list[Any], _: list[Any]) -> Answers:
    from headstart.inference.hub_folder import write_hub_folder
    from headstart.inference.model_card import model_card

    labels, answers = member.spec.labels, {}
    modality = member.task.modality
    for call in write_hub_folder(member, draft):
        opened = (modality.opened(member.preprocessor, item) for item in checked)
        try:
            answers[call.line(path)] = call.probabilities(draft, opened, labels)
        except Exception as error:  # as manifold as what timm and transformers do not expect
            raise HeadstartError(
                f"{member.source}: {call.line(path)} would not load it ({first_line(error)}); "
                "export to onnx or torch_export instead"
            ) from None
    (draft / "README.md").write_text(
        model_card(
            Report.read(member.source), member.spec.without_local_paths(), modality, list(answers)
        ),
        encoding="utf-8",
    )
    return answers


WRITERS = {"onnx": _onnx, "torch_export": _torch_export, "hf": _hf}


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
