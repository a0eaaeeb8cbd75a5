"""Damaged, foreign and contradicting archives through the real commands: an error that names the object, or all of the
answer; never a part of it. The archives are written by the real writer and then spoilt, one way each.
"""

import contextlib
import http.server
import json
import os
import re
import shutil
import threading
from decimal import Decimal
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from archiver.format.stamp import stamp
from archiver.store import FolderStore, S3Store
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli import run
from tests import delivery
from tests.system.drop_proxy import DropProxy
from tests.system.parts import LOOPBACK, AwsEndpoint, free_port

LABEL = "2026-09-01T00:00:00.000"
T0 = 1_789_430_400  # 2026-09-15T00:00:00Z
HOUR_S = 3_600
LATER_MS = (T0 + 4 * HOUR_S) * 1000
COMMANDS = [
    ("tables",),
    ("log", "orders"),
    ("as-of", "orders", "now"),
    ("history", "orders", "a"),
    ("get", "orders", "a", "--at", "2026-09-15T03:00:00Z"),
]


def delivered(table, number, op, key, old=None, new=None, *, at=T0, view="NEW_AND_OLD_IMAGES", region="eu-west-1"):
    """A record as Lambda delivers it; key and images in DynamoDB JSON, images without their key."""
    return delivery.delivered(
        op,
        key,
        old,
        new,
        sequence_number=10**21 + number,
        changed_at_s=at,
        arn=f"arn:aws:dynamodb:{region}:111122223333:table/{table}/stream/{LABEL}",
        event_id=f"{number:032x}",
        view_type=view,
    )


def id_(value):
    return {"id": {"S": value}}


def n(value):
    return {"n": {"N": str(value)}}


# Three hours, so three segments, each of which some answer needs.
ORDERS = [
    delivered("orders", 1, "INSERT", id_("a"), None, n(1)),
    delivered("orders", 2, "INSERT", id_("b"), None, n(1)),
    delivered("orders", 3, "MODIFY", id_("a"), n(1), n(2), at=T0 + HOUR_S),
    delivered("orders", 4, "REMOVE", id_("b"), n(1), at=T0 + 2 * HOUR_S),
    delivered("orders", 5, "INSERT", id_("c"), None, n(1), at=T0 + 2 * HOUR_S),
]


def write(folder, *batches, key_schema=None):
    writer = Writer(FolderStore(Path(folder)), Streams(key_schema=key_schema or {}))
    for batch in batches:
        assert not writer.archive(batch, now_ms=LATER_MS).quarantined
    return Path(folder)


def segments(archive):
    return sorted(archive.glob("v1/*/*/*/segments/*/*/*.parquet"))


@pytest.fixture(autouse=True)
def outside(tmp_path, monkeypatch):
    """No configuration of the person who runs the tests."""
    for name in [*os.environ]:
        if name.startswith("DDBTRAIL_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


class Answer:
    """What a command wrote, and its exit code."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def rows(self):
        return [json.loads(line, parse_float=Decimal) for line in self.out.splitlines()]


@pytest.fixture
def ask(capsys):
    def asked(archive, *tokens):
        code = run([*tokens, "-a", str(archive)])
        return Answer(code, *capsys.readouterr())

    return asked


@pytest.fixture
def archive(tmp_path):
    return write(tmp_path / "archive", ORDERS)


def refuses(answer, name):
    """Three lines that name the object, exit code 4, and nothing on stdout."""
    assert (answer.code, answer.out) == (4, ""), (answer.code, answer.out, answer.err)
    assert name in answer.err
    assert len(answer.err.splitlines()) == 3, answer.err
    return True


# --- damage ---


def test_the_archive_of_these_tests_answers(archive, ask):
    """Otherwise an error below would prove nothing."""
    assert len(segments(archive)) == 3
    for command in COMMANDS:
        assert ask(archive, *command).code == 0


def flipped(content, step, bit):
    """The content with one bit of every `step`-th byte flipped, one byte at a time, with its place."""
    for place in range(4, len(content) - 4, step):
        yield place, content[:place] + bytes([content[place] ^ bit]) + content[place + 1 :]


@pytest.mark.parametrize("bit", [0x01, 0x10])
def test_a_damaged_byte_is_never_a_traceback_nor_the_answer_no(archive, ask, bit):
    """1 would say that something is not there, 2 that the question was wrong, 3 that the trail does not reach there."""
    damaged = segments(archive)[1]
    refused = 0
    for place, content in flipped(damaged.read_bytes(), 41, bit):
        damaged.write_bytes(content)
        answer = ask(archive, "as-of", "orders", "now", "-q")
        assert answer.code in {0, 4}, f"byte {place}: {answer.code} {answer.err}"
        assert (answer.err == "") == (answer.code == 0), f"byte {place}: {answer.err}"
        assert "Traceback" not in answer.err, f"byte {place}: {answer.err}"
        refused += answer.code == 4
    assert refused > 10


@pytest.mark.parametrize("bit", [0x01, 0x10])
def test_a_damaged_byte_never_changes_an_answer(archive, ask, bit):
    """Every bit of the file is under its own digest (format.md, section 8): damage is refused, wherever it lies."""
    whole = ask(archive, "as-of", "orders", "now", "-q").out
    damaged = segments(archive)[1]
    intact = damaged.read_bytes()
    for place, content in flipped(intact, 17, bit):
        damaged.write_bytes(content)
        answer = ask(archive, "as-of", "orders", "now", "-q")
        assert refuses(answer, damaged.name), f"byte {place}: {answer.code} {answer.err}"
    damaged.write_bytes(intact)
    assert ask(archive, "as-of", "orders", "now", "-q").out == whole


def test_a_flipped_digit_of_an_image_is_refused(archive, ask):
    """What the trail is for: 2 must not become 3 unseen."""
    damaged = segments(archive)[1]
    content = bytearray(damaged.read_bytes())
    content[content.rindex(b'{"N":"2"}') + 6] ^= 0x01
    damaged.write_bytes(bytes(content))
    assert refuses(ask(archive, "as-of", "orders", "now"), damaged.name)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_segment_that_was_cut_short_is_named(archive, ask, command):
    """From nothing left to the last byte missing; the rest of the archive is not an answer."""
    damaged = segments(archive)[1]
    content = damaged.read_bytes()
    for kept in (0, 1, 4, 11, 12, len(content) // 2, len(content) - 8, len(content) - 1):
        damaged.write_bytes(content[:kept])
        assert refuses(ask(archive, *command), damaged.name), f"{kept} of {len(content)} bytes left"


def test_a_longer_file_is_named(archive, ask):
    """Bytes after the end of Parquet are somebody's mistake too."""
    damaged = segments(archive)[2]
    damaged.write_bytes(damaged.read_bytes() + b"\n")
    assert refuses(ask(archive, "as-of", "orders", "now"), damaged.name)


def _foreign_parquet(place):
    pq.write_table(pa.table({"x": [1, 2]}), place)


def _parquet_of_our_columns(place):
    pq.write_table(pq.read_table(_original(place)).replace_schema_metadata(None), place)


def _parquet_without_a_column(place):
    pq.write_table(pq.read_table(_original(place)).drop_columns(["old_image"]), place)


def _stamped_without_a_column(place):
    """What passes the gate must still be refused by the engine, and named."""
    table = pq.read_table(_original(place)).drop_columns(["old_image"])
    metadata = {**pq.read_metadata(_original(place)).metadata, b"ddbtrail.digest": b"0" * 64}
    sink = pa.BufferOutputStream()
    with pq.ParquetWriter(sink, table.schema, store_schema=False) as writer:
        writer.write_table(table)
        writer.add_key_value_metadata(metadata)
    place.write_bytes(stamp(bytes(sink.getvalue())))


def _of_format_2(place):
    table = pq.read_table(_original(place))
    metadata = {**table.schema.metadata, b"ddbtrail.format": b"2"}
    pq.write_table(table.replace_schema_metadata(metadata), place)


def _of_another_kind(place):
    table = pq.read_table(_original(place))
    metadata = {**table.schema.metadata, b"ddbtrail.kind": b"baseline"}
    pq.write_table(table.replace_schema_metadata(metadata), place)


def _original(place):
    """A whole segment of the same archive, of the same name if there is one."""
    return place if place.exists() else segments(place.parents[7])[0]


def _text(place):
    place.write_text("not an archive\n")


@pytest.mark.parametrize(
    "spoil",
    [
        _foreign_parquet,
        _parquet_of_our_columns,
        _parquet_without_a_column,
        _stamped_without_a_column,
        _of_format_2,
        _of_another_kind,
        _text,
    ],
)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_what_only_bears_the_name_of_a_segment_is_refused(archive, ask, spoil, command):
    """A name proves nothing."""
    place = segments(archive)[1]
    spoil(place)
    assert refuses(ask(archive, *command), place.name)


@pytest.mark.parametrize(
    "name", ["part-00000.parquet", "notes.txt", "0000000000000000001000000000000000000001.parquet", "x/y.parquet"]
)
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_what_is_no_segment_among_segments_is_refused(archive, ask, command, name):
    """It may be evidence that was renamed: skipping it would be a partial answer."""
    place = segments(archive)[0].parent / name
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(segments(archive)[0].read_bytes())
    assert refuses(ask(archive, *command), place.name)


@pytest.mark.parametrize("name", [".DS_Store", "_SUCCESS", ".partial-0123456789abcdef"])
def test_hidden_files_are_nobodys_evidence(archive, ask, name):
    """File managers, Spark, and a writer that was killed leave them; none of them is an object of the archive."""
    (segments(archive)[0].parent / name).write_bytes(b"x")
    for command in COMMANDS:
        assert ask(archive, *command).code == 0


def test_a_folder_that_no_table_has_stops_no_question(archive, ask):
    """Whoever can put one object beside the trails could otherwise keep all of them from being read, and verified."""
    before = ask(archive, "tables").rows
    for name in ("account=zzz/region=eu-west-1/table_name=orders", "account=111122223333/region=x/table_name=orders"):
        (archive / "v1" / name).mkdir(parents=True)
    assert before
    assert ask(archive, "tables").rows == before


def test_a_segment_under_the_name_of_another_is_refused(archive, ask):
    """Both are whole, and one change is gone."""
    one, other, _ = segments(archive)
    other.write_bytes(one.read_bytes())
    assert refuses(ask(archive, "log", "orders"), other.name)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"not JSON", b'{"format":2}'])
@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_damaged_description_is_refused(archive, ask, command, content):
    """The key schema comes from it: a guess would prune the wrong rows."""
    (described,) = archive.glob("v1/*/*/*/streams/*.json")
    described.write_bytes(content)
    assert refuses(ask(archive, *command), described.name)


def test_a_description_of_another_table_is_refused(archive, ask, tmp_path):
    """Copied into the wrong trail, it would name the wrong keys."""
    other = write(tmp_path / "other", [delivered("others", 1, "INSERT", {"k": {"N": "1"}}, None, {})])
    (described,) = archive.glob("v1/*/*/*/streams/*.json")
    shutil.copy(next(other.glob("v1/*/*/*/streams/*.json")), described)
    assert refuses(ask(archive, "as-of", "orders", "now"), described.name)


def test_damage_in_one_trail_spares_the_others(archive, ask):
    """Answers rest on the evidence of their own table, and on nothing else."""
    write(archive, [delivered("healthy", 1, "INSERT", id_("x"), None, n(1))])
    damaged = segments(archive)[-1]
    assert "table_name=orders" in str(damaged)
    damaged.write_bytes(b"")
    assert ask(archive, "as-of", "healthy", "now").rows[0]["item"] == {"id": "x", "n": 1}
    assert refuses(ask(archive, "tables"), damaged.name)


def test_a_folder_that_may_not_be_read_is_said_to_be(archive, ask):
    """An unreadable archive must not pass for an empty one."""
    hour = segments(archive)[1].parent
    hour.chmod(0)
    try:
        if os.access(hour, os.R_OK):
            pytest.skip("this user may read everything")
        answer = ask(archive, "as-of", "orders", "now")
    finally:
        hour.chmod(0o700)
    assert (answer.code, answer.out) == (4, "")
    assert hour.name in answer.err


# --- what is not there, or of another time ---


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_missing_archive_is_three_lines(ask, tmp_path, command):
    """What, why, what to type: and never an empty answer."""
    assert refuses(ask(tmp_path / "nowhere", *command), "nowhere")


def test_a_file_is_no_archive(ask, tmp_path):
    """A mistyped path is not an archive without tables."""
    (tmp_path / "file").write_text("x")
    assert refuses(ask(tmp_path / "file", "tables"), "file")


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_another_format_version_is_refused(archive, ask, command):
    """Format 2 may mean anything: reading it as format 1 would be a guess."""
    (archive / "v1").rename(archive / "v2")
    assert refuses(ask(archive, *command), "v2")


def test_a_newer_format_beside_ours_is_refused(archive, ask):
    """After an upgrade of the archiver, v1 is only the older part of the trail."""
    shutil.copytree(archive / "v1", archive / "v2")
    assert refuses(ask(archive, "as-of", "orders", "now"), "v2")


@pytest.mark.parametrize("command", COMMANDS[1:], ids=lambda command: command[0])
def test_an_unknown_table_is_a_wrong_question(archive, ask, command):
    """2, with the closest names; not 4, and not 1."""
    name, _, *rest = command
    answer = ask(archive, name, "order", *rest)
    assert (answer.code, answer.out) == (2, "")
    assert "orders" in answer.err
    assert len(answer.err.splitlines()) == 3


def test_an_archive_without_tables_has_none(ask, tmp_path):
    """Before the first change arrives."""
    (tmp_path / "empty").mkdir()
    answer = ask(tmp_path / "empty", "tables")
    assert (answer.code, answer.out) == (0, "")
    assert ask(tmp_path / "empty", "log", "orders").code == 2


# --- two segments that contradict each other ---


@pytest.fixture
def contradicting(archive):
    """The change of `a` in the second hour, told again with another image."""
    return write(archive, [delivered("orders", 3, "MODIFY", id_("a"), n(1), n(3), at=T0 + HOUR_S)])


def named_segments(text):
    return set(re.findall(r"[0-9]{40}-[0-9a-f]{64}\.parquet", text))


@pytest.mark.parametrize(
    "command",
    [
        ("history", "orders", "a"),
        ("get", "orders", "a"),
        ("get", "orders", "a", "--at", "2026-09-15T00:00:00Z"),
        ("diff", "orders", "a"),
    ],
)
def test_an_item_told_in_two_ways_is_refused(contradicting, ask, command):
    """Choosing one of the two would be inventing; the two segments are what a person has to look at."""
    answer = ask(contradicting, *command)
    assert (answer.code, answer.out) == (4, "")
    both = {path.name for path in segments(contradicting) if "hour=01" in str(path)}
    assert len(both) == 2
    assert named_segments(answer.err) == both


@pytest.mark.parametrize(
    ("command", "ids"), [(("log", "orders"), ["c", "b", "b"]), (("as-of", "orders", "now"), ["c"])]
)
def test_the_other_items_are_answered_and_the_item_is_named(contradicting, ask, command, ids):
    """One contradiction must not take the whole table down, nor be hidden."""
    answer = ask(contradicting, *command)
    assert answer.code == 4
    assert [row["item_key"]["id"] for row in answer.rows] == ids
    assert '{"id":{"S":"a"}}' in answer.err
    assert len(named_segments(answer.err)) == 2


def test_contradictions_are_listed(contradicting, archive, ask):
    """`log --conflicts` is where looking for the cause begins."""
    answer = ask(contradicting, "log", "orders", "--conflicts")
    assert answer.code == 0
    (row,) = answer.rows
    assert row["item_key"] == {"id": "a"}
    assert named_segments(" ".join(row["segments"])) == {p.name for p in segments(archive) if "hour=01" in str(p)}


def test_the_same_change_spelled_differently_is_no_contradiction(archive, ask):
    """Sets have no order and 2 is 2.0: the same value twice is a duplicate."""
    again = delivered("orders", 3, "MODIFY", id_("a"), {"n": {"N": "1.0"}}, {"n": {"N": "2.00"}}, at=T0 + HOUR_S)
    write(archive, [again])
    assert ask(archive, "log", "orders", "--conflicts").code == 1
    answer = ask(archive, "history", "orders", "a")
    assert (answer.code, len(answer.rows)) == (0, 2)


# --- streams that do not carry everything ---


@pytest.mark.parametrize(
    ("view", "old", "new", "after", "before"),
    [
        ("KEYS_ONLY", None, None, "unknown", "unknown"),
        ("NEW_IMAGE", None, n(2), "existed", "unknown"),
        ("OLD_IMAGE", n(1), None, "unknown", "existed"),
    ],
)
def test_an_image_that_was_not_carried_is_unknown(tmp_path, ask, view, old, new, after, before):
    """The item existed, and nobody wrote down what it was: neither empty nor absent."""
    archive = write(
        tmp_path / "archive",
        [
            delivered("views", 1, "INSERT", id_("start"), None, n(0) if new else None, view=view),
            delivered("views", 2, "MODIFY", id_("a"), old, new, at=T0 + 60, view=view),
        ],
    )
    for at, outcome in (("2026-09-15T00:01:00Z", after), ("2026-09-15T00:00:59Z", before)):
        answer = ask(archive, "get", "views", "a", "--at", at)
        assert answer.rows[0]["outcome"] == outcome
        assert answer.code == (0 if outcome == "existed" else 3)
        if outcome == "unknown":
            assert answer.rows[0]["reason"] == "missing-image"
            assert "view type" in ask(archive, "get", "views", "a", "--at", at, "-o", "table").out
        listed = ask(archive, "as-of", "views", at, "--where", "item->>'$.id' = 'a'")
        assert listed.code == 0
        assert len(listed.rows) == (outcome == "existed")
        assert (outcome == "unknown") == ("unknown then" in listed.err) or new is None
    assert ask(archive, "history", "views", "a").rows[0]["op"] == "MODIFY"


def test_a_removal_is_known_without_images(tmp_path, ask):
    """What was removed is gone, whatever it was."""
    removal = delivered("views", 1, "REMOVE", id_("a"), view="KEYS_ONLY")
    answer = ask(write(tmp_path / "archive", [removal]), "get", "views", "a")
    assert (answer.code, answer.rows[0]["outcome"]) == (1, "already-deleted")


# --- a composite key of which nobody said which half is which ---


COMPOSITE = {"when": {"N": "7"}, "who": {"S": "x"}}


@pytest.fixture
def unnamed(tmp_path):
    changes = [
        delivered("pairs", 1, "INSERT", COMPOSITE, None, n(1)),
        delivered("pairs", 2, "MODIFY", COMPOSITE, n(1), n(2), at=T0 + 60),
        delivered("pairs", 3, "INSERT", {"when": {"N": "8"}, "who": {"S": "x"}}, None, n(1), at=T0 + 60),
    ]
    return write(tmp_path / "archive", changes)


def test_without_a_key_schema_hints_are_null(unnamed):
    """A guessed order of the halves would prune rows away for ever; a stream description would state the guess."""
    (segment,) = segments(unnamed)
    table = pq.ParquetFile(segment).read(["pk", "sk"])
    assert table.column("pk").null_count == table.column("sk").null_count == 3
    assert not list(unnamed.glob("v1/*/*/*/streams/*"))


@pytest.mark.parametrize(
    "key", ['{"who":{"S":"x"},"when":{"N":"7"}}', '{"when":{"N":"7.0"},"who":{"S":"x"}}'], ids=["typed", "by value"]
)
def test_a_typed_key_needs_no_schema(unnamed, ask, key):
    """An item is its key by value."""
    assert [row["item"]["n"] for row in ask(unnamed, "history", "pairs", "--key", key).rows] == [2, 1]
    assert ask(unnamed, "get", "pairs", "--key", key).rows[0]["item"]["n"] == 2


@pytest.mark.parametrize("command", ["history", "get", "diff"])
def test_values_alone_ask_for_the_key_schema(unnamed, ask, command):
    """Which of two values is the partition key cannot be known, and types cannot tell either."""
    answer = ask(unnamed, command, "pairs", "x", "7")
    assert (answer.code, answer.out) == (2, "")
    assert "--key-schema" in answer.err
    assert ask(unnamed, command, "pairs", "x", "7", "--key-schema", "who,when").code == 0
    assert ask(unnamed, command, "pairs", "x", "7", "--key-schema", "pairs=who,when").code == 0


def test_a_collection_works_once_the_schema_is_given(unnamed, ask):
    """Hints are NULL all the same: the reader looks at the keys themselves."""
    assert len(ask(unnamed, "history", "pairs", "x", "--key-schema", "who,when").rows) == 3


def test_a_schema_that_does_not_fit_is_refused(unnamed, ask):
    """A mistyped attribute would match no item, and look like an answer."""
    answer = ask(unnamed, "history", "pairs", "x", "--key-schema", "who,wen")
    assert answer.code == 2
    assert "when, who" in answer.err


def test_hints_and_no_hints_in_one_trail_are_one_history(unnamed, ask):
    """The schema became known later: older rows of the same item must not fall out."""
    later = delivered("pairs", 4, "MODIFY", COMPOSITE, n(2), n(3), at=T0 + HOUR_S)
    write(unnamed, [later], key_schema={"pairs": ("who", "when")})
    assert [row["item"]["n"] for row in ask(unnamed, "history", "pairs", "x", "7").rows] == [3, 2, 1]
    assert len(ask(unnamed, "history", "pairs", "x").rows) == 4


# --- in a bucket ---


@pytest.fixture
def bucket(s3_bucket, monkeypatch):
    """A fresh bucket with the archive below `trail/`; credentials and endpoint as a person sets them."""
    use(s3_bucket.server, monkeypatch)
    put(s3_bucket, "trail", ORDERS)
    return s3_bucket


def use(server, monkeypatch):
    for name, value in server.environ().items():
        monkeypatch.setenv(name, value)


def put(bucket, prefix, batch):
    with contextlib.closing(bucket.server.client("s3")) as s3:
        Writer(S3Store(s3, bucket.name, prefix), Streams(key_schema={})).archive(batch, now_ms=LATER_MS)


def objects(bucket, part="/segments/"):
    with contextlib.closing(bucket.server.client("s3")) as s3:
        listed = s3.list_objects_v2(Bucket=bucket.name)["Contents"]
    return [each["Key"] for each in listed if part in each["Key"]]


def test_a_bucket_answers_as_a_folder_does(bucket, archive, ask):
    """One code path, and no object of another prefix: `trail-2` begins like `trail`."""
    put(bucket, "trail-2", [delivered("orders", 9, "INSERT", id_("z"), None, n(9))])
    put(bucket, "trail-2", [delivered("others", 1, "INSERT", id_("z"), None, n(9))])
    for command in COMMANDS:
        assert ask(f"{bucket.url}/trail", *command).out == ask(archive, *command).out


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_an_object_that_was_cut_short_is_named(bucket, ask, command):
    """Somebody with other tools may replace an object; the reader says which."""
    name = objects(bucket)[1]
    with contextlib.closing(bucket.server.client("s3")) as s3:
        content = s3.get_object(Bucket=bucket.name, Key=name)["Body"].read()
        s3.put_object(Bucket=bucket.name, Key=name, Body=content[:-1])
    assert refuses(ask(f"{bucket.url}/trail", *command), name.rpartition("/")[2])


def test_a_copy_that_was_cut_short_is_fetched_again(bucket, ask, tmp_path):
    """The cache is disposable: a full disk or a killed process must not become an answer, nor an error."""
    first = ask(f"{bucket.url}/trail", "log", "orders")
    copies = list((tmp_path / ".cache").rglob("*.parquet"))
    assert len(copies) == 3
    for copy in copies:
        copy.write_bytes(copy.read_bytes()[:-1])
    assert ask(f"{bucket.url}/trail", "log", "orders").out == first.out != ""


def test_the_second_question_fetches_no_object(bucket, ask):
    """Objects never change. Only listings are asked again, to see what is new."""
    n_objects = len(objects(bucket, part="/v1/"))
    with DropProxy(bucket.server.url) as proxy:
        requests = []
        for _ in range(2):
            proxy.reset_counters()
            assert ask(f"{bucket.url}/trail", "log", "orders", "--endpoint-url", proxy.url).code == 0
            requests.append(proxy.requests["GET"])
    assert n_objects == 4
    assert requests[0] - requests[1] == n_objects


def test_the_cache_keeps_to_its_limit(bucket, ask, tmp_path, monkeypatch):
    """The least recently used copies go; what a question needs at once may exceed the limit, and is answered."""
    put(bucket, "trail", [delivered("others", number, "INSERT", id_("x"), None, n(number)) for number in range(1, 9)])
    monkeypatch.setenv("DDBTRAIL_CACHE_LIMIT", "6KB")
    sizes = []
    for table, rows in (("orders", 5), ("others", 8), ("orders", 5), ("others", 8)):
        assert len(ask(f"{bucket.url}/trail", "log", table).rows) == rows
        sizes.append(sum(path.stat().st_size for path in (tmp_path / ".cache").rglob("*.parquet")))
    assert max(sizes[1::2]) <= 6_000 < sizes[0]


def test_a_lost_answer_to_a_get_is_asked_for_again(bucket, ask):
    """Networks fail: the answer is whole all the same."""
    with DropProxy(bucket.server.url) as proxy:
        proxy.drop_before("GET", ".parquet")
        proxy.drop_after_commit("GET", ".parquet")
        answer = ask(f"{bucket.url}/trail", "log", "orders", "--endpoint-url", proxy.url)
        assert proxy.dropped == 2
    assert (answer.code, len(answer.rows)) == (0, 5)


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_missing_bucket_is_three_lines(s3_bucket, ask, monkeypatch, command):
    """Never taken for an archive without tables."""
    use(s3_bucket.server, monkeypatch)
    answer = ask("s3://no-such-bucket-here/trail", *command)
    assert refuses(answer, "s3://no-such-bucket-here/trail")
    assert "bucket does not exist" in answer.err


def test_an_empty_bucket_has_no_tables(s3_bucket, ask, monkeypatch):
    """It is there, and nothing has been archived yet."""
    use(s3_bucket.server, monkeypatch)
    answer = ask(f"{s3_bucket.url}/trail", "tables")
    assert (answer.code, answer.out) == (0, "")


@contextlib.contextmanager
def denying_server():
    """An S3 that answers every request as a bucket policy without the permission makes AWS answer."""

    class Deny(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            body = b"<?xml version='1.0'?><Error><Code>AccessDenied</Code><Message>Access Denied</Message></Error>"
            self.send_response(403)
            self.send_header("Content-Type", "application/xml")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer((LOOPBACK, 0), Deny) as server:
        serving = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        serving.start()
        yield f"http://{LOOPBACK}:{server.server_port}"
        server.shutdown()
        serving.join()


@pytest.mark.parametrize("command", COMMANDS, ids=lambda command: command[0])
def test_a_denied_archive_names_the_missing_permission(ask, monkeypatch, command):
    """Whoever reads it has to ask somebody for exactly that."""
    with denying_server() as url:
        use(AwsEndpoint(url), monkeypatch)
        answer = ask("s3://bucket/trail", *command)
    assert refuses(answer, "s3://bucket/trail")
    assert "s3:ListBucket" in answer.err


def test_a_wrong_secret_is_refused_by_a_real_store(rgw_bucket, ask, monkeypatch):
    """MiniStack lets anybody in; a real object store does not, and that is no empty archive."""
    put(rgw_bucket, "trail", ORDERS)
    use(rgw_bucket.server, monkeypatch)
    assert len(ask(f"{rgw_bucket.url}/trail", "log", "orders").rows) == 5
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "wrong")
    assert refuses(ask(f"{rgw_bucket.url}/trail", "log", "orders"), f"{rgw_bucket.url}/trail")


def test_a_store_that_does_not_answer_is_three_lines(ask, monkeypatch):
    """A wrong endpoint is found in seconds."""
    use(AwsEndpoint(f"http://{LOOPBACK}:{free_port()}"), monkeypatch)
    assert refuses(ask("s3://bucket/trail", "tables"), "s3://bucket/trail")
