"""headstart search: vary the fields of [search] for the best metric on the validation part.

The test part is not used. Each trial is stored in a database when it ends, so that an interrupted
search goes on, and several processes or machines can share one.
"""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING

import tomli_w

from headstart.catalogue import read_recipe
from headstart.errors import HeadstartError, RecipeError, RunError, first_line, needs_extra
from headstart.evaluate.events import EpochDone, Event, ProbeScored
from headstart.files import lock, write_text
from headstart.recipe import Recipe
from headstart.recipe.search import Range, Search, Values
from headstart.report.progress import Progress
from headstart.runtime.machine import Machine, start
from headstart.train.context import Context
from headstart.train.prepare import prepare, read_checked

if TYPE_CHECKING:
    import optuna

    from headstart.checks.leaks import Leaks
    from headstart.data.dataset import Dataset

COMBINATIONS = 200  # of values of other fields that are tried to make a recipe valid
WARM_TRIALS, WARM_EPOCHS = 5, 1  # before a trial is compared with the median of the others

Variant = Callable[[Sequence[str]], Recipe]  # the recipe with some fields changed, as "key=value"


@dataclass(frozen=True)
class SearchResult:
    """The best recipe as a file, its metric on the validation part, and the table of all trials."""

    recipe: Path
    table: Path
    metric: str
    value: float
    trials: int


def search(
    path: str | Path, overrides: Sequence[str] = (), progress: Progress | None = None
) -> SearchResult:
    """Search the space of a recipe's [search]; write the best recipe and a table of all trials
    beside the run directory.

    Trials are drawn by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011); a trial
    whose metric is below the median of the others after the same number of epochs is pruned.

    Raises:
        HeadstartError: the recipe has no [search] or a wrong one, or every trial failed.
    """

    def variant(changes: Sequence[str]) -> Recipe:
        return read_recipe(path, [*overrides, *changes])

    recipe = variant([])
    if recipe.search is None:
        raise RunError(
            f"{path}: has no [search]; name the fields to vary, such as [search.space] train.lr "
            "= { low = 1e-5, high = 1e-3, log = true }"
        )
    if recipe.data.validation == 0 or recipe.train.selection == "test":
        raise RecipeError(
            "search: needs a validation part to compare by, or the test would choose the recipe; "
            'set data.validation = 0.15 and train.selection = "validation"'
        )
    _check_space(variant, recipe.search.space)
    machine = start()
    if machine.world > 1:
        raise RecipeError(
            "search: each trial runs in one process; start `headstart search` several times instead"
        )
    folder = Path(recipe.output).with_name(f"{Path(recipe.output).name}.search")
    folder.mkdir(parents=True, exist_ok=True)
    study = _open_study(recipe, recipe.search, folder)
    _optimize(study, variant, recipe.search, machine, progress or Progress())
    return _write_result(study, variant, recipe.search.space, folder)


def _check_space(variant: Variant, space: dict[str, Values]) -> None:
    """Refuse a value that makes a wrong recipe alone and with any values of the other fields."""
    changes = {
        key: [
            _override(key, value)
            for value in ([values.low, values.high] if isinstance(values, Range) else values)
        ]
        for key, values in space.items()
    }
    for key, of_key in changes.items():
        others = [of_other for other, of_other in changes.items() if other != key]
        for change in of_key:
            try:
                variant([change])
            except HeadstartError as error:
                combinations = islice(product(*others), COMBINATIONS)
                if not any(_is_valid(variant, [change, *more]) for more in combinations):
                    raise RecipeError(f"search.space: {change}: {error}") from None


def _is_valid(variant: Variant, changes: Sequence[str]) -> bool:
    try:
        variant(changes)
    except HeadstartError:
        return False
    return True


def _open_study(recipe: Recipe, settings: Search, folder: Path) -> optuna.Study:
    with needs_extra("search", "headstart search"):
        import optuna
    from sqlalchemy import URL

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    file = URL.create("sqlite", database=str((folder / "study.db").absolute()))
    storage = settings.storage or file.render_as_string()
    same = recipe.with_changes(search={"trials": 1, "storage": None})
    try:
        with lock(folder / ".lock"):  # two processes cannot make its tables at once
            database = optuna.storages.get_storage(storage)
        return optuna.create_study(
            storage=database,
            study_name=same.digest()[:16],  # a changed recipe begins anew
            sampler=optuna.samplers.TPESampler(),
            pruner=optuna.pruners.MedianPruner(WARM_TRIALS, WARM_EPOCHS),
            direction="maximize",
            load_if_exists=True,
        )
    except Exception as error:  # each database has its own types
        public = re.sub(r".*@", "…@", storage)  # without a password
        raise RecipeError(f"search.storage: {public} cannot be used: {first_line(error)}") from None


def _optimize(
    study: optuna.Study, variant: Variant, settings: Search, machine: Machine, progress: Progress
) -> None:
    """Run trials until there are as many as the recipe wants, over all processes."""
    varies_data = any(key.split(".")[0] in ("data", "seed") for key in settings.space)
    shared = None if varies_data else read_checked(variant([]))

    def objective(trial: optuna.Trial) -> float:
        title = f"trial {trial.number + 1}"
        changes = [_override(key, _draw(trial, key, of)) for key, of in settings.space.items()]
        progress.text(f"{title} of {settings.trials}: {', '.join(changes)}")
        try:
            recipe = variant(changes)
            score = _score(recipe, machine, shared, trial)
        except HeadstartError as error:
            progress.text(f"{title} failed: {error}")
            trial.set_user_attr("error", str(error))
            raise
        except (KeyboardInterrupt, SystemExit):
            study.enqueue_trial(trial.params)
            progress.text(f"{title} was interrupted; the same command goes on with it")
            raise
        progress.text(f"{title}: validation {recipe.train.metric} {abs(score):.4f}")
        return score

    def stop(study: optuna.Study, _: object) -> None:
        if len(_ended(study)) >= settings.trials:
            study.stop()

    if done := len(_ended(study)):
        progress.text(f"{done} of {settings.trials} trials are there already")
    if done < settings.trials:
        study.optimize(objective, callbacks=[stop], catch=(HeadstartError,))


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that are not tried again: all but those that run or were interrupted."""
    trials = study.get_trials(deepcopy=False)
    return [trial for trial in trials if _state(trial) in ("complete", "pruned", "fail")]


def _state(trial: optuna.trial.FrozenTrial) -> str:
    state = trial.state.name.lower()
    return "interrupted" if state == "fail" and "error" not in trial.user_attrs else state


def _draw(trial: optuna.Trial, key: str, values: Values) -> object:
    if isinstance(values, list):
        drawn: object = trial.suggest_categorical(key, list(map(json.dumps, values)))
    elif isinstance(values.low, int) and isinstance(values.high, int):
        drawn = trial.suggest_int(key, values.low, values.high, log=values.log)
    else:
        drawn = trial.suggest_float(key, values.low, values.high, log=values.log)
    return _value(values, drawn)


def _value(values: Values, drawn: object) -> object:
    """The value in a recipe for what was drawn: choices are drawn as JSON, and four digits of a
    number are enough."""
    if isinstance(values, list):
        return json.loads(str(drawn)) if drawn else ""
    return float(f"{drawn:.4g}") if isinstance(drawn, float) else drawn


def _override(key: str, value: object) -> str:
    """`key=value` as on the command line; JSON of numbers, strings and arrays is TOML."""
    return f"{key}={json.dumps(value)}"


def _score(
    recipe: Recipe, machine: Machine, read: tuple[Dataset, Leaks] | None, trial: optuna.Trial
) -> float:
    """The best metric of a trial's epochs on the validation part; higher is better."""
    import optuna

    from headstart.train.epochs import score_of
    from headstart.train.learn import learn

    metric = recipe.train.metric
    scores: list[float] = []

    def on_event(event: Event) -> None:
        if isinstance(event, EpochDone | ProbeScored) and event.selection(metric) is not None:
            scores.append(score_of(event.selection(metric), metric))
            trial.report(max(scores), len(scores))
            if trial.should_prune():
                raise optuna.TrialPruned

    context = prepare(recipe, machine, read, on_event)
    if not context.chooses_an_epoch:
        return _score_of_fitted_head(context)
    learn(context)
    return max(scores)


def _score_of_fitted_head(context: Context) -> float:
    """The same for a head without epochs, which would also learn from the validation part."""
    import numpy as np

    from headstart.evaluate.metrics import metrics
    from headstart.train.learn import learn, probabilities

    validation = context.dataset.validation
    assert validation is not None
    context = replace(context, dataset=replace(context.dataset, validation=None))
    learn(context)
    rows = probabilities(context, "validation", validation)
    metric = metrics.get(context.recipe.train.metric)
    return metric(validation.labels, np.log(np.maximum(rows, 1e-12)))


def _write_result(
    study: optuna.Study, variant: Variant, space: dict[str, Values], folder: Path
) -> SearchResult:
    """Write best.toml and trials.csv."""
    trials = study.get_trials(deepcopy=False)
    done = sum(_state(trial) == "complete" for trial in trials)
    if not done:
        errors = [trial.user_attrs["error"] for trial in trials if "error" in trial.user_attrs]
        raise RecipeError(
            f"search: none of {len(trials)} trials came to an end; the last said: "
            f"{(errors or ['nothing'])[-1]}"
        )
    best = study.best_trial
    changes = [_override(key, _value(space[key], drawn)) for key, drawn in best.params.items()]
    recipe = variant(changes)
    metric, value = recipe.train.metric, abs(float(best.value or 0.0))
    header = (
        f"# headstart run {folder}/best.toml\n# {metric} {value:.4f} on the validation part, the "
        f"best of {done} trials that came to an end\n# {', '.join(changes)}\n\n"
    )
    resolved = {key: section for key, section in recipe.resolved().items() if key != "search"}
    write_text(folder / "best.toml", header + tomli_w.dumps(resolved))
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(["trial", *space, metric, "state", "epochs", "seconds"])
    for trial in trials:
        drawn = (_value(values, trial.params.get(key, "")) for key, values in space.items())
        state = _state(trial)
        score = f"{abs(trial.value):.4f}" if state == "complete" and trial.value is not None else ""
        seconds = f"{trial.duration.total_seconds():.1f}" if trial.duration else ""
        epochs = len(trial.intermediate_values)
        rows.writerow([trial.number + 1, *drawn, score, state, epochs, seconds])
    write_text(folder / "trials.csv", table.getvalue())
    tried = len(_ended(study))
    return SearchResult(folder / "best.toml", folder / "trials.csv", metric, value, tried)
