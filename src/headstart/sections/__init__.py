"""The tables of a recipe: what each key means and may be. Imports no torch."""

from headstart.sections.data import Columns, Data
from headstart.sections.model import Head, Model, Preprocessing
from headstart.sections.section import Section, registered
from headstart.sections.training import Augment, Beside, Evaluate, Schedule, Train, Transfer

__all__ = [
    "Augment",
    "Beside",
    "Columns",
    "Data",
    "Evaluate",
    "Head",
    "Model",
    "Preprocessing",
    "Schedule",
    "Section",
    "Train",
    "Transfer",
    "registered",
]
