"""Labelled texts as an Arrow file in the cache: written once a content, then mapped into memory and
never read whole."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import numpy as np
import pyarrow as pa

from headstart.data.arrow_column import ArrowColumn, map_arrow_file
from headstart.data.cache import cache_folder, cache_lock, make_room, mark_used
from headstart.data.class_folders import ClassFiles
from headstart.data.column_selection import SelectedColumns, is_number
from headstart.data.dataset import Examples
from headstart.data.labelled_rows import LabelledRow, labelled_rows
from headstart.data.skipped import Skipped, skip
from headstart.data.tables import SAMPLE_ROWS, Table
from headstart.data.unicode import ENCODING_SAMPLE, is_utf16, printable
from headstart.errors import DataError, HeadstartError
from headstart.files import atomic, file_digest, remove

FORMAT = 5  # raise it when what is written changes
ROWS = 10_000  # of a chunk
SCHEMA = pa.schema(
    {
        "item": pa.string(), "name": pa.string(), "label": pa.int32(), "digest": pa.binary(32),
        "key": pa.string(), "role": pa.int8(),
    }
)  # fmt: skip
Row = tuple[LabelledRow, str | None]  # with its text; None if that is not UTF-8


@dataclass(frozen=True)
class Texts:
    """Labelled texts of one part; `labels` are the names of their classes."""

    examples: Examples
    labels: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.examples)


def of_table(table: Table, columns: SelectedColumns) -> tuple[dict[str, Texts], Skipped]:
    """(the texts of a table by the role in its split column or "", the rows left out).

    Raises:
        HeadstartError: the text column holds numbers only, or the label column no labels.
    """
    first_rows = islice(table.rows((columns.item,)), SAMPLE_ROWS)
    sample = ["" if value is None else str(value).strip() for _, (value,) in first_rows]
    numbers = [text for text in sample if text]
    if numbers and all(map(is_number, numbers)):
        raise DataError(
            f"data.columns.text: column {columns.item!r} of {table.path} holds numbers only (such "
            f"as {numbers[0]}); expected texts. The table has {table.list_columns()}"
        )
    before = table.path.stat()
    content = file_digest(table.path)

    def rows() -> Iterator[Row]:
        for row in labelled_rows(table, columns):
            yield row, plain_text(row.value, row.name)
        after = table.path.stat()
        if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
            raise _changed(table.path)

    selected = [columns.item, columns.label, columns.key, columns.split]
    address = [content, selected, table.columns, table.path.name]
    return _cached(rows(), address, before.st_size, columns.key is not None)


def of_files(files: ClassFiles) -> tuple[Texts, Skipped]:
    """(the texts in folders of .txt files, one folder a class; the files left out)."""
    paths = [(label, Path(path)) for label, in_class in files.files.items() for path in in_class]
    names = [path.relative_to(files.folder).as_posix() for _, path in paths]
    digests = [hashlib.sha256(path.read_bytes()).hexdigest() for _, path in paths]

    def rows() -> Iterator[Row]:
        for (label, path), name, digest in zip(paths, names, digests, strict=True):
            content = path.read_bytes()
            if hashlib.sha256(content).hexdigest() != digest:
                raise _changed(path)
            yield LabelledRow(printable(name), content, label), plain_text(content, name)

    size = sum(path.stat().st_size for _, path in paths)
    parts, skipped = _cached(rows(), [names, digests], size)
    return parts[""], skipped


def _changed(path: Path) -> HeadstartError:
    return DataError(f"{path}: was changed while it was read; run the recipe again")


def _cached(
    rows: Iterator[Row], address: Sequence[object], size: int, has_keys: bool = False
) -> tuple[dict[str, Texts], Skipped]:
    """The texts from the cache, written to it on first use."""
    key = hashlib.sha256(json.dumps([FORMAT, *address]).encode()).hexdigest()[:32]
    folder = cache_folder() / "texts" / key
    with cache_lock(folder):
        try:
            return _open(folder, has_keys)
        # not there, or damaged
        except (OSError, pa.ArrowException, ValueError, LookupError, TypeError, RecursionError):
            remove(folder)
        make_room(folder, size)
        with atomic(folder, exclusive=True) as draft:
            draft.mkdir()
            _write(rows, draft)
        return _open(folder, has_keys)


def _open(folder: Path, has_keys: bool) -> tuple[dict[str, Texts], Skipped]:
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    path = folder / "texts.arrow"
    labels, roles = (map_arrow_file(path)[field].to_numpy() for field in ("label", "role"))
    item, name, key = (ArrowColumn[str]((path,), field) for field in ("item", "name", "key"))
    digest = ArrowColumn[bytes]((path,), "digest")
    examples = Examples(item, labels.astype(np.int64), name, digest, key if has_keys else None)
    mark_used(folder)
    parts = {}
    for index, role in enumerate(about["roles"]):
        part = examples.take(np.flatnonzero(roles == index))
        used, labels = np.unique(part.labels, return_inverse=True)
        class_names = tuple(about["labels"][label] for label in used)
        parts[role] = Texts(replace(part, labels=labels), class_names)
    skipped = {reason: (count, names) for reason, (count, names) in about["skipped"].items()}
    return parts or {"": Texts(examples, ())}, skipped


def _write(rows: Iterator[Row], folder: Path) -> None:
    labels, roles = dict[str, int](), dict[str, int]()
    skipped: Skipped = {}

    def usable() -> Iterator[dict[str, object]]:
        for row, text in rows:
            if row.problem or not (text and text.strip()):
                reason = row.problem or ("no UTF-8 text" if text is None else "an empty text")
                skip(skipped, reason, row.name)
                continue
            yield {
                "item": text,
                "name": row.name,
                "label": labels.setdefault(row.label, len(labels)),
                "digest": hashlib.sha256(text.encode()).digest(),
                "key": row.key,
                "role": roles.setdefault(row.role, len(roles)),
            }

    records = usable()
    with (
        pa.OSFile(str(folder / "texts.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, SCHEMA) as file,
    ):
        while chunk := list(islice(records, ROWS)):
            file.write_batch(pa.RecordBatch.from_pylist(chunk, SCHEMA))
    about = {"labels": list(labels), "roles": list(roles), "skipped": skipped}
    (folder / "about.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def plain_text(value: object, name: str) -> str | None:
    """A text as UTF-8 can hold it, "" where there is none; None for bytes that are no UTF-8.

    Raises:
        HeadstartError: it is no text at all.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes):
        try:
            return None if is_utf16(value[:ENCODING_SAMPLE]) else value.decode("utf-8-sig")
        except UnicodeDecodeError:
            return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise DataError(
            f"{name}: found {type(value).__name__} ({str(value)[:40]}); expected a text"
        )
    return str(value).encode("utf-8", "replace").decode()
