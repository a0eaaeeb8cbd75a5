"""Changes as they are archived. Nothing waits here: whoever asks decides when.

Invariants: a change is given once, by whichever segment brings it first; one that an earlier segment told of is not
given again, however late it is repeated. Both hold without remembering changes: all that tells of a change stands in
the segments of one hour, so a segment that is new is read beside the others of its hour.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from query.answer import Change
from query.catalog import SegmentFile
from query.conflicts import EVER, Conflict, find_conflicts
from query.history import ChangeRow, change_of
from query.selection import Selection

if TYPE_CHECKING:
    from query.table import Table


@dataclass(frozen=True, slots=True)
class Arrived:
    """What came since the last look, in order; items about which segments contradict each other are in `conflicts`."""

    changes: tuple[Change, ...] = ()
    conflicts: tuple[Conflict, ...] = ()


class Arrivals:
    """The segments of a trail that were seen; `open_table` gives the table from evidence alone, as it is then."""

    def __init__(self, table: "Table", open_table: "Callable[[], Table]") -> None:
        self._seen = {segment.stored.name for segment in table.evidence.segments}
        self._open_table = open_table

    def look(self) -> Arrived:
        """The changes that came since the last look. Raises as `Table.changes`."""
        table = self._open_table()
        segments = [segment for segment in table.evidence.segments if not segment.is_missing]
        fresh = [segment for segment in segments if segment.stored.name not in self._seen]
        if not fresh:
            return Arrived()
        hours = {segment.place.hour_ms for segment in fresh}
        arrived = _read(table, [segment for segment in segments if segment.place.hour_ms in hours], self._seen)
        # Only now: what could not be read this time is read the next.
        self._seen |= {segment.stored.name for segment in fresh}
        return arrived


def _read(table: "Table", segments: list[SegmentFile], seen: set[str]) -> Arrived:
    selection = Selection(tuple(segments))
    fresh = [number for number, segment in enumerate(segments) if segment.stored.name not in seen]
    tellers = table.reader.tellers(selection)
    with table.engine.ask() as question:
        table.reader.read_segments(question, segments)
        found = find_conflicts(question.rows("range_conflicts", EVER), tellers, table.redaction)
        told = {"fresh": fresh, "conflicting": [conflict.item_key for conflict in found]}
        rows = [row for batch in question.batches("arrived", told) for row in ChangeRow.all_of(batch)]
    is_new = {segments[number].stored.name for number in fresh}
    return Arrived(
        tuple(change_of(table.trail, row, tellers, table.attribution, table.redaction) for row in rows),
        tuple(conflict for conflict in found if is_new.intersection(conflict.segments)),
    )
