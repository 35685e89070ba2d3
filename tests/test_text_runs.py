"""Texts and words from a recipe to a run directory and back, through the same strategies, engine
and report as images."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

import headstart
from headstart.cli import main
from headstart.errors import HeadstartError
from headstart.report.report import Report
from tests.conftest import PLAIN, WriteRecipe, reviews, save_bert, write_table
from tests.processes import start

Capture = pytest.CaptureFixture[str]


def command(capsys: Capture, *arguments: str) -> tuple[int, str, str]:
    with pytest.raises(SystemExit) as stopped:
        main(list(arguments))
    said = capsys.readouterr()
    return int(stopped.value.code or 0), said.out, said.err


def test_a_text_run_leaves_everything_behind_and_loads_again(
    write_recipe: WriteRecipe, review_tables: Path, tmp_path: Path, capsys: Capture
) -> None:
    path = write_recipe(
        task="text_classification",
        model={"preprocessing": {"max_length": 8}},
        transfer={"strategy": "fine_tune"},
        train={"epochs": 6, "lr": 3e-3},
        evaluate={"baselines": ["scratch", "feature_extraction", "tfidf_logistic_regression"]},
    )
    code, out, err = command(capsys, "run", str(path))
    assert code == 0, err
    assert "newly initialized" not in out + err
    assert "% of the training texts are longer than 8 tokens" in out
    report = Report.read(tmp_path / "run")
    assert [result.name for result in report.baselines] == [
        "scratch",
        "feature_extraction",
        "tfidf_logistic_regression",
    ]
    assert report.test.accuracy.value > 0.8
    assert report.baselines[2].test.accuracy.value > 0.8

    rows = list(csv.DictReader((tmp_path / "run" / "predictions.csv").open(encoding="utf-8")))
    assert [row["example"] for row in rows[:2]] == ["test.tsv:2", "test.tsv:3"]
    model = headstart.load(tmp_path / "run")
    assert model.labels == ("neg", "pos")
    texts = [text for text, _ in reviews(40, seed=2)]
    np.testing.assert_allclose(
        model.probabilities(texts),
        [[float(row["p(neg)"]), float(row["p(pos)"])] for row in rows],
        atol=1e-6,
    )
    assert [p.label for p in model.predict(texts)] == [row["predicted"] for row in rows]
    held = {file.suffix for file in (tmp_path / "run" / "model").rglob("*") if file.is_file()}
    assert held <= {".json", ".safetensors", ".txt"}

    (tmp_path / "one.txt").write_text(texts[1], encoding="utf-8")
    table = str(review_tables / "test.tsv")
    code, out, _ = command(
        capsys, "predict", str(tmp_path / "run"), texts[0], str(tmp_path / "one.txt"), table
    )
    assert code == 0
    lines = [line.split("\t") for line in out.splitlines()]
    assert [line[0] for line in lines[:3]] == [texts[0], str(tmp_path / "one.txt"), f"{table}:2"]
    assert [line[1] for line in lines[2:]] == [row["predicted"] for row in rows]
    assert lines[0][1:] == lines[2][1:]


def test_padding_and_order_change_no_prediction(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    headstart.run(
        write_recipe(task="text_classification", transfer={"strategy": "feature_extraction"})
    )
    model = headstart.load(tmp_path / "run")
    texts = [text for text, _ in reviews(70, seed=4)]
    together = model.probabilities(texts)
    np.testing.assert_allclose(
        together, [model.probabilities([text])[0] for text in texts], atol=1e-5
    )
    np.testing.assert_allclose(model.probabilities(texts[::-1]), together[::-1], atol=1e-5)


def test_the_page_says_what_chose_the_epoch_of_each_result(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    beside = {"baselines": ["fine_tune"]}
    path = write_recipe(
        task="text_classification", transfer={"strategy": "feature_extraction"}, evaluate=beside
    )
    said = {
        "": "the epoch was selected on the validation part",
        "data.validation=0.0": "the weights are those of the last one",
    }
    for number, (override, sentence) in enumerate(said.items()):
        headstart.run(path, [*filter(None, [override]), f"output={tmp_path / str(number)}"])
        page = (tmp_path / str(number) / "report.html").read_text(encoding="utf-8")
        assert [other in page for other in said.values()] == [
            other == sentence for other in said.values()
        ]


@pytest.mark.parametrize(
    "strategy", [{"strategy": "partial", "last_blocks": 1}, {"strategy": "feature_extraction"}]
)
def test_strategies_keep_the_rest_of_a_text_network_to_the_bit(
    strategy: dict[str, Any], write_recipe: WriteRecipe, bert: Path, tmp_path: Path
) -> None:
    headstart.run(write_recipe(task="text_classification", transfer=strategy))
    theirs = load_file(bert / "model.safetensors")
    ours = load_file(tmp_path / "run" / "model" / "network.safetensors")
    for name, value in theirs.items():
        trained = strategy["strategy"] == "partial" and name.startswith("encoder.layer.1.")
        if not name.startswith("pooler."):
            assert torch.equal(ours[f"encoder.{name}"], value) != trained, name


def test_two_equal_text_runs_are_equal_to_the_bit(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    path = write_recipe(
        task="text_classification", transfer={"strategy": "fine_tune"}, train={"workers": 2}
    )
    for name in ("one", "two"):
        headstart.run(path, [f"output={tmp_path / name}"])
    one, two = (
        load_file(tmp_path / name / "model" / "network.safetensors") for name in ("one", "two")
    )
    assert all(torch.equal(value, two[name]) for name, value in one.items())


@pytest.mark.parametrize(
    ("classifier", "options", "task"),
    [
        ("RandomForestClassifier", {"n_estimators": 20}, "embedding_classification"),
        ("logistic_regression", {}, "text_classification"),
        ("LinearSVC", {}, "embedding_classification"),
        ("HistGradientBoostingClassifier", {"max_iter": 10}, "text_classification"),
    ],
)
def test_words_under_a_classifier(
    classifier: str,
    options: dict[str, Any],
    task: str,
    write_recipe: WriteRecipe,
    word2vec: Path,
    tmp_path: Path,
) -> None:
    head = {"classifier": classifier, **({"options": options} if options else {})}
    path = write_recipe(
        task=task,
        transfer={"strategy": "feature_extraction"},
        model={"backbone": str(word2vec), "head": head},
        train={},
    )
    report = headstart.run(path)
    assert report.test.accuracy.value > 0.8
    model = headstart.load(tmp_path / "run")
    texts = [text for text, _ in reviews(40, seed=2)]
    rows = list(csv.DictReader((tmp_path / "run" / "predictions.csv").open()))
    assert [p.label for p in model.predict(texts)] == [row["predicted"] for row in rows]
    log = [json.loads(line) for line in (tmp_path / "run" / "log.jsonl").read_text().splitlines()]
    assert [event["computed"] for event in log if event["event"] == "features"], (
        "through the one cache"
    )
    assert not [
        file
        for file in (tmp_path / "run").rglob("*")
        if file.suffix in (".pkl", ".pickle", ".joblib", ".npy")
    ]


def test_other_embedders_under_a_forest(
    write_recipe: WriteRecipe,
    weights: Path,
    bert: Path,
    photos: Path,
    review_tables: Path,
    tmp_path: Path,
) -> None:
    head = {"classifier": "RandomForestClassifier", "options": {"n_estimators": 20}}
    path = write_recipe(task="embedding_classification", transfer=None, model={"head": head})
    assert headstart.run(path).test.n == 40
    image = [
        f"data.source={photos}",
        "model.backbone=test_resnet",
        f"model.weights={weights}",
        "output=" + str(tmp_path / "i"),
    ]
    report = headstart.run(path, [*image, "model.preprocessing.size=32"])
    assert report.test.n == 18
    assert headstart.load(tmp_path / "i").predict(photos / "test" / "red")[0].label in report.labels


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("transfer.strategy=fine_tune", "keeps its embedder frozen; found strategy 'fine_tune'"),
        ('evaluate.baselines=["scratch"]', "keeps its embedder frozen; found strategy 'scratch'"),
        ("model.preprocessing.pooling=cls", "pooling: found 'cls'; expected mean or tfidf"),
        ("evaluate.baselines=raw_pixels_forest", "raw_pixels_forest"),
        ("model.backbone=gone.bin", "no file gone.bin"),
    ],
)
def test_bad_embedding_recipes(
    override: str, said: str, write_recipe: WriteRecipe, word2vec: Path, capsys: Capture
) -> None:
    path = write_recipe(
        task="embedding_classification", transfer=None, model={"backbone": str(word2vec)}
    )
    code, _, err = command(capsys, "run", str(path), override)
    assert (code, err.count("\n")) == (2, 1)
    assert said in err


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("augment.policy=crop", "augment.policy: found 'crop'; text_classification has none"),
        ("data.columns.text=txt", "has no column 'txt'; it has text, label"),
        ("model.preprocessing.max_length=999", "allows texts of at most 64 tokens"),
        ("model.backbone=packaged:glove_6b_50d", "nothing to train; set transfer.strategy"),
        ("data.source=sample:docstring", "docstrings"),
        ("data.limit=1", "data.limit"),
    ],
)
def test_bad_text_recipes(
    override: str, said: str, write_recipe: WriteRecipe, capsys: Capture
) -> None:
    code, _, err = command(capsys, "run", str(write_recipe(task="text_classification")), override)
    assert code == 2, err
    assert said in err
    assert "Traceback" not in err


def test_texts_for_prediction_that_are_not_there(
    write_recipe: WriteRecipe, tmp_path: Path, capsys: Capture
) -> None:
    headstart.run(
        write_recipe(task="text_classification", transfer={"strategy": "feature_extraction"})
    )
    run = str(tmp_path / "run")
    code, _, err = command(capsys, "predict", run, "gone.csv")
    assert (code, "gone.csv: no such file" in err) == (2, True)
    for path in ("./nowhere", "folder/nowhere/"):
        code, _, err = command(capsys, "predict", run, path)
        assert (code, f"{path}: no such file" in err) == (2, True)
    write_table(tmp_path / "trained.tsv", reviews(20), header="opinion\tlabel")
    named = write_recipe(
        task="text_classification",
        transfer={"strategy": "feature_extraction"},
        data={
            "source": str(tmp_path / "trained.tsv"),
            "columns": {"text": "opinion", "label": "label"},
        },
        output=str(tmp_path / "named"),
    )
    headstart.run(named)
    write_table(tmp_path / "two.tsv", [("a film", "fine")], header="text\topinion")
    assert command(capsys, "predict", str(tmp_path / "named"), str(tmp_path / "two.tsv"))[0] == 0
    (found,) = headstart.load(tmp_path / "named").predict([str(tmp_path / "two.tsv")])
    assert (
        found.probabilities == headstart.load(tmp_path / "named").predict(["fine"])[0].probabilities
    )
    write_table(tmp_path / "none.tsv", [("a film", "fine")], header="x\ty")
    code, _, err = command(capsys, "predict", str(tmp_path / "named"), str(tmp_path / "none.tsv"))
    assert (code, "called 'opinion', as in training; it has x, y" in err) == (2, True)
    for nothing in ("", "  "):
        code, out, err = command(capsys, "predict", run, nothing, "a film")
        assert (code, out.count("\n"), "an empty text" in err) == (1, 1, True)
    (tmp_path / "bare").mkdir()
    code, _, err = command(capsys, "predict", run, "a film", str(tmp_path / "bare"))
    assert (code, "found no .txt file" in err) == (2, True)
    code, out, _ = command(capsys, "predict", run, "half a \udcff character")
    assert (code, out.count("\n")) == (0, 1)
    (tmp_path / "empty.txt").write_text("\n")
    code, out, err = command(capsys, "predict", run, "a film", str(tmp_path / "empty.txt"))
    assert (code, out.count("\n"), "an empty text" in err) == (1, 1, True)
    with pytest.raises(HeadstartError, match="an empty text"):
        headstart.load(run).predict([str(tmp_path / "empty.txt")])


def test_a_damaged_tokenizer_is_one_message(
    write_recipe: WriteRecipe, tmp_path: Path, capsys: Capture
) -> None:
    headstart.run(
        write_recipe(task="text_classification", transfer={"strategy": "feature_extraction"})
    )
    (tmp_path / "run" / "model" / "tokenizer" / "tokenizer.json").write_text("{")
    code, _, err = command(capsys, "predict", str(tmp_path / "run"), "a film")
    assert (code, err.count("\n")) == (2, 1), err


GOOD, BAD, OTHER = "好不错优赞", "坏差脏吵", "這間酒店环境服务房间早餐的了很"


def test_chinese_characters_stay_intact(
    write_recipe: WriteRecipe, tmp_path: Path, capsys: Capture
) -> None:
    random = np.random.default_rng(0)
    rows = [
        (
            "".join(
                random.permutation(
                    [*random.choice(list(OTHER), 6), *random.choice(list((BAD, GOOD)[n % 2]), 2)]
                )
            ),
            "差好"[n % 2],
        )
        for n in range(120)
    ]
    write_table(tmp_path / "set" / "train.tsv", rows[:80], header="text_a\tlabel")
    write_table(tmp_path / "set" / "test.tsv", rows[80:], header="text_a\tlabel")
    chinese = save_bert(tmp_path / "chinese", sorted(set(GOOD + BAD + OTHER)))
    path = write_recipe(
        task="text_classification",
        data={"source": str(tmp_path / "set")},
        model={"backbone": str(chinese)},
        transfer={"strategy": "fine_tune"},
        train={"epochs": 8, "lr": 3e-3},
        evaluate={"baselines": ["tfidf_logistic_regression"]},
    )
    code, out, err = command(capsys, "run", str(path))
    assert code == 0, err
    assert "2 classes: 好" in out
    report = Report.read(tmp_path / "run")
    assert report.labels == ("好", "差")
    assert report.test.accuracy.value > 0.8
    assert report.baselines[0].test.accuracy.value > 0.8, "cut into characters"
    for name in ("report.html", "metrics.json", "predictions.csv", "manifest.json"):
        content = (tmp_path / "run" / name).read_text(encoding="utf-8")
        assert "好" in content
        assert "\ufffd" not in content
    tokens = headstart.load(tmp_path / "run").members[0].network.tokenizer.tokenize("這間酒店")
    assert tokens == list("這間酒店")
    code, out, _ = command(capsys, "predict", str(tmp_path / "run"), "酒店很好很赞")
    assert out.startswith("酒店很好很赞\t好\t")


def test_two_processes_train_a_text_network_as_one_does(
    write_recipe: WriteRecipe, review_tables: Path, tmp_path: Path
) -> None:
    words = sorted({word for text, _ in reviews(120, seed=1) for word in text.split()} | set(PLAIN))
    quiet = save_bert(
        tmp_path / "bert", words, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0
    )
    path = write_recipe(
        task="text_classification",
        model={"backbone": str(quiet)},
        transfer={"strategy": "fine_tune"},
        train={"optimizer": "sgd", "lr": 0.02, "epochs": 2},
        evaluate={"baselines": ["feature_extraction"]},
    )
    found: list[dict[str, torch.Tensor]] = []
    reports: list[Report] = []
    for count in (1, 2):
        folder = tmp_path / f"run{count}"
        cache = str(tmp_path / f"cache{count}")
        assert start(path, None, count, f"output={folder}", HEADSTART_CACHE=cache) == [0] * count
        found.append(load_file(folder / "model" / "network.safetensors"))
        reports.append(Report.read(folder))
    for name, value in found[0].items():
        np.testing.assert_allclose(value, found[1][name], rtol=1e-3, atol=2e-5, err_msg=name)
    rows = [
        (tmp_path / f"run{count}" / "predictions.csv").read_text().splitlines() for count in (1, 2)
    ]
    assert [row.split(",")[:2] for row in rows[0]] == [row.split(",")[:2] for row in rows[1]]
    assert len(rows[0]) == len(set(rows[0])) == 41
    assert reports[0].baselines[0].test == reports[1].baselines[0].test, (
        "features are equal to the bit"
    )
