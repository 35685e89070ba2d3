"""headstart: transfer learning on images and text from one recipe.

`run(recipe)` trains and evaluates and gives back a `Report`; `load(run)` gives back the model of a
finished run. Everything is imported when it is first used, so `import headstart` costs next to
nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.commands.run import run
    from headstart.errors import HeadstartError
    from headstart.inference.predict import Predictor, load
    from headstart.recipe import Recipe
    from headstart.report.report import Report

__version__ = "0.1.0"
__all__ = ["HeadstartError", "Predictor", "Recipe", "Report", "load", "run"]

_HOMES = {
    "HeadstartError": "headstart.errors",
    "Predictor": "headstart.inference.predict",
    "Recipe": "headstart.recipe",
    "Report": "headstart.report.report",
    "load": "headstart.inference.predict",
    "run": "headstart.commands.run",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
