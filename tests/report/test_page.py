"""report.html: what a reader finds in it, and that nothing in it can cost a finished run."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from headstart.commands.run import run
from headstart.evaluate.results import Estimate
from headstart.models.text import TextNetwork
from headstart.models.vision import VisionNetwork
from headstart.report.html import axis_limits
from tests.conftest import WriteRecipe, reviews, write_table


def page_of(folder: Path) -> str:
    return (folder / "report.html").read_text(encoding="utf-8")


def test_curves_confusions_and_examples_of_images(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    report = run(write_recipe(train={"epochs": 3}))
    page = page_of(tmp_path / "run")
    assert page.count("<svg") == 4, "two of the course, calibration, and the error of fewer answers"
    assert page.count("data:image/jpeg;base64,") % 2 == 0, "each image and what spoke for its class"
    assert page.count("data:image/jpeg;base64,") >= 12
    rows = re.findall(r'<table class="matrix">.*?</table>', page, flags=re.DOTALL)
    counted = [int(cell) for cell in re.findall(r">(\d+)</td>", rows[0])]
    assert sum(counted) == report.test.n
    assert report.calibration is not None
    assert f"the validation part is {report.calibration.temperature:.2f}" in page
    assert "<script" not in page
    low, high = axis_limits([report.test.accuracy])
    drawn = re.search(
        r'class="span" style="left:([\d.]+)%;width:([\d.]+)%.*?'
        r'class="estimate" style="left:([\d.]+)%',
        page,
    )
    accuracy, (low, high) = report.test.accuracy, axis_limits([report.test.accuracy])
    expected = np.array(
        [accuracy.low - low, accuracy.high - accuracy.low, accuracy.value - low]
    ) / (high - low)
    assert drawn
    assert [float(share) for share in drawn.groups()] == pytest.approx(100 * expected, abs=0.06)


@pytest.mark.parametrize(
    ("intervals", "ends"),
    [
        ([(0.84, 0.90)], (0.8, 0.9)),
        ([(0.84, 0.90), (0.43, 0.51)], (0.4, 0.9)),
        ([(1.0, 1.0)], (0.9, 1.0)),
        ([(0.0, 0.0)], (0.0, 0.1)),
    ],
)
def test_an_axis_shows_all_intervals_as_large_as_can_be(
    intervals: list[tuple[float, float]], ends: tuple[float, float]
) -> None:
    assert axis_limits(
        [Estimate(value=low, low=low, high=high) for low, high in intervals]
    ) == pytest.approx(ends)


def test_texts_are_marked_word_by_word_whatever_they_hold(
    write_recipe: WriteRecipe, tmp_path: Path
) -> None:
    folder = tmp_path / "films"
    write_table(folder / "train.tsv", reviews(60))
    write_table(
        folder / "test.tsv",
        [("good film <script>alert(1)</script> 电影", "pos"), *reviews(9, seed=3)],
    )
    run(write_recipe(task="text_classification", data={"source": str(folder)}))
    page = page_of(tmp_path / "run")
    assert 'style="background:rgba(' in page
    assert "<script" not in page
    shown = re.sub(r"<[^>]+>", "", page)
    assert "good film &lt;script&gt;alert(1)&lt;/script&gt; 电影" in shown


@pytest.mark.parametrize(
    ("task", "kind"),
    [("image_classification", VisionNetwork), ("text_classification", TextNetwork)],
)
def test_a_network_that_cannot_be_asked_costs_no_run(
    task: str,
    kind: type,
    write_recipe: WriteRecipe,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def broken(*_: object) -> None:
        raise RuntimeError("no such layer")

    monkeypatch.setattr(kind, "attribute", broken)
    run(write_recipe(task=task, train={"epochs": 1}))
    assert "Right, at random" in page_of(tmp_path / "run")


def test_frozen_features_have_no_held_out_part_and_say_so(
    write_recipe: WriteRecipe, tmp_path: Path, weights: Path
) -> None:
    report = run(
        write_recipe(transfer={"strategy": "feature_extraction"}, model={"weights": str(weights)})
    )
    assert report.calibration is None
    assert "No temperature and no thresholds" in page_of(tmp_path / "run")
