"""Held-back batches, back into the archive: which of an object's batches are meant, and what became of each record.

Invariants: a record goes into the trail that its own ARN names, and only if that is the table its object speaks of and
the table that is meant; an object is settled only when every record of it stands in the archive or in its quarantine,
and what was there before was read and found whole.
What is wrong with one object is told and stops nothing; only the archive's own failure is raised, since nothing after
it would succeed. Nothing is deleted. Time is an argument.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from archiver.documents import Location, UnreadableRecording, parse_json
from archiver.errors import ArchiverError, NotAnEvent, NotEvidence, StreamUnavailable
from archiver.failed_batches import NotReplayable, failed_batches
from archiver.format.failed_batch import FailedBatch
from archiver.format.layout import StreamSource, Trail
from archiver.held_back import DestinationUnreadable
from archiver.recorded import event_of
from archiver.reread import RangeLost
from archiver.segment import check_segment
from archiver.store import ObjectStore
from archiver.stream import records_of_event, understand
from archiver.writer import BatchReport, Writer


class Kind(Enum):
    """What kept something from being archived, in the words in which it is told."""

    NOT_REPLAYABLE = "not replayable"
    LOST = "lost"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class Trouble:
    """One thing that was not archived, why, and what to do next."""

    kind: Kind
    why: str
    hint: str

    @classmethod
    def of(cls, kind: Kind, error: ArchiverError) -> "Trouble":
        return cls(kind, str(error), error.hint)


@dataclass
class Replayed:
    """What became of one object: how many of its batches were meant, which tables the others are of, all trouble."""

    batches: int = 0
    others: Counter[Trail] = field(default_factory=Counter)
    troubles: list[Trouble] = field(default_factory=list)

    @property
    def is_settled(self) -> bool:
        """Whether every record of the object stands in the archive or in quarantine, so that it may be deleted."""
        return self.batches > 0 and not self.others and not self.troubles

    def meant(
        self, content: bytes, address: str, is_meant: Callable[[Trail], bool]
    ) -> Iterator[tuple[Location, FailedBatch]]:
        """The batches of an object that are meant, each with its place; the others are counted, trouble is noted."""
        for place, batch in failed_batches(content, address):
            if isinstance(batch, NotReplayable):
                self.troubles.append(Trouble.of(Kind.NOT_REPLAYABLE, batch))
            elif is_meant(batch.source.trail):
                self.batches += 1
                yield place, batch
            else:
                self.others[batch.source.trail] += 1


@dataclass
class Records:
    """What became of all records so far. `quarantined_in` has the first reason by folder of the archive."""

    archived_now: int = 0
    there_already: int = 0
    repeated: int = 0
    quarantined: int = 0
    quarantined_in: dict[str, str] = field(default_factory=dict)

    @property
    def received(self) -> int:
        return self.archived_now + self.there_already + self.repeated + self.quarantined

    def add(self, report: BatchReport, written: AbstractSet[str]) -> None:
        """Takes a batch in; `written` are the names that were not in the archive before."""
        new = sum(len(segment.rows) for segment in report.segments if segment.name in written)
        self.archived_now += new
        self.there_already += report.archived - new
        self.repeated += report.repeated
        self.quarantined += len(report.quarantined)
        for record in report.quarantined:
            self.quarantined_in.setdefault(record.name.rpartition("/")[0], record.reason)


@dataclass
class Replay:
    """Archives what is held back.

    `is_meant` says of which tables; `reread` gives the records of a batch that has no payload; `kept` reads what is in
    the archive, by name, or raises DestinationUnreadable.
    """

    writer: Writer
    is_meant: Callable[[Trail], bool]
    reread: Callable[[FailedBatch], Iterator[list[dict[str, Any]]]]
    kept: Callable[[str], bytes]
    records: Records = field(default_factory=Records)
    _unavailable: dict[str, StreamUnavailable] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._noting = _NotingStore(self.writer.store)
        self.writer = replace(self.writer, store=self._noting)

    def replay(self, content: bytes, address: str, *, now_ms: int) -> Replayed:
        """Archives the meant batches of one object. Raises StoreUnavailable or StoreRefused of the archive alone."""
        became = Replayed()
        for place, batch in became.meant(content, address, self.is_meant):
            trouble = self._replay(place, batch, now_ms)
            if trouble is not None:
                became.troubles.append(trouble)
        return became

    def _replay(self, place: Location, batch: FailedBatch, now_ms: int) -> Trouble | None:
        found, doubt = self._found(place, batch), None
        while True:
            # Only what is asked of the batch and of the stream is inside: an error of the archive has to get out.
            try:
                records = next(found, None)
            except NotReplayable as error:
                return Trouble.of(Kind.NOT_REPLAYABLE, error)
            except RangeLost as error:
                return Trouble(Kind.LOST, f"{place}: {error}", error.hint)
            except StreamUnavailable as error:
                self._unavailable[batch.stream_arn] = error
                return Trouble(Kind.FAILED, f"{place}: {error}", error.hint)
            if records is None:
                return doubt
            self._noting.written.clear()
            report = self.writer.archive(records, now_ms=now_ms)
            self.records.add(report, self._noting.written)
            doubt = doubt or self._doubt(place, report)

    def _doubt(self, place: Location, report: BatchReport) -> Trouble | None:
        """What speaks against what was there already: a name is no proof, and the object may be the last whole copy."""
        try:
            self._compare(report)
        except NotEvidence as error:
            hint = "keep the object, it may be the last whole copy; ask who may write the archive, and its versions"
            return Trouble(Kind.FAILED, f"{place}: in the archive already, and damaged there: {error}", hint)
        except DestinationUnreadable as error:
            return Trouble(Kind.FAILED, f"{place}: in the archive already, and not compared: {error}", error.hint)
        return None

    def _compare(self, report: BatchReport) -> None:
        for segment in report.segments:
            if segment.name not in self._noting.written:
                check_segment(self.kept(segment.name), segment.source, segment.place)
        for record in report.quarantined:
            if record.name not in self._noting.written and self.kept(record.name) != record.content:
                raise NotEvidence(f"{record.name} is not what its name says")

    def _found(self, place: Location, batch: FailedBatch) -> Iterator[Sequence[Any]]:
        known = self._unavailable.get(batch.stream_arn)
        if batch.payload is not None:
            yield records_of_payload(place, batch)
        elif known is not None:  # it was waited for once: not again for each of many batches
            raise StreamUnavailable(str(known), hint=known.hint)
        else:
            yield from self.reread(batch)


class _NotingStore:
    """A store that notes the names it has written: those that were there already are not among them."""

    def __init__(self, store: ObjectStore) -> None:
        self._store = store
        self.written: set[str] = set()

    def put_if_absent(self, name: str, content: bytes) -> bool:
        is_new = self._store.put_if_absent(name, content)
        if is_new:
            self.written.add(name)
        return is_new

    def get(self, name: str) -> bytes:
        return self._store.get(name)

    def list(self, prefix: str, start_after: str = "") -> Iterator[tuple[str, int]]:
        return self._store.list(prefix, start_after)


def records_of_payload(place: Location, batch: FailedBatch) -> list[Any]:
    """The records in a payload, as they were delivered, members that are named twice included.

    Raises NotReplayable if it is no event, or if a record names another stream than the batch does.
    """
    assert batch.payload is not None
    try:
        records = records_of_event(event_of(place, parse_json(batch.payload, f"the payload of {place}")))
    except (UnreadableRecording, NotAnEvent) as error:
        raise NotReplayable(str(error), hint="fetch the object from S3 again; nothing of it was archived") from error
    for number, record in enumerate(records, start=1):
        source = _source(record)
        if source is not None and source != batch.source:
            raise NotReplayable(
                f"{place} is of {batch.stream_arn}, and its record {number} of {record['eventSourceARN']}",
                hint="it contradicts itself, so nothing of it was archived: find out who wrote it",
            )
    return records


def _source(record: Any) -> StreamSource | None:
    """The stream that a record names; None if it names none, which is a matter for quarantine."""
    try:
        return StreamSource.parse(record["eventSourceARN"])
    except (ValueError, TypeError, KeyError):
        return None


@dataclass(frozen=True, slots=True)
class Foreseen:
    """What replaying a batch would do, as far as it can be told without doing it.

    `records` is None where only the stream could tell; instants are epoch ms, None without a record.
    """

    batch: FailedBatch
    records: int | None
    quarantined: int = 0
    oldest_ms: int | None = None
    newest_ms: int | None = None


def foresee(place: Location, batch: FailedBatch) -> Foreseen:
    """Raises NotReplayable."""
    if batch.payload is None:
        return Foreseen(batch, None)
    records = records_of_payload(place, batch)
    understood, quarantined = understand(records, lambda _source, _record: None)
    changed_at_ms = [record.changed_at_ms for record in understood]
    return Foreseen(
        batch,
        len(records),
        len(quarantined),
        min(changed_at_ms, default=None),
        max(changed_at_ms, default=None),
    )
