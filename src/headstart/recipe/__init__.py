"""The recipe: what each table and key means and may be. Imports no torch."""

from headstart.recipe.data import Columns, Data, Split
from headstart.recipe.evaluation import Baseline, Evaluate
from headstart.recipe.model import Head, Model, Preprocessing
from headstart.recipe.recipe import FROZEN_TASKS, Recipe
from headstart.recipe.search import Range, Search
from headstart.recipe.section import Section, registered
from headstart.recipe.training import Augment, Loss, Schedule, Train
from headstart.recipe.transfer import Adapters, Transfer

__all__ = [
    "FROZEN_TASKS",
    "Adapters",
    "Augment",
    "Baseline",
    "Columns",
    "Data",
    "Evaluate",
    "Head",
    "Loss",
    "Model",
    "Preprocessing",
    "Range",
    "Recipe",
    "Schedule",
    "Search",
    "Section",
    "Split",
    "Train",
    "Transfer",
    "registered",
]
