"""A finished run, or several, put to work: load them, give them examples, get labels."""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from threading import Lock
from typing import TYPE_CHECKING, Any, overload

import numpy as np

from headstart.data.grey_range import no_range_note
from headstart.data.images import describe_error, is_high_bit_depth
from headstart.data.inputs import Input
from headstart.data.python_inputs import as_items, image_inputs, text_inputs
from headstart.data.unicode import printable
from headstart.errors import HeadstartError
from headstart.inference.loaded_model import LoadedModel, open_model
from headstart.inference.refusal import Refusal, refusal_of
from headstart.runtime.allocator import keep_freed_memory
from headstart.runtime.threads import share_cores

if TYPE_CHECKING:
    from PIL.Image import Image

    Example = str | bytes | Path | Image

# examples at a time; texts are put into batches by their lengths first
CHUNK, CHUNK_OF_IMAGES = 1024, 128
AHEAD = 2  # batches that are read while one is computed


@dataclass(frozen=True)
class Prediction:
    """The most probable label of one example, and the probability of every label in the model's
    fixed order. An example that is `refused`, for its most probable label is not probable enough,
    has an empty label."""

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


Encoded = dict[str, list[dict[str, Any]]]  # what each way of preprocessing made of one example


class Predictor:
    """One or several finished models; of several the probabilities are averaged, by `weights` if
    they are given.

    `labels` are in the order of the training split. With a `refusal`, probabilities are at its
    temperature, and what is less probable than it asks for gets no label.
    """

    def __init__(
        self,
        members: Sequence[LoadedModel],
        weights: Sequence[float] | None = None,
        refusal: Refusal | None = None,
    ) -> None:
        first = members[0]
        self.labels: tuple[str, ...] = first.spec.labels
        for other in members[1:]:
            if other.task.modality is not first.task.modality:
                raise HeadstartError(
                    f"{other.source}: is a run of {other.spec.task}, and {first.source} of "
                    f"{first.spec.task}; only models of one task can be averaged"
                )
            if other.spec.labels != first.spec.labels:
                raise HeadstartError(
                    f"{other.source}: tells other classes apart than {first.source} "
                    f"({_few(other)}; {_few(first)}); only models with the same classes can be "
                    "averaged"
                )
        self.members = tuple(members)
        self.task, self.spec = first.task, first.spec
        self._preprocessors = {_look(member): member.preprocessor for member in members}
        self.weights = _shares(weights, len(members))
        self.refusal = refusal
        self._untold = Lock()  # whoever gets it tells of greys without a range
        self._may_be_unscaled = self.reads_images and any(
            getattr(member.spec.preprocessing, "grey_range", None) is None for member in members
        )

    @overload
    def predict(
        self, items: Example | Sequence[Example] | np.ndarray, tta: bool = False
    ) -> list[Prediction]: ...
    @overload
    def predict(
        self, items: Iterator[Example], tta: bool = False
    ) -> Iterator[Prediction | Unreadable]: ...
    def predict(self, items: Any, tta: bool = False) -> Any:
        """Predictions of examples, in order.

        Args:
            items: one example, or a list, tuple, array or Series of them. Of a model of texts:
                texts; a string that is the path of a file (.txt or a table), or any `Path`, stands
                for what it holds; bytes are UTF-8. Of a model of images: paths of files, folders or
                tables, images opened with Pillow, or the bytes of files. An iterator of these is
                worked through as it comes, in constant memory, and what cannot be read is an
                `Unreadable` among the predictions.
            tta: average over ten looks at each image (its corners and its middle, also mirrored).

        Raises:
            HeadstartError: a path does not exist or an example of a sequence cannot be read; the
                message names it.
        """
        if isinstance(items, Iterator):
            return self.stream(self.found(items), tta)
        predictions = []
        for outcome in self.stream(self.found(as_items(items)), tta):
            if isinstance(outcome, Unreadable):
                raise HeadstartError(f"{outcome.name[:200]}: cannot be read ({outcome.fault})")
            predictions.append(outcome)
        return predictions

    def gather(self, paths: Sequence[str]) -> Iterator[Input]:
        """The examples that arguments of the command line stand for: files, folders, tables, "-"
        for standard input, texts."""
        return self.task.modality.from_paths(paths, self.spec.column)

    def found(self, items: Iterable[Any]) -> Iterator[Input]:
        """The examples that items in Python stand for."""
        return (image_inputs if self.reads_images else text_inputs)(items, self.spec.column)

    @property
    def reads_images(self) -> bool:
        """Whether examples are images; else they are texts."""
        return self.spec.kind == "vision"

    def stream(
        self, found: Iterable[Input], tta: bool = False
    ) -> Iterator[Prediction | Unreadable]:
        """Predictions of examples as they come, in constant memory."""
        for example, outcome in self._outcomes(iter(found), tta):
            if isinstance(outcome, str):
                yield Unreadable(example.name, outcome)
            else:
                yield self.prediction(example.name, outcome)

    def prediction(self, name: str, probabilities: np.ndarray) -> Prediction:
        """What probabilities of shape (classes,) say of an example."""
        best = int(probabilities.argmax())
        probability = float(probabilities[best])
        refused = self.refusal is not None and probability < self.refusal.least
        named = dict(zip(self.labels, probabilities.tolist(), strict=True))
        return Prediction(name, "" if refused else self.labels[best], probability, named, refused)

    def probabilities(self, items: Iterable[Any], tta: bool = False) -> np.ndarray:
        """Probabilities of shape (n, classes) for examples in their order.

        Raises:
            HeadstartError: one of them cannot be read.
        """
        rows = []
        for example, outcome in self._outcomes((Input(str(item), item) for item in items), tta):
            if isinstance(outcome, str):
                raise HeadstartError(f"{example.name[:200]}: cannot be read ({outcome})")
            rows.append(outcome)
        return np.array(rows).reshape(len(rows), len(self.labels))

    def encode(self, item: Any, tta: bool = False) -> Encoded:
        """What the models read of one example.

        Raises:
            Exception: whatever the decoder of images raises.
        """
        return {
            look: preprocessor.views(item) if tta else [preprocessor(item)]  # type: ignore[attr-defined]
            for look, preprocessor in self._preprocessors.items()
        }

    def classify(self, encoded: Sequence[Encoded]) -> np.ndarray:
        """Probabilities of examples that `encode` made, shape (n, classes), as one batch."""
        total = np.zeros((len(encoded), len(self.labels)))
        for member, weight in zip(self.members, self.weights, strict=True):
            views = [example[_look(member)] for example in encoded]
            rows = member.probabilities([view for several in views for view in several])
            starts = np.cumsum([0, *map(len, views)])[:-1]
            total += (
                weight
                * np.add.reduceat(rows, starts)
                / np.array([[len(several)] for several in views])
            )
        return total if self.refusal is None else self.refusal.tempered(total)

    def check_views(self) -> None:
        """Whether examples can be looked at in several ways.

        Raises:
            HeadstartError: they cannot.
        """
        from headstart.models.preprocessor import Viewer

        if not all(
            isinstance(preprocessor, Viewer) for preprocessor in self._preprocessors.values()
        ):
            raise HeadstartError(
                "--tta: looks at images in several ways; this model reads texts. Leave it out"
            )

    def _outcomes(
        self, found: Iterator[Input], tta: bool
    ) -> Iterator[tuple[Input, np.ndarray | str]]:
        """Each example with its probabilities, shape (classes,), or why it could not be read."""
        from headstart.runtime.threads import readers
        from headstart.train.forward import BATCH

        if tta:
            self.check_views()
        count = CHUNK_OF_IMAGES if self.reads_images else CHUNK
        with readers() as pool:
            while chunk := list(islice(found, count)):
                yield from zip(
                    chunk,
                    self._chunk(chunk, pool, max(BATCH // 10, 1) if tta else BATCH, tta),
                    strict=True,
                )

    def _chunk(
        self, chunk: list[Input], pool: ThreadPoolExecutor, size: int, tta: bool
    ) -> list[np.ndarray | str]:
        from headstart.train.forward import in_order

        outcomes: list[np.ndarray | str] = [example.fault for example in chunk]
        readable = [row for row, example in enumerate(chunk) if not example.fault]
        order = in_order(
            readable, [example.item for example in chunk], self.members[0].preprocessor
        )
        waiting: deque[tuple[list[int], list[Future[Encoded | str]]]] = deque()

        def finish() -> None:
            rows, futures = waiting.popleft()
            good: list[tuple[int, Encoded]] = []
            for row, future in zip(rows, futures, strict=True):
                encoded = future.result()
                if isinstance(encoded, str):
                    outcomes[row] = encoded
                else:
                    good.append((row, encoded))
            if good:
                for (row, _), probabilities in zip(
                    good, self.classify([encoded for _, encoded in good]), strict=True
                ):
                    outcomes[row] = probabilities

        for start in range(0, len(order), size):
            rows = order[start : start + size]
            waiting.append((rows, [pool.submit(self._tried, chunk[row].item, tta) for row in rows]))
            if len(waiting) > AHEAD:
                finish()
        while waiting:
            finish()
        return outcomes

    def _tried(self, item: Any, tta: bool) -> Encoded | str:
        try:
            self._tell_unscaled(item)
            return self.encode(item, tta)
        # Pillow's decoders raise about ten different types on broken files
        except Exception as error:
            return describe_error(error, str(item))

    def _tell_unscaled(self, item: Any) -> None:
        """Say once, on standard error, that there are greys of more than 8 bits and no range for
        them."""
        if self._may_be_unscaled and is_high_bit_depth(item):
            self._may_be_unscaled = False
            if self._untold.acquire(blocking=False):  # other threads may have come as far
                print(f"note: {no_range_note(_name(item))}", file=sys.stderr)


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
        raise HeadstartError(
            "load: found no run; expected the folder of a finished run, or several"
        )
    refusal = None if refuse_below is None else refusal_of(sources, refuse_below)
    return Predictor([open_model(source) for source in sources], weights, refusal)


def _look(member: LoadedModel) -> str:
    return member.spec.preprocessing.model_dump_json()


def _name(item: Any) -> str:
    return printable(str(item)) if isinstance(item, str | Path) else "one that was given"


def _few(member: LoadedModel) -> str:
    labels = member.spec.labels
    return ", ".join(map(str, labels[:4])) + (", …" if len(labels) > 4 else "")


def _shares(weights: Sequence[float] | None, count: int) -> np.ndarray:
    shares = np.full(count, 1 / count) if weights is None else np.array(weights, dtype=float)
    if (
        shares.shape != (count,)
        or not np.isfinite(shares.sum())
        or (shares < 0).any()
        or shares.sum() <= 0
    ):
        raise HeadstartError(
            f"--weights: found {weights}; expected {count} numbers of at least 0, not all 0"
        )
    return shares / shares.sum()
