"""A trail of a thousand days of hourly seals that verifies: hot items, ordinary ones and rare ones among each other.

    hot         10 items, 10,000 changes each (fewer where that would be over a tenth of all changes)
    rare        3 changes each over the whole time, a hundredth of all changes
    ordinary    the rest, 10 changes each

One segment an hour and one seal at the end of each hour, with an empty baseline before the first. Each item's changes
are spread evenly over the whole time; the items of one hour lie all over the key space, hot and rare ones among the
ordinary ones of the same customers. Every leaf, root and image is what the archiver would have written, made by SQL;
the sealer is not asked to look at each segment again, its seals are written directly. A million changes in
24,000 hours take half a minute on one core.

By hand: `python -m benchmarks.long_trail FOLDER CHANGES [DAYS]`; the archive is FOLDER/archive, the public key beside
it.
"""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

import duckdb
import pyarrow as pa

from archiver.format.columns import METADATA_KIND, METADATA_ROOT, SEGMENT_COLUMNS
from archiver.format.description import BaselineDescription, StreamDescription
from archiver.format.layout import HOUR_MS, BaselineName, SegmentName, stream_name
from archiver.format.log_entry import BaselineEntry, IntervalEntry, LogEntry, OpenEntry, SegmentEntry, entry_leaf
from archiver.format.merkle import CompactRange, tree_root
from archiver.format.note import Checkpoint, SignedNote
from archiver.format.seal import Seal, origin_of, seal_digest
from archiver.segment import _SEGMENT_SCHEMA, _WRITER, _parquet
from archiver.signer import Signer, create_key, load_signer
from benchmarks.dataset import TRAIL

DAYS: Final = 1000
START_MS: Final = 1_704_067_200_000  # 2024-01-01: a thousand days end in the past
LABEL: Final = "2024-01-01T00:00:00.000"
ARN: Final = f"arn:aws:dynamodb:us-east-1:111122223333:table/orders/stream/{LABEL}"
HOT_ITEMS: Final = 10
HOT_CHANGES: Final = 10_000
RARE_CHANGES: Final = 3
ORDINARY_CHANGES: Final = 10
ITEMS_PER_CUSTOMER: Final = 10
_KEY_SCHEMA: Final = (("pk", "S"), ("sk", "S"))
_SPREAD: Final = 2_654_435_761  # a prime, so that multiplying by it only changes the order of the items
_HOURS_AT_ONCE: Final = 240

_MACROS: Final = r"""
CREATE MACRO image(pk, sk, n) AS
    '{"amount":{"N":"' || hash(sk, n) % 100000 || '"},"customer":{"S":"' || hash(pk) % 100000
    || '"},"note":{"S":"left at the door, see parcel ' || hash(sk, n, 2) % 1000000 || '"},"pk":{"S":"' || pk
    || '"},"sk":{"S":"' || sk || '"},"status":{"S":"STEP-' || n
    || '"},"updated_by":{"S":"user-' || hash(sk, n, 3) % 500 || '"}}';
CREATE MACRO digest_of(kind, content) AS
    sha256(encode('ddbtrail/v1/' || kind) || '\x00'::BLOB || encode(content));
-- The first of `total` changes, spread evenly over all hours, that is not before an hour.
CREATE MACRO first_of(hour, hours, total) AS (hour::BIGINT * total + hours - 1) // hours
"""

_ROWS: Final = r"""
WITH scheduled AS (
    SELECT kind, j, total, items, j * $hours // total AS hour, (j * $hours % total) / total AS share
    FROM (VALUES
        ('HOT', $hot_items * $hot_changes, $hot_items),
        ('ORDER', $ordinary_items * $ordinary_changes, $ordinary_items),
        ('RARE', $rare_items * $rare_changes, $rare_items)
    ) AS kinds(kind, total, items),
    LATERAL (
        SELECT unnest(range(first_of($from_hour, $hours, total), first_of($to_hour, $hours, total))) AS j
    ) AS t
),
numbered AS (
    SELECT
        kind, hour, items, j // items AS n,
        (j % items * $spread + (j // items) * 7919) % items AS k,
        $start_ms + hour * 3600000 + floor(share * 3600)::BIGINT * 1000 AS ms,
        $first + row_number() OVER (ORDER BY hour, floor(share * 3600)::BIGINT, kind, j) - 1 AS i
    FROM scheduled
),
keyed AS (
    SELECT
        *,
        'CUST#' || CASE kind WHEN 'ORDER' THEN k // $per_customer ELSE hash(kind, k) % $customers END AS pk,
        kind || '#' || lpad(k::VARCHAR, 9, '0') AS sk,
        (100000000000000000000000::HUGEINT + i * 17)::VARCHAR AS seq
    FROM numbered
),
imaged AS (
    SELECT
        *,
        CASE WHEN n = 0 THEN 'INSERT' ELSE 'MODIFY' END AS op,
        printf('%016x%016x', hash(i), hash(i + 1)) AS change_id,
        '{"pk":{"S":"' || pk || '"},"sk":{"S":"' || sk || '"}}' AS item_key,
        CASE WHEN n > 0 THEN image(pk, sk, n - 1) END AS old_image,
        image(pk, sk, n) AS new_image
    FROM keyed
)
SELECT
    hour, change_id, op, ms AS changed_at, lpad(seq, 40, '0') AS sequence_number, $label AS stream_label, item_key,
    pk, sk, old_image, new_image, NULL::VARCHAR AS user_identity,
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
ORDER BY i
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """How the changes of a trail are dealt out to items and hours."""

    changes: int  # as asked for; `total` is what it comes to
    days: int = DAYS

    @property
    def hours(self) -> int:
        return self.days * 24

    @property
    def hot_changes(self) -> int:
        """Of each hot item."""
        return min(HOT_CHANGES, self.changes // 10 // HOT_ITEMS)

    @property
    def rare_items(self) -> int:
        return self.changes // 3000 * 10

    @property
    def ordinary_items(self) -> int:
        others = HOT_ITEMS * self.hot_changes + self.rare_items * RARE_CHANGES
        return (self.changes - others) // ORDINARY_CHANGES

    @property
    def customers(self) -> int:
        return max(1, self.ordinary_items // ITEMS_PER_CUSTOMER)

    @property
    def total(self) -> int:
        hot, rare = HOT_ITEMS * self.hot_changes, self.rare_items * RARE_CHANGES
        return hot + rare + self.ordinary_items * ORDINARY_CHANGES

    @property
    def end_ms(self) -> int:
        return START_MS + self.hours * HOUR_MS

    def example_keys(self) -> dict[str, tuple[str, str]]:
        """pk and sk of one item of each kind."""
        numbers = {"hot": HOT_ITEMS // 2, "ordinary": self.ordinary_items // 3, "rare": self.rare_items // 3}
        query = """
            SELECT 'CUST#' || hash('HOT', $hot) % $customers, 'CUST#' || $ordinary // $per_customer,
                'CUST#' || hash('RARE', $rare) % $customers"""
        values = {**numbers, "customers": self.customers, "per_customer": ITEMS_PER_CUSTOMER}
        found = duckdb.connect().execute(query, values).fetchone()
        assert found is not None
        sorts = {"hot": "HOT", "ordinary": "ORDER", "rare": "RARE"}
        return {
            kind: (pk, f"{sorts[kind]}#{number:09d}") for (kind, number), pk in zip(numbers.items(), found, strict=True)
        }


def make(folder: Path, changes: int, days: int = DAYS) -> Path:
    """Writes a sealed trail into a folder, once; the archive in it."""
    shape = Shape(changes, days)
    archive, done = folder / "archive", folder / f"made-{changes}-{days}"
    if done.exists():
        return archive
    folder.mkdir(parents=True, exist_ok=True)
    create_key(folder / "key")
    trail = archive / TRAIL.prefix
    log = _Log(trail, load_signer(folder / "key"))
    for number, segment in enumerate(_segments(trail, shape)):
        entries: list[LogEntry] = [segment]
        if number == 0:
            entries = [_open(trail), segment, _empty_baseline(trail)]
        log.extend(entries, SegmentName.parse(segment.path).hour_ms)
        if sys.stderr.isatty() and number % 240 == 0:
            print(f"\rmaking {shape.total:,} changes: day {number // 24} of {days}", end="", file=sys.stderr)
    done.touch()
    return archive


def _open(trail: Path) -> OpenEntry:
    content = StreamDescription(ARN, _KEY_SCHEMA, None, "NEW_AND_OLD_IMAGES").compose()
    _write(trail / stream_name(LABEL), content)
    return OpenEntry(LABEL, sha256(content).hexdigest())


def _empty_baseline(trail: Path) -> BaselineEntry:
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
    name, content = BaselineName(empty.from_ms).description, empty.compose()
    _write(trail / name, content)
    return BaselineEntry(name, sha256(content).hexdigest())


class _Log:
    """The log of a trail, one seal an hour, made when the hour has ended."""

    def __init__(self, trail: Path, signer: Signer) -> None:
        self._trail, self._signer = trail, signer
        self._after, self._sha256, self._to_ms = CompactRange(), None, START_MS
        (trail / "seals").mkdir(parents=True)

    def extend(self, entries: list[LogEntry], hour_ms: int) -> None:
        before, end_ms = self._after, hour_ms + HOUR_MS
        # The first seal alone has notices: the stream, and the baseline.
        interval = IntervalEntry(self._to_ms, end_ms, end_ms, None if before.size == 0 else 0)
        sealed = (*entries, interval)
        for leaf in map(entry_leaf, sealed):
            self._after = self._after.append(leaf)
        origin = origin_of(TRAIL)
        text = Checkpoint(origin, self._after.size, self._after.root).text
        note = SignedNote(text, (self._signer.sign(origin, text),))
        seal = Seal(before.size, self._sha256, sealed, self._after, note)
        content = seal.compose()
        (self._trail / seal.name).write_bytes(content)
        self._sha256, self._to_ms = seal_digest(content), end_ms


def _segments(trail: Path, shape: Shape) -> Iterator[SegmentEntry]:
    """Writes the segments, hour by hour."""
    connection = duckdb.connect()
    connection.execute(_MACROS)
    first = 0
    values: dict[str, Any] = {
        "hours": shape.hours,
        "hot_items": HOT_ITEMS,
        "hot_changes": shape.hot_changes,
        "rare_items": shape.rare_items,
        "rare_changes": RARE_CHANGES,
        "ordinary_items": shape.ordinary_items,
        "ordinary_changes": ORDINARY_CHANGES,
        "customers": shape.customers,
        "per_customer": ITEMS_PER_CUSTOMER,
        "spread": _SPREAD,
        "start_ms": START_MS,
        "label": LABEL,
        "arn": ARN,
    }
    at_once = max(1, min(_HOURS_AT_ONCE, 500_000 * shape.hours // shape.total))
    for from_hour in range(0, shape.hours, at_once):
        to_hour = min(from_hour + at_once, shape.hours)
        given = {**values, "from_hour": from_hour, "to_hour": to_hour, "first": first}
        found = connection.sql(_ROWS, params=given).to_arrow_table().combine_chunks()
        first += len(found)
        start = 0
        for run in found["hour"].value_counts().to_pylist():  # in order, as the rows are
            yield _write_segment(trail, found.slice(start, run["counts"]), run["values"])
            start += run["counts"]
    assert first == shape.total, f"{first} changes, not {shape.total}"


def _write_segment(trail: Path, found: pa.Table, hour: int) -> SegmentEntry:
    fields = zip(SEGMENT_COLUMNS, _SEGMENT_SCHEMA, strict=True)
    arrays = [found[column.name].combine_chunks().cast(field.type) for column, field in fields]
    root = tree_root(found["leaf"].to_pylist()).hex()
    table = pa.Table.from_arrays(arrays, schema=_SEGMENT_SCHEMA)
    content = _parquet(table, SEGMENT_COLUMNS, {METADATA_KIND: b"segment", METADATA_ROOT: root.encode()})
    first, last = (found["sequence_number"][place].as_py() for place in (0, -1))
    name = SegmentName(START_MS + hour * HOUR_MS, first, root).compose()
    _write(trail / name, content)
    return SegmentEntry(
        path=name,
        stream_label=LABEL,
        file_sha256=sha256(content).hexdigest(),
        bytes=len(content),
        records=len(found),
        root=root,
        first_sequence=first,
        last_sequence=last,
        first_changed_at_ms=found["changed_at"][0].as_py(),
        last_changed_at_ms=found["changed_at"][-1].as_py(),
        writer=_WRITER,
    )


def _write(path: Path, content: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


if __name__ == "__main__":
    made = make(Path(sys.argv[1]), int(sys.argv[2]), *map(int, sys.argv[3:4]))
    print(made)
    for kind, key in Shape(int(sys.argv[2]), *map(int, sys.argv[3:4])).example_keys().items():
        print(kind, *key)
