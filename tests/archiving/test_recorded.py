"""Recorded events come in from files and pipes: nothing is lost, and whatever cannot be read is named by its line."""

import gzip
import io
import json
import sys
from itertools import islice
from pathlib import Path

import orjson
import pytest
import zstandard

from archiver.errors import ArchiverError, NotAnEvent
from archiver.recorded import PayloadMissing, UnreadableRecording, iter_events, merge
from archiver.stream import records_of_event, understand
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli.archive import archive
from tests.delivery import delivered
from tests.simulator.memory_store import MemoryStore

FIRES = Path(__file__).parents[2] / "../shared/data/fires/events.jsonl.gz"
ARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-01-04T09:12:00.000"


def record(number: int, **stream) -> dict:
    made = delivered(
        "INSERT",
        {"pk": {"S": f"o-{number}"}},
        new={"total": {"N": "42.20"}},
        sequence_number=10**21 + number,
        changed_at_s=1_790_000_000 + number,
        arn=ARN,
        event_id=f"{number:032x}",
        size_bytes=50,
    )
    made["dynamodb"] |= stream
    return made


def event(*numbers: int) -> dict:
    return {"Records": [record(number) for number in numbers]}


def failure(payload: object = None) -> dict:
    """What Lambda sends to an on-failure destination (*Retain discarded records for a DynamoDB event source*)."""
    return {
        "requestContext": {"requestId": "316aa6d0", "condition": "RetryAttemptsExhausted", "approximateInvokeCount": 1},
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": "2026-11-14T00:13:49.717Z",
        "DDBStreamBatchInfo": {
            "shardId": "shardId-00000001573689847184-864758bb",
            "startSequenceNumber": "800000000003126276362",
            "endSequenceNumber": "800000000003126276399",
            "batchSize": 2,
            "streamArn": ARN,
        },
        **({} if payload is None else {"payload": payload}),
    }


def sequence_numbers(source) -> list[str]:
    return [each["dynamodb"]["SequenceNumber"] for _, found in iter_events(source) for each in records_of_event(found)]


def numbers(*wanted: int) -> list[str]:
    return [str(10**21 + number) for number in wanted]


EVENTS = [event(1, 2), event(3), event(4)]
JSON_LINES = b"".join(orjson.dumps(each) + b"\n" for each in EVENTS)
FORMS = {
    "JSON Lines": JSON_LINES,
    "JSON Lines without the last newline": JSON_LINES.rstrip(),
    "JSON Lines of Windows, with blank lines": b"\xef\xbb\xbf\r\n" + JSON_LINES.replace(b"\n", b"\r\n\r\n"),
    "an array on one line": orjson.dumps(EVENTS),
    "an array over many lines": json.dumps(EVENTS, indent=2).encode(),
    "one event": orjson.dumps(event(1, 2, 3, 4)),
    "one event over many lines": b"\n\n" + json.dumps(event(1, 2, 3, 4), indent=1).encode() + b"\n",
    "an on-failure object of S3": orjson.dumps(failure(json.dumps(event(1, 2, 3, 4)))),
    "on-failure objects, one a line": b"\n".join(orjson.dumps(failure(json.dumps(each))) for each in EVENTS),
    "arrays, one a line": orjson.dumps(EVENTS[:2]) + b"\n" + orjson.dumps(EVENTS[2:]),
}
COMPRESSIONS = {
    "plain": lambda content: content,
    "gzip": gzip.compress,
    "gzip in two members": lambda content: gzip.compress(content[:100]) + gzip.compress(content[100:]),
    "zstd": zstandard.compress,
    "zstd in two frames": lambda content: zstandard.compress(content[:100]) + zstandard.compress(content[100:]),
}


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
@pytest.mark.parametrize("content", FORMS.values(), ids=FORMS)
def test_every_form_of_recording_gives_the_same_records(tmp_path, content, compress):
    """How events were kept is the business of whoever kept them."""
    file = tmp_path / "events"
    file.write_bytes(compress(content))
    assert sequence_numbers(file) == numbers(1, 2, 3, 4)


class Trickle(io.RawIOBase):
    """A pipe whose writer hands over one byte at a time."""

    def __init__(self, content: bytes) -> None:
        self._rest = io.BytesIO(content)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer) -> int:
        return self._rest.readinto(memoryview(buffer)[:1])


@pytest.mark.parametrize("compress", COMPRESSIONS.values(), ids=COMPRESSIONS)
def test_a_pipe_is_read_however_slowly_it_comes(monkeypatch, compress):
    """A pipe cannot be wound back after its first bytes told the compression, and may hand over one byte at a time."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Trickle(compress(JSON_LINES)))))
    assert sequence_numbers("-") == numbers(1, 2, 3, 4)


def test_json_lines_are_read_one_at_a_time(monkeypatch):
    """A recording may be larger than memory, so an event comes out before the next line is read."""
    lines = iter([orjson.dumps(event(1)) + b"\n", orjson.dumps(event(2)) + b"\n"])

    class Lines(io.RawIOBase):
        def readable(self) -> bool:
            return True

        def readinto(self, buffer) -> int:
            line = next(lines, b"")
            buffer[: len(line)] = line
            return len(line)

    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(Lines(), buffer_size=4096)))
    list(islice(iter_events("-"), 1))
    assert len(list(lines)) == 1


def test_an_event_has_a_location(tmp_path):
    """Whoever has to mend a recording needs file, line and place in the array."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(b"\n" + orjson.dumps(event(1)) + b"\n" + orjson.dumps(EVENTS))
    places = [str(location) for location, _ in iter_events(file)]
    assert places == [f"{file} line 2", *(f"{file} line 3, event {number}" for number in (1, 2, 3))]


BROKEN = {
    "not JSON": (b"oops", UnreadableRecording),
    "cut short": (orjson.dumps(event(9))[:-5], UnreadableRecording),
    "not UTF-8": (b'{"Records": ["\xff"]}', UnreadableRecording),
    "nested without end": (b"[" * 100_000, UnreadableRecording),
    "a number of 5,000 digits": (b'{"Records": [' + b"9" * 5000 + b"]}", UnreadableRecording),
    "a number": (b"7", NotAnEvent),
    "no Records": (b'{"records": []}', NotAnEvent),
    "Records that are no list": (b'{"Records": {}}', NotAnEvent),
    "a record without its event": (orjson.dumps(record(9)), NotAnEvent),
    "an array of records": (orjson.dumps([record(9)]), NotAnEvent),
    "two Records": (b'{"Records": [], "Records": []}', NotAnEvent),
    "two payloads": (orjson.dumps(failure("{}"))[:-1] + b',"payload":"{}"}', UnreadableRecording),
    "a payload that is no text": (orjson.dumps(failure({"Records": []})), UnreadableRecording),
    "a payload that is no JSON": (orjson.dumps(failure("{")), UnreadableRecording),
    "a payload that is no event": (orjson.dumps(failure("{}")), NotAnEvent),
    "no payload, as SQS and SNS have it": (orjson.dumps(failure()), PayloadMissing),
}


@pytest.mark.parametrize(("line", "kind"), BROKEN.values(), ids=BROKEN)
def test_a_broken_line_is_named_after_what_came_before_it(tmp_path, line, kind):
    """A skipped line would be a silent loss, and a recording of a year must not be lost for one line of it."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(orjson.dumps(event(1)) + b"\n" + line + b"\n" + orjson.dumps(event(2)) + b"\n")
    events = iter_events(file)
    assert records_of_event(next(events)[1]) == [record(1)]
    with pytest.raises(kind, match=r"events\.jsonl line 2\b") as raised:
        next(events)
    assert raised.value.hint


def test_a_broken_first_line_is_named_too(tmp_path):
    """It might have opened a document of many lines, so both readings are explained."""
    file = tmp_path / "events.jsonl"
    file.write_bytes(orjson.dumps(event(1))[:-1] + b"\n" + orjson.dumps(event(2)) + b"\n")
    with pytest.raises(UnreadableRecording, match=r"line 1 is not JSON.*taken as one document.*line 2"):
        list(iter_events(file))


def test_metadata_of_a_failure_says_how_to_get_the_records(tmp_path):
    """SQS and SNS keep no payload: the records are in the stream for 24 hours, and nowhere else."""
    file = tmp_path / "failure.json"
    file.write_bytes(orjson.dumps(failure()))
    with pytest.raises(PayloadMissing, match="800000000003126276362 to 800000000003126276399") as raised:
        list(iter_events(file))
    assert raised.value.hint.endswith(f"ddbtrail replay --all --on-failure {file}")


@pytest.mark.parametrize("cut", [1, 9, 200])
@pytest.mark.parametrize("compress", [gzip.compress, zstandard.compress])
def test_a_compressed_file_cut_short_is_no_shorter_recording(tmp_path, compress, cut):
    """Half a download must not pass for all of it."""
    file = tmp_path / "events"
    file.write_bytes(compress(JSON_LINES)[:-cut])
    with pytest.raises(UnreadableRecording, match="cannot be read"):
        list(iter_events(file))


def test_a_file_that_is_not_there_is_said_to_be_missing(tmp_path):
    """The commonest mistake deserves the shortest sentence."""
    with pytest.raises(UnreadableRecording, match="nothing cannot be read: No such file"):
        list(iter_events(tmp_path / "nothing"))


TWICE = {
    "in the key": '"Keys":{|"Keys":{"pk":{"S":"o-9"},',
    "in the change": '"SizeBytes":50|"SizeBytes":50,"SizeBytes":51',
    "in a map": '{"N":"42.20"}|{"M":{"a":{"S":"1"},"a":{"S":"2"}}}',
    "in the record": '"eventName":"INSERT"|"eventName":"INSERT","eventName":"REMOVE"',
    "in the image": '"total":{"N":"42.20"}|"total":{"N":"42.20"},"total":{"N":"1"}',
    "in a value": '{"N":"42.20"}|{"N":"42.20","N":"1"}',
    "in an unknown field": '"awsRegion":|"odd":{"a":[{"b":1,"b":2}]},"awsRegion":',
    "in the identity": '"awsRegion":|"userIdentity":{"type":"a","type":"b"},"awsRegion":',
}


@pytest.mark.parametrize("damage", TWICE.values(), ids=TWICE)
def test_a_member_named_twice_goes_to_quarantine_verbatim(tmp_path, damage):
    """Which of the two was meant nobody knows; a parser that keeps the last one would choose in silence."""
    old, new = damage.split("|")
    text = orjson.dumps(event(1, 2)).decode().replace(old, new, 1)
    (tmp_path / "events").write_text(text)
    ((_, found),) = iter_events(tmp_path / "events")
    understood, (quarantined,) = understand(records_of_event(found), Streams().key_names)
    assert [row.change_id for row in understood] == [f"{2:032x}"]
    first = text[len('{"Records":[') : text.index(f'{{"eventID":"{2:032x}"') - 1]
    assert quarantined.content.decode() == first


def test_a_lone_surrogate_survives_until_quarantine(tmp_path):
    """JSON can spell what UTF-8 cannot; it is quarantined as it came, and the event goes on."""
    (tmp_path / "events").write_text(json.dumps({"Records": [record(1, odd="\ud800"), record(2)]}))
    ((_, found),) = iter_events(tmp_path / "events")
    understood, quarantined = understand(records_of_event(found), Streams().key_names)
    assert len(understood) == 1
    assert b"\\ud800" in quarantined[0].content


@pytest.mark.parametrize(("most", "sizes"), [(1, [2, 1, 1]), (2, [2, 2]), (3, [3, 1]), (4, [4]), (10_000, [4])])
def test_events_are_merged_up_to_a_number_of_records(tmp_path, most, sizes):
    """Fewer, larger segments; an event is never cut, so the bound is its size at least."""
    (tmp_path / "events").write_bytes(JSON_LINES)
    assert [len(records) for _, records in merge(iter_events(tmp_path / "events"), most)] == sizes


def test_what_was_merged_before_a_broken_line_is_not_lost(tmp_path):
    """Merging must not widen the damage."""
    (tmp_path / "events").write_bytes(JSON_LINES + b"oops")
    batches = merge(iter_events(tmp_path / "events"), 10_000)
    assert len(next(batches)[1]) == 4
    with pytest.raises(UnreadableRecording, match="line 4"):
        next(batches)


# --- the command ---


@pytest.fixture(autouse=True)
def _elsewhere(monkeypatch, tmp_path):
    """No configuration of whoever runs the tests."""
    for name in ("DDBTRAIL_ARCHIVE", "DDBTRAIL_KEY_SCHEMA", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)


def objects(folder: Path) -> set[str]:
    """Names of what is in an archive, but for late markers, which bear the day on which they were written."""
    names = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return {name for name in names if "/late/" not in name}


def test_the_command_archives_what_the_function_would(tmp_path, capsys):
    """Every way in ends in the same objects."""
    (tmp_path / "events").write_bytes(JSON_LINES)
    assert archive("events", archive="archive") == 0
    store = MemoryStore()
    for each in EVENTS:
        Writer(store, Streams()).archive(each["Records"], now_ms=1_790_000_100_000)
    assert objects(tmp_path / "archive") == set(store.objects)
    assert "archived 4 records in 3 segments; 0 records quarantined" in capsys.readouterr().err


def test_archiving_a_file_again_changes_nothing(tmp_path, capsys):
    """The remedy for every doubt is to run it once more."""
    (tmp_path / "events").write_bytes(JSON_LINES)
    archive("events", archive="archive")
    before = {name: (tmp_path / "archive" / name).stat().st_mtime_ns for name in objects(tmp_path / "archive")}
    assert archive("events", archive="archive") == 0
    assert {name: (tmp_path / "archive" / name).stat().st_mtime_ns for name in before} == before
    assert "3 segments of them there already" in capsys.readouterr().err


def test_the_command_stops_at_a_broken_line_with_what_is_before_it_archived(tmp_path, capsys):
    """Exit code 4, the line that has to be mended, and how far it came."""
    (tmp_path / "events").write_bytes(orjson.dumps(event(1)) + b"\noops\n" + orjson.dumps(event(2)))
    assert archive("events", archive="archive") == 4
    said = capsys.readouterr().err
    assert "archived 1 record in 1 segment" in said
    assert "events line 2 is not JSON" in said
    assert len([name for name in objects(tmp_path / "archive") if name.endswith(".parquet")]) == 1


def test_quarantine_is_counted_and_shown(tmp_path, capsys):
    """What could not be understood must not pass unseen."""
    (tmp_path / "events").write_bytes(orjson.dumps({"Records": [record(1), {"odd": 1}, record(2, SequenceNumber="x")]}))
    assert archive("events", archive="archive") == 0
    said = capsys.readouterr().err
    assert "archived 1 record in 1 segment; 2 records quarantined" in said
    folder = said.split("kept verbatim in ")[1].split(",")[0]
    assert list(Path(folder).glob("*.json"))


def test_a_composite_key_takes_its_order_from_the_command_line(tmp_path):
    """A record does not say which of its two key attributes is the partition key."""
    keys = {"at": {"S": "2026"}, "id": {"S": "o-1"}}
    (tmp_path / "events").write_bytes(orjson.dumps({"Records": [record(1, Keys=keys, NewImage=keys)]}))
    assert archive("events", archive="archive", key_schema="id,at") == 0
    (described,) = (tmp_path / "archive").glob("v1/*/*/*/streams/*.json")
    assert [each["name"] for each in orjson.loads(described.read_bytes())["key_schema"]] == ["id", "at"]


@pytest.mark.parametrize(
    ("files", "options"),
    [
        ((), {"archive": "archive"}),
        (("events",), {}),
        (("--odd",), {"archive": "archive"}),
        (("events",), {"archive": "ftp://x"}),
        (("events",), {"archive": "archive", "key_schema": "a,b,c"}),
    ],
)
def test_a_command_that_makes_no_sense_ends_with_2(tmp_path, files, options, capsys):
    """Usage is told apart from failure."""
    (tmp_path / "events").write_bytes(JSON_LINES)
    assert archive(*files, **options) == 2
    assert "Traceback" not in capsys.readouterr().err


def test_quiet_leaves_only_errors(tmp_path, capsys):
    """A script asks for silence, not for blindness."""
    (tmp_path / "events").write_bytes(JSON_LINES + b"oops")
    assert archive("events", archive="archive", quiet=True) == 4
    assert capsys.readouterr().err.startswith("events line 4 is not JSON")


@pytest.mark.skipif(not FIRES.exists(), reason="the fires history is not beside the repository")
def test_a_real_history_is_read_whole():
    """4,316 changes, as `about.json` beside them says."""
    assert sum(len(records_of_event(found)) for _, found in iter_events(FIRES)) == 4316


def test_every_error_is_of_the_archiver():
    """So that one `except` in a command is enough."""
    assert all(issubclass(kind, ArchiverError) for _, kind in BROKEN.values())
