"""Small generated images and recipes; no network, no data from elsewhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from PIL import Image

from headstart.runtime.threads import share_cores

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["CUDA_VISIBLE_DEVICES"] = ""
share_cores()
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ["OMP_NUM_THREADS"] = "1"  # the workers share the cores

COLOURS = {"blue": (40, 60, 200), "green": (50, 190, 60), "red": (200, 50, 50)}


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))


def draw_images(folder: Path, count: int, seed: int = 0, size: int = 40) -> None:
    """Noisy images of one colour a class: easy, but not trivial."""
    random = np.random.default_rng(seed)
    for name, colour in COLOURS.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            noise = random.normal(colour, 60, (size, size, 3)).clip(0, 255).astype(np.uint8)
            Image.fromarray(noise).save(folder / name / f"{number:02}.png")


@pytest.fixture(scope="session")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder train/CLASS/…, test/CLASS/… of three classes: 10 and 6 images each."""
    folder = tmp_path_factory.mktemp("photos")
    draw_images(folder / "train", 10, seed=1)
    draw_images(folder / "test", 6, seed=2)
    return folder


POSITIVE, NEGATIVE = ("good", "fine", "great", "lovely"), ("bad", "poor", "awful", "dull")
PLAIN = ("film", "plot", "the", "a", "cast", "and", "was", "it", "scene", "music")


def reviews(count: int, seed: int = 0) -> list[tuple[str, str]]:
    """(text, label) pairs of words in random number and order, one or two of which tell the
    label."""
    random = np.random.default_rng(seed)
    rows = []
    for number in range(count):
        telling = (NEGATIVE, POSITIVE)[number % 2]
        words = [*random.choice(PLAIN, random.integers(3, 12)), *random.choice(telling, 2)]
        rows.append((" ".join(random.permutation(words)), ("neg", "pos")[number % 2]))
    return rows


def write_table(path: Path, rows: list[tuple[str, str]], header: str = "text\tlabel") -> Path:
    """A tab-separated table."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([header, *("\t".join(row) for row in rows)]) + "\n", encoding="utf-8")
    return path


@pytest.fixture(scope="session")
def review_tables(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with train.tsv (80 rows) and test.tsv (40 rows) of two classes."""
    folder = tmp_path_factory.mktemp("reviews")
    write_table(folder / "train.tsv", reviews(80, seed=1))
    write_table(folder / "test.tsv", reviews(40, seed=2))
    return folder


def save_bert(folder: Path, words: Iterable[str], **config: Any) -> Path:
    """A tiny BERT of two layers with random weights and a vocabulary of its own, in the layout of
    the hub."""
    import torch
    from transformers import BertConfig, BertModel, BertTokenizer

    vocabulary = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *words]
    sizes = {
        "hidden_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "intermediate_size": 32,
        **config,
    }
    torch.manual_seed(0)
    BertModel(
        BertConfig(vocab_size=len(vocabulary), max_position_embeddings=64, **sizes)
    ).save_pretrained(folder)
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    BertTokenizer.from_pretrained(folder).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def bert(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a tiny BERT that knows the words of `reviews`."""
    return save_bert(tmp_path_factory.mktemp("bert"), [*POSITIVE, *NEGATIVE, *PLAIN])


@pytest.fixture(scope="session")
def word2vec(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Word vectors of the words of `reviews` in word2vec's text format, in which good and bad words
    lie apart."""
    random = np.random.default_rng(0)
    lines = [f"{len(POSITIVE + NEGATIVE + PLAIN)} 5"]
    for words, centre in ((POSITIVE, 1.0), (NEGATIVE, -1.0), (PLAIN, 0.0)):
        lines += [
            f"{word} {' '.join(f'{n:.4f}' for n in random.normal(centre, 0.3, 5))}"
            for word in words
        ]
    path = tmp_path_factory.mktemp("vectors") / "small.txt"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def without_none(table: dict[str, Any]) -> dict[str, Any]:
    """TOML has no None: what a test sets to None is left out."""
    return {
        k: without_none(v) if isinstance(v, dict) else v for k, v in table.items() if v is not None
    }


WriteRecipe = Callable[..., Path]


@pytest.fixture
def write_recipe(tmp_path: Path, photos: Path, review_tables: Path, bert: Path) -> WriteRecipe:
    """Writes a small recipe file (test_resnet from random weights at 32 pixels; the tiny BERT for
    texts), changed at will."""

    def write(**changes: object) -> Path:
        recipe: dict[str, object] = {
            "task": "image_classification",
            "output": str(tmp_path / "run"),
            "data": {"source": str(photos), "validation": 0.2},
            "model": {"backbone": "test_resnet", "preprocessing": {"size": 32}},
            "transfer": {"strategy": "scratch"},
            "train": {"epochs": 2, "batch_size": 8, "lr": 1e-3, "workers": 0, "precision": "fp32"},
            "evaluate": {"bootstrap": 100},
        }
        if str(changes.get("task", "")).startswith(("text", "embedding")):
            recipe |= {
                "data": {"source": str(review_tables), "validation": 0.2},
                "model": {"backbone": str(bert)},
            }
        for key, value in changes.items():
            before = recipe.get(key)
            recipe[key] = (
                {**before, **value}
                if isinstance(before, dict) and isinstance(value, dict)
                else value
            )
        path = tmp_path / "recipe.toml"
        path.write_text(tomli_w.dumps(without_none(recipe)))
        return path

    return write


@pytest.fixture
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A .safetensors file that plays the pretrained weights of test_resnet."""
    import timm
    import torch
    from safetensors.torch import save_file

    path = tmp_path_factory.getbasetemp() / "test_resnet.safetensors"
    if not path.exists():
        torch.manual_seed(7)
        # as after some training
        net = timm.create_model("test_resnet", num_classes=5, zero_init_last=False)
        save_file(net.state_dict(), path)
    return path


MakeRun = Callable[..., Path]


@pytest.fixture(scope="session")
def make_run(
    tmp_path_factory: pytest.TempPathFactory, photos: Path, review_tables: Path, bert: Path
) -> MakeRun:
    """Gives the folder of a finished run of tiny networks, each once on "image" or "text" data, one
    a strategy and seed."""
    folder = tmp_path_factory.mktemp("runs")

    def make(kind: str, strategy: str = "scratch", seed: int = 0, **more: Any) -> Path:
        name = f"{kind}-{strategy}-{seed}" + "".join(f"-{key}" for key in more)
        if not (folder / name).exists():
            source, model = {
                "image": (photos, {"backbone": "test_resnet", "preprocessing": {"size": 32}}),
                "text": (review_tables, {"backbone": str(bert)}),
            }[kind]
            recipe: dict[str, Any] = {
                "task": f"{kind}_classification",
                "output": str(folder / name),
                "seed": seed,
                "data": {"source": str(source), "validation": 0.2},
                "model": model,
                "transfer": {"strategy": strategy},
                "train": {
                    "epochs": 1,
                    "batch_size": 8,
                    "lr": 1e-3,
                    "workers": 0,
                    "precision": "fp32",
                },
                "evaluate": {"bootstrap": 100},
            }
            for key, value in more.items():
                recipe[key] = {**recipe[key], **value} if isinstance(value, dict) else value
            path = folder / f"{name}.toml"
            path.write_text(tomli_w.dumps(recipe), encoding="utf-8")
            import headstart

            with pytest.MonkeyPatch.context() as patch:
                patch.setenv("HEADSTART_CACHE", str(tmp_path_factory.getbasetemp() / "cache"))
                headstart.run(path)
        return folder / name

    return make
