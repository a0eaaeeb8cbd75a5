"""What exists: the evidence of one trail. Nothing is opened here but descriptions.

Invariants: what stands among the segments and is no segment is an error, never skipped: a partial answer is none; a
sealed segment that is missing stays in the list, so that a question which would have read it finds out.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Final, Self

from archiver.format.description import StreamDescription
from archiver.format.layout import (
    SegmentName,
    Trail,
    hour_folder,
    hour_of,
    parse_late_name,
)
from query.derived.live import LiveRun
from query.derived.tail import TAIL_MS
from query.descriptions import Baseline, Descriptions
from query.errors import CorruptSegment
from query.seal_log import SealMismatch
from query.sealed import WITHOUT_SEALS, Sealed
from query.source import Source, StoredObject

_LISTINGS: Final = 2
_TAIL_FOLDERS: Final = ("segments/", "late/")


@dataclass(frozen=True, slots=True)
class SegmentFile:
    """A segment: where it stands in its trail, the object that holds it, and what the log says of it.

    `is_sealed` is None in a trail without seals, or where nobody looked; `sha256` (hex) is the sealed digest;
    `is_missing`: the log names it, and the archive does not have it.
    """

    place: SegmentName
    stored: StoredObject
    is_sealed: bool | None = None
    sha256: str | None = None
    is_missing: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """What is known of one trail before any file of rows is read; segments in order of hour and name, without those
    whose rows are in `runs`.

    `sealed_to_ms` (epoch ms) is the end of what the newest seal looked at; None in a trail without seals, or where
    nobody looked.
    """

    trail: Trail
    segments: tuple[SegmentFile, ...]
    streams: dict[str, StreamDescription]
    baselines: tuple[Baseline, ...]
    sealed_to_ms: int | None = None
    runs: tuple[LiveRun, ...] = ()

    @classmethod
    def of(
        cls,
        source: Source,
        trail: Trail,
        sealed: Sealed | None = None,
        described: Descriptions | None = None,
        tail: "Tail | None" = None,
    ) -> Self:
        """Lists the trail's evidence beside what is sealed of it; `described` are descriptions that were read while
        the log was, and `tail` what was listed then, before them. Without a tail that reaches far enough all is listed
        now: a stream is described before it has a segment, so descriptions last.

        Raises CorruptSegment or UnreadableArchive for what does not belong, SealMismatch for descriptions that are not
        the sealed ones.
        """
        if tail and sealed and described and tail.reaches(sealed.to_ms) and described.has_all(sealed):
            segments = _segments_beside_runs(source, trail, sealed, tail.after(sealed.to_ms))
        else:
            segments = _segments(source, trail, sealed)
            described = Descriptions.read(source, trail, described)
        return cls(
            trail=trail,
            segments=segments,
            streams=described.streams(sealed),
            baselines=described.baselines(sealed),
            sealed_to_ms=None if sealed is None else sealed.to_ms,
            runs=() if sealed is None else sealed.runs,
        )


def segments_between(source: Source, trail: Trail, since_ms: int, until_ms: int) -> tuple[SegmentFile, ...]:
    """The segments whose hour overlaps a half-open range of `changed_at` (epoch ms)."""
    first = trail.prefix + hour_folder(since_ms)
    after_last = trail.prefix + hour_folder(until_ms + 3_600_000 - 1)
    listed = source.objects(f"{trail.prefix}segments/", start_after=first, stop_before=after_last)
    return tuple(_segment(trail, stored) for stored in listed)


def first_hour_ms(source: Source, trail: Trail) -> int | None:
    """The start of the first hour that has segments (epoch ms), told by folders alone; None without any.

    Raises CorruptSegment for a folder that is none of an hour.
    """
    segments = f"{trail.prefix}segments/"
    for day in source.folders(segments):
        for hour in source.folders(f"{segments}{day}/"):
            try:
                start = datetime.strptime(f"{day}/{hour}", "dt=%Y-%m-%d/hour=%H").replace(tzinfo=UTC)
            except ValueError as error:
                raise _foreign(f"{segments}{day}/{hour}/") from error
            return round(start.timestamp() * 1000)
    return None


@dataclass(frozen=True, slots=True)
class Tail:
    """Where segments can be that are not sealed: those of the last hours, and markers of ones that came late.

    `since_ms` (epoch ms) is the hour from which on all are listed.
    """

    trail: Trail
    since_ms: int
    segments: tuple[StoredObject, ...]
    late: tuple[StoredObject, ...]

    @classmethod
    def read(cls, source: Source, trail: Trail, sealed_to_ms: int) -> Self:
        """Lists what a log that looked until then (epoch ms) may not name yet. Raises UnreadableArchive."""
        since_ms = hour_of(sealed_to_ms - TAIL_MS)
        with ThreadPoolExecutor(_LISTINGS) as together:
            segments, late = (
                together.submit(source.objects, trail.prefix + folder, start_after=after)
                for folder, after in zip(_TAIL_FOLDERS, _tail_begins(trail, since_ms), strict=True)
            )
        return cls(trail, since_ms, tuple(segments.result()), tuple(late.result()))

    def reaches(self, sealed_to_ms: int) -> bool:
        """Whether it holds all that a log which looked until then (epoch ms) may not name."""
        return self.since_ms <= hour_of(sealed_to_ms - TAIL_MS)

    def after(self, sealed_to_ms: int) -> Self:
        """The same, as a log that looked further leaves it."""
        since_ms = hour_of(sealed_to_ms - TAIL_MS)
        segments, late = (
            tuple(stored for stored in listed if stored.name > begin)
            for listed, begin in zip((self.segments, self.late), _tail_begins(self.trail, since_ms), strict=True)
        )
        return replace(self, since_ms=since_ms, segments=segments, late=late)


def _tail_begins(trail: Trail, since_ms: int) -> tuple[str, str]:
    """After which names the tail is listed, by folder."""
    day = datetime.fromtimestamp(since_ms / 1000, UTC) - timedelta(days=1)
    return trail.prefix + hour_folder(since_ms), f"{trail.prefix}late/{day:%Y-%m-%d}/"


def _segments_beside_runs(source: Source, trail: Trail, sealed: Sealed, tail: Tail) -> tuple[SegmentFile, ...]:
    """What was sealed after the runs, as the log says, and what of the tail is not sealed."""
    prefix = trail.prefix
    found = {
        path: SegmentFile(SegmentName.parse(path), StoredObject(prefix + path, said.size_bytes or 0), True, said.sha256)
        for path, said in sealed.segments.items()
    }
    listed = list(tail.segments)
    announced = {segment for marker in tail.late if (segment := _announced(trail, marker)) is not None}
    known = {*found, *sealed.in_runs, *(stored.name.removeprefix(prefix) for stored in listed)}
    for path in sorted(announced - known):
        folder = prefix + path.rpartition("/")[0] + "/"
        listed += [stored for stored in source.objects(folder) if stored.name == prefix + path]
    for stored in listed:
        path = stored.name.removeprefix(prefix)
        if path not in sealed.in_runs and path not in found:
            found[path] = replace(_segment(trail, stored), is_sealed=False)
    return tuple(sorted(found.values(), key=lambda segment: segment.stored))


def _announced(trail: Trail, marker: StoredObject) -> str | None:
    """The segment that a late marker announces."""
    with suppress(ValueError):
        return parse_late_name(marker.name.removeprefix(trail.prefix))[1].compose()
    return None


def _segments(source: Source, trail: Trail, sealed: Sealed | None) -> tuple[SegmentFile, ...]:
    if sealed is not None and sealed.runs:
        return _segments_beside_runs(source, trail, sealed, Tail.read(source, trail, sealed.to_ms))
    listed = source.objects(f"{trail.prefix}segments/")
    found = [_segment(trail, stored, sealed) for stored in listed]
    if sealed is None or sum(segment.is_sealed is True for segment in found) == len(sealed.segments):
        return tuple(found)
    there = {stored.name.removeprefix(trail.prefix) for stored in listed}
    found += [_missing_segment(trail, path, sealed) for path in sealed.segments if path not in there]
    return tuple(sorted(found, key=lambda segment: segment.stored))


def _segment(trail: Trail, stored: StoredObject, sealed: Sealed | None = None) -> SegmentFile:
    path = stored.name.removeprefix(trail.prefix)
    try:
        place = SegmentName.parse(path)
    except ValueError as error:
        raise _foreign(stored.name) from error
    if sealed is None:
        return SegmentFile(place, stored)
    said = sealed.segments.get(path)
    return SegmentFile(place, stored, is_sealed=said is not None, sha256=said and said.sha256)


def _missing_segment(trail: Trail, path: str, sealed: Sealed) -> SegmentFile:
    said = sealed.segments[path]
    try:
        place = SegmentName.parse(path)
    except ValueError as error:
        raise SealMismatch(f"a seal of {trail.prefix} names no segment", why=str(error), hint=WITHOUT_SEALS) from error
    stored = StoredObject(trail.prefix + path, said.size_bytes or 0)
    return SegmentFile(place, stored, is_sealed=True, sha256=said.sha256, is_missing=True)


def _foreign(name: str) -> CorruptSegment:
    return CorruptSegment(
        f"{name} is not a segment",
        why="something foreign stands among the segments",
        hint="find out who wrote it and move it out of the archive; no answer is given while it stands there",
    )
