"""Tables of predictions: one row for each example, also after an interruption."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from headstart.data.inputs import STDIN, Input
from headstart.data.unicode import printable
from headstart.errors import HeadstartError, RunError
from headstart.files import atomic, beside, try_lock
from headstart.inference.predict import Prediction, Predictor, Unreadable
from headstart.report.predictions import Row, columns, row_of, write_csv

ROWS = 10_000  # of a table in memory


def write_table(
    out: Path,
    predictor: Predictor,
    paths: Sequence[str],
    top: int,
    tta: bool,
    seen: Callable[[], None],
) -> tuple[int, int, int]:
    """Write the predictions of all examples to a table, which appears when it is complete.

    Until then they lie in a hidden file beside it, from which the same command goes on if it was
    stopped. An example that comes twice, by its name, has one row.

    Args:
        out: .csv, .jsonl or .parquet.
        top: how many labels a row has; columns predicted_2, probability_2 and so on.
        seen: is called for each example.

    Returns:
        (rows, rows of unreadable examples, rows of refused examples).

    Raises:
        HeadstartError: the table exists, has an unknown suffix, is being written by another
            process, or was begun with other options.
    """
    if out.suffix not in WRITERS:
        raise RunError(f"--out: unknown kind of table {out.name!r}; expected {', '.join(WRITERS)}")
    if out.exists():
        raise RunError(f"--out: {out} is there already; move it away, or give another name")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = beside(out, "part")
    with try_lock(beside(out, "lock")) as is_mine:
        if not is_mine:
            raise RunError(
                f"--out: another process is writing {out}; wait for it, or give another name"
            )
        header = columns(predictor.labels)
        for number in range(2, top + 1):
            header += [f"predicted_{number}", f"probability_{number}"]
        if STDIN in paths:  # its examples may be others than those of an earlier call
            part.unlink(missing_ok=True)
        inputs = predictor.inputs_from_paths(paths)
        inputs = _new(inputs, _begin(part, _key(predictor, paths, top, tta), header))
        try:
            with part.open("a", encoding="utf-8") as file:
                for outcome in predictor.stream(inputs, tta):
                    file.write(json.dumps(_row(outcome, top), ensure_ascii=False) + "\n")
                    seen()
        except HeadstartError:  # the same command would fail again
            part.unlink()
            raise
        with atomic(out, exclusive=True) as draft:
            WRITERS[out.suffix](_rows(part), header, draft)
        counts = Counter(
            "unreadable" if "error" in row else "refused" if row["refused"] else ""
            for row in _rows(part)
        )
        part.unlink()
    return counts.total(), counts["unreadable"], counts["refused"]


def _row(outcome: Prediction | Unreadable, top: int) -> Row:
    if isinstance(outcome, Unreadable):
        return {"example": outcome.name, "error": outcome.fault}
    chances = outcome.probabilities
    row = row_of(
        outcome.name, outcome.label, list(chances), list(chances.values()), refused=outcome.refused
    )
    for number, (label, probability) in list(enumerate(outcome.top(top), 1))[1:]:
        row |= {f"predicted_{number}": label, f"probability_{number}": round(probability, 6)}
    return row


def _key(predictor: Predictor, paths: Sequence[str], top: int, tta: bool) -> str:
    """What a table was begun with, as JSON: models, options, and arguments with the states of
    files among them."""
    refusal = asdict(predictor.refusal) if predictor.refusal else None
    key = {
        "models": [(member.source, _digest(Path(member.source))) for member in predictor.members],
        "weights": predictor.weights.tolist(),
        "refusal": refusal,
        "top": top,
        "tta": tta,
        "given": [[printable(path), *_state(path)] for path in paths],
    }
    return json.dumps(key, ensure_ascii=False)


def _state(path: str) -> list[int]:
    """Size and modification time of a file; empty for anything else."""
    try:
        state = Path(path).stat()
        return [state.st_size, state.st_mtime_ns] if Path(path).is_file() else []
    except (OSError, ValueError):  # a text
        return []


def _digest(source: Path) -> str:
    """SHA-256 over the files of a model."""
    total = hashlib.sha256()
    files = [source] if source.is_file() else sorted((source / "model").rglob("*"))
    for path in filter(Path.is_file, files):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _begin(part: Path, key: str, columns: list[str]) -> set[str]:
    """Begin a file with a key, or cut off a row that a stopped command has written by half.

    Returns:
        The names of the examples in it.

    Raises:
        HeadstartError: it has another key, or is damaged.
    """
    complete, done = 0, set()
    part.touch()
    with part.open("rb+") as file:
        for number, line in enumerate(file):
            if not line.endswith(b"\n"):
                break
            if number:
                done.add(_example(line, columns, part))
            elif line != f"{key}\n".encode():
                raise RunError(
                    f"--out: {part} was begun with another model, other options or other "
                    "examples; give those again to go on, or delete it to begin anew"
                )
            complete += len(line)
        file.truncate(complete)
        if not complete:
            file.seek(0)
            file.write(f"{key}\n".encode())
    return done


def _example(line: bytes, columns: list[str], part: Path) -> str:
    """The name of the example in a row."""
    try:
        row = json.loads(line)
        if not isinstance(row["example"], str) or not set(row) <= set(columns):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise RunError(f"--out: {part} is damaged; delete it to begin anew") from None
    return str(row["example"])


def _new(inputs: Iterator[Input], done: set[str]) -> Iterator[Input]:
    for example in inputs:
        if example.name not in done:
            done.add(example.name)
            yield example


def _rows(part: Path) -> Iterator[Row]:
    with part.open(encoding="utf-8") as file:
        next(file)
        yield from map(json.loads, file)


def _json_lines(rows: Iterable[Row], columns: list[str], path: Path) -> None:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            cells = {column: row.get(column) for column in columns}
            file.write(json.dumps(cells, ensure_ascii=False) + "\n")


def _parquet(rows: Iterable[Row], columns: list[str], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    texts = {"example", "label", "predicted", "error"}
    texts |= {name for name in columns if name.startswith("predicted_")}
    kinds = {"refused": pa.bool_(), **dict.fromkeys(texts, pa.string())}
    schema = pa.schema({name: kinds.get(name, pa.float64()) for name in columns})
    rest = iter(rows)
    with pq.ParquetWriter(path, schema) as file:
        while chunk := list(islice(rest, ROWS)):
            file.write_table(pa.Table.from_pylist(chunk, schema))


WRITERS: dict[str, Callable[[Iterable[Row], list[str], Path], None]] = {
    ".csv": write_csv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
