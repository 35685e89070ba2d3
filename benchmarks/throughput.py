"""How fast headstart is, beside the tutorials' scripts, the HF Trainer, a bare loop and what the machine allows.

    python -m benchmarks.throughput --data DIR [--only LINE …] [--pairs 5]

Every way is a process of its own with an empty cache; the ways of a line run in turn, forwards and backwards, and each line
ends as one JSON line: the median of each way, the median of headstart's ratio to each other way, pair by pair (above 1
headstart is the faster), peak memory, and accuracy with its interval where a way tests what it trained. The ways: `tutorial`,
`trainer` and `bare` are scripts in `benchmarks/controls/`, `ready` is the bare loop fed from memory, `imports` only loads the
libraries that a run needs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w

from headstart import Report
from headstart.evaluate.intervals import wilson
from headstart.models.packaged import packaged
from headstart.models.word_vectors import read_vectors

SECONDS, SPEED = "seconds", "examples_per_second"
MINILM, GLOVE, LITE0 = "packaged:minilm_l6", "packaged:glove_6b_50d", "packaged:efficientnet_lite0"
RUN = "import sys; from headstart.cli import main; sys.exit(main())"


@dataclass(frozen=True)
class Way:
    """A command, whose last line of output is JSON or whose run has a report, and what else to know of its start."""

    command: list[str]
    run: Path | None = None


@dataclass(frozen=True)
class Line:
    """The ways that are compared, headstart first, by one figure."""

    figure: str
    ways: dict[str, Way] = field(default_factory=dict)


def control(name: str, *arguments: object) -> Way:
    return Way([sys.executable, "-m", f"benchmarks.controls.{name}", *map(str, arguments)])


def headstart(recipe: Path) -> Way:
    """A whole run, as the command line does it."""
    return Way([sys.executable, "run.py", str(recipe)], recipe.with_suffix(""))


def written(work: Path, name: str, recipe: dict[str, Any]) -> Path:
    """A recipe file, its run beside it."""
    path = work / f"{name}.toml"
    path.write_text(tomli_w.dumps({**recipe, "output": str(path.with_suffix(""))}), encoding="utf-8")
    return path


def frozen(data: Path, work: Path) -> Line:
    """A frozen backbone on ants and bees, 25 epochs of the tutorial against one pass: the whole process."""
    folder = data / "hymenoptera"
    recipe = {
        "task": "image_classification",
        "data": {"source": str(folder), "validation": 0.0},
        "model": {"backbone": LITE0},
        "transfer": {"strategy": "feature_extraction"},
    }
    ours = headstart(written(work, "frozen", recipe))
    return Line(SECONDS, {"headstart": ours, "tutorial": control("tutorial_frozen", folder)})


def fine_tuning(backbone: str, batch: int, images: int, epochs: int = 3) -> Callable[[Path, Path], Line]:
    """A network trained on hot dogs at 224 pixels: examples a second."""

    def line(data: Path, work: Path) -> Line:
        folder = some_images(data / "hotdog", work / f"{backbone}-{batch}-images", images)
        recipe = {
            "task": "image_classification",
            "data": {"source": str(folder), "validation": 0.0},
            "model": {"backbone": backbone, "preprocessing": {"size": 224}},
            "transfer": {"strategy": "scratch"},
            "train": {"epochs": epochs, "batch_size": batch, "optimizer": "sgd", "lr": 0.001},
        }
        path = written(work, f"{backbone}-{batch}", recipe)
        ways = {
            "headstart": headstart(path),
            "tutorial": control("tutorial_fine_tune", folder, backbone, "--batch", batch, "--epochs", epochs),
            "bare": control("bare", path),
            "ready": control("bare", path, "--ready"),
        }
        return Line(SPEED, ways)

    return line


def minilm(data: Path, work: Path) -> Line:
    """MiniLM on 2,000 phrases of SST-2, one epoch: examples a second, and accuracy on the 872 of its dev part."""
    tables = [some_rows(data / "sst2" / "train.tsv", work / "minilm-train.tsv", 2000), data / "sst2" / "dev.tsv"]
    recipe = {
        "task": "text_classification",
        "data": {"train": str(tables[0]), "test": str(tables[1]), "validation": 0.0},
        "model": {"backbone": MINILM},
        "transfer": {"strategy": "fine_tune", "head_lr_ratio": 10.0},
        "train": {"epochs": 1, "batch_size": 32, "lr": 6e-5, "schedule": "linear", "warmup": 0.1},
    }
    path = written(work, "minilm", recipe)
    encoder = packaged("minilm_l6", "text").path()
    ways = {
        "headstart": headstart(path),
        "tutorial": control("tutorial_text", encoder, *tables),
        "trainer": control("trainer_defaults", encoder, *tables),
        "bare": control("bare", path),
        "ready": control("bare", path, "--ready"),
    }
    return Line(SPEED, ways)


def words(data: Path, work: Path) -> Line:
    """GloVe and a forest on 100,000 texts, phrases of SST-2 and sentences of reviews: the whole process."""
    train, test = sentences(data, 100_000, work / "words-train.tsv"), data / "sst2" / "dev.tsv"
    vectors = read_vectors(GLOVE)
    glove = work / "glove.txt"
    with glove.open("w", encoding="utf-8") as file:
        for word, row in zip(vectors.words, vectors.values, strict=True):
            file.write(f"{word} {' '.join(f'{number:.5g}' for number in row)}\n")
    recipe = {
        "task": "embedding_classification",
        "data": {"train": str(train), "test": str(test), "validation": 0.0},
        "model": {
            "backbone": GLOVE,
            "head": {"classifier": "RandomForestClassifier", "options": {"n_estimators": 300}},
        },
        "transfer": {"strategy": "feature_extraction"},
    }
    ours = headstart(written(work, "words", recipe))
    return Line(SECONDS, {"headstart": ours, "tutorial": control("tutorial_words", glove, train, test)})


LINES = {
    "frozen": frozen,
    "resnet18_32": fine_tuning("resnet18", 32, 384),
    "resnet18_128": fine_tuning("resnet18", 128, 512),
    "lite0_32": fine_tuning("tf_efficientnet_lite0", 32, 384),
    "lite0_128": fine_tuning("tf_efficientnet_lite0", 128, 512),
    "minilm": minilm,
    "words": words,
}


def some_images(source: Path, place: Path, count: int) -> Path:
    """Links to so many training images, each class its share, and eight a class to test."""
    for part, each in (("train", count // 2), ("test", 8)):
        for folder in sorted((source / part).iterdir()):
            (place / part / folder.name).mkdir(parents=True)
            for path in islice(sorted(folder.iterdir()), each):
                (place / part / folder.name / path.name).symlink_to(path)
    return place


def sentences(data: Path, count: int, place: Path) -> Path:
    """A table of so many phrases of SST-2 and, beyond those, sentences of reviews under their review's label."""
    found = [phrases(data / "sst2" / "train.tsv")]
    for name in ("books", "kitchen"):
        reviews = phrases(data / "amazon_domains" / f"{name}.tsv")
        split = reviews.assign(sentence=reviews["text"].str.split(r"(?<=[.!?])\s+")).explode("sentence")
        found.append(split[split["sentence"].str.len() > 20][["sentence", "label"]])
    pd.concat(found)[:count].to_csv(place, sep="\t", index=False, quoting=3, escapechar="\\")
    return place


def phrases(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", quoting=3)


def some_rows(source: Path, place: Path, count: int) -> Path:
    phrases(source).sample(count, random_state=0).to_csv(place, sep="\t", index=False, quoting=3)
    return place


def measured(way: Way, work: Path) -> dict[str, float]:
    """One process from its start to its end, with an empty cache."""
    cache = work / "cache"
    for place in (cache, way.run):
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
    environment = {**os.environ, "HEADSTART_CACHE": str(cache), "PYTHONWARNINGS": "ignore"}
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output, tempfile.TemporaryFile("w+") as errors:
        process = subprocess.Popen(way.command, stdout=output, stderr=errors, env=environment)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - started
        output.seek(0), errors.seek(0)
        said = output.read().strip().splitlines()
        if status:
            raise SystemExit(f"error: {' '.join(way.command)}: exit status {status}\n{errors.read()[-2000:]}")
    figures = {SECONDS: seconds, "peak_gb": usage.ru_maxrss / 2**20}
    if way.run is None:
        return {**figures, **json.loads(said[-1])}
    report = Report.read(way.run)
    test = {"accuracy": report.test.accuracy.value, "n": report.test.n}
    return {**figures, **test, SPEED: report.main.examples_per_second or 0.0}


def compared(name: str, line: Line, pairs: int, work: Path) -> dict[str, Any]:
    """All ways of a line in turn, so many times."""
    found: dict[str, list[dict[str, float]]] = {way: [] for way in line.ways}
    for number in range(pairs):
        for way in list(line.ways)[:: 1 if number % 2 else -1]:
            found[way].append(measured(line.ways[way], work))
            print(f"{name}, pair {number + 1}, {way}: {found[way][-1]}", file=sys.stderr, flush=True)
    result: dict[str, Any] = {"benchmark": "throughput", "line": name, "figure": line.figure, "pairs": pairs}
    result["median"] = {way: round(median(rows, line.figure), 2) for way, rows in found.items()}
    others = {way: rows for way, rows in found.items() if way != "headstart"}
    result["ratio"] = {way: round(ratio(found["headstart"], rows, line.figure), 3) for way, rows in others.items()}
    result["peak_gb"] = {way: round(median(rows, "peak_gb"), 2) for way, rows in found.items()}
    result["accuracy"] = {way: tested(rows[0]) for way, rows in found.items() if "accuracy" in rows[0]}
    return result


def median(rows: list[dict[str, float]], figure: str) -> float:
    return statistics.median(row[figure] for row in rows)


def ratio(ours: list[dict[str, float]], theirs: list[dict[str, float]], figure: str) -> float:
    """How many times as fast headstart is: the median over the pairs."""
    ratios = [one[figure] / other[figure] for one, other in zip(ours, theirs, strict=True)]
    return statistics.median(ratios if figure == SPEED else [1 / value for value in ratios])


def tested(row: dict[str, float]) -> str:
    """Accuracy with its 95 % interval."""
    low, high = wilson(round(row["accuracy"] * row["n"]), int(row["n"]))
    return f"{row['accuracy']:.3f} [{low:.3f}, {high:.3f}], n = {row['n']:.0f}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--only", nargs="*", choices=LINES, default=list(LINES), metavar="LINE")
    parser.add_argument("--pairs", type=int, default=5)
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        for name in asked.only:
            line = LINES[name](asked.data.resolve(), Path(folder))
            print(json.dumps(compared(name, line, asked.pairs, Path(folder))), flush=True)


if __name__ == "__main__":
    main()
