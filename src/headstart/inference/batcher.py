"""Examples of many requests gathered into batches for one model."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import TypeAlias

import numpy as np

from headstart.inference.pipeline import Preprocessed
from headstart.inference.predict import Predictor
from headstart.runtime.allocator import give_back_memory

BATCH = 32  # examples
REST = 2.0  # seconds without work until memory is given back


Waiting: TypeAlias = tuple[Preprocessed, Future[np.ndarray]]  # an example and its probabilities


class OverloadedError(Exception):
    """More examples wait than may."""


class Batcher:
    """One thread that has the model, and computes all that waits, up to 32 at a time: it never
    waits for more to come.

    The model is loaded in that thread, so that torch's helper threads are made once. `predictor` is
    there when it is made.

    Args:
        load: gives the model; what it raises is raised here.
        limit: how many examples may be inside at a time.
    """

    def __init__(self, load: Callable[[], Predictor], limit: int) -> None:
        self._limit, self._inside, self._lock = limit, 0, threading.Lock()
        self._waiting: queue.SimpleQueue[Waiting | None] = queue.SimpleQueue()
        loaded: Future[Predictor] = Future()
        self._thread = threading.Thread(
            target=self._work, args=(load, loaded), name="model", daemon=True
        )
        self._thread.start()
        self.predictor = loaded.result()

    def admit(self, count: int) -> None:
        """Let examples in; each is out again when `leave` says so.

        Raises:
            OverloadedError: there are too many inside.
        """
        with self._lock:
            if self._inside + count > self._limit:
                raise OverloadedError
            self._inside += count

    def leave(self, count: int) -> None:
        """Examples that were let in are done, however they ended."""
        with self._lock:
            self._inside -= count

    def submit(self, example: Preprocessed) -> Future[np.ndarray]:
        """Probabilities, shape (classes,), of an example, as soon as they are computed."""
        future: Future[np.ndarray] = Future()
        self._waiting.put((example, future))
        return future

    def close(self) -> None:
        """Finish what waits, and stop."""
        self._waiting.put(None)
        self._thread.join()

    def _work(self, load: Callable[[], Predictor], loaded: Future[Predictor]) -> None:
        try:
            predictor = load()
        except BaseException as error:
            loaded.set_exception(error)
            return
        loaded.set_result(predictor)
        rested = False
        while True:
            try:
                first = self._waiting.get(timeout=None if rested else REST)
            except queue.Empty:
                give_back_memory()
                rested = True
                continue
            rested = False
            if first is None:
                return
            batch = [first]
            while len(batch) < BATCH:
                try:
                    following = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    self._waiting.put(None)
                    break
                batch.append(following)
            _compute(predictor, batch)


def _compute(predictor: Predictor, batch: Sequence[Waiting]) -> None:
    """One by one if it goes wrong together, so that an example spoils no other."""
    try:
        rows = predictor.classify([example for example, _ in batch])
    except Exception as error:
        if len(batch) == 1:
            batch[0][1].set_exception(error)
        else:
            for one in batch:
                _compute(predictor, [one])
        return
    for (_, future), row in zip(batch, rows, strict=True):
        future.set_result(row)
