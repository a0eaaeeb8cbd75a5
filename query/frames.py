"""Data frames as questions: keys of items, and the rows of a table as somebody read it.

A frame is anything with `__arrow_c_stream__` (a polars or pandas data frame, an Arrow table, a relation of DuckDB).
Invariants: columns are found by name; a column that is missing is named, beside those that are there; a value is taken
as it is or refused with its row, counted from 1, and no number passes through a float.
"""

from base64 import b64encode
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import orjson
import pyarrow as pa

from archiver.format.canonical import canonical
from archiver.format.record import item_key_text
from archiver.format.values import check_attributes
from query.errors import KeyMismatch, UsageError
from query.key import TypedKey, parse_key
from query.key_schema import KeySchema
from query.keys_file import distinct, key_of_line, named
from query.reconcile import Items
from query.redaction import NOTHING_REDACTED, Redaction

_ITEMS_AT_ONCE: Final = 10_000
_SINGLE: Final = (str, bytes, bytearray, memoryview, Mapping)  # a key or a value of one, though it can be iterated


def keys_of(
    schema: KeySchema | None, given: Any, *, table: str = "this table", redaction: Redaction = NOTHING_REDACTED
) -> list[TypedKey]:
    """Keys of items, each once, in the order of first appearance.

    `given` is a frame with a column for each key attribute, or with `item_key` as our own tables have it; or keys one
    by one, each a mapping, or a value or tuple of values in schema order. Raises KeyMismatch or UsageError with the row
    or the place, also for a single key that stands alone, and for a mask of `redaction` in place of a value.
    """
    if hasattr(given, "__arrow_c_stream__"):
        return distinct(_keys_of_frame(schema, _table(given), table), redaction)
    if isinstance(given, _SINGLE) or not isinstance(given, Iterable):
        raise UsageError(
            f"one key was given to items: {given!r:.60}",
            why="items takes a data frame of keys, or keys one by one in a list",
            hint=f"type items([{given!r:.60}]), or item(…) for one item",
        )
    return distinct(_keys_one_by_one(schema, given, table), redaction)


def read_keys(
    schema: KeySchema | None, path: str, *, table: str = "this table", redaction: Redaction = NOTHING_REDACTED
) -> list[TypedKey]:
    """The keys in a Parquet file, by the same columns. Raises UsageError for a file that is none."""
    import pyarrow.parquet as pq  # noqa: PLC0415

    try:
        frame = pq.read_table(Path(path))
    except (OSError, pa.ArrowException) as error:
        raise UsageError(f"could not read {path}", why=str(error), hint="name a Parquet file") from error
    return keys_of(schema, frame, table=table, redaction=redaction)


def held_rows(given: Any) -> Any:
    """Rows that can be read more than once. Raises UsageError for what claims to be a data frame and is none."""
    return _table(given) if hasattr(given, "__arrow_c_stream__") else list(given)


def images_of(
    schema: KeySchema | None, given: Any, *, table: str = "this table", redaction: Redaction = NOTHING_REDACTED
) -> Items:
    """The items of a table in batches of (item key, image), to be read once.

    `given` is a frame with a column `image`, DynamoDB JSON as text, as our own tables have it; or the items themselves
    as mappings of DynamoDB JSON, one by one. Raises UsageError for a frame without that column, or a key schema that is
    not known; while it is read, for what is no item, or holds a mask of `redaction` in place of a value.
    """
    if schema is None:
        raise UsageError(
            f"the key of {table} is not known",
            why="rows hold whole items, and the archive does not say which attributes are the key",
            hint="open the archive with key_schema={'TABLE': ('pk', 'sk')}",
        )
    names = tuple(attribute.name for attribute in schema.attributes)
    rows = _texts(_table(given), "image") if hasattr(given, "__arrow_c_stream__") else given
    items = (_item(number, row, names, redaction) for number, row in enumerate(rows, 1))
    return iter(lambda: list(islice(items, _ITEMS_AT_ONCE)), [])


def _keys_one_by_one(schema: KeySchema | None, given: Iterable[Any], table: str) -> Iterator[tuple[str, TypedKey]]:
    for number, one in enumerate(given, 1):
        values = one if isinstance(one, Sequence) and not isinstance(one, _SINGLE) else (one,)
        with named(f"key {number}"):
            key = parse_key(schema, values, table=table)
        yield f"key {number}", key


# --- frames ---


def _table(given: Any) -> pa.Table:
    try:
        return pa.table(given)
    except (pa.ArrowException, TypeError, ValueError) as error:
        raise UsageError(f"{type(given).__name__} is no data frame", why=str(error), hint="give Arrow rows") from error


def _column(frame: pa.Table, name: str) -> pa.ChunkedArray:
    """The one column of a name. Raises UsageError where several have it."""
    places = [str(place) for place, found in enumerate(frame.column_names, 1) if found == name]
    if len(places) > 1:
        raise UsageError(
            f"the frame has {len(places)} columns {name}",
            why=f"they are its columns {', '.join(places)}, and may differ in every row",
            hint="leave one of them, or rename the others",
        )
    return frame.column(name)


def _keys_of_frame(schema: KeySchema | None, frame: pa.Table, table: str) -> Iterator[tuple[str, TypedKey]]:
    names = () if schema is None else tuple(attribute.name for attribute in schema.attributes)
    if names and set(names) <= set(frame.column_names):
        columns = [_column(frame, name).to_pylist() for name in names]
        for number, values in enumerate(zip(*columns, strict=True), 1):
            with named(f"row {number}"):
                key = parse_key(schema, [dict(zip(names, values, strict=True))], table=table)
            yield f"row {number}", key
    elif "item_key" in frame.column_names:
        for number, text in enumerate(_texts(frame, "item_key"), 1):
            with named(f"row {number}"):
                if text is None:
                    raise KeyMismatch("item_key is null", why="a null names no item", hint="leave out the row")
                key = key_of_line(schema, text, table)
            yield f"row {number}", key
    else:
        raise KeyMismatch(
            f"the frame has no columns for the key of {table}",
            why=f"its columns are {', '.join(frame.column_names)}; the key is {', '.join(names) or 'not known'}",
            hint=f"rename its columns to {', '.join(names)}" if names else "give a column item_key",
        )


def _texts(frame: pa.Table, name: str) -> Iterable[str | None]:
    """A column of JSON text, None for null. Raises UsageError where there is none, or several."""
    if name not in frame.column_names:
        raise UsageError(
            f"the frame has no column {name}",
            why=f"its columns are {', '.join(frame.column_names)}",
            hint=f"{name} is DynamoDB JSON as text, as TableState.arrow() and an export have it",
        )
    column = _column(frame, name)
    kind = column.type
    if not any(is_text(kind) for is_text in (pa.types.is_string, pa.types.is_large_string, pa.types.is_string_view)):
        raise UsageError(
            f"the column {name} is {kind}", why="types of DynamoDB are told by JSON text alone", hint="give JSON text"
        )
    texts: Iterable[str | None] = (value.as_py() for value in column)
    return texts


# --- items ---


def _item(number: int, row: Any, names: Sequence[str], redaction: Redaction) -> tuple[str, bytes]:
    try:
        item = orjson.loads(row) if isinstance(row, str) else row
        if not isinstance(item, Mapping):
            raise ValueError(f"{type(item).__name__} is not an item")  # noqa: TRY301  told as all others are
        item = _as_text(item)
        check_attributes(item)
        with named(f"row {number}"):
            redaction.refuse_masks(item)
        return item_key_text({name: item[name] for name in names}).decode(), canonical(item)
    except KeyError as error:
        raise UsageError(
            f"row {number} has no attribute {error}", why="it is part of the key", hint="give whole items"
        ) from error
    except (ValueError, TypeError) as error:
        raise UsageError(f"row {number} is no item: {error}", hint="give DynamoDB JSON, with its types") from error


def _as_text(value: Any) -> Any:
    """Binary as boto3 gives it, in base64."""
    match value:
        case bytes():
            return b64encode(value).decode()
        case Mapping():
            return {name: _as_text(inside) for name, inside in value.items()}
        case list():
            return [_as_text(inside) for inside in value]
        case _:
            return value
