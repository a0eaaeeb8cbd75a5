"""`ddbtrail replay`: what Lambda gave up on gets into the archive once, and whatever does not is told, and costs 3 or 4."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from archiver.errors import StoreUnavailable, StreamUnavailable
from archiver.format.layout import StreamSource
from archiver.held_back import LARGEST_BYTES
from archiver.replay import Kind, Replay, Replayed
from archiver.reread import RangeLost
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli import run
from tests.archiving.batches import BAD_RECORDS, CHANGED_AT_S, DAY_S, arn_of, record
from tests.archiving.failures import SHARD, on_failure, sqs_message
from tests.simulator.memory_store import MemoryStore

REPOSITORY = Path(__file__).parents[2]
ORDERS, CUSTOMERS = arn_of("orders"), arn_of("customers")
FOLDER = "aws/lambda/6a1f/shardId-1/2026/11/23"
COMMAND = [
    *(sys.executable, "-c", "import sys; from query.cli import run; sys.exit(run(sys.argv[1:]))"),
    *("replay", "orders", "-a", "archive", "--on-failure", "held-back", "--no-describe-table"),
]
NOW_MS = (CHANGED_AT_S + 60) * 1000


def records(*numbers: int, arn: str = ORDERS, **fields) -> list[dict]:
    return [record(number, arn=arn, **fields) for number in numbers]


class Answer:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out.splitlines(), err


class Place:
    """A folder with a copy of an on-failure bucket, and an archive beside it."""

    def __init__(self, root: Path, capsys) -> None:
        self.root, self._capsys = root, capsys
        self.held_back, self.archive = root / "held-back", root / "archive"
        self.held_back.mkdir()

    def put(self, name: str, content: object) -> Path:
        path = self.held_back / FOLDER / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
        return path

    def hold(self, name: str, *numbers: int, arn: str = ORDERS, **fields) -> Path:
        """One object of Lambda's with these records."""
        return self.put(name, on_failure(records(*numbers, arn=arn, **fields), arn))

    def replay(self, *tokens: str, on_failure: Path | None = None) -> Answer:
        """Runs the command as it is typed; nothing outside this machine is asked."""
        where = ["-a", str(self.archive), "--on-failure", str(on_failure or self.held_back)]
        code = run(["replay", *tokens, *where, "--no-describe-table"])
        return Answer(code, *self._capsys.readouterr())

    def objects(self) -> set[str]:
        """What is in the archive, but for late markers, which bear the day on which they were written."""
        names = {path.relative_to(self.archive).as_posix() for path in self.archive.rglob("*") if path.is_file()}
        return {name for name in names if "/late/" not in name}


@pytest.fixture
def place(tmp_path, monkeypatch, capsys):
    for name in [name for name in os.environ if name.startswith(("DDBTRAIL_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return Place(tmp_path, capsys)


def archived(*batches: list[dict]) -> set[str]:
    """The names that the function would have given."""
    store = MemoryStore()
    for batch in batches:
        Writer(store, Streams()).archive(batch, now_ms=NOW_MS)
    return set(store.objects)


# --- what is held back gets into the archive ---


def test_the_archive_holds_what_the_function_would_have_put_there(place):
    """Which way a batch came is no part of the evidence."""
    place.hold("a", 1, 2, 3)
    place.hold("b", 4)
    answer = place.replay("orders")
    assert answer.code == 0
    assert place.objects() == archived(records(1, 2, 3), records(4))
    assert "2 objects below" in answer.err
    assert "4 records: 4 archived now, 0 there already, 0 quarantined" in answer.err


def test_replaying_twice_doubles_nothing(place):
    """The remedy for every doubt is to run it once more."""
    place.hold("a", 1, 2, 3)
    place.replay("orders")
    before = {name: (place.archive / name).stat().st_mtime_ns for name in place.objects()}
    answer = place.replay("orders")
    assert answer.code == 0
    assert {name: (place.archive / name).stat().st_mtime_ns for name in place.objects()} == before
    assert "3 records: 0 archived now, 3 there already" in answer.err


def test_a_batch_that_is_held_back_twice_is_archived_once(place):
    """Lambda delivers at least once, to the destination too: the second object finds what the first one put."""
    place.hold("a", 1, 2, 3)
    place.hold("b", 1, 2, 3)
    answer = place.replay("orders")
    assert answer.code == 0
    assert place.objects() == archived(records(1, 2, 3))
    assert "6 records: 3 archived now, 3 there already" in answer.err
    assert len(answer.out) == 2


def test_what_was_archived_in_another_cut_is_archived_once_more_and_answered_once(place):
    """Lambda cuts a batch anew on every try, so the archive may hold half of it: reading removes what stands twice."""
    Writer(FolderStore(place.archive), Streams()).archive(records(1, 2), now_ms=NOW_MS)
    place.hold("a", 2, 3)
    assert place.replay("orders").code == 0
    assert run(["log", "orders", "-a", str(place.archive), "-o", "jsonl", "--reverse"]) == 0
    told = [json.loads(line)["sequence_number"] for line in place._capsys.readouterr().out.splitlines()]
    assert told == [each["dynamodb"]["SequenceNumber"].zfill(40) for each in records(1, 2, 3)]


def test_a_late_batch_announces_itself(place):
    """It is a day old by nature, and readers look for such only where a marker stands."""
    place.hold("a", 1, changed_at_s=CHANGED_AT_S - 900 * DAY_S)
    place.replay("orders")
    assert len(list(place.archive.rglob("late/**/*.parquet"))) == 1


def test_a_payload_of_6_mb_is_archived(place):
    """The largest batch that Lambda sends."""
    big = [record(number, item="x" * 1000) for number in range(1, 1001)]
    for each in big:
        each["dynamodb"]["NewImage"]["text"] = {"S": 'é"\\' * 700}
    place.put("a", on_failure(big, ORDERS))
    assert 6_000_000 < (place.held_back / FOLDER / "a").stat().st_size < LARGEST_BYTES
    assert place.replay("orders").code == 0
    assert place.objects() == archived(big)


def test_a_member_named_twice_goes_to_quarantine_verbatim(place):
    """The payload is text in a text: a parser that kept the last of two would choose in silence."""
    made = on_failure(records(1, 2), ORDERS)
    first = made["payload"].index('"SizeBytes": 54')
    made["payload"] = made["payload"][:first] + '"SizeBytes": 55, ' + made["payload"][first:]
    place.put("a", made)
    answer = place.replay("orders")
    assert answer.code == 0
    assert "2 records: 1 archived now, 0 there already, 1 quarantined" in answer.err
    (kept,) = place.archive.glob("v1/*/*/*/quarantine/*.json")
    assert '"SizeBytes":55,"SizeBytes":54' in kept.read_text()
    assert len(answer.out) == 1, "it stands in quarantine, so the object may go"


@pytest.mark.parametrize("spoil", BAD_RECORDS.values(), ids=BAD_RECORDS)
def test_a_record_that_is_not_understood_is_quarantined_beside_the_others(place, spoil):
    """A batch may have failed for whatever reason; nothing a record holds makes the others wait."""
    made = on_failure(records(1, 2), ORDERS)
    made["payload"] = json.dumps({"Records": [record(1), spoil(), record(2)]})
    place.put("a", made)
    answer = place.replay("orders")
    assert answer.code == 0
    assert "3 records: 2 archived now, 0 there already, 1 quarantined" in answer.err
    assert len(answer.out) == 1


# --- which table ---


@pytest.mark.parametrize(
    "table",
    [
        "orders",
        "eu-west-1/orders",
        "111122223333/eu-west-1/orders",
        ORDERS.partition("/stream/")[0],
        ORDERS,
    ],
)
def test_only_the_table_that_was_named_is_archived(place, table):
    """A bucket may serve several tables, and whoever may write one trail need not be allowed the other."""
    place.hold("a", 1, arn=CUSTOMERS)
    place.hold("b", 2)
    place.hold("c", 3, arn=arn_of("order"))
    answer = place.replay(table)
    assert answer.code == 0
    assert place.objects() == archived(records(2))
    assert "3 objects" in answer.err
    assert "1 replayed, 2 of other tables (customers 1, order 1)" in answer.err
    assert answer.out == [f"rm -- {place.held_back / FOLDER / 'b'}"]


def test_an_object_that_contradicts_itself_goes_into_no_trail(place):
    """It says orders, and one of its records is of customers: in which of the two it lies nobody knows."""
    place.put("a", on_failure([*records(1), *records(2, arn=CUSTOMERS)], ORDERS))
    place.put("b", on_failure(records(3, arn=CUSTOMERS), ORDERS))
    place.hold("c", 4)
    answer = place.replay("--all")
    assert answer.code == 3
    assert place.objects() == archived(records(4))
    assert answer.err.count("not replayable: ") == 2
    assert f"is of {ORDERS}, and its record 2 of {CUSTOMERS}" in answer.err
    assert answer.out == [f"rm -- {place.held_back / FOLDER / 'c'}"]


def test_another_generation_of_the_stream_is_another_stream(place):
    """The label orders the changes of an item; a record under a wrong one would be put before its elders."""
    place.put("a", on_failure(records(1, arn=arn_of("orders", "2026-02-02T00:00:00.000")), ORDERS))
    assert place.replay("orders").code == 3
    assert place.objects() == set()


def test_all_tables_go_each_into_its_own_trail(place):
    """One run for a bucket that serves many."""
    place.hold("a", 1, arn=CUSTOMERS)
    place.hold("b", 2)
    assert place.replay("--all").code == 0
    assert place.objects() == archived(records(1, arn=CUSTOMERS), records(2))


@pytest.mark.parametrize(
    ("other", "told_apart"),
    [
        (arn_of("orders", account="999988887777"), "999988887777/eu-west-1/orders"),
        (ORDERS.replace("eu-west-1", "us-east-1"), "us-east-1/orders"),
    ],
    ids=["account", "region"],
)
def test_a_name_that_two_tables_bear_is_asked_about(place, other, told_apart):
    """Two accounts or regions, one name, one bucket: one of the two was not meant."""
    place.hold("a", 1)
    place.hold("b", 2, arn=other)
    answer = place.replay("orders")
    assert answer.code == 2
    assert "candidates: 111122223333/eu-west-1/orders, " in answer.err
    assert told_apart in answer.err
    assert place.objects() <= archived(records(1))
    shutil.rmtree(place.archive)
    assert place.replay(told_apart).code == 0
    assert place.objects() == archived(records(2, arn=other))


# --- one bad object ---

BAD_OBJECTS = {
    "not JSON": (b"oops", "not replayable"),
    "empty": (b"", "not replayable"),
    "cut short": (json.dumps(on_failure(records(9), ORDERS)).encode()[:-9], "not replayable"),
    "something else": (b'{"a": 1}', "not replayable"),
    "a recorded event": (json.dumps({"Records": records(9)}).encode(), "not replayable"),
    "a payload that is no JSON": (on_failure(records(9), ORDERS) | {"payload": "{"}, "not replayable"),
    "a payload that is no event": (on_failure(records(9), ORDERS) | {"payload": "{}"}, "not replayable"),
    "a payload with two lists of records": (
        on_failure(records(9), ORDERS) | {"payload": '{"Records": [], "Records": []}'},
        "not replayable",
    ),
    "an array with one that is none": ([on_failure(records(9), ORDERS), 7], "not replayable"),
}


@pytest.mark.parametrize(("content", "told"), BAD_OBJECTS.values(), ids=BAD_OBJECTS)
@pytest.mark.parametrize("name", ["0", "m", "z"], ids=["first", "between", "last"])
def test_a_bad_object_is_named_and_stops_no_other(place, content, told, name):
    """It is named, counted, kept, and the exit code says that something was not archived."""
    place.hold("a", 1)
    bad = place.put(name, content)
    place.hold("n", 2)
    answer = place.replay("orders", "-q")
    assert answer.code == 3
    assert archived(records(1), records(2)) <= place.objects()
    assert f"{told}: " in answer.err
    assert str(bad) in answer.err
    assert answer.out == [f"rm -- {place.held_back / FOLDER / good}" for good in ("a", "n")]
    assert "1 not replayable" in place.replay("orders").err


def test_an_object_that_cannot_be_read_costs_4_and_stops_no_other(place):
    """It may hold changes, and nobody has looked: that outweighs an object that is known to be none."""
    place.hold("a", 1)
    (place.held_back / FOLDER / "b").symlink_to(place.root / "nowhere")
    place.put("c", b"oops")
    place.hold("d", 2)
    answer = place.replay("orders")
    assert answer.code == 4
    assert place.objects() == archived(records(1), records(2))
    assert "2 replayed, 1 failed, 1 not replayable" in answer.err
    assert f"failed: {place.held_back / FOLDER / 'b'} could not be read" in answer.err


def test_an_object_beyond_every_batch_is_not_read(place):
    """Memory is bounded by what Lambda writes, whatever somebody has put there; the file is sparse."""
    with place.put("a", b"").open("r+b") as file:
        file.truncate(LARGEST_BYTES + 1)
    place.hold("b", 1)
    answer = place.replay("orders")
    assert answer.code == 3
    assert f"has {LARGEST_BYTES + 1} bytes" in answer.err
    assert place.objects() == archived(records(1))


def test_a_hint_is_given_once(place):
    """A thousand objects of one cause are a thousand lines, not two."""
    for name in "abc":
        place.put(name, {"a": name})
    err = place.replay("orders").err
    assert err.count("no on-failure record") == 3
    assert err.count("it may be in another's folder") == 1


def test_an_object_of_two_tables_is_not_for_deletion(place):
    """A file of messages may be of both; what was not meant is still only there."""
    place.put("a", [on_failure(records(1), ORDERS), on_failure(records(2, arn=CUSTOMERS), CUSTOMERS)])
    answer = place.replay("orders")
    assert answer.code == 0
    assert answer.out == []
    assert "no object may be deleted" in answer.err
    assert place.replay("--all").out == [f"rm -- {place.held_back / FOLDER / 'a'}"]


def test_an_object_in_which_nothing_was_found_is_not_for_deletion():
    """Settled is what was archived, not what gave no trouble."""
    assert not Replayed().is_settled


def test_the_lines_delete_what_is_settled_and_nothing_else(place):
    """What a person pastes has to be exactly what was proven."""
    place.hold("a b'c", 1)
    place.hold("other", 2, arn=CUSTOMERS)
    bad = place.put("bad", b"oops")
    for line in place.replay("orders").out:
        subprocess.run(["sh", "-c", line], check=True)
    left = sorted(path for path in place.held_back.rglob("*") if path.is_file())
    assert left == [bad, place.held_back / FOLDER / "other"]
    bad.unlink()
    answer = place.replay("customers")
    assert (answer.code, len(answer.out)) == (0, 1)


# --- the archive fails ---


def test_a_failing_archive_stops_and_says_what_stands(place):
    """Nothing after it would succeed; what was archived before is counted, and no object that was not is for deletion."""
    place.hold("a", 1, arn=CUSTOMERS)
    place.hold("b", 2)
    place.hold("c", 3, arn=CUSTOMERS)
    blocked = place.archive / StreamSource.parse(ORDERS).trail.prefix
    blocked.parent.mkdir(parents=True)
    blocked.write_bytes(b"a file where a folder should be")
    answer = place.replay("--all")
    assert answer.code == 4
    assert "could not write" in answer.err
    assert "2 objects below" in answer.err
    assert "1 record: 1 archived now" in answer.err
    assert answer.out == [f"rm -- {place.held_back / FOLDER / 'a'}"]
    assert place.objects() - {blocked.relative_to(place.archive).as_posix()} == archived(records(1, arn=CUSTOMERS))


def test_what_an_object_had_archived_before_the_archive_failed_is_counted():
    """A file of many messages may be half done; its half stands."""

    class Failing(MemoryStore):
        def put_if_absent(self, name: str, content: bytes) -> bool:
            if sum(name.endswith(".parquet") for name in self.objects) == 1:
                raise StoreUnavailable("gone")
            return super().put_if_absent(name, content)

    store = Failing()
    replay = Replay(Writer(store, Streams()), lambda _trail: True, lambda _batch: iter(()), store.get)
    content = json.dumps([on_failure(records(1, 2), ORDERS), on_failure(records(3), ORDERS)]).encode()
    with pytest.raises(StoreUnavailable):
        replay.replay(content, "object", now_ms=NOW_MS)
    assert replay.records.archived_now == 2


# --- batches of which only the place is left ---


def replayed(reread, *batches: list[dict]) -> tuple[MemoryStore, list[Replayed]]:
    """What became of one object for each batch, and the archive after it; `reread` stands for the stream."""
    store = MemoryStore()
    replay = Replay(Writer(store, Streams()), lambda _trail: True, reread, store.get)
    documents = [on_failure(batch, ORDERS, has_payload=False) for batch in batches]
    return store, [replay.replay(json.dumps(each).encode(), "object", now_ms=NOW_MS) for each in documents]


def test_what_the_stream_has_left_of_a_range_is_archived_and_the_object_stays():
    """The message names what is lost: it is the only trace of it."""

    def reread(batch):
        yield records(2)
        raise RangeLost(f"{batch.range_text} is gone", hint="weep")

    store, (became,) = replayed(reread, records(1, 2))
    assert set(store.objects) == archived(records(2))
    assert [trouble.kind for trouble in became.troubles] == [Kind.LOST]
    assert not became.is_settled


def test_a_stream_that_cannot_be_read_is_asked_once():
    """It was waited for with patience; a queue of a thousand messages must not wait a thousand times as long."""
    asked = []

    def reread(batch):
        asked.append(batch)
        raise StreamUnavailable("no network", hint="check it")
        yield

    _, became = replayed(reread, records(1), records(2), records(3))
    assert len(asked) == 1
    assert [[trouble.kind for trouble in each.troubles] for each in became] == [[Kind.FAILED]] * 3


# --- what is there already ---

DAMAGES = {
    "one bit": lambda content: content[:200] + bytes([content[200] ^ 1]) + content[201:],
    "cut short": lambda content: content[:-10],
    "emptied": lambda content: b"",
    "another segment": lambda content: None,
}


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES)
def test_a_name_in_the_archive_is_no_proof(place, damage):
    """A segment that was damaged has its name still; the object that is held back may be the last whole copy."""
    Writer(FolderStore(place.archive), Streams()).archive(records(1, 2), now_ms=NOW_MS)
    Writer(FolderStore(place.root / "other"), Streams()).archive(records(1, 3), now_ms=NOW_MS)
    (segment,), (other,) = (folder.rglob("*.parquet") for folder in (place.archive, place.root / "other"))
    segment.write_bytes(other.read_bytes() if (made := damage(segment.read_bytes())) is None else made)
    place.hold("a", 1, 2)
    place.hold("b", 4)
    answer = place.replay("orders")
    assert answer.code == 4
    assert f"{place.held_back / FOLDER / 'a'} line 1: in the archive already, and damaged there" in answer.err
    assert answer.out == [f"rm -- {place.held_back / FOLDER / 'b'}"]


def test_a_quarantined_record_that_was_altered_is_no_proof(place):
    """Its name is the digest of what it should hold."""
    made = on_failure(records(1), ORDERS) | {"payload": json.dumps({"Records": [{"odd": 1}]})}
    place.put("a", made)
    assert len(place.replay("orders").out) == 1
    (kept,) = place.archive.glob("v1/quarantine/*.json")
    assert place.replay("orders").code == 0
    kept.write_bytes(b"{}")
    answer = place.replay("orders")
    assert (answer.code, answer.out) == (4, [])


# --- before and around it ---


def test_a_dry_run_tells_what_would_be_done_and_writes_nothing(place):
    """Objects, records, the range of `changed_at` and Lambda's reason; the archive is not even made."""
    place.put(
        "a",
        on_failure(
            [record(1, changed_at_s=CHANGED_AT_S - 7), record(2, changed_at_s=CHANGED_AT_S + 5)],
            ORDERS,
            condition="RecordAgeExceeded",
        ),
    )
    made = on_failure(records(3), ORDERS)
    made["payload"] = json.dumps({"Records": [*records(3), {"odd": 1}]})
    place.put("b", made)
    place.put("c", sqs_message(on_failure(records(4, 5), ORDERS, has_payload=False)))
    place.hold("d", 6, arn=CUSTOMERS)
    place.put("e", b"oops")
    answer = place.replay("orders", "--dry-run")
    folder = place.held_back / FOLDER
    first, last = (each["dynamodb"]["SequenceNumber"] for each in records(4, 5))
    a, b, c = answer.out
    assert a == (
        f"{folder}/a line 1: orders, RecordAgeExceeded, 2 records, "
        "changed_at 2026-11-22T23:59:53Z to 2026-11-23T00:00:05Z"
    )
    assert b == (
        f"{folder}/b line 1: orders, RetryAttemptsExhausted, 2 records, "
        "changed_at 2026-11-23T00:00:00Z to 2026-11-23T00:00:00Z, 1 of them for quarantine"
    )
    assert c == (
        f"{folder}/c line 1: orders, RetryAttemptsExhausted, 2 records to be read from the stream: "
        f"shard {SHARD}, {first} to {last}"
    )
    assert answer.code == 3
    assert "3 would be replayed, 1 of other tables (customers 1), 1 not replayable" in answer.err
    assert not place.archive.exists()


def test_an_empty_destination_is_good_news(place):
    """Nothing is held back."""
    answer = place.replay("orders")
    assert (answer.code, answer.out) == (0, [])
    assert "0 objects below" in answer.err


def test_a_missing_destination_is_no_empty_one(place):
    """A misspelt folder must not pass for good news."""
    answer = place.replay("orders", on_failure=place.root / "nothing")
    assert answer.code == 4
    assert "could not be read: No such file or directory" in answer.err


def test_the_destination_may_be_configured(place, monkeypatch):
    """It belongs to the archive, as `verify` and `coverage` know it too."""
    place.hold("a", 1)
    monkeypatch.setenv("DDBTRAIL_ON_FAILURE", str(place.held_back))
    assert run(["replay", "orders", "-a", str(place.archive), "--no-describe-table"]) == 0
    assert place.objects() == archived(records(1))


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        ((), "name one table, or all of them"),
        (("orders", "--all"), "name one table, or all of them"),
        (("a/b/c/d",), "does not name a table"),
        (("orders", "--on-failure", "ftp://x"), "ftp://x"),
    ],
)
def test_a_command_that_makes_no_sense_ends_with_2(place, tokens, told):
    """Usage is told apart from failure."""
    given = [] if "--on-failure" in tokens else ["--on-failure", str(place.held_back)]
    assert run(["replay", *tokens, *given, "-a", "archive"]) == 2
    assert told in place._capsys.readouterr().err


def test_without_a_destination_the_error_says_where_to_find_it(place):
    """The stack knows its name."""
    assert run(["replay", "orders", "-a", "archive"]) == 2
    assert "OnFailureUrl" in place._capsys.readouterr().err


def test_quiet_leaves_errors_and_results(place):
    """A script asks for silence, not for blindness."""
    place.hold("a", 1)
    place.put("b", b"oops")
    answer = place.replay("orders", "-q")
    assert answer.err.startswith("not replayable: ")
    assert len(answer.err.splitlines()) == 2
    assert len(answer.out) == 1


def environ(**settings: str) -> dict[str, str]:
    """For a process of its own, whose output is buffered as everyone's is."""
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONUNBUFFERED"}
    return inherited | {"PYTHONPATH": str(REPOSITORY)} | settings


def test_a_reader_that_has_seen_enough_ends_the_lines_and_not_the_work(place):
    """`| head -1` on a command that writes: the rest is archived all the same, and the exit code is that of the work."""
    for number in range(1, 21):
        place.hold(f"{number:02}", number)
    place.put("99", b"oops")
    process = subprocess.Popen(
        COMMAND,
        env=environ(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    process.stdout.readline()
    process.stdout.close()
    err = process.stderr.read()
    assert process.wait() == 3, err
    process.stderr.close()
    assert "Traceback" not in err
    assert "Exception ignored" not in err
    assert place.objects() == archived(*(records(number) for number in range(1, 21)))


def test_names_that_are_no_text_are_told_and_deleted_as_they_are(place):
    """A file system keeps bytes; a line that names another file would delete that one."""
    path = os.fsencode(place.hold("a", 1)) + b"\xff"
    os.rename(place.held_back / FOLDER / "a", path)
    done = subprocess.run(
        COMMAND,
        env=environ(PYTHONUTF8="1", PYTHONIOENCODING="utf-8:strict"),  # as under every locale but C
        capture_output=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    subprocess.run(["sh", "-c", done.stdout], check=True)
    assert not os.path.exists(path)
