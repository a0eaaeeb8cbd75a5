"""A trail of any size, made in minutes: hourly segments over 90 days, ten changes an item.

The rows are what the archiver would write, in the archiver's encoding, but for two things that no reader looks at
without
being asked to verify: the leaves, and so the roots in the names, are made up.
"""

import sys
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from archiver.format.columns import METADATA_KIND, METADATA_ROOT, SEGMENT_COLUMNS
from archiver.format.description import BaselineDescription, StreamDescription
from archiver.format.layout import HOUR_MS, BaselineName, SegmentName, Trail, stream_name
from archiver.segment import _SEGMENT_SCHEMA, _parquet

TRAIL: Final = Trail("111122223333", "us-east-1", "orders")
LABEL: Final = "2026-01-01T00:00:00.000"
ARN: Final = f"arn:aws:dynamodb:us-east-1:111122223333:table/orders/stream/{LABEL}"
START_MS: Final = 1_767_225_600_000
HOURS: Final = 90 * 24
CHANGES_PER_ITEM: Final = 10
_KEY_SCHEMA: Final = (("pk", "S"), ("sk", "S"))

_ROWS: Final = """
WITH numbered AS (
    SELECT i, (hash(i * 7919 + 13) % $items)::BIGINT AS k, $start_ms + ((i - $first) * 3600 // ($last - $first)) *
    1000 AS ms
    FROM range($first, $last) AS t(i)
),
keyed AS (
    SELECT
        *,
        CASE WHEN hash(i, 1) % 50 = 0 THEN 'REMOVE' WHEN hash(i, 1) % 50 = 1 THEN 'INSERT' ELSE 'MODIFY' END AS op,
        lpad((100000000000000000000000 + i * 17)::VARCHAR, 40, '0') AS sequence_number,
        'CUST#' || (k // 10) AS pk,
        'ORDER#' || lpad(k::VARCHAR, 9, '0') AS sk
    FROM numbered
),
imaged AS (
    SELECT
        *,
        '{"pk":{"S":"' || pk || '"},"sk":{"S":"' || sk || '"}}' AS item_key,
        '"},"note":{"S":"left at the door, see parcel ' || hash(i, 2) % 1000000 || '"},"pk":{"S":"' || pk
            || '"},"sk":{"S":"' || sk || '"},"status":{"S":"' AS middle,
        '"},"updated_by":{"S":"user-' || hash(i, 3) % 500 || '"}}' AS tail
    FROM keyed
)
SELECT
    printf('%016x%016x', hash(i), hash(i + 1)) AS change_id,
    op,
    ms AS changed_at,
    sequence_number,
    $label AS stream_label,
    item_key,
    pk,
    sk,
    CASE WHEN op <> 'INSERT' THEN '{"amount":{"N":"' || hash(i, 4) % 100000 || '"},"customer":{"S":"' || hash(k) %
    100000
        || middle || 'PAID' || tail END AS old_image,
    CASE WHEN op <> 'REMOVE' THEN '{"amount":{"N":"' || hash(i, 5) % 100000 || '"},"customer":{"S":"' || hash(k) %
    100000
        || middle || 'SHIPPED' || tail END AS new_image,
    NULL::VARCHAR AS user_identity,
    '{"awsRegion":"us-east-1","dynamodb":{"ApproximateCreationDateTime":' || ms // 1000 || ',"SequenceNumber":"'
        || ltrim(sequence_number, '0') || '","SizeBytes":300,"StreamViewType":"NEW_AND_OLD_IMAGES"},'
        || '"eventSource":"aws:dynamodb","eventSourceARN":"' || $arn || '","eventVersion":"1.1"}' AS event
FROM imaged
ORDER BY sequence_number
"""


def make(folder: Path, changes: int) -> Path:
    """Writes a trail of so many changes, with an empty baseline before the first (a complete floor); once a folder."""
    done = folder / f"made-{changes}"
    if done.exists():
        return folder
    connection = duckdb.connect()
    per_hour = changes // HOURS
    for hour in range(HOURS):
        first = hour * per_hour
        last = changes if hour == HOURS - 1 else first + per_hour
        _write_hour(folder, connection, hour, {"first": first, "last": last, "items": changes // CHANGES_PER_ITEM})
        if sys.stderr.isatty() and hour % 100 == 0:
            print(f"\rmaking {changes:,} changes: {hour / HOURS:.0%}", end="", file=sys.stderr)
    _write_descriptions(folder)
    done.touch()
    return folder


def _write_hour(folder: Path, connection: duckdb.DuckDBPyConnection, hour: int, values: dict[str, Any]) -> None:
    start_ms = START_MS + hour * HOUR_MS
    found = connection.sql(_ROWS, params={**values, "start_ms": start_ms, "label": LABEL, "arn": ARN}).to_arrow_table()
    arrays = [found[column.name].combine_chunks().cast(field.type) for column, field in _columns()]
    root = sha256(f"{hour}".encode()).hexdigest()
    table = pa.Table.from_arrays(arrays, schema=_SEGMENT_SCHEMA)
    content = _parquet(table, SEGMENT_COLUMNS, {METADATA_KIND: b"segment", METADATA_ROOT: root.encode()})
    name = SegmentName(start_ms, found["sequence_number"][0].as_py(), root).compose()
    _write(folder / TRAIL.prefix / name, content)


def _columns() -> Any:
    return zip(SEGMENT_COLUMNS, _SEGMENT_SCHEMA, strict=True)


def _write_descriptions(folder: Path) -> None:
    stream = StreamDescription(ARN, _KEY_SCHEMA, None, "NEW_AND_OLD_IMAGES")
    _write(folder / TRAIL.prefix / stream_name(LABEL), stream.compose())
    empty = BaselineDescription(
        complete=True,
        from_ms=START_MS - 2000,
        to_ms=START_MS - 1000,
        items=0,
        key_schema=_KEY_SCHEMA,
        origin="the table was empty",
        parts=(),
        stream_label=LABEL,
        table_id=None,
    )
    _write(folder / TRAIL.prefix / BaselineName(empty.from_ms).description, empty.compose())


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
