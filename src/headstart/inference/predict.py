"""Predictions of one or several finished runs."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, overload

import numpy as np

from headstart.data.inputs import Input
from headstart.data.python_inputs import as_items
from headstart.errors import RunError
from headstart.inference.loaded_model import LoadedModel, open_model
from headstart.inference.refusal import Refusal, refusal_of
from headstart.runtime.allocator import keep_freed_memory
from headstart.runtime.threads import share_cores

if TYPE_CHECKING:
    from PIL.Image import Image

    from headstart.inference.pipeline import Preprocessed

    Example = str | bytes | Path | Image


@dataclass(frozen=True)
class Prediction:
    """The most probable label of one example, and the probability of every label in the model's
    fixed order. `label` is empty where the example is `refused`: its probability is too low."""

    name: str
    label: str
    probability: float
    probabilities: dict[str, float]
    refused: bool = False

    def top(self, count: int) -> list[tuple[str, float]]:
        """The most probable labels with their probabilities, the best first."""
        return sorted(self.probabilities.items(), key=lambda pair: -pair[1])[:count]


@dataclass(frozen=True)
class Unreadable:
    """An example that could not be read, and why."""

    name: str
    fault: str


class Predictor:
    """One or several finished models, whose probabilities are averaged by `weights`.

    `labels` are in the order of the training split. With a `refusal`, probabilities are at its
    temperature, and examples below its threshold get no label.
    """

    def __init__(
        self,
        members: Sequence[LoadedModel],
        weights: Sequence[float] | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        first = members[0]
        for other in members[1:]:
            _check_same_classes(first, other)
        self.labels: tuple[str, ...] = first.spec.labels
        self.members = tuple(members)
        self.spec, self.modality = first.spec, first.task.modality
        self.weights = _normalised(weights, len(members))
        self.refusal = refusal
        # models with the same preprocessing share its result
        self._distinct = {_preprocessing_key(member): member for member in members}
        self._note_pending, self._note_lock = True, Lock()

    @overload
    def predict(
        self, items: Example | Sequence[Example] | np.ndarray, tta: bool = False
    ) -> list[Prediction]: ...
    @overload
    def predict(
        self, items: Iterator[Example], tta: bool = False
    ) -> Iterator[Prediction | Unreadable]: ...
    def predict(self, items: object, tta: bool = False) -> object:
        """Predictions of examples, in order.

        Args:
            items: one example, or a list, tuple, array or Series of them. For a model of texts:
                strings, UTF-8 bytes, or paths of .txt files and tables. For a model of images:
                paths of files, folders or tables, Pillow images, or the bytes of files. An
                iterator of these is predicted as it comes, in constant memory; examples that cannot
                be read are `Unreadable` among the predictions.
            tta: average over ten views of each image (its corners and its middle, also mirrored).

        Raises:
            HeadstartError: a path does not exist or an example of a sequence cannot be read; the
                message names it.
        """
        if isinstance(items, Iterator):
            return self.stream(self.inputs_from_objects(items), tta)
        predictions = []
        for outcome in self.stream(self.inputs_from_objects(as_items(items)), tta):
            if isinstance(outcome, Unreadable):
                raise RunError(f"{outcome.name[:200]}: cannot be read ({outcome.fault})")
            predictions.append(outcome)
        return predictions

    def inputs_from_paths(self, paths: Sequence[str]) -> Iterator[Input]:
        """Examples from arguments: files, folders, tables, texts, "-" for standard input."""
        return self.modality.from_paths(paths, self.spec.column)

    def inputs_from_objects(self, items: Iterable[object]) -> Iterator[Input]:
        """Examples from Python objects."""
        return self.modality.from_objects(items, self.spec.column)

    def stream(
        self, inputs: Iterable[Input], tta: bool = False
    ) -> Iterator[Prediction | Unreadable]:
        """Predictions of examples as they come, in constant memory."""
        for example, outcome in self._outcomes(iter(inputs), tta):
            if isinstance(outcome, str):
                yield Unreadable(example.name, outcome)
            else:
                yield self.prediction(example.name, outcome)

    def prediction(self, name: str, probabilities: np.ndarray) -> Prediction:
        """The prediction for probabilities of shape (classes,)."""
        best = int(probabilities.argmax())
        probability = float(probabilities[best])
        refused = self.refusal is not None and probability < self.refusal.least
        named = dict(zip(self.labels, probabilities.tolist(), strict=True))
        return Prediction(name, "" if refused else self.labels[best], probability, named, refused)

    def probabilities(self, items: Iterable[object], tta: bool = False) -> np.ndarray:
        """Probabilities of shape (n, classes) for examples in their order.

        Raises:
            HeadstartError: one of them cannot be read.
        """
        rows = []
        for example, outcome in self._outcomes((Input(str(item), item) for item in items), tta):
            if isinstance(outcome, str):
                raise RunError(f"{example.name[:200]}: cannot be read ({outcome})")
            rows.append(outcome)
        return np.array(rows).reshape(len(rows), len(self.labels))

    def preprocess(self, item: object, tta: bool = False) -> Preprocessed:
        """What the models read of one example.

        Raises:
            Exception: whatever the decoder of images raises.
        """
        return {
            key: member.preprocessor.views(item) if tta else [member.preprocessor(item)]  # type: ignore[attr-defined]
            for key, member in self._distinct.items()
        }

    def classify(self, batch: Sequence[Preprocessed]) -> np.ndarray:
        """Probabilities of preprocessed examples, shape (n, classes): of several views of an
        example their mean."""
        total = np.zeros((len(batch), len(self.labels)))
        for member, weight in zip(self.members, self.weights, strict=True):
            views = [example[_preprocessing_key(member)] for example in batch]
            rows = member.probabilities([view for several in views for view in several])
            counts = np.array([len(several) for several in views])
            starts = np.cumsum(counts) - counts
            total += weight * np.add.reduceat(rows, starts) / counts[:, None]
        return total if self.refusal is None else self.refusal.tempered(total)

    def check_views(self) -> None:
        """
        Raises:
            HeadstartError: the models' preprocessing makes no several views of an example.
        """
        from headstart.models.preprocessor import Viewer

        if not all(isinstance(member.preprocessor, Viewer) for member in self.members):
            raise RunError(
                "--tta: averages over several views of an image; this model reads "
                f"{self.modality.noun}s. Leave it out"
            )

    def _outcomes(
        self, inputs: Iterator[Input], tta: bool
    ) -> Iterator[tuple[Input, np.ndarray | str]]:
        """Each example with its probabilities, shape (classes,), or why it could not be read."""
        from headstart.inference.pipeline import Pipeline
        from headstart.train.forward import BATCH

        if tta:
            self.check_views()

        def preprocess(item: object) -> Preprocessed:
            self._print_note(item)
            return self.preprocess(item, tta)

        batch = max(BATCH // 10, 1) if tta else BATCH
        return Pipeline(
            preprocess, self.classify, self.members[0].preprocessor, self.modality.chunk, batch
        ).outcomes(inputs)

    def _print_note(self, item: object) -> None:
        """Print once, on standard error, that the models read such an example wrongly."""
        find_note = self.modality.input_note
        if find_note is None or not self._note_pending:
            return
        notes = (find_note(item, member.spec) for member in self._distinct.values())
        if note := next(filter(None, notes), None):
            with self._note_lock:  # several threads read
                if self._note_pending:
                    print(f"note: {note}", file=sys.stderr)
                self._note_pending = False


def load(
    run: str | Path | Sequence[str | Path],
    weights: Sequence[float] | None = None,
    refuse_below: float | None = None,
) -> Predictor:
    """The model of a finished run or of an exported ONNX file, or the average of several; needs no
    network and opens no pickle.

    Args:
        run: the folder of a run, an .onnx file, or several of them.
        weights: what share each of several has in the average; equal shares without.
        refuse_below: the least probability at which an example of one run gets a label;
            probabilities are then those at the temperature of its report.

    Raises:
        HeadstartError: a folder holds no model or a damaged one, several tell different classes
            apart, or the report has no temperature.
    """
    share_cores()
    keep_freed_memory()
    sources = [run] if isinstance(run, str | Path) else list(run)
    if not sources:
        raise RunError("load: found no run; expected the folder of a finished run, or several")
    refusal = None if refuse_below is None else refusal_of(sources, refuse_below)
    return Predictor([open_model(source) for source in sources], weights, refusal)


def _preprocessing_key(member: LoadedModel) -> str:
    return member.spec.preprocessing.model_dump_json()


def _check_same_classes(first: LoadedModel, other: LoadedModel) -> None:
    """
    Raises:
        HeadstartError: the probabilities of the two models cannot be averaged.
    """
    if other.task.modality is not first.task.modality:
        raise RunError(
            f"{other.source}: is a run of {other.spec.task}, and {first.source} of "
            f"{first.spec.task}; only models of one task can be averaged"
        )
    if other.spec.labels != first.spec.labels:
        few, others = (
            ", ".join([*model.spec.labels[:4], *(["…"] if model.spec.classes > 4 else [])])
            for model in (other, first)
        )
        raise RunError(
            f"{other.source}: has other classes than {first.source} ({few}; {others}); only models "
            "with the same classes can be averaged"
        )


def _normalised(weights: Sequence[float] | None, count: int) -> np.ndarray:
    """The weights of an average, shape (count,), with the sum 1; equal ones by default."""
    shares = np.full(count, 1 / count) if weights is None else np.array(weights, dtype=float)
    total = shares.sum()
    if shares.shape != (count,) or not np.isfinite(total) or (shares < 0).any() or total <= 0:
        raise RunError(
            f"--weights: found {weights}; expected {count} numbers of at least 0, not all 0"
        )
    return np.asarray(shares / total)
