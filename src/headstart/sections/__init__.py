"""The tables of a recipe: what each key means and may be. Imports no torch."""

from headstart.sections.data import Columns, Data, Split
from headstart.sections.evaluation import Beside, Evaluate
from headstart.sections.model import Head, Model, Preprocessing
from headstart.sections.search import Range, Search
from headstart.sections.section import Section, registered
from headstart.sections.training import Augment, Loss, Schedule, Train
from headstart.sections.transfer import Adapters, Transfer

__all__ = [
    "Adapters",
    "Augment",
    "Beside",
    "Columns",
    "Data",
    "Evaluate",
    "Head",
    "Loss",
    "Model",
    "Preprocessing",
    "Range",
    "Schedule",
    "Search",
    "Section",
    "Split",
    "Train",
    "Transfer",
    "registered",
]
