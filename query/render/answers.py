"""The rows of a person's SQL as a sheet: what each column holds, by its type, and by its name where that is ours.

Law: the columns of our relations are written as every other surface writes them; of any other nothing is lost but what
JSON cannot hold (a NaN is null there).
"""

from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import orjson

from archiver.format.values import plain_attributes
from query.render.sheet import Column, Json, Kind, Sheet

if TYPE_CHECKING:
    import pyarrow as pa

# Texts of ours that are JSON: those of which people see the plain twin, and those that are shown as they are.
_KEYS: Final = frozenset({"item_key"})
_JSON: Final = frozenset(
    {
        *("item", "old_item", "from_item", "to_item", "image", "old_image", "new_image", "from_image", "to_image"),
        *("user_identity", "event", "old", "new", "value", "key", "before", "after"),
    }
)
_MILLISECOND_US: Final = 1000
_LARGEST: Final = 1 << 63


def answer_sheet(schema: "pa.Schema", batches: "Iterable[pa.RecordBatch]") -> Sheet:
    """The rows of an answer, read as they are written. Columns of one name are told apart by a number."""
    names = _told_apart(schema.names)
    columns = tuple(
        _column(place, name, field.type) for place, (name, field) in enumerate(zip(names, schema, strict=True))
    )
    return Sheet(columns, _records(batches), tuple(names), tuple(names))


def _records(batches: "Iterable[pa.RecordBatch]") -> Iterator[tuple[Any, ...]]:
    for batch in batches:
        yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)


def _told_apart(names: list[str]) -> list[str]:
    """As DuckDB tells them apart in a table: `x`, `x_1`."""
    found: dict[str, None] = {}
    for name in names:
        number, told = 0, name
        while told in found:
            number += 1
            told = f"{name}_{number}"
        found[told] = None
    return list(found)


def _column(place: int, name: str, kind: "pa.DataType") -> Column:
    import pyarrow as pa  # noqa: PLC0415

    def of(cell: Any, sort: Kind) -> Column:
        def read(record: Any) -> Any:
            value = record[place]
            return None if value is None else cell(value)

        return Column(name, read, sort)

    if pa.types.is_string(kind) and name in _KEYS | _JSON:
        return of(_json_of_ours if name in _JSON else _key_of_ours, "json")
    if pa.types.is_timestamp(kind) and kind.tz is not None:
        return of(_ms, "time")
    if pa.types.is_boolean(kind):
        return of(bool, "boolean")
    if pa.types.is_integer(kind) and kind != pa.uint64():
        return of(int, "integer")
    if pa.types.is_floating(kind):
        return of(float, "number")
    if pa.types.is_decimal(kind) or pa.types.is_integer(kind):
        return of(lambda value: Json(_jsonable(value)), "json")
    if pa.types.is_nested(kind):
        return of(lambda value: Json(_jsonable(value)), "json")
    return of(_text, "change" if name == "change_id" else "text")


def _json_of_ours(text: str) -> Any:
    """A text under one of our names is JSON, unless a person gave the name to something else."""
    try:
        orjson.loads(text)
    except ValueError:
        return Json(text)
    return Json(orjson.Fragment(text), text)


def _key_of_ours(text: str) -> Any:
    try:
        return Json(plain_attributes(orjson.loads(text)), text)
    except (ValueError, TypeError, AttributeError):
        return Json(text)


def _ms(moment: datetime) -> int:
    return round((moment - datetime(1970, 1, 1, tzinfo=UTC)).total_seconds() * _MILLISECOND_US)


def _text(value: Any) -> str:
    if isinstance(value, bytes):
        return value.hex()
    return value.isoformat() if hasattr(value, "isoformat") else str(value)


def _jsonable(value: Any) -> Any:
    """What orjson takes: numbers beyond its own as their digits."""
    match value:
        case dict():
            return {str(name): _jsonable(inside) for name, inside in value.items()}
        case list() | tuple():
            return [_jsonable(inside) for inside in value]
        case Decimal() if value.is_finite():
            return orjson.Fragment(str(value))
        case bool() | float() | str() | None:
            return value
        case int():
            return value if -_LARGEST <= value < _LARGEST else orjson.Fragment(str(value))
        case _:
            return _text(value)
