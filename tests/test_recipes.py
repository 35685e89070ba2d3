"""The recipes that come with the project: each is read, planned on a small network, and headed by
what it claims."""

from __future__ import annotations

from pathlib import Path

import pytest

from headstart.catalogue import read_recipe
from headstart.cli import main

RECIPES = sorted((Path(__file__).parents[1] / "recipes").glob("*.toml"))


def test_all_recipes_are_seen() -> None:
    assert [path.stem for path in RECIPES] == [
        "ants_bees",
        "ants_bees_frozen",
        "efficientnet",
        "hotdog",
        "hotdog_frozen",
        "hotdog_scratch",
        "pets",
        "photo_features_forest",
        "quickstart",
        "quickstart_text",
        "sentiment_bert",
        "sentiment_chinese",
        "sentiment_glove_forest",
        "sentiment_lora",
        "sentiment_minilm",
        "sentiment_word2vec_forest",
        "zoo",
    ]


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_the_head_of_a_recipe_says_how_to_run_it_and_what_it_claims(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    comment = [line for line in lines[: lines.index("")] if line.startswith("#")]
    assert f"run.py recipes/{path.name}" in comment[0]
    assert any(line.startswith("# Claims: ") for line in comment)


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_every_recipe_can_be_planned(
    path: Path, photos: Path, weights: Path, review_tables: Path, bert: Path, word2vec: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    recipe = read_recipe(path)
    if (
        recipe.data.source in ("sample:patches", "sample:docstrings")
        or not recipe.data.columns.text
    ):
        small = [f"data.source={photos}", "model.backbone=test_resnet", f"model.weights={weights}"]
        small += ["model.preprocessing.size=32"]
    if recipe.task == "text_classification":
        small = [f"model.backbone={bert}", "model.preprocessing.max_length=32"]
    elif recipe.data.columns.text:
        small = [f"model.backbone={word2vec}"]
    if recipe.data.columns.text or recipe.task == "text_classification":
        table = review_tables / "train.tsv"
        given = (
            [f"data.train={table}", f"data.test={review_tables / 'test.tsv'}"]
            if recipe.data.train
            else []
        )
        small += given or [f"data.source={review_tables}"]
        small += ["data.columns.text=text", "evaluate.baselines=[]", "data.validation=0.2"]
    small += ["train.workers=0", f"output={tmp_path / 'run'}"]
    with pytest.raises(SystemExit) as stopped:
        main(["plan", str(path), *small])
    said = capsys.readouterr()
    assert stopped.value.code == 0, said.err
    assert f"phase 1    {recipe.transfer.strategy}: " in said.out
    assert "3 classes" in said.out or "2 classes" in said.out
    assert "estimate   about" in said.out
    assert not (tmp_path / "run").exists()


def test_the_hot_dogs_come_from_the_books_own_source() -> None:
    data = read_recipe(next(path for path in RECIPES if path.stem == "hotdog")).data
    assert data.source == "http://d2l-data.s3-accelerate.amazonaws.com/hotdog.zip"
    assert data.sha1 == "fba480ffa8aa7e0febbb511d181409f899b9baa5"
