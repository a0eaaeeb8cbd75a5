"""The second reader: what a stream holds and evidence does not, the other way round, and what it must not say."""

import pytest

from archiver.format.layout import SegmentName, StreamSource
from archiver.format.record import change_record
from archiver.plan import plan_segments
from archiver.segment import encode_segment
from archiver.store import FolderStore
from archiver.stream import understand
from archiver.streams import Streams
from archiver.writer import Writer
from query.engine import Engine
from query.errors import CorruptSegment
from query.second_reader import Read, SecondReader
from query.source import Access, open_source
from tests.querying.test_image_chain import LABEL, LATER_LABEL, ONE, T0, THREE, TWO, change

ARN = f"arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/{LABEL}"
SOURCE = StreamSource.parse(ARN)
GRACE_MS = 600_000
BEGAN_MS = (T0 + 3_600) * 1000
LATER_S = T0 + 2_000  # a record long after the others, so that they lie inside what is judged

LIFE = [
    change(1, "INSERT", None, ONE, key="life"),
    change(2, "MODIFY", ONE, TWO, key="life"),
    change(3, "REMOVE", TWO, key="life"),
]
OTHERS = [
    change(0, "INSERT", None, ONE, key="other"),
    change(4, "MODIFY", ONE, THREE, key="other"),
    change(9, "REMOVE", THREE, key="other", at_s=LATER_S),
]
ALL = [*LIFE, *OTHERS]


def reads(records):
    understood, quarantined = understand(records, lambda _source, _record: None)
    rows = [
        Read(one.item_key.decode(), one.sequence_number, one.change_id, one.op, one.changed_at_ms, one.leaf)
        for one in understood
    ]
    return rows, [each.name for each in quarantined]


@pytest.fixture
def archive(tmp_path):
    folder = tmp_path / "archive"
    folder.mkdir()

    def made(*records):
        for record in records:  # a segment each, so that one can be lost
            Writer(FolderStore(folder), Streams()).archive([record], now_ms=T0 * 1000)
        return folder

    return made


def compare(folder, streamed, **asked):
    source = open_source(str(folder), Access())
    with SecondReader(Engine(threads=1), SOURCE.trail, LABEL) as second:
        for record in streamed:
            second.take(*reads([record]))
        times = {"began_ms": BEGAN_MS, "ended_ms": BEGAN_MS + 5_000, "grace_ms": GRACE_MS}
        return second.compare(source, **(times | asked))


def told(found):
    return [(one.kind.value, one.item_key[12:-3], int(one.change_id, 16)) for one in found.disagreements]


def test_what_was_archived_agrees(archive):
    """Every change, leaf by leaf, twice archived or not; read twice or not."""
    folder = archive(*ALL, *ALL)
    Writer(FolderStore(folder), Streams()).archive(ALL, now_ms=T0 * 1000)
    found = compare(folder, ALL + ALL)
    assert (found.read, found.agreed, found.exit_code, found.disagreements) == (6, 6, 0, ())
    assert found.judged == (T0 * 1000, LATER_S * 1000)


def test_a_life_that_was_never_archived_is_missing(archive):
    """Neither image chain nor table knows that the item ever was: only the stream does."""
    found = compare(archive(*OTHERS), ALL)
    assert told(found) == [("missing", "life", 1), ("missing", "life", 2), ("missing", "life", 3)]
    assert (found.missing, found.agreed, found.exit_code) == (3, 3, 3)


def test_a_trail_that_is_not_there_at_all_is_missing_whole(archive):
    """An emptied archive is no archive with nothing to say."""
    found = compare(archive(), ALL)
    assert (found.missing, found.archived, found.exit_code) == (6, 0, 3)


@pytest.mark.parametrize(("age_s", "missing", "in_flight"), [(599, 0, 1), (600, 1, 0)])
def test_what_is_young_is_on_its_way(archive, age_s, missing, in_flight):
    """A batch waits for others; to the last second of the grace."""
    young = change(7, "INSERT", None, ONE, key="young", at_s=(BEGAN_MS + 5_000) // 1000 - age_s)
    found = compare(archive(*ALL), [*ALL, young])
    assert (found.missing, found.in_flight) == (missing, in_flight)
    assert found.exit_code == (3 if missing else 0)


def test_other_content_is_different_also_beside_the_true_one(archive):
    """Whoever adds a second version of a change contradicts the stream, and the first version does not excuse it."""
    forged = change(2, "MODIFY", ONE, THREE, key="life")
    found = compare(archive(*ALL, forged), ALL)
    assert told(found) == [("different", "life", 2)]
    assert (found.different, found.agreed, found.missing, found.exit_code) == (1, 6, 0, 1)
    assert SegmentName.parse(found.disagreements[0].segment.removeprefix(SOURCE.trail.prefix))


def test_a_change_that_is_told_in_three_ways_is_one_change(archive):
    """Both forgeries are named, and one change is counted."""
    forged = [change(2, "MODIFY", ONE, image, key="life") for image in (ONE, THREE)]
    found = compare(archive(*ALL, *forged), ALL)
    assert (found.different, len(found.disagreements)) == (1, 2)


@pytest.mark.parametrize(
    "spoil",
    [
        {"eventVersion": "1.0"},
        {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}},
        {"unknown": 1},
    ],
)
def test_every_delivered_field_is_compared(archive, spoil):
    """Who deleted an item is part of what happened."""
    found = compare(archive(*LIFE[:2], {**LIFE[2], **spoil}, *OTHERS), ALL)
    assert told(found) == [("different", "life", 3)]


def test_the_leaf_of_another_change_is_not_its_own(archive):
    """A leaf that the stream holds somewhere is no excuse: content belongs to an identity."""
    first, second = (change_record(record, SOURCE, None) for record in LIFE[:2])
    forged = first._replace(sequence_number=second.sequence_number)
    folder = archive(*ALL)
    (planned,) = plan_segments([forged])
    FolderStore(folder).put_if_absent(SOURCE.trail.prefix + planned.place.compose(), encode_segment(planned))
    found = compare(folder, ALL)
    assert told(found) == [("different", "life", 1)]
    assert int(found.disagreements[0].sequence_number) == int(LIFE[1]["dynamodb"]["SequenceNumber"])


def test_a_row_that_no_record_can_be_rebuilt_from_is_different(archive):
    """Leaves are made anew from rows: a row that says nothing agrees with nothing."""
    folder = archive(*LIFE, *OTHERS[1:])
    record = change_record(OTHERS[0], SOURCE, None)._replace(event=b"[]")
    (planned,) = plan_segments([record])
    name = SOURCE.trail.prefix + planned.place.compose()
    assert FolderStore(folder).put_if_absent(name, encode_segment(planned))
    found = compare(folder, ALL)
    assert told(found) == [("different", "other", 0)]


def test_a_change_that_the_stream_does_not_hold_was_invented(archive):
    """The archiver wrote it, and nobody changed the table."""
    found = compare(archive(*ALL, change(5, "MODIFY", THREE, TWO, key="other", at_s=T0 + 5)), ALL)
    assert told(found) == [("invented", "other", 5)]
    assert (found.invented, found.exit_code) == (1, 1)


@pytest.mark.parametrize(
    ("at_s", "began_s", "is_told"),
    [
        (T0 - 1, T0 + 3_600, False),  # before the first that was read: it may have been forgotten
        (T0, T0 + 3_600, True),
        (LATER_S, T0 + 3_600, True),
        (LATER_S + 1, T0 + 3_600, False),  # after the last: it may have come after its shard was read
        (T0 + 1_400, T0 + 2_000, True),
        (T0 + 1_401, T0 + 2_000, False),  # younger than the grace when the reading began
        (T0 + 3_605, T0 + 23 * 3_600 + 3_600, True),
        (T0 + 3_604, T0 + 23 * 3_600 + 3_600, False),  # older than what a stream surely keeps
    ],
)
def test_what_the_stream_may_not_have_held_is_not_called_invented(archive, at_s, began_s, is_told):
    """To accuse somebody of forgery takes more than a record that has grown old."""
    others = [OTHERS[0], *LIFE]
    last_s = max(LATER_S, at_s) if at_s > LATER_S + 1 else LATER_S
    streamed = [*others, change(9, "INSERT", None, ONE, key="last", at_s=last_s)]
    folder = archive(*streamed, change(5, "INSERT", None, TWO, key="forged", at_s=at_s))
    found = compare(folder, streamed, began_ms=began_s * 1000, ended_ms=began_s * 1000 + 5_000)
    assert found.invented == (1 if is_told else 0)
    assert found.missing + found.in_flight + found.different == 0


def test_after_a_loss_nothing_is_called_invented_and_the_answer_is_not_whole(archive):
    """What the reader did not see may hold the change; and what is missing there nobody knows."""
    forged = change(5, "MODIFY", THREE, TWO, key="other", at_s=T0 + 5)
    found = compare(archive(*ALL, forged), ALL, losses=["changes of shard 1"])
    assert (found.invented, found.judged, found.exit_code) == (0, None, 4)
    assert compare(archive(), [*ALL, change(8, "INSERT", None, ONE, key="x")], losses=["x"]).exit_code == 3


def test_another_stream_of_the_table_is_left_alone(archive):
    """Its records have numbers of their own, and this stream never held them."""
    later = change(1, "INSERT", None, TWO, key="life", label=LATER_LABEL, at_s=T0 + 6)
    found = compare(archive(*ALL, later), ALL)
    assert (found.exit_code, found.archived) == (0, 6)


def test_a_stream_that_holds_only_young_changes_judges_nothing(archive):
    """And it is said that it does not, instead of a stretch that ends before it begins."""
    forged = change(5, "MODIFY", THREE, TWO, key="other", at_s=T0 + 5)
    found = compare(archive(*ALL, forged), ALL, began_ms=T0 * 1000)
    assert (found.judged, found.invented, found.exit_code) == (None, 0, 0)


def test_the_hour_of_the_last_change_is_read_too(archive):
    """In its first second it lies in another segment than the second before it."""
    last = change(10, "INSERT", None, ONE, key="last", at_s=T0 + 3_600)
    found = compare(archive(*ALL, last), [*ALL, last], ended_ms=(T0 + 9_000) * 1000)
    assert (found.agreed, found.missing) == (7, 0)


def test_an_empty_stream_says_nothing(archive):
    """A quiet table has nothing to compare, and nothing in the archive is called invented for it."""
    found = compare(archive(*ALL), [])
    assert (found.read, found.archived, found.judged, found.exit_code) == (0, 0, None, 0)


def test_a_record_that_nobody_understands_must_be_in_quarantine(archive):
    """It is evidence too, verbatim, under the digest of its text."""
    poison = change(6, "INSERT", None, ONE, key="p") | {"eventName": "UPSERT"}
    assert compare(archive(*ALL, poison), [*ALL, poison]).exit_code == 0
    other = change(7, "INSERT", None, ONE, key="q") | {"eventName": "UPSERT"}
    found = compare(archive(), [*ALL, poison, other])
    (name,) = found.set_aside
    assert (found.exit_code, name) == (3, understand([other], lambda _s, _r: None)[1][0].name)


def test_damaged_evidence_stops_the_comparison(archive):
    """What cannot be read is neither missing nor there."""
    folder = archive(*ALL)
    path = next(iter(folder.rglob("*.parquet")))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    with pytest.raises(CorruptSegment):
        compare(folder, ALL)


def test_evidence_is_read_in_portions_and_every_portion_counts(archive, monkeypatch):
    """Rows pass through Python, so they do so a part at a time."""
    monkeypatch.setattr("query.second_reader._FILES_AT_ONCE", 2)
    forged = change(2, "MODIFY", ONE, THREE, key="life")
    found = compare(archive(*LIFE, *OTHERS[:2], forged), ALL)
    assert (found.archived, found.agreed, told(found)) == (
        6,
        5,
        [("different", "life", 2), ("missing", "other", 9)],
    )
    monkeypatch.setattr("query.second_reader._BYTES_AT_ONCE", 1)
    assert compare(archive(), ALL) == found


def test_disagreements_are_counted_beyond_those_listed(archive, monkeypatch):
    """When a day of changes is missing, a million of them need not be listed."""
    monkeypatch.setattr("query.second_reader.MOST_DISAGREEMENTS", 2)
    found = compare(archive(), ALL)
    assert (found.missing, len(found.disagreements)) == (6, 2)


def test_nothing_is_written(archive):
    """A second reader that could write would be a second writer."""
    folder = archive(*OTHERS)
    before = {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")}
    compare(folder, ALL)
    assert {path: (path.stat().st_mtime_ns, path.stat().st_size) for path in folder.rglob("*")} == before
