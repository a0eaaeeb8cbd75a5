"""Reads a DynamoDB stream itself, shard by shard, and hands its records over as Lambda would deliver them.

Invariants: shards are read in the order of their `lineage`, so that the changes of an item come in order; a position is
written down only after the records before it are archived; records that the stream no longer holds are never passed
over in silence. Time is an argument.
"""

import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Protocol

from archiver.checkpoint import Position
from archiver.errors import StoreUnavailable, StreamUnavailable
from archiver.lineage import Lineage, Shard
from archiver.stream import as_delivered
from archiver.streams_api import IteratorRefused, Passing, StreamsApi, ask

# Shards split and roll over in hours, not seconds; DescribeStream is limited to 10 calls a second per account
# (*DynamoDB Streams API Reference*). A shard that closes is looked after at once.
_DISCOVERY_S: Final = 30.0
_IDLE_S: Final = 0.25  # "4 times per second per shard", as Lambda polls (*Using AWS Lambda with Amazon DynamoDB*)
_MOST_PAGES: Final = 10_000
# An open shard never says that it has no more for now, and an empty answer may stand before a full one. So many rounds
# in a row without a record count as caught up.
_QUIET_ROUNDS: Final = 8
_PAUSES_S: Final = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 30.0, 30.0, 30.0)


class Checkpoints(Protocol):
    """Where positions by shard id are kept between two runs: `archiver.checkpoint.CheckpointFile`, or nowhere."""

    def load(self) -> Mapping[str, Position]: ...
    def save(self, positions: Mapping[str, Position]) -> None: ...


class _Stopped(Exception):  # noqa: N818
    """The stop event was set while waiting to try again."""


@dataclass
class Follower:
    """Follows one stream: `deliver` gets each batch of records in Lambda's shape and returns when they are archived.

    `pause` waits so many seconds (an event's `wait` ends early when it is set); `monotonic` gives seconds. `losses`
    names every stretch of the stream that was gone before it could be read.
    """

    client: StreamsApi
    stream_arn: str
    checkpoints: Checkpoints
    deliver: Callable[[list[dict[str, Any]]], object]
    stop: threading.Event
    pause: Callable[[float], object]
    monotonic: Callable[[], float]
    warn: Callable[[str], None] = lambda _message: None
    losses: list[str] = field(default_factory=list)
    _lineage: Lineage = field(default_factory=Lineage)
    _is_disabled: bool = False

    def run(self, *, until_caught_up: bool = False) -> None:
        """Reads until `stop` is set, until the stream is disabled and read to its end, or until it is caught up.

        Caught up: every closed shard is read to its end, every open one has answered several times in a row that it
        holds nothing new, and no new one is listed. Raises StreamUnavailable when the stream cannot be read,
        CheckpointRefused for the file, and what `deliver` raises; the next run reads again what is not yet archived.
        """
        try:
            self._follow(until_caught_up=until_caught_up)
        except _Stopped:
            return

    def _follow(self, *, until_caught_up: bool) -> None:
        discovered_at = self._discover(self.checkpoints.load())
        quiet_rounds = 0
        while not self.stop.is_set():
            readable = self._lineage.readable()
            had_news = [self._read(shard) for shard in readable if not self.stop.is_set()]
            quiet_rounds = 0 if any(had_news) else quiet_rounds + 1
            is_quiet = quiet_rounds >= _QUIET_ROUNDS and until_caught_up
            has_ended = any(shard.position.is_finished for shard in readable)
            if has_ended or is_quiet or self.monotonic() - discovered_at >= _DISCOVERY_S:
                known = self._lineage.shard_ids
                discovered_at = self._discover(self._lineage.positions())
                quiet_rounds = quiet_rounds if known >= self._lineage.shard_ids else 0
            if (is_quiet and quiet_rounds) or (self._is_disabled and not self._lineage.readable()):
                return
            if quiet_rounds:
                self.pause(_IDLE_S)

    def _discover(self, positions: Mapping[str, Position]) -> float:
        """Brings the shards up to what the stream lists now; seconds of the clock when it began."""
        began = self.monotonic()
        for gone, position in self._lineage.renew(self._list_shards(), positions).items():
            self._lose(gone, position, "the stream no longer lists the shard")
        return began

    def _list_shards(self) -> list[Mapping[str, Any]]:
        """Every page: a child whose parent stands on another page must not be taken for an orphan."""
        shards: list[Mapping[str, Any]] = []
        request: dict[str, Any] = {"StreamArn": self.stream_arn}
        for _ in range(_MOST_PAGES):
            page = self._ask(self.client.describe_stream, request)["StreamDescription"]
            shards.extend(page.get("Shards", ()))
            self._is_disabled = page.get("StreamStatus") == "DISABLED"
            if not page.get("LastEvaluatedShardId"):
                return shards
            request["ExclusiveStartShardId"] = page["LastEvaluatedShardId"]
        raise StreamUnavailable(f"{self.stream_arn} lists shards without end", hint="this is no DynamoDB stream")

    def _read(self, shard: Shard) -> bool:
        """One answer of one shard, archived. False if it held nothing, True if it held records or was the last."""
        try:
            shard.iterator = shard.iterator or self._open(shard)
            answer = self._ask(self.client.get_records, {"ShardIterator": shard.iterator})
        except IteratorRefused as refusal:
            shard.iterator = None  # iterators live 15 minutes; the next one starts from the position
            if refusal.code == "TrimmedDataAccessException":
                self._lose(shard.shard_id, shard.position, "the stream has trimmed it")
                shard.position = Position()
            return False
        records = answer.get("Records", ())
        shard.iterator = answer.get("NextShardIterator")
        if records:
            self._archive([as_delivered(record, self.stream_arn) for record in records])
            shard.position = replace(shard.position, after=_last_sequence_number(records) or shard.position.after)
        if shard.iterator is None:
            shard.position = replace(shard.position, is_finished=True)  # closed, and read to its end
        if records or shard.iterator is None:
            # Archived first, written down second. A stop between the two reads these records once more, and the archive
            # takes a change twice without harm; the other way round it would lose them.
            self.checkpoints.save(self._lineage.positions())
        return bool(records) or shard.iterator is None

    def _open(self, shard: Shard) -> str:
        request = {"StreamArn": self.stream_arn, "ShardId": shard.shard_id}
        if shard.position.after is None:
            request |= {"ShardIteratorType": "TRIM_HORIZON"}
        else:
            request |= {"ShardIteratorType": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": shard.position.after}
        iterator: str = self._ask(self.client.get_shard_iterator, request)["ShardIterator"]
        return iterator

    def _lose(self, shard_id: str, position: Position, why: str) -> None:
        since = "its beginning" if position.after is None else f"sequence number {position.after}"
        loss = f"changes after {since} of shard {shard_id} may be lost: {why} before it was read to that point"
        self.losses.append(loss)
        self.warn(loss)

    # --- trying again ---

    def _archive(self, records: list[dict[str, Any]]) -> None:
        for pause_s in _PAUSES_S:
            try:
                self.deliver(records)
            except StoreUnavailable as error:
                self._wait(pause_s, str(error))
            else:
                return
        self.deliver(records)

    def _ask(self, call: Callable[..., Mapping[str, Any]], request: Mapping[str, Any]) -> Mapping[str, Any]:
        for pause_s in _PAUSES_S:
            try:
                return ask(call, request)
            except Passing as error:
                self._wait(pause_s, str(error))
        try:
            return ask(call, request)
        except Passing as error:
            raise StreamUnavailable(
                f"{self.stream_arn} could not be read: {error}",
                hint="check network and --endpoint-url and start again: it goes on where it stopped",
            ) from error

    def _wait(self, pause_s: float, why: str) -> None:
        self.warn(f"trying again in {pause_s:g} s: {why}")
        self.pause(pause_s)
        if self.stop.is_set():
            raise _Stopped


def _last_sequence_number(records: Any) -> str | None:
    """Of the last record that has one; a record without goes to quarantine, not into the way."""
    for record in reversed(records):
        number = record.get("dynamodb", {}).get("SequenceNumber")
        if isinstance(number, str):
            return number
    return None
