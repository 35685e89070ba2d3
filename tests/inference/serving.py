"""A server in this process, for tests."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from starlette.testclient import TestClient

import headstart
from headstart.inference.batcher import Batcher
from headstart.inference.limits import Limits
from headstart.inference.serve import application


@contextmanager
def served(
    model: Path | list[Path], limits: Limits | None = None, refuse_below: float | None = None
) -> Iterator[TestClient]:
    """A client of a server for a run."""
    limits = limits or Limits()
    batcher = Batcher(lambda: headstart.load(model, refuse_below=refuse_below), limits.all_examples)
    with TestClient(application(batcher, limits), raise_server_exceptions=False) as client:
        yield client
