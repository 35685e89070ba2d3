from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from headstart.runtime.threads import SPINS, cores, share_cores

VARIABLES = ("OMP_WAIT_POLICY", "GOMP_SPINCOUNT", "OMP_NUM_THREADS", "LOCAL_WORLD_SIZE")


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in VARIABLES:
        monkeypatch.setenv(name, "")  # so that it is as before when the test has ended
        monkeypatch.delenv(name)


def test_a_process_alone_keeps_all_cores() -> None:
    share_cores()
    assert os.environ["OMP_WAIT_POLICY"] == "PASSIVE"
    assert "OMP_NUM_THREADS" not in os.environ


@pytest.mark.parametrize(
    ("processes", "threads"), [(1, None), (2, max(cores() // 2, 1)), (1000, 1)]
)
def test_processes_of_one_run_divide_the_cores(
    processes: int, threads: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(processes))
    share_cores()
    assert os.environ.get("OMP_NUM_THREADS") == (str(threads) if threads else None)


def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    given = {
        "OMP_WAIT_POLICY": "ACTIVE",
        "GOMP_SPINCOUNT": "7",
        "OMP_NUM_THREADS": "3",
        "LOCAL_WORLD_SIZE": "2",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)
    share_cores()
    assert {name: os.environ[name] for name in given} == given


def test_the_openmp_that_torch_brings_reads_it() -> None:
    spec = importlib.util.find_spec("torch")
    assert spec
    assert spec.submodule_search_locations
    home = Path(spec.submodule_search_locations[0])
    libraries = [*home.glob("lib/libgomp*.so*"), *home.parent.glob("torch.libs/libgomp*.so*")]
    if not libraries:
        pytest.skip("another OpenMP than GNU's")
    script = (
        "import ctypes, headstart.runtime.threads as t; t.share_cores(); "
        f"ctypes.CDLL({str(libraries[0])!r})"
    )
    stderr = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "OMP_DISPLAY_ENV": "VERBOSE"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    ).stderr
    assert f"GOMP_SPINCOUNT = '{SPINS}'" in stderr
    assert "OMP_WAIT_POLICY = 'PASSIVE'" in stderr


def test_nothing_that_reads_it_is_imported_before() -> None:
    script = """
import sys, headstart.cli, headstart.commands.run, headstart.inference.predict
print('torch' in sys.modules, 'sklearn' in sys.modules)
"""
    stdout = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True
    ).stdout
    assert stdout.split() == ["False", "False"]
