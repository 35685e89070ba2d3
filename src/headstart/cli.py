"""The command line: a thin layer over run, load and Recipe. Heavy imports stand inside the
commands."""

from __future__ import annotations

import os
import signal
import sys
import time
import warnings
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from headstart import cli_runs
from headstart.errors import HeadstartError, RenamedKeyWarning
from headstart.runtime.allocator import collect_less, keep_freed_memory, leave
from headstart.runtime.threads import share_cores

LONGEST_MESSAGE = 4_000  # characters

app = typer.Typer(
    help="Transfer learning on images and text: one recipe, one command, an honest report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
app.add_typer(cli_runs.app)
RecipeFile = Annotated[
    str, typer.Argument(metavar="RECIPE", help="a TOML recipe, such as recipes/quickstart.toml")
]
Overrides = Annotated[
    list[str] | None, typer.Argument(metavar="[KEY=VALUE]...", help="such as train.epochs=1")
]


@app.command()
def run(recipe: RecipeFile, overrides: Overrides = None) -> None:
    """Train and evaluate what a recipe asks for, and write a report."""
    from headstart.catalogue import read_recipe
    from headstart.report.folder import told_when_stopped

    checked = read_recipe(recipe, overrides or [])
    with told_when_stopped(checked):
        from headstart.commands.run import run as run_recipe
        from headstart.report.progress import Progress

        run_recipe(checked, progress=Progress())


@app.command()
def plan(recipe: RecipeFile, overrides: Overrides = None) -> None:
    """Print data, phases, blocks, rates and a time estimate, and stop."""
    from headstart.commands.plan import plan as plan_run

    typer.echo(plan_run(recipe, overrides or []))


@app.command()
def lr_find(recipe: RecipeFile, overrides: Overrides = None) -> None:
    """Try learning rates from 1e-7 to 10, plot the loss, and suggest one for train.lr; nothing is
    trained for good."""
    from headstart.commands.lr_find import lr_find as find_rate

    result = find_rate(recipe, overrides or [])
    if result is not None:
        typer.echo(
            f"suggested: train.lr={result.suggestion:g} (the loss falls fastest there; the recipe "
            f"has {result.current:g})\nplot:      {result.plot}"
        )


@app.command()
def search(recipe: RecipeFile, overrides: Overrides = None) -> None:
    """Try what the recipe's \\[search] spans, by the held-out part; the best recipe becomes a file.
    Start it again to go on."""
    from headstart.commands.search import search as search_for

    found = search_for(recipe, overrides or [])
    typer.echo(
        f"best {found.metric} on the validation part, of {found.trials} trials: {found.value:.4f}"
    )
    typer.echo(f"recipe: {found.recipe}\ntrials: {found.table}")


@app.command()
def compare(
    targets: Annotated[
        list[str],
        typer.Argument(
            metavar="RECIPE... [KEY=VALUE]...", help="recipes, and values for all of them"
        ),
    ],
    strategies: Annotated[
        str, typer.Option(metavar="A,B,…", help="short for --vary transfer.strategy=A,B,…")
    ] = "",
    vary: Annotated[
        list[str] | None, typer.Option(metavar="KEY=A,B,…", help="a field and its values")
    ] = None,
    seeds: Annotated[
        int, typer.Option(min=1, max=100, help="how many seeds each is trained with")
    ] = 1,
) -> None:
    """Train in several ways on one split, and tell which differ by more than chance. Start it again
    to go on."""
    from headstart.commands.compare import compare as compare_runs
    from headstart.recipe.file import split_values

    given = [*([f"transfer.strategy={strategies}"] if strategies else []), *(vary or [])]
    wrong = [one for one in given if "=" not in one]
    if wrong:
        raise HeadstartError(
            "--vary: expected KEY=A,B,… such as model.backbone=resnet18,resnet50; found "
            f"{wrong[0]!r}"
        )
    values = {
        key: split_values(several) for key, _, several in (one.partition("=") for one in given)
    }
    if len(values) < len(given):
        raise HeadstartError(
            "--vary, --strategies: a key is given twice; give all its values at once, with commas"
        )
    recipes = [target for target in targets if "=" not in target]
    found, folder = compare_runs(
        recipes, [target for target in targets if "=" in target], values, seeds
    )
    typer.echo(
        f"\n{found.markdown()}\n\n{found.verdict()}\ntable: {folder}/comparison.md\npage:  "
        f"{folder}/comparison.html"
    )


@app.command()
def recommend(
    recipe: RecipeFile,
    backbones: Annotated[
        str,
        typer.Option(
            metavar="A,B,…", help="names as in model.backbone; random:NAME is one without weights"
        ),
    ],
    overrides: Overrides = None,
) -> None:
    """Rank backbones by what their frozen features tell of the recipe's training part, and by their
    speed."""
    from headstart.commands.recommend import recommend as rank

    found, table = rank(recipe, backbones.split(","), overrides or [])
    typer.echo(
        "\n".join(
            [found.markdown(), "", found.verdict(), *(f"failed: {line}" for line in found.failed)]
        )
    )
    typer.echo(f"table: {table}")


@app.command()
def check(
    target: Annotated[
        str,
        typer.Argument(metavar="RECIPE|SOURCE", help="a recipe, or a folder or table by itself"),
    ],
    overrides: Overrides = None,
    page: Annotated[
        bool, typer.Option("--page", help="also write a page with examples to look at")
    ] = False,
) -> None:
    """Tell what is wrong with data: classes, files, copies between the parts, doubtful labels; exit
    code 1 if it has leaks and data.leaks is "error"."""
    from headstart.commands.check import check as look_over

    found = look_over(target, overrides or [], page)
    typer.echo("\n".join(found.lines))
    raise typer.Exit(1 if found.fatal else 0)


@app.command()
def init(
    source: Annotated[
        str,
        typer.Argument(metavar="SOURCE", help="a folder, a table, or whatever data.source may be"),
    ],
    output: Annotated[
        str, typer.Option(metavar="FILE", help="the recipe to write; it must not be there yet")
    ] = "recipe.toml",
) -> None:
    """Look at data, and write a commented recipe for it."""
    from headstart.commands.init import init as propose

    path = Path(output)
    if path.exists():
        raise HeadstartError(f"--output: {path} is there already; give another name")
    content = propose(source)
    with path.open("x", encoding="utf-8") as file:
        file.write(content)
    typer.echo(f"{content}\nwritten to {path}; to go on: headstart run {path}")


@app.command()
def fetch(recipe: RecipeFile, overrides: Overrides = None) -> None:
    """Download all that a recipe needs, so that it then runs without a network."""
    from headstart.catalogue import read_recipe
    from headstart.commands.fetch import fetch as fetch_for

    typer.echo(fetch_for(read_recipe(recipe, overrides or [])))


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    import json

    from headstart.catalogue import recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=2))


def program(arguments: list[str] | None = None) -> NoReturn:
    """`main` as a process of its own."""
    code: int | str | None = None
    try:
        main(arguments)
    except SystemExit as ended:
        code = ended.code
    leave(code if isinstance(code, int) else int(code is not None))


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; what the user can mend is one message and exit code 2."""
    share_cores()
    keep_freed_memory()
    collect_less()
    # so that what is half-written goes away
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    warnings.showwarning = partial(_show_warning, warnings.showwarning)
    try:
        app(arguments)
    except HeadstartError as error:
        _stop(str(error))
    except OSError as error:
        if isinstance(error, BrokenPipeError):
            raise
        _stop(f"{error.filename or 'file system'}: {error.strerror or error}")


def _show_warning(
    show: Callable[..., None], message: Warning | str, category: type[Warning], *where: object
) -> None:
    """Print the warnings of headstart as notes, without the line of code that they come from."""
    if not issubclass(category, RenamedKeyWarning):
        show(message, category, *where)
    elif os.environ.get("RANK", "0") == "0":
        print(f"note: {message}", file=sys.stderr, flush=True)


def _stop(message: str) -> None:
    rank = os.environ.get("RANK", "0")
    # when all processes met the same trouble, the launcher ends this one before it repeats the
    # message
    if rank != "0":
        time.sleep(2)
    if len(message) > LONGEST_MESSAGE:  # it quotes something endless
        message = f"{message[:LONGEST_MESSAGE]}…"
    print(
        f"error{f' in process {rank}' if rank != '0' else ''}: {message}",
        file=sys.stderr,
        flush=True,
    )
    sys.exit(2)
