"""What ten and a hundred times the examples cost: seconds and memory, for images and texts.

    python -m benchmarks.growth --data DIR [--counts 1000 10000 100000]

Images: hot dogs, repeated as often as it takes, train a tiny network for one epoch, so that what is
timed is listing, checking, decoding and augmenting. Texts: phrases of SST-2 and sentences of
reviews pass once through MiniLM, and a head is fitted. Each count is a process with an empty cache,
and one JSON line.
"""

from __future__ import annotations

import argparse
import itertools
import json
import tempfile
import time
from pathlib import Path
from typing import Any

from benchmarks.lines import MINILM, SECONDS, headstart, sentences, written
from benchmarks.throughput import measured
from headstart.data.class_folders import list_class_folders
from headstart.data.readers import IMAGE_FILES


def images(data: Path, work: Path, count: int) -> Path:
    """A recipe for so many images; prints how long their folder takes to list."""
    folder = work / f"images-{count}"
    for kind in sorted((data / "hotdog" / "train").iterdir()):
        place = folder / "train" / kind.name
        place.mkdir(parents=True)
        repeated = itertools.cycle(sorted(kind.iterdir()))
        for number, path in zip(range(count // 2), repeated, strict=False):
            (place / f"{number}.jpg").symlink_to(path)
    (folder / "test").symlink_to(data / "hotdog" / "test")
    started = time.perf_counter()
    list_class_folders(folder / "train", IMAGE_FILES)
    print(
        json.dumps(
            {
                "benchmark": "listing",
                "files": count,
                "seconds": round(time.perf_counter() - started, 2),
            }
        )
    )
    recipe = {
        "task": "image_classification",
        "data": {"source": str(folder), "validation": 0.0},
        "model": {"backbone": "test_resnet", "preprocessing": {"size": 64}},
        "transfer": {"strategy": "scratch"},
        "train": {"epochs": 1, "batch_size": 128},
    }
    return written(work, f"images-run-{count}", recipe)


def texts(data: Path, work: Path, count: int) -> Path:
    """A recipe for so many texts."""
    table = sentences(data, count, work / f"texts-{count}.tsv")
    recipe: dict[str, Any] = {
        "task": "text_classification",
        "data": {"train": str(table), "test": str(data / "sst2" / "dev.tsv"), "validation": 0.0},
        "model": {"backbone": MINILM},
        "transfer": {"strategy": "feature_extraction"},
    }
    return written(work, f"texts-run-{count}", recipe)


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--counts", type=int, nargs="+", default=[1_000, 10_000, 100_000])
    args = parser.parse_args()
    data = args.data.resolve()
    for name, make in (("images", images), ("texts", texts)):
        for count in args.counts:
            with tempfile.TemporaryDirectory() as folder:
                work = Path(folder)
                result = measured(headstart(make(data, work, count)), work)
                line = {
                    "benchmark": "growth",
                    "of": name,
                    "examples": count,
                    "seconds": round(result[SECONDS], 1),
                    "ms_each": round(1e3 * result[SECONDS] / count, 2),
                    "peak_gb": round(result["peak_gb"], 2),
                }
                print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main()
