"""Options of each command, one call, and what is printed.

Heavy imports stand inside the commands.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer
from typer import Argument, Option

app = typer.Typer(
    help="Transfer learning on images and text: one recipe, one command, an honest report.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)
RecipeFile = Annotated[
    str, Argument(metavar="RECIPE", help="a TOML recipe, such as recipes/quickstart.toml")
]
Overrides = Annotated[
    list[str],
    Argument(
        metavar="[KEY=VALUE]...",
        help="such as train.epochs=1",
        default_factory=list,
        show_default=False,
    ),
]
Run = Annotated[str, Argument(metavar="RUN", help="the folder of a finished run")]
Runs = Annotated[
    str,
    Argument(
        metavar="RUN[,RUN…]",
        help="the folder of a finished run or an exported .onnx file; of several the average",
    ),
]
Weights = Annotated[
    str | None,
    Option(metavar="W,W,…|fit", help='of several runs; "fit": by their validation part'),
]
Views = Annotated[bool, Option("--tta", help="average over ten views of each image")]
Refuse = Annotated[
    float | None,
    Option(
        metavar="P",
        help="no label where the most probable one has less than P, at the temperature of the "
        "run's report, which lists a P for several target error rates",
    ),
]


@app.command()
def run(recipe: RecipeFile, overrides: Overrides) -> None:
    """Train and evaluate what a recipe asks for, and write a report."""
    from headstart.catalogue import read_recipe
    from headstart.report.folder import told_when_stopped

    checked = read_recipe(recipe, overrides)
    with told_when_stopped(checked):
        from headstart.commands.run import run
        from headstart.report.progress import Progress

        run(checked, progress=Progress())


@app.command()
def plan(recipe: RecipeFile, overrides: Overrides) -> None:
    """Print data, phases, blocks, rates and a time estimate, and stop."""
    from headstart.commands.plan import plan

    typer.echo(plan(recipe, overrides))


@app.command()
def lr_find(recipe: RecipeFile, overrides: Overrides) -> None:
    """Try learning rates from 1e-7 to 10, plot the loss, and suggest one for train.lr; nothing is
    trained for good."""
    from headstart.commands.lr_find import lr_find

    result = lr_find(recipe, overrides)
    if result is not None:
        typer.echo(
            f"suggested: train.lr={result.suggestion:g} (the loss falls fastest there; the recipe "
            f"has {result.current:g})\nplot:      {result.plot}"
        )


@app.command()
def search(recipe: RecipeFile, overrides: Overrides) -> None:
    """Try what the recipe's \\[search] spans, by the held-out part; the best recipe becomes a file.
    Start it again to go on."""
    from headstart.commands.search import search

    best = search(recipe, overrides)
    typer.echo(
        f"best {best.metric} on the validation part, of {best.trials} trials: {best.value:.4f}\n"
        f"recipe: {best.recipe}\ntrials: {best.table}"
    )


@app.command()
def compare(
    targets: Annotated[
        list[str],
        Argument(metavar="RECIPE... [KEY=VALUE]...", help="recipes, and values for all of them"),
    ],
    strategies: Annotated[
        str, Option(metavar="A,B,…", help="short for --vary transfer.strategy=A,B,…")
    ] = "",
    vary: Annotated[
        list[str] | None, Option(metavar="KEY=A,B,…", help="a field and its values")
    ] = None,
    seeds: Annotated[int, Option(min=1, max=100, help="how many seeds each is trained with")] = 1,
) -> None:
    """Train in several ways on one split, and tell which differ by more than chance. Start it again
    to go on."""
    from headstart.commands.compare import compare, parse_varied

    given = [f"transfer.strategy={strategies}"] if strategies else []
    recipes = [target for target in targets if "=" not in target]
    overrides = [target for target in targets if "=" in target]
    comparison, folder = compare(recipes, overrides, parse_varied(given + (vary or [])), seeds)
    typer.echo(
        f"\n{comparison.markdown()}\n\n{comparison.verdict()}\n"
        f"table: {folder}/comparison.md\npage:  {folder}/comparison.html"
    )


@app.command()
def recommend(
    recipe: RecipeFile,
    overrides: Overrides,
    backbones: Annotated[
        str,
        Option(
            metavar="A,B,…", help="names as in model.backbone; random:NAME is one without weights"
        ),
    ],
) -> None:
    """Rank backbones by what their frozen features tell of the recipe's training part, and by their
    speed."""
    from headstart.commands.recommend import recommend

    ranking, table = recommend(recipe, backbones.split(","), overrides)
    failed = [f"failed: {line}" for line in ranking.failed]
    _print(ranking.markdown(), "", ranking.verdict(), *failed, f"table: {table}")


@app.command()
def check(
    target: Annotated[
        str, Argument(metavar="RECIPE|SOURCE", help="a recipe, or a folder or table by itself")
    ],
    overrides: Overrides,
    page: Annotated[bool, Option("--page", help="also write a page with examples")] = False,
) -> None:
    """Tell what is wrong with data: classes, files, copies between the parts, doubtful labels; exit
    code 1 if it has leaks and data.leaks is "error"."""
    from headstart.commands.check import check

    result = check(target, overrides, page)
    _print(*result.lines)
    raise typer.Exit(1 if result.fatal else 0)


@app.command()
def init(
    source: Annotated[
        str, Argument(metavar="SOURCE", help="a folder, a table, or whatever data.source may be")
    ],
    output: Annotated[
        Path, Option(metavar="FILE", help="the recipe to write; it must not exist yet")
    ] = Path("recipe.toml"),
) -> None:
    """Look at data, and write a commented recipe for it."""
    from headstart.commands.init import init

    content = init(source, output)
    typer.echo(f"{content}\nwritten to {output}; to go on: headstart run {output}")


@app.command()
def fetch(recipe: RecipeFile, overrides: Overrides) -> None:
    """Download all that a recipe needs, so that it then runs without a network."""
    from headstart.catalogue import read_recipe
    from headstart.commands.fetch import fetch

    typer.echo(fetch(read_recipe(recipe, overrides)))


@app.command()
def schema() -> None:
    """Print the JSON schema of recipes, for editors."""
    import json

    from headstart.catalogue import recipe_schema

    typer.echo(json.dumps(recipe_schema(), indent=2))


@app.command()
def predict(
    runs: Runs,
    paths: Annotated[
        list[str],
        Argument(
            metavar="PATH...",
            help="images or texts: files, folders, tables, strings, - for standard input",
        ),
    ],
    out: Annotated[
        Path | None,
        Option(metavar="FILE", help="write a .csv, .jsonl or .parquet; started again, it goes on"),
    ] = None,
    top: Annotated[
        int, Option(min=1, help="how many labels of each example, the most probable first")
    ] = 1,
    weights: Weights = None,
    tta: Views = False,
    refuse_below: Refuse = None,
) -> None:
    """Print label and probability of each example, tab-separated, or write a table; exit code 1 if
    some could not be read."""
    from headstart.commands.predict import predict

    unreadable = predict(runs, paths, out, top, weights, tta, refuse_below)
    raise typer.Exit(1 if unreadable else 0)


@app.command()
def evaluate(
    runs: Runs,
    test: Annotated[
        str | None,
        Option(metavar="DATA", help="a labelled folder or table in place of the run's test part"),
    ] = None,
    weights: Weights = None,
    tta: Views = False,
) -> None:
    """Measure finished runs on their test part, each by itself and of several the average, with
    intervals."""
    from headstart.commands.evaluate import evaluate, parse_runs, parse_weights

    _print(*evaluate(parse_runs(runs), parse_weights(weights), tta, test).lines())


@app.command()
def serve(
    runs: Runs,
    host: Annotated[
        str, Option(help="whom to answer: 127.0.0.1 is this machine only, 0.0.0.0 everybody")
    ] = "127.0.0.1",
    port: Annotated[int, Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    weights: Weights = None,
    refuse_below: Refuse = None,
) -> None:
    """Answer HTTP requests with a model: POST /predict, and a page to try it."""
    from headstart.commands.serve import serve

    serve(runs, host, port, weights, refuse_below)


@app.command()
def export(
    run: Run,
    to: Annotated[
        str, Option(metavar="onnx|torch_export|hf", help="hf: a folder for transformers or timm")
    ],
    int8: Annotated[bool, Option("--int8", help="an ONNX file of a quarter of the size")] = False,
    out: Annotated[Path | None, Option(metavar="FILE", help="default: beside the run")] = None,
    examples: Annotated[
        list[str] | None,
        Option(metavar="PATH", help="to check it with instead of the test part; may be repeated"),
    ] = None,
) -> None:
    """Write the model of a finished run for other programs; it is kept if it says the same of real
    examples."""
    from headstart.commands.export import export

    _print(*export(run, to, int8, out, examples or []).lines())


@app.command()
def verify(run: Run) -> None:
    """Tell whether a finished run still gives its figures on its data; exit code 1 if not."""
    from headstart.commands.verify import verify

    result = verify(run)
    _print(*result.lines, "the figures hold" if result.holds else "the figures do NOT hold")
    raise typer.Exit(0 if result.holds else 1)


def _print(*lines: str) -> None:
    typer.echo("\n".join(lines))
