"""Which column of a table is which: named in the recipe, or guessed with a reason."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from headstart.data.tables import Table
from headstart.data.train_test_folders import role_of
from headstart.data.unicode import quoted
from headstart.errors import HeadstartError
from headstart.recipe import Columns

LABELS = ("label", "labels", "class", "category", "target", "sentiment", "intent")
ITEMS = {
    "text": (
        "text",
        "sentence",
        "text_a",
        "texts",
        "content",
        "review",
        "body",
        "document",
        "comment",
        "tweet",
        "question",
    ),
    "image": ("image", "images", "path", "file", "filename", "file_name", "image_path"),
}
SPLITS = ("split", "set", "part", "subset", "partition", "data_split", "dataset_split")
SHOWN = 3  # values of a column
LONGEST_PART = 40  # characters of the name of a part
CACHED = 1000  # different values of a column
USUAL = {
    *LABELS,
    *ITEMS["text"],
    *ITEMS["image"],
    *SPLITS,
    "id",
    "idx",
    "index",
    "title",
    "name",
    "score",
    "rating",
}
PAIRS = (
    ("premise", "hypothesis"),
    ("question", "passage"),
    ("question", "answer"),
    ("question", "context"),
    ("question", "sentence"),
    ("query", "document"),
    ("query", "passage"),
    ("context", "response"),
)
STEMS = (
    "text",
    "sentence",
    "sent",
    "question",
    "q",
    "phrase",
    "utterance",
    "document",
    "doc",
    "string",
    "seq",
)


@dataclass(frozen=True)
class Chosen:
    """The columns that are read: of texts or image paths, of labels, of groups or times, of parts;
    and `notes` on what was guessed."""

    item: str
    label: str
    key: str | None = None
    split: str | None = None
    notes: tuple[str, ...] = ()


def choose(table: Table, asked: Columns, kind: str, guess_split: bool = False) -> Chosen:
    """The columns of a table that are asked for, and the others as far as names or two columns
    leave no choice.

    Args:
        kind: "text" or "image".
        guess_split: whether a column that is called so, and mostly holds names of parts, tells the
            parts.

    Raises:
        HeadstartError: a column that was asked for is missing, or nothing says which one it is.
    """
    other = "image" if kind == "text" else "text"
    if getattr(asked, other) is not None:
        raise HeadstartError(
            f"data.columns.{other}: the task reads {kind}s; remove it, or name the {kind}s with "
            f"data.columns.{kind}"
        )
    named = {"label": asked.label, kind: getattr(asked, kind)}
    apart = {"group": asked.group, "time": asked.time, "split": asked.split}
    for role, name in {**named, **apart}.items():
        if name is not None and name not in table.columns:
            raise HeadstartError(f"data.columns.{role}: {table.no_column(name)}")
    if not all(named.values()):
        _check_header(table)
    notes: list[str] = []
    unused: dict[str, str] = {}
    split = asked.split
    if split is None and guess_split:
        split, unused = split_of(table, {*named.values(), *apart.values()})
        notes = [f"column {split!r} tells the parts (by its name)"] if split else []
    table = replace(
        table, columns=tuple(name for name in table.columns if name not in {*apart.values(), split})
    )
    if len(table.columns) < 2:
        raise HeadstartError(
            f"{table.path}: found the column {table.listed()} only; expected one of {kind}s and "
            "one of labels, with their names in the first line"
        )
    if kind == "text" and named[kind] is None and (two := pair(table.columns)):
        raise HeadstartError(
            f"{table.path}: {two[0]!r} and {two[1]!r} look like pairs of texts, which cannot be "
            "learned together yet. Name the "
            f'one to read, data.columns.text = "{two[0]}", or write both into one column and '
            "name that"
        )
    label = named["label"] or _by_name(table, LABELS, named[kind])
    item = named[kind] or _by_name(table, ITEMS[kind], label)
    reason = "by their names"
    if (label is None or item is None) and len(table.columns) == 2:
        reason = "there are only two columns"
        if label is None and item is None:
            label, reason = (
                _fewer_values(table),
                "of the two columns the labels repeat themselves more",
            )
        label = label or next(name for name in table.columns if name != item)
        item = item or next(name for name in table.columns if name != label)
    if item is None or label is None:
        missing = " and ".join(
            role for role, name in ((kind, item), ("label", label)) if name is None
        )
        tags = (
            [name for name, values in table.sample().items() if is_tag(values)]
            if label is None
            else []
        )
        hint = (
            f". {_list(tags)} hold 0 and 1 only, one tag each: a run learns one of them"
            if len(tags) > 1
            else ""
        )
        raise HeadstartError(
            f"{table.path}: nothing says which column holds the {missing}; it has "
            f"{table.listed()}. Name them: "
            f'data.columns = {{ {kind} = "{item or "…"}", label = '
            f'"{label or (tags[0] if tags else "…")}" }}{hint}'
        )
    if item == label:
        raise HeadstartError(
            f"data.columns: {kind} and label are both {item!r}; {table.path} has {table.listed()}"
        )
    if not all(named.values()):
        notes.insert(0, f"{kind}s are column {item!r}, labels are column {label!r} ({reason})")
    notes += [why for name, why in unused.items() if name not in (item, label)]
    return Chosen(item, label, asked.group or asked.time, split, tuple(notes))


def example_in_header(table: Table) -> str | None:
    """The cell of the first line that shows it to be an example: its value occurs again below, or
    is a number above numbers.

    None where one of the names is a usual one, or all are the numbers of the columns.
    """
    names = table.columns
    if table.path.suffix.lower() not in (".csv", ".tsv") or USUAL & {
        name.lower() for name in names
    }:
        return None
    if names in [tuple(map(str, range(first, first + len(names)))) for first in (0, 1)]:
        return None
    for name, values in table.sample().items():
        below = [str(value) for value in values]
        if name in below or (below and all(map(is_number, [name, *below]))):
            return name
    return None


def _check_header(table: Table) -> None:
    cell = example_in_header(table)
    if cell is not None:
        raise HeadstartError(
            f"{table.path}: the first line looks like an example, not like names of columns "
            f"({cell!r} is also a value below "
            "or a number). Give the columns names in a first line, or set data.header = false; "
            'columns are then called "1", "2" and so on: data.columns = { text = "1", label = '
            '"2" }'
        )


def pair(columns: Sequence[str]) -> tuple[str, str] | None:
    """Two columns whose names say that a text of one belongs to a text of the other."""
    names = {name.lower().replace(" ", "_"): name for name in columns}
    numbered = [
        (f"{stem}{joint}{one}", f"{stem}{joint}{two}")
        for stem in STEMS
        for joint in ("", "_")
        for one, two in ("12", "ab")
    ]
    return next(
        (
            (names[one], names[two])
            for one, two in (*PAIRS, *numbered)
            if one in names and two in names
        ),
        None,
    )


def is_tag(values: Iterable[object]) -> bool:
    """Whether a column holds 0 and 1 only, and both."""
    return {str(value).removesuffix(".0").casefold() for value in values} in (
        {"0", "1"},
        {"false", "true"},
    )


def split_of(table: Table, taken: Collection[str | None] = ()) -> tuple[str | None, dict[str, str]]:
    """(The column that tells the parts, if there is just one that is called so and says so; if not,
    the columns that are called so, each with a sentence on why it does not).

    A column says so if most of its values name parts, and some the training part. All rows count,
    in whatever order.
    """
    likely = [name for name in table.columns if name.lower() in SPLITS and name not in taken]
    unused = {name: why for name in likely if (why := _no_parts(table, name))}
    telling = [name for name in likely if name not in unused]
    if len(telling) == 1:
        return telling[0], {}
    if telling:
        unused[telling[0]] = (
            f"columns {_list(telling)} are not used: each tells the parts; name one with "
            "data.columns.split"
        )
    return None, unused


def _no_parts(table: Table, column: str) -> str | None:
    """A sentence on why a column does not tell the parts; None if it does."""
    role = lru_cache(CACHED)(role_of)
    rows = 0
    roles: Counter[str] = Counter()
    others: dict[str, None] = {}
    for _, (value,) in table.rows((column,)):
        text = "" if value is None else str(value).strip()[:LONGEST_PART]
        rows += 1
        if (part := role(text)) is not None:
            roles[part] += 1
        elif len(others) < SHOWN:
            others[text] = None
    if roles["train"] and 2 * roles.total() > rows:
        return None
    shown = f"{', '.join(map(quoted, others))} ({rows - roles.total():,} of {rows:,} rows)"
    if roles["train"]:
        found = f"also says {shown}"
    elif roles or not others:
        found = "says train in no row"
    elif all(map(is_number, others)):
        found = f"holds numbers of folds or sets ({', '.join(others)})"
    else:
        found = f"says {shown}"
    return (
        f"column {column!r} is not used: it {found}. To have it tell the parts, write train, "
        "validation or test into it and "
        f'set data.columns.split = "{column}"'
    )


def _by_name(table: Table, names: tuple[str, ...], other: str | None) -> str | None:
    """The column whose name is one of these, if there is just one."""
    found = [column for column in table.columns if column.lower() in names and column != other]
    return found[0] if len(found) == 1 else None


def _fewer_values(table: Table) -> str:
    values = table.sample()
    return min(table.columns, key=lambda name: len({str(value) for value in values[name]}))


def _list(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:10]))


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True
