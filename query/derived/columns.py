"""The columns of runs and snapshots as Arrow has them. `docs/format.md` repeats them in words."""

from typing import Final

import pyarrow as pa

from archiver.format.columns import SEGMENT_COLUMNS

_TIME: Final = pa.timestamp("ms", tz="UTC")
_OF_SEGMENT: Final = {"string": pa.string(), "timestamp_ms_utc": _TIME}

# A segment's columns, and what follows from the rows of the whole run.
RUN_SCHEMA: Final = pa.schema(
    [
        *(pa.field(column.name, _OF_SEGMENT[column.kind], nullable=column.nullable) for column in SEGMENT_COLUMNS),
        pa.field("changed_attributes", pa.list_(pa.string())),
        pa.field("preceded_at", _TIME),
        pa.field("effective_at", _TIME, nullable=False),
        pa.field("superseded_at", _TIME),
        pa.field("repeats", pa.bool_(), nullable=False),
        pa.field("segment", pa.int64(), nullable=False),
        pa.field("position", pa.int64(), nullable=False),
    ]
)

SNAPSHOT_SCHEMA: Final = pa.schema(
    [
        pa.field("item_key", pa.string(), nullable=False),
        pa.field("pk", pa.string()),
        pa.field("sk", pa.string()),
        pa.field("outcome", pa.string(), nullable=False),
        pa.field("basis", pa.string(), nullable=False),
        pa.field("image", pa.string()),
        pa.field("item", pa.string()),
        pa.field("change_id", pa.string()),
        pa.field("op", pa.string()),
        pa.field("changed_at", _TIME),
        pa.field("effective_at", _TIME),
        pa.field("stream_label", pa.string()),
        pa.field("sequence_number", pa.string()),
    ]
)

# What readers of other engines skip files and groups by; statistics of more would only make footers long.
WITH_STATISTICS: Final = ("pk", "sk", "changed_at")
# Columns of few different values in a group of rows. Not keys of items, though several rows may have one: zstd finds
# them as well, and without a dictionary they are read in two thirds of the time.
REPETITIVE: Final = (
    "op",
    "stream_label",
    "pk",
    "user_identity",
    "changed_attributes.list.element",
    "outcome",
    "basis",
)
