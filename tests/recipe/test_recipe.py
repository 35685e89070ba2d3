"""The recipe: what is refused, how it is said, and what the command line may change."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import warnings
from pathlib import Path

import pytest
import tomli_w

from headstart.catalogue import read_recipe, recipe_schema
from headstart.errors import HeadstartError, RecipeError, RenamedKeyWarning
from headstart.recipe import Search
from headstart.report.folder import RECIPE, check_free, checkpoints_of
from headstart.transfer.strategies import head_of

MINIMAL = (
    'task = "image_classification"\n[data]\nsource = "photos"\n[model]\nbackbone = "resnet18"\n'
)


def write(folder: Path, text: str) -> Path:
    path = folder / "cats.toml"
    path.write_text(text)
    return path


def test_defaults_and_output_named_after_the_file(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, MINIMAL))
    assert recipe.output == "runs/cats"
    assert recipe.transfer.strategy == "fine_tune"
    assert recipe.train.schedule.name == "cosine"


def test_all_problems_come_at_once_with_key_and_nearest_name(tmp_path: Path) -> None:
    text = (
        MINIMAL
        + '[train]\nepoch = 3\nlr = -1.0\nbatch_size = "8"\n[transfer]\nstrategy = "finetune"\n'
    )
    with pytest.raises(HeadstartError) as caught:
        read_recipe(write(tmp_path, text))
    message = str(caught.value)
    assert "4 problems" in message
    assert "cats.toml: train.epoch: unknown key (found 3); did you mean 'epochs'?" in message
    assert "train.lr: found -1.0; expected greater than 0" in message
    assert "train.batch_size: found '8'; expected a valid integer" in message
    assert "transfer.strategy: unknown strategy 'finetune'; did you mean 'fine_tune'?" in message


def test_overrides_are_toml_values_and_bare_words_strings(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL + '[train]\nschedule = "step"\n')
    overrides = [
        "train.epochs=1",
        "model.head.hidden=[256]",
        "model.backbone=resnet34",
        "train.schedule.every=3",
    ]
    recipe = read_recipe(path, overrides)
    assert recipe.train.epochs == 1
    assert recipe.model.head.hidden == (256,)
    assert recipe.model.backbone == "resnet34"
    assert (recipe.train.schedule.name, recipe.train.schedule.every) == ("step", 3)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("train.epochs", "expected key=value"),
        ("train.epoch=1", "command line: train.epoch: unknown key"),
        ("train.epochs=two", "command line: train.epochs: found 'two'; expected a valid integer"),
        ("data.validation=1.5", "data.validation: found 1.5; expected less than 1"),
        ("transfer.freeze=stem", "belongs to strategy 'partial'"),
        ("transfer.strategy=partial", "exactly one of transfer.last_blocks"),
        ("train.selection=test data.validation=0.2", "set data.validation = 0.0"),
        ("model.head.dropout=[0.1,0.2,0.3]", "dropout has 3 values"),
        ("evaluate.baselines=['scrach']", "did you mean 'scratch'?"),
        ("data.train=x", "keep one of them"),
        (
            "model.preprocessing.grey_range=[5,5]",
            "found [5.0, 5.0]; expected [low, high] with low < high",
        ),
        ("task=image", "unknown task 'image'"),
        ("train.label-smoothing=0.1", "train.label-smoothing: unknown key (found 0.1)"),
        ("train.odd[key=3", "train.odd[key: unknown key (found 3)"),
        (
            "model.head.classifier=RandomForest",
            "unknown classifier 'RandomForest'; did you mean 'RandomForestClassifier'",
        ),
        (
            "model.head.classifier=SVC",
            "is fitted on frozen features; set transfer.strategy = 'feature_extraction'",
        ),
        ("model.head={classifier='SVC',hidden=[8]}", "has no hidden layers and no dropout"),
        (
            "model.head={classifier='gradient',options={C=1}}",
            "options are those of a scikit-learn classifier",
        ),
        (
            "transfer.strategy=feature_extraction augment.policy=crop",
            "cannot look different each epoch",
        ),
        ("model.head={classifier='SVC',options={C=inf}}", "C: found inf; expected a finite number"),
        (
            "model.head={classifier='SVC',options={class_weight={a=1}}}",
            "expected a finite number, a string",
        ),
        ("train.batch_size=automatic", "found 'automatic'; expected a valid integer, or 'auto'"),
        ("data.source=https://example.org/photos.zip", "its checksum is needed: add sha256"),
        ("data.sha256=beef", "data.sha256: found 'beef'; expected 64 hexadecimal digits"),
        ("evaluate.baselines=['partial']", "exactly one of transfer.last_blocks"),
    ],
)
def test_bad_values_are_named(tmp_path: Path, override: str, said: str) -> None:
    with pytest.raises(HeadstartError, match=".*") as caught:
        read_recipe(write(tmp_path, MINIMAL), override.split())
    assert said in str(caught.value)


def test_scratch_with_frozen_blocks_is_refused(tmp_path: Path) -> None:
    frozen = ["transfer.strategy=scratch", "transfer.freeze=stem"]
    message = "transfer.freeze belongs to strategy 'partial'; found strategy 'scratch'"
    with pytest.raises(HeadstartError, match=message):
        read_recipe(write(tmp_path, MINIMAL), frozen)


@pytest.mark.parametrize("text", ["task = ", "\x00", "[data]\n[data]\n"])
def test_what_is_no_toml_is_said_to_be_none(tmp_path: Path, text: str) -> None:
    with pytest.raises(HeadstartError, match="not valid TOML"):
        read_recipe(write(tmp_path, text))


def test_a_missing_file_lists_the_recipes_there_are(tmp_path: Path) -> None:
    write(tmp_path, MINIMAL)
    with pytest.raises(HeadstartError, match=r"no such recipe file; did you mean '.*cats\.toml'"):
        read_recipe(tmp_path / "cat.toml")


def test_resolved_round_trip_and_digest(tmp_path: Path) -> None:
    import tomli_w

    recipe = read_recipe(
        write(tmp_path, MINIMAL), ["transfer.strategy=partial", "transfer.last_blocks=1"]
    )
    again = tmp_path / "again.toml"
    again.write_text(tomli_w.dumps(recipe.resolved()))
    assert read_recipe(again) == recipe
    assert read_recipe(again, ["output=elsewhere"]).digest() == recipe.digest()
    assert read_recipe(again, ["seed=1"]).digest() != recipe.digest()


def test_a_recipe_is_frozen(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, MINIMAL))
    with pytest.raises(ValueError, match="frozen"):
        recipe.seed = 3  # type: ignore[misc]


def test_schema_knows_the_registered_names() -> None:
    schema = recipe_schema()
    assert "fine_tune" in schema["$defs"]["Transfer"]["properties"]["strategy"]["enum"]
    assert schema["properties"]["task"]["enum"] == [
        "embedding_classification",
        "image_classification",
        "text_classification",
    ]
    assert "output" not in schema["required"]
    assert schema["additionalProperties"] is False


def test_reading_a_recipe_imports_no_torch(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    code = (
        "import sys, headstart; from headstart.catalogue import read_recipe; "
        f"read_recipe({str(path)!r}); "
    )
    code += (
        "assert not {'torch', 'transformers', 'timm', 'sklearn'} & set(sys.modules), 'heavy "
        "imports'"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_importing_headstart_imports_nothing_else() -> None:
    code = (
        "import sys, headstart; assert not {'torch', 'pydantic', 'typer', 'numpy'} & "
        "set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_how_a_head_is_fitted(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    probe = ["transfer.strategy=feature_extraction"]
    assert head_of(read_recipe(path)).classifier is None
    assert head_of(read_recipe(path, probe)).classifier == "logistic_regression"
    assert head_of(read_recipe(path, [*probe, "model.head.hidden=[8]"])).classifier == "gradient"
    assert head_of(read_recipe(path, [*probe, "model.head.dropout=0.1"])).classifier == "gradient"
    forest = 'model.head={classifier="RandomForestClassifier",options={n_estimators=9}}'
    head = head_of(read_recipe(path, [*probe, forest]))
    assert (head.classifier, head.options, head.is_estimator) == (
        "RandomForestClassifier",
        {"n_estimators": 9},
        True,
    )
    rival = read_recipe(path, [forest, 'evaluate.baselines=["feature_extraction"]'])
    assert (head_of(rival).is_estimator, head_of(rival).options) == (False, {})
    assert head_of(rival.with_changes(transfer={"strategy": "feature_extraction"})).is_estimator


def test_checksums_in_capitals(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, MINIMAL), [f"data.sha256={'AB' * 32}"])
    assert recipe.data.sha256 == "ab" * 32


def test_old_names_of_keys_still_work_with_a_note(tmp_path: Path) -> None:
    new = write(tmp_path, MINIMAL + '[evaluate]\nbaselines = ["scratch"]\n')
    recipe = read_recipe(new, ["train.selection=test", "data.validation=0.0"])
    old = write(tmp_path, MINIMAL + '[evaluate]\nbeside = ["scratch"]\n')
    with pytest.warns(RenamedKeyWarning) as notes:
        again = read_recipe(old, ["train={select_on='test'}", "data.validation=0.0"])
    assert again == recipe
    assert [str(note.message) for note in notes] == [
        "evaluate.beside is now called evaluate.baselines; the old name still works",
        "train.select_on is now called train.selection; the old name still works",
    ]
    with pytest.warns(RenamedKeyWarning, match=r"evaluate\.beside is now called"):
        assert read_recipe(new, ["evaluate.beside=[]"]).evaluate.baselines == ()
    space = {"space": {"evaluate.beside": [["scratch"], []]}}
    with pytest.warns(RenamedKeyWarning, match=r"evaluate\.beside is now called"):
        assert Search.model_validate(space).space == {"evaluate.baselines": [["scratch"], []]}
    fields = recipe.resolved()
    fields["evaluate"]["beside"] = fields["evaluate"].pop("baselines")
    fields["train"]["select_on"] = fields["train"].pop("selection")
    del fields["output"]
    stated = hashlib.sha256(json.dumps(fields, sort_keys=True).encode()).hexdigest()
    assert recipe.digest() == stated, "as an earlier version states it"


def test_a_key_under_both_its_names_is_an_error(tmp_path: Path) -> None:
    path = write(tmp_path, MINIMAL)
    both = ["evaluate.beside=[]", "evaluate.baselines=[]"]
    message = r"evaluate\.beside is the old name of evaluate\.baselines, and both are given"
    with pytest.raises(RecipeError, match=f"command line: {message}; remove evaluate.beside"):
        read_recipe(path, both)
    path = write(tmp_path, f"{MINIMAL}[evaluate]\nbeside = []\nbaselines = []\n")
    with pytest.raises(RecipeError, match=rf"cats\.toml: {message}"):
        read_recipe(path)
    with pytest.raises(ValueError, match=message):
        Search.model_validate({"space": {key.partition("=")[0]: [1] for key in both}})


def test_runs_under_the_old_names_are_those_of_the_same_recipe(tmp_path: Path) -> None:
    recipe = read_recipe(write(tmp_path, MINIMAL), [f'output="{tmp_path}/run"'])
    text = tomli_w.dumps(recipe.resolved())
    old = text.replace("baselines =", "beside =").replace("\nselection =", "\nselect_on =")
    assert old != text
    for folder in (tmp_path / "run", checkpoints_of(recipe)):
        folder.mkdir()
        (folder / RECIPE).write_text(old)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_free(recipe)
        with pytest.raises(HeadstartError, match=r"train\.selection: 'validation' there, 'test'"):
            check_free(recipe.with_changes(train={"selection": "test"}))
