"""Downloads from a server on this machine: interrupted, redirected, damaged, hostile; and what is
left behind."""

from __future__ import annotations

import errno
import hashlib
import http.server
import io
import os
import random
import re
import shutil
import subprocess
import sys
import tarfile
import threading
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from headstart.catalogue import read_recipe
from headstart.cli import main
from headstart.data import archive, download
from headstart.data.class_folders import ClassFiles, list_class_folders
from headstart.data.readers import IMAGE_FILES, read_images
from headstart.data.sources import find_sources
from headstart.errors import HeadstartError
from headstart.recipe import Data
from tests.conftest import WriteRecipe, draw_images


class Server(http.server.ThreadingHTTPServer):
    """Serves `content` at /photos.zip with ranges, and breaks off after `limit` bytes of an
    answer."""

    content = b""
    limit: int | None = None
    ranges = True
    shift = 0
    status = 200
    location = ""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: list[str | None] = []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Handler(http.server.BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        if self.path == "/moved.zip":
            self.send_response(302)
            self.send_header("Location", server.location or f"{server.url}/photos.zip")
            self.end_headers()
            return
        if self.path == "/silent.zip":
            self.wfile.write(b"HTTP/1.1 404\r\n\r\n")
            return
        if self.path != "/photos.zip":
            self.send_error(404)
            return
        wanted = self.headers.get("Range")
        server.asked.append(wanted)
        start = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and server.ranges else 0
        if start >= len(server.content) > 0:
            self.send_error(416)
            return
        body = server.content[start:]
        self.send_response(206 if start else 200)
        if start:
            self.send_header(
                "Content-Range",
                f"bytes {start + server.shift}-{len(server.content) - 1}/{len(server.content)}",
            )
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body[: server.limit])

    def log_message(self, *_: Any) -> None: ...


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as made:
        threading.Thread(target=made.serve_forever, daemon=True).start()
        yield made
        made.shutdown()


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def photos_zip(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    folder = tmp_path_factory.mktemp("zip") / "in"
    draw_images(folder / "photos" / "train", 4, seed=1)
    draw_images(folder / "photos" / "test", 2, seed=2)
    (folder / "__MACOSX").mkdir()
    (folder / "__MACOSX" / "._photos").write_bytes(b"junk")
    (folder / "README.txt").write_text("about these photos")
    return Path(shutil.make_archive(str(folder.parent / "made"), "zip", folder)).read_bytes()


def data(server: Server, path: str = "/photos.zip", **checksum: str) -> Data:
    return Data(
        source=server.url + path,
        **(checksum or {"sha256": hashlib.sha256(server.content).hexdigest()}),
    )  # type: ignore[arg-type]


def list_images(data: Data) -> dict[str, ClassFiles]:
    """The images of each part that a recipe's [data] names."""
    return {
        role: list_class_folders(place, IMAGE_FILES)
        for role, place in find_sources(data, IMAGE_FILES).paths.items()
    }


def counts(found: dict[str, Any]) -> dict[str, dict[str, int]]:
    return {
        role: {name: len(files) for name, files in listing.files.items()}
        for role, listing in found.items()
    }


WHOLE = {"train": {"blue": 4, "green": 4, "red": 4}, "test": {"blue": 2, "green": 2, "red": 2}}


def refused(wanted: Data) -> str:
    with pytest.raises(HeadstartError) as error:
        list_images(wanted)
    message = str(error.value)
    assert message.startswith("data.source: ")
    assert "\n" not in message
    return message


def leftovers(cache: Path) -> list[str]:
    """Everything in the cache but locks."""
    return sorted(
        str(path.relative_to(cache))
        for path in cache.rglob("*")
        if path.is_file() and path.suffix != ".lock"
    )


@pytest.mark.parametrize("path", ["/photos.zip", "/moved.zip"])
def test_fetched_once_and_found_below_its_one_folder(
    path: str, server: Server, photos_zip: bytes, cache: Path
) -> None:
    server.content = photos_zip
    for _ in range(2):
        assert counts(list_images(data(server, path))) == WHOLE
    assert server.asked == [None]
    sha1 = {"sha1": hashlib.sha1(photos_zip).hexdigest()}
    assert counts(list_images(data(server, **sha1))) == WHOLE
    assert all(name.startswith("data/") for name in leftovers(cache)), "the archive itself is gone"


def test_a_local_archive_is_unpacked_and_again_when_it_changes(
    photos_zip: bytes, tmp_path: Path
) -> None:
    local = tmp_path / "photos.zip"
    local.write_bytes(photos_zip)
    for _ in range(2):
        assert counts(list_images(Data(source=str(local)))) == WHOLE
    local.write_bytes(zipped({"train/a/1.png": b"", "train/b/1.png": b""}))
    assert counts(list_images(Data(source=str(local)))) == {"train": {"a": 1, "b": 1}}
    with pytest.raises(
        HeadstartError,
        match=r"data\.test: .*photos\.zip is an archive, which only data\.source may be",
    ):
        list_images(Data(source=str(local), test=str(local)))
    local.write_text("no archive")
    assert f"{local} is a file, and no table or archive" in refused(Data(source=str(local)))


@pytest.mark.parametrize("kind", ["tar", "gztar", "xztar"])
def test_tar_archives(kind: str, server: Server, tmp_path: Path) -> None:
    draw_images(tmp_path / "in" / "train", 2)
    made = shutil.make_archive(str(tmp_path / "photos"), kind, tmp_path / "in")
    server.content = Path(made).read_bytes()
    assert counts(list_images(data(server)))["train"] == {"blue": 2, "green": 2, "red": 2}


def test_a_broken_connection_is_taken_up_again(server: Server, photos_zip: bytes) -> None:
    server.content, server.limit = photos_zip, len(photos_zip) // 3
    assert counts(list_images(data(server))) == WHOLE
    assert server.asked == [
        None,
        *(f"bytes={server.limit * times}-" for times in range(1, len(server.asked))),
    ]


def test_an_interrupted_download_is_one_message_and_the_next_call_goes_on(
    server: Server, photos_zip: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content, server.limit = photos_zip, len(photos_zip) // 2
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    message = refused(data(server))
    assert f"broke off after {server.limit:,} of {len(photos_zip):,} bytes" in message
    assert "the same command goes on from there" in message
    assert [Path(name).suffix for name in leftovers(cache)] == [".part"]
    server.limit = None
    assert counts(list_images(data(server))) == WHOLE
    assert server.asked == [None, f"bytes={len(photos_zip) // 2}-"]


def test_a_server_without_ranges_starts_again(
    server: Server, photos_zip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content, server.limit, server.ranges = photos_zip, 100, False
    monkeypatch.setattr(download, "ATTEMPTS", 1)
    refused(data(server))
    server.limit = None
    assert counts(list_images(data(server))) == WHOLE


def test_a_server_that_sends_another_piece_starts_again(
    server: Server, photos_zip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content, server.limit, server.shift = photos_zip, 1000, 7
    with monkeypatch.context() as patched:
        patched.setattr(download, "ATTEMPTS", 1)
        refused(data(server))
    server.limit = None
    assert counts(list_images(data(server))) == WHOLE


def test_a_server_that_brings_nothing_more_is_given_up(server: Server, photos_zip: bytes) -> None:
    server.content, server.limit = photos_zip, 0
    assert "broke off after 0 of" in refused(data(server))
    assert len(server.asked) == 1


@pytest.mark.parametrize(
    "before", [b"x" * 100, b"x" * 10**6], ids=["another beginning", "longer than the file"]
)
def test_what_lay_there_of_another_file_is_thrown_away(
    before: bytes, server: Server, photos_zip: bytes, cache: Path
) -> None:
    server.content = photos_zip
    (cache / "downloads").mkdir(parents=True)
    (cache / "downloads" / f"{hashlib.sha256(photos_zip).hexdigest()}.part").write_bytes(before)
    assert counts(list_images(data(server))) == WHOLE


def test_a_wrong_checksum_is_never_opened(
    server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = b"not what was promised"
    monkeypatch.setattr("headstart.data.sources.unpack", lambda *_: pytest.fail("opened"))
    message = refused(data(server, sha256="0" * 64))
    assert f"sha256 is {hashlib.sha256(server.content).hexdigest()}, expected {'0' * 64}" in message
    assert "deleted unopened" in message
    assert leftovers(cache) == []
    right, wrong = hashlib.sha256(server.content).hexdigest(), "0" * 40
    assert f"sha1 is {hashlib.sha1(server.content).hexdigest()}" in refused(
        data(server, sha256=right, sha1=wrong)
    )


def test_addresses_that_lead_nowhere(server: Server, cache: Path) -> None:
    assert "answers 404 (Not Found); look whether the address is right" in refused(
        data(server, "/gone.zip")
    )
    assert "answers 404 (no reason given)" in refused(data(server, "/silent.zip"))
    server.location = "file:///etc/passwd"
    assert "is not allowed" in refused(data(server, "/moved.zip"))
    server.location = "ftp://127.0.0.1/photos.zip"
    assert "unknown url type: ftp" in refused(data(server, "/moved.zip"))
    server.location = server.url + "/moved.zip"
    assert "answers 302" in refused(data(server, "/moved.zip"))
    message = refused(Data(source="http://127.0.0.1:9/photos.zip", sha256="0" * 64))
    assert "could not be received (" in message
    assert "refused" in message
    assert "could not be received" in refused(
        Data(source="http://[::1/photos.zip", sha256="0" * 64)
    )
    assert leftovers(cache) == []


def test_offline_nothing_is_asked_for(
    server: Server, photos_zip: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = photos_zip
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE is set, so nothing is downloaded" in refused(data(server))
    assert server.asked == []
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    list_images(data(server))
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert counts(list_images(data(server))) == WHOLE


def test_a_full_disk_while_receiving(
    server: Server, photos_zip: bytes, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server.content = photos_zip
    usage = shutil.disk_usage(cache.parent)
    with monkeypatch.context() as patched:
        patched.setattr(download.shutil, "disk_usage", lambda _: usage._replace(free=100))
        message = refused(data(server))
    assert "no space left" in message
    assert leftovers(cache) == []

    def full(source: Any, target: Any, show: Any) -> None:
        target.write(source.read(100))
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(download, "_copy", full)
        assert "after 100 bytes" in refused(data(server))
    assert counts(list_images(data(server))) == WHOLE
    assert server.asked == [None, None, "bytes=100-"]


@pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0, reason="mounts a small file system"
)
def test_a_truly_full_disk(server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Enough room for the archive, too little for what is in it."""
    small = tmp_path / "small"
    small.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(small)], capture_output=True
    ).returncode:
        pytest.skip("cannot mount")
    try:
        monkeypatch.setenv("HEADSTART_CACHE", str(small))
        server.content = zipped({"train/a/1.png": b"\0" * 2_000_000})
        assert "cannot be unpacked: no space left in" in refused(data(server))
        assert [Path(name).parent.name for name in leftovers(small)] == ["downloads"]
        monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "roomy"))
        list_images(data(server))
    finally:
        subprocess.run(["umount", str(small)], check=True)


def zipped(files: dict[str, bytes], **more: Any) -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as made:
        for name, inner in files.items():
            info = zipfile.ZipInfo(name)
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = more.get("attributes", 0o644) << 16
            made.writestr(info, inner)
    return content.getvalue()


def tarred(*entries: tuple[str, bytes, str]) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w") as made:
        for name, kind, target in entries:
            info = tarfile.TarInfo(name)
            info.type, info.linkname = kind, target
            made.addfile(info)
    return content.getvalue()


HOSTILE: dict[str, tuple[Callable[[], bytes], str]] = {
    "zip, ../": (lambda: zipped({"../evil.png": b"x"}), "leads out of it ('../evil.png')"),
    "zip, a/../../": (lambda: zipped({"a/../../evil.png": b"x"}), "leads out of it"),
    "zip, absolute": (lambda: zipped({"/tmp/headstart_evil.png": b"x"}), "leads out of it"),
    "zip, backslashes": (lambda: zipped({"..\\evil.png": b"x"}), "leads out of it"),
    "zip, drive": (lambda: zipped({"C:/evil.png": b"x"}), "leads out of it"),
    "zip, link": (lambda: zipped({"a/link": b"/etc/passwd"}, attributes=0o120777),
    "holds a link or device ('a/link')"),
    "zip, twice": (lambda: zipped({"a/1.png": b"x", "a/./1.png": b"y"}), "holds 'a/1.png' twice"),
    "zip, file as folder": (lambda: zipped({"a": b"x", "a/1.png": b"y"}), "holds 'a' twice"),
    "zip, long name": (lambda: zipped({"a/" + "n" * 300: b"x"}), "cannot be unpacked"),
    "zip, broken off": (lambda: zipped({"a/1.png": os.urandom(999)})[:500],
    "a damaged or incomplete .zip"),
    "zip, cut": (lambda: zipped({"a/1.png": os.urandom(999)})[50:], "neither a .zip nor a .tar"),
    "tar, ../": (lambda: tarred(("../evil.png", tarfile.REGTYPE, "")), "leads out of it"),
    "tar, link out": (lambda: tarred(("a/l", tarfile.SYMTYPE, "/etc")),
    "holds a link or device ('a/l')"),
    "tar, hard link": (lambda: tarred(("a/l", tarfile.LNKTYPE, "a/1")), "holds a link or device"),
    "tar, device": (lambda: tarred(("a/d", tarfile.CHRTYPE, "")), "holds a link or device"),
    "tar, pipe": (lambda: tarred(("a/p", tarfile.FIFOTYPE, "")), "holds a link or device"),
    "no archive": (lambda: b"<html>please log in</html>", "neither a .zip nor a .tar archive"),
    "empty": (lambda: b"", "neither a .zip nor a .tar archive"),
}  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_archive_is_one_message_and_leaves_nothing(
    name: str, server: Server, cache: Path, tmp_path: Path
) -> None:
    make, said = HOSTILE[name]
    server.content = make()
    before = {path for path in tmp_path.rglob("*") if cache not in path.parents and path != cache}
    assert said in refused(data(server))
    after = {path for path in tmp_path.rglob("*") if cache not in path.parents and path != cache}
    assert after == before
    assert not [left for left in leftovers(cache) if left.startswith("data/")]
    assert not Path("/tmp/headstart_evil.png").exists()


def many(mode: str = "w") -> bytes:
    """A tar of eight images of two classes."""
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode=mode) as made:  # type: ignore[call-overload]
        for number in range(8):
            info = tarfile.TarInfo(f"train/{'ab'[number % 2]}/{number}.png")
            info.size = 700
            made.addfile(info, io.BytesIO(bytes(random.Random(number).randbytes(700))))
    return content.getvalue()


def flipped(content: bytes, place: int) -> bytes:
    return content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :]


DAMAGED_TARS = {
    "a header": lambda: flipped(many(), 3 * 1536 + 5),
    "cut between members": lambda: many()[: 4 * 1536],
    "cut in a member": lambda: many()[: 4 * 1536 + 700],
    "two joined": lambda: many() + many(),
    "gz, its checksum": lambda: flipped(many("w:gz"), len(many("w:gz")) - 6),
    "gz, its middle": lambda: flipped(many("w:gz"), len(many("w:gz")) // 2),
    "gz, cut": lambda: many("w:gz")[:-3],
    "with a NUL in a name": lambda: tarred(("a/1\0.png", tarfile.REGTYPE, ""))[:100] + b"x" * 9,
}


@pytest.mark.parametrize("damage", DAMAGED_TARS)
def test_a_damaged_tar_is_no_smaller_data_set(damage: str, tmp_path: Path, cache: Path) -> None:
    local = tmp_path / "photos.tar"
    local.write_bytes(many())
    assert counts(list_images(Data(source=str(local)))) == {"train": {"a": 4, "b": 4}}
    before = leftovers(cache)
    local.write_bytes(DAMAGED_TARS[damage]())
    refused(Data(source=str(local)))
    assert leftovers(cache) == before


def test_a_tar_with_a_zip_at_its_end_is_a_tar(tmp_path: Path) -> None:
    content = io.BytesIO()
    inner = zipped({"only/inner.png": b"x"})
    with tarfile.open(fileobj=content, mode="w") as made:
        for name, inside in (
            ("train/a/1.png", b"1"),
            ("train/b/2.png", b"2"),
            ("extra.zip", inner),
        ):
            info = tarfile.TarInfo(name)
            info.size = len(inside)
            made.addfile(info, io.BytesIO(inside))
    (tmp_path / "photos.tar").write_bytes(content.getvalue())
    assert counts(list_images(Data(source=str(tmp_path / "photos.tar")))) == {
        "train": {"a": 1, "b": 1}
    }


def test_unpacked_data_that_lost_files_are_unpacked_again(
    server: Server, photos_zip: bytes, cache: Path
) -> None:
    server.content = photos_zip
    list_images(data(server))
    next(path for path in cache.rglob("*.png")).unlink()
    assert counts(list_images(data(server))) == WHOLE
    assert len(server.asked) == 2


def test_folders_deep_in_each_other(server: Server, cache: Path) -> None:
    server.content = zipped({"a/" * 500 + "1.png": b"x"})
    assert "nests folders more than 100 deep" in refused(data(server))


def test_two_folders_for_one_part(tmp_path: Path) -> None:
    for name in ("train", "val", "valid"):
        draw_images(tmp_path / name, 1)
    with pytest.raises(HeadstartError, match="more than one validation part: val, valid"):
        list_images(Data(source=str(tmp_path)))


def test_a_file_of_the_archive_that_was_damaged(server: Server, cache: Path) -> None:
    content = bytearray(zipped({"a/1.png": os.urandom(5000)}))
    content[2000] ^= 255
    server.content = bytes(content)
    assert "cannot be unpacked: Bad CRC-32" in refused(data(server))
    assert not [left for left in leftovers(cache) if left.startswith("data/")]


@pytest.mark.parametrize("lies", [False, True], ids=["honest about its size", "lying about it"])
def test_a_bomb_is_stopped_while_it_swells(
    lies: bool, server: Server, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive, "ALWAYS_FINE", 10**6)
    swollen = b"\0" * 20_000_000
    content = zipped({"a/1.png": swollen})
    if lies:
        content = content.replace(len(swollen).to_bytes(4, "little"), (1000).to_bytes(4, "little"))
    server.content = content
    said = refused(data(server))
    assert "unpacks to more than 100 times its size" in said or (
        lies and "cannot be unpacked" in said
    )
    assert not [left for left in leftovers(cache) if left.startswith("data/")]
    server.content = tar_bomb(swollen)
    assert "unpacks to more than 100 times" in refused(data(server))


def tar_bomb(swollen: bytes) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as made:
        info = tarfile.TarInfo("a/1.png")
        info.size = len(swollen)
        made.addfile(info, io.BytesIO(swollen))
    return content.getvalue()


@pytest.mark.parametrize("sign", ["\\", "/"])
def test_zips_as_windows_and_older_macs_write_them(server: Server, sign: str) -> None:
    files = ["train", "train/cat", "train/cat/1.png", "train/cafXY/1.png", "test/cat/1.png"]
    named = [sign.join(name.split("/")) + ("" if name.endswith("png") else sign) for name in files]
    # without the flag of UTF-8
    server.content = zipped(dict.fromkeys(named, b"x")).replace(b"cafXY", "café".encode())
    assert counts(list_images(data(server))) == {"train": {"cat": 1, "café": 1}, "test": {"cat": 1}}


def test_a_name_in_code_page_437(server: Server) -> None:
    server.content = zipped({"train/cafX/1.png": b"", "train/tea/1.png": b""}).replace(
        b"cafX", "café".encode("cp437")
    )
    assert counts(list_images(data(server))) == {"train": {"café": 1, "tea": 1}}


def test_too_many_members(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive, "MEMBERS", 10)
    server.content = zipped({f"a/{number}.png": b"x" for number in range(11)})
    assert "more than 10 members" in refused(data(server))


def test_two_processes_fetch_once(server: Server, photos_zip: bytes, tmp_path: Path) -> None:
    server.content = photos_zip
    wanted = data(server)
    code = (
        "from headstart.recipe import Data; from headstart.data.readers import IMAGE_FILES;from "
        "headstart.data.class_folders import list_class_folders; from headstart.data.sources "
        "import find_sources;train = find_sources("
        f"Data(source={wanted.source!r}, sha256={wanted.sha256!r}), "
        "IMAGE_FILES).paths['train'];print(len(list_class_folders(train, IMAGE_FILES)))"
    )
    workers = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        for _ in range(3)
    ]
    assert [worker.communicate()[0] for worker in workers] == ["12\n"] * 3
    assert server.asked == [None]


def test_fetch_by_the_command_line(
    server: Server, photos_zip: bytes, write_recipe: WriteRecipe, weights: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    server.content = photos_zip
    source = {
        "source": f"{server.url}/photos.zip",
        "sha256": hashlib.sha256(photos_zip).hexdigest(),
    }
    path = write_recipe(
        data=source, model={"weights": str(weights)}, transfer={"strategy": "fine_tune"}
    )
    with pytest.raises(SystemExit) as stopped:
        main(["fetch", str(path)])
    assert stopped.value.code == 0
    said = capsys.readouterr()
    assert "train 9, validation 3, test 6" in said.out
    assert re.search("weights with SHA-256 [0-9a-f]{64}", said.out)
    assert said.err.startswith(f"downloading {server.url}/photos.zip")
    server.content = b""
    with pytest.raises(SystemExit) as stopped:
        main(["plan", str(path)])
    assert stopped.value.code == 0
    capsys.readouterr()
    assert len(server.asked) == 1
    with pytest.raises(SystemExit) as stopped:
        main(["fetch", str(path), f"data.source={server.url}/gone.zip", f"data.sha256={'a' * 64}"])
    assert stopped.value.code == 2
    assert capsys.readouterr().err.startswith("error: data.source: http://127.0.0.1")


HOMESICK = """
import socket, sys
def caught(*arguments, **_):
    print("CALLED", arguments, flush=True)
    raise OSError("no")
socket.getaddrinfo = socket.create_connection = socket.socket.connect = caught
from headstart.cli import main
for command in ("fetch", "plan", "run"):
    # from the hub, and from elsewhere
    for backbone in ("resnet18.tv_in1k", "legacy_seresnet18.in1k"):
        try:
            main([command, sys.argv[1], f"model.backbone={backbone}"])
        except SystemExit as stopped:
            print("exit code", stopped.code)
"""


def test_offline_no_weights_are_called_for(write_recipe: WriteRecipe, tmp_path: Path) -> None:
    path = write_recipe(transfer={"strategy": "feature_extraction"})
    environment = {
        **os.environ,
        "HF_HUB_OFFLINE": "1",
        "HF_HOME": str(tmp_path),
        "TORCH_HOME": str(tmp_path),
    }
    done = subprocess.run(
        [sys.executable, "-c", HOMESICK, path], capture_output=True, text=True, env=environment
    )
    assert done.stdout == "exit code 2\n" * 6
    assert done.stderr.count("could not be had from the hub") == 6


@pytest.mark.parametrize(
    ("encoding", "name", "told"),
    [
        ("cp932", "猫", True),
        ("gbk", "狗", True),
        ("cp866", "кот", True),
        ("utf-8", "猫", False),
        ("ascii", "cat", False),
    ],
)
def test_names_in_a_zip_that_may_be_garbled_are_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, encoding: str, name: str, told: bool
) -> None:
    monkeypatch.setattr(
        zipfile.ZipInfo, "_encodeFilenameFlags", lambda info: (info.filename.encode(encoding), 0)
    )
    (tmp_path / "a.zip").write_bytes(
        zipped({f"{name}/1.png": b"", f"{name}/2.png": b"", "dog/1.png": b""})
    )
    for _ in range(2):
        notes = " ".join(find_sources(Data(source=str(tmp_path / "a.zip")), IMAGE_FILES).notes)
        assert ("written without UTF-8, so that they may be garbled: 2 (such as " in notes) == told


def test_messages_name_the_archive_and_not_where_it_is_unpacked(
    tmp_path: Path, cache: Path, write_recipe: WriteRecipe, photos_zip: bytes
) -> None:
    archives = {
        "inner.zip": (
            {"photos.zip": photos_zip},
            "holds no folder or table, but archives: photos.zip",
        ),
        "broken.zip": (
            {"a/1.png": b"", "b/1.png": b""},
            r"2 of 2 images cannot be read: .*/broken\.zip/a/1\.png",
        ),
        "tables.zip": (
            {"a.csv": b"", "b.csv": b""},
            r"has a\.csv, b\.csv; expected train\.csv .* unpack it first",
        ),
    }
    for name, (files, said) in archives.items():
        (tmp_path / name).write_bytes(zipped(files))
        with pytest.raises(HeadstartError, match=said) as caught:
            read_images(read_recipe(write_recipe(data={"source": str(tmp_path / name)})))
        assert f"{tmp_path / name}" in str(caught.value)
        assert str(cache) not in str(caught.value)


def test_a_table_beside_its_folder_of_images_is_read_from_an_archive_too(
    tmp_path: Path, cache: Path, write_recipe: WriteRecipe
) -> None:
    for number in range(12):
        touch = tmp_path / "set" / "imgs" / f"{number}.png"
        touch.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (8, 8), 20 * number).save(touch)
    rows = [f"imgs/{number}.png,{'ab'[number % 2]}" for number in range(12)]
    (tmp_path / "set" / "labels.csv").write_text("\n".join(["image,label", *rows]))
    shutil.make_archive(str(tmp_path / "set"), "zip", tmp_path / "set")
    found = [
        read_images(read_recipe(write_recipe(data={"source": str(tmp_path / name)})))
        for name in ("set", "set.zip")
    ]
    assert found[0].labels == found[1].labels == ("a", "b")
    assert found[0].train.digest() == found[1].train.digest()
    assert not any(str(cache) in note for note in found[1].notes)
