from __future__ import annotations

import subprocess
import sys

import pytest

from headstart.runtime import allocator
from headstart.runtime.allocator import give_back_memory, keep_freed_memory


def test_keeping_memory_can_be_switched_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_KEEP_MEMORY", "0")
    monkeypatch.setattr(
        allocator.ctypes, "CDLL", lambda name: pytest.fail("called in spite of the switch")
    )
    keep_freed_memory()


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HEADSTART_KEEP_MEMORY", raising=False)
    monkeypatch.setattr(allocator.ctypes, "CDLL", lambda name: object())
    keep_freed_memory()
    give_back_memory()


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_freed_memory_is_kept_until_it_is_given_back() -> None:
    script = """
import psutil
from headstart.runtime.allocator import give_back_memory, keep_freed_memory
keep_freed_memory()
held = lambda: psutil.Process().memory_info().rss / 2**20
before = held()
block = bytearray(b"1") * (100 * 2**20)
del block
kept = held() - before
give_back_memory()
print(kept > 80, held() - before < 20)
"""
    said = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert said.split() == ["True", "True"]


def test_leaving_does_what_is_to_be_done_at_the_end() -> None:
    script = """
import atexit, sys
from headstart.runtime.allocator import leave
atexit.register(print, "cleared up")
class Never:
    def __del__(self):
        print("taken apart")
never = Never()
print("said", end=" ")
leave(3)
"""
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.returncode) == ("said cleared up\n", 3)
