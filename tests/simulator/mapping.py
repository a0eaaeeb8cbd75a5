"""The Lambda event source mapping of one stream: polling, batches, lanes, retries, duplicates, expiry, metrics.

Rules are quoted from the Lambda Developer Guide where they act: *Using AWS Lambda with Amazon DynamoDB* [ddb], *Lambda
parameters for Amazon DynamoDB event source mappings* [params], *Retain discarded records for a DynamoDB event source in
Lambda* [retain], *How Lambda processes records from stream and queue-based event sources* [how], *Best practices using
DynamoDB Streams with Lambda* [best], *Types of metrics for Lambda functions* [metrics].

Not here, because the template does not use it (`deployed.py` fails when it does): StartingPosition LATEST, tumbling
windows, filters, destinations but S3, and ReportBatchItemFailures: a batch is all or nothing, so an answer is a success
and an exception a failure. Not here, because nothing documents it: how long Lambda waits between attempts
(`Scenario.longest_backoff_ms`), and when a poller starts anew.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable
from dataclasses import dataclass
from random import Random

from tests.simulator.clock import Clock
from tests.simulator.scenario import RETENTION_MS, Scenario, draw_batch_size, draw_lanes
from tests.simulator.stream import Emitted, Shard, Stream

POLL_MS = 250  # "Lambda polls shards in your DynamoDB stream for records at a base rate of 4 times per second." [ddb]
FIRST_BACKOFF_MS = 1_000  # the real one is not documented
CHECKPOINTS = 8  # how many batches back a restart may fall
ENVELOPE_BYTES = len('{"Records":[]}')


@dataclass(slots=True)
class Batch:
    records: list[Emitted]
    failures: int = 0
    invocations: int = 0


class Lane:
    """One of the concurrent batches of a shard ("in-order processing at the item (partition and sort key) level" [ddb])."""

    __slots__ = ("batches", "due_ms", "queue", "queued_bytes", "reader")

    def __init__(self, reader: Reader):
        self.reader = reader
        self.queue: deque[Emitted] = deque()
        self.queued_bytes = 0
        self.batches: deque[Batch] = deque()  # under way or to be tried again, in order
        self.due_ms = 0  # with batches: the next attempt; else: the end of the window


class Reader:
    """Where the mapping is in one shard."""

    def __init__(self, shard: Shard, parent: Reader | None):
        self.shard, self.parent = shard, parent
        self.position = 0  # index of the next record to read
        self.outstanding = 0  # read and not finished with
        self.starts: list[int] = [0]  # where batches began: the checkpoints a restart may fall back to
        self.lanes: list[Lane] = []

    def is_finished(self) -> bool:
        return self.shard.is_closed and self.position == len(self.shard.records) and not self.outstanding

    def is_open(self) -> bool:
        """A child is read when its parent is finished: parents before children (*Change data capture for DynamoDB Streams*)."""
        return self.parent is None or self.parent.is_finished()


# Given the records of one batch: did the function succeed, and if not, was the failure one that we injected?
Invoke = Callable[[list[Emitted]], tuple[bool, bool]]
# Given what ended ("RetryAttemptsExhausted", "RecordAgeExceeded"), the batch, the shard id and the stream's ARN. Not
# called when the destination denies.
Send = Callable[[str, Batch, str, str], None]


class Mapping:
    """Starts at TRIM_HORIZON. `disabled_until_ms`: reads and invokes nothing before; a disabled mapping
    keeps its checkpoint and resumes."""

    def __init__(self, rng: Random, clock: Clock, stream: Stream, scenario: Scenario, invoke: Invoke, send: Send):
        self.stream = stream
        self.disabled_until_ms = 0
        self.happened: Counter[str] = Counter()
        self.metrics: Counter[str] = Counter()  # in records but for the failures, as CloudWatch names them [metrics]
        self.handler_failed = False  # the function failed of its own accord at least once
        self._rng, self._clock, self._scenario = rng, clock, scenario
        self._invoke, self._send = invoke, send
        self._batch_size, self._lane_count = scenario.batch_size, scenario.lanes
        self._readers: dict[str, Reader] = {}
        self._active: list[Lane] = []
        self._echoes: list[tuple[int, list[Emitted]]] = []  # spontaneous duplicates: when, and what
        self._recent: list[Emitted] = []
        self._pulled = -1  # how many records the stream had at the last pull; -1: look again, a reader has moved

    def pull(self) -> None:
        """Read what the shards hold and put each record into the lane of its item."""
        if self._pulled == self.stream.count:
            return
        self._pulled = self.stream.count
        for shard in self.stream.shards:
            reader = self._readers.get(shard.shard_id) or self._add_reader(shard)
            if reader.position == len(shard.records) or not reader.is_open():
                continue
            opens_ms = max(self._clock.now_ms, self.disabled_until_ms) + self._scenario.window_ms
            waiting = shard.records.since(reader.position)
            self.metrics["PolledEventCount"] += len(waiting)
            for emitted in waiting:
                lane = reader.lanes[emitted.lane_hash % len(reader.lanes)]
                if not lane.queue and not lane.batches:
                    lane.due_ms = opens_ms + int(self._rng.random() * POLL_MS)
                    self._active.append(lane)
                lane.queue.append(emitted)
                lane.queued_bytes += len(emitted.text) + 1
                reader.outstanding += 1
            reader.position = len(shard.records)

    def next_due_ms(self) -> int | None:
        """True time of the next thing to do; None if there is nothing."""
        due = [self._due_ms(lane) for lane in self._active] + [at for at, _ in self._echoes]
        return max(min(due), self.disabled_until_ms) if due else None

    def poll(self) -> None:
        """Do all that is due now, lanes in any order."""
        now = self._clock.now_ms
        if now < self.disabled_until_ms:
            return
        due = [lane for lane in self._active if self._due_ms(lane) <= now]
        self._rng.shuffle(due)
        if due:
            self._pulled = -1
        for lane in due:
            if lane.batches or lane.queue:  # a restart may have emptied it
                self._serve(lane)
        self._active = [lane for lane in self._active if lane.batches or lane.queue]
        echoes, self._echoes = self._echoes, []
        for at, records in echoes:
            if at > now:
                self._echoes.append((at, records))
            else:
                self._call(records)  # a failure loses nothing: these were acknowledged
        self.pull()

    def trim(self) -> None:
        """Let the shards forget what is finished, but for the last batches, so that a long history fits into memory.

        A restart then falls back no further than what is held.
        """
        for reader in self._readers.values():
            if reader.is_finished():  # nobody comes back to a shard that is read to its end
                reader.starts = [reader.position]
                reader.shard.records.forget_before(reader.position)
                continue
            checkpoint = self._checkpoint(reader)
            older = [start for start in reader.starts if start <= checkpoint][-CHECKPOINTS:]
            reader.starts = older + [start for start in reader.starts if start > checkpoint]
            reader.shard.records.forget_before(min(older, default=checkpoint))

    def _add_reader(self, shard: Shard) -> Reader:
        parent = self._readers[shard.parent.shard_id] if shard.parent else None
        reader = self._readers[shard.shard_id] = Reader(shard, parent)
        reader.lanes = [Lane(reader) for _ in range(self._lane_count)]
        return reader

    def _due_ms(self, lane: Lane) -> int:
        """Lambda invokes when "it has gathered a full batch, the batching window expires, or the batch reaches the payload
        limit of 6 MB" [how]."""
        is_full = len(lane.queue) >= self._batch_size or lane.queued_bytes >= self._scenario.payload_limit_bytes
        return lane.due_ms if lane.batches or not is_full else self._clock.now_ms

    def _serve(self, lane: Lane) -> None:
        if not lane.batches:
            lane.batches.append(self._next_batch(lane))
        batch = lane.batches[0]
        self._give_up_old(lane, batch)
        if not batch.records:
            self._close(lane)
            return
        if self._scenario.throttle_rate and self._rng.random() < self._scenario.throttle_rate:
            self.happened["throttle"] += 1
            lane.due_ms = self._clock.now_ms + FIRST_BACKOFF_MS  # throttles and service errors use up no retry [params]
            return
        batch.invocations += 1
        succeeded, was_injected = self._call(batch.records)
        if not succeeded:
            self.handler_failed = self.handler_failed or not was_injected
            self._fail(lane, batch)
            return
        for emitted in batch.records:
            emitted.is_acknowledged = True
        self._finish(lane, batch)
        self._maybe_echo(batch.records)
        if self._scenario.restart_rate and self._rng.random() < self._scenario.restart_rate:
            self._restart(lane.reader)

    def _call(self, records: list[Emitted]) -> tuple[bool, bool]:
        succeeded, was_injected = self._invoke(records)
        self.metrics["InvokedEventCount"] += len(records)
        if not succeeded:
            self.metrics["FailedInvokeEventCount"] += len(records)
        return succeeded, was_injected

    def _next_batch(self, lane: Lane) -> Batch:
        records: list[Emitted] = []
        size_bytes = ENVELOPE_BYTES
        while lane.queue and len(records) < self._batch_size:
            size_bytes += len(lane.queue[0].text) + 1
            if records and size_bytes > self._scenario.payload_limit_bytes:
                self.happened["payload limit"] += 1
                break
            records.append(lane.queue.popleft())
            lane.queued_bytes -= len(records[-1].text) + 1
        lane.reader.starts.append(records[0].index)
        return Batch(records)

    def _give_up_old(self, lane: Lane, batch: Batch) -> None:
        """Drop what is too old, before it is tried (again).

        Lambda discards records older than MaximumRecordAgeInSeconds and tells the on-failure destination [params], [retain]. Records that reach 24 hours at the source are gone and are sent nowhere
        (*Change data capture for DynamoDB Streams*: "susceptible to trimming at any moment").
        """
        now, oldest = self._clock.now_ms, self._scenario.max_age_ms
        is_limited = oldest >= 0
        expired, aged, young = list[Emitted](), list[Emitted](), list[Emitted]()
        for emitted in batch.records:
            age = now - emitted.at_ms
            (expired if age > RETENTION_MS else aged if is_limited and age > oldest else young).append(emitted)
        self.happened["expiry"] += len(expired)
        for emitted in expired:
            if not emitted.is_acknowledged:
                emitted.fate = "starved" if self.handler_failed else "expired"
        if aged:
            self._discard("RecordAgeExceeded", Batch(aged, batch.failures, batch.invocations), lane)
        if expired or aged:
            batch.records = young
            lane.reader.outstanding -= len(expired) + len(aged)

    def _fail(self, lane: Lane, batch: Batch) -> None:
        """ "If your function returns an error, Lambda retries the batch until processing succeeds or the data expires." [ddb]"""
        lane.due_ms = self._clock.now_ms + min(
            FIRST_BACKOFF_MS << min(batch.failures, 20), self._scenario.longest_backoff_ms
        )
        if self._scenario.is_bisecting and len(batch.records) > 1:
            # BisectBatchOnFunctionError: splitting a batch does not use up the retry quota [params].
            self.happened["bisect"] += 1
            middle = len(batch.records) // 2
            halves = [Batch(batch.records[:middle], batch.failures), Batch(batch.records[middle:], batch.failures)]
            lane.batches.popleft()
            lane.batches.extendleft(reversed(halves))
            return
        self.happened["retry"] += 1
        batch.failures += 1
        if 0 <= self._scenario.max_retries < batch.failures:
            self._discard("RetryAttemptsExhausted", batch, lane)
            self._finish(lane, batch)

    def _discard(self, condition: str, batch: Batch, lane: Lane) -> None:
        """ "If the error-handling measures fail, Lambda discards the records" and goes on with the next [how].

        A destination that cannot be written to is told nobody but the metrics: DestinationDeliveryFailures is 1, and
        DroppedEventCount counts the records as if there were none [metrics].
        """
        self.happened[condition] += 1
        scenario, count = self._scenario, len(batch.records)
        fate = "discarded"
        if scenario.has_destination and scenario.denies_destination:
            fate = "denied"
            self.metrics["DestinationDeliveryFailures"] += 1
        elif scenario.has_destination:
            fate = "destination"
        for emitted in batch.records:
            if not emitted.is_acknowledged:
                emitted.fate = fate
        if fate == "destination":
            self.metrics["OnFailureDestinationDeliveredEventCount"] += count
            self._send(condition, batch, lane.reader.shard.shard_id, self.stream.arn)
        else:
            self.metrics["DroppedEventCount"] += count

    def _finish(self, lane: Lane, batch: Batch) -> None:
        lane.reader.outstanding -= len(batch.records)
        self._close(lane)

    def _close(self, lane: Lane) -> None:
        """ "The next window begins as soon as the previous function invocation completes." [params]"""
        lane.batches.popleft()
        lane.due_ms = self._clock.now_ms + (0 if lane.batches else self._scenario.window_ms)

    def _maybe_echo(self, records: list[Emitted]) -> None:
        """Delivery is at least once: duplicates occur, out of order and cut differently [ddb], [best]."""
        self._recent = [*self._recent[-40:], *records[-40:]]
        if not self._scenario.duplicate_rate or self._rng.random() >= self._scenario.duplicate_rate:
            return
        self.happened["duplicate delivery"] += 1
        kind = self._rng.choice(["batch", "part", "one", "mixed"])
        if kind == "part":
            begin = self._rng.randrange(len(records))
            records = records[begin : self._rng.randint(begin + 1, len(records))]
        elif kind == "one":
            records = [self._rng.choice(records)]
        elif kind == "mixed":
            records = self._recent[self._rng.randrange(len(self._recent)) :]
        self._echoes.append((self._clock.now_ms + int(self._rng.random() * 600_000), list(records)))

    def _restart(self, reader: Reader) -> None:
        """A poller is replaced and reads on from an older checkpoint, with another batch size and other lanes.

        Nothing documents when; a mapping that is updated, scaled or moved does it. Batches under way are forgotten.
        """
        self.happened["restart"] += 1
        scenario, rng = self._scenario, self._rng
        sizes, lane_counts = scenario.restart_batch_sizes, scenario.restart_lanes
        self._batch_size = rng.choice(sizes) if sizes else draw_batch_size(rng)
        self._lane_count = rng.choice(lane_counts) if lane_counts else draw_lanes(rng)
        checkpoint = self._checkpoint(reader)
        for lane in reader.lanes:
            lane.batches.clear()
            lane.queue.clear()
        reader.lanes = [Lane(reader) for _ in range(self._lane_count)]
        reader.outstanding = 0
        held = reader.shard.records.first
        reader.starts = [start for start in reader.starts if held <= start <= checkpoint] or [checkpoint]
        reader.position = self._rng.choice(reader.starts[-CHECKPOINTS:])
        self.happened["restart from an older checkpoint"] += reader.position < checkpoint

    @staticmethod
    def _checkpoint(reader: Reader) -> int:
        """The place of the first record that is not finished with."""
        unfinished = [e.index for lane in reader.lanes for batch in lane.batches for e in batch.records]
        unfinished += [e.index for lane in reader.lanes for e in lane.queue]
        return min(unfinished, default=reader.position)
