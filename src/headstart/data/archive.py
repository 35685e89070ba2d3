"""Unpacking an archive from elsewhere: plain files and folders below one folder, up to a size, and
nothing else."""

from __future__ import annotations

import errno
import lzma
import os
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from headstart.data.unicode import printable
from headstart.errors import DataError

MEMBERS = 5_000_000
SWELLING = 100  # times its own size that an archive may unpack to; images and tables stay far below
ALWAYS_FINE = 2**30  # bytes that any archive may unpack to
COUNT = ".headstart-files"  # in the unpacked folder: how many files there were, and a note a line
ENDINGS = (".zip", ".tar", ".tgz", ".tar.gz", ".tar.bz2", ".tar.xz", ".7z", ".rar")
DEEPEST = 100  # folders in each other
CHUNK = 2**20
# of one with members, without any, in several volumes
ZIP_STARTS = (b"PK\3\4", b"PK\5\6", b"PK\7\x08")
UTF8 = 0x800  # the flag of a zip's member whose name is UTF-8
DAMAGED = (
    zipfile.BadZipFile, tarfile.TarError, zlib.error, lzma.LZMAError, EOFError, RuntimeError,
    ValueError, IndexError,
)  # fmt: skip


class _Member(NamedTuple):
    name: str
    kind: str  # "file", "folder", or "link or device"
    open: Callable[[], IO[bytes]]
    is_garbled: bool = False  # perhaps, since the encoding of its name is not known


def is_archive_name(name: str) -> bool:
    """Whether a file name says archive."""
    return name.lower().endswith(ENDINGS)


def is_archive(path: Path) -> bool:
    """Whether `unpack` knows this kind of file."""
    return _is_zip(path) or tarfile.is_tarfile(path)


def is_whole(folder: Path) -> bool:
    """Whether a folder is there that `unpack` filled, and still has as many files; those who tidy
    caches may take some."""
    try:
        expected = int(_record(folder)[0])
    except (OSError, ValueError):
        return False
    return sum(len(files) for _, _, files in os.walk(folder)) == expected + 1


def notes_on(folder: Path) -> list[str]:
    """Sentences on the archive that `unpack` filled a folder from."""
    return _record(folder)[1:]


def _record(folder: Path) -> list[str]:
    return (folder / COUNT).read_text(encoding="utf-8").splitlines()


def _is_zip(path: Path) -> bool:
    """Whether it begins as a zip; another may stand at the end of a tar."""
    with path.open("rb") as file:
        return file.read(4) in ZIP_STARTS


def unpack(archive: Path, folder: Path) -> None:
    """Unpack a .zip or a .tar (plain, gz, bz2 or xz) into an empty folder.

    Raises:
        HeadstartError: it is neither, is damaged or encrypted, holds a link or a path that leads
            out of the folder, or is larger unpacked than archives of images are.
    """
    try:
        _unpack_members(archive, folder)
        return
    except FileExistsError as error:
        name = Path(error.filename).relative_to(folder).as_posix()
        problem = f"it holds {name!r} twice"
    except OSError as error:
        is_full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        problem = f"no space left in {folder.parent}" if is_full else str(error)
    except DAMAGED as error:
        problem = str(error)
    raise DataError(f"data.source: the archive cannot be unpacked: {problem}; nothing was kept")


def _unpack_members(archive: Path, folder: Path) -> None:
    size = archive.stat().st_size
    room = max(SWELLING * size, ALWAYS_FINE)
    files, garbled = 0, list[str]()
    for count, member in enumerate(_members(archive), 1):
        if count > MEMBERS:
            raise ValueError(f"it has more than {MEMBERS:,} members")
        path = folder / _relative_path(member)
        if member.kind == "folder":
            path.mkdir(parents=True, exist_ok=True)
            continue
        files += 1
        garbled += [member.name] if member.is_garbled else []
        path.parent.mkdir(parents=True, exist_ok=True)
        with member.open() as source, path.open("xb") as target:
            while chunk := source.read(CHUNK):
                room -= len(chunk)
                if room < 0:
                    raise ValueError(
                        f"of {size:,} bytes, it unpacks to more than {SWELLING} times its size (at "
                        f"{member.name!r}), as no archive of images does"
                    )
                target.write(chunk)
    notes = [
        "names in the archive that are written without UTF-8, so that they may be garbled: "
        f"{len(garbled)} (such as {printable(name)}). If they are, zip it again with names in "
        "UTF-8, or unpack it and rename them"
        for name in garbled[:1]
    ]
    (folder / COUNT).write_text("\n".join([str(files), *notes]), encoding="utf-8")


def _name(info: zipfile.ZipInfo) -> tuple[str, bool]:
    """(a name in a zip, read as UTF-8 where possible and else as cp437, whether the latter)."""
    if info.flag_bits & UTF8:
        return info.filename, False
    try:
        return info.filename.encode("cp437").decode("utf-8"), False
    except UnicodeError:
        return info.filename, True


def _relative_path(member: _Member) -> PurePosixPath:
    """The path of a plain file or folder; Windows may have written it with backslashes."""
    path = PurePosixPath(member.name.replace("\\", "/"))
    if len(path.parts) > DEEPEST:
        raise ValueError(f"it nests folders more than {DEEPEST} deep")
    if member.kind not in ("file", "folder"):
        raise ValueError(f"it holds a {member.kind} ({member.name!r})")
    has_drive = "".join(path.parts[:1]).endswith(":")
    if path.is_absolute() or ".." in path.parts or has_drive:
        raise ValueError(f"it holds a path that leads out of it ({member.name!r})")
    return path


def _members(archive: Path) -> Iterator[_Member]:
    if _is_zip(archive):
        if not zipfile.is_zipfile(archive):
            raise ValueError("a damaged or incomplete .zip; get it anew")
        with zipfile.ZipFile(archive) as zipped:
            for info in zipped.infolist():
                kind = "folder" if info.filename.endswith(("/", "\\")) else "file"
                if stat.S_IFMT(info.external_attr >> 16) not in (0, stat.S_IFREG, stat.S_IFDIR):
                    kind = "link or device"
                name, is_garbled = _name(info)
                yield _Member(name, kind, partial(zipped.open, info), is_garbled)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as tarred:
            for entry in tarred:
                kind = "file" if entry.isreg() else "folder" if entry.isdir() else "link or device"
                yield _Member(entry.name, kind, partial(tarred.extractfile, entry))  # type: ignore[arg-type]
            _check_end(tarred, archive)
    else:
        raise ValueError(
            "the file is neither a .zip nor a .tar archive; give one that holds a folder a class"
        )


def _check_end(tarred: tarfile.TarFile, archive: Path) -> None:
    """Refuse a tar that breaks off or is damaged: tarfile takes a bad header for the end, and
    leaves checksums unread."""
    file: IO[bytes] = tarred.fileobj  # type: ignore[assignment]
    file.seek(tarred.offset)
    if file.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
        raise tarfile.ReadError("it breaks off, or is damaged in the middle")
    room = max(archive.stat().st_size, ALWAYS_FINE)
    while chunk := file.read(CHUNK):
        room -= len(chunk)
        if chunk.strip(b"\0") or room < 0:
            raise tarfile.ReadError("something follows its end")
