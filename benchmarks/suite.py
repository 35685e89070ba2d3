"""The sets of the comparison suite, the ways to train on each, and the published number beside
which ours may stand."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

Table = dict[str, Any]
FOREST = {"classifier": "RandomForestClassifier", "options": {"n_estimators": 300}}
LITE0, MINILM, GLOVE = "packaged:efficientnet_lite0", "packaged:minilm_l6", "packaged:glove_6b_50d"


@dataclass(frozen=True)
class Bench:
    """A data set with what all its recipes share, and what each way to train adds."""

    name: str
    suite: str
    shared: Table
    ways: dict[str, Table]
    seeds: int
    published: str

    def recipes(self, output: Path) -> dict[str, Table]:
        """A recipe for each way; all runs lie under `output`."""
        return {
            way: _merged(
                self.shared,
                {"transfer": {"strategy": way}, "output": str(output / self.name)},
                more,
            )
            for way, more in self.ways.items()
        }


def suite(data: Path, quick: bool) -> list[Bench]:
    """All sets, or with `quick` the two that take minutes.

    Args:
        data: holds `hotdog/`, `hymenoptera/`, `fashion_usage/`, `sst2/` and `chnsenticorp/`.
    """
    ants = Bench(
        "ants_bees", "images", _images(data / "hymenoptera", {"epochs": 8, "lr": 1e-4,
        "batch_size": 16}),
        {**_frozen(), "fine_tune": {}, "lp_ft": {}, "gradual_unfreezing": {}, "lora": _lora(1e-3),
        "scratch": {}}, 2,
        "ResNet-18, 25 epochs: fine-tuned 0.935 to 0.95, frozen 0.948 to 0.961 (PyTorch's "
"transfer-learning tutorial). The same images; another backbone (its weights cannot be "
"had here) and 8 epochs.",
    )  # fmt: skip
    sst2 = Bench(
        "sst2_2000", "texts", _sst2(data, 2000, 4),
        {**_frozen(), "fine_tune": {}, "lp_ft": {}, "lora": _lora(6e-4), "scratch": {}, **_words()},
        2,
        "BERT-base with all 67,349 phrases: 0.923 to 0.935. Another set-up: a smaller network "
"and 2,000 phrases.",
    )  # fmt: skip
    if quick:
        few = {"feature_extraction", "fine_tune", "features_forest", "glove_forest"}
        return [
            Bench(
                b.name,
                b.suite,
                b.shared,
                {way: more for way, more in b.ways.items() if way in few},
                1,
                b.published,
            )
            for b in (ants, sst2)
        ]
    sgd = {
        "epochs": 5,
        "batch_size": 128,
        "optimizer": "sgd",
        "momentum": 0.0,
        "lr": 6.4e-3,
        "weight_decay": 7.8e-6,
    }
    hotdog = Bench(
        "hotdog", "images",
        _merged(_images(data / "hotdog", {**sgd, "schedule": "constant"}),
        {"data": {"validation": 0.0}}),
        {**_frozen(), "fine_tune": {}, "scratch": {"train": {"lr": 6.4e-2}}}, 1,
        'ResNet-18, 5 epochs: fine-tuned 0.939, from scratch 0.843 ("Dive into Deep Learning"). '
'The same settings; another '
"backbone, and images of the same sources and sizes in place of the book's own.",
    )  # fmt: skip
    columns = {"columns": {"image": "image", "label": "usage"}}
    fashion = Bench(
        "fashion_usage", "images",
        _merged(_images(data / "fashion_usage", {"epochs": 8, "lr": 1e-4, "batch_size": 32}),
        {"data": columns}),
        {**_frozen(), "fine_tune": {}, "scratch": {}}, 1,
        "None with this sample of 1,000 training images.",
    )  # fmt: skip
    more = Bench(
        "sst2_6920", "texts", _sst2(data, 6920, 4), {**_frozen(), "fine_tune": {}, **_words()}, 1,
        "As above, with 6,920 phrases.",
    )  # fmt: skip
    whole = Bench(
        "sst2_all", "texts", _sst2(data, None, 3), {"feature_extraction": {}, "fine_tune": {},
        **_words()}, 1,
        "BERT-base 0.923 to 0.935 (transformers' text-classification example), MiniLM-L12 0.93 "
"(its model card). The same data and test; MiniLM-L6, half as deep.",
    )  # fmt: skip
    chinese = Bench(
        "chnsenticorp", "texts",
        {
            "task": "text_classification", "model": {"backbone": MINILM},
            "data": {"source": str(data / "chnsenticorp"), "limit": 4000},
            "train": {"epochs": 2, "lr": 6e-5, "batch_size": 32, "schedule": "linear",
            "warmup": 0.1},
        },
        {"feature_extraction": {}, "fine_tune": {}, "scratch": {}}, 1,
        "None with this backbone and 4,000 reviews. Its tokenizer knows 38 % of the tokens: "
"transfer has little to carry over.",
    )  # fmt: skip
    return [ants, sst2, hotdog, fashion, more, whole, chinese]


def _images(source: Path, train: Table) -> Table:
    return {
        "task": "image_classification",
        "data": {"source": str(source)},
        "model": {"backbone": LITE0},
        "train": train,
    }


def _sst2(data: Path, limit: int | None, epochs: int) -> Table:
    parts = {
        role: str(data / "sst2" / f"{name}.tsv")
        for role, name in (("train", "train"), ("validation", "test_labelled"), ("test", "dev"))
    }
    return {
        "task": "text_classification",
        "data": parts | ({} if limit is None else {"limit": limit}),
        "model": {"backbone": MINILM},
        "train": {
            "epochs": epochs,
            "lr": 6e-5,
            "batch_size": 32,
            "schedule": "linear",
            "warmup": 0.1,
        },
    }


def _frozen() -> dict[str, Table]:
    forest = {"transfer": {"strategy": "feature_extraction"}, "model": {"head": FOREST}}
    return {"feature_extraction": {}, "features_forest": forest}


def _words() -> dict[str, Table]:
    strategy = {"strategy": "feature_extraction"}
    return {
        "glove_forest": {
            "task": "embedding_classification", "transfer": strategy, "model": {"backbone": GLOVE,
            "head": FOREST}
        }
    }  # fmt: skip


def _lora(lr: float) -> Table:
    """Ten times the rate: adapters begin at zero."""
    return {"train": {"lr": lr}, "transfer": {"strategy": "lora", "head_lr_ratio": 1.0}}


def _merged(*tables: Table) -> Table:
    """Tables of tables, the later ones first."""
    merged: Table = {}
    for table in tables:
        for key, value in table.items():
            both = isinstance(value, dict) and isinstance(merged.get(key), dict)
            merged[key] = _merged(merged[key], value) if both else value
    return merged
