"""A finished run behind HTTP."""

from __future__ import annotations

import asyncio
import base64
import io
import json
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from starlette.testclient import TestClient

import headstart
from headstart.inference.batcher import Batcher, OverloadedError
from headstart.inference.limits import Bounded, Limits, RefusedError
from tests.conftest import MakeRun, reviews
from tests.inference.serving import served
from tests.test_cli import call


def files(paths: list[Path]) -> list[tuple[str, tuple[str, bytes, str]]]:
    return [("image", (path.name, path.read_bytes(), "image/png")) for path in paths]


def post(client: TestClient, content: bytes, kind: str) -> Any:
    return client.post("/predict", content=content, headers={"content-type": kind})


def chances(answer: Any) -> list[list[float]]:
    assert answer.status_code == 200, answer.text
    return [list(one["probabilities"].values()) for one in answer.json()["predictions"]]


def test_images_come_as_files_as_a_body_or_in_base64(make_run: MakeRun, photos: Path) -> None:
    run, paths = make_run("image"), sorted((photos / "test").rglob("*.png"))[:5]
    said = headstart.load(run).probabilities(paths)
    written = [base64.b64encode(path.read_bytes()).decode() for path in paths]
    with served(run) as client:
        np.testing.assert_allclose(
            chances(client.post("/predict", files=files(paths))), said, atol=1e-6
        )
        np.testing.assert_allclose(
            chances(client.post("/predict", json={"image": written})), said, atol=1e-6
        )
        one = post(client, paths[0].read_bytes(), "image/png")
        np.testing.assert_allclose(chances(one), said[:1], atol=1e-6)
        lines = base64.encodebytes(paths[1].read_bytes()).decode()
        url_safe = base64.urlsafe_b64encode(paths[1].read_bytes()).decode()
        forms = [
            f"data:image/png;base64,{written[1]}",
            f" Data:;base64,{lines}",
            lines.replace("\n", "\r\n"),
        ]
        forms += [url_safe, url_safe.rstrip("=")]
        answer = (
            client.post("/predict", json={"image": forms[:3]}),
            client.post("/predict", json={"image": forms[3:]}),
        )
        np.testing.assert_allclose(
            np.concatenate([chances(one) for one in answer]), said[[1] * 5], atol=1e-6
        )
        best = one.json()["predictions"][0]
        assert (
            best["probability"]
            == max(best["probabilities"].values())
            == best["probabilities"][best["label"]]
        )


def test_texts_come_as_json(make_run: MakeRun) -> None:
    run, texts = make_run("text"), [text for text, _ in reviews(40, seed=3)]
    said = headstart.load(run).probabilities(texts)
    half = b'{"text": "half a \\ud83d character"}'
    with served(run) as client:
        np.testing.assert_allclose(
            chances(client.post("/predict", json={"text": texts})), said, atol=1e-6
        )
        np.testing.assert_allclose(
            chances(client.post("/predict", json={"text": texts[0]})), said[:1], atol=1e-6
        )
        assert len(chances(post(client, half, "application/json"))) == 1


def test_what_is_too_uncertain_gets_no_label(make_run: MakeRun) -> None:
    run, texts = make_run("text"), [text for text, _ in reviews(20, seed=3)]
    least = float(
        np.median(
            [said.probability for said in headstart.load(run, refuse_below=0.01).predict(texts)]
        )
    )
    wanted = headstart.load(run, refuse_below=least).predict(texts)
    with served(run, refuse_below=least) as client:
        said = client.post("/predict", json={"text": texts}).json()["predictions"]
        assert client.get("/info").json()["refuse_below"] == least
        described = client.get("/openapi.json").json()["components"]["schemas"]["LabelledExample"][
            "properties"
        ]
    assert [(one["label"], one["refused"]) for one in said] == [
        (one.label, one.refused) for one in wanted
    ]
    assert {one["refused"] for one in said} == {True, False}
    assert "--refuse-below" in described["refused"]["description"]


def test_many_at_once_get_each_their_own_answer(make_run: MakeRun) -> None:
    run, texts = make_run("text"), [text for text, _ in reviews(120, seed=3)]
    said = headstart.load(run).probabilities(texts)
    with served(run) as client, ThreadPoolExecutor(16) as pool:
        answers = list(
            pool.map(lambda text: chances(client.post("/predict", json={"text": text}))[0], texts)
        )
    np.testing.assert_allclose(answers, said, atol=1e-6)


def test_what_is_served_is_told(make_run: MakeRun) -> None:
    runs = [make_run("image", seed=seed) for seed in (0, 1)]
    with served(runs) as client:
        assert client.get("/healthz").json() == {"status": "ok"}
        info = client.get("/info").json()
        assert (info["labels"], info["reads"], info["weights"]) == (
            ["blue", "green", "red"],
            "image",
            [0.5, 0.5],
        )
        assert (
            info["test"]["accuracy"]["value"] == headstart.Report.read(runs[0]).test.accuracy.value
        )
        assert 'task = "image_classification"' in info["recipe"]
        assert str(runs[0].parent) not in client.get("/").text
        assert "script-src 'unsafe-inline'" in client.get("/").headers["content-security-policy"]
        described = client.get("/openapi.json").json()["paths"]["/predict"]["post"]
        assert set(described["responses"]) >= {"200", "400", "408", "413", "415", "422", "503"}
        docs = client.get("/docs")
        assert docs.status_code == 200
        assert "//cdn" not in docs.text


def png(width: int, height: int) -> bytes:
    content = io.BytesIO()
    Image.new("1", (width, height)).save(content, "PNG")
    return content.getvalue()


SMALL = Limits(bytes=200_000, examples=4, pixels=1_000_000, characters=100)
PNG, JSON = {"content-type": "image/png"}, {"content-type": "application/json"}
TIFF, PNG_START = b"II*\0\x08\0\0\0", b"\x89PNG\r\n\x1a\n"
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n%%EndComments\nshowpage\n"
WRONG_IMAGES: dict[str, tuple[dict[str, Any], int, str]] = {
    "nothing": ({}, 415, "expected application/json, multipart/form-data or image/*"),
    "no image": ({"content": b"no image", "headers": PNG}, 422,
    "image 1: cannot be read (no picture"),
    "empty": ({"content": b"", "headers": PNG}, 422, "image 1: is empty"),
    "large": ({"content": b"x" * 300_000, "headers": PNG}, 413, "at most 200000 bytes"),
    "many pixels": ({"files": {"image": png(1_001, 1_000)}}, 413,
    "1001 x 1000 pixels; at most 1000000"),
    "many together": ({"files": [("image", png(800, 800))] * 2}, 413,
    "too many pixels together; at most 1000000"),
    "bomb": ({"files": {"image": png(60_000, 20_000)}}, 413, "pixels"),
    "truncated": ({"files": {"image": png(900, 900)[:60]}}, 422, "image 1: cannot be read"),
    "a program": ({"files": {"image": EPS}}, 422,
    "image 1: EPS is not taken here; send JPEG, PNG, "),
    "tiles": ({"files": {"image": TIFF}}, 422, "image 1: TIFF is not taken here; send JPEG, PNG, "),
    "half a png": ({"files": {"image": PNG_START}}, 422, "image 1: cannot be read"),
    "many": ({"files": [("image", png(8, 8))] * 5}, 400, "Too many files"),
    "many in json": ({"json": {"image": ["aaaa"] * 5}}, 422, "found 5 images; at most 4"),
    "no base64": ({"json": {"image": "?"}}, 422, "image 1: no base64"),
    "two alphabets": ({"json": {"image": "+_aa"}}, 422, "image 1: no base64"),
    "five characters": ({"json": {"image": "aaaaa"}}, 422, "image 1: no base64"),
    "a number": ({"json": {"image": [3]}}, 422, "image: found a number; expected"),
    "another key": ({"json": {"text": "a"}}, 422, "found an object with 'text'; expected"),
    "a list": ({"json": []}, 422, "found a list; expected"),
    "no images": ({"json": {"image": []}}, 422, "found no image"),
    "no json": ({"content": b"{", "headers": JSON}, 400, "no JSON"),
    "deep": ({"content": b"[" * 100_000, "headers": JSON}, 400, "no JSON"),
    "a field": ({"data": {"image": "a"}, "files": {"x": b"x"}}, 422,
    "expected files called 'image'"),
    "another field": ({"files": {"x": b"x"}}, 422, "found a field 'x'; expected files"),
    "a broken form": ({"content": b"--a", "headers": {"content-type": "multipart/form-data"}}, 400,
    "form cannot be read"),
}  # fmt: skip


@pytest.fixture(scope="module")
def image_client(make_run: MakeRun) -> Any:
    with served(make_run("image"), SMALL) as client:
        yield client


@pytest.mark.parametrize("case", WRONG_IMAGES)
def test_what_is_wrong_is_one_sentence(image_client: TestClient, case: str) -> None:
    request, status, said = WRONG_IMAGES[case]
    answer = image_client.post("/predict", **request)
    assert answer.status_code == status, answer.text
    assert set(answer.json()) == {"detail"}
    assert said in answer.json()["detail"]
    assert len(answer.json()["detail"]) < 200
    assert len(chances(image_client.post("/predict", files={"image": png(9, 9)}))) == 1


@pytest.mark.parametrize(
    ("body", "status", "said"),
    [
        ({"text": "a" * 101}, 422, "text 1: 101 characters; at most 100"),
        ({"text": ["fine", " "]}, 422, "text 2: is empty"),
        ({"text": None}, 422, "text: found null"),
        ({"image": "aaaa"}, 422, "found an object with 'image'"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_text(make_run: MakeRun, body: Any, status: int, said: str) -> None:
    with served(make_run("text"), SMALL) as client:
        answer = client.post("/predict", json=body)
        assert (answer.status_code, said in answer.json()["detail"]) == (status, True), answer.text
        assert client.post("/predict", files={"text": b"a film"}).status_code == 415


def test_too_many_at_once_are_told_to_come_again(make_run: MakeRun) -> None:
    with served(make_run("text"), Limits(all_examples=3)) as client:
        answer = client.post("/predict", json={"text": ["a film"] * 4})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        # none is counted twice
        assert client.post("/predict", json={"text": ["a film"] * 3}).status_code == 200
        assert client.post("/predict", json={"text": ["a film", ""]}).status_code == 422
        assert client.post("/predict", json={"text": ["a film"] * 3}).status_code == 200
    with served(make_run("text"), Limits(all_bytes=10)) as client:
        assert client.post("/predict", json={"text": "a long film"}).status_code == 503


def test_an_example_that_cannot_be_computed_spoils_no_other(
    make_run: MakeRun, monkeypatch: pytest.MonkeyPatch
) -> None:
    batcher = Batcher(lambda: headstart.load(make_run("text")), 64)
    preprocess, classify = batcher.predictor.preprocess, batcher.predictor.classify
    begin = threading.Event()

    def picky(encoded: Any) -> Any:
        begin.wait()
        if any(one is None for one in encoded):
            raise ValueError("odd")
        return classify(encoded)

    monkeypatch.setattr(batcher.predictor, "classify", picky)
    futures = [batcher.submit(one) for one in (preprocess("a film"), None, preprocess("fine"))]  # type: ignore[arg-type]
    begin.set()
    assert [type(future.exception(10)) for future in futures] == [
        type(None),
        ValueError,
        type(None),
    ]
    batcher.admit(64)
    with pytest.raises(OverloadedError):
        batcher.admit(1)
    batcher.close()


def test_a_class_cannot_put_code_into_the_page(make_run: MakeRun, tmp_path: Path) -> None:
    run = tmp_path / "<img src=x onerror=alert(1)>"
    shutil.copytree(make_run("text"), run)
    with served(run) as client:
        assert "<img src=x" not in client.get("/").text


def test_a_server_answers_until_it_is_told_to_stop(
    make_run: MakeRun, capsys: pytest.CaptureFixture[str]
) -> None:
    script = "from headstart.cli import main; main()"
    command = [sys.executable, "-c", script, "serve", str(make_run("text")), "--port", "0"]
    server = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert server.stderr is not None
    where = server.stderr.readline().rsplit(" at ", 1)[1].strip()
    body = json.dumps({"text": "a fine film"}).encode()
    request = urllib.request.Request(f"{where}/predict", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=60) as answer:
        assert len(json.load(answer)["predictions"]) == 1
    port = int(where.rsplit(":", 1)[1])
    assert call("serve", make_run("text"), "--port", str(port)) == 2
    assert "cannot be had (Address already in use); give others" in capsys.readouterr().err
    # one that has asked, but not yet all of it
    with socket.create_connection(("127.0.0.1", port)) as slow:
        slow.sendall(
            b"POST /predict HTTP/1.1\r\nHost: a\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        )
        time.sleep(0.3)
        server.send_signal(signal.SIGTERM)
        time.sleep(0.3)
        slow.sendall(body)
        assert slow.recv(100).startswith(b"HTTP/1.1 200")
    assert server.wait(60) == 143
    assert "Traceback" not in server.stderr.read()


def test_a_slow_body_is_not_waited_for(make_run: MakeRun) -> None:
    async def never() -> Any:
        await asyncio.sleep(60)

    async def read(scope: Any, receive: Any, send: Any) -> None:
        await receive()

    with pytest.raises(RefusedError, match="did not arrive within") as refused:
        asyncio.run(
            Bounded(read, Limits(seconds=0.1))({"type": "http", "headers": []}, never, never)
        )
    assert refused.value.status == 408


def test_no_run_is_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert call("serve", tmp_path, "--port", "0") == 2
    assert "expected the folder of a finished run" in capsys.readouterr().err
    assert call("serve", tmp_path, "--host", "no such host") == 2
    assert "cannot be had" in capsys.readouterr().err
