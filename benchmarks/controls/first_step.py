"""From the start of the process to the end of a run's first step, or first batch of features:
prints {"seconds": …}.

python -m benchmarks.controls.first_step RECIPE.toml
python -m benchmarks.controls.first_step --imports MODULE …     only loads these
"""

from __future__ import annotations

import importlib
import io
import json
import os
import sys
import time

import psutil

from headstart.evaluate.events import Event
from headstart.report.progress import Progress


class Until(Progress):
    """Ends the process at the first step."""

    def tell(self, event: Event) -> None:
        if event.passing:
            said()


def said() -> None:
    print(json.dumps({"seconds": time.time() - psutil.Process().create_time()}), flush=True)
    os._exit(0)


def main() -> None:
    if sys.argv[1] == "--imports":
        for name in sys.argv[2:]:
            importlib.import_module(name)
        said()
    from headstart import run

    run(sys.argv[1], progress=Until(io.StringIO()))


if __name__ == "__main__":
    main()
