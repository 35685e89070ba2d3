"""The comparison suite: every way to train on real data, on one split each, seed by seed, beside
published numbers.

    python -m benchmarks --data DIR [--suite images|texts|all] [--quick] [--output benchmark_runs]

Each run is a folder of its own under the output, with its figures as JSON; what is finished stays
finished, so an interrupted suite goes on. Writes RESULTS.md and RESULTS.html there: a table and a
verdict for each set, with machine, versions and date.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from pathlib import Path

import tomli_w

from benchmarks.suite import Bench, suite
from headstart.commands.compare import compare
from headstart.errors import HeadstartError
from headstart.files import write_text
from headstart.report.comparison import Comparison, ComparisonSection, write_comparison_page

NOTE = (
    "Accuracy is the mean over the seeds, its interval over examples and seeds; p is against the "
    "best of its table, corrected for its rows. Seconds are of training and testing; frozen "
    "features are computed once and shared, so that only the first run that needs them pays for "
    "them."
)
SHOWN = (
    "headstart",
    "torch",
    "torchvision",
    "timm",
    "transformers",
    "accelerate",
    "scikit-learn",
    "gensim",
)


def measured(bench: Bench, output: Path) -> Comparison:
    """Run what is not yet run of a set."""
    paths = []
    for way, recipe in bench.recipes(output).items():
        path = output / "recipes" / bench.name / f"{way}.toml"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_text(path, tomli_w.dumps(recipe))
        paths.append(str(path))
    return compare(paths, seeds=bench.seeds)[0]


def in_words(part: ComparisonSection) -> str:
    """A set's part of the results, in Markdown."""
    comparison = part.comparison
    failed = "".join(f"\n\nFailed: {line}" for line in comparison.failed)
    table, verdict = comparison.markdown(), comparison.verdict()
    return f"## {part.title}\n\n{table}\n\n{verdict}\n\n{part.remark}{failed}\n"


def machine(output: Path) -> str:
    """Where this was measured, from the newest run's manifest."""
    manifests = sorted(
        output.glob("*/cells/*/run/manifest.json"), key=lambda path: path.stat().st_mtime
    )
    made = json.loads(manifests[-1].read_text(encoding="utf-8"))
    versions = ", ".join(
        f"{name} {made['packages'][name]}" for name in SHOWN if made["packages"].get(name)
    )
    where = f"{made['processor']}, {made['cores']} cores, {made['device']}"
    return f"{where}; Python {made['python']}, {versions}; {made['made'][:10]}"


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--suite", choices=("images", "texts", "all"), default="all")
    parser.add_argument("--quick", action="store_true", help="two small sets, a few minutes")
    parser.add_argument("--output", type=Path, default=Path("benchmark_runs"))
    args = parser.parse_args()
    output = args.output / ("quick" if args.quick else "full")
    parts: list[ComparisonSection] = []
    started = time.perf_counter()
    for bench in suite(args.data.resolve(), args.quick):
        if args.suite in (bench.suite, "all"):
            print(f"\n{bench.name}", flush=True)
            parts.append(
                ComparisonSection(
                    bench.name, measured(bench, output), f"Published: {bench.published}"
                )
            )
            command = f"python -m benchmarks --data DIR{' --quick' if args.quick else ''}"
            words = [
                f"# Results\n\n`{command}`: {machine(output)}.\n",
                NOTE,
                "",
                *map(in_words, parts),
            ]
            write_text(output / "RESULTS.md", "\n".join(words))
            write_comparison_page(
                "Results", f"{command}: {machine(output)}. {NOTE}", parts, output / "RESULTS.html"
            )
            print(in_words(parts[-1]), flush=True)
    print(f"{time.perf_counter() - started:.0f} s; {output}/RESULTS.md")


if __name__ == "__main__":
    try:
        main()
    except HeadstartError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
