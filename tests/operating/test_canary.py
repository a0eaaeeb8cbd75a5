"""The canary: what it may replace, how it is found, and what is said when it is not. DynamoDB is moto's, in process.

moto checks conditions of a put as DynamoDB does. Its streams are not used: the records that are archived here are made
by hand. tests/system/test_doctor.py has a real stream.
"""

import boto3
import pytest
from moto import mock_aws

from archiver.format.layout import Trail
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.errors import KeyMismatch, UsageError
from query.operate.aws import Asker
from query.operate.canary import MARKER, Canary, Lookout, told, watch
from query.operate.finding import Result, failed, warned
from query.source import FolderSource
from tests.archiving.batches import CHANGED_AT_S, arn_of, record
from tests.operating import right

TOKEN, OTHER = "a" * 32, "b" * 32
NOW_MS = CHANGED_AT_S * 1_000


@pytest.fixture
def dynamodb(monkeypatch):
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "none")
    with mock_aws():
        client = boto3.client("dynamodb", region_name="eu-west-1")
        client.create_table(
            TableName="orders",
            KeySchema=[{"AttributeName": "pk", "KeyType": "HASH"}, {"AttributeName": "sk", "KeyType": "RANGE"}],
            AttributeDefinitions=[
                {"AttributeName": "pk", "AttributeType": "B"},
                {"AttributeName": "sk", "AttributeType": "N"},
            ],
            BillingMode="PAY_PER_REQUEST",
        )
        yield client


@pytest.fixture
def described(dynamodb):
    return dynamodb.describe_table(TableName="orders")["Table"]


def items(dynamodb):
    return dynamodb.scan(TableName="orders")["Items"]


KEY = {"pk": {"B": b"\xde\xad"}, "sk": {"N": "1"}}


def test_a_canary_is_one_item_with_its_key_and_a_marker(dynamodb, described):
    """Typed in schema order, of any key type; nothing else is written."""
    assert Canary.of(described, ["hex:dead", "1"], TOKEN).put(Asker(dynamodb), "orders") is None
    assert items(dynamodb) == [{**KEY, MARKER: {"S": TOKEN}}]


def test_a_canary_replaces_an_earlier_one(dynamodb, described):
    """With another value: a put that changes nothing would make no record, and never be seen."""
    for token in (TOKEN, OTHER):
        assert Canary.of(described, ["hex:dead", "1"], token).put(Asker(dynamodb), "orders") is None
    assert items(dynamodb) == [{**KEY, MARKER: {"S": OTHER}}]


@pytest.mark.parametrize("attributes", [{}, {"total": {"N": "1"}}])
def test_an_item_of_the_user_is_left_as_it_is(dynamodb, described, attributes):
    """The one thing that must never happen; an item with nothing but its key is an item too."""
    dynamodb.put_item(TableName="orders", Item={**KEY, **attributes})
    refused = Canary.of(described, ["hex:dead", "1"], TOKEN).put(Asker(dynamodb), "orders")
    assert refused.result is Result.FAILED
    assert "left as it is" in refused.detail
    assert items(dynamodb) == [{**KEY, **attributes}]


def test_a_table_whose_key_is_the_marker_gets_no_canary():
    """There every item has the marker, so every item could be replaced."""
    table = {
        "TableName": "odd",
        "KeySchema": [{"AttributeName": MARKER, "KeyType": "HASH"}],
        "AttributeDefinitions": [{"AttributeName": MARKER, "AttributeType": "S"}],
    }
    with pytest.raises(UsageError, match="could not be told"):
        Canary.of(table, ["x"], TOKEN)


@pytest.mark.parametrize("typed", [[], ["hex:dead"], ["hex:dead", "one"], ["hex:dead", "1", "2"]])
def test_a_key_that_does_not_fit_is_refused(typed):
    """Before anything is written, with the schema."""
    with pytest.raises(KeyMismatch, match="orders has keys"):
        Canary.of(right.table(), typed, TOKEN)


# --- finding it ---


@pytest.fixture
def archive(tmp_path):
    """An archive, and a function that archives a put of an item with a token."""
    writer = Writer(FolderStore(tmp_path), Streams({"orders": ("pk", "sk")}))

    def put(token, number, *, changed_at_s=CHANGED_AT_S):
        written = record(number, arn=arn_of("orders"), changed_at_s=changed_at_s)
        written["dynamodb"]["NewImage"][MARKER] = {"S": token}
        writer.archive([written], now_ms=NOW_MS)

    (tmp_path / "v1").mkdir()
    return tmp_path, put


def lookout(folder, put):
    put(OTHER, 1)
    (trail,) = [Trail.parse(f"{path.relative_to(folder).as_posix()}/")[0] for path in folder.glob("v1/*/*/*")]
    return Lookout(FolderSource(folder), trail, TOKEN)


def test_a_canary_is_seen_when_its_change_is_archived(archive):
    """By its value: other canaries, and other changes, are not it."""
    folder, put = archive
    looking = lookout(folder, put)
    assert not looking.sees(NOW_MS)
    put(TOKEN, 2)
    assert looking.sees(NOW_MS)


@pytest.mark.parametrize(("hours", "is_seen"), [(-1, True), (1, True), (-3, False), (3, False)])
def test_it_is_looked_for_around_now(archive, hours, is_seen):
    """The stream's clock is not this machine's; but the whole archive is never read for it."""
    folder, put = archive
    looking = lookout(folder, put)
    put(TOKEN, 2, changed_at_s=CHANGED_AT_S + hours * 3_600)
    assert looking.sees(NOW_MS) is is_seen


class Clock:
    """A monotonic clock that only waiting moves."""

    def __init__(self):
        self.now_s = 100.0
        self.pauses = []

    def pause(self, seconds):
        self.pauses.append(seconds)
        self.now_s += seconds


@pytest.mark.parametrize(("seen_at_s", "expected"), [(100.0, 0.0), (105.0, 6.0), (109.0, 9.0), (109.1, None)])
def test_the_wait_ends_when_it_is_seen_or_over(seen_at_s, expected):
    """Looked for every 2 s and once more at the very end, never after it."""
    clock = Clock()
    seconds = watch(lambda: clock.now_s >= seen_at_s, wait_s=9, monotonic=lambda: clock.now_s, pause=clock.pause)
    assert seconds == expected
    assert sum(clock.pauses) <= 9


def test_a_canary_that_was_seen_says_after_how_long():
    """The sentence that a person waits for; and that the item is still there."""
    finding = told(40.6, 300, [failed("archive-lock", "x", "y")], right.mapping())
    assert (finding.result, finding.detail) == (
        Result.PASSED,
        "seen in the archive after 41 s; the item stays in the table",
    )


@pytest.mark.parametrize(
    ("wait_s", "findings", "mapping", "word", "no_word"),
    [
        (300, [failed("mapping-state", "x", "y")], right.mapping(), "mend first: mapping-state", "log"),
        (300, [failed("archive-lock", "x", "y")], right.mapping(), "the function's log", "archive-lock"),
        (300, [warned("mapping-state", "x", "y")], right.mapping(), "the function's log", "mend first"),
        (60, [], right.mapping(), "batching window of 60 s: --wait 120s", "log"),
        (61, [], right.mapping(), "the function's log", "batching window"),
        (300, [], {}, "the function's log", "last batch"),
        (
            300,
            [],
            right.mapping() | {"LastProcessingResult": "PROBLEM: x"},
            "last batch of the mapping: PROBLEM: x",
            "log",
        ),
    ],
)
def test_a_canary_that_was_not_seen_names_the_likely_reason(wait_s, findings, mapping, word, no_word):
    """What would keep any change from arriving, and nothing that would not."""
    finding = told(None, wait_s, findings, mapping)
    assert finding.result is Result.FAILED
    assert word in finding.fix
    assert no_word not in finding.fix
