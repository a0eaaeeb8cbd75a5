"""Files of evidence read by the verifier: what is accepted is right in every row, and in the file around them."""

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archiver.format.canonical import canonical
from archiver.format.columns import METADATA_DIGEST, SEGMENT_COLUMNS
from archiver.format.layout import SegmentName, StreamSource
from archiver.format.record import change_record, item_key_text, key_hints
from archiver.format.stamp import UNSTAMPED, stamp
from archiver.plan import PlannedSegment, plan_segments
from archiver.segment import check_segment, encode_baseline_part, encode_segment
from query.evidence_rows import check_baseline_part, check_segment_file
from tests.querying.footers import (
    BINARY,
    CODEC,
    CREATED_BY,
    I32,
    PAIRS,
    REPETITION,
    Struct,
    chunk_of,
    with_footer,
)
from tests.querying.footers import SCHEMA as PARQUET_SCHEMA

STREAM_ARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-01-01T00:00:00.000"
TRAIL = StreamSource.parse(STREAM_ARN).trail
AT_S = 1_795_414_530


def record(number: int, **changes: Any) -> dict[str, Any]:
    keys = {"pk": {"S": f"CUST#{number % 7}"}, "sk": {"N": str(number)}}
    image = keys | {"note": {"S": "é" * (number % 5)}}
    stream: dict[str, Any] = {
        "ApproximateCreationDateTime": float(AT_S + number // 100),
        "Keys": keys,
        "NewImage": image,
        "SequenceNumber": str(442158450000000001745000 + number),
        "SizeBytes": number,
        "StreamViewType": "NEW_AND_OLD_IMAGES",
    }
    return {
        "eventID": f"{number:032x}",
        "eventName": "INSERT",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": stream | changes,
        "eventSourceARN": STREAM_ARN,
    }


def planned(count: int = 3) -> PlannedSegment:
    source = StreamSource.parse(STREAM_ARN)
    (segment,) = plan_segments([change_record(record(number), source, ("pk", "sk")) for number in range(count)])
    return segment


def table_of(content: bytes) -> pa.Table:
    return pq.read_table(pa.BufferReader(content))


def written(table: pa.Table, like: bytes, metadata: dict[bytes, bytes | None] | None = None, **options: Any) -> bytes:
    """These rows with the metadata of another file, as another writer might put them, with a digest that agrees.

    `metadata` changes pairs; None takes one away.
    """
    pairs = dict(pq.read_metadata(pa.BufferReader(like)).metadata)
    pairs |= {b"ddbtrail.digest": UNSTAMPED.encode()} | (metadata or {})
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, **({"store_schema": False} | options)) as writer:
        writer.write_table(table, row_group_size=4)
        writer.add_key_value_metadata({key: value for key, value in pairs.items() if value is not None})
    return stamp(sink.getvalue().to_pybytes())


def rewritten(content: bytes, metadata: dict[bytes, bytes | None] | None = None, **options: Any) -> bytes:
    return written(table_of(content), content, metadata, **options)


def refuses(reason: str) -> Any:
    return pytest.raises(ValueError, match=reason)


def test_large_items_are_looked_at_few_at_a_time():
    """Rows are many, or large: memory is bounded either way."""
    source = StreamSource.parse(STREAM_ARN)
    note = {"S": "parcel " * 2_000}
    delivered = [record(number) for number in range(6000)]
    for one in delivered:
        one["dynamodb"]["NewImage"]["note"] = note
    (segment,) = plan_segments([change_record(one, source, ("pk", "sk")) for one in delivered])
    content, before = encode_segment(segment), pa.default_memory_pool()
    pool = pa.proxy_memory_pool(before)
    pa.set_memory_pool(pool)
    try:
        assert check_segment_file(content, TRAIL, segment.place).records == 6000
    finally:
        pa.set_memory_pool(before)
    assert 14_000 * 6000 * 0.75 > pool.max_memory() > 5_000_000


def test_a_segment_gives_its_leaves_and_what_its_entry_says():
    """The verifier compares these with the log."""
    segment = planned(2500)
    found = check_segment_file(encode_segment(segment), TRAIL, segment.place)
    assert found.leaves == tuple(row.leaf for row in segment.rows)
    assert (found.stream_label, found.records) == ("2026-01-01T00:00:00.000", 2500)
    assert (found.first_sequence, found.last_sequence) == (
        segment.rows[0].sequence_number,
        segment.rows[-1].sequence_number,
    )
    assert (found.first_changed_at_ms, found.last_changed_at_ms) == (AT_S * 1000, (AT_S + 24) * 1000)
    assert found.writer.startswith("ddbtrail")
    assert check_segment_file(encode_segment(segment), TRAIL, segment.place, ("pk", "sk")) == found


def test_the_earliest_and_the_latest_time_need_not_be_those_of_the_first_and_the_last_row():
    """Order is that of sequence numbers; times step back between shards."""
    source = StreamSource.parse(STREAM_ARN)
    times = [5, 9, 1, 7]
    records = [record(number, ApproximateCreationDateTime=AT_S + time) for number, time in enumerate(times)]
    (segment,) = plan_segments([change_record(one, source, None) for one in records])
    found = check_segment_file(encode_segment(segment), TRAIL, segment.place)
    assert (found.first_changed_at_ms, found.last_changed_at_ms) == ((AT_S + 1) * 1000, (AT_S + 9) * 1000)


def test_times_that_pass_by_some_at_a_time_are_compared_with_all_of_them():
    """A segment has many groups of rows, and a shard may lag behind the others in any of them."""
    source = StreamSource.parse(STREAM_ARN)
    for times in ([5, 9, 1, 7, 3, 6], [3, 6, 6, 6, 5, 9, 1], [6, 6, 6, 6, 3, 7, 7, 7, 9, 1]):
        records = [record(number, ApproximateCreationDateTime=AT_S + time) for number, time in enumerate(times)]
        (segment,) = plan_segments([change_record(one, source, None) for one in records])
        found = check_segment_file(rewritten(encode_segment(segment)), TRAIL, segment.place)
        expected = (AT_S + min(times)) * 1000, (AT_S + max(times)) * 1000
        assert (found.first_changed_at_ms, found.last_changed_at_ms) == expected
        assert found.last_sequence == segment.rows[-1].sequence_number


def test_a_machine_without_memory_accuses_nobody(monkeypatch):
    """Arrow's own error is one of its exceptions too: taken for a bad file, it would be told as tampering."""
    segment = planned(3)
    content = encode_segment(segment)

    def exhausted(*_, **__):
        raise pa.ArrowMemoryError("malloc of size 64 failed")

    monkeypatch.setattr(pq, "ParquetFile", exhausted)
    with pytest.raises(MemoryError):
        check_segment_file(content, TRAIL, segment.place)
    with pytest.raises(MemoryError):
        check_segment(content, segment.source, segment.place)
    monkeypatch.undo()
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", exhausted)
    with pytest.raises(MemoryError):
        check_segment_file(content, TRAIL, segment.place)


@pytest.mark.parametrize("error", [pa.ArrowNotImplementedError, pa.ArrowKeyError, OSError])
def test_whatever_the_library_cannot_read_is_refused(monkeypatch, error):
    """Its errors are of many kinds, and none of them ends a verification."""
    segment = planned(3)
    content = encode_segment(segment)

    def fails(*_, **__):
        raise error("why")

    with monkeypatch.context() as patched, refuses("it is not Parquet: .*why"):
        patched.setattr(pq, "ParquetFile", fails)
        check_segment_file(content, TRAIL, segment.place)
    with monkeypatch.context() as patched, refuses("its rows cannot be read: .*why"):
        patched.setattr(pq.ParquetFile, "iter_batches", fails)
        check_segment_file(content, TRAIL, segment.place)


def test_a_footer_that_is_no_thrift_is_refused():
    """Its digest is looked for as bytes, before any parser sees it."""
    segment = planned(3)
    with refuses("it is not Parquet"):
        check_segment_file(
            with_footer(encode_segment(segment), lambda footer: footer.pop(PARQUET_SCHEMA)), TRAIL, segment.place
        )


def test_pages_in_a_compression_that_nobody_knows_are_refused():
    """The library says so only when it reads them."""
    segment = planned(3)

    def compress(footer: Struct) -> None:
        chunk_of(footer, 6)[CODEC] = I32, 55

    with refuses("its rows cannot be read"):
        check_segment_file(with_footer(encode_segment(segment), compress), TRAIL, segment.place)


def test_a_digest_that_stands_elsewhere_in_the_footer_makes_no_file_of_ours():
    """In the name of the writing library, say, with no metadata at all."""
    segment = planned(3)
    pair = b"\x18" + bytes([len(METADATA_DIGEST)]) + METADATA_DIGEST + b"\x18\x40" + UNSTAMPED.encode() + b"\0"

    def move(footer: Struct) -> None:
        del footer[PAIRS]
        footer[CREATED_BY] = BINARY, pair

    with refuses(r"it states ddbtrail\.format None"):
        check_segment_file(with_footer(encode_segment(segment), move), TRAIL, segment.place)


def test_a_column_that_repeats_is_refused():
    """It has the path of one that may be NULL."""
    segment = planned(3)

    def repeat(footer: Struct) -> None:
        footer[PARQUET_SCHEMA][1][1][1 + 6][REPETITION] = I32, 2

    with refuses(r"its column 6 is .*'pk \(repeated\)'.*, not .*'pk'"):
        check_segment_file(with_footer(encode_segment(segment), repeat), TRAIL, segment.place)


def test_both_ways_of_checking_a_segment_find_the_same_leaves():
    """Sealer and verifier read by code of their own."""
    segment = planned(50)
    content = encode_segment(segment)
    told = check_segment(content, segment.source, segment.place)
    assert check_segment_file(content, TRAIL, segment.place).leaves == tuple(row.leaf for row in told)


@pytest.mark.parametrize(
    "options", [{}, {"compression": "snappy"}, {"use_dictionary": False}, {"data_page_version": "2.0"}]
)
def test_another_encoding_of_the_same_rows_is_as_good(options):
    """Row groups, pages and encodings are the writer's choice."""
    segment = planned(10)
    content = rewritten(encode_segment(segment), **options)
    assert check_segment_file(content, TRAIL, segment.place).records == 10


def test_every_byte_of_a_file_counts():
    """The digest of the file comes before all else."""
    segment = planned()
    content = encode_segment(segment)
    for place in range(0, len(content), 7):
        altered = bytearray(content)
        altered[place] ^= 1
        with refuses("its bytes have digest|its footer|it does not end"):
            check_segment_file(bytes(altered), TRAIL, segment.place)
    for cut in (0, 4, len(content) // 2, len(content) - 1):
        with refuses("too short|does not end"):
            check_segment_file(content[:cut], TRAIL, segment.place)


def test_the_checksums_of_pages_count_too():
    """Whoever changes a page and the digest of the file has three things to forge; tools that know Parquet only see
    the first."""
    segment = planned()
    content = rewritten(encode_segment(segment), compression="NONE", use_dictionary=False, write_page_checksum=True)
    assert check_segment_file(content, TRAIL, segment.place).records == 3
    digest = pq.read_metadata(pa.BufferReader(content)).metadata[b"ddbtrail.digest"]
    altered = stamp(content.replace(digest, UNSTAMPED.encode()).replace(b"CUST#1", b"CUST#9", 1))
    with refuses("CRC"):
        check_segment_file(altered, TRAIL, segment.place)


@pytest.mark.parametrize(
    ("metadata", "reason"),
    [
        ({b"ddbtrail.format": b"2"}, r"ddbtrail\.format"),
        ({b"ddbtrail.format": None}, r"ddbtrail\.format"),
        ({b"ddbtrail.kind": b"baseline"}, r"ddbtrail\.kind"),
        ({b"ddbtrail.kind": None}, r"ddbtrail\.kind"),
        ({b"ddbtrail.root": b"00" * 32}, "states the root"),
        ({b"ddbtrail.root": None}, "states the root"),
    ],
)
def test_the_file_says_what_it_is(metadata, reason):
    """A file under a segment's name that calls itself something else is not that segment."""
    segment = planned()
    content = rewritten(encode_segment(segment), metadata)
    with refuses(reason):
        check_segment_file(content, TRAIL, segment.place)


def test_a_file_without_a_writer_is_evidence_too():
    """The writer has no meaning for readers."""
    segment = planned()
    for pair in (None, b""):
        content = rewritten(encode_segment(segment), {b"ddbtrail.writer": pair})
        assert check_segment_file(content, TRAIL, segment.place).writer == "unknown"


def test_a_writer_may_call_itself_anything():
    """Also what is no text."""
    segment = planned()
    content = rewritten(encode_segment(segment), {b"ddbtrail.writer": b"other \xff"})
    assert check_segment_file(content, TRAIL, segment.place).writer == "other \ufffd"


def with_field(table: pa.Table, name: str, kind: pa.DataType, *, nullable: bool = False) -> pa.Table:
    place = table.column_names.index(name)
    return table.cast(table.schema.set(place, pa.field(name, kind, nullable)))


def with_column(table: pa.Table, name: str, values: pa.Array) -> pa.Table:
    return table.set_column(table.column_names.index(name), name, values)


TABLES = {
    "another name": lambda t: t.rename_columns(["pK" if name == "pk" else name for name in t.column_names]),
    "another order": lambda t: t.select([*t.column_names[1::-1], *t.column_names[2:]]),
    "one fewer": lambda t: t.drop_columns(["user_identity"]),
    "the last one missing": lambda t: t.drop_columns(["event"]),
    "one more": lambda t: t.append_column("note", pa.array(["x"] * len(t))),
    "bytes": lambda t: with_field(t, "pk", pa.binary(), nullable=True),
    "optional": lambda t: with_field(t, "op", pa.string(), nullable=True),
    "not optional": lambda t: with_column(t, "pk", pa.array(["CUST#0"] * len(t))).cast(
        t.schema.set(6, pa.field("pk", pa.string(), nullable=False))
    ),
    "microseconds": lambda t: with_field(t, "changed_at", pa.timestamp("us", tz="UTC")),
    "local time": lambda t: with_field(t, "changed_at", pa.timestamp("ms")),
    "whole numbers": lambda t: with_field(t, "changed_at", pa.int64()),
    "a list": lambda t: with_column(t, "pk", pa.array([["x"]] * len(t))),
    "a structure": lambda t: with_column(t, "pk", pa.array([{"pk": "x"}] * len(t))),
}


@pytest.mark.parametrize("change", TABLES.values(), ids=TABLES)
def test_columns_are_those_of_the_format(change):
    """Names, order, types and nullability, as the file states them; what no reader looks at could say anything."""
    segment = planned()
    content = encode_segment(segment)
    altered = written(change(table_of(content)), content)
    with refuses("column"):
        check_segment_file(altered, TRAIL, segment.place)


def test_a_footer_may_not_ask_arrow_to_read_a_column_otherwise():
    """Arrow's own schema in a footer changes what this reader sees, and nobody else."""
    segment = planned()
    content = encode_segment(segment)
    large = with_field(table_of(content), "pk", pa.large_string(), nullable=True)
    altered = written(large, content, store_schema=True)
    with refuses("asks to be read as large_string"):
        check_segment_file(altered, TRAIL, segment.place)
    assert check_segment_file(written(large, content), TRAIL, segment.place).records == 3


def test_a_segment_with_no_rows_is_refused():
    """It would state the root of nothing."""
    segment = planned()
    content = encode_segment(segment)
    altered = written(table_of(content).slice(0, 0), content)
    with refuses("no rows"):
        check_segment_file(altered, TRAIL, segment.place)


@pytest.mark.parametrize("name", [c.name for c in SEGMENT_COLUMNS if c.kind == "string"])
def test_text_that_is_no_utf8_is_refused_in_every_column(name):
    """Parquet libraries hand it out unlooked at."""
    segment = planned()
    content = encode_segment(segment)
    table = table_of(content)
    field = table.schema.field(name)
    broken = pa.array([b"\xff"] * 3, pa.binary()).view(pa.string())
    altered = written(table.set_column(table.column_names.index(name), field, broken), content)
    with refuses("utf-8|rebuild"):
        check_segment_file(altered, TRAIL, segment.place)


@pytest.mark.parametrize(
    ("name", "values", "reason"),
    [
        ("pk", ["CUST#0", "CUST#1", "CUST#3"], "row 2, change .*key text"),
        ("stream_label", ["2026-01-01T00:00:00.000"] * 2 + ["2027-01-01T00:00:00.000"], "row 2, .*another stream"),
        ("op", ["INSERT", "MODIFY", "INSERT"], "have root"),
    ],
)
def test_a_file_whose_rows_were_changed_is_refused_with_the_row(name, values, reason):
    """The row check is asked, and says where."""
    segment = planned()
    content = encode_segment(segment)
    table = table_of(content)
    place = table.column_names.index(name)
    altered = written(table.set_column(place, table.schema.field(place), pa.array(values)), content)
    with refuses(reason):
        check_segment_file(altered, TRAIL, segment.place)


def test_another_trail_or_place_is_refused():
    """A segment that was moved is not what its name says."""
    segment = planned()
    content = encode_segment(segment)
    other = StreamSource.parse(STREAM_ARN.replace("/orders/", "/others/")).trail
    with refuses("another stream"):
        check_segment_file(content, other, segment.place)
    later = SegmentName(segment.place.hour_ms + 3_600_000, segment.place.first_sequence, segment.place.root)
    with refuses("another hour"):
        check_segment_file(content, TRAIL, later)


def test_hints_in_the_order_of_the_schema():
    """With the schema known, the other order is wrong."""
    segment = planned()
    with refuses("key text"):
        check_segment_file(encode_segment(segment), TRAIL, segment.place, ("sk", "pk"))


def test_threads_may_check_at_once():
    """What is remembered of one stream's rows is shared by all threads of a process."""
    segments = [planned(count) for count in range(200, 216)]
    contents = [encode_segment(segment) for segment in segments]
    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(check_segment_file, contents, [TRAIL] * 16, [segment.place for segment in segments]))
    assert [one.records for one in found] == list(range(200, 216))


# --- parts of a baseline ---

SCHEMA = (("pk", "S"), ("sk", "N"))


def item(pk: str, sk: str, **others: Any) -> tuple[bytes, str | None, str | None, bytes]:
    keys = {"pk": {"S": pk}, "sk": {"N": sk}}
    return item_key_text(keys), *key_hints(keys, ("pk", "sk")), canonical(keys | {"note": {"S": "x"}} | others)


ITEMS = [item("a", "1"), item("a", "2.0"), item("b", "-1"), item("b", "1")]


def test_a_part_of_a_baseline_is_counted():
    """Numbers are compared as numbers: the image keeps `2.0`, the key says `2`."""
    assert check_baseline_part(encode_baseline_part(ITEMS), SCHEMA) == 4
    assert check_baseline_part(encode_baseline_part([item("a", str(number)) for number in range(3000)]), SCHEMA) == 3000


BAD_ITEMS = {
    "another key in the image": ((item("a", "1")[0], *item("a", "1")[1:3], item("a", "2")[3]), "has the key"),
    "no key in the image": ((*item("a", "1")[:3], b'{"note":{"S":"x"}}'), "no key of"),
    "half a key in the image": ((*item("a", "1")[:3], b'{"pk":{"S":"a"}}'), "no key of"),
    "a key of another type": ((*item("a", "1")[:3], b'{"pk":{"S":"a"},"sk":{"S":"1"}}'), "no key of"),
    "an item key spelled otherwise": ((b'{"pk":{"S":"a"},"sk":{"N":"1.0"}}', *item("a", "1")[1:]), "has the key"),
    "an item key with white space": ((item("a", "1")[0] + b" ", *item("a", "1")[1:]), "has the key"),
    "an item key that is no UTF-8": ((b"\xff", *item("a", "1")[1:]), "has the key"),
    "another pk": ((item("a", "1")[0], "b", *item("a", "1")[2:]), "key text"),
    "another sk": ((*item("a", "1")[:2], "11302", item("a", "1")[3]), "key text"),
    "pk without sk": ((*item("a", "1")[:2], None, item("a", "1")[3]), "key text"),
    "an image that is not canonical": ((*item("a", "1")[:3], b" " + item("a", "1")[3]), "canonical"),
    "an image of no item": ((*item("a", "1")[:3], b"null"), "canonical"),
    "an unknown type": ((*item("a", "1")[:3], item("a", "1", other={"X": "y"})[3]), "canonical"),
    "text that is no UTF-8": ((*item("a", "1")[:3], item("a", "1")[3].replace(b'"x"', b'"\xff"')), "canonical"),
}


@pytest.mark.parametrize(("bad", "reason"), BAD_ITEMS.values(), ids=BAD_ITEMS)
@pytest.mark.parametrize("known", [0, 2])
def test_an_item_that_is_not_right_is_refused_with_its_key(bad, reason, known):
    """An item is found by its key, so its key is that of its image; alone or after items of the same shape."""
    before = [item("A", str(number)) for number in range(1, 1 + known)]
    with refuses(f"item {known}, .*{reason}"):
        check_baseline_part(encode_baseline_part([*before, bad]), SCHEMA)


def test_items_stand_in_order_and_once():
    """By key text, NULL as empty, then by key."""
    for wrong in ([ITEMS[1], ITEMS[0]], [ITEMS[0], ITEMS[0]], [ITEMS[3], ITEMS[0]]):
        with refuses("order, or there twice"):
            check_baseline_part(encode_baseline_part(wrong), SCHEMA)
    hidden = (ITEMS[0][0], None, None, ITEMS[0][3])
    assert check_baseline_part(encode_baseline_part([hidden, ITEMS[1]]), SCHEMA) == 2
    with refuses("there twice"):
        check_baseline_part(encode_baseline_part([hidden, ITEMS[0]]), SCHEMA)
    empty = item("", "1")
    assert empty[1] == ""
    assert check_baseline_part(encode_baseline_part([hidden, empty]), SCHEMA) == 2
    with refuses("order, or there twice"):
        check_baseline_part(encode_baseline_part([empty, hidden]), SCHEMA)


def test_items_without_key_text_stand_in_the_order_of_their_keys():
    """A number of more than 38 digits has no key text; NULL hints are all alike."""
    one, two = item("a", "1" * 39), item("a", "2" * 39)
    assert one[1:3] == (None, None)
    assert check_baseline_part(encode_baseline_part([one, two, *ITEMS]), SCHEMA) == 6
    with refuses("order, or there twice"):
        check_baseline_part(encode_baseline_part([two, one]), SCHEMA)


def test_the_schema_of_the_description_decides():
    """Partition key first."""
    with refuses("key text"):
        check_baseline_part(encode_baseline_part(ITEMS[:1]), SCHEMA[::-1])
    with refuses("no key of"):
        check_baseline_part(encode_baseline_part(ITEMS[:1]), (("pk", "S"), ("sk", "S")))


def test_a_segment_is_no_part_and_a_part_is_no_segment():
    """Each says its kind."""
    segment = planned()
    with refuses(r"ddbtrail\.kind"):
        check_baseline_part(encode_segment(segment), SCHEMA)
    with refuses(r"ddbtrail\.kind"):
        check_segment_file(encode_baseline_part(ITEMS), TRAIL, segment.place)


def test_a_part_has_the_columns_of_one():
    """Names, order, types and nullability."""
    content = encode_baseline_part(ITEMS)
    table = table_of(content)
    for wrong in (table.drop_columns(["sk"]), with_field(table, "image", pa.string(), nullable=True)):
        altered = written(wrong, content)
        with refuses("column"):
            check_baseline_part(altered, SCHEMA)
