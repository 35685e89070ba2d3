"""headstart export: a finished run as a file for other programs, checked against the run."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headstart.errors import HeadstartError, RunError, first_line
from headstart.files import atomic, remove
from headstart.inference.agreement import Agreement
from headstart.inference.finished import finished
from headstart.inference.loaded_model import NetworkModel
from headstart.inference.predict import Predictor, load
from headstart.models.preprocessor import Item
from headstart.report.report import Report

SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2", "hf": ".hf"}
CHECKED, CALIBRATED, TRACED = 1_000, 256, 2  # examples
BATCH = 32
Items = Sequence[Item]
Answers = dict[str, np.ndarray]  # probabilities of the checked examples by how to get them


@dataclass(frozen=True)
class Exported:
    """An exported file, how it agrees with the run, sizes, and how to load it."""

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
        raise RunError(f"--to: found {to!r}; expected {', '.join(SUFFIXES)}")
    if int8 and to != "onnx":
        raise RunError("--int8: goes with --to onnx only")
    home = Path(run).resolve() if Path(run).name in ("", "..") else Path(run)
    path = out or home.with_name(f"{home.name}{'.int8' if int8 else ''}{SUFFIXES[to]}")
    if to != "hf" and path.suffix != SUFFIXES[to]:
        raise RunError(f"--out: found {path.name!r}; expected a name that ends in {SUFFIXES[to]}")
    if path.exists():
        raise RunError(
            f"--out: {path} is there already; move it away, or give another name with --out"
        )
    predictor = load(run)
    (member,) = predictor.members
    if not isinstance(member, NetworkModel):
        raise RunError(f"{run}: is an exported file already; expected the folder of a run")
    items, labels, calibration = _examples(run, predictor, examples)
    precision, of_run = member.precision, predictor.probabilities(items)
    exact = of_run
    if not member.in_float32:
        member.to_float32()
        exact = predictor.probabilities(items)
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path, exclusive=True) as draft:
        answers = WRITERS[to](member, draft, path, items, calibration if int8 else [])
        agreements = [
            Agreement(answer, exact, of_run, precision, labels) for answer in answers.values()
        ]
        for agreement in agreements:
            agreement.check(run, f"{to} int8" if int8 else to, int8)
        sizes = _bytes(draft), _bytes(Path(run) / "model")
    worst = max(agreements, key=lambda agreement: agreement.largest)
    return Exported(path, worst, *sizes, tuple(answers))


def _examples(
    run: str, predictor: Predictor, given: Sequence[str]
) -> tuple[Items, np.ndarray | None, Items]:
    """(examples to check an export with, their classes if known, others to calibrate it with)."""
    if given:
        inputs = predictor.inputs_from_paths(given)
        items = [example.item for example in inputs if not example.fault]
        if len(items) < TRACED:
            raise RunError(f"--examples: found {len(items)}; expected at least {TRACED}")
        return items[:CHECKED], None, items[:CALIBRATED]
    try:
        dataset = finished(run).dataset
    except HeadstartError as error:
        raise RunError(
            f"{run}: its examples, which an export is checked with, cannot be read ({error}); "
            "give others with --examples"
        ) from None
    test, train = (
        part.take(np.unique(np.linspace(0, len(part) - 1, min(len(part), count)).round()))
        for part, count in ((dataset.test, CHECKED), (dataset.train, CALIBRATED))
    )
    return list(test.items), test.labels, list(train.items)


def _onnx(
    member: NetworkModel, draft: Path, path: Path, items: Items, calibration: Items
) -> Answers:
    from headstart.inference.exportable import inputs_of
    from headstart.inference.onnx_file import write_onnx

    write_onnx(member, items[:TRACED], draft)
    if calibration:
        from headstart.inference.int8 import QUANTIZERS

        whole = draft.with_stem(f"{draft.stem}-float")
        draft.rename(whole)
        starts = range(0, len(calibration), BATCH)
        batches = (inputs_of(member, calibration[start : start + BATCH]) for start in starts)
        arrays = ({name: value.numpy() for name, value in batch.items()} for batch in batches)
        try:
            QUANTIZERS[member.task.modality.name](whole, draft, arrays)
        finally:
            remove(whole)
    use = f"headstart predict {path} …; headstart serve {path}"
    return {use: load(draft).probabilities(items)}


def _torch_export(member: NetworkModel, draft: Path, path: Path, items: Items, _: Items) -> Answers:
    from headstart.inference.torch_file import read_torch_file, write_torch_file

    write_torch_file(member, items[:TRACED], draft)
    return {f'torch.export.load("{path}").module()': read_torch_file(draft, member, items)}


def _hf(member: NetworkModel, draft: Path, path: Path, items: Items, _: Items) -> Answers:
    from headstart.inference.hub_folder import write_hub_folder
    from headstart.inference.model_card import model_card

    labels, answers = member.spec.labels, {}
    modality = member.task.modality
    for call in write_hub_folder(member, draft):
        opened = (modality.opened(member.preprocessor, item) for item in items)
        try:
            answers[call.line(path)] = call.probabilities(draft, opened, labels)
        except Exception as error:  # timm and transformers raise many types
            raise RunError(
                f"{member.source}: {call.line(path)} would not load it ({first_line(error)}); "
                "export to onnx or torch_export instead"
            ) from None
    spec = member.spec.without_local_paths()
    card = model_card(Report.read(member.source), spec, modality, list(answers))
    (draft / "README.md").write_text(card, encoding="utf-8")
    return answers


WRITERS = {"onnx": _onnx, "torch_export": _torch_export, "hf": _hf}


def _bytes(path: Path) -> int:
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    return sum(file.stat().st_size for file in files)
