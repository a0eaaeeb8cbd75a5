"""A batch: what it becomes, where each record ends, and what a failure leaves behind."""

import json
from datetime import UTC, datetime
from hashlib import sha256
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.errors import NotAnEvent, NotEvidence, StoreUnavailable
from archiver.format.layout import HOUR_MS, SegmentName, StreamSource, Trail, parse_late_name, parse_quarantine_name
from archiver.format.merkle import tree_root
from archiver.format.record import change_record
from archiver.plan import LATE_AFTER_MS, plan_segments
from archiver.segment import check_segment, encode_segment
from archiver.stream import RepeatedMembers, records_of_event, understand
from archiver.streams import Streams
from archiver.writer import BatchReport, Writer
from tests.archiving.batches import BAD_RECORDS, CHANGED_AT_S, DAY_S, HOUR_S, arn_of, record, understood
from tests.archiving.strategies import PROPERTY
from tests.simulator.memory_store import MemoryStore

NOW_MS = (CHANGED_AT_S + 60) * 1000
SOURCE = StreamSource.parse(record(1)["eventSourceARN"])


def archive(records, *, store=None, now_ms=NOW_MS) -> tuple[MemoryStore, BatchReport]:
    store = MemoryStore() if store is None else store
    return store, Writer(store=store, streams=Streams()).archive(records, now_ms=now_ms)


def segments(store: MemoryStore) -> dict[str, tuple[StreamSource, SegmentName, bytes]]:
    found = {}
    for name, content in store.objects.items():
        trail, inner = Trail.parse(name) if "/table_name=" in name else (None, name)
        if inner.startswith("segments/"):
            place = SegmentName.parse(inner)
            label = json.loads(read_event(content))["eventSourceARN"].rpartition("/")[2]
            found[name] = StreamSource(trail, label), place, content
    return found


def read_event(content: bytes) -> str:
    import pyarrow as pa
    import pyarrow.parquet as pq

    return pq.read_table(pa.BufferReader(content), columns=["event"])["event"][0].as_py()


def archived_ids(store: MemoryStore) -> list[str]:
    """Every record of every segment, each file checked against its name."""
    found = []
    for source, place, content in segments(store).values():
        rows = check_segment(content, source, place)
        assert {row.changed_at_ms - row.changed_at_ms % HOUR_MS for row in rows} == {place.hour_ms}
        assert rows[0].sequence_number == place.first_sequence
        found += [row.change_id for row in rows]
    return found


def quarantined(store: MemoryStore) -> dict[str, bytes]:
    return {name: content for name, content in store.objects.items() if "quarantine/" in name}


# --- bad input ---


@pytest.mark.parametrize("name", BAD_RECORDS)
def test_a_record_that_cannot_be_understood_goes_to_quarantine_and_stops_nothing(name):
    """A poison record would block its shard for a day, and everything behind it would expire with it."""
    bad = BAD_RECORDS[name]()
    store, report = archive([record(1), bad, record(2)])
    assert sorted(archived_ids(store)) == [record(1)["eventID"], record(2)["eventID"]]
    ((object_name, content),) = quarantined(store).items()
    assert same_json(json.loads(content), bad)
    assert object_name.rpartition("/")[2] == f"{sha256(content).hexdigest()}.json"
    ((kept),) = report.quarantined
    assert kept.name == object_name
    assert kept.reason


def same_json(one, other) -> bool:
    """Equality in which NaN equals itself, and lone surrogates are text like any other."""
    return json.dumps(one, sort_keys=True) == json.dumps(other, sort_keys=True)


def test_a_record_deeper_than_the_stack_is_kept_verbatim():
    """A JSON parser in C reads what Python's recursion cannot write; raising for it would block the shard."""
    depth = 1_000
    image = json.loads('{"L":[' * 200 + '{"NULL":true}' + "]}" * 200)
    for _ in range(depth):
        image = {"L": [image]}
    deep = record(1)
    deep["dynamodb"]["NewImage"]["odd"] = image
    store, _ = archive([deep, record(2)])
    ((_, content),) = quarantined(store).items()
    assert content.count(b'{"L":[') == depth + 200
    assert archived_ids(store) == [record(2)["eventID"]]


def test_nothing_but_bad_records_is_a_batch_like_any_other():
    """Each is kept under a name of its own; none raises."""
    bad = [make() for make in BAD_RECORDS.values()]
    store, report = archive(bad)
    assert len(report.quarantined) == len(bad)
    assert len(quarantined(store)) == len({json.dumps(one, sort_keys=True) for one in bad})
    assert segments(store) == {}
    assert report.received == len(bad)
    assert report.newest_change_ms is None


def test_a_quarantined_record_stands_in_its_trail_if_its_arn_tells_one():
    """Who looks after a table finds what its trail lacks; the rest lies above all trails."""
    store, _ = archive([BAD_RECORDS["no Keys"](), BAD_RECORDS["another service"](), BAD_RECORDS["a text"]()])
    trails = {name: name.startswith(SOURCE.trail.prefix) for name in quarantined(store)}
    assert sorted(trails.values()) == [False, True, True]
    for name, is_in_trail in trails.items():
        inner = name.removeprefix(SOURCE.trail.prefix if is_in_trail else "v1/")
        parse_quarantine_name(inner)


def test_a_record_that_named_a_member_twice_is_kept_with_both():
    """A recorded event can hold one; a dict would have lost the first, and the digest would not be that of the text."""
    twice = RepeatedMembers([("eventID", "1"), ("eventID", "2")])
    store, _ = archive([twice])
    ((_, content),) = quarantined(store).items()
    assert content == b'{"eventID":"1","eventID":"2"}'
    inside = record(1) | {"new": twice}
    store, _ = archive([inside])
    ((_, content),) = quarantined(store).items()
    assert b'"new":{"eventID":"1","eventID":"2"}' in content


@pytest.mark.parametrize("event", [None, [], "x", 7, {}, {"Records": None}, {"Records": {}}, {"records": []}])
def test_what_is_no_event_is_a_clear_error(event):
    """Somebody invoked the function by hand, or from another source: nothing can be written, and silence would lie."""
    with pytest.raises(NotAnEvent) as error:
        records_of_event(event)
    assert "event source mapping" in error.value.hint


def test_an_empty_batch_writes_nothing():
    """Lambda may send one; it is a success."""
    store, report = archive([])
    assert store.objects == {}
    assert report == BatchReport()


@pytest.mark.parametrize(
    "change",
    [
        {"eventVersion": "9.9"},
        {"somethingNew": {"since": 2027.5, "values": [None, True]}},
        {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com", "new": 1}},
        {"userIdentity": None},
    ],
    ids=str,
)
def test_what_is_new_is_kept(change):
    """AWS adds fields and raises versions; a record of tomorrow is no bad record."""
    store, report = archive([record(1) | change])
    assert report.quarantined == ()
    assert archived_ids(store) == [record(1)["eventID"]]


# --- where records go ---


def test_several_tables_in_one_batch_become_several_trails():
    """One function serves any number of tables; the ARN of each record says whose it is."""
    arns = [arn_of(table, label, account) for table, label, account in TABLES]
    batch = [record(number, arn=arns[number % len(arns)]) for number in range(12)]
    Random(1).shuffle(batch)
    store, report = archive(batch)
    assert len(segments(store)) == len(arns) == len(report.segments)
    assert {
        (source.trail.table_name, source.stream_label, source.trail.account)
        for source, _, _ in segments(store).values()
    } == set(TABLES)
    assert sorted(archived_ids(store)) == sorted(one["eventID"] for one in batch)


TABLES = [
    ("orders", "2026-01-01T00:00:00.000", "111122223333"),
    ("orders", "2026-02-01T00:00:00.000", "111122223333"),
    ("orders", "2026-01-01T00:00:00.000", "444455556666"),
    ("customers", "2026-01-01T00:00:00.000", "111122223333"),
]


@pytest.mark.parametrize(
    ("first_s", "second_s", "folders"),
    [
        (CHANGED_AT_S, CHANGED_AT_S + HOUR_S - 1, ["dt=2026-11-23/hour=00"]),
        (CHANGED_AT_S + HOUR_S - 1, CHANGED_AT_S + HOUR_S, ["dt=2026-11-23/hour=00", "dt=2026-11-23/hour=01"]),
        (CHANGED_AT_S + HOUR_S - 0.001, CHANGED_AT_S + HOUR_S, ["dt=2026-11-23/hour=00", "dt=2026-11-23/hour=01"]),
        (CHANGED_AT_S - 1, CHANGED_AT_S, ["dt=2026-11-22/hour=23", "dt=2026-11-23/hour=00"]),
        (1_835_395_199, 1_835_395_200, ["dt=2028-02-28/hour=23", "dt=2028-02-29/hour=00"]),
        (1_835_481_599, 1_835_481_600, ["dt=2028-02-29/hour=23", "dt=2028-03-01/hour=00"]),
        (1_798_761_599, 1_798_761_600, ["dt=2026-12-31/hour=23", "dt=2027-01-01/hour=00"]),
        (1_325_376_000, 4_102_444_799, ["dt=2012-01-01/hour=00", "dt=2099-12-31/hour=23"]),
    ],
)
def test_a_segment_never_spans_two_hours(first_s, second_s, folders):
    """After a stall one batch spans many hours; readers prune by the hour in the name."""
    store, _ = archive([record(1, changed_at_s=first_s), record(2, changed_at_s=second_s)], now_ms=4_102_444_800_000)
    found = sorted(name for name in segments(store))
    assert ["/".join(name.split("/")[5:7]) for name in found] == folders
    assert len(archived_ids(store)) == 2


@PROPERTY
@given(
    st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3), st.sampled_from(TABLES)), min_size=1, max_size=12),
    st.randoms(use_true_random=False),
)
def test_the_same_records_give_the_same_names(drawn, rng):
    """Names from the records alone: a retry finds its own objects, in whatever order the records come."""
    batch = [
        record(number * 7 + hours, changed_at_s=CHANGED_AT_S + hours * HOUR_S, arn=arn_of(*table))
        for number, hours, table in drawn
    ]
    planned = plan_segments(understood(batch))
    shuffled = batch * 2
    rng.shuffle(shuffled)
    again = plan_segments(understood(shuffled))
    assert again == planned
    rows = [row for segment in planned for row in segment.rows]
    assert {row.leaf for row in rows} == {row.leaf for row in understood(batch)}
    assert len(rows) == len({(row.source, row.leaf) for row in rows})
    for segment in planned:
        assert segment.place.root == tree_root([row.leaf for row in segment.rows]).hex()
        assert len({(row.source, row.changed_at_ms // HOUR_MS) for row in segment.rows}) == 1


def test_batches_cut_differently_never_overwrite_each_other():
    """A retry cuts anew: named by first sequence number alone, the shorter segment would hide the longer one."""
    batch = [record(number) for number in range(1, 6)]
    store, _ = archive(batch[:2])
    archive(batch, store=store)
    archive(batch[:4], store=store)
    assert len(segments(store)) == 3
    assert set(archived_ids(store)) == {one["eventID"] for one in batch}


def test_a_redelivered_batch_writes_nothing_new():
    """At least once is what Lambda promises; the second time everything is already there, and that is success."""
    batch = [record(1), record(2, arn=arn_of("customers")), BAD_RECORDS["no Keys"]()]
    store, first = archive(batch)
    before = dict(store.objects)
    _, second = archive(batch, store=store)
    assert store.objects == before
    assert (first.segments_written, second.segments_written) == (2, 0)
    assert (second.archived, second.bytes_written) == (2, 0)


def test_a_record_delivered_twice_in_one_batch_is_kept_once():
    """And told in the report: every record received is accounted for."""
    store, report = archive([record(1), record(2), record(1)])
    assert len(archived_ids(store)) == 2
    assert (report.received, report.archived, report.repeated) == (3, 2, 1)


def test_two_records_that_contradict_each_other_are_both_kept():
    """Never chosen between: it is the reader who refuses what rests on them."""
    other = record(1)
    other["dynamodb"]["NewImage"] = {"id": {"S": "a"}, "n": {"N": "99"}}
    store, report = archive([record(1), other])
    assert archived_ids(store) == [record(1)["eventID"]] * 2
    assert report.archived == 2


# --- late markers ---


@pytest.mark.parametrize(
    ("late_by_ms", "is_marked"),
    [
        (0, False),
        (LATE_AFTER_MS - 1, False),
        (LATE_AFTER_MS, False),
        (LATE_AFTER_MS + 1, True),
        (30 * 24 * HOUR_MS, True),
    ],
)
def test_a_segment_is_late_when_its_hour_is_over_for_more_than_a_day(late_by_ms, is_marked):
    """Readers list the last 26 hours; the last millisecond inside and the first outside decide what they would miss."""
    assert LATE_AFTER_MS == 24 * HOUR_MS
    now_ms = CHANGED_AT_S * 1000 + HOUR_MS + late_by_ms
    store, _ = archive([record(1)], now_ms=now_ms)
    (segment,) = segments(store)
    markers = [name for name in store.objects if "/late/" in name]
    assert bool(markers) is is_marked
    for marker in markers:
        assert store.objects[marker] == b""
        day, place = parse_late_name(marker.removeprefix(SOURCE.trail.prefix))
        assert SOURCE.trail.prefix + place.compose() == segment
        assert day == datetime.fromtimestamp(now_ms / 1000, UTC).date().isoformat()


def test_a_late_marker_stands_before_its_segment():
    """The other way round, a stop between the two would leave a segment that nobody ever finds."""
    store, _ = archive([record(1)], now_ms=NOW_MS + 3 * DAY_S * 1000)
    order = [name for name, _, _ in store.journal]
    (marker,) = (number for number, name in enumerate(order) if "/late/" in name)
    (segment,) = (number for number, name in enumerate(order) if "/late/" not in name and "/segments/" in name)
    assert marker < segment


# --- all or nothing ---


class FailingStore(MemoryStore):
    """Fails the put with one number, before or after it is stored."""

    def __init__(self, number: int, *, is_stored: bool):
        super().__init__()
        self.number, self.is_stored = number, is_stored

    def put_if_absent(self, name: str, content: bytes) -> bool:
        fails = len(self.journal) == self.number
        if fails and not self.is_stored:
            self.journal.append((name, len(content), False))
            raise StoreUnavailable("lost before it was stored")
        is_new = super().put_if_absent(name, content)
        if fails:
            raise StoreUnavailable("lost after it was stored")
        return is_new


MIXED = [
    record(1),
    record(2, changed_at_s=CHANGED_AT_S - 3 * DAY_S),
    record(3, arn=arn_of("customers")),
    BAD_RECORDS["no Keys"](),
    BAD_RECORDS["a text"](),
]


@pytest.mark.parametrize("is_stored", [False, True])
def test_whatever_put_fails_the_batch_raises_and_the_next_try_completes_it(is_stored):
    """Answering means success to Lambda, so a batch that is not whole must raise, whichever put it was."""
    whole, _ = archive(MIXED)
    puts = len(whole.journal)
    assert puts >= 7
    for number in range(puts):
        store = FailingStore(number, is_stored=is_stored)
        with pytest.raises(StoreUnavailable):
            archive(MIXED, store=store)
        assert set(store.objects) < set(whole.objects) or is_stored
        for name, content in store.objects.items():
            assert whole.objects[name] == content
        store.number = -1
        archive(MIXED, store=store)
        assert store.objects == whole.objects


def test_the_report_accounts_for_every_record():
    """Row count in is row count out: the oldest way to lose a record is not to count."""
    _, report = archive([*MIXED, record(1)])
    assert report.received == report.archived + report.repeated + len(report.quarantined) == 6
    assert report.oldest_change_ms == (CHANGED_AT_S - 3 * DAY_S) * 1000
    assert report.newest_change_ms == CHANGED_AT_S * 1000
    assert report.segments_written == len(report.segments) == 3
    assert report.bytes_written > 0


# --- descriptions ---


def test_a_stream_description_is_written_before_the_first_segment_and_once():
    """Without it nobody knows which key attribute is the partition key; with it written, nothing is asked again."""
    store = MemoryStore()
    writer = Writer(store=store, streams=Streams())
    writer.archive([record(1)], now_ms=NOW_MS)
    writer.archive([record(2)], now_ms=NOW_MS)
    order = [name for name, _, _ in store.journal]
    assert ["/streams/" in name for name in order] == [True, False, False]


def test_a_composite_key_without_a_schema_is_archived_with_null_hints():
    """What is not known is not guessed: the hints are NULL, and there is no description to mislead anyone."""
    two = record(1)
    two["dynamodb"]["Keys"] = {"pk": {"S": "a"}, "sk": {"N": "1"}}
    store, report = archive([two])
    ((row,),) = [segment.rows for segment in report.segments]
    assert (row.pk, row.sk) == (None, None)
    assert not any("/streams/" in name for name in store.objects)
    known = Writer(store=MemoryStore(), streams=Streams(key_schema={"orders": ("pk", "sk")}))
    ((row,),) = [segment.rows for segment in known.archive([two], now_ms=NOW_MS).segments]
    assert (row.pk, row.sk) == ("a", "11301")


# --- the file ---


def a_segment(count: int = 3):
    (planned,) = plan_segments(understood([record(number) for number in range(1, count + 1)]))
    return planned, encode_segment(planned)


def test_a_segment_reads_back_as_the_records_it_was_made_of():
    """Encode and decode are neighbours; leaves are derived again from the rows."""
    planned, content = a_segment()
    assert tuple(check_segment(content, planned.source, planned.place)) == planned.rows


def test_a_segment_larger_than_a_row_group_reads_back_in_order():
    """The largest batch Lambda sends has 10,000 records; a follower or an import may plan more."""
    planned, content = a_segment(20_001)
    assert tuple(check_segment(content, planned.source, planned.place)) == planned.rows


def test_the_same_segment_has_the_same_bytes():
    """One writer version gives one file per name, so that digests agree where names do."""
    assert a_segment()[1] == a_segment()[1]


def test_a_segment_whose_rows_do_not_give_its_name_is_no_evidence():
    """Root, order, label and hour are checked, not believed."""
    planned, content = a_segment()
    other = SegmentName(planned.place.hour_ms, planned.place.first_sequence, "00" * 32)
    with pytest.raises(NotEvidence, match="root"):
        check_segment(content, planned.source, other)
    with pytest.raises(NotEvidence, match="another stream"):
        check_segment(content, StreamSource(SOURCE.trail, "2027-01-01T00:00:00.000"), planned.place)
    backwards = encode_segment(type(planned)(planned.source, planned.place, planned.rows[::-1]))
    with pytest.raises(NotEvidence, match="order"):
        check_segment(backwards, planned.source, planned.place)


@pytest.mark.parametrize("cut", [0, 4, 100, -1])
def test_a_file_cut_short_is_no_evidence(cut):
    """Never a partial answer."""
    planned, content = a_segment()
    with pytest.raises(NotEvidence, match="not a segment"):
        check_segment(content[:cut], planned.source, planned.place)


def test_understanding_accounts_for_every_record():
    """Change records and quarantined ones are as many as came in, whatever the mixture."""
    batch = [record(1), *(make() for make in BAD_RECORDS.values()), record(2)]
    found, kept = understand(batch, lambda _source, _record: None)
    assert (len(found), len(kept)) == (2, len(BAD_RECORDS))
    assert found == [change_record(record(number), SOURCE, None) for number in (1, 2)]
