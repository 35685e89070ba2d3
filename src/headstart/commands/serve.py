"""headstart serve: a model behind HTTP."""

from __future__ import annotations

from headstart.commands.evaluate import load_average
from headstart.errors import needs_extra


def serve(
    runs: str,
    host: str = "127.0.0.1",
    port: int = 8000,
    weights: str | None = None,
    refuse_below: float | None = None,
) -> None:
    """Answer requests until the process is told to stop.

    Args:
        runs, weights, refuse_below: see `load_average`.

    Raises:
        HeadstartError: the address is taken, or the model cannot be loaded.
    """
    with needs_extra("serve", "headstart serve"):
        from headstart.inference.serve import serve

    serve(lambda: load_average(runs, weights, refuse_below), host, port)
