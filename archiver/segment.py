"""Change records and baseline items to Parquet bytes and back: the only file here that imports pyarrow.

Invariant: the columns are those of `archiver.format.columns`, in order; the metadata names the format, the root and the
file's own digest.
"""

import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import IO, Final, Self

import pyarrow as pa
import pyarrow.parquet as pq

from archiver.errors import NotEvidence
from archiver.format import FORMAT_VERSION
from archiver.format.claims import Extent, check_claims, check_row_count, stated_columns
from archiver.format.columns import (
    BASELINE_COLUMNS,
    METADATA_DIGEST,
    METADATA_FORMAT,
    METADATA_KIND,
    METADATA_ROOT,
    METADATA_WRITER,
    SEGMENT_COLUMNS,
    Column,
)
from archiver.format.layout import SegmentName, StreamSource
from archiver.format.record import ChangeRecord, leaf_of_row
from archiver.format.row_check import Row, record_of_row
from archiver.format.stamp import UNSTAMPED, check_stamp, stamp
from archiver.plan import PlannedSegment

_KINDS: Final = {"string": pa.string(), "timestamp_ms_utc": pa.timestamp("ms", tz="UTC")}
_ROWS_PER_GROUP: Final = 20_000  # small enough to prune by key, large enough to compress
# Columns whose values repeat. For all others a dictionary costs time and, under zstd, bytes.
_REPETITIVE: Final = ("op", "changed_at", "stream_label", "pk", "user_identity")


def _writer() -> str:
    try:
        return f"ddbtrail {version('ddbtrail')}"
    except PackageNotFoundError:  # a Lambda package carries the code, not the distribution's metadata
        return "ddbtrail"


_WRITER: Final = _writer()


def _schema(columns: Sequence[Column]) -> pa.Schema:
    return pa.schema([pa.field(column.name, _KINDS[column.kind], column.nullable) for column in columns])


_SEGMENT_SCHEMA: Final = _schema(SEGMENT_COLUMNS)
# To be looked at, times are numbers, and what is hashed is bytes.
_HELD: Final = {"changed_at": pa.int64(), **dict.fromkeys(("item_key", "old_image", "new_image"), pa.binary())}
_ROWS_AT_ONCE: Final = 1024
_BASELINE_SCHEMA: Final = _schema(BASELINE_COLUMNS)


def encode_segment(planned: PlannedSegment) -> bytes:
    """The bytes of a segment's file."""
    rows = planned.rows
    changed_at = pa.array([row.changed_at_ms for row in rows], pa.int64()).cast(_KINDS["timestamp_ms_utc"])
    arrays = [
        pa.array([row.change_id for row in rows], pa.string()),
        pa.array([row.op for row in rows], pa.string()),
        changed_at,
        pa.array([row.sequence_number for row in rows], pa.string()),
        pa.repeat(pa.scalar(planned.source.stream_label, pa.string()), len(rows)),
        _text([row.item_key for row in rows]),
        pa.array([row.pk for row in rows], pa.string()),
        pa.array([row.sk for row in rows], pa.string()),
        _text([row.old_image for row in rows]),
        _text([row.new_image for row in rows]),
        _text([row.user_identity for row in rows]),
        _text([row.event for row in rows]),
    ]
    metadata = {METADATA_KIND: b"segment", METADATA_ROOT: planned.place.root.encode()}
    return _parquet(pa.Table.from_arrays(arrays, schema=_SEGMENT_SCHEMA), SEGMENT_COLUMNS, metadata)


def decode_segment(content: bytes, source: StreamSource) -> list[ChangeRecord]:
    """The change records of a segment, leaves re-derived. Raises NotEvidence for a file that is none."""
    table = SegmentFile.open(content).table
    try:
        records = [record_of_row(row, source) for row in _rows(table)]
        return [record._replace(leaf=leaf_of_row(record)) for record in records]
    except (ValueError, TypeError, KeyError) as error:
        raise NotEvidence(f"the file is not a segment: {error}") from error


@dataclass(frozen=True, slots=True, eq=False)
class SegmentFile:
    """A segment that was opened: its digest, its pages' checksums and its columns are right. No row was looked at."""

    table: pa.Table
    footer: pq.FileMetaData

    @classmethod
    def open(cls, content: bytes) -> Self:
        """Raises NotEvidence for bytes that are no segment."""
        try:
            check_stamp(content)
            file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
            opened = cls(file.read(), file.metadata)
        except pa.ArrowMemoryError:
            raise  # it says nothing of the file
        except (pa.ArrowException, OSError, ValueError, KeyError) as error:
            raise NotEvidence(f"the file is not a segment: {error}") from error
        if not opened.table.schema.equals(_SEGMENT_SCHEMA):
            raise NotEvidence("the file is not a segment: it does not have the columns of one")
        return opened

    @property
    def stream_label(self) -> str:
        """That of the first row. Raises NotEvidence for a file that has none."""
        if not self.table.num_rows:
            raise NotEvidence("the file is not a segment: it has no rows")
        return str(self.table.column("stream_label")[0].as_py())

    @property
    def last_sequence(self) -> str:
        """The sequence number of the last row."""
        return str(self.table.column("sequence_number")[-1].as_py())

    @property
    def writer(self) -> str:
        """Who wrote it, in its own words."""
        return self._metadata.get(METADATA_WRITER, b"").decode("utf-8", "replace") or "unknown"

    @property
    def _metadata(self) -> Mapping[bytes, bytes]:
        return self.footer.metadata or {}

    @property
    def span_ms(self) -> tuple[int, int]:
        """The earliest and the latest creation time of its changes, epoch ms."""
        from pyarrow import compute  # noqa: PLC0415  whoever archives starts without it

        ends = compute.min_max(self.table.column("changed_at").cast(pa.int64()))
        return ends["min"].as_py(), ends["max"].as_py()

    def check(self, source: StreamSource, place: SegmentName, key_names: tuple[str, ...] | None = None) -> list[bytes]:
        """The leaves (32 bytes each), if everything agrees; else NotEvidence, which says what does not.

        Checked are the file's metadata, each row against the record it was made from, order, one label and one hour,
        the first sequence number, and the root against the name. `key_names` are the key attributes in schema order,
        None when they are not known.
        """
        from archiver.format.bulk_check import ROWS_AT_ONCE, BulkCheck, Columns  # noqa: PLC0415  as above

        expected = {METADATA_KIND: b"segment", METADATA_FORMAT: b"1", METADATA_ROOT: place.root.encode()}
        for key, value in expected.items():
            if self._metadata.get(key) != value:
                raise NotEvidence(f"segment {place.compose()} says {key.decode()} is {self._metadata.get(key)!r}")
        batches = map(Columns.of, self.table.to_batches(max_chunksize=ROWS_AT_ONCE))
        try:
            leaves = BulkCheck(source, key_names).check(batches, place)
            _check_groups(self.footer, self.table)
        except ValueError as error:
            raise NotEvidence(f"segment {place.compose()}: {error}") from error
        return leaves

    def records(self, source: StreamSource, leaves: Sequence[bytes]) -> list[ChangeRecord]:
        """The change records of the rows, with leaves that are known."""
        rows = zip(_rows(self.table), leaves, strict=True)
        return [record_of_row(row, source)._replace(leaf=leaf) for row, leaf in rows]


def check_segment(
    content: bytes, source: StreamSource, place: SegmentName, key_names: tuple[str, ...] | None = None
) -> list[ChangeRecord]:
    """The records of a segment in which everything agrees, as `SegmentFile.check` demands."""
    file = SegmentFile.open(content)
    return file.records(source, file.check(source, place, key_names))


def _check_groups(footer: pq.FileMetaData, table: pa.Table) -> None:
    """Raises ValueError if the footer states of a group of rows what is not true of them."""
    from pyarrow import compute  # noqa: PLC0415  whoever archives starts without it

    check_row_count(footer)
    start = 0
    for number in range(footer.num_row_groups):
        group = footer.row_group(number)
        rows = table.slice(start, group.num_rows)
        seen = {place: Extent() for place in stated_columns(group, SEGMENT_COLUMNS)}
        for place, extent in seen.items():
            column = rows.column(place)
            ends = compute.min_max(column.cast(pa.int64()) if pa.types.is_timestamp(column.type) else column)
            extent.take(ends["min"].as_py(), ends["max"].as_py(), column.null_count)
        check_claims(group, rows.num_rows, seen, SEGMENT_COLUMNS)
        start += rows.num_rows
    if start != table.num_rows:
        raise ValueError(f"its groups are stated to have {start} rows, there are {table.num_rows}")


def encode_baseline_part(items: Sequence[tuple[bytes, str | None, str | None, bytes]]) -> bytes:
    """The bytes of a baseline part: item key, key text of both keys, image; in key order."""
    keys, pks, sks, images = zip(*items, strict=True) if items else ((), (), (), ())
    arrays = [_text(list(keys)), pa.array(pks, pa.string()), pa.array(sks, pa.string()), _text(list(images))]
    table = pa.Table.from_arrays(arrays, schema=_BASELINE_SCHEMA)
    return _parquet(table, BASELINE_COLUMNS, {METADATA_KIND: b"baseline"})


def open_zstd(file: IO[bytes]) -> IO[bytes]:
    """The decompressed bytes of a zstd stream, which Python before 3.14 cannot read. A stream cut short is OSError."""
    return io.BufferedReader(pa.CompressedInputStream(pa.PythonFile(file, mode="r"), "zstd"))


def _rows(table: pa.Table) -> Iterator[Row]:
    """The rows of a segment, some at a time. Raises ValueError for a text that is not UTF-8."""
    kinds = [_HELD.get(field.name, field.type) for field in _SEGMENT_SCHEMA]
    for batch in table.to_batches(max_chunksize=_ROWS_AT_ONCE):
        lists = (column.view(kind).to_pylist() for column, kind in zip(batch.columns, kinds, strict=True))
        yield from map(Row._make, zip(*lists, strict=True))


def _text(values: list[bytes | None]) -> pa.Array:
    # The bytes come out of orjson, so they are UTF-8 already: a view, not a second encoding.
    return pa.array(values, pa.binary()).view(pa.string())


def _parquet(table: pa.Table, columns: Sequence[Column], metadata: dict[bytes, bytes]) -> bytes:
    described = {
        METADATA_FORMAT: str(FORMAT_VERSION).encode(),
        METADATA_WRITER: _WRITER.encode(),
        METADATA_DIGEST: UNSTAMPED.encode(),
        **metadata,
    }
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(
        sink,
        table.schema,
        compression="zstd",
        use_dictionary=[column.name for column in columns if column.name in _REPETITIVE],
        write_statistics=[column.name for column in columns if column.has_statistics],
        write_page_checksum=True,
        store_schema=False,
    ) as writer:
        writer.write_table(table, row_group_size=_ROWS_PER_GROUP)
        # Not through the schema's metadata: that would be dropped together with Arrow's own copy of the schema.
        writer.add_key_value_metadata(described)
    return stamp(bytes(sink.getvalue()))
