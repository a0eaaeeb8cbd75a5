"""A trail of any size that verifies: every leaf, root and image is what the archiver would have written, made by SQL.

Hourly segments over 90 days, ten changes an item: an INSERT, then MODIFYs, each of which finds what the one before it
left. About 3 microseconds a record and core.
"""

import sys
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from archiver.format.columns import METADATA_KIND, METADATA_ROOT, SEGMENT_COLUMNS
from archiver.format.description import StreamDescription
from archiver.format.layout import HOUR_MS, SegmentName, stream_name
from archiver.format.log_entry import SegmentEntry
from archiver.format.merkle import tree_root
from archiver.segment import _SEGMENT_SCHEMA, _WRITER, _parquet
from benchmarks.dataset import ARN, CHANGES_PER_ITEM, HOURS, LABEL, START_MS, TRAIL

_MACROS: Final = r"""
CREATE MACRO image(k, n) AS
    '{"amount":{"N":"' || hash(k, n) % 100000 || '"},"customer":{"S":"' || k % 100000
    || '"},"note":{"S":"left at the door, see parcel ' || hash(k, n, 2) % 1000000 || '"},"pk":{"S":"CUST#' || k // 10
    || '"},"sk":{"S":"ORDER#' || lpad(k::VARCHAR, 9, '0') || '"},"status":{"S":"STEP-' || n
    || '"},"updated_by":{"S":"user-' || hash(k, n, 3) % 500 || '"}}';
CREATE MACRO digest_of(kind, content) AS
    sha256(encode('ddbtrail/v1/' || kind) || '\x00'::BLOB || encode(content))
"""

_ROWS: Final = r"""
WITH numbered AS (
    SELECT
        i, i % $items AS k, i // $items AS n,
        $start_ms + ((i - $first) * 3600 // ($last - $first)) * 1000 AS ms,
        (100000000000000000000000::HUGEINT + i * 17)::VARCHAR AS seq
    FROM range($first, $last) AS t(i)
),
imaged AS (
    SELECT
        *,
        CASE WHEN n = 0 THEN 'INSERT' ELSE 'MODIFY' END AS op,
        printf('%016x%016x', hash(i), hash(i + 1)) AS change_id,
        '{"pk":{"S":"CUST#' || k // 10 || '"},"sk":{"S":"ORDER#' || lpad(k::VARCHAR, 9, '0') || '"}}' AS item_key,
        CASE WHEN n > 0 THEN image(k, n - 1) END AS old_image,
        image(k, n) AS new_image
    FROM numbered
)
SELECT
    change_id, op, ms AS changed_at, lpad(seq, 40, '0') AS sequence_number, $label AS stream_label, item_key,
    'CUST#' || k // 10 AS pk, 'ORDER#' || lpad(k::VARCHAR, 9, '0') AS sk, old_image, new_image,
    NULL::VARCHAR AS user_identity,
    '{"awsRegion":"us-east-1","dynamodb":{"ApproximateCreationDateTime":' || ms // 1000 || ',"SequenceNumber":"' || seq
        || '","SizeBytes":300,"StreamViewType":"NEW_AND_OLD_IMAGES"},"eventSource":"aws:dynamodb","eventSourceARN":"'
        || $arn || '","eventVersion":"1.1"}' AS event,
    unhex(sha256('\x00'::BLOB || encode(
        '{"event_id":"' || change_id || '","event_name":"' || op
        || '","event_version":"1.1","extra":{"eventSource":"aws:dynamodb"},"keys":"' || digest_of('key', item_key)
        || '","new":"' || digest_of('image', new_image)
        || '","old":' || coalesce('"' || digest_of('image', old_image) || '"', 'null')
        || ',"region":"us-east-1","seq":"' || seq || '","size_bytes":300,"stream_arn":"' || $arn || '","ts":'
        || ms // 1000 || ',"v":1,"view_type":"NEW_AND_OLD_IMAGES"}'
    ))) AS leaf
FROM imaged
ORDER BY sequence_number
"""


def make(folder: Path, changes: int) -> dict[SegmentName, SegmentEntry]:
    """Writes a trail of so many changes into a folder; what a sealer would say of its segments."""
    connection = duckdb.connect()
    connection.execute(_MACROS)
    per_hour = changes // HOURS
    entries = {}
    for hour in range(HOURS):
        first = hour * per_hour
        last = changes if hour == HOURS - 1 else first + per_hour
        values = {"first": first, "last": last, "items": changes // CHANGES_PER_ITEM}
        entry = _write_hour(folder, connection, hour, values)
        entries[SegmentName.parse(entry.path)] = entry
        if sys.stderr.isatty() and hour % 100 == 0:
            print(f"\rmaking {changes:,} changes: {hour / HOURS:.0%}", end="", file=sys.stderr)
    stream = StreamDescription(ARN, (("pk", "S"), ("sk", "S")), None, "NEW_AND_OLD_IMAGES")
    _write(folder / TRAIL.prefix / stream_name(LABEL), stream.compose())
    return entries


def _write_hour(folder: Path, connection: duckdb.DuckDBPyConnection, hour: int, values: dict[str, Any]) -> SegmentEntry:
    start_ms = START_MS + hour * HOUR_MS
    found = connection.sql(_ROWS, params={**values, "start_ms": start_ms, "label": LABEL, "arn": ARN}).to_arrow_table()
    fields = zip(SEGMENT_COLUMNS, _SEGMENT_SCHEMA, strict=True)
    arrays = [found[column.name].combine_chunks().cast(field.type) for column, field in fields]
    root = tree_root(found["leaf"].to_pylist()).hex()
    table = pa.Table.from_arrays(arrays, schema=_SEGMENT_SCHEMA)
    content = _parquet(table, SEGMENT_COLUMNS, {METADATA_KIND: b"segment", METADATA_ROOT: root.encode()})
    name = SegmentName(start_ms, found["sequence_number"][0].as_py(), root).compose()
    _write(folder / TRAIL.prefix / name, content)
    times = found["changed_at"].to_pylist()
    return SegmentEntry(
        path=name,
        stream_label=LABEL,
        file_sha256=sha256(content).hexdigest(),
        bytes=len(content),
        records=len(found),
        root=root,
        first_sequence=found["sequence_number"][0].as_py(),
        last_sequence=found["sequence_number"][-1].as_py(),
        first_changed_at_ms=min(times),
        last_changed_at_ms=max(times),
        writer=_WRITER,
    )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)
