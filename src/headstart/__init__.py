"""headstart: transfer learning on images and text from one recipe.

`run(recipe)` trains and evaluates and gives back a `Report`; `load(run)` gives back the model of a
finished run; the other functions are the commands of the command line. Everything is imported when
it is first used, so `import headstart` costs next to nothing.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headstart.commands.check import check
    from headstart.commands.compare import compare
    from headstart.commands.export import export
    from headstart.commands.init import init
    from headstart.commands.recommend import recommend
    from headstart.commands.run import run
    from headstart.commands.search import search
    from headstart.commands.verify import verify
    from headstart.errors import HeadstartError
    from headstart.inference.predict import Predictor, load
    from headstart.recipe import Recipe
    from headstart.report.report import Report

__version__ = "0.1.0"
__all__ = [
    "HeadstartError",
    "Predictor",
    "Recipe",
    "Report",
    "check",
    "compare",
    "export",
    "init",
    "load",
    "recommend",
    "run",
    "search",
    "verify",
]

_COMMANDS = ("check", "compare", "export", "init", "recommend", "run", "search", "verify")
_HOMES = {
    **{name: f"headstart.commands.{name}" for name in _COMMANDS},
    "HeadstartError": "headstart.errors",
    "Predictor": "headstart.inference.predict",
    "Recipe": "headstart.recipe",
    "Report": "headstart.report.report",
    "load": "headstart.inference.predict",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'headstart' has no attribute {name!r}")
    return getattr(importlib.import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
