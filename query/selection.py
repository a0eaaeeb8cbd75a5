"""What of a trail's changes a question reads. Pure data."""

from dataclasses import dataclass

from query.catalog import SegmentFile
from query.derived.live import LiveRun


@dataclass(frozen=True, slots=True)
class Selection:
    """What of a trail's changes is read: whole runs, and segments beside them."""

    segments: tuple[SegmentFile, ...]
    runs: tuple[LiveRun, ...] = ()

    @property
    def size_bytes(self) -> int:
        sizes = [segment.stored.size_bytes for segment in self.segments]
        return sum(sizes) + sum(part.size_bytes for run in self.runs for part in run.parts)
