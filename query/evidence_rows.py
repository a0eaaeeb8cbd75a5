"""A file of evidence read row by row and found to be what docs/format.md demands, or refused.

Invariants: nothing is parsed before the file's own digest agrees; columns are compared as Parquet states them, not as
a library would like to read them; rows are looked at some at a time, so that memory does not grow with a file's rows
but for 32 bytes each. Nothing here knows a seal.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from typing import Any, Final, NamedTuple

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute

from archiver.format import FORMAT_VERSION
from archiver.format.bulk_check import ROWS_AT_ONCE, BulkCheck, Columns
from archiver.format.claims import Extent, check_claims, check_row_count, stated_columns
from archiver.format.columns import (
    BASELINE_COLUMNS,
    METADATA_FORMAT,
    METADATA_KIND,
    METADATA_ROOT,
    METADATA_WRITER,
    SEGMENT_COLUMNS,
    Column,
)
from archiver.format.layout import SegmentName, StreamSource, Trail
from archiver.format.record import item_key_text, key_hints
from archiver.format.shapes import ImageShapes
from archiver.format.stamp import check_stamp

_BYTES_AT_ONCE: Final = 16_000_000
_STREAMS_REMEMBERED: Final = 32
_TIMESTAMP: Final = {"Type": "Timestamp", "isAdjustedToUTC": True, "timeUnit": "milliseconds"}
_BYTES: Final = frozenset({"item_key", "image"})  # as Python values; the rest is text


@dataclass(frozen=True, slots=True)
class CheckedSegment:
    """A segment in which everything agrees. Times are epoch ms, the earliest and the latest; leaves have 32 bytes each
    and stand in the order of the rows."""

    stream_label: str
    leaves: tuple[bytes, ...]
    first_sequence: str
    last_sequence: str
    first_changed_at_ms: int
    last_changed_at_ms: int
    writer: str

    @property
    def records(self) -> int:
        return len(self.leaves)


def check_segment_file(
    content: bytes, trail: Trail, place: SegmentName, key_names: tuple[str, ...] | None = None
) -> CheckedSegment:
    """What a segment holds, every row checked and every leaf derived again (format.md §6 to §9, §12).

    `key_names` are the key attributes in schema order, None when they are not known: then hints may stand in either
    order. Raises ValueError, which says what is wrong, for any other file.
    """
    file = _opened(content, "segment", SEGMENT_COLUMNS)
    metadata = file.metadata.metadata
    if metadata.get(METADATA_ROOT) != place.root.encode():
        raise ValueError(f"it states the root {metadata.get(METADATA_ROOT)!r}, its name {place.root}")
    seen = _Seen()
    batches = seen.through(map(Columns.of, _batches(file, SEGMENT_COLUMNS)))
    first = next(batches, None)
    if first is None:
        raise ValueError("it has no rows")
    try:
        label = first.stream_label[0].as_py()
    except UnicodeDecodeError as error:
        raise ValueError(f"its stream label is no text: {error}") from error
    check = _bulk_check(StreamSource(trail, label), key_names)
    leaves = check.check(chain((first,), batches), place)
    return CheckedSegment(
        stream_label=label,
        leaves=tuple(leaves),
        first_sequence=place.first_sequence,
        last_sequence=seen.last_sequence,
        first_changed_at_ms=seen.first_ms,
        last_changed_at_ms=seen.last_ms,
        writer=metadata.get(METADATA_WRITER, b"").decode("utf-8", "replace") or "unknown",
    )


def check_baseline_part(content: bytes, key_schema: Sequence[tuple[str, str]]) -> int:
    """How many items a part of a baseline holds, each checked: canonical, in order, once, found under the key that its
    image has, and of the types of the key schema (pairs of name and `S`, `N` or `B`, partition key first).

    Raises ValueError, which says which item and what is wrong.
    """
    file = _opened(content, "baseline", BASELINE_COLUMNS)
    items = _Items(key_schema)
    for batch in _batches(file, BASELINE_COLUMNS):
        held = (
            column.view(pa.binary()) if name in _BYTES else column
            for name, column in zip(batch.schema.names, batch.columns, strict=True)
        )
        for item_key, pk, sk, image in zip(*(column.to_pylist() for column in held), strict=True):
            try:
                items.check(item_key, (pk, sk), image)
            except ValueError as error:
                name = item_key.decode("utf-8", "replace")
                raise ValueError(f"item {items.count}, {name}: {error}") from error
    return items.count


class _Items:
    """The items of a part, one after the other; `count` is how many were right."""

    def __init__(self, key_schema: Sequence[tuple[str, str]]) -> None:
        self.count = 0
        self._names = tuple(name for name, _ in key_schema)
        self._tags = [tag for _, tag in key_schema]
        self._shapes = ImageShapes()
        self._before: tuple[str, str, bytes] | None = None
        self._without_hints: set[bytes] = set()  # few: keys that have no key text

    def check(self, item_key: bytes, hints: tuple[str | None, str | None], text: bytes) -> None:
        """Raises ValueError, which says what is wrong with the item."""
        if not self._shapes.is_canonical(text):
            raise ValueError("its image is not the canonical text of an item")
        image = orjson.loads(text)
        keys = {name: image[name] for name in self._names if name in image}
        if [tag for value in keys.values() for tag in value] != self._tags:
            raise ValueError(f"its image has no key of {', '.join(self._names)} with the types {', '.join(self._tags)}")
        if item_key_text(keys) != item_key:
            raise ValueError(f"its image has the key {item_key_text(keys).decode()}")
        if hints not in ((None, None), key_hints(keys, self._names)):
            raise ValueError(f"pk and sk {hints} are not its key text")
        if item_key in self._without_hints:
            raise ValueError("it is there twice")
        if hints == (None, None):
            self._without_hints.add(item_key)
        here = (hints[0] or "", hints[1] or "", item_key)
        if self._before is not None and here <= self._before:
            raise ValueError("it is not in order, or there twice")
        self._before = here
        self.count += 1


@lru_cache(_STREAMS_REMEMBERED)
def _bulk_check(source: StreamSource, key_names: tuple[str, ...] | None) -> BulkCheck:
    """One for each stream: what it remembers of one segment makes the next one faster, and changes no answer."""
    return BulkCheck(source, key_names)


class _Seen:
    """What is asked of the rows besides whether they are right, taken down as they pass by."""

    def __init__(self) -> None:
        self.last_sequence = ""
        self.first_ms = self.last_ms = 0

    def through(self, batches: Iterable[Columns]) -> Iterator[Columns]:
        for rows in batches:
            ends = compute.min_max(rows.changed_at_ms)
            earliest, latest = ends["min"].as_py(), ends["max"].as_py()
            if not self.last_sequence:
                self.first_ms, self.last_ms = earliest, latest
            self.first_ms, self.last_ms = min(self.first_ms, earliest), max(self.last_ms, latest)
            self.last_sequence = rows.sequence_number[-1].as_py()
            yield rows


# --- The file. ---


def _opened(content: bytes, kind: str, columns: Sequence[Column]) -> pq.ParquetFile:
    """A Parquet file of this kind with these columns and no others, its bytes in agreement with its own digest."""
    check_stamp(content)
    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    except pa.ArrowMemoryError:
        raise  # it says nothing of the file
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"it is not Parquet: {error}") from error
    metadata = file.metadata.metadata or {}
    for key, expected in ((METADATA_FORMAT, str(FORMAT_VERSION)), (METADATA_KIND, kind)):
        if metadata.get(key) != expected.encode():
            raise ValueError(f"it states {key.decode()} {metadata.get(key)!r}, not {expected}")
    _check_columns(file, columns)
    check_row_count(file.metadata)
    return file


def _check_columns(file: pq.ParquetFile, columns: Sequence[Column]) -> None:
    """Names, order, types and nullability, as the footer states them; then that they are read as such, since a footer
    may carry another schema for Arrow alone."""
    found: list[_Stated | None] = [_stated(file.schema.column(place)) for place in range(len(file.schema.names))]
    expected = [_Stated(column.name, column.nullable, *_PARQUET_TYPES[column.kind]) for column in columns]
    found += [None] * (len(expected) - len(found))
    for place, (one, other) in enumerate(zip(found, expected, strict=False)):
        if one != other:
            raise ValueError(f"its column {place} is {one}, not {other}")
    if len(found) > len(expected):
        raise ValueError(f"it has {len(found) - len(expected)} columns more than it should: {found[len(expected)]}")
    for field, column in zip(file.schema_arrow, columns, strict=True):
        if field.type != _ARROW_TYPES[column.kind]:
            raise ValueError(f"its column {column.name} asks to be read as {field.type}")


_PARQUET_TYPES: Final[Mapping[str, tuple[str, Mapping[str, Any]]]] = {
    "string": ("BYTE_ARRAY", {"Type": "String"}),
    "timestamp_ms_utc": ("INT64", _TIMESTAMP),
}
_ARROW_TYPES: Final = {"string": pa.string(), "timestamp_ms_utc": pa.timestamp("ms", tz="UTC")}


class _Stated(NamedTuple):
    """A column as a footer states it: its path, whether it may be NULL, physical and logical type."""

    path: str
    nullable: bool
    physical: str
    logical: Mapping[str, Any]


def _stated(column: Any) -> _Stated:
    """A column inside another has a longer path; one that repeats is given one."""
    logical = json.loads(column.logical_type.to_json())
    return _Stated(
        column.path if column.max_repetition_level == 0 else f"{column.path} (repeated)",
        column.max_definition_level == 1,
        column.physical_type,
        {name: logical[name] for name in _TIMESTAMP if name in logical},
    )


def _batches(file: pq.ParquetFile, columns: Sequence[Column]) -> Iterator[pa.RecordBatch]:
    """Some rows at a time, what the footer states of each group compared with them. Raises ValueError for pages that
    were altered, and for statements that are not true."""
    try:
        for number in range(file.num_row_groups):
            group = file.metadata.row_group(number)
            seen = {place: Extent() for place in stated_columns(group, columns)}
            rows = 0
            for batch in file.iter_batches(batch_size=_rows_at_once(group), row_groups=[number], use_threads=False):
                rows += batch.num_rows
                for place, extent in seen.items():
                    _take(extent, batch.column(place))
                yield batch
            check_claims(group, rows, seen, columns)
    except pa.ArrowMemoryError:
        raise  # it says nothing of the file
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"its rows cannot be read: {error}") from error


def _rows_at_once(group: Any) -> int:
    """Fewer where items are large, as far as the footer tells."""
    row_bytes: int = max(1, group.total_byte_size // max(1, group.num_rows))
    return max(1, min(ROWS_AT_ONCE, _BYTES_AT_ONCE // row_bytes))


def _take(extent: Extent, column: pa.Array) -> None:
    """Times count as numbers, texts as their bytes."""
    ends = compute.min_max(column.view(pa.int64() if pa.types.is_timestamp(column.type) else pa.binary()))
    extent.take(ends["min"].as_py(), ends["max"].as_py(), column.null_count)
