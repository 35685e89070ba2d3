"""Examples are read in threads while earlier ones are computed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from typing import TypeAlias

import numpy as np

from headstart.data.images import describe_error
from headstart.data.inputs import Input
from headstart.models.preprocessor import Preprocessor, Sample
from headstart.runtime.threads import readers
from headstart.train.forward import in_order

AHEAD = 2  # batches that are read while one is computed
# the views of one example, as each way of preprocessing makes them
Preprocessed: TypeAlias = dict[str, list[Sample]]


@dataclass(frozen=True)
class Pipeline:
    """From examples to probabilities, in constant memory.

    preprocess: one example; what it raises makes that example unreadable.
    classify: probabilities of a batch, shape (n, classes).
    preprocessor: tells the sizes of examples: those of like size share a batch.
    chunk, batch: how many examples are sorted by size, and computed, at a time.
    """

    preprocess: Callable[[object], Preprocessed]
    classify: Callable[[Sequence[Preprocessed]], np.ndarray]
    preprocessor: Preprocessor
    chunk: int
    batch: int

    def outcomes(self, inputs: Iterator[Input]) -> Iterator[tuple[Input, np.ndarray | str]]:
        """Each example with its probabilities, shape (classes,), or why it could not be read."""
        with readers() as pool:
            while chunk := list(islice(inputs, self.chunk)):
                yield from zip(chunk, self._chunk(chunk, pool), strict=True)

    def _chunk(self, chunk: list[Input], pool: ThreadPoolExecutor) -> list[np.ndarray | str]:
        outcomes: list[np.ndarray | str] = [example.fault for example in chunk]
        readable = [row for row, example in enumerate(chunk) if not example.fault]
        order = in_order(readable, [example.item for example in chunk], self.preprocessor)
        reading: deque[tuple[list[int], list[Future[Preprocessed | str]]]] = deque()

        def compute_oldest() -> None:
            rows, futures = reading.popleft()
            batch: dict[int, Preprocessed] = {}
            for row, future in zip(rows, futures, strict=True):
                result = future.result()
                if isinstance(result, str):
                    outcomes[row] = result
                else:
                    batch[row] = result
            if batch:
                for row, probabilities in zip(
                    batch, self.classify(list(batch.values())), strict=True
                ):
                    outcomes[row] = probabilities

        for start in range(0, len(order), self.batch):
            rows = order[start : start + self.batch]
            reading.append((rows, [pool.submit(self._read, chunk[row].item) for row in rows]))
            if len(reading) > AHEAD:
                compute_oldest()
        while reading:
            compute_oldest()
        return outcomes

    def _read(self, item: object) -> Preprocessed | str:
        try:
            return self.preprocess(item)
        # Pillow's decoders raise about ten different types on broken files
        except Exception as error:
            return describe_error(error, str(item))
