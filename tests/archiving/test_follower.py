"""A stream read by ourselves gives the evidence that Lambda would have given, whatever the stream does meanwhile.

The stream is a fake of AWS's API with the rules of the *DynamoDB Streams API Reference*; its answers go through
botocore's own parser, so that records look as boto3 returns them.
"""

import base64
import json
import os
import threading
import time
from random import Random

import botocore.parsers
import botocore.session
import orjson
import pytest
from botocore.exceptions import ClientError, EndpointConnectionError, NoCredentialsError
from hypothesis import given, settings
from hypothesis import strategies as st

from archiver.checkpoint import CheckpointFile, CheckpointRefused, Position
from archiver.errors import StoreRefused, StoreUnavailable, StreamUnavailable
from archiver.follower import Follower
from archiver.format.layout import StreamSource
from archiver.format.record import change_record
from archiver.stream import as_delivered
from tests.delivery import delivered
from tests.simulator.values import NAMES, VALUES

ARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-01-04T09:12:00.000"
ARCHIVE = "s3://bucket/archive"
ITERATOR_LIFE_S = 15 * 60  # "A shard iterator expires 15 minutes after it is retrieved" (GetShardIterator)
MOST_RECORDS = 3  # a page of GetRecords; 1,000 or 1 MB at AWS


def _parse_get_records():
    model = botocore.session.Session().get_service_model("dynamodbstreams")
    shape = model.operation_model("GetRecords").output_shape
    parser = botocore.parsers.create_parser(model.resolved_protocol)
    return lambda body: parser.parse({"status_code": 200, "headers": {}, "body": orjson.dumps(body)}, shape)


PARSE_GET_RECORDS = _parse_get_records()


def as_boto3_returns(wire_records: list[dict]) -> list[dict]:
    return PARSE_GET_RECORDS({"Records": wire_records})["Records"]


# --- both roads ---


def lambda_record(image: dict, created: float = 1_790_000_000, **fields) -> dict:
    made = delivered(
        "MODIFY",
        {"pk": {"S": "o-1"}},
        old={},
        new=image,
        sequence_number=1405400000000002063282832,
        changed_at_s=created,
        arn=ARN,
        event_id="9f31c2",
        size_bytes=54,
    )
    return made | fields


def on_the_wire(record: dict) -> dict:
    """The same record as the Streams API sends it: no ARN, and `userIdentity` in capitals."""
    sent = {name: value for name, value in record.items() if name != "eventSourceARN"}
    if "userIdentity" in sent:
        sent["userIdentity"] = {name[0].upper() + name[1:]: value for name, value in sent["userIdentity"].items()}
    return sent


def leaf(record: dict) -> bytes:
    return change_record(record, StreamSource.parse(ARN), ("pk",)).leaf


binaries = st.binary(max_size=20).map(lambda content: {"B": base64.b64encode(content).decode()})
values = st.recursive(
    st.sampled_from(VALUES)
    | binaries
    | st.lists(binaries, min_size=1).map(lambda all_: {"BS": [b["B"] for b in all_]}),
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda found: {"L": found})
        | st.dictionaries(st.text(max_size=5), inner, max_size=3).map(lambda found: {"M": found})
    ),
    max_leaves=8,
)
seconds = st.integers(1_325_376_000, 4_102_444_799)
created_at = seconds | seconds.map(float) | st.builds(lambda s, ms: s + ms / 1000, seconds, st.integers(0, 999))


@settings(deadline=None)
@given(
    image=st.dictionaries(st.sampled_from(NAMES), values, max_size=4),
    created=created_at,
    is_ttl=st.booleans(),
)
def test_both_roads_give_the_same_leaf(image, created, is_ttl):
    """A change is one piece of evidence, whether Lambda delivered it or it was read from the stream."""
    identity = {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}} if is_ttl else {}
    record = lambda_record(image, created, **identity)
    (returned,) = as_boto3_returns([on_the_wire(record)])
    assert leaf(as_delivered(returned, ARN)) == leaf(record)


@pytest.mark.parametrize("created", [1_792_888_200, 1_792_891_800, 1_792_891_799.5])
def test_the_hour_that_a_clock_change_repeats_is_not_mixed_up(monkeypatch, created):
    """botocore makes local times of epoch seconds, and in that hour a local time means two instants."""
    monkeypatch.setenv("TZ", "Europe/Paris")
    time.tzset()
    try:
        (returned,) = as_boto3_returns([on_the_wire(lambda_record({}, created))])
        assert as_delivered(returned, ARN)["dynamodb"]["ApproximateCreationDateTime"] == created
    finally:
        monkeypatch.undo()
        time.tzset()


# --- the stream ---


def refusal(code: str, status: int = 400) -> ClientError:
    return ClientError(
        {"Error": {"Code": code, "Message": code}, "ResponseMetadata": {"HTTPStatusCode": status}}, "Call"
    )


class FakeShard:
    def __init__(self, shard_id: str, parent: str | None) -> None:
        self.shard_id, self.parent = shard_id, parent
        self.records: list[dict] = []
        self.trimmed = 0  # how many records from the beginning are gone
        self.is_closed = False


class FakeStreams:
    """DynamoDB Streams with one stream: shards, splits, trimming, iterators that expire, pages, faults on demand."""

    def __init__(self, *, shards: int = 1, page: int = 100) -> None:
        self.shards: dict[str, FakeShard] = {}
        self.now_s = 0.0
        self.status = "ENABLED"
        self.page = page
        self.empty_pages = 0  # how many empty answers stand before each full one
        self.faults: list[Exception] = []
        self.calls: list[str] = []
        self._sequence = 10**21 - 5  # crosses a digit length soon
        self._iterators: list[tuple[str, int, float, int]] = []
        for number in range(shards):
            self.add_shard(f"shardId-{number:028d}")

    def add_shard(self, shard_id: str, parent: str | None = None) -> None:
        self.shards[shard_id] = FakeShard(shard_id, parent)

    def split(self, shard_id: str, *children: str) -> None:
        self.shards[shard_id].is_closed = True
        for child in children:
            self.add_shard(child, shard_id)

    def write(self, shard_id: str, item: str = "o-1") -> int:
        """One more change of an item; its number is the sequence number."""
        self._sequence += 1
        keys = {"pk": {"S": item}}
        record = lambda_record({"n": {"N": str(self._sequence)}})
        record["eventID"] = f"{self._sequence:032x}"
        record["dynamodb"] |= {"SequenceNumber": str(self._sequence), "Keys": keys, "NewImage": keys, "OldImage": keys}
        self.shards[shard_id].records.append(on_the_wire(record))
        return self._sequence

    def trim(self, shard_id: str, count: int) -> None:
        self.shards[shard_id].trimmed = count

    def describe_stream(self, *, StreamArn, ExclusiveStartShardId=None, Limit=100):
        self._fault("DescribeStream")
        listed = sorted(self.shards)  # shard ids are no order of lineage: the page may cut anywhere
        start = listed.index(ExclusiveStartShardId) + 1 if ExclusiveStartShardId else 0
        page = listed[start : start + self.page]
        description = {
            "StreamArn": StreamArn,
            "StreamStatus": self.status,
            "Shards": [
                {"ShardId": each} | ({"ParentShardId": self.shards[each].parent} if self.shards[each].parent else {})
                for each in page
            ],
        }
        if start + len(page) < len(listed):
            description["LastEvaluatedShardId"] = page[-1]
        return {"StreamDescription": description}

    def get_shard_iterator(self, *, StreamArn, ShardId, ShardIteratorType, SequenceNumber=None):
        self._fault("GetShardIterator")
        shard = self.shards[ShardId]
        if ShardIteratorType == "TRIM_HORIZON":
            return self._iterator(ShardId, shard.trimmed)
        assert ShardIteratorType == "AFTER_SEQUENCE_NUMBER"
        numbers = [record["dynamodb"]["SequenceNumber"] for record in shard.records]
        if numbers.index(SequenceNumber) < shard.trimmed:
            raise refusal("TrimmedDataAccessException")
        return self._iterator(ShardId, numbers.index(SequenceNumber) + 1)

    def get_records(self, *, ShardIterator, Limit=1000):
        self._fault("GetRecords")
        shard_id, position, made_s, empty_pages = self._iterators[int(ShardIterator)]
        shard = self.shards[shard_id]
        if self.now_s - made_s > ITERATOR_LIFE_S:
            raise refusal("ExpiredIteratorException")
        if position < shard.trimmed:
            raise refusal("TrimmedDataAccessException")
        records = shard.records[position : position + MOST_RECORDS] if empty_pages >= self.empty_pages else []
        after = position + len(records)
        answer = PARSE_GET_RECORDS({"Records": records})
        if not (shard.is_closed and after == len(shard.records)):
            following = self._iterator(shard_id, after, 0 if records else empty_pages + 1)
            answer["NextShardIterator"] = following["ShardIterator"]
        return answer

    def _iterator(self, shard_id: str, position: int, empty_pages: int = 0) -> dict:
        self._iterators.append((shard_id, position, self.now_s, empty_pages))
        return {"ShardIterator": str(len(self._iterators) - 1)}

    def _fault(self, call: str) -> None:
        self.calls.append(call)
        if self.faults:
            raise self.faults.pop(0)


class Follow:
    """A follower of a fake stream, with what it delivered and said."""

    def __init__(self, stream: FakeStreams, checkpoint, *, deliver=None, on_pause=None) -> None:
        self.stream, self.stop = stream, threading.Event()
        self.delivered: list[int] = []
        self.said: list[str] = []
        self.pauses: list[float] = []
        self._on_pause = on_pause or (lambda: None)
        self.follower = Follower(
            client=stream,
            stream_arn=ARN,
            checkpoints=CheckpointFile(checkpoint, ARN, ARCHIVE),
            deliver=deliver or self.take,
            stop=self.stop,
            pause=self._pause,
            monotonic=lambda: stream.now_s,
            warn=self.said.append,
        )

    def take(self, records: list[dict]) -> None:
        assert all(record["eventSourceARN"] == ARN for record in records)
        self.delivered += [int(record["dynamodb"]["SequenceNumber"]) for record in records]

    def run(self, *, until_caught_up: bool = True) -> "Follow":
        self.follower.run(until_caught_up=until_caught_up)
        return self

    def _pause(self, pause_s: float) -> None:
        self.pauses.append(pause_s)
        assert len(self.pauses) < 10_000, "it never ends"
        self.stream.now_s += pause_s
        self._on_pause()


@pytest.fixture
def checkpoint(tmp_path):
    return tmp_path / "state" / "position.json"


def test_a_stream_is_read_from_its_beginning(checkpoint):
    """What happened before the first run is history too."""
    stream = FakeStreams(shards=2)
    written = [stream.write(shard) for shard in sorted(stream.shards) for _ in range(7)]
    assert sorted(Follow(stream, checkpoint).run().delivered) == written


def test_a_second_run_goes_on_where_the_first_one_stopped(checkpoint):
    """Nothing twice without need, nothing left out."""
    stream = FakeStreams()
    (shard,) = stream.shards
    for _ in range(5):
        stream.write(shard)
    Follow(stream, checkpoint).run()
    later = [stream.write(shard) for _ in range(4)]
    assert Follow(stream, checkpoint).run().delivered == later


@pytest.mark.parametrize("page", [1, 2, 100])
def test_parents_are_read_to_their_end_before_their_children(checkpoint, page):
    """The changes of an item go on in a child shard: read early, they would come before older ones."""
    stream = FakeStreams(page=page)
    (root,) = stream.shards
    written = [stream.write(root) for _ in range(4)]
    stream.split(root, "shardId-a-child")
    written += [stream.write("shardId-a-child") for _ in range(4)]
    stream.split("shardId-a-child", "shardId-0-grandchild")
    written += [stream.write("shardId-0-grandchild") for _ in range(4)]
    assert Follow(stream, checkpoint).run().delivered == written


def test_a_shard_whose_parent_is_forgotten_is_read(checkpoint):
    """After 24 hours a parent is no longer listed; its children are, and would wait for ever."""
    stream = FakeStreams()
    stream.add_shard("shardId-child", "shardId-forgotten")
    number = stream.write("shardId-child")
    assert Follow(stream, checkpoint).run().delivered == [number]


def test_a_split_is_noticed_while_following(checkpoint):
    """A closed shard has a successor, and waiting for the next look at the list would hold up its changes."""
    stream = FakeStreams()
    (root,) = stream.shards
    written = [stream.write(root)]
    rounds = iter(range(1000))

    def on_pause():
        if next(rounds) == 2:
            stream.split(root, "shardId-child")
            written.append(stream.write("shardId-child"))
        if len(follow.delivered) > 1 or stream.now_s > 100:
            follow.stop.set()

    follow = Follow(stream, checkpoint, on_pause=on_pause)
    assert follow.run(until_caught_up=False).delivered == written
    assert stream.now_s < 5


def test_a_new_shard_without_a_parent_is_found_in_time(checkpoint):
    """Shards appear by themselves too; the list is read again at least every 30 seconds."""
    stream = FakeStreams()
    added: list[int] = []

    def on_pause():
        if not added:
            stream.add_shard("shardId-new")
            added.append(stream.write("shardId-new"))
        elif stream.now_s > 40:
            follow.stop.set()

    follow = Follow(stream, checkpoint, on_pause=on_pause)
    assert follow.run(until_caught_up=False).delivered == added


def test_empty_answers_are_not_the_end(checkpoint):
    """GetRecords may answer with nothing and hold more: an empty answer only means "not yet"."""
    stream = FakeStreams()
    stream.empty_pages = 5
    (shard,) = stream.shards
    written = [stream.write(shard) for _ in range(8)]
    assert Follow(stream, checkpoint).run().delivered == written


def test_a_disabled_stream_that_is_read_ends_the_run(checkpoint):
    """Nothing will ever come again: waiting for it would look like following."""
    stream = FakeStreams()
    (shard,) = stream.shards
    written = [stream.write(shard) for _ in range(5)]
    stream.shards[shard].is_closed, stream.status = True, "DISABLED"
    assert Follow(stream, checkpoint).run(until_caught_up=False).delivered == written


def test_an_expired_iterator_is_replaced(checkpoint):
    """Archiving one batch may take longer than the 15 minutes of an iterator."""
    stream = FakeStreams()
    (shard,) = stream.shards
    written = [stream.write(shard) for _ in range(8)]

    def slow(records):
        follow.take(records)
        stream.now_s += ITERATOR_LIFE_S + 1

    follow = Follow(stream, checkpoint, deliver=slow)
    assert follow.run().delivered == written


def test_trimmed_records_are_a_loss_that_is_named(checkpoint):
    """After more than a day away the stream has forgotten; going on in silence would pass for completeness."""
    stream = FakeStreams()
    (shard,) = stream.shards
    last = [stream.write(shard) for _ in range(3)][-1]
    Follow(stream, checkpoint).run()
    written = [stream.write(shard) for _ in range(6)]
    stream.trim(shard, 6)
    follow = Follow(stream, checkpoint).run()
    assert follow.delivered == written[3:]
    (loss,) = follow.follower.losses
    assert str(last) in loss
    assert shard in loss
    assert loss in follow.said


def test_a_shard_that_vanished_unread_is_a_loss_that_is_named(checkpoint):
    """A shard goes with its records: what it held after the last position was never archived."""
    stream = FakeStreams()
    (shard,) = stream.shards
    last = stream.write(shard)
    Follow(stream, checkpoint).run()
    del stream.shards[shard]
    stream.add_shard("shardId-later", shard)
    number = stream.write("shardId-later")
    follow = Follow(stream, checkpoint).run()
    assert follow.delivered == [number]
    assert len(follow.follower.losses) == 1
    assert str(last) in follow.follower.losses[0]


def test_a_shard_that_vanished_after_its_end_is_no_loss(checkpoint):
    """A false alarm teaches people to ignore alarms."""
    stream = FakeStreams()
    (shard,) = stream.shards
    stream.write(shard)
    stream.split(shard, "shardId-child")
    Follow(stream, checkpoint).run()
    del stream.shards[shard]
    assert Follow(stream, checkpoint).run().follower.losses == []


PASSING = {
    "throttled": refusal("LimitExceededException"),
    "throttled otherwise": refusal("ThrottlingException"),
    "server error": refusal("InternalServerError", 500),
    "an error without a name": refusal("", 503),
    "no network": EndpointConnectionError(endpoint_url="https://streams.dynamodb.eu-west-1.amazonaws.com"),
}


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
@pytest.mark.parametrize("after_calls", [0, 1, 2])
def test_what_passes_is_waited_for(checkpoint, fault, after_calls):
    """Throttling and outages end by themselves; the position does not move meanwhile."""
    stream = FakeStreams()
    (shard,) = stream.shards
    written = [stream.write(shard) for _ in range(4)]
    calls = iter(range(100))
    plain = stream._fault

    def fault_at(call):
        if next(calls) == after_calls:
            stream.faults += [fault] * 3
        plain(call)

    stream._fault = fault_at
    follow = Follow(stream, checkpoint).run()
    assert follow.delivered == written
    assert follow.pauses[:3] == sorted(follow.pauses[:3])
    assert len(set(follow.pauses[:3])) == 3, "each pause is longer than the one before"


def test_what_does_not_pass_ends_the_run(checkpoint):
    """A wrong endpoint must not look like a quiet stream."""
    stream = FakeStreams()
    stream.faults = [PASSING["no network"]] * 1000
    with pytest.raises(StreamUnavailable, match="could not be read"):
        Follow(stream, checkpoint).run(until_caught_up=False)


FINAL = {
    "denied": (refusal("AccessDeniedException"), "dynamodb:GetRecords"),
    "gone": (refusal("ResourceNotFoundException"), "24 hours"),
    "no credentials": (NoCredentialsError(), "credentials"),
}


@pytest.mark.parametrize(("fault", "hint"), FINAL.values(), ids=FINAL)
def test_what_only_a_person_can_mend_ends_the_run_at_once(checkpoint, fault, hint):
    """Waiting does not grant permissions."""
    stream = FakeStreams()
    stream.faults = [fault]
    with pytest.raises(StreamUnavailable) as raised:
        Follow(stream, checkpoint).run()
    assert hint in raised.value.hint
    assert stream.calls == ["DescribeStream"]


def test_a_stop_lets_the_batch_finish(checkpoint):
    """What was archived is written down, so that the next run does not read it again."""
    stream = FakeStreams()
    (shard,) = stream.shards
    written = [stream.write(shard) for _ in range(9)]

    def stopping(records):
        follow.take(records)
        follow.stop.set()

    follow = Follow(stream, checkpoint, deliver=stopping)
    assert follow.run(until_caught_up=False).delivered == written[:MOST_RECORDS]
    assert Follow(stream, checkpoint).run().delivered == written[MOST_RECORDS:]


def test_a_stop_ends_waiting_too(checkpoint):
    """During an outage Ctrl-C must not have to wait for the last attempt."""
    stream = FakeStreams()
    stream.faults = [PASSING["no network"]] * 1000
    follow = Follow(stream, checkpoint, on_pause=lambda: follow.stop.set())
    follow.run(until_caught_up=False)
    assert len(follow.pauses) == 1


def test_a_store_that_is_away_for_a_while_is_waited_for(checkpoint):
    """The stream keeps its records for a day; an archive that answers again within minutes has lost nothing."""
    stream = FakeStreams()
    (shard,) = stream.shards
    written = [stream.write(shard) for _ in range(5)]
    answers = iter([StoreUnavailable("slow down"), StoreUnavailable("slow down")])

    def deliver(records):
        for error in answers:
            raise error
        follow.take(records)

    follow = Follow(stream, checkpoint, deliver=deliver)
    assert follow.run().delivered == written


def test_a_store_that_refuses_ends_the_run_without_moving_on(checkpoint):
    """A position written before its records are archived would lose them."""
    stream = FakeStreams()
    (shard,) = stream.shards
    written = [stream.write(shard) for _ in range(4)]

    def deliver(records):
        if follow.delivered:
            raise StoreRefused("denied")
        follow.take(records)

    follow = Follow(stream, checkpoint, deliver=deliver)
    with pytest.raises(StoreRefused):
        follow.run()
    assert Follow(stream, checkpoint).run().delivered == written[MOST_RECORDS:]


class Crash(BaseException):
    pass


@pytest.mark.parametrize("seed", range(60))
def test_nothing_is_lost_and_items_stay_in_order_through_crashes_and_splits(checkpoint, seed):
    """Every record is archived at least once; the first time, never before an older change of the same item."""
    rng = Random(seed)
    stream = FakeStreams(shards=rng.randint(1, 3), page=rng.randint(1, 3))
    home = {shard: [f"{shard}/{n}" for n in range(2)] for shard in stream.shards}
    item_of: dict[int, str] = {}
    archived: list[int] = []

    def traffic():
        for _ in range(rng.randint(0, 6)):
            shard = rng.choice([name for name, found in stream.shards.items() if not found.is_closed])
            item = rng.choice(home[shard])
            item_of[stream.write(shard, item)] = item
        if rng.random() < 0.3 and len(stream.shards) < 12:
            parent = rng.choice([name for name, found in stream.shards.items() if not found.is_closed])
            children = [f"shardId-{rng.randrange(10**9)}" for _ in range(rng.randint(1, 2))]
            stream.split(parent, *children)
            for n, child in enumerate(children):
                home[child] = home[parent][n :: len(children)] or [child]
        if rng.random() < 0.2:
            stream.now_s += ITERATOR_LIFE_S + 1
        if rng.random() < 0.3:
            stream.faults.append(rng.choice(list(PASSING.values())))

    def deliver(records):
        if rng.random() < 0.1:
            raise Crash  # before anything is archived
        archived.extend(int(record["dynamodb"]["SequenceNumber"]) for record in records)
        if rng.random() < 0.1:
            raise Crash  # archived, not written down

    for _ in range(12):
        traffic()
        try:
            Follow(stream, checkpoint, deliver=deliver, on_pause=lambda: rng.random() < 0.05 and traffic()).run()
        except Crash:
            continue
    Follow(
        stream,
        checkpoint,
        deliver=lambda records: archived.extend(int(r["dynamodb"]["SequenceNumber"]) for r in records),
    ).run()
    first_time = list(dict.fromkeys(archived))
    assert sorted(first_time) == sorted(item_of)
    for item in set(item_of.values()):
        numbers = [number for number in first_time if item_of[number] == item]
        assert numbers == sorted(numbers)


# --- the checkpoint ---


positions = st.dictionaries(
    st.text(max_size=65), st.builds(Position, st.none() | st.integers(0).map(str), st.booleans()), max_size=5
)


@settings(deadline=None)
@given(saved=positions)
def test_positions_come_back_as_they_were_saved(tmp_path_factory, saved):
    """A position that changed on the way would lose records or read them for ever."""
    file = CheckpointFile(tmp_path_factory.getbasetemp() / "round-trip.json", ARN, ARCHIVE)
    file.save(saved)
    assert file.load() == saved


def test_a_checkpoint_of_something_else_is_refused(checkpoint):
    """Taken for another archive, the position would leave out whatever stands before it."""
    CheckpointFile(checkpoint, ARN, ARCHIVE).save({"shardId-1": Position("7" * 21)})
    for other in (CheckpointFile(checkpoint, ARN, "folder"), CheckpointFile(checkpoint, f"{ARN}1", ARCHIVE)):
        with pytest.raises(CheckpointRefused, match="not of") as raised:
            other.load()
        assert "--checkpoint" in raised.value.hint


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"[]",
        b'{"format": 2}',
        json.dumps({"format": 1, "stream_arn": ARN, "archive": ARCHIVE, "shards": {"s": {"after": "x", "finished": False}}}).encode(),
        json.dumps({"format": 1, "stream_arn": ARN, "archive": ARCHIVE, "shards": {"s": {"after": 7, "finished": False}}}).encode(),
        json.dumps({"format": 1, "stream_arn": ARN, "archive": ARCHIVE, "shards": {"s": {"after": "7"}}}).encode(),
    ],
)  # fmt: skip
def test_a_damaged_checkpoint_is_refused(checkpoint, content):
    """Guessing a position is worse than asking."""
    checkpoint.parent.mkdir()
    checkpoint.write_bytes(content)
    with pytest.raises(CheckpointRefused, match="cannot be read"):
        CheckpointFile(checkpoint, ARN, ARCHIVE).load()


@pytest.mark.parametrize("call", ["write", "fsync", "replace"])
def test_a_checkpoint_is_replaced_whole_or_not_at_all(checkpoint, monkeypatch, call):
    """A full disk must leave the position of before, and no litter."""
    file = CheckpointFile(checkpoint, ARN, ARCHIVE)
    file.save({"shardId-1": Position("1" * 21)})

    def fails(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    if call == "write":
        monkeypatch.setattr("pathlib.Path.open", fails)
    elif call == "fsync":
        monkeypatch.setattr(os, "fsync", fails)
    else:
        monkeypatch.setattr("pathlib.Path.replace", fails)
    with pytest.raises(CheckpointRefused, match="No space left"):
        file.save({"shardId-1": Position("2" * 21)})
    monkeypatch.undo()
    assert file.load() == {"shardId-1": Position("1" * 21)}
    assert [path.name for path in checkpoint.parent.iterdir()] == [checkpoint.name]
