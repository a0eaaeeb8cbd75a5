"""The columns of evidence, as every reader of Parquet sees them."""

import pyarrow as pa
import pyarrow.parquet as pq

from archiver.format.columns import BASELINE_COLUMNS, SEGMENT_COLUMNS
from archiver.format.layout import SegmentName, StreamSource, Trail
from archiver.plan import PlannedSegment
from archiver.segment import encode_baseline_part, encode_segment
from tests.archiving.batches import record, understood

TYPES = {"string": pa.string(), "timestamp_ms_utc": pa.timestamp("ms", tz="UTC")}
SOURCE = StreamSource(Trail("111122223333", "eu-west-1", "orders"), "2026-01-01T00:00:00.000")
DESIGN = [
    "change_id",
    "op",
    "changed_at",
    "sequence_number",
    "stream_label",
    "item_key",
    "pk",
    "sk",
    "old_image",
    "new_image",
    "user_identity",
    "event",
]


def a_segment() -> pa.BufferReader:
    (row,) = understood([record(1)])
    return pa.BufferReader(
        encode_segment(PlannedSegment(SOURCE, SegmentName(0, row.sequence_number, "00" * 32), (row,)))
    )


def test_a_segment_has_the_columns_of_the_design_in_order():
    """Athena, Spark and people's own SQL name these columns; they are for ever."""
    assert [column.name for column in SEGMENT_COLUMNS] == DESIGN
    schema = pq.read_schema(a_segment())
    assert [(field.name, field.type, field.nullable) for field in schema] == [
        (column.name, TYPES[column.kind], column.nullable) for column in SEGMENT_COLUMNS
    ]


def test_a_baseline_part_has_its_columns_in_order():
    """The floor of a trail is read with the same SQL as its segments."""
    content = encode_baseline_part([(b'{"id":{"S":"a"}}', "a", None, b'{"id":{"S":"a"}}')])
    schema = pq.read_schema(pa.BufferReader(content))
    assert [(field.name, field.type, field.nullable) for field in schema] == [
        (column.name, TYPES[column.kind], column.nullable) for column in BASELINE_COLUMNS
    ]


def test_what_must_be_there_is_not_nullable():
    """Only what a record can lack may be NULL: hints, images, identity."""
    nullable = {column.name for column in SEGMENT_COLUMNS if column.nullable}
    assert nullable == {"pk", "sk", "old_image", "new_image", "user_identity"}


def test_statistics_stand_on_the_columns_that_prune():
    """Readers skip row groups by key and time; on images statistics would only cost bytes, and leak them."""
    group = pq.read_metadata(a_segment()).row_group(0)
    with_statistics = {
        group.column(number).path_in_schema for number in range(group.num_columns) if group.column(number).statistics
    }
    assert with_statistics >= {"pk", "changed_at", "sequence_number", "stream_label"}
    assert with_statistics.isdisjoint(
        {"old_image", "new_image", "item_key", "event", "user_identity", "change_id", "op"}
    )
