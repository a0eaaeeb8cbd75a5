"""Which segment tells of a row: from the number that rows bear to the segment's name, and whether it is sealed.

Rows of segments bear the place of their file among those that a question reads. Rows of runs bear, below zero, the
number of the segment's entry in the log; what it is called stands in a table beside the run, which is read only where
a name is asked for.
"""

from collections.abc import Sequence

from archiver.format.layout import Trail
from query.catalog import SegmentFile
from query.derived.live import LiveRun
from query.source import Source


class Tellers:
    """The segments that a question's rows may come from."""

    def __init__(
        self, trail: Trail, segments: Sequence[SegmentFile], runs: Sequence[LiveRun] = (), derived: Source | None = None
    ) -> None:
        self._trail = trail
        self._segments = segments
        self._runs = runs
        self._derived = derived
        self._names: dict[int, str] = {}

    def __getitem__(self, told_by: int) -> str:
        """The full name of a segment."""
        if told_by >= 0:
            return self._segments[told_by].stored.name
        entry = -1 - told_by
        if entry not in self._names:
            self._learn(entry)
        return self._names[entry]

    def is_sealed(self, told_by: int) -> bool | None:
        """Whether it is sealed; None in a trail without seals. A run is made of what is sealed."""
        return True if told_by < 0 else self._segments[told_by].is_sealed

    def _learn(self, entry: int) -> None:
        from query.derived.segment_table import read_segment_table  # noqa: PLC0415  Arrow takes its time

        run = next(run for run in self._runs if run.name.start <= entry < run.name.end)
        assert self._derived is not None
        self._names |= {
            segment.entry: self._trail.prefix + segment.path for segment in read_segment_table(self._derived, run)
        }
