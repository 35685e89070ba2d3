"""Any image file becomes the RGB picture a viewer would show."""

from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, TiffImagePlugin

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


def exif_of(*entries: tuple[int, int, int, bytes]) -> bytes:
    """An EXIF block of (tag, type, count, value) entries."""
    written = [
        struct.pack("<HHL", *entry[:3]) + entry[3].ljust(4, b"\0") for entry in sorted(entries)
    ]
    return (
        b"Exif\0\0II*\0\x08\0\0\0" + struct.pack("<H", len(written)) + b"".join(written) + bytes(40)
    )


TURNED = (0x112, 3, 1, b"\6")  # by a quarter
SHORT, ASCII, SIGNED = 3, 2, 9
EXIFS = {
    "resolution as text": (exif_of(TURNED, (0x11A, ASCII, 4, b"72\0")), True),
    "width as text": (exif_of(TURNED, (0x100, ASCII, 4, b"96\0")), True),
    "negative pointer": (exif_of(TURNED, (0x8769, SIGNED, 1, struct.pack("<l", -5))), True),
    "negative GPS pointer": (exif_of(TURNED, (0x8825, SIGNED, 1, struct.pack("<l", -5))), True),
    "orientation as a long": (exif_of((0x112, 4, 1, b"\6")), True),
    "orientation as text": (exif_of((0x112, ASCII, 2, b"6\0")), False),
    "orientation 99": (exif_of((0x112, SHORT, 1, b"\x63")), False),
    "truncated": (exif_of(TURNED)[:22], False),
    "noise": (b"Exif\0\0" + bytes(range(60)), False),
}


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("odd", EXIFS)
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "MPO"])
def test_odd_exif_is_no_fault_of_the_picture(tmp_path: Path, kind: str, odd: str) -> None:
    block, turned = EXIFS[odd]
    image, path = Image.new("RGB", (20, 10), RED), tmp_path / "odd"
    image.save(
        path,
        kind,
        exif=block,
        **({"save_all": True, "append_images": [image]} if kind == "MPO" else {}),
    )
    assert look(str(path)).fault == ""
    assert open_rgb(path).size == ((10, 20) if turned else (20, 10))


def test_a_tiff_that_points_nowhere_is_read(tmp_path: Path) -> None:
    info = TiffImagePlugin.ImageFileDirectory_v2()
    info[0x112], info[0x8769] = 6, -5
    info.tagtype[0x8769] = SIGNED
    Image.new("RGB", (20, 10), RED).save(tmp_path / "a.tif", tiffinfo=info)
    assert open_rgb(tmp_path / "a.tif").size == (10, 20)


def chunk(name: bytes, body: bytes, damaged: bool = False) -> bytes:
    checksum = zlib.crc32(name + body) ^ damaged
    return struct.pack(">I", len(body)) + name + body + struct.pack(">I", checksum)


LARGE = zlib.compress(bytes(2_000_000))
SIDE_CHUNKS = {
    "large compressed text": chunk(b"zTXt", b"k\0\0" + LARGE),
    "large international text": chunk(b"iTXt", b"k\0\1\0\0\0" + LARGE),
    "large colour profile": chunk(b"iCCP", b"k\0\0" + LARGE),
    "text with a wrong checksum": chunk(b"tEXt", b"k\0v", damaged=True),
    "private with a wrong checksum": chunk(b"prVt", b"abc", damaged=True),
    "short gamma": chunk(b"gAMA", b"a"),
}


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kind", SIDE_CHUNKS)
def test_side_chunks_of_a_png_are_no_fault_of_the_picture(
    tmp_path: Path, kind: str, last: bool
) -> None:
    path, exif = tmp_path / "a.png", Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (20, 10), 77).save(path, exif=exif, transparency=77)
    content = path.read_bytes()
    place = len(content) - 12 if last else 33  # before IEND, or behind IHDR
    path.write_bytes(content[:place] + SIDE_CHUNKS[kind] + content[place:])
    assert look(str(path)).fault == ""
    assert open_rgb(path).size == (10, 20)
    assert pixel(path) == (255, 255, 255)
    damaged = bytearray(path.read_bytes())
    damaged[path.read_bytes().index(b"IDAT") + 8] ^= 255
    path.write_bytes(damaged)
    assert "OSError" in look(str(path)).fault


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
def test_an_animation_is_its_first_frame_with_something_to_see(tmp_path: Path, kind: str) -> None:
    clear, dot, red, blue = (
        Image.new("RGBA", (40, 40), colour) for colour in ((0, 0, 0, 0), (0, 0, 0, 0), RED, "blue")
    )
    dot.putpixel((3, 3), (*RED, 255))
    more = {"lossless": True} if kind == "WEBP" else {}

    def shown(*frames: Image.Image) -> tuple[int, ...]:
        frames[0].save(
            tmp_path / "a", kind, save_all=True, append_images=frames[1:], duration=99, **more
        )
        return pixel(tmp_path / "a", (20, 20))

    assert shown(clear, dot, red, blue) == shown(dot, red, blue) == shown(red, blue) == RED
    assert shown(clear, dot) == shown(clear, clear.copy()) == (255, 255, 255)
    with Image.open(tmp_path / "a") as file:
        assert open_rgb(file).tobytes() == open_rgb(file).tobytes()


def test_grey_palette_and_cmyk(tmp_path: Path) -> None:
    Image.new("L", (4, 4), 77).save(tmp_path / "grey.png")
    assert pixel(tmp_path / "grey.png") == (77, 77, 77)
    Image.new("RGB", (4, 4), RED).convert("P", palette=Image.Palette.ADAPTIVE).save(
        tmp_path / "palette.png"
    )
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
    for name, content in (
        ("cut.jpg", whole.read_bytes()[:-2000]),
        ("empty.jpg", b""),
        ("text.jpg", b"hello"),
    ):
        (tmp_path / name).write_bytes(content)
        assert look(str(tmp_path / name)).fault, name


def test_an_image_too_large_to_open_is_a_fault(tmp_path: Path) -> None:
    size = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    chunks = [b"IHDR" + size, b"IDAT" + zlib.compress(bytes(100)), b"IEND"]
    content = b"".join(
        struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks
    )
    (tmp_path / "bomb.png").write_bytes(b"\x89PNG\r\n\x1a\n" + content)
    assert look(str(tmp_path / "bomb.png")).fault == "over 179 megapixels; resize it first"


def test_a_picture_is_decoded_once_a_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = [str(tmp_path / name) for name in ("a.png", "b.png", "c.png")]
    for path, grey in zip(paths, (10, 10, 200), strict=True):
        Image.new("L", (50, 20), grey).save(path)
    found = pictures(paths, digests(paths))
    assert found[0] == found[1] != found[2]
    assert found[0].thumbnail == bytes([10] * 1024 + [128] * 128)
    assert len(found[0].thumbnail) == BYTES
    monkeypatch.setattr("headstart.data.pictures.look", None)
    assert pictures(paths, digests(paths)) == found


def test_each_file_that_cannot_be_opened_has_its_own_reason(tmp_path: Path) -> None:
    (tmp_path / "folder.png").mkdir()
    paths = [str(tmp_path / "gone.png"), str(tmp_path / "folder.png")]
    for _ in range(2):
        faults = [picture.fault for picture in pictures(paths, digests(paths))]
        assert faults == ["No such file or directory", "Is a directory"]


def test_a_cache_that_cannot_be_written_costs_no_picture(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("HEADSTART_CACHE", str(tmp_path / "file"))
    Image.new("L", (50, 20), 9).save(tmp_path / "a.png")
    path = str(tmp_path / "a.png")
    assert pictures([path], digests([path]))[0].width == 50
