"""What `benchmarks.throughput` compares: each line a task, each way a command that does it.

`tutorial`, `trainer` and `bare` are scripts in `benchmarks/controls/`. `ready` is the bare loop fed
from memory, a bound; `imports` only loads the libraries that a run needs. On a GPU the lines of
networks are longer, and there are two more.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import Any

import pandas as pd
import tomli_w
import torch

from headstart.models.packaged import packaged
from headstart.models.word_vectors import read_vectors

SECONDS, SPEED = "seconds", "examples_per_second"
MINILM, GLOVE, LITE0 = "packaged:minilm_l6", "packaged:glove_6b_50d", "packaged:efficientnet_lite0"
NEEDED = (
    "torch torchvision timm.data accelerate transformers.trainer peft pandas pyarrow.compute "
    "scipy.fft scipy.ndimage pydantic rich.progress sqlite3 tomli_w"
)
GPU = torch.cuda.is_available()


@dataclass(frozen=True)
class Way:
    """A command, whose last line of output is JSON or whose run has a report; `again` with what its
    last time left in the cache."""

    command: list[str]
    run: Path | None = None
    again: bool = False


@dataclass(frozen=True)
class Line:
    """The ways that are compared, headstart first, by one figure."""

    figure: str
    ways: dict[str, Way] = field(default_factory=dict)


def control(name: str, *arguments: object, again: bool = False) -> Way:
    return Way(
        [sys.executable, "-m", f"benchmarks.controls.{name}", *map(str, arguments)], again=again
    )


def headstart(recipe: Path) -> Way:
    """A whole run, as the command line does it."""
    return Way([sys.executable, "run.py", str(recipe)], recipe.with_suffix(""))


def written(work: Path, name: str, recipe: dict[str, Any]) -> Path:
    """A recipe file, its run beside it."""
    path = work / f"{name}.toml"
    path.write_text(
        tomli_w.dumps({**recipe, "output": str(path.with_suffix(""))}), encoding="utf-8"
    )
    return path


def frozen(data: Path, work: Path) -> Line:
    """A frozen backbone on ants and bees, 25 epochs of the tutorial against one pass: the whole
    process."""
    folder = data / "hymenoptera"
    recipe = {
        "task": "image_classification",
        "data": {"source": str(folder), "validation": 0.0},
        "model": {"backbone": LITE0},
        "transfer": {"strategy": "feature_extraction"},
    }
    ours = headstart(written(work, "frozen", recipe))
    return Line(SECONDS, {"headstart": ours, "tutorial": control("tutorial_frozen", folder)})


def first_step(data: Path, work: Path) -> Line:
    """From the start of a process to the end of the first step of fine-tuning."""
    recipe = {
        "task": "image_classification",
        "data": {"source": str(data / "hymenoptera"), "validation": 0.0},
        "model": {"backbone": LITE0},
        "train": {"epochs": 1, "batch_size": 8},
    }
    path = written(work, "first", recipe)
    ways = {
        "headstart": control("first_step", path),
        "the second time": control("first_step", path, again=True),
        "imports": control("first_step", "--imports", *NEEDED.split()),
    }
    return Line(SECONDS, ways)


def light(data: Path, work: Path) -> Line:
    """`import headstart`, and what the command line takes to say how it is used."""
    helped = (
        "import subprocess, sys; subprocess.run([sys.argv[1], '--help'], "
        "stdout=subprocess.DEVNULL); print('{}')"
    )
    command = str(Path(sys.executable).with_name("headstart"))
    ways = {
        "headstart": Way([sys.executable, "-c", "import headstart; print('{}')"]),
        "--help": Way([sys.executable, "-c", helped, command]),
        "bare python": Way([sys.executable, "-c", "print('{}')"]),
    }
    return Line(SECONDS, ways)


def fine_tuning(backbone: str, batch: int, images: int) -> Callable[[Path, Path], Line]:
    """A network trained on so many hot dogs (on a GPU: all) at 224 pixels, two epochs (ten):
    examples a second."""

    def line(data: Path, work: Path) -> Line:
        epochs = 10 if GPU else 2
        folder = some_images(data / "hotdog", work / "images", 2000 if GPU else images)
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
            "tutorial": control(
                "tutorial_fine_tune", folder, backbone, "--batch", batch, "--epochs", epochs
            ),
            "bare": control("bare", path),
            "ready": control("bare", path, "--ready"),
        }
        return Line(SPEED, ways)

    return line


def phrases_of_sst2(
    backbone: Callable[[Path], tuple[str, Path]], count: int
) -> Callable[[Path, Path], Line]:
    """An encoder trained on so many phrases for one epoch: examples a second, and accuracy on the
    872 of the dev part.

    Batches of 32, so a quarter of the updates of the Trainer with its batches of 8, at its rate of
    5e-5 times the square root of 4 (Malladi et al. 2022).

    Args:
        backbone: its name in a recipe, and its folder.
    """

    def line(data: Path, work: Path) -> Line:
        tables = [
            some_rows(data / "sst2" / "train.tsv", work / "train.tsv", count),
            data / "sst2" / "dev.tsv",
        ]
        name, folder = backbone(work)
        recipe = {
            "task": "text_classification",
            "data": {"train": str(tables[0]), "test": str(tables[1]), "validation": 0.0},
            "model": {"backbone": name},
            "transfer": {"strategy": "fine_tune"},
            "train": {
                "epochs": 1,
                "batch_size": 32,
                "lr": 1e-4,
                "schedule": "linear",
                "warmup": 0.1,
            },
        }
        path = written(work, "phrases", recipe)
        ways = {
            "headstart": headstart(path),
            "tutorial": control("tutorial_text", folder, *tables),
            "trainer": control("trainer_defaults", folder, *tables),
            "bare": control("bare", path),
            "ready": control("bare", path, "--ready"),
        }
        return Line(SPEED, ways)

    return line


def minilm(work: Path) -> tuple[str, Path]:
    return MINILM, packaged("minilm_l6", "text").path()


def bert_base(work: Path) -> tuple[str, Path]:
    """BERT-base's architecture with random weights, and MiniLM's tokenizer, which is BERT's."""
    from transformers import AutoTokenizer, BertConfig, BertModel

    folder = work / "bert-base"
    BertModel(BertConfig()).save_pretrained(folder)
    AutoTokenizer.from_pretrained(packaged("minilm_l6", "text").path()).save_pretrained(folder)
    return str(folder), folder


def words(data: Path, work: Path) -> Line:
    """GloVe and a forest on 100,000 texts, phrases of SST-2 and sentences of reviews: the whole
    process."""
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
    return Line(
        SECONDS, {"headstart": ours, "tutorial": control("tutorial_words", glove, train, test)}
    )


def some_images(source: Path, place: Path, count: int) -> Path:
    """Links to so many training images, each class its share, and eight a class to test."""
    for part, each in (("train", count // 2), ("test", 8)):
        for folder in sorted((source / part).iterdir()):
            (place / part / folder.name).mkdir(parents=True)
            for path in islice(sorted(folder.iterdir()), each):
                (place / part / folder.name / path.name).symlink_to(path)
    return place


def sentences(data: Path, count: int, place: Path) -> Path:
    """A table of so many phrases of SST-2 and, beyond those, sentences of reviews under their
    review's label."""
    tables = [phrases(data / "sst2" / "train.tsv")]
    for name in ("books", "kitchen"):
        reviews = phrases(data / "amazon_domains" / f"{name}.tsv")
        split = reviews.assign(sentence=reviews["text"].str.split(r"(?<=[.!?])\s+")).explode(
            "sentence"
        )
        tables.append(split[split["sentence"].str.len() > 20][["sentence", "label"]])
    pd.concat(tables)[:count].to_csv(place, sep="\t", index=False, quoting=3, escapechar="\\")
    return place


def phrases(path: Path) -> pd.DataFrame:
    return pd.read_csv(path, sep="\t", quoting=3)


def some_rows(source: Path, place: Path, count: int) -> Path:
    phrases(source).sample(count, random_state=0).to_csv(place, sep="\t", index=False, quoting=3)
    return place


LINES = {
    "light": light,
    "first_step": first_step,
    "frozen": frozen,
    "resnet18_32": fine_tuning("resnet18", 32, 256),
    "resnet18_128": fine_tuning("resnet18", 128, 384),
    "lite0_32": fine_tuning("tf_efficientnet_lite0", 32, 256),
    "lite0_128": fine_tuning("tf_efficientnet_lite0", 128, 384),
    "minilm": phrases_of_sst2(minilm, 20_000 if GPU else 1_500),
    "words": words,
}
if GPU:
    LINES |= {
        "resnet50_128": fine_tuning("resnet50", 128, 2000),
        "bert_base": phrases_of_sst2(bert_base, 20_000),
    }
