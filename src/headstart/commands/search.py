"""headstart search: the fields that [search] names, varied to make the held-out part's metric as
good as can be.

The test part is not looked at. Trials lie in a database as soon as they are done, so that a search
that is interrupted goes on, and several processes or machines can work on one.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice, product
from pathlib import Path
from typing import TYPE_CHECKING, Any

import tomli_w

from headstart.catalogue import read_recipe
from headstart.errors import HeadstartError, first_line, needs_extra
from headstart.files import lock, write_text
from headstart.recipe import Recipe
from headstart.recipe.search import Range
from headstart.report.progress import Progress
from headstart.runtime.machine import Machine, start
from headstart.train.context import Context
from headstart.train.prepare import prepare, read_checked

if TYPE_CHECKING:
    import optuna

    from headstart.checks.leaks import Leaks
    from headstart.data.dataset import Dataset

COMBINATIONS = 200  # of values that are tried to make a recipe right
WARM_TRIALS, WARM_EPOCHS = 5, 1  # before a trial is compared with the median of the others


@dataclass(frozen=True)
class SearchResult:
    """The best recipe as a file, its metric on the held-out part, and the table of all trials."""

    recipe: Path
    table: Path
    metric: str
    value: float
    trials: int


def search(
    path: str | Path, overrides: Sequence[str] = (), progress: Progress | None = None
) -> SearchResult:
    """Try what a recipe's [search] spans, and write the best recipe and a table of all trials
    beside the run directory.

    Trials are drawn by Optuna's tree-structured Parzen estimator (Bergstra et al. 2011); those
    whose metric is below the median of the others after the same number of epochs are given up.

    Raises:
        HeadstartError: the recipe has no [search] or a wrong one, or every trial failed.
    """
    recipe = read_recipe(path, overrides)
    if recipe.search is None:
        raise HeadstartError(
            f"{path}: has no [search]; name the fields to vary, such as [search.space] train.lr "
            "= { low = 1e-5, high = 1e-3, log = true }"
        )
    if recipe.data.validation == 0 or recipe.train.selection == "test":
        raise HeadstartError(
            "search: needs a validation part to compare by, or the test would choose the recipe; "
            "set data.validation = 0.15 "
            'and train.selection = "validation"'
        )
    _check(path, overrides, recipe.search.space)
    machine = start()
    if machine.world > 1:
        raise HeadstartError(
            "search: each trial runs in one process; start `headstart search` several times instead"
        )
    progress = progress or Progress()
    folder = Path(recipe.output).with_name(f"{Path(recipe.output).name}.search")
    folder.mkdir(parents=True, exist_ok=True)
    study = _study(recipe, folder)
    _try(study, path, overrides, recipe, machine, progress)
    return _written(study, path, overrides, recipe, folder)


def _check(path: str | Path, overrides: Sequence[str], space: dict[str, Range | list[Any]]) -> None:
    """Refuse a value that makes a wrong recipe alone and with whatever the other fields may be."""
    values = {
        key: [some.low, some.high] if isinstance(some, Range) else some
        for key, some in space.items()
    }
    for key, own in values.items():
        others = [
            [_override(other, value) for value in some]
            for other, some in values.items()
            if other != key
        ]
        for value in own:
            asked = _override(key, value)
            try:
                read_recipe(path, [*overrides, asked])
            except HeadstartError as alone:
                if not any(
                    _is_valid(path, [*overrides, asked, *more])
                    for more in islice(product(*others), COMBINATIONS)
                ):
                    raise HeadstartError(f"search.space: {asked}: {alone}") from None


def _is_valid(path: str | Path, overrides: Sequence[str]) -> bool:
    try:
        read_recipe(path, overrides)
    except HeadstartError:
        return False
    return True


def _study(recipe: Recipe, folder: Path) -> optuna.Study:
    with needs_extra("search", "headstart search"):
        import optuna

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    assert recipe.search
    storage = recipe.search.storage or _sqlite(folder / "study.db")
    try:
        # two processes that make its tables at once get in each other's way
        with lock(folder / ".lock"):
            database = optuna.storages.get_storage(storage)
        return optuna.create_study(
            storage=database,
            study_name=recipe.with_changes(search={"trials": 1, "storage": None}).digest()[
                :16
            ],  # a changed recipe begins anew
            sampler=optuna.samplers.TPESampler(),
            pruner=optuna.pruners.MedianPruner(WARM_TRIALS, WARM_EPOCHS),
            direction="maximize",
            load_if_exists=True,
        )
    except Exception as error:  # as manifold as databases
        raise HeadstartError(
            f"search.storage: {_without_password(storage)} cannot be used: {first_line(error)}"
        ) from None


def _without_password(storage: str) -> str:
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        return str(make_url(storage))
    except ArgumentError:
        return "its address"


def _sqlite(path: Path) -> str:
    from sqlalchemy import URL

    return URL.create("sqlite", database=str(path.absolute())).render_as_string()


def _try(
    study: optuna.Study,
    path: str | Path,
    overrides: Sequence[str],
    recipe: Recipe,
    machine: Machine,
    progress: Progress,
) -> None:

    assert recipe.search
    space, wanted = recipe.search.space, recipe.search.trials
    changes_data = any(key.split(".")[0] in ("data", "seed") for key in space)
    shared = None if changes_data else read_checked(recipe)

    def attempt(trial: optuna.Trial) -> float:
        chosen = [_override(key, _suggest(trial, key, values)) for key, values in space.items()]
        progress.text(f"trial {trial.number + 1} of {wanted}: {', '.join(chosen)}")
        score = _score(read_recipe(path, [*overrides, *chosen]), machine, shared, trial)
        progress.text(f"trial {trial.number + 1}: held-out {recipe.train.metric} {abs(score):.4f}")
        return score

    def noted(trial: optuna.Trial) -> float:
        try:
            return attempt(trial)
        except HeadstartError as error:
            progress.text(f"trial {trial.number + 1} failed: {error}")
            trial.set_user_attr("error", str(error))
            raise
        except (KeyboardInterrupt, SystemExit):
            study.enqueue_trial(trial.params)  # for the next time
            progress.text(
                f"trial {trial.number + 1} was interrupted; the same command goes on with it"
            )
            raise

    def stop(study: optuna.Study, trial: object = None) -> None:
        if len(_ended(study)) >= wanted:
            study.stop()

    if done := len(_ended(study)):
        progress.text(f"{done} of {wanted} trials are there already")
    if done < wanted:
        study.optimize(noted, callbacks=[stop], catch=(HeadstartError,))


def _ended(study: optuna.Study) -> list[optuna.trial.FrozenTrial]:
    """Trials that need not be tried again: all but those that run or were interrupted."""
    from optuna.trial import TrialState

    trials = study.get_trials(
        deepcopy=False, states=(TrialState.COMPLETE, TrialState.PRUNED, TrialState.FAIL)
    )
    return [
        trial for trial in trials if trial.state != TrialState.FAIL or "error" in trial.user_attrs
    ]


def _suggest(trial: optuna.Trial, key: str, values: Range | list[Any]) -> Any:
    if isinstance(values, list):
        return _chosen(
            values, trial.suggest_categorical(key, [json.dumps(value) for value in values])
        )
    if isinstance(values.low, int) and isinstance(values.high, int):
        return trial.suggest_int(key, values.low, values.high, log=values.log)
    return _chosen(values, trial.suggest_float(key, values.low, values.high, log=values.log))


def _override(key: str, value: Any) -> str:
    """`key=value` as the command line has it; for numbers, strings and arrays JSON is TOML."""
    return f"{key}={json.dumps(value)}"


def _score(
    recipe: Recipe, machine: Machine, read: tuple[Dataset, Leaks] | None, trial: optuna.Trial
) -> float:
    """The best metric of a trial's epochs on the held-out part, the higher the better."""
    import optuna

    from headstart.train.epochs import score_of
    from headstart.train.learn import learn

    metric = recipe.train.metric
    scores: list[float] = []

    def on_event(event: dict[str, Any]) -> None:
        if event["event"] in ("epoch", "probe") and f"selection_{metric}" in event:
            scores.append(score_of(event[f"selection_{metric}"], metric))
            trial.report(max(scores), len(scores))
            if trial.should_prune():
                raise optuna.TrialPruned

    context = prepare(recipe, machine, read, on_event)
    if not context.chooses_an_epoch:
        return _score_of_fitted_head(context)
    learn(context)
    return max(scores)


def _score_of_fitted_head(context: Context) -> float:
    """The same of a head that is fitted as a whole: on the training part only, so that the held-out
    part can tell."""
    import numpy as np

    from headstart.evaluate.metrics import metrics
    from headstart.train.learn import learn, probabilities

    validation = context.dataset.validation
    assert validation is not None
    context = replace(context, dataset=replace(context.dataset, validation=None))
    learn(context)
    found = probabilities(context, "validation", validation)
    metric = metrics.get(context.recipe.train.metric)
    return metric(validation.labels, np.log(np.maximum(found, 1e-12)))


def _written(
    study: optuna.Study, path: str | Path, overrides: Sequence[str], recipe: Recipe, folder: Path
) -> SearchResult:
    import optuna

    assert recipe.search
    trials = study.get_trials(deepcopy=False)
    done = [trial for trial in trials if trial.state == optuna.trial.TrialState.COMPLETE]
    if not done:
        errors = [trial.user_attrs["error"] for trial in trials if "error" in trial.user_attrs]
        raise HeadstartError(
            f"search: none of {len(trials)} trials came to an end; the last said: "
            f"{(errors or ['nothing'])[-1]}"
        )
    best = study.best_trial
    chosen = [
        _override(key, _chosen(recipe.search.space[key], value))
        for key, value in best.params.items()
    ]
    winner = read_recipe(path, [*overrides, *chosen])
    resolved = {key: value for key, value in winner.resolved().items() if key != "search"}
    value = abs(float(best.value or 0.0))
    claim = (
        f"{recipe.train.metric} {value:.4f} on the validation part, the best of {len(done)} "
        "trials that came to an end"
    )
    header = f"# headstart run {folder}/best.toml\n# {claim}\n# {', '.join(chosen)}\n\n"
    write_text(folder / "best.toml", header + tomli_w.dumps(resolved))
    table = io.StringIO()
    rows = csv.writer(table)
    rows.writerow(
        ["trial", *recipe.search.space, recipe.train.metric, "state", "epochs", "seconds"]
    )
    for trial in trials:
        seconds = f"{trial.duration.total_seconds():.1f}" if trial.duration else ""
        values = [
            _chosen(recipe.search.space[key], trial.params.get(key, ""))
            for key in recipe.search.space
        ]
        score = "" if trial.value is None or trial not in done else f"{abs(trial.value):.4f}"
        epochs = len(trial.intermediate_values)
        state = trial.state.name.lower()
        if state == "fail" and "error" not in trial.user_attrs:
            state = "interrupted"
        rows.writerow([trial.number + 1, *values, score, state, epochs, seconds])
    write_text(folder / "trials.csv", table.getvalue())
    return SearchResult(
        folder / "best.toml", folder / "trials.csv", recipe.train.metric, value, len(_ended(study))
    )


def _chosen(values: Range | list[Any], drawn: Any) -> Any:
    """What a recipe gets for what was drawn: arrays are drawn from as JSON, and four digits of a
    number are enough."""
    if isinstance(values, list):
        return json.loads(drawn) if drawn else ""
    return float(f"{drawn:.4g}") if isinstance(drawn, float) else drawn
