"""Reads one range of one shard again: the batch that Lambda gave up on, of which only the place is left.

Invariants: exactly the records from first to last sequence number come out, in Lambda's shape, before it is said that
any are missing; a range that the stream does not hold in full is never taken for a whole one. Waiting is an argument.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from archiver.errors import ArchiverError, StreamUnavailable
from archiver.format.failed_batch import FailedBatch
from archiver.stream import as_delivered
from archiver.streams_api import IteratorRefused, Passing, StreamGone, StreamsApi, ask

_IDLE_S: Final = 0.25  # "4 times per second per shard", as Lambda polls (*Using AWS Lambda with Amazon DynamoDB*)
# "An empty page may precede later data": so many in a row from an open shard mean that the rest is not there.
_QUIET_ANSWERS: Final = 20
_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
_MOST_REFUSALS: Final = 10
# A batch has at most 10,000 records and 6 MB (*Lambda parameters for Amazon DynamoDB event source mappings*), a page of
# GetRecords at most 1,000 records and 1 MB. A range that holds more is no batch, and comes out in several.
_MOST_RECORDS: Final = 10_000
_MOST_PAGES: Final = 32


class RangeLost(ArchiverError):  # noqa: N818
    """The stream does not hold all of a range any more. What it held has come out; the message says what is missing."""


def reread(
    client: StreamsApi, batch: FailedBatch, *, pause: Callable[[float], object]
) -> Iterator[list[dict[str, Any]]]:
    """The records of a batch as Lambda delivered them, in one list (several only for what cannot be one batch).

    `pause` waits so many seconds. Raises RangeLost if any are missing, and StreamUnavailable, each after what
    could be read.
    """
    reading = _Range(client, batch, pause)
    gathered: list[dict[str, Any]] = []
    pages = 0
    try:
        for page in reading.pages():
            gathered += [as_delivered(record, batch.stream_arn) for record in page]
            pages += 1
            if len(gathered) >= _MOST_RECORDS or pages == _MOST_PAGES:
                yield gathered
                gathered, pages = [], 0
    except StreamUnavailable:
        if gathered:  # by tomorrow the stream has forgotten it
            yield gathered
        raise
    if gathered:
        yield gathered
    if reading.missing:
        raise RangeLost(
            f"{batch.source.trail.table_name}, shard {batch.shard_id}: {'; '.join(reading.missing)}",
            hint="a stream forgets after 24 hours: another copy of the batch, a point-in-time export or a new baseline "
            "is what is left",
        )


@dataclass
class _Range:
    """One range while it is read. `missing` says, when all pages are out, what did not come."""

    client: StreamsApi
    batch: FailedBatch
    pause: Callable[[float], object]
    missing: list[str] = field(default_factory=list)
    _seen: str | None = None  # the last sequence number that came
    _is_joined: bool = False  # whether nothing can stand between `_seen` and what comes next
    _count: int = 0

    def pages(self) -> Iterator[list[Mapping[str, Any]]]:
        """What the shard holds of the range, page by page, empty ones left out."""
        try:
            for records in self._answers():
                inside = [record for record in records if self._takes(record)]
                self._count += len(inside)
                if inside:
                    yield inside
                if self._is_passed(records):
                    break
        except StreamGone as error:
            self.missing.append(f"{self._rest}: {error}, unless --region or --endpoint-url is wrong")
            return
        self._conclude()

    def _answers(self) -> Iterator[list[Mapping[str, Any]]]:
        """The records of each answer, from the range's first one (or the oldest that is left) to the shard's end."""
        iterator, quiet, refusals, is_from_oldest = None, 0, 0, False
        while quiet < _QUIET_ANSWERS:
            try:
                iterator = iterator or self._open(is_from_oldest=is_from_oldest)
                answer = self._ask(self.client.get_records, {"ShardIterator": iterator})
            except IteratorRefused as refusal:
                iterator, refusals = None, refusals + 1
                if refusals > _MOST_REFUSALS:
                    raise StreamUnavailable(
                        f"shard {self.batch.shard_id} refuses every iterator: {refusal.code}", hint="try again later"
                    ) from refusal
                if refusal.code == "TrimmedDataAccessException":
                    # What is older is gone. What is left of the range stands at the shard's beginning.
                    is_from_oldest, self._is_joined = True, False
                continue
            records = answer.get("Records", [])
            yield records
            iterator = answer.get("NextShardIterator")
            if iterator is None:
                return
            quiet = 0 if records else quiet + 1
            if not records:
                self.pause(_IDLE_S)

    def _open(self, *, is_from_oldest: bool) -> str:
        request = {"StreamArn": self.batch.stream_arn, "ShardId": self.batch.shard_id}
        if is_from_oldest:
            request |= {"ShardIteratorType": "TRIM_HORIZON"}
        elif self._seen is None:
            first = self.batch.first_sequence_number
            request |= {"ShardIteratorType": "AT_SEQUENCE_NUMBER", "SequenceNumber": first}
        else:
            request |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": self._seen}
        iterator: str = self._ask(self.client.get_shard_iterator, request)["ShardIterator"]
        return iterator

    def _takes(self, record: Mapping[str, Any]) -> bool:
        """Whether a record is one of the range that did not come yet; what is missing before it is noted."""
        number = _sequence_number(record)
        if number is None:  # it goes to quarantine, and stands where it stands
            return self._seen is not None and self._seen != self.batch.last_sequence_number
        if int(number) > int(self.batch.last_sequence_number):
            return False
        after = int(self.batch.first_sequence_number) - 1 if self._seen is None else int(self._seen)
        if int(number) <= after:
            return False
        is_first = self._seen is None and int(number) == int(self.batch.first_sequence_number)
        if not self._is_joined and not is_first:
            self.missing.append(f"{self._rest_from} to before {number}: the stream has trimmed it")
        self._seen, self._is_joined = number, True
        return True

    def _is_passed(self, records: list[Mapping[str, Any]]) -> bool:
        last = int(self.batch.last_sequence_number)
        return any(int(number) >= last for record in records if (number := _sequence_number(record)) is not None)

    def _conclude(self) -> None:
        if self._seen is None or int(self._seen) != int(self.batch.last_sequence_number):
            self.missing.append(f"{self._rest}: the shard does not hold it")
        elif not self.missing and self.batch.records is not None and self._count < self.batch.records:
            self.missing.append(
                f"{self.batch.range_text}: Lambda had {self.batch.records} records there, the stream {self._count}"
            )

    @property
    def _rest(self) -> str:
        return f"{self._rest_from} to {self.batch.last_sequence_number}"

    @property
    def _rest_from(self) -> str:
        return self.batch.first_sequence_number if self._seen is None else f"after {self._seen}"

    def _ask(self, call: Callable[..., Mapping[str, Any]], request: Mapping[str, Any]) -> Mapping[str, Any]:
        for pause_s in _PAUSES_S:
            try:
                return ask(call, request)
            except Passing:
                self.pause(pause_s)
        try:
            return ask(call, request)
        except Passing as error:
            raise StreamUnavailable(
                f"{self.batch.stream_arn} could not be read: {error}",
                hint="check network and --endpoint-url and start again: what is archived stays archived",
            ) from error


def _sequence_number(record: Mapping[str, Any]) -> str | None:
    number = record.get("dynamodb", {}).get("SequenceNumber")
    return number if isinstance(number, str) and number.isdecimal() else None
