"""A batch of which only the place is left is read from its shard again: exactly, or with a word on what is gone.

The stream is the fake of `test_follower`, which keeps the rules of the *DynamoDB Streams API Reference*.
"""

import json

import pytest

from archiver import reread as reread_module
from archiver.errors import StreamUnavailable
from archiver.format.failed_batch import FailedBatch
from archiver.recorded import event_of
from archiver.reread import RangeLost, reread
from archiver.streams import Streams
from archiver.writer import Writer
from tests.archiving.test_follower import (
    ARN,
    FINAL,
    ITERATOR_LIFE_S,
    MOST_RECORDS,
    PASSING,
    FakeStreams,
    refusal,
)
from tests.simulator.memory_store import MemoryStore

SHARD = f"shardId-{0:028d}"


class Stream(FakeStreams):
    """A stream that is read from a position, with the records that Lambda was given and could not get rid of."""

    def __init__(self, count: int = 10) -> None:
        super().__init__()
        self.numbers = [self.write(SHARD, f"o-{number}") for number in range(count)]

    def get_shard_iterator(self, *, StreamArn, ShardId, ShardIteratorType, SequenceNumber=None):
        if ShardId not in self.shards:
            raise refusal("ResourceNotFoundException")
        if ShardIteratorType != "AT_SEQUENCE_NUMBER":
            return super().get_shard_iterator(
                StreamArn=StreamArn,
                ShardId=ShardId,
                ShardIteratorType=ShardIteratorType,
                SequenceNumber=SequenceNumber,
            )
        self._fault("GetShardIterator")
        shard = self.shards[ShardId]
        numbers = [record["dynamodb"]["SequenceNumber"] for record in shard.records]
        if SequenceNumber not in numbers[shard.trimmed :]:
            raise refusal("TrimmedDataAccessException")
        return self._iterator(ShardId, numbers.index(SequenceNumber))

    def batch(self, first: int, last: int, **fields) -> FailedBatch:
        """The records from place to place, as an SQS message tells of them."""
        found = {"records": last - first + 1, "shard_id": SHARD} | fields
        return FailedBatch(
            stream_arn=ARN,
            first_sequence_number=str(self.numbers[first]),
            last_sequence_number=str(self.numbers[last]),
            condition="RetryAttemptsExhausted",
            **found,
        )


class Reading:
    """What came of a range, and what was said at its end."""

    def __init__(self, stream: Stream, batch: FailedBatch, *, on_batch=lambda: None) -> None:
        self.batches: list[list[dict]] = []
        self.pauses: list[float] = []
        self.error = None
        try:
            for records in reread(stream, batch, pause=self.pauses.append):
                self.batches.append(records)
                on_batch()
        except (RangeLost, StreamUnavailable) as error:
            self.error = error

    @property
    def numbers(self) -> list[int]:
        return [int(record["dynamodb"]["SequenceNumber"]) for records in self.batches for record in records]


@pytest.mark.parametrize("empty_pages", [0, 5])
@pytest.mark.parametrize(("first", "last"), [(0, 0), (0, 9), (9, 9), (2, 4), (3, 7), (4, 6)])
def test_a_range_is_read_exactly(first, last, empty_pages):
    """Neither a record before it nor one after it: those were archived as they should be. Digits grow on the way."""
    stream = Stream()
    stream.empty_pages = empty_pages
    reading = Reading(stream, stream.batch(first, last))
    assert reading.error is None
    assert reading.numbers == stream.numbers[first : last + 1]
    assert len(reading.batches) == 1


def test_the_stream_gives_the_segments_that_the_payload_gives():
    """Where the batch came from is no part of the evidence: the same cut has the same names and the same bytes."""
    stream = Stream(8)
    payload = json.dumps(
        {"Records": [{**record, "eventSourceARN": ARN} for record in stream.shards[SHARD].records[1:7]]}
    )
    stores = [MemoryStore(), MemoryStore()]
    records = [event_of("here", json.loads(payload))["Records"], *Reading(stream, stream.batch(1, 6)).batches]
    for store, delivered in zip(stores, records, strict=True):
        Writer(store, Streams()).archive(delivered, now_ms=1_790_000_100_000)
    assert stores[0].objects == stores[1].objects
    assert any(name.endswith(".parquet") for name in stores[0].objects)


@pytest.mark.parametrize("trimmed", [3, 5, 6])
def test_what_is_left_of_a_trimmed_range_is_saved_and_the_rest_is_named(trimmed):
    """The trim horizon moves through a batch too: half of it is better than none, and must not pass for all."""
    stream = Stream()
    stream.trim(SHARD, trimmed)
    reading = Reading(stream, stream.batch(2, 6))
    assert reading.numbers == stream.numbers[trimmed:7]
    assert isinstance(reading.error, RangeLost)
    first, survivor = stream.numbers[2], stream.numbers[trimmed]
    assert f"{first} to before {survivor}: the stream has trimmed it" in str(reading.error)
    assert SHARD in str(reading.error)
    assert reading.error.hint


def test_a_range_that_is_trimmed_whole_is_named_whole():
    """Nothing came, and that is said."""
    stream = Stream()
    stream.trim(SHARD, 7)
    reading = Reading(stream, stream.batch(2, 6))
    assert reading.numbers == []
    assert f"{stream.numbers[2]} to {stream.numbers[6]}: the shard does not hold it" in str(reading.error)


def test_a_range_that_is_trimmed_while_it_is_read_is_not_whole():
    """An iterator in hand does not keep records alive; what came before the gap and after it is kept."""
    stream = Stream(12)
    plain = stream.get_records

    def trimming(**request):
        answer = plain(**request)
        stream.trim(SHARD, 8)
        return answer

    stream.get_records = trimming
    reading = Reading(stream, stream.batch(1, 10))
    assert reading.numbers == stream.numbers[1 : 1 + MOST_RECORDS] + stream.numbers[8:11]
    lost_after, survivor = stream.numbers[MOST_RECORDS], stream.numbers[8]
    assert f"after {lost_after} to before {survivor}: the stream has trimmed it" in str(reading.error)


def test_a_shard_that_has_to_be_read_from_its_beginning_gives_the_range_alone():
    """A refusal may be about a number that never was in the shard; what stands before the range was archived long ago."""
    stream = Stream()
    plain = stream.get_shard_iterator

    def refusing(**request):
        if request["ShardIteratorType"] == "AT_SEQUENCE_NUMBER":
            raise refusal("TrimmedDataAccessException")
        return plain(**request)

    stream.get_shard_iterator = refusing
    reading = Reading(stream, stream.batch(3, 8))
    assert reading.numbers == stream.numbers[3:9]
    assert reading.error is None


@pytest.mark.parametrize("is_closed", [True, False])
def test_a_shard_that_ends_before_the_range_does_not_hold_it(is_closed):
    """A closed shard ends; an open one goes quiet. Neither may be waited for, nor taken for the whole range."""
    stream = Stream()
    stream.shards[SHARD].is_closed = is_closed
    del stream.shards[SHARD].records[6:]
    reading = Reading(stream, stream.batch(4, 8))
    assert reading.numbers == stream.numbers[4:6]
    assert f"after {stream.numbers[5]} to {stream.numbers[8]}: the shard does not hold it" in str(reading.error)
    assert sum(reading.pauses) < 10


def test_a_range_whose_last_record_is_missing_is_not_whole():
    """That something later came does not replace it."""
    stream = Stream()
    del stream.shards[SHARD].records[6]
    reading = Reading(stream, stream.batch(4, 6))
    assert reading.numbers == stream.numbers[4:6]
    assert f"after {stream.numbers[5]} to {stream.numbers[6]}" in str(reading.error)


def test_fewer_records_than_lambda_had_are_a_loss():
    """Both ends are there, so only the number tells."""
    stream = Stream()
    del stream.shards[SHARD].records[5]
    reading = Reading(stream, stream.batch(4, 6))
    assert "Lambda had 3 records there, the stream 2" in str(reading.error)
    assert Reading(stream, stream.batch(4, 6, records=None)).error is None
    assert Reading(stream, stream.batch(4, 6, records=1)).error is None, "a parallel mapping's ranges overlap"


@pytest.mark.parametrize("what", ["shard", "stream"])
def test_a_shard_or_stream_that_is_gone_is_a_loss(what):
    """A shard goes with its records; nobody has to look for them any more, once the endpoint is known to be right."""
    stream = Stream()
    if what == "shard":
        reading = Reading(stream, stream.batch(2, 6, shard_id="shardId-gone"))
    else:
        stream.faults = [refusal("ResourceNotFoundException")]
        reading = Reading(stream, stream.batch(2, 6))
    assert isinstance(reading.error, RangeLost)
    assert f"{stream.numbers[2]} to {stream.numbers[6]}" in str(reading.error)
    assert "unless --region or --endpoint-url is wrong" in str(reading.error)


def test_an_expired_iterator_is_replaced_without_a_gap():
    """A range of many pages may take longer than the 15 minutes of an iterator; nothing comes twice."""
    stream = Stream()
    plain, calls = stream.get_records, iter(range(100))

    def slow(**request):
        if next(calls) == 1:
            stream.now_s += ITERATOR_LIFE_S + 1
        return plain(**request)

    stream.get_records = slow
    reading = Reading(stream, stream.batch(1, 8))
    assert reading.error is None
    assert reading.numbers == stream.numbers[1:9]


def test_iterators_that_are_always_refused_end_the_reading():
    """A loop without an end would look like patience."""
    stream = Stream()
    stream.get_records = lambda **_: (_ for _ in ()).throw(refusal("ExpiredIteratorException"))
    assert isinstance(Reading(stream, stream.batch(1, 8)).error, StreamUnavailable)


@pytest.mark.parametrize("fault", PASSING.values(), ids=PASSING)
def test_what_passes_is_waited_for(fault):
    """Throttling ends by itself; each pause is longer than the one before."""
    stream = Stream()
    stream.faults = [fault] * 3
    reading = Reading(stream, stream.batch(2, 6))
    assert reading.numbers == stream.numbers[2:7]
    assert reading.pauses == sorted(set(reading.pauses))
    assert len(reading.pauses) == 3


@pytest.mark.parametrize(
    "fault", [PASSING["no network"], FINAL["denied"][0], FINAL["no credentials"][0]], ids=["network", "denied", "keys"]
)
def test_a_stream_that_cannot_be_read_is_no_loss(fault):
    """What may come another time must not be written off; what had come is not thrown away."""
    stream = Stream()
    plain, calls = stream.get_records, iter(range(100))

    def failing(**request):
        if next(calls) == 1:
            stream.faults = [fault] * 1000
        return plain(**request)

    stream.get_records = failing
    reading = Reading(stream, stream.batch(1, 8))
    assert type(reading.error) is StreamUnavailable
    assert reading.numbers == stream.numbers[1 : 1 + MOST_RECORDS]


@pytest.mark.parametrize(("bound", "most"), [("_MOST_RECORDS", 4), ("_MOST_PAGES", 2)])
def test_a_range_larger_than_any_batch_comes_in_several(monkeypatch, bound, most):
    """Memory is bounded by a batch of Lambda, whatever two numbers somebody typed."""
    monkeypatch.setattr(reread_module, bound, most)
    stream = Stream(20)
    reading = Reading(stream, stream.batch(0, 18))
    assert reading.numbers == stream.numbers[:19]
    assert {len(records) for records in reading.batches[:-1]} == {6}
