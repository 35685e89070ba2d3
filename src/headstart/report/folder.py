"""The run directory: written beside its place and moved there when it is whole."""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import tomli_w

from headstart.errors import HeadstartError
from headstart.recipe import Recipe
from headstart.recipe.renamed import with_current_names, without_warnings
from headstart.recipe.training import NO_EFFECT_ON_RESULT

# what lies in it under these names
RECIPE, MODEL, SPLIT = "recipe.resolved.toml", "model", "split.parquet"


def check_free(recipe: Recipe) -> None:
    """Make sure that the recipe's run directory is free, or holds an earlier run of the same
    recipe.

    Raises:
        HeadstartError: it belongs to another recipe, or is no run directory at all.
    """
    folder = Path(recipe.output)
    _check_unfinished(recipe)
    if folder.is_symlink() or (folder.exists() and not folder.is_dir()):
        raise HeadstartError(
            f"output: {folder} is there and is no folder; expected the name of a folder to make"
        )
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    way_out = "Give another place with output=NAME, or move this one away"
    try:
        theirs = _read_recipe(folder)
    except (OSError, ValueError):
        raise HeadstartError(
            f"output: {folder} is not empty and holds no {RECIPE}, so it is no run. {way_out}"
        ) from None
    differing = _differences(theirs, recipe.resolved())
    if differing:
        raise HeadstartError(
            f"output: {folder} belongs to another recipe ({_few(differing)}). {way_out}"
        )


def checkpoints_of(recipe: Recipe) -> Path:
    """Where an unfinished run of a recipe keeps what it goes on from."""
    return _beside(Path(recipe.output), "checkpoints")


@contextmanager
def told_when_stopped(recipe: Recipe) -> Iterator[None]:
    """Tell, on standard error, what the same command will do when a run is stopped by Ctrl-C or a
    signal."""
    try:
        yield
    except (KeyboardInterrupt, SystemExit):
        kept = checkpoints_of(recipe).is_dir()
        how = (
            "a checkpoint is kept, and the same command goes on"
            if kept
            else "the same command begins anew"
        )
        if os.environ.get("RANK", "0") == "0":
            print(f"stopped; {how}", file=sys.stderr, flush=True)
        raise


def _check_unfinished(recipe: Recipe) -> None:
    folder = checkpoints_of(recipe)
    if folder.exists() and not folder.is_dir():
        raise HeadstartError(
            f"output: {folder}, where checkpoints of {recipe.output} belong, is a file; move it "
            "away, or give another place with output=NAME"
        )
    try:
        theirs = _read_recipe(folder)
    except (OSError, ValueError):  # then the checkpoints themselves tell whose they are
        return
    ours = recipe.resolved()
    if not isinstance(theirs.get("train"), dict):
        return
    for key in NO_EFFECT_ON_RESULT:
        theirs["train"].pop(key, None)
        ours["train"].pop(key, None)
    if differing := _differences(theirs, ours):
        raise HeadstartError(
            f"output: an unfinished run of {recipe.output} was begun with another recipe "
            f"({_few(differing)}). Undo the change to go on with that run; or begin anew: delete "
            f"{folder}, or give another place with output=NAME"
        )


def _read_recipe(folder: Path) -> dict[str, Any]:
    with without_warnings():
        return with_current_names(tomllib.loads((folder / RECIPE).read_text(encoding="utf-8")))


def _few(differing: list[str]) -> str:
    return "; ".join(differing[:4]) + (
        f"; and {len(differing) - 4} more" if len(differing) > 4 else ""
    )


def _beside(place: Path, part: str) -> Path:
    return place.with_name(f".{place.name}.headstart-{part}")


def _differences(theirs: dict[str, Any], ours: dict[str, Any], prefix: str = "") -> list[str]:
    found = []
    for key in sorted({*theirs, *ours} - ({"output"} if not prefix else set())):
        there, here = theirs.get(key), ours.get(key)
        if isinstance(there, dict) and isinstance(here, dict):
            found += _differences(there, here, f"{prefix}{key}.")
        elif there != here:
            found.append(f"{prefix}{key}: {_shown(there)} there, {_shown(here)} here")
    return found


def _shown(value: Any) -> str:
    return "unset" if value is None else repr(value)


@contextmanager
def run_directory(recipe: Recipe) -> Iterator[Path]:
    """A new folder to write a run into; it becomes the run directory when the block ends, and
    vanishes if it fails.

    Checkpoints beside it stay if the block is interrupted, and vanish with its end or a trouble
    that would come again.

    Raises:
        HeadstartError: another process is writing the same run.
    """
    place = Path(recipe.output)
    draft, old, lock, checkpoints = (
        _beside(place, part) for part in ("draft", "old", "lock", "checkpoints")
    )
    with _locked(lock, place):
        check_free(recipe)  # another run may have ended there meanwhile
        _make(draft, place)
        try:
            (draft / RECIPE).write_text(tomli_w.dumps(recipe.resolved()), encoding="utf-8")
            checkpoints.mkdir(exist_ok=True)
            shutil.copyfile(draft / RECIPE, checkpoints / RECIPE)
            yield draft
            shutil.rmtree(old, ignore_errors=True)
            if place.exists():
                place.rename(old)
            draft.rename(place)
            shutil.rmtree(old, ignore_errors=True)
            shutil.rmtree(checkpoints, ignore_errors=True)
        except HeadstartError:
            shutil.rmtree(checkpoints, ignore_errors=True)
            raise
        finally:
            shutil.rmtree(draft, ignore_errors=True)
            if checkpoints.is_dir() and not any(path.is_dir() for path in checkpoints.iterdir()):
                shutil.rmtree(checkpoints, ignore_errors=True)  # there is nothing to go on from


def _make(draft: Path, place: Path) -> None:
    shutil.rmtree(draft, ignore_errors=True)  # what a killed run left
    try:
        draft.mkdir()
    except OSError as error:
        raise _cannot(place, error) from None


def _cannot(place: Path, error: OSError) -> HeadstartError:
    return HeadstartError(
        f"output: {place} cannot be made ({error.filename}: {error.strerror}); give another "
        "place with output=NAME"
    )


@contextmanager
def _locked(path: Path, place: Path) -> Iterator[None]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError as error:
        raise _cannot(place, error) from None
    with try_lock(path) as ours:
        if not ours:
            raise HeadstartError(
                f"output: another process is writing {place}; wait for it or give output=NAME"
            )
        try:
            yield
        finally:
            with suppress(OSError):
                path.unlink()


@contextmanager
def try_lock(path: Path) -> Iterator[bool]:
    """Whether this process, and no other, works on what a file stands for; where a system has no
    file locks, always."""
    try:
        import fcntl
    except ImportError:
        yield True
        return
    with path.open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            yield False
            return
        # or loader processes that outlive a killed run hold the lock
        os.register_at_fork(after_in_child=file.close)
        yield True
