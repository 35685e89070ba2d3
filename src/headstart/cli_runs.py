"""The commands that put finished runs to work."""

from __future__ import annotations

import io
import sys
from contextlib import redirect_stderr, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headstart.data.unicode import printable
from headstart.errors import HeadstartError, needs_extra
from headstart.runtime.bars import Bar

if TYPE_CHECKING:
    from headstart.inference.predict import Predictor

app = typer.Typer()
Run = Annotated[str, typer.Argument(metavar="RUN", help="the folder of a finished run")]
Runs = Annotated[
    str,
    typer.Argument(
        metavar="RUN[,RUN…]",
        help="the folder of a finished run or an exported .onnx file; of several the average",
    ),
]
Weights = Annotated[
    str | None,
    typer.Option(
        metavar="W,W,…|fit", help='of several runs in the average; "fit": by their validation part'
    ),
]
Views = Annotated[
    bool,
    typer.Option("--tta", help="average over ten looks at each image: corners, middle, mirrored"),
]
Refuse = Annotated[
    float | None,
    typer.Option(
        metavar="P",
        help="no label where the most probable one has less than P, at the temperature of the "
        "run's report, which also has a P for some wanted errors",
    ),
]
FIT = "fit"  # in place of weights


@app.command()
def predict(
    run: Runs,
    paths: Annotated[
        list[str],
        typer.Argument(
            metavar="PATH...",
            help="images or texts: files, folders, tables, texts as they "
            "stand, - for standard input",
        ),
    ],
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="write a .csv, .jsonl or .parquet; started again, it goes on"
        ),
    ] = None,
    top: Annotated[
        int, typer.Option(min=1, help="how many labels of each example, the most probable first")
    ] = 1,
    weights: Weights = None,
    tta: Views = False,
    refuse_below: Refuse = None,
) -> None:
    """Print label and probability of each example, tab-separated, or write a table; exit code 1 if
    some could not be read."""
    from headstart.inference.predict import Unreadable, load

    runs = _several(run)
    predictor = load(runs, _numbers(weights, runs), refuse_below)
    top = min(top, len(predictor.labels))
    if tta:
        predictor.check_views()
    if predictor.modality.describe_paths is not None:
        typer.echo(f"taken for: {predictor.modality.describe_paths(paths)}", err=True)
    faults = refused = 0
    with _bar(predictor, paths, out) as bar:
        if out is not None:
            from headstart.inference.table import write_table

            rows, faults, refused = write_table(out, predictor, paths, top, tta, bar.advance)
            unread = f", of which {faults} could not be read (column error)" if faults else ""
            bar.print(f"written to {out}: {rows} rows{unread}")
        else:
            for outcome in predictor.stream(predictor.inputs_from_paths(paths), tta):
                bar.advance()
                if isinstance(outcome, Unreadable):
                    faults += 1
                    bar.print(f"{outcome.name}: cannot be read ({outcome.fault})")
                else:
                    refused += outcome.refused
                    first, *others = outcome.top(top)
                    told = [(outcome.label, first[1]), *others]
                    cells = [
                        cell
                        for label, chance in told
                        for cell in (printable(label), f"{chance:.4f}")
                    ]
                    typer.echo("\t".join([outcome.name, *cells]))
        if refuse_below is not None:
            bar.print(f"refused, for no label has {refuse_below:g} or more: {refused}")
    raise typer.Exit(1 if faults else 0)


@app.command()
def evaluate(
    run: Runs,
    test: Annotated[
        str | None,
        typer.Option(
            metavar="DATA", help="a labelled folder or table in place of the run's own test part"
        ),
    ] = None,
    weights: Weights = None,
    tta: Views = False,
) -> None:
    """Measure finished runs on their test part, each by itself and of several the average, with
    intervals."""
    from headstart.commands.evaluate import evaluate as evaluate_runs

    runs = _several(run)
    typer.echo(
        "\n".join(
            evaluate_runs(
                runs, FIT if weights == FIT else _numbers(weights, runs), tta, test
            ).lines()
        )
    )


@app.command()
def serve(
    run: Runs,
    host: Annotated[
        str, typer.Option(help="whom to answer: 127.0.0.1 is this machine only, 0.0.0.0 everybody")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes a free one")] = 8000,
    weights: Weights = None,
    refuse_below: Refuse = None,
) -> None:
    """Answer HTTP requests with a model: POST /predict, and a page to try it."""
    from headstart.inference.predict import load

    with needs_extra("serve", "headstart serve"):
        from headstart.inference.serve import serve as serve_models

    runs = _several(run)
    shares = _numbers(weights, runs)
    serve_models(
        lambda: load(runs, shares, refuse_below),
        host,
        port,
        lambda line: typer.echo(line, err=True),
    )


@app.command()
def export(
    run: Run,
    to: Annotated[
        str,
        typer.Option(metavar="onnx|torch_export|hf", help="hf: a folder for transformers or timm"),
    ],
    int8: Annotated[
        bool, typer.Option("--int8", help="an ONNX file of a quarter of the size")
    ] = False,
    out: Annotated[
        Path | None, typer.Option(metavar="FILE", help="where to; without it beside the run")
    ] = None,
    examples: Annotated[
        list[str] | None,
        typer.Option(
            metavar="PATH", help="to check it with in place of the test part; repeat for more"
        ),
    ] = None,
) -> None:
    """Write the model of a finished run for other programs; it is kept if it says the same of real
    examples."""
    from headstart.commands.export import export as export_run

    typer.echo("\n".join(export_run(run, to, int8, out, examples or []).lines()))


@app.command()
def verify(run: Run) -> None:
    """Tell whether a finished run still gives its figures on its data; exit code 1 if not."""
    from headstart.commands.verify import verify as verify_run

    verdict = verify_run(run)
    typer.echo(
        "\n".join(
            [*verdict.lines, "the figures hold" if verdict.holds else "the figures do NOT hold"]
        )
    )
    raise typer.Exit(0 if verdict.holds else 1)


def _several(run: str) -> list[str]:
    found = [run] if Path(run).exists() else [name for name in run.split(",") if name]
    if not run or not found:
        raise HeadstartError(
            f"RUN: found {run!r}; expected the folder of a finished run, or several with commas "
            "between"
        )
    if len(set(found)) < len(found):
        raise HeadstartError(f"RUN: {run}: a run is given twice; to weigh one more, use --weights")
    return found


def _numbers(weights: str | None, runs: list[str]) -> list[float] | None:
    """The shares that were given, or those that fit the validation part."""
    if weights is None:
        return None
    if weights == FIT:
        from headstart.commands.evaluate import fitted_weights
        from headstart.inference.predict import load

        found = fitted_weights(runs, [load(run) for run in runs]).tolist()
        typer.echo(f"weights {', '.join(f'{weight:.3f}' for weight in found)}", err=True)
        return found
    numbers = []
    for number in weights.split(","):
        with suppress(ValueError):
            numbers.append(float(number))
    if len(numbers) != len(weights.split(",")):
        raise HeadstartError(
            f'--weights: found {weights!r}; expected numbers such as 0.5,0.3,0.2 or "fit"'
        )
    return numbers


def _bar(predictor: Predictor, paths: list[str], out: Path | None) -> Bar:
    """How far a prediction is, on standard error, unless its lines go to the terminal
    themselves."""
    shown = out is not None or not sys.stdout.isatty()
    from headstart.data.inputs import STDIN

    count = None
    if shown and sys.stderr.isatty() and STDIN not in paths:
        with redirect_stderr(io.StringIO()):  # what is left out is said when the examples are read
            count = sum(1 for _ in predictor.inputs_from_paths(paths))
    return Bar("predicting", count, shown=shown)
