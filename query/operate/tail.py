"""The end of a trail: its newest change, what is in quarantine, what is known of its streams. Little is read.

Hours are named by the time of the changes in them, so the newest change is in the newest hour: that hour is read, and
nothing before it.
"""

from collections.abc import Callable

from archiver.format.description import StreamDescription
from archiver.format.layout import ROOT, SegmentName, Trail, parse_stream_name
from archiver.format.seal import Seal, is_seal_name
from query.catalog import SegmentFile
from query.engine import Engine
from query.errors import CorruptSegment, QueryError
from query.operate.answers import Missing, Unknown
from query.operate.facts import Sealed, TrailFacts
from query.rows import Reader
from query.selection import Selection
from query.source import Source, StoredObject


def read_tail(open_archive: Callable[[], Source], trail: Trail) -> TrailFacts | Missing | Unknown:
    """What the archive says of a table now; Missing if it has nothing of it."""
    try:
        source = open_archive()
        folders = source.folders(f"{ROOT}/account={trail.account}/region={trail.region}/")
        if f"table_name={trail.table_name}" not in folders:
            return Missing(f"{source.url} has nothing of {trail.account}/{trail.region}/{trail.table_name} yet")
        return TrailFacts(
            key_schemas=_key_schemas(source, trail),
            newest_ms=_newest_ms(source, trail),
            quarantined=len(source.objects(f"{trail.prefix}quarantine/")),
            sealed=_sealed(source, trail),
        )
    except QueryError as error:
        return Unknown("; ".join(part for part in (error.message, error.why) if part))


def _sealed(source: Source, trail: Trail) -> Sealed | Unknown | None:
    """The newest seal. Its signature is not checked here: that needs a key that somebody has pinned."""
    listed = source.objects(f"{trail.prefix}seals/")
    seals = [one for one in listed if is_seal_name(one.name.removeprefix(trail.prefix))]
    if not seals:
        return None
    stored = max(seals, key=lambda one: one.name)
    (path,) = source.fetch([stored])
    try:
        seal = Seal.parse(path.read_bytes())
    except (ValueError, KeyError, TypeError) as error:
        return Unknown(f"{stored.name} is no seal: {error}")
    return Sealed(seal.after.size, seal.interval.sealed_at_ms)


def _newest_ms(source: Source, trail: Trail) -> int | None:
    segments = newest_hour(source, trail)
    if not segments:
        return None
    with Engine().ask() as question:
        reader = Reader(source, trail, Selection(segments))
        reader.read(question)
        return max(span.last_ms for span in reader.spans(question))


def newest_hour(source: Source, trail: Trail) -> tuple[SegmentFile, ...]:
    """The segments of the newest hour that has any."""
    for day in reversed(source.folders(f"{trail.prefix}segments/")):
        for hour in reversed(source.folders(f"{trail.prefix}segments/{day}/")):
            stored = source.objects(f"{trail.prefix}segments/{day}/{hour}/")
            if stored:
                return tuple(segment_file(trail, item) for item in stored)
    return ()


def segment_file(trail: Trail, stored: StoredObject) -> SegmentFile:
    """A listed object as a segment. Raises CorruptSegment for anything else: a partial answer is none."""
    try:
        return SegmentFile(SegmentName.parse(stored.name.removeprefix(trail.prefix)), stored)
    except ValueError as error:
        raise _misnamed(stored.name, error) from error


def _key_schemas(source: Source, trail: Trail) -> dict[str, tuple[tuple[str, str], ...]]:
    stored = source.objects(f"{trail.prefix}streams/")
    schemas = {}
    for item, path in zip(stored, source.fetch(stored), strict=True):
        try:
            label = parse_stream_name(item.name.removeprefix(trail.prefix))
            schemas[label] = StreamDescription.parse(path.read_bytes()).key_schema
        except (ValueError, KeyError, TypeError) as error:
            raise _misnamed(item.name, error) from error
    return schemas


def _misnamed(name: str, error: Exception) -> CorruptSegment:
    hint = "find out who wrote it; ddbtrail tables names all that does not belong"
    return CorruptSegment(f"{name} is not what its name says", why=str(error), hint=hint)
