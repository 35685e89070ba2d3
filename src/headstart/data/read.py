"""From a recipe's [data] to a Dataset: list, check, fix the labels, assign the roles."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from headstart.data.dataset import Dataset, Examples
from headstart.data.images import digests_or_faults
from headstart.data.names import printable
from headstart.data.sources import Listing, list_images
from headstart.data.splits import carve
from headstart.errors import HeadstartError
from headstart.recipe import Recipe

VALIDATION_SHARE, TEST_SHARE = 0.15, 0.2


def read_images(recipe: Recipe) -> Dataset:
    """Every readable labelled image the recipe names, in its role; nothing is decoded twice or kept in memory.

    Raises:
        HeadstartError: a folder is missing or empty, there are fewer than two classes or two examples of one, a
            held-out part has classes that training lacks, or files are unreadable and the recipe calls that fatal.
    """
    listings = list_images(recipe.data)
    labels = tuple(sorted(listings["train"].files))
    parts, notes = {}, []
    faults: list[str] = []
    for role, listing in listings.items():
        parts[role], broken = _readable(listing, labels, role)
        faults += broken
        if listing.ignored:
            notes.append(f"{listing.ignored} files in {listing.folder} are no images by their names; left out")
    if faults:
        notes.append(_unreadable(faults, recipe.data.unreadable, sum(map(len, parts.values()))))
    _enough(parts["train"], labels, listings["train"].folder, faults)
    repeated = sum(n - 1 for n in Counter(digest for part in parts.values() for digest in part.digests).values())
    if repeated:
        notes.append(f"{repeated} files are exact copies of others")
    return assign_roles(parts, labels, recipe).noting(*notes)


def assign_roles(parts: dict[str, Examples], labels: tuple[str, ...], recipe: Recipe) -> Dataset:
    """Carve what the recipe wants carved from the training part; a share of 0 means no validation part.

    Raises:
        HeadstartError: a class of the training part is too small to give an example to each part.
    """
    data = recipe.data
    if "test" in parts and isinstance(data.test, float):
        raise HeadstartError(
            f"data.test: {data.test} asks for a share of the training part, but the data brings a test part of "
            f"{len(parts['test'])} examples; remove data.test, or name the training folder alone with data.train"
        )
    if "test" not in parts:
        share = data.test if isinstance(data.test, float) else TEST_SHARE
        parts["train"], parts["test"] = _carve(parts["train"], share, recipe.seed, "data.test")
    if data.validation == 0 or recipe.train.select_on == "test":
        parts.pop("validation", None)
    elif isinstance(data.validation, float) or "validation" not in parts:
        share = data.validation if isinstance(data.validation, float) else VALIDATION_SHARE
        parts["train"], parts["validation"] = _carve(parts["train"], share, recipe.seed + 1, "data.validation")
    return Dataset(labels, parts["train"], parts.get("validation"), parts["test"])


def _carve(train: Examples, share: float, seed: int, key: str) -> tuple[Examples, Examples]:
    stays, carved = carve(train, share, seed)
    if not carved:
        raise HeadstartError(
            f"{key}: no class has two training examples left to carve {share:g} from; give more examples or smaller shares "
            "(data.test, data.validation)"
        )
    return stays, carved


def _readable(listing: Listing, labels: tuple[str, ...], role: str) -> tuple[Examples, list[str]]:
    strangers = sorted(set(listing.files) - set(labels))
    if strangers:
        raise HeadstartError(
            f"{listing.folder}: the {role} part has classes that training lacks: {', '.join(strangers[:5])}; "
            f"expected some of {', '.join(labels[:10])}. Remove those folders or add training images of them"
        )
    rows = [(path, labels.index(name)) for name, paths in listing.files.items() for path in paths]
    checked = digests_or_faults([path for path, _ in rows])
    good = [(path, label, digest) for (path, label), (digest, _) in zip(rows, checked, strict=True) if digest]
    faults = [f"{printable(path)} ({fault})" for (path, _), (_, fault) in zip(rows, checked, strict=True) if fault]
    items = tuple(path for path, _, _ in good)
    names = tuple(printable(Path(path).relative_to(listing.folder).as_posix()) for path in items)
    examples = Examples(items, tuple(label for _, label, _ in good), names, tuple(digest for *_, digest in good))
    return examples, faults


def _unreadable(faults: list[str], policy: str, readable: int) -> str:
    shown = "; ".join(faults[:5]) + (f"; and {len(faults) - 5} more" if len(faults) > 5 else "")
    found = f"{len(faults)} of {len(faults) + readable} images cannot be read: {shown}"
    if not readable:
        raise HeadstartError(f"{found}. Expected at least two readable images of two classes; replace the files")
    if policy == "error":
        raise HeadstartError(f'{found}. Replace or remove them, or set data.unreadable = "drop" to leave them out')
    return f"{found}. They are left out"


def _enough(train: Examples, labels: tuple[str, ...], folder: Path, faults: list[str]) -> None:
    if len(labels) < 2:
        raise HeadstartError(
            f"{folder}: found one class only ({labels[0]}); expected at least two folders of images, one a class"
        )
    counts = Counter(train.labels)
    small = [f"{name} ({counts[index]})" for index, name in enumerate(labels) if counts[index] < 2]
    if small:
        raise HeadstartError(
            f"{folder}: too few readable training images of {', '.join(small[:5])}; expected at least 2 a class. "
            "Add images or remove the folder" + (f". {len(faults)} cannot be read: {faults[0]}" if faults else "")
        )
