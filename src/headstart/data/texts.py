"""Labelled texts as an Arrow file in the cache: written once a content, then mapped into memory and never read whole."""

from __future__ import annotations

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from headstart.data.cache import cache_folder, cache_limit, locked, make_once, make_room
from headstart.data.column import Column, arrow_table
from headstart.data.dataset import Examples
from headstart.data.listing import Listing
from headstart.data.names import label_name, printable
from headstart.data.tables import LOOKED_AT, Table
from headstart.errors import HeadstartError

FORMAT = 3  # raise it when what is written changes
ROWS = 10_000  # of a chunk
MOST_LABELS = 10_000
SHOWN = 5
SCHEMA = pa.schema(
    {"item": pa.string(), "name": pa.string(), "label": pa.int32(), "digest": pa.binary(32), "key": pa.string()}
)
Record = tuple[str, str | None, Any, Any]  # name, text, label, group or time


@dataclass(frozen=True)
class Texts:
    """The labelled texts of one part: labels by their own names, and what was left out (how many, and the first few)."""

    examples: Examples
    labels: tuple[str, ...]
    left_out: dict[str, tuple[int, list[str]]]


def of_table(table: Table, text: str, label: str, key: str | None = None) -> Texts:
    """The texts of a table; `key` is the column of their groups or times.

    Raises:
        HeadstartError: the text column holds numbers only, or the label column no labels.
    """
    seen = [row for _, row in islice(table.rows((text,)), LOOKED_AT)]
    written = [str(value).strip() for (value,) in seen if value is not None and str(value).strip()]
    if written and all(map(_is_number, written)):
        raise HeadstartError(
            f"data.columns.text: column {text!r} of {table.path} holds numbers only (such as {written[0]}); expected texts. "
            f"The table has {', '.join(map(printable, table.columns))}"
        )
    before = table.path.stat()
    with table.path.open("rb") as file:
        content = hashlib.file_digest(file, "sha256").hexdigest()

    def records() -> Iterator[Record]:
        for number, (value, own_label, *more) in table.rows((text, label, *([key] if key else []))):
            name = f"{printable(table.path.name)}:{number}"
            yield name, plain_text(value, name), own_label, more[0] if more else ""
        after = table.path.stat()
        if (after.st_mtime_ns, after.st_size) != (before.st_mtime_ns, before.st_size):
            raise HeadstartError(f"{table.path}: was changed while it was read; run the recipe again")

    where = f"data.columns.label: column {label!r} of {table.path}"
    return _kept(records(), [content, text, label, key, table.path.name], where, before.st_size, key is not None)


def of_files(listing: Listing) -> Texts:
    """The texts of a folder of .txt files, one folder a class."""
    files = [(label, Path(path)) for label, paths in listing.files.items() for path in paths]
    names = [path.relative_to(listing.folder).as_posix() for _, path in files]
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() for _, path in files]

    def records() -> Iterator[Record]:
        for (label, path), name, content in zip(files, names, contents, strict=True):
            held = path.read_bytes()
            if hashlib.sha256(held).hexdigest() != content:
                raise HeadstartError(f"{path}: was changed while it was read; run the recipe again")
            yield printable(name), plain_text(held, name), label, ""

    size = sum(path.stat().st_size for _, path in files)
    return _kept(records(), [names, contents], str(listing.folder), size)


def _kept(records: Iterator[Record], address: list[Any], where: str, size: int, keyed: bool = False) -> Texts:
    """The records from the cache, written to it on first use."""
    key = hashlib.sha256(json.dumps([FORMAT, *address]).encode()).hexdigest()[:32]
    folder = cache_folder() / "texts" / key
    with locked(folder.with_suffix(".lock")):
        try:
            return _opened(folder, keyed)
        except (OSError, pa.ArrowException, ValueError, KeyError, TypeError, RecursionError):  # not there, or damaged
            shutil.rmtree(folder, ignore_errors=True)
        make_room(folder.parent, folder, size, cache_limit())
        make_once(folder, lambda draft: _write(records, draft, where, keyed))
        return _opened(folder, keyed)


def _opened(folder: Path, keyed: bool) -> Texts:
    about = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    path = folder / "texts.arrow"
    labels = arrow_table(path)["label"].to_numpy().astype(np.int64)
    item, name, digest, key = (Column((path,), field) for field in ("item", "name", "digest", "key"))
    examples = Examples(item, labels, name, digest, key if keyed else None)
    os.utime(folder)  # the folders used longest ago go first when room is needed
    return Texts(examples, tuple(about["labels"]), {key: (n, some) for key, (n, some) in about["left_out"].items()})


def _write(records: Iterator[Record], folder: Path, where: str, keyed: bool) -> None:
    labels: dict[str, int] = {}
    left_out: dict[str, tuple[int, list[str]]] = {}
    rows: list[tuple[str, str, int, bytes, str]] = []
    count = 0
    with pa.OSFile(str(folder / "texts.arrow"), "wb") as sink, pa.ipc.new_file(sink, SCHEMA) as file:
        for name, text, label, key in records:
            label, key = _label(label, where, name), "" if key is None else str(key).strip()
            if label is None or text is None or not text.strip() or (keyed and not key):
                fault = "no label" if label is None else "no UTF-8 text" if text is None else "an empty text"
                fault = "no group or time" if keyed and not key else fault
                n, some = left_out.get(fault, (0, []))
                left_out[fault] = n + 1, [*some, name][:SHOWN]
                continue
            digest = hashlib.sha256(text.encode()).digest()
            rows.append((text, name, labels.setdefault(label, len(labels)), digest, key))
            count += 1
            if len(rows) == ROWS:
                _put(rows, file)
                _few_enough(labels, count, where)
        _put(rows, file)
        _few_enough(labels, count, where)
    about = {"labels": list(labels), "left_out": left_out}
    (folder / "about.json").write_text(json.dumps(about, ensure_ascii=False), encoding="utf-8")


def _put(rows: list[tuple[str, str, int, bytes, str]], file: Any) -> None:
    if rows:
        columns = zip(*rows, strict=True)
        file.write_batch(pa.record_batch([pa.array(v, f.type) for v, f in zip(columns, SCHEMA, strict=True)], SCHEMA))
        rows.clear()


def _few_enough(labels: dict[str, int], rows: int, where: str) -> None:
    if len(labels) > MOST_LABELS or len(labels) > max(100, rows // 2):
        raise HeadstartError(
            f"{where} has {len(labels):,} different values in {rows:,} rows (such as {', '.join(list(labels)[:3])}); expected "
            "a label that repeats itself. Name the column of the labels with data.columns.label"
        )


def plain_text(value: Any, name: str) -> str | None:
    """A text as UTF-8 can hold it, "" where there is none; None for bytes that are no UTF-8.

    Raises:
        HeadstartError: it is no text at all.
    """
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8-sig")
        except UnicodeDecodeError:
            return None
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise HeadstartError(f"{name}: found {type(value).__name__} ({str(value)[:40]}); expected a text")
    return str(value).encode("utf-8", "replace").decode()


def _label(value: Any, where: str, name: str) -> str | None:
    """A label's name; None where there is none."""
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and not value.is_integer():
        raise HeadstartError(f"{where}: found {value} in {name}; expected names or whole numbers")
    if not isinstance(value, str | int | float):
        raise HeadstartError(f"{where}: found {type(value).__name__} in {name}; expected names or whole numbers")
    return label_name(str(int(value) if isinstance(value, float) else value), f"{where}, {name}") or None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
