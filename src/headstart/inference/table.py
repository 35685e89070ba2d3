"""Predictions as a table: a row an example, written once each, also by a command that was stopped
and started again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from itertools import islice
from pathlib import Path

from headstart.data.inputs import STDIN, Input
from headstart.data.unicode import printable
from headstart.errors import HeadstartError
from headstart.files import atomic, beside, try_lock
from headstart.inference.predict import Prediction, Predictor, Unreadable
from headstart.report.predictions import (
    FIRST_COLUMNS,
    LAST_COLUMNS,
    Row,
    columns,
    row_of,
    write_csv,
)

ROWS = 10_000  # of a table in memory


def write_table(
    out: Path,
    predictor: Predictor,
    paths: Sequence[str],
    top: int,
    tta: bool,
    seen: Callable[[], None],
) -> tuple[int, int, int]:
    """Write the predictions of all examples to a table that appears when it is whole: how many rows
    it has, how many examples of them could not be read, and how many were refused.

    Until then they lie in a hidden file beside it, from which the same command goes on if it was
    stopped. An example that comes twice, by its name, has one row.

    Args:
        out: .csv, .jsonl or .parquet. top: how many labels a row has: the second most probable one
            and its probability are in further columns, and so on. seen: is called for each example.

    Raises:
        HeadstartError: the table is there already, of no known kind, being written by another
            process, or was begun otherwise.
    """
    if out.suffix not in WRITERS:
        raise HeadstartError(
            f"--out: unknown kind of table {out.name!r}; expected {', '.join(WRITERS)}"
        )
    if out.exists():
        raise HeadstartError(f"--out: {out} is there already; move it away, or give another name")
    out.parent.mkdir(parents=True, exist_ok=True)
    part = beside(out, "part")
    with try_lock(beside(out, "lock")) as mine:
        if not mine:
            raise HeadstartError(
                f"--out: another process is writing {out}; wait for it, or give another name"
            )
        header = columns(predictor.labels)
        header += [
            f"{name}_{number}"
            for number in range(2, top + 1)
            for name in ("predicted", "probability")
        ]
        if STDIN in paths:  # what comes there cannot be told from what came before
            part.unlink(missing_ok=True)
        inputs = predictor.inputs_from_paths(paths)
        done = _begun(part, _key(predictor, paths, top, tta), header)
        with _gone_on_with(part), part.open("a", encoding="utf-8") as file:
            for outcome in predictor.stream(_new(inputs, done), tta):
                file.write(json.dumps(_row(outcome, top), ensure_ascii=False) + "\n")
                seen()
        with atomic(out, exclusive=True) as draft:
            WRITERS[out.suffix](_rows(part), header, draft)
            told = [("error" in row, bool(row.get("refused"))) for row in _rows(part)]
        part.unlink()
    return len(told), sum(error for error, _ in told), sum(refused for _, refused in told)


@contextmanager
def _gone_on_with(part: Path) -> Iterator[None]:
    """Keep what is written to a file for the same command, unless that would meet the same trouble
    again."""
    try:
        yield
    except HeadstartError:
        part.unlink()
        raise


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


def _key(predictor: Predictor, paths: Sequence[str], top: int, tta: bool) -> Row:
    """What a table was begun with: the models, the options, and the arguments with the states of
    files among them."""
    models = [(member.source, _digest(Path(member.source))) for member in predictor.members]
    given = [[printable(path), *_state(path)] for path in paths]
    refusal = asdict(predictor.refusal) if predictor.refusal else None
    options = {"weights": predictor.weights.tolist(), "refusal": refusal, "top": top, "tta": tta}
    return {"models": models, **options, "given": given}


def _state(path: str) -> list[int]:
    """Size and time of change of a file."""
    try:
        state = Path(path).stat()
    except (OSError, ValueError):  # a text as it stands
        return []
    return [state.st_size, state.st_mtime_ns] if Path(path).is_file() else []


def _digest(source: Path) -> str:
    """SHA-256 over the files of a model."""
    total = hashlib.sha256()
    for path in (
        [source]
        if source.is_file()
        else sorted(path for path in (source / "model").rglob("*") if path.is_file())
    ):
        with path.open("rb") as file:
            total.update(hashlib.file_digest(file, "sha256").digest())
    return total.hexdigest()


def _begun(part: Path, key: Row, columns: list[str]) -> set[str]:
    """The names of the examples that a stopped command has written; what it wrote by half is cut
    off.

    Raises:
        HeadstartError: it was another command, or the file is damaged.
    """
    line = json.dumps(key, ensure_ascii=False)
    if not part.exists():
        part.write_text(line + "\n", encoding="utf-8")
        return set()
    whole, done = 0, set()
    with part.open("rb+") as file:
        for number, row in enumerate(file):
            if not row.endswith(b"\n"):
                break
            if not number and row != f"{line}\n".encode():
                raise HeadstartError(
                    f"--out: {part} was begun with another model, other options or other "
                    "examples; give those again to go on, or delete it to begin anew"
                )
            if number:
                done.add(_example(row, columns, part))
            whole += len(row)
        file.truncate(whole)
    if not whole:
        part.write_text(line + "\n", encoding="utf-8")
    return done


def _example(row: bytes, columns: list[str], part: Path) -> str:
    try:
        read = json.loads(row)
        if not isinstance(read["example"], str) or not set(read) <= set(columns):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise HeadstartError(f"--out: {part} is damaged; delete it to begin anew") from None
    return str(read["example"])


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
            file.write(
                json.dumps({column: row.get(column) for column in columns}, ensure_ascii=False)
                + "\n"
            )


def _parquet(rows: Iterable[Row], columns: list[str], path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    kinds = {
        "refused": pa.bool_(),
        **{name: pa.string() for name in (*FIRST_COLUMNS[:3], *LAST_COLUMNS[1:])},
    }
    texts = {name: pa.string() for name in columns if name.startswith("predicted_")}
    schema = pa.schema({name: (kinds | texts).get(name, pa.float64()) for name in columns})
    following = iter(rows)
    with pq.ParquetWriter(path, schema) as file:
        while some := list(islice(following, ROWS)):
            file.write_table(pa.Table.from_pylist(some, schema))


WRITERS: dict[str, Callable[[Iterable[Row], list[str], Path], None]] = {
    ".csv": write_csv,
    ".jsonl": _json_lines,
    ".parquet": _parquet,
}
