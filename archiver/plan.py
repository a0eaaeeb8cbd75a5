"""Change records to planned segments: which objects a batch becomes. Pure: no I/O, and the only clock is an argument.

Laws: the same records give the same names, whatever their order and however they were cut into batches; every distinct
record stands in exactly one planned segment; a segment holds one trail, one stream label and one hour.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from archiver.format.layout import HOUR_MS, SegmentName, StreamSource, hour_of, late_name
from archiver.format.merkle import tree_root
from archiver.format.record import ChangeRecord, row_order

# Readers look this far back for segments by listing hours; anything later announces itself (`docs/format.md`, late/).
LATE_AFTER_MS: Final = 24 * HOUR_MS


@dataclass(frozen=True, slots=True)
class PlannedSegment:
    """A segment to be written: its source, its place in the trail and its rows in order."""

    source: StreamSource
    place: SegmentName
    rows: tuple[ChangeRecord, ...]

    @property
    def name(self) -> str:
        """The object's name below the archive."""
        return self.source.trail.prefix + self.place.compose()

    def late_marker(self, now_ms: int) -> str | None:
        """The marker that must stand before the segment does, if its hour is over for more than 24 hours."""
        if now_ms - (self.place.hour_ms + HOUR_MS) <= LATE_AFTER_MS:
            return None
        return self.source.trail.prefix + late_name(now_ms, self.place)


def plan_segments(records: Iterable[ChangeRecord]) -> list[PlannedSegment]:
    """The segments of a batch, in order of name. A record delivered twice in one batch is kept once."""
    groups: dict[tuple[StreamSource, int], dict[bytes, ChangeRecord]] = {}
    group: dict[bytes, ChangeRecord] = {}
    source, hour_ms = None, -1
    for record in records:
        record_hour_ms = hour_of(record.changed_at_ms)
        if record.source is not source or record_hour_ms != hour_ms:  # neighbours mostly share a segment
            source, hour_ms = record.source, record_hour_ms
            group = groups.setdefault((source, hour_ms), {})
        group[record.leaf] = record
    return sorted(
        (_plan_segment(source, hour_ms, group.values()) for (source, hour_ms), group in groups.items()),
        key=lambda segment: segment.name,
    )


def _plan_segment(source: StreamSource, hour_ms: int, records: Iterable[ChangeRecord]) -> PlannedSegment:
    rows = tuple(sorted(records, key=row_order))
    root = tree_root([row.leaf for row in rows]).hex()
    return PlannedSegment(source, SegmentName(hour_ms, rows[0].sequence_number, root), rows)
