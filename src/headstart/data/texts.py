"""Labelled texts as an Arrow file in the cache: written once a content, then mapped into memory and
never read whole."""

from __future__ import annotations

import hashlib
import json
import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from headstart.data.arrow_column import ArrowColumn, map_arrow_file
from headstart.data.cache import cache_folder, cache_lock, make_room, mark_used
from headstart.data.class_folders import ClassFiles
from headstart.data.column_selection import SelectedColumns, is_number
from headstart.data.dataset import Examples
from headstart.data.label_encoding import check_label_counts, parse_label
from headstart.data.skipped import NO_KEY, NO_LABEL, NO_ROLE, Skipped, skip
from headstart.data.tables import SAMPLE_ROWS, Table
from headstart.data.train_test_folders import role_from_name
from headstart.data.unicode import ENCODING_SAMPLE, is_utf16, printable
from headstart.errors import HeadstartError
from headstart.files import atomic, remove

FORMAT = 4  # raise it when what is written changes
ROWS = 10_000  # of a chunk
SCHEMA = pa.schema(
    {
        "item": pa.string(), "name": pa.string(), "label": pa.int32(), "digest": pa.binary(32),
        "key": pa.string(),
        "role": pa.int8(),
    }
)  # fmt: skip
Record = tuple[
    str, str | None, str | None, Any, str | None
]  # name, text, label, group or time, role ("" where not told)


@dataclass(frozen=True)
class Texts:
    """Labelled texts: labels by their own names, what was left out, and the role of each where a
    column tells it."""

    examples: Examples
    labels: tuple[str, ...]
    left_out: Skipped
    roles: np.ndarray
    role_names: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.examples)

    def by_role(self) -> dict[str, Texts]:
        """The texts of each role that the column tells."""
        parts = {}
        for place, role in enumerate(self.role_names):
            part = self.examples.take(np.flatnonzero(self.roles == place))
            used, labels = np.unique(part.labels, return_inverse=True)
            names = tuple(self.labels[label] for label in used)
            parts[role] = Texts(replace(part, labels=labels), names, {}, self.roles[:0], ())
        return parts


def of_table(table: Table, chosen: SelectedColumns) -> Texts:
    """The texts of a table.

    Raises:
        HeadstartError: the text column holds numbers only, or the label column no labels.
    """
    text, label = chosen.item, chosen.label
    seen = [row for _, row in islice(table.rows((text,)), SAMPLE_ROWS)]
    written = [str(value).strip() for (value,) in seen if value is not None and str(value).strip()]
    if written and all(map(is_number, written)):
        raise HeadstartError(
            f"data.columns.text: column {text!r} of {table.path} holds numbers only (such as "
            f"{written[0]}); expected texts. The table has {table.list_columns()}"
        )
    before = table.path.stat()
    with table.path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()
    where = f"data.columns.label: column {label!r} of {table.path}"
    more = [name for name in (chosen.key, chosen.split) if name]

    def records() -> Iterator[Record]:
        for number, (value, own_label, *others) in table.rows((text, label, *more)):
            name = f"{printable(table.path.name)}:{number}"
            key, part = (others.pop(0) if column else "" for column in (chosen.key, chosen.split))
            role = role_from_name(str(part)) if chosen.split else ""
            yield name, plain_text(value, name), parse_label(own_label, where, name), key, role
        after = table.path.stat()
        if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
            raise HeadstartError(
                f"{table.path}: was changed while it was read; run the recipe again"
            )

    address = [content, text, label, *more, table.columns, table.path.name]
    return _kept(records(), address, where, before.st_size, chosen.key is not None)


def of_files(listing: ClassFiles) -> Texts:
    """The texts of a folder of .txt files, one folder a class."""
    files = [(label, Path(path)) for label, paths in listing.files.items() for path in paths]
    names = [path.relative_to(listing.folder).as_posix() for _, path in files]
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for _, path in files]

    def records() -> Iterator[Record]:
        for (label, path), name, content in zip(files, names, contents, strict=True):
            held = path.read_bytes()
            if hashlib.sha256(held).hexdigest() != content:
                raise HeadstartError(f"{path}: was changed while it was read; run the recipe again")
            yield printable(name), plain_text(held, name), label, "", ""

    size = sum(path.stat().st_size for _, path in files)
    return _kept(records(), [names, contents], str(listing.folder), size)


def _kept(
    records: Iterator[Record], address: list[Any], where: str, size: int, keyed: bool = False
) -> Texts:
    """The records from the cache, written to it on first use."""
    key = hashlib.sha256(json.dumps([FORMAT, *address]).encode()).hexdigest()[:32]
    folder = cache_folder() / "texts" / key
    with cache_lock(folder):
        try:
            return _opened(folder, keyed)
        # not there, or damaged
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, RecursionError):
            remove(folder)
        make_room(folder, size)
        with atomic(folder, exclusive=True) as draft:
            draft.mkdir()
            _write(records, draft, where, keyed)
        return _opened(folder, keyed)


def _opened(folder: Path, keyed: bool) -> Texts:
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    path = folder / "texts.arrow"
    labels, roles = (map_arrow_file(path)[field].to_numpy() for field in ("label", "role"))
    item, name, key = (ArrowColumn[str]((path,), field) for field in ("item", "name", "key"))
    digest = ArrowColumn[bytes]((path,), "digest")
    examples = Examples(item, labels.astype(np.int64), name, digest, key if keyed else None)
    mark_used(folder)
    left_out = {reason: (count, some) for reason, (count, some) in about["left_out"].items()}
    return Texts(
        examples, tuple(about["labels"]), left_out, roles.astype(np.int64), tuple(about["roles"])
    )


def _write(records: Iterator[Record], folder: Path, where: str, keyed: bool) -> None:
    labels: dict[str, int] = {}
    roles: dict[str, int] = {}
    counts: Counter[str] = Counter()
    left_out: Skipped = {}
    rows: list[tuple[str, str, int, bytes, str, int]] = []
    with (
        pa.OSFile(str(folder / "texts.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, SCHEMA) as file,
    ):
        for name, text, label, key, role in records:
            key = "" if key is None else str(key).strip()
            if (
                label is None
                or text is None
                or role is None
                or not text.strip()
                or (keyed and not key)
            ):
                skip(left_out, _reason(text, label, role, keyed and not key), name)
                continue
            digest = hashlib.sha256(text.encode()).digest()
            places = labels.setdefault(label, len(labels)), roles.setdefault(role, len(roles))
            rows.append((text, name, places[0], digest, key, places[1]))
            counts[label] += 1
            if len(rows) == ROWS:
                _put(rows, file)
                check_label_counts(counts, where, complete=False)
        _put(rows, file)
        check_label_counts(counts, where, complete=True)
    about = {"labels": list(labels), "roles": list(roles), "left_out": left_out}
    (folder / "about.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def _reason(text: str | None, label: str | None, role: str | None, keyless: bool) -> str:
    """Why a row is left out."""
    if keyless:
        return NO_KEY
    if role is None:
        return NO_ROLE
    return NO_LABEL if label is None else "no UTF-8 text" if text is None else "an empty text"


def _put(rows: list[tuple[str, str, int, bytes, str, int]], file: Any) -> None:
    if rows:
        columns = zip(*rows, strict=True)
        file.write_batch(
            pa.record_batch(
                [pa.array(v, f.type) for v, f in zip(columns, SCHEMA, strict=True)], SCHEMA
            )
        )
        rows.clear()


def plain_text(value: Any, name: str) -> str | None:
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
        raise HeadstartError(
            f"{name}: found {type(value).__name__} ({str(value)[:40]}); expected a text"
        )
    return str(value).encode("utf-8", "replace").decode()
