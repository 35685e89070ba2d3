"""The run directory: written beside its place and moved there when it is whole."""

from __future__ import annotations

import errno
import os
import re
import shutil
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import tomli_w

from headstart.data.dataset import Dataset
from headstart.data.split_file import changes_since
from headstart.errors import HeadstartError, RunError
from headstart.files import atomic, beside, remove, try_lock
from headstart.recipe import Recipe
from headstart.recipe.differences import differences
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
        raise RunError(
            f"output: {folder} is there and is no folder; expected the name of a folder to make"
        )
    if not folder.is_dir() or not any(folder.iterdir()):
        return
    way_out = "Give another place with output=NAME, or move this one away"
    try:
        differing = differences(folder / RECIPE, recipe)
    except (OSError, ValueError):
        raise RunError(
            f"output: {folder} is not empty and holds no {RECIPE}, so it is no run. {way_out}"
        ) from None
    if differing:
        raise RunError(f"output: {folder} belongs to another recipe ({_few(differing)}). {way_out}")


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
        raise RunError(
            f"output: {folder}, where checkpoints of {recipe.output} belong, is a file; move it "
            "away, or give another place with output=NAME"
        )
    ignored = ("output", *(f"train.{key}" for key in NO_EFFECT_ON_RESULT))
    try:
        differing = differences(folder / RECIPE, recipe, ignored)
    except (OSError, ValueError):  # then the checkpoints themselves tell whose they are
        return
    if differing:
        raise RunError(
            f"output: an unfinished run of {recipe.output} was begun with another recipe "
            f"({_few(differing)}). Undo the change to go on with that run; or begin anew: delete "
            f"{folder}, or give another place with output=NAME"
        )


def _few(differing: list[str]) -> str:
    return "; ".join(differing[:4]) + (
        f"; and {len(differing) - 4} more" if len(differing) > 4 else ""
    )


def note_on_other_data(recipe: Recipe, dataset: Dataset) -> str | None:
    """A note, if the run takes the place of one on other data.

    Raises:
        HeadstartError: it would learn from examples that the earlier run was tested on.
    """
    folder = Path(recipe.output)
    if not (folder / SPLIT).is_file():
        return None
    changes = changes_since(dataset, folder / SPLIT)
    if changes.leaked:
        raise RunError(
            f"output: {folder} is a run of this recipe on other data ({changes.difference}), and "
            f"{len(changes.leaked)} of its {changes.tested} test examples (such as "
            f"{changes.leaked[0]}) would now be learned from, so that the figures of both could "
            f"not be compared. Keep its parts with data.split.file={folder / SPLIT} "
            f"data.split.new=train output={folder}-2; or split anew with output={folder}-2; or "
            f"move {folder} away"
        )
    return changes.difference and (
        f"the run in {folder}, whose place this one takes, had other data: {changes.difference}; "
        "its test examples stay unseen"
    )


@contextmanager
def run_directory(recipe: Recipe, is_main: bool = True) -> Iterator[Path]:
    """Yield a new folder to write a run into. It becomes the run directory when the block ends, in
    place of an earlier run of the same recipe, and is removed if the block fails.

    Checkpoints beside it stay if the block is interrupted. They are removed when it ends, and after
    an error that would come again.

    Args:
        is_main: whether this process writes the run; the others get the name of the run directory.

    Raises:
        HeadstartError: another process is writing the same run, the folder cannot be made, or the
            system stopped a write.
    """
    place = Path(recipe.output)
    old = beside(place, "old")
    with _explained_write_errors(place):
        if not is_main:
            yield place
            return
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
def _explained_write_errors(place: Path) -> Iterator[None]:
    """Turn a write that the system stopped (a full disk, a quota, a size limit) into one
    sentence."""
    from safetensors import SafetensorError

    try:
        yield
    except (OSError, SafetensorError) as error:
        quoted = re.search(r"os error (\d+)", str(error))  # how safetensors states the number
        code = error.errno if isinstance(error, OSError) else quoted and int(quoted[1])
        if code not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            raise
        raise RunError(
            f"output: {place} could not be written: {os.strerror(code).lower()}. Free some space "
            "or raise the limit and run it again, or give another place with output=NAME"
        ) from error


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
            raise RunError(
                f"output: {place} cannot be made ({error.filename}: {error.strerror}); give "
                "another place with output=NAME"
            ) from None
        if not mine:
            raise RunError(
                f"output: another process is writing {place}; wait for it or give output=NAME"
            )
        yield
