"""Files that appear whole or not at all, and locks that end with their process."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from headstart.files import atomic, lock, try_lock, write_text


@pytest.mark.parametrize("exclusive", [False, True])
def test_a_failed_write_leaves_what_was_there(tmp_path: Path, exclusive: bool) -> None:
    path = tmp_path / "table.csv"
    write_text(path, "old\r\n")
    with suppress(ZeroDivisionError), atomic(path, exclusive=exclusive) as draft:
        draft.write_text("half")
        assert draft.suffix == ".csv"
        assert path.read_bytes() == b"old\r\n"
        raise ZeroDivisionError
    assert [(file.name, file.read_bytes()) for file in tmp_path.iterdir()] == [
        ("table.csv", b"old\r\n")
    ]


def test_a_folder_is_written_alike_and_replaces_no_other(tmp_path: Path) -> None:
    place = tmp_path / "set"
    for content in ("first", "second"):
        try:
            with atomic(place) as draft:
                draft.mkdir()
                write_text(draft / "file", content)
        except OSError:
            assert content == "second"
    assert (place / "file").read_text() == "first"
    assert list(tmp_path.iterdir()) == [place]


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    path = tmp_path / "model"
    with atomic(path, exclusive=True) as draft:
        draft.mkdir()
    path.rename(draft)  # as if it had been killed just before the end
    (draft / "half").write_text("half")
    with atomic(path, exclusive=True) as draft:
        assert not draft.exists()
        draft.write_text("whole")
    assert list(tmp_path.iterdir()) == [path]
    assert path.read_text() == "whole"


@pytest.mark.skipif(os.name != "posix", reason="the mask of permissions is POSIX's")
def test_permissions_are_those_of_any_new_file(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "file", "")
        with atomic(tmp_path / "folder") as draft:
            draft.mkdir()
    finally:
        os.umask(before)
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o640
    assert (tmp_path / "folder").stat().st_mode & 0o777 == 0o750


def test_a_second_owner_is_told_and_the_lock_file_goes(tmp_path: Path) -> None:
    path = tmp_path / "new" / "lock"
    with try_lock(path) as mine:
        assert mine
        with try_lock(path) as other:
            assert not other
        assert path.exists(), "who did not get it leaves it"
    assert not path.exists()
    with lock(path), try_lock(path) as other:
        assert not other


HOLDS_AND_FORKS = """
import os, sys, time
from pathlib import Path
from headstart.files import try_lock
with try_lock(Path(sys.argv[1])) as mine:
    assert mine
    if os.fork():
        time.sleep(60)
    else:
        print(os.getpid(), flush=True)
        time.sleep(60)
        os._exit(0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="forks a worker")
def test_a_worker_that_outlives_its_killed_parent_holds_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    parent = subprocess.Popen(
        [sys.executable, "-c", HOLDS_AND_FORKS, str(path)], stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout
    worker = int(parent.stdout.readline())
    try:
        with try_lock(path) as mine:
            assert not mine
        parent.kill()
        parent.wait()
        os.kill(worker, 0)  # it lives on
        with try_lock(path) as mine:
            assert mine
    finally:
        os.kill(worker, signal.SIGKILL)
        parent.stdout.close()
