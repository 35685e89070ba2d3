"""The run directory: written beside its place and moved there when it is whole."""

from __future__ import annotations

import os
import shutil
import sys
import tomllib
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import tomli_w

from headstart.errors import HeadstartError
from headstart.files import atomic, beside, remove, try_lock
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
    return beside(Path(recipe.output), "checkpoints")


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
    """Yield a new folder to write a run into. It becomes the run directory when the block ends, in
    place of an earlier run of the same recipe, and is removed if the block fails.

    Checkpoints beside it stay if the block is interrupted. They are removed when it ends, and after
    an error that would come again.

    Raises:
        HeadstartError: another process is writing the same run, or the folder cannot be made.
    """
    place = Path(recipe.output)
    old = beside(place, "old")
    with _locked(place):
        check_free(recipe)  # another run may have ended there meanwhile
        with _checkpoints(recipe), atomic(place, exclusive=True) as draft:
            draft.mkdir()
            shutil.copyfile(checkpoints_of(recipe) / RECIPE, draft / RECIPE)
            yield draft
            remove(old)
            if place.exists():
                place.rename(old)
        remove(old)


@contextmanager
def _checkpoints(recipe: Recipe) -> Iterator[None]:
    """The folder of checkpoints while a run is written: kept if it is interrupted and there is
    something to go on from."""
    folder = checkpoints_of(recipe)
    folder.mkdir(exist_ok=True)
    try:
        (folder / RECIPE).write_text(tomli_w.dumps(recipe.resolved()), encoding="utf-8")
        yield
        remove(folder)
    except HeadstartError:
        remove(folder)
        raise
    finally:
        if folder.is_dir() and not any(path.is_dir() for path in folder.iterdir()):
            remove(folder)


@contextmanager
def _locked(place: Path) -> Iterator[None]:
    with ExitStack() as stack:
        try:
            mine = stack.enter_context(try_lock(beside(place, "lock")))
        except OSError as error:
            raise HeadstartError(
                f"output: {place} cannot be made ({error.filename}: {error.strerror}); give "
                "another place with output=NAME"
            ) from None
        if not mine:
            raise HeadstartError(
                f"output: another process is writing {place}; wait for it or give output=NAME"
            )
        yield
