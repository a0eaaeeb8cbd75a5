"""Compaction within the memory, disk and time of one call of a function.

Invariant: a run is begun only if what there is is enough for it (`query.derived.outgrown`), and what is too large is
told each time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from archiver.format.layout import Trail
from query.compaction_report import report_refused, report_run
from query.derived.levels import Piece, wanted_runs
from query.derived.outgrown import Room, Work, need_of, smaller_runs
from query.derived.store import DerivedStore
from query.engine import Engine
from query.errors import EngineFailure
from query.runs import Compactor, LogState, MadeRun, sealed_segments
from query.source import Source

# How DuckDB, and the system below it, say that memory or disk is full.
_OUTGROWN: Final = ("Out of Memory", "No space left")


@dataclass
class Compaction:
    """What became of one trail in one call."""

    trail: Trail
    made: list[MadeRun] = field(default_factory=list)
    refused: int = 0
    later: int = 0
    deleted: int = 0
    waiting_since_ms: int | None = None
    is_known: bool = False

    @property
    def counts(self) -> dict[str, int]:
        return {
            "runs": len(self.made),
            "rows": sum(run.rows for run in self.made),
            "refused": self.refused,
            "later": self.later,
            "deleted": self.deleted,
        }


class BoundedCompactor(Compactor):
    """A compactor that begins no run which it could not end, within `room` and while `is_time_for` says so."""

    def __init__(
        self,
        source: Source,
        derived: Source,
        store: DerivedStore,
        trail: Trail,
        room: Room,
        is_time_for: Callable[[float], bool],
    ) -> None:
        threads = max(1, round(room.cores))
        engine = Engine(memory_limit=f"{room.sort_bytes // 1_000_000}MB", threads=threads)
        super().__init__(source, derived, store, trail, engine)
        self._room = room
        self._is_time_for = is_time_for

    def compact_within(self, compaction: Compaction) -> None:
        """Makes the runs that are wanted, the oldest first, and notes in `compaction` what became of it.

        What is too large is told, and made in smaller runs; what the time is not enough for is left to the next call,
        with what would stand on it. Raises as `compact`.
        """
        state = self.begin()
        wanted = wanted_runs(state.pieces())
        _note_waiting(compaction, state, wanted)
        for pieces in wanted:
            self._make_fitting(state, pieces, compaction, is_wanted=True)
            _note_waiting(compaction, state, wanted)

    def _make_fitting(
        self, state: LogState, pieces: Sequence[Piece], compaction: Compaction, *, is_wanted: bool
    ) -> None:
        if not state.is_reached(pieces[0].name.start):
            compaction.later += 1
            return
        work = _work(state, pieces)
        need = need_of(work, self._room.cores)
        why = need.exceeds(self._room)
        if why is None and not self._is_time_for(need.seconds):
            compaction.later += 1
            return
        if why is None:
            why = self._made_or_why_not(state, pieces, compaction)
        if why is None:
            return
        smaller = smaller_runs(pieces)
        if is_wanted or len(pieces) == 1:
            compaction.refused += 1
            report_refused(self._trail, pieces, work, why)
        for some in smaller:
            self._make_fitting(state, some, compaction, is_wanted=False)

    def _made_or_why_not(self, state: LogState, pieces: Sequence[Piece], compaction: Compaction) -> str | None:
        """None where a run was made of these pieces; else how the engine says that it has outgrown this place."""
        try:
            made = self.make(state, pieces)
        except EngineFailure as error:
            if not any(words in error.why for words in _OUTGROWN):
                raise
            return f"the estimate was too low: {error.why}"
        state.add(made.live)
        compaction.made.append(made.made)
        report_run(self._trail, made.made)
        return None


def _work(state: LogState, pieces: Sequence[Piece]) -> Work:
    """What a run of these pieces is made of."""
    parts = [part for piece in pieces if piece.is_run for part in state.runs[piece.name].description.parts]
    segments = [segment for piece in pieces if not piece.is_run for segment in sealed_segments(state.seals[piece.name])]
    return Work(
        rows=sum(part.rows for part in parts) + sum(segment.records for segment in segments),
        objects=len(parts) + len(segments),
        bytes=sum(part.file.bytes for part in parts) + sum(segment.bytes for segment in segments),
    )


def _note_waiting(compaction: Compaction, state: LogState, wanted: Sequence[Sequence[Piece]]) -> None:
    """Since when the oldest seal waits that should be in a run and is in none."""
    waiting = [piece for run in wanted for piece in run if not piece.is_run and piece.name.start >= state.reached]
    since = min((state.seals[piece.name].seal.interval.sealed_at_ms for piece in waiting), default=None)
    compaction.waiting_since_ms, compaction.is_known = since, True
