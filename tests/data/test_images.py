"""Any image file becomes the RGB picture a viewer would show."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.images import open_rgb
from headstart.data.pictures import BYTES, digests, look, pictures

RED = (200, 30, 40)


def pixel(path: Path, at: tuple[int, int] = (0, 0)) -> tuple[int, ...]:
    image = open_rgb(path)
    assert image.mode == "RGB"
    found = image.getpixel(at)
    assert isinstance(found, tuple)
    return found


def test_exif_orientation_is_undone(tmp_path: Path) -> None:
    image = Image.new("RGB", (20, 10), RED)
    image.paste((0, 0, 0), (10, 0, 20, 10))
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by a quarter, clockwise
    image.save(tmp_path / "turned.png", exif=exif)
    assert open_rgb(tmp_path / "turned.png").size == (10, 20)
    assert pixel(tmp_path / "turned.png", (5, 2)) == RED
    assert pixel(tmp_path / "turned.png", (5, 17)) == (0, 0, 0)


def test_grey_palette_and_cmyk(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 77).save(tmp_path / "grey.png")
    assert pixel(tmp_path / "grey.png") == (77, 77, 77)
    Image.new("RGB", (4, 4), RED).convert("P", palette=Image.Palette.ADAPTIVE).save(tmp_path / "palette.png")
    assert np.allclose(pixel(tmp_path / "palette.png"), RED, atol=2)
    Image.new("RGB", (16, 16), RED).convert("CMYK").save(tmp_path / "cmyk.jpg", quality=95)
    assert np.allclose(pixel(tmp_path / "cmyk.jpg"), RED, atol=4)


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_parts_are_white(tmp_path: Path, mode: str) -> None:
    path = tmp_path / "clear.png"
    if mode == "P":
        image = Image.new("P", (4, 4), 1)
        image.putpalette([9, 9, 9, 50, 60, 70])
        image.save(path, transparency=1)
    else:
        Image.new("RGBA", (4, 4), (*RED, 0)).convert(mode).save(path)
    assert pixel(path) == (255, 255, 255)


def test_half_transparent_red_is_pink(tmp_path: Path) -> None:
    Image.new("RGBA", (4, 4), (255, 0, 0, 128)).save(tmp_path / "half.png")
    assert np.allclose(pixel(tmp_path / "half.png"), (255, 127, 127), atol=1)


def test_sixteen_bit_grey_keeps_its_range(tmp_path: Path) -> None:
    Image.fromarray(np.array([[0, 32768], [65535, 65535]], np.uint16)).save(tmp_path / "deep.png")
    assert pixel(tmp_path / "deep.png", (1, 0)) == (128, 128, 128)
    assert pixel(tmp_path / "deep.png", (0, 1)) == (255, 255, 255)


def test_truncated_empty_and_foreign_files_are_faults(tmp_path: Path) -> None:
    whole = tmp_path / "whole.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (300, 300, 3), np.uint8)).save(whole)
    assert look(str(whole))[:4] == ("", 300, 300, "RGB")
    for name, content in (("cut.jpg", whole.read_bytes()[:-2000]), ("empty.jpg", b""), ("text.jpg", b"hello")):
        (tmp_path / name).write_bytes(content)
        assert look(str(tmp_path / name)).fault, name


def test_an_image_too_large_to_open_is_a_fault(tmp_path: Path) -> None:
    size = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [b"IHDR" + size, b"IDAT" + zlib.compress(bytes(100)), b"IEND"]
    content = b"".join(struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks)
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    assert "DecompressionBombError" in look(str(tmp_path / "bomb.png")).fault


def test_a_picture_is_decoded_once_a_content(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = [str(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    for path, grey in zip(paths, (10, 10, 200), strict=True):
        Image.new("L", (50, 20), grey).save(path)
    found = pictures(paths, digests(paths))
    assert found[0] == found[1] != found[2]
    assert found[0].thumbnail == bytes([10] * 1024 + [128] * 128)
    assert len(found[0].thumbnail) == BYTES
    monkeypatch.setattr("headstart.data.pictures.look", None)
    assert pictures(paths, digests(paths)) == found


def test_a_cache_that_cannot_be_written_costs_no_picture(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "file"))
    Image.new("L", (50, 20), 9).save(tmp_path / "a.png")
    path = str(tmp_path / "a.png")
    assert pictures([path], digests([path]))[0].width == 50
