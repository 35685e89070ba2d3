"""Finished runs as files for other programs."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import headstart
from headstart.commands import export as export_module
from headstart.commands.export import SUFFIXES, export
from headstart.errors import HeadstartError
from headstart.inference.agreement import Agreement
from tests.conftest import NEGATIVE, PLAIN, POSITIVE, MakeRun, reviews, save_bert
from tests.test_cli import call

Capture = pytest.CaptureFixture[str]


def some(kind: str, photos: Path) -> list[str]:
    """Examples of several sizes."""
    return (
        sorted(map(str, (photos / "test").rglob("*.png")))
        if kind == "image"
        else [text for text, _ in reviews(50, seed=8)]
    )


@pytest.mark.parametrize("kind", ["image", "text"])
def test_an_onnx_file_says_what_the_run_says(
    make_run: MakeRun, photos: Path, tmp_path: Path, kind: str, capsys: Capture
) -> None:
    run, out = make_run(kind), tmp_path / "model.onnx"
    assert call("export", run, "--to", "onnx", "--out", out) == 0
    assert (
        " of 18 examples get the label" in (said := capsys.readouterr().out)
        or " of 40 examples" in said
    )
    items = some(kind, photos)
    before, after = headstart.load(run), headstart.load(out)
    assert after.labels == before.labels
    np.testing.assert_allclose(after.probabilities(items), before.probabilities(items), atol=1e-5)
    for item in items[:3]:  # alone: other sizes of batch and text
        np.testing.assert_allclose(
            after.probabilities([item]), before.probabilities([item]), atol=1e-5
        )
    both = headstart.load([run, out]).probabilities(items)
    np.testing.assert_allclose(both, before.probabilities(items), atol=1e-5)
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]
    assert call("export", run, "--to", "onnx", "--out", out) == 2
    assert "is there already" in capsys.readouterr().err


@pytest.mark.parametrize("to", ["onnx", "torch_export", "hf"])
def test_no_path_of_this_machine_is_exported(make_run: MakeRun, tmp_path: Path, to: str) -> None:
    run = make_run("text", "feature_extraction")
    source = headstart.load(run).members[0].spec.pretrained.source
    path = export(str(run), to, out=tmp_path / f"model{SUFFIXES[to]}").path
    files = [path] if path.is_file() else [file for file in path.rglob("*") if file.is_file()]
    content = b"".join(file.read_bytes() for file in files)
    assert Path(source).is_dir()
    for place in (source, str(Path(torch.__file__).parent), str(Path(headstart.__file__).parent)):
        assert place.encode() not in content


@pytest.mark.parametrize("kind", ["image", "text"])
def test_int8_is_smaller_and_says_nearly_the_same(
    make_run: MakeRun, bert: Path, photos: Path, tmp_path: Path, kind: str
) -> None:
    run = make_run(kind, train={"epochs": 4, "lr": 5e-3})
    if kind == "text":
        wide = save_bert(tmp_path / "wide", [f"word{n}" for n in range(4_000)], hidden_size=64)
        run = make_run(kind, train={"epochs": 4, "lr": 1e-3}, model={"backbone": str(wide)})
    whole = export(str(run), "onnx", out=tmp_path / "whole.onnx")
    small = export(str(run), "onnx", int8=True, out=tmp_path / "small.onnx")
    assert small.bytes < 0.5 * whole.bytes
    assert small.agreement.same >= 0.98 * small.agreement.examples
    items = some(kind, photos)
    found = headstart.load(small.path).probabilities(items)
    np.testing.assert_allclose(found.sum(1), 1, atol=1e-5)
    difference = found - headstart.load(whole.path).probabilities(items)
    assert 0 < np.abs(difference).max() < 0.2


@pytest.mark.parametrize(("kind", "look"), [("image", {}), ("text", {"pooling": "last"})])
def test_a_torch_file_runs_by_itself(
    make_run: MakeRun, photos: Path, tmp_path: Path, kind: str, look: dict[str, Any]
) -> None:
    run = (
        make_run(kind, seed=20 + len(look), model={"preprocessing": look})
        if look
        else make_run(kind)
    )
    found = export(str(run), "torch_export", out=tmp_path / "model.pt2")
    assert found.agreement.same == found.agreement.examples
    held = {"headstart.json": "", **({"tokenizer.json": ""} if kind == "text" else {})}
    program = torch.export.load(found.path, extra_files=held).module()
    spec, model = json.loads(held["headstart.json"]), headstart.load(run)
    assert spec["labels"] == list(model.labels)
    preprocessor, items = model.members[0].preprocessor, some(kind, photos)[:7]
    batch = preprocessor.collate([preprocessor(item) for item in items])
    np.testing.assert_allclose(
        program(*(batch[name] for name in spec["inputs"])), model.probabilities(items), atol=1e-5
    )
    if kind == "text":
        from tokenizers import Tokenizer

        assert (
            Tokenizer.from_str(held["tokenizer.json"]).encode(items[0]).ids
            == preprocessor.collate([preprocessor(items[0])])["input_ids"][0].tolist()
        )


def as_printed(line: str) -> Any:
    """What a printed line of Python gives."""
    import timm
    import transformers

    return eval(line, {"timm": timm, "transformers": transformers})


def scores(classify: Any, items: list[str], labels: tuple[str, ...]) -> np.ndarray:
    """What a pipeline gives for examples, one by one."""
    rows = [
        {found["label"]: found["score"] for found in classify(item, top_k=len(labels))}
        for item in items
    ]
    return np.array([[row[label] for label in labels] for row in rows])


# the second reads pictures of one size only
@pytest.mark.parametrize("backbone", ["test_resnet", "test_vit"])
def test_a_folder_of_images_is_for_timm_and_transformers(
    make_run: MakeRun, photos: Path, tmp_path: Path, backbone: str, capsys: Capture
) -> None:
    run, out = (
        make_run("image", seed=8 + len(backbone), model={"backbone": backbone}),
        tmp_path / "folder",
    )
    assert call("export", run, "--to", "hf", "--out", out) == 0
    *_, timms, theirs = capsys.readouterr().out.splitlines()
    assert (timms[:8], theirs[:4]) == ("use it: ", "or: ")
    model, items = headstart.load(run), some("image", photos)
    wanted = model.probabilities(items)
    np.testing.assert_allclose(
        scores(as_printed(theirs[4:]), items, model.labels), wanted, atol=1e-5
    )
    preprocessor = model.members[0].preprocessor
    network = as_printed(timms[8:]).eval()
    assert tuple(network.pretrained_cfg["input_size"]) == (3, 32, 32)
    with torch.inference_mode():
        found = network(
            preprocessor.collate([preprocessor(item) for item in items])["pixel_values"]
        ).softmax(-1)
    np.testing.assert_allclose(found, wanted, atol=1e-5)
    card = (out / "README.md").read_text(encoding="utf-8")
    assert f"| accuracy | {headstart.Report.read(run).test.accuracy.value:.3f} |" in card
    assert all(
        f"import {line.partition('.')[0]}\n\n{line}\n" in card for line in (timms[8:], theirs[4:])
    )
    assert not list(tmp_path.glob(".*"))


def test_how_files_are_opened_is_no_matter_of_an_exported_folder(
    make_run: MakeRun, tmp_path: Path
) -> None:
    """Greys of more than 8 bits, and a picture of which the network sees the middle."""
    random = np.random.default_rng(0)
    for part, count in (("train", 6), ("test", 4)):
        for label, level in (("dark", 300), ("light", 900)):
            (tmp_path / "deep" / part / label).mkdir(parents=True)
            for number in range(count):
                shape = (40, 1203) if (number, label) == (0, "dark") else (40, 40)
                pixels = random.normal(level, 200, shape).clip(0, 1023).astype(np.uint16)
                Image.fromarray(pixels).save(tmp_path / "deep" / part / label / f"{number}.png")
    run = make_run("image", seed=6, data={"source": str(tmp_path / "deep")})
    found = export(str(run), "hf", out=tmp_path / "folder")
    assert found.agreement.largest < 1e-5
    assert (
        "Greys of more than 8 bits are read with 0 as black"
        in (tmp_path / "folder" / "README.md").read_text()
    )


@pytest.mark.parametrize(
    ("pooling", "leftovers"),
    [
        ("mean", {"problem_type": "regression", "num_labels": 1}),
        ("pooler", {"problem_type": "regression", "num_labels": 1}),
        (
            "pooler",
            {
                "problem_type": "multi_label_classification",
                "num_labels": 3,
                "function_to_apply": "sigmoid",
            },
        ),
    ],
)
def test_a_folder_of_texts_is_for_a_pipeline(
    make_run: MakeRun, tmp_path: Path, pooling: str, leftovers: dict[str, Any]
) -> None:
    """Whatever task the backbone was used for before, the printed line has the run's probabilities,
    also of long texts."""
    backbone = save_bert(
        tmp_path / "bert", [*POSITIVE, *NEGATIVE, *PLAIN], initializer_range=0.3, **leftovers
    )
    before = {"backbone": str(backbone), "preprocessing": {"pooling": pooling, "max_length": 12}}
    path = make_run(
        "text", "feature_extraction", 10 + len(pooling) + len(str(leftovers)), model=before
    )
    found = export(str(path), "hf", out=tmp_path / "folder")
    (line,) = found.uses
    assert (
        ("trust_remote_code" in line)
        == (pooling == "mean")
        == bool(list((tmp_path / "folder").glob("*.py")))
    )
    model, items = headstart.load(path), [*some("text", tmp_path), "good film " * 200]
    wanted = model.probabilities(items)
    assert np.ptp(wanted[:, 0]) > 0.02
    np.testing.assert_allclose(scores(as_printed(line), items, model.labels), wanted, atol=1e-5)
    config = json.loads((tmp_path / "folder" / "config.json").read_text())
    assert config["problem_type"] == "single_label_classification"
    assert "function_to_apply" not in config


SURE = np.tile([[0.9, 0.1], [0.2, 0.8]], (20, 1))


def changed(rows: int, by: float = 0.0) -> np.ndarray:
    """`SURE` with so many labels changed, and every probability moved."""
    turned = SURE.copy()
    turned[:rows] = turned[:rows, ::-1]
    return turned + np.array([by, -by])


@pytest.mark.parametrize(
    ("file", "int8", "fault"),
    [
        (changed(0, 9e-4), False, None),
        (changed(0, 2e-3), False, r"by up to 0\.002 \(expected at most 0\.001\), and 0 of 40 "),
        (changed(1), False, r"and 1 of 40 examples get another label.*headstart serve RUN"),
        (SURE * np.nan, False, "by up to nan"),
        (changed(0, 0.05), True, None),
        (changed(1), True, None),  # 2 % of 40, rounded up
        (
            changed(2),
            True,
            r"2 of 40 examples get another label; expected at most 1, .* without --int8",
        ),
    ],
)
def test_a_file_is_kept_by_what_it_says_beside_the_weights_in_float32(
    file: np.ndarray, int8: bool, fault: str | None
) -> None:
    # however far the run's own number format is from it
    found = Agreement(file, SURE, changed(9), "bf16")
    if fault is None:
        return found.check("RUN", "onnx", int8)
    with pytest.raises(HeadstartError, match=f"RUN: .*{fault}"):
        found.check("RUN", "onnx", int8)


def test_what_a_number_format_costs_is_said_beside_the_labels(
    make_run: MakeRun, tmp_path: Path
) -> None:
    run = make_run("image", seed=3, train={"precision": "bf16"})
    found = export(str(run), "torch_export", out=tmp_path / "model.pt2").agreement
    assert (found.same, found.precision) == (found.examples, "bf16")
    assert found.largest < 1e-5 < np.abs(found.file - found.run).max()
    labels = np.arange(40) % 2
    lines = Agreement(SURE, SURE, changed(2), "bf16", labels).lines()
    assert lines[1].endswith(
        "bf16, and 38 of 40 get its label; accuracy 1.000, of the run 0.950 (+5.0 points [-3.2, "
        "+12.7], p = 0.5)"
    )


def test_what_says_something_else_is_not_kept(
    make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run("image")

    def wrong(
        member: Any, draft: Path, path: Path, checked: list[Any], calibrated: list[Any]
    ) -> dict[str, np.ndarray]:
        draft.write_bytes(b"draft")
        return {"": np.roll(headstart.load(run).probabilities(checked), 1, axis=1)}

    monkeypatch.setitem(export_module.WRITERS, "torch_export", wrong)
    with pytest.raises(
        HeadstartError,
        match=r"differ by up to .* \(expected at most 0\.001\), "
        r"and \d+ of 18 examples .* not kept.* headstart serve",
    ):
        export(str(run), "torch_export", out=tmp_path / "model.pt2")
    assert not list(tmp_path.iterdir())


def test_what_cannot_be_exported_is_one_message(
    make_run: MakeRun, tmp_path: Path, capsys: Capture
) -> None:
    forest = {"classifier": "RandomForestClassifier", "options": {"n_estimators": 5}}
    run = make_run("text", "feature_extraction", model={"head": forest})
    wrong = {
        ("--to", "onnx"): "scikit-learn classifier, which cannot be exported",
        ("--to", "onx"): "expected onnx, torch_export, hf",
        ("--to", "hf", "--int8"): "goes with --to onnx only",
        ("--to", "onnx", "--out", str(tmp_path / "a.bin")): "ends in .onnx",
        ("--to", "onnx", "--examples", str(tmp_path / "gone.txt")): "no such file",
    }
    for options, said in wrong.items():
        assert call("export", run, *options) == 2
        assert said in capsys.readouterr().err
    deep = make_run("image", model={"head": {"hidden": [8]}})
    assert call("export", deep, "--to", "hf") == 2
    assert "linear head only" in capsys.readouterr().err
    assert call("export", deep, "--to", "onnx", "--out", tmp_path / "deep.onnx") == 0


def test_a_file_whose_labels_or_size_do_not_fit_is_one_message(
    make_run: MakeRun, tmp_path: Path
) -> None:
    import onnx

    export(str(make_run("image")), "onnx", out=tmp_path / "model.onnx")
    for change in (
        {"labels": ["a"], "classes": 1},
        {"labels": list("abcd"), "classes": 4},
        {"backbone": 1, "labels": []},
    ):
        model = onnx.load(tmp_path / "model.onnx")
        (held,) = [one for one in model.metadata_props if one.key == "headstart"]
        held.value = json.dumps({**json.loads(held.value), **change})
        onnx.save(model, tmp_path / "odd.onnx")
        with pytest.raises(HeadstartError, match="no exported model"):
            headstart.load(tmp_path / "odd.onnx")


def test_a_file_that_is_no_export_is_one_message(
    make_run: MakeRun, tmp_path: Path, capsys: Capture
) -> None:
    (tmp_path / "x.onnx").write_bytes(b"nothing")
    for path, said in {"x.onnx": "no exported model", "gone.onnx": "no such file"}.items():
        assert call("predict", tmp_path / path, "a film") == 2
        assert said in capsys.readouterr().err
