"""Which column of a table holds the texts or images, the labels, the groups or times and the
parts: named in the recipe, or detected and noted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from headstart.data.tables import Table
from headstart.data.train_test_folders import role_from_name
from headstart.data.unicode import quoted
from headstart.errors import DataError
from headstart.recipe import Columns

LABEL_NAMES = ("label", "labels", "class", "category", "target", "sentiment", "intent")
TEXT_NAMES = (
    "text", "sentence", "text_a", "texts", "content", "review", "body", "document", "comment",
    "tweet", "question",
)  # fmt: skip
IMAGE_NAMES = ("image", "images", "path", "file", "filename", "file_name", "image_path")
ITEM_NAMES = {"text": TEXT_NAMES, "image": IMAGE_NAMES}
PAIRED = ("text",)  # items of which two columns may belong together
SPLIT_NAMES = ("split", "set", "part", "subset", "partition", "data_split", "dataset_split")
COMMON_NAMES = {
    *LABEL_NAMES, *TEXT_NAMES, *IMAGE_NAMES, *SPLIT_NAMES,
    "id", "idx", "index", "title", "name", "score", "rating",
}  # fmt: skip
PAIR_NAMES = (
    ("premise", "hypothesis"), ("question", "passage"), ("question", "answer"),
    ("question", "context"), ("question", "sentence"), ("query", "document"),
    ("query", "passage"), ("context", "response"),
)  # fmt: skip
PAIR_STEMS = (
    "text", "sentence", "sent", "question", "q", "phrase", "utterance", "document", "doc",
    "string", "seq",
)  # fmt: skip
SHOWN = 3  # values of a column
MAX_ROLE_LENGTH = 40  # characters of a name of a part
CACHE_SIZE = 1000  # different values of a column


@dataclass(frozen=True)
class SelectedColumns:
    """The columns to read: of texts or image paths, of labels, of groups or times (`key`), of
    parts (`split`); `notes` on what was detected."""

    item: str
    label: str
    key: str | None = None
    split: str | None = None
    notes: tuple[str, ...] = ()


def select_columns(
    table: Table, columns: Columns, kind: str, detect_split: bool = False
) -> SelectedColumns:
    """The columns that the recipe names, and the others where their names leave no choice.

    Args:
        kind: "text" or "image".
        detect_split: whether to use a column named `split` or similar that holds names of parts.

    Raises:
        HeadstartError: a named column is missing, or a column cannot be detected.
    """
    named = _named_columns(table, columns, kind)
    split, unused, notes = columns.split, dict[str, str](), list[str]()
    excluded = {columns.group, columns.time, columns.split}
    if split is None and detect_split:
        split, unused = find_split_column(table, {*named.values(), *excluded})
        notes = [f"column {split!r} tells the parts (by its name)"] if split else []
    rest = tuple(name for name in table.columns if name not in {*excluded, split})
    table = replace(table, columns=rest)
    if len(rest) < 2:
        raise DataError(
            f"{table.path}: found the column {table.list_columns()} only; expected one of {kind}s "
            "and one of labels, with their names in the first line"
        )
    if kind in PAIRED and named[kind] is None and (pair := text_pair(rest)):
        raise DataError(
            f"{table.path}: {pair[0]!r} and {pair[1]!r} look like pairs of texts, which cannot be "
            f'learned together yet. Name the one to read, data.columns.text = "{pair[0]}", or '
            "write both into one column and name that"
        )
    item, label, reason = _detect_columns(table, named[kind], named["label"], kind)
    if item == label:
        raise DataError(
            f"data.columns: {kind} and label are both {item!r}; {table.path} has "
            f"{table.list_columns()}"
        )
    if not all(named.values()):
        notes.insert(0, f"{kind}s are column {item!r}, labels are column {label!r} ({reason})")
    notes += [note for name, note in unused.items() if name not in (item, label)]
    return SelectedColumns(item, label, columns.group or columns.time, split, tuple(notes))


def _named_columns(table: Table, columns: Columns, kind: str) -> dict[str, str | None]:
    """The columns of labels and items that the recipe names, after a check of all it names."""
    (other,) = ITEM_NAMES.keys() - {kind}
    if getattr(columns, other) is not None:
        raise DataError(
            f"data.columns.{other}: the task reads {kind}s; remove it, or name the {kind}s with "
            f"data.columns.{kind}"
        )
    for role in ("label", kind, "group", "time", "split"):
        name = getattr(columns, role)
        if name is not None and name not in table.columns:
            raise DataError(f"data.columns.{role}: {table.missing_column(name)}")
    named = {"label": columns.label, kind: getattr(columns, kind)}
    if not all(named.values()) and (cell := example_in_header(table)) is not None:
        raise DataError(
            f"{table.path}: the first line looks like an example, not like names of columns "
            f"({cell!r} is also a value below or a number). Give the columns names in a first "
            "line, or set data.header = false; columns are then called "
            '"1", "2" and so on: data.columns = { text = "1", label = "2" }'
        )
    return named


def _detect_columns(
    table: Table, item: str | None, label: str | None, kind: str
) -> tuple[str, str, str]:
    """(column of items, column of labels, how they were detected)."""
    label = label or _column_named(table, LABEL_NAMES, item)
    item = item or _column_named(table, ITEM_NAMES[kind], label)
    reason = "by their names"
    if (label is None or item is None) and len(table.columns) == 2:
        reason = "there are only two columns"
        if label is None and item is None:
            reason = "of the two columns the labels repeat themselves more"
            values = table.sample()
            label = min(table.columns, key=lambda name: len(set(map(str, values[name]))))
        label = label or next(name for name in table.columns if name != item)
        item = item or next(name for name in table.columns if name != label)
    if item is not None and label is not None:
        return item, label, reason
    missing = " and ".join(role for role, name in ((kind, item), ("label", label)) if name is None)
    hint = ""
    if label is None:
        binary = [name for name, values in table.sample().items() if is_binary(values)]
        label = next(iter(binary), "…")
        if len(binary) > 1:
            hint = f". {_join(binary)} hold 0 and 1 only, one tag each: a run learns one of them"
    raise DataError(
        f"{table.path}: nothing says which column holds the {missing}; it has "
        f"{table.list_columns()}. Name them: data.columns = "
        f'{{ {kind} = "{item or "…"}", label = "{label}" }}{hint}'
    )


def example_in_header(table: Table) -> str | None:
    """A cell of the first line that shows it to be an example: its value occurs again below, or it
    is a number above numbers.

    None if some name is a common column name, or the names number the columns.
    """
    names = table.columns
    numbered = [tuple(map(str, range(first, first + len(names)))) for first in (0, 1)]
    has_common_name = not COMMON_NAMES.isdisjoint(map(str.lower, names))
    if table.path.suffix.lower() not in (".csv", ".tsv") or has_common_name or names in numbered:
        return None
    for name, column in table.sample().items():
        values = [str(value) for value in column]
        if name in values or (values and all(map(is_number, [name, *values]))):
            return name
    return None


def text_pair(columns: Sequence[str]) -> tuple[str, str] | None:
    """Two columns whose names say that their texts belong together."""
    names = {name.lower().replace(" ", "_"): name for name in columns}
    numbered = [
        (f"{stem}{first}", f"{stem}{second}")
        for stem in PAIR_STEMS
        for first, second in (("1", "2"), ("a", "b"), ("_1", "_2"), ("_a", "_b"))
    ]
    for first, second in (*PAIR_NAMES, *numbered):
        if first in names and second in names:
            return names[first], names[second]
    return None


def is_binary(values: Iterable[object]) -> bool:
    """Whether a column holds 0 and 1 (or false and true) only, and both."""
    different = {str(value).removesuffix(".0").casefold() for value in values}
    return different in ({"0", "1"}, {"false", "true"})


def find_split_column(
    table: Table, excluded: Collection[str | None] = ()
) -> tuple[str | None, dict[str, str]]:
    """(the column that names parts, if there is just one; columns named `split` or similar that are
    not used, with a note on why).

    In a column of parts, most values name a part, and some the training part. All rows are read.
    """
    candidates = [
        name for name in table.columns if name.lower() in SPLIT_NAMES and name not in excluded
    ]
    unused = {name: note for name in candidates if (note := _not_parts_note(table, name))}
    usable = [name for name in candidates if name not in unused]
    if len(usable) == 1:
        return usable[0], {}
    if usable:
        unused[usable[0]] = (
            f"columns {_join(usable)} are not used: each tells the parts; name one with "
            "data.columns.split"
        )
    return None, unused


def _not_parts_note(table: Table, column: str) -> str | None:
    """Why a column does not name parts; None if it does."""
    role_of = lru_cache(CACHE_SIZE)(role_from_name)
    rows = 0
    roles, others = Counter[str](), dict[str, None]()
    for _, (value,) in table.rows((column,)):
        text = "" if value is None else str(value).strip()[:MAX_ROLE_LENGTH]
        rows += 1
        if (role := role_of(text)) is not None:
            roles[role] += 1
        elif len(others) < SHOWN:
            others[text] = None
    if roles["train"] and 2 * roles.total() > rows:
        return None
    shown = f"{', '.join(map(quoted, others))} ({rows - roles.total():,} of {rows:,} rows)"
    if roles["train"]:
        reason = f"also says {shown}"
    elif roles or not others:
        reason = "says train in no row"
    elif all(map(is_number, others)):
        reason = f"holds numbers of folds or sets ({', '.join(others)})"
    else:
        reason = f"says {shown}"
    return (
        f"column {column!r} is not used: it {reason}. To have it tell the parts, write train, "
        f'validation or test into it and set data.columns.split = "{column}"'
    )


def _column_named(table: Table, names: Sequence[str], other: str | None) -> str | None:
    """The column with one of these names, if there is just one."""
    columns = [column for column in table.columns if column.lower() in names and column != other]
    return columns[0] if len(columns) == 1 else None


def is_number(text: str) -> bool:
    """Whether a text is a number."""
    try:
        float(text)
    except ValueError:
        return False
    return True


def _join(names: Sequence[str]) -> str:
    return ", ".join(map(repr, names[:10]))
