"""What a network remembers: kept as JSON, read back equal, older versions brought up to date."""

from __future__ import annotations

import json
import re
import zipfile
from typing import Any

import pytest
from pydantic import ValidationError

from headstart.errors import HeadstartError
from headstart.models.spec import ImageSpec, Spec, TextSpec, WordVectorSpec, parse_spec
from tests.test_old_runs import VERSION_0


def old(run: str) -> dict[str, Any]:
    """The spec of a run of version 0."""
    with zipfile.ZipFile(VERSION_0) as archive:
        values: dict[str, Any] = json.loads(archive.read(f"runs/{run}/model/config.json"))
    return values


@pytest.mark.parametrize(
    ("run", "kind"),
    [("image", ImageSpec), ("text", TextSpec), ("lora", TextSpec), ("words", WordVectorSpec)],
)
def test_a_spec_of_version_0_keeps_all_its_values(run: str, kind: type[Spec]) -> None:
    before = old(run)
    spec = parse_spec(json.dumps(before), "config.json")
    assert type(spec) is kind
    assert spec.version == 1
    assert parse_spec(spec.model_dump_json(), "config.json") == spec
    origin = before.pop("pretrained")
    assert spec.pretrained
    assert (spec.pretrained.source, spec.pretrained.sha256) == (origin["from"], origin["sha256"])
    assert spec.pretrained.name == origin.get("name", origin["from"])
    after = spec.model_dump(mode="json")
    if run == "image":
        assert after["preprocessing"].pop("grey_range") is None
    assert {key: after[key] for key in before} == before


def test_features_of_version_0_are_found_again() -> None:
    """The parts of their address are those that they were kept under."""
    for run in ("image", "text", "words"):
        before = old(run)
        parts = [before.get(key) for key in ("backbone", "config", "dense")]
        expected = [*parts, before["pretrained"]["sha256"], before["preprocessing"]]
        assert parse_spec(json.dumps(before), "config.json").features_key() == expected


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"kind": "audio"}, "damaged (kind: found"),
        ({"kind": None}, "damaged (kind: found"),
        ({"classes": "2"}, "damaged (classes: found '2'"),
        ({"labels": 3}, "damaged (TypeError"),
        ({"preprocessing": {"input_size": [3, 32, 5000]}}, "preprocessing.input_size.2: found"),
        ({"unknown": 1}, "damaged (unknown: found '1'; Extra inputs are not permitted"),
    ],
)
def test_a_damaged_spec_is_one_message(change: dict[str, Any], said: str) -> None:
    with pytest.raises(HeadstartError, match=re.escape(said)) as refused:
        parse_spec(json.dumps(old("image") | change), "run/model/config.json")
    assert str(refused.value).startswith("run/model/config.json: damaged (")
    assert "\n" not in str(refused.value)


def test_a_spec_of_a_newer_version_says_so() -> None:
    with pytest.raises(HeadstartError, match="has a spec of version 2; expected 1 or older"):
        parse_spec(json.dumps(old("image") | {"version": 2}), "config.json")


@pytest.mark.parametrize("content", ["", "[]", "{", "3", '{"kind": "vision"}', "[" * 100_000])
def test_what_is_no_spec_is_one_message(content: str) -> None:
    with pytest.raises(HeadstartError, match=r"^config\.json: damaged \("):
        parse_spec(content, "config.json")


def test_a_spec_cannot_be_changed_in_place() -> None:
    spec = parse_spec(json.dumps(old("image")), "config.json")
    with pytest.raises(ValidationError, match="frozen"):
        spec.classes = 3
