"""What exists: the evidence of one trail. Nothing is opened here but descriptions.

Invariants: what stands among the segments and is no segment is an error, never skipped: a partial answer is none; a
sealed description is parsed only after its digest matched; a sealed segment that is missing stays in the list, so that
a question which would have read it finds out.
"""

from collections.abc import Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Final, Self

from archiver.format.description import BaselineDescription, StreamDescription
from archiver.format.layout import (
    BaselineName,
    SegmentName,
    StreamSource,
    Trail,
    hour_folder,
    hour_of,
    parse_late_name,
    parse_stream_name,
)
from query.derived.live import LiveRun
from query.derived.tail import TAIL_MS
from query.errors import CorruptSegment, UnreadableArchive
from query.seal_log import SealMismatch
from query.sealed import WITHOUT_SEALS, Sealed, check_sealed, missing
from query.source import Source, StoredObject

_LISTINGS: Final = 3


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
class Baseline:
    """A baseline's description and its parts as objects. `is_sealed` is as of segments."""

    name: BaselineName
    description: BaselineDescription
    parts: tuple[StoredObject, ...]
    is_sealed: bool | None = None


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
    def of(cls, source: Source, trail: Trail, sealed: Sealed | None = None) -> Self:
        """Lists the trail's evidence beside what is sealed of it.

        Raises CorruptSegment or UnreadableArchive for what does not belong, SealMismatch for descriptions that are not
        the sealed ones.
        """
        with ThreadPoolExecutor(_LISTINGS) as together:  # each waits for answers of its own
            segments = together.submit(_segments, source, trail, sealed)
            streams = together.submit(_streams, source, trail, sealed)
            baselines = together.submit(_baselines, source, trail, sealed)
        return cls(
            trail=trail,
            segments=segments.result(),
            streams=streams.result(),
            baselines=baselines.result(),
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


def _segments_beside_runs(source: Source, trail: Trail, sealed: Sealed) -> tuple[SegmentFile, ...]:
    """What was sealed after the runs, as the log says, and the tail: what is not sealed, by listing where it can be."""
    prefix, since_ms = trail.prefix, hour_of(sealed.to_ms - TAIL_MS)
    found = {
        path: SegmentFile(SegmentName.parse(path), StoredObject(prefix + path, said.size_bytes or 0), True, said.sha256)
        for path, said in sealed.segments.items()
    }
    day = datetime.fromtimestamp(since_ms / 1000, UTC) - timedelta(days=1)
    with ThreadPoolExecutor(_LISTINGS) as together:
        tail = together.submit(source.objects, f"{prefix}segments/", start_after=prefix + hour_folder(since_ms))
        late = together.submit(source.objects, f"{prefix}late/", start_after=f"{prefix}late/{day:%Y-%m-%d}/")
    listed, markers = tail.result(), late.result()
    announced = {segment for marker in markers if (segment := _announced(trail, marker)) is not None}
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
        return _segments_beside_runs(source, trail, sealed)
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


def _check_descriptions(trail: Trail, folder: str, there: Collection[str], sealed: Sealed | None) -> None:
    """Raises SealedObjectMissing for sealed descriptions of a folder that are not there: every answer rests on them."""
    named = () if sealed is None else (trail.prefix + path for path in sealed.descriptions if path.startswith(folder))
    gone = sorted(name for name in named if name not in there)
    if gone:
        raise missing(gone)


def _description(trail: Trail, name: str, path: Path, sealed: Sealed | None) -> bytes:
    """The bytes of a description, after its digest matched, if it is sealed."""
    content = path.read_bytes()
    said = None if sealed is None else sealed.descriptions.get(name.removeprefix(trail.prefix))
    if said is not None:
        check_sealed(name, sha256(content).hexdigest(), said.sha256)
    return content


def _streams(source: Source, trail: Trail, sealed: Sealed | None) -> dict[str, StreamDescription]:
    stored = source.objects(f"{trail.prefix}streams/")
    _check_descriptions(trail, "streams/", {item.name for item in stored}, sealed)
    described = {}
    for item, path in zip(stored, source.fetch(stored), strict=True):
        content = _description(trail, item.name, path, sealed)
        try:
            label = parse_stream_name(item.name.removeprefix(trail.prefix))
            description = StreamDescription.parse(content)
            if StreamSource.parse(description.stream_arn) != StreamSource(trail, label):
                raise ValueError(f"it describes {description.stream_arn}")  # noqa: TRY301  told like what the parser refuses
            described[label] = description
        except (ValueError, KeyError, TypeError) as error:
            raise _not_a_description(item.name, error) from error
    return described


def _baselines(source: Source, trail: Trail, sealed: Sealed | None) -> tuple[Baseline, ...]:
    stored = {item.name: item for item in source.objects(f"{trail.prefix}baselines/")}
    _check_descriptions(trail, "baselines/", stored, sealed)
    described = [item for name, item in stored.items() if name.endswith("/baseline.json")]
    return tuple(
        _baseline(trail, stored, item, _description(trail, item.name, path, sealed), sealed)
        for item, path in zip(described, source.fetch(described), strict=True)
    )


def _baseline(
    trail: Trail, stored: dict[str, StoredObject], item: StoredObject, content: bytes, sealed: Sealed | None
) -> Baseline:
    inside = item.name.removeprefix(trail.prefix)
    try:
        name = BaselineName.parse(inside)
        description = BaselineDescription.parse(content)
    except (ValueError, KeyError, TypeError) as error:
        raise _not_a_description(item.name, error) from error
    parts = []
    for part in description.parts:
        part_name = f"{trail.prefix}{name.folder}{part.name}"
        if part_name not in stored or stored[part_name].size_bytes != part.bytes:
            raise UnreadableArchive(
                f"{part_name} is missing or has another size than its baseline says",
                why="the baseline cannot be used in part",
                hint="restore the object from the bucket's versions",
            )
        parts.append(stored[part_name])
    return Baseline(
        name, description, tuple(parts), is_sealed=None if sealed is None else inside in sealed.descriptions
    )


def _not_a_description(name: str, error: Exception) -> UnreadableArchive:
    return UnreadableArchive(
        f"{name} is not what its name says", why=str(error), hint="restore the object from the bucket's versions"
    )
