"""Which segment tells of a row: from the number that rows bear to the segment's name, and whether it is sealed.

Rows of segments bear the place of their file among those that a question reads. Rows of runs bear, below zero, the
number of the segment's entry in the log; what it is called stands in a table beside the run, which is read only where
a name is asked for, or, where that is gone by then, in the seal with that entry.
"""

from collections.abc import Sequence

from archiver.format.layout import Trail
from archiver.format.log_entry import SegmentEntry
from archiver.format.seal import Seal, seal_name
from query.catalog import SegmentFile
from query.derived.live import LiveRun
from query.errors import DerivedGone
from query.seal_log import SealMismatch
from query.source import Source


class Tellers:
    """The segments that a question's rows may come from."""

    def __init__(
        self,
        trail: Trail,
        segments: Sequence[SegmentFile],
        runs: Sequence[LiveRun] = (),
        *,
        source: Source | None = None,
        derived: Source | None = None,
    ) -> None:
        self._trail = trail
        self._source = source
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
        try:
            told = {segment.entry: segment.path for segment in read_segment_table(self._derived, run)}
        except DerivedGone:
            told = self._told_by_seal(entry)
        self._names |= {number: self._trail.prefix + path for number, path in told.items()}

    def _told_by_seal(self, entry: int) -> dict[int, str]:
        """What the seal with an entry says of its segments. Raises SealMismatch, UnreadableArchive."""
        assert self._source is not None
        prefix = self._trail.prefix
        listed = self._source.objects(f"{prefix}seals/", stop_before=prefix + seal_name(entry + 1))
        contents = self._source.read([one.name for one in listed[-1:]], anew=True)
        try:
            seal = Seal.parse(contents[0] or b"")
            entries = dict(enumerate(seal.entries, seal.size_before))
            return {number: one.path for number, one in entries.items() if isinstance(one, SegmentEntry)}
        except (IndexError, ValueError, TypeError, KeyError) as error:
            raise SealMismatch(
                f"no seal of {prefix} tells which segment entry {entry} is",
                why=str(error),
                hint="ddbtrail verify says what is wrong with the log",
            ) from error
