"""A part of a run or a snapshot as Parquet: its rows, and whether what its footer and its index say of them is true.

Invariant: whatever is wrong with a part ends as Differs; nothing of it is believed because a library could read it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from io import BytesIO
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from archiver.format import FORMAT_VERSION
from archiver.format.bulk_check import ROWS_AT_ONCE
from archiver.format.claims import Extent, check_claims, check_row_count, stated_columns
from archiver.format.columns import METADATA_FORMAT, METADATA_KIND, METADATA_WRITER, SEGMENT_COLUMNS, Column
from query.derived.columns import RUN_SCHEMA, SNAPSHOT_SCHEMA
from query.derived.index import PartIndex
from query.derived.key_range import KeyRange, RowKey
from query.derived.members import Part
from query.derived.parts import file_of
from query.gate import EvidenceFile
from query.verify.derived_items import ItemsCheck

_BYTES_AT_ONCE: Final = 16_000_000
_FEWEST_ROWS_AT_ONCE: Final = 64
_MAGIC_BYTES: Final = 4  # with which a Parquet file begins


class Differs(Exception):  # noqa: N818  a finding, not a failure
    """An object of derived data is not what it claims to be: its full name, and what was seen."""

    def __init__(self, name: str, why: str) -> None:
        super().__init__(f"{name}: {why}")
        self.name, self.why = name, why


@dataclass(frozen=True)
class Shape:
    """What parts of a kind look like; of the columns after `columns`, which come first, nothing is stated."""

    kind: str
    schema: pa.Schema
    columns: tuple[Column, ...]

    @cached_property
    def written(self) -> pq.ParquetFile:
        """A part without rows."""
        file = BytesIO()
        pq.ParquetWriter(file, self.schema, store_schema=False).close()
        return pq.ParquetFile(BytesIO(file.getvalue()))


RUN: Final = Shape("run", RUN_SCHEMA, SEGMENT_COLUMNS)
SNAPSHOT: Final = Shape(
    "snapshot",
    SNAPSHOT_SCHEMA,
    tuple(
        Column(one.name, "string" if one.type == pa.string() else "timestamp_ms_utc", one.nullable)
        for one in SNAPSHOT_SCHEMA
    ),
)


def check_digest(part: Part, file: EvidenceFile) -> None:
    """That a part has the bytes that its description says. Raises Differs."""
    try:
        found = file_of(file.path)
    except FileNotFoundError as error:
        raise FileNotFoundError(file.name) from error
    if (found.bytes, found.sha256) != (part.file.bytes, part.file.sha256):
        raise Differs(file.name, f"its digest is {found.sha256[:16]}…, {part.file.sha256[:16]}… is described")


def rows_of_part(
    shape: Shape, part: Part, file: EvidenceFile, index: PartIndex | None, items: EvidenceFile, writer: str
) -> Iterator[pa.Table]:
    """The rows of a part; then what its footer, its index and its items file say is known to be true of them. Raises
    Differs.
    """
    check = ItemsCheck()
    try:
        for table in _rows(shape, part, file, index, writer):
            check.take(table)
            yield table
    except (MemoryError, pa.ArrowMemoryError, GeneratorExit):
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(file.name) from error
    except Exception as error:  # these bytes are anybody's, and may break a parser in any way
        raise Differs(file.name, f"it cannot be read: {error}") from error
    try:
        check.finish(items)
    except (MemoryError, pa.ArrowMemoryError):
        raise
    except FileNotFoundError as error:
        raise FileNotFoundError(items.name) from error
    except Exception as error:
        raise Differs(items.name, f"it is not that of its part: {error}") from error


def _rows(shape: Shape, part: Part, file: EvidenceFile, index: PartIndex | None, writer: str) -> Iterator[pa.Table]:
    """Raises ValueError, and whatever a parser raises."""
    with pq.ParquetFile(file.path, page_checksum_verification=True) as parquet:
        _check_footer(shape, parquet, writer)
        groups = []
        for number in range(parquet.num_row_groups):
            first = last = None
            group = parquet.metadata.row_group(number)
            seen = {place: Extent() for place in stated_columns(group, shape.columns)}
            rows = 0
            at_once = rows_at_once(group.total_byte_size, group.num_rows)
            for batch in parquet.iter_batches(batch_size=at_once, row_groups=[number], use_threads=False):
                for place, extent in seen.items():
                    _take(extent, batch.column(place))
                rows += batch.num_rows
                first, last = first or _key(batch, 0), _key(batch, batch.num_rows - 1)
                yield pa.Table.from_batches([batch]).cast(shape.schema)
            check_claims(group, rows, seen, shape.columns)
            if first is None or last is None:
                raise ValueError(f"its row group {number} has no rows")
            groups.append(KeyRange(first, last))
    if part.keys != KeyRange(groups[0].first, groups[-1].last):
        raise ValueError("its first and last key are not those that are described")
    made = PartIndex.of(file.path, groups)
    if index is not None and made != index:
        raise ValueError("its index is not that of its bytes and keys")
    ends = [_MAGIC_BYTES, *(group.end for group in made.groups)]
    if ends != [*(group.offset for group in made.groups), made.footer_offset]:
        raise ValueError("it holds bytes that belong to no row group")


def _check_footer(shape: Shape, parquet: pq.ParquetFile, writer: str) -> None:
    """That a footer states what the writer of such parts states. Raises ValueError."""
    metadata = {
        METADATA_FORMAT: str(FORMAT_VERSION).encode(),
        METADATA_KIND: shape.kind.encode(),
        METADATA_WRITER: writer.encode(),
    }
    if parquet.metadata.metadata != metadata:
        raise ValueError(f"it states {parquet.metadata.metadata!r}, not {metadata!r}")
    expected = shape.written
    if not parquet.schema.equals(expected.schema) or not parquet.schema_arrow.equals(expected.schema_arrow):
        raise ValueError(f"it does not have the columns of a {shape.kind}")
    check_row_count(parquet.metadata)
    for number in range(parquet.num_row_groups):
        group = parquet.metadata.row_group(number)
        for place in range(len(shape.columns), group.num_columns):
            chunk = group.column(place)
            if chunk.physical_type != expected.schema.column(place).physical_type:
                raise ValueError(f"its footer states that column {place} is {chunk.physical_type}")
            if chunk.is_stats_set or chunk.bloom_filter_offset is not None or chunk.has_column_index:
                raise ValueError(f"its footer states of column {place} what no {shape.kind} states")


def _take(extent: Extent, column: pa.Array) -> None:
    """Times count as numbers, texts as their bytes."""
    ends = pc.min_max(column.view(pa.int64() if pa.types.is_timestamp(column.type) else pa.binary()))
    extent.take(ends["min"].as_py(), ends["max"].as_py(), column.null_count)


def _key(batch: pa.RecordBatch, row: int) -> RowKey:
    return RowKey(*(batch.column(name)[row].as_py() for name in ("pk", "sk", "item_key")))


def rows_at_once(size_bytes: int, rows: int) -> int:
    """Fewer where items are large."""
    return max(_FEWEST_ROWS_AT_ONCE, min(ROWS_AT_ONCE, rows * _BYTES_AT_ONCE // max(1, size_bytes)))
