"""The sealer: what is new in a trail becomes entries of its log, and the head of the log is signed.

Invariants: an object is sealed only after everything it says of itself was checked; a seal is one create-only write, so
a stop anywhere leaves the log as it was or longer by a whole seal; of two sealers at once one extends the log, and the
other goes on from there. Time is an argument.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Final

from archiver.format.layout import HOUR_MS, SegmentName, Trail, label_time_ms
from archiver.format.log_entry import (
    AcknowledgeEntry,
    BaselineEntry,
    CloseEntry,
    IntervalEntry,
    KeyRotationEntry,
    LogEntry,
    OpenEntry,
    QuarantineEntry,
    SegmentEntry,
    entry_leaf,
)
from archiver.format.merkle import CompactRange
from archiver.format.note import Checkpoint, SignedNote
from archiver.format.seal import Seal, origin_of
from archiver.sealed_log import SealedLog, SealRefused, StoredSeal
from archiver.signer import Signer, public_key_text
from archiver.store import ObjectStore
from archiver.unsealed import AHEAD_MS, DAY_MS, TAIL_MS, Refused, Unsealed

# What one seal holds at most: it is read whole, by every reader; and what was checked for it is checked again if the
# sealer is stopped before it is written, as Lambda does after 15 minutes.
SEGMENTS_PER_SEAL: Final = 5_000
RECORDS_PER_SEAL: Final = 2_000_000
# Two machines that both keep their time well; and, while one of them makes a long pass, the other may seal.
_CLOCKS_DIFFER_MS: Final = 5 * 60_000
_PASS_TAKES_MS: Final = HOUR_MS
_RACES: Final = 20


@dataclass
class Sealing:
    """What became of one pass: names of the seals written (inside the trail), how many entries of each type, and the
    evidence that was not sealed because it failed its check. `head` is the log's newest checkpoint, as signed.
    """

    seals: list[str] = field(default_factory=list)
    entries: dict[str, int] = field(default_factory=dict)
    refused: tuple[Refused, ...] = ()
    head: SignedNote | None = None
    sealed_at_ms: int | None = None


@dataclass
class Sealer:
    """Seals one trail. A sealer may be used again: it remembers what it read of the log."""

    store: ObjectStore
    trail: Trail
    signer: Signer
    _log: SealedLog = field(init=False)

    def __post_init__(self) -> None:
        self._log = SealedLog(self.store, self.trail, self.signer.public_key)

    def seal(self, now_ms: int, *, sweep: bool = False, also: Sequence[LogEntry] = ()) -> Sealing:
        """Seals what is new up to `now_ms` (epoch ms): the tail, or with `sweep` everything that no seal names.

        `also` are acknowledgements and key rotations. Raises SealRefused for a log that cannot be continued,
        KeyRefused, StoreUnavailable or StoreRefused; whatever was sealed before that stays.
        """
        ours = public_key_text(self.signer.public_key)
        if any(isinstance(entry, KeyRotationEntry) and entry.public_key == ours for entry in also):
            raise SealRefused("the next key is the one that signs now", hint="name the public key that is to follow")
        done = Sealing()
        ahead_ms = _CLOCKS_DIFFER_MS
        for _ in range(_RACES):
            if self._pass(now_ms, done, ahead_ms=ahead_ms, sweep=sweep, also=also):
                return done
            ahead_ms = _PASS_TAKES_MS
        raise SealRefused(
            f"others keep sealing {origin_of(self.trail)}", hint="let one sealer do it; nothing is lost meanwhile"
        )

    def _pass(self, now_ms: int, done: Sealing, *, ahead_ms: int, sweep: bool, also: Sequence[LogEntry]) -> bool:
        """True if everything was sealed, False if somebody else extended the log meanwhile."""
        last = self._log.refresh()
        now_ms = _not_before(last, now_ms, ahead_ms, self.trail)
        since_ms = None if sweep or last is None else last.seal.interval.to_ms - TAIL_MS
        notices = self._log.notices()
        sealed = {entry.path for entry in notices if isinstance(entry, QuarantineEntry | BaselineEntry)}
        settled = {entry.path for entry in (*notices, *also) if isinstance(entry, AcknowledgeEntry)}
        found = Unsealed(self.store, self.trail, [Refused(*one) for one in self._log.foreign.items()])
        places = self._unsealed(found, since_ms, now_ms)
        first_ms = places[0].hour_ms if places else None
        checked = filter(None, map(found.segment, places))
        is_last = False
        while not is_last:
            segments = list(_portion(checked))
            is_last = len(segments) < SEGMENTS_PER_SEAL and _records(segments) < RECORDS_PER_SEAL
            opened = [entry for entry in notices if isinstance(entry, OpenEntry)]
            labels = {entry.stream_label for entry in segments}
            entries: list[LogEntry] = [*found.opened(labels, opened), *segments]
            if is_last:
                entries += [*found.quarantined(sealed), *found.baselines(sealed)]
                entries += [*_closed(notices, entries, now_ms), *_new(also, notices)]
            interval = self._interval(last, first_ms, now_ms, is_last=is_last, is_sweep=sweep)
            written = self._append(last, (*entries, interval))
            if written is None:
                return False
            last = written
            notices = self._log.notices()
            _count(done, written.seal)
        refused = dict.fromkeys(found.refused)  # descriptions are looked at before each of several seals
        done.refused = tuple(one for one in refused if one.name.removeprefix(self.trail.prefix) not in settled)
        return True

    def _unsealed(self, found: Unsealed, since_ms: int | None, now_ms: int) -> list[SegmentName]:
        """The segments of the tail that no seal names, by hour and name; and some that are announced again."""
        places = found.segments(since_ms, now_ms)
        # A segment is sealed less than two hours before its own hour, and the tail begins with a whole hour. What is
        # announced is sealed on the day of its marker or later, which begins at most 22 hours before the tail does.
        reach_ms = 2 * DAY_MS if found.announced else AHEAD_MS + 2 * HOUR_MS
        unnamed = self._log.unnamed(
            {place.compose() for place in places}, None if since_ms is None else since_ms - reach_ms
        )
        return sorted(place for place in places if place.compose() in unnamed)

    def _interval(
        self, last: StoredSeal | None, first_ms: int | None, now_ms: int, *, is_last: bool, is_sweep: bool
    ) -> IntervalEntry:
        reached_ms = last.seal.interval.to_ms if last else None
        from_ms = reached_ms if reached_ms is not None else min(first_ms, now_ms) if first_ms is not None else now_ms
        if is_sweep and first_ms is not None:
            from_ms = min(from_ms, first_ms)
        # Only the last of several seals has looked at everything: the ones before it claim no more time.
        to_ms = now_ms if is_last else reached_ms if reached_ms is not None else from_ms
        return IntervalEntry(from_ms, to_ms, now_ms, self._log.newest_notice())

    def _append(self, last: StoredSeal | None, entries: Sequence[LogEntry]) -> StoredSeal | None:
        """Extends the log by one seal; None if somebody else did."""
        before = last.seal.after if last else CompactRange()
        after = before
        for entry in entries:
            after = after.append(entry_leaf(entry))
        origin = origin_of(self.trail)
        text = Checkpoint(origin, after.size, after.root).text
        note = SignedNote(text, (self.signer.sign(origin, text),))
        seal = Seal(before.size, last.sha256 if last else None, tuple(entries), after, note)
        content, name = seal.compose(), self.trail.prefix + seal.name
        # Signed first, put last. A stop between the two leaves a signature that nobody has seen; a put whose answer was
        # lost finds its own bytes. Any other bytes there are another sealer's, and the log goes on from those.
        if not self.store.put_if_absent(name, content) and self.store.get(name) != content:
            return None
        return self._log.extended(seal, content)


def _portion(checked: Iterator[SegmentEntry]) -> Iterator[SegmentEntry]:
    """The next segments, as many as one seal takes."""
    records = 0
    for entry in islice(checked, SEGMENTS_PER_SEAL):
        yield entry
        records += entry.records
        if records >= RECORDS_PER_SEAL:
            return


def _records(segments: Sequence[SegmentEntry]) -> int:
    return sum(entry.records for entry in segments)


def _closed(notices: Sequence[LogEntry], entries: Sequence[LogEntry], now_ms: int) -> Iterator[CloseEntry]:
    """Labels of which nothing more is expected: a later one began over 26 hours ago."""
    labels = {entry.stream_label for entry in (*notices, *entries) if isinstance(entry, OpenEntry)}
    closed = {entry.stream_label for entry in notices if isinstance(entry, CloseEntry)}
    begun = [label for label in labels if label_time_ms(label) + TAIL_MS < now_ms]
    newest = max(begun, default="")
    yield from (CloseEntry(label) for label in sorted(labels - closed) if label < newest)


def _new(also: Sequence[LogEntry], notices: Sequence[LogEntry]) -> Iterator[LogEntry]:
    """What was asked for beside the evidence, unless the log says it already. A key may follow a second time."""
    yield from (entry for entry in also if isinstance(entry, KeyRotationEntry) or entry not in notices)


def _not_before(last: StoredSeal | None, now_ms: int, ahead_ms: int, trail: Trail) -> int:
    """The time of a new seal, never before that of the last. Raises SealRefused for a clock that is far behind."""
    sealed_at_ms = last.seal.interval.sealed_at_ms if last else now_ms
    if sealed_at_ms - now_ms > ahead_ms:
        raise SealRefused(
            f"the last seal of {origin_of(trail)} was made {(sealed_at_ms - now_ms) // 1000} s from now",
            hint="set this machine's clock, or find out who sealed with a wrong one: ddbtrail verify",
        )
    return max(now_ms, sealed_at_ms)


def _count(done: Sealing, seal: Seal) -> None:
    done.seals.append(seal.name)
    done.head, done.sealed_at_ms = seal.checkpoint, seal.interval.sealed_at_ms
    for entry in seal.entries:
        done.entries[entry.type] = done.entries.get(entry.type, 0) + 1
