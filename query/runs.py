"""Compaction: the sealed changes of a trail, rewritten in order of keys.

Invariants: a run is made of evidence whose digests are those that were sealed, or of smaller runs; it is live only when
its description stands, which is written last; nothing of the evidence is touched, and nothing derived is replaced. The
same log gives the same runs. Whoever is stopped anywhere leaves nothing that a reader takes for a run.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from archiver.format.layout import Trail, stream_name
from archiver.format.log_entry import BaselineEntry, KeyRotationEntry, OpenEntry, SegmentEntry
from archiver.format.seal import seal_name
from query.derived.columns import RUN_SCHEMA
from query.derived.description import RunDescription
from query.derived.levels import Piece, until_ms, wanted_runs
from query.derived.lineage import Counted
from query.derived.live import LiveRun, is_whole, live_runs, read_run, run_names
from query.derived.members import Digested, Part, Span
from query.derived.names import RUNS, RunName, segments_name
from query.derived.parts import WRITER, file_of, put_part, write_parts, write_table
from query.derived.segment_table import SealedSegment, read_segment_table, table_of
from query.derived.store import DerivedStore, put_whole
from query.engine import Engine
from query.gate import EvidenceFile
from query.rows import run_files
from query.run_rows import read_sources, rows_in_order
from query.scratch import Scratch
from query.seal_log import ReadSeal, SealMismatch, read_log
from query.sealed import missing
from query.source import Source, StoredObject


@dataclass(frozen=True, slots=True)
class MadeRun:
    """A run that was made: from how many runs and segments, how many rows, and bytes of parts and of all its files."""

    name: RunName
    runs: int
    segments: int
    rows: int
    part_bytes: int
    bytes: int


class Compactor:
    """Makes the runs of one trail. `derived` and `store` are the same place, to read and to write."""

    def __init__(self, source: Source, derived: Source, store: DerivedStore, trail: Trail, engine: Engine) -> None:
        self._source = source
        self._derived = derived
        self._store = store
        self._trail = trail
        self._engine = engine

    def compact(self, told: Callable[[MadeRun], None] | None = None) -> list[MadeRun]:
        """Makes the runs that are wanted by now; each is told as soon as it is live.

        Raises SealMismatch or CorruptSegment for evidence that is not what was sealed, UnreadableArchive,
        UnwritableStore, EngineFailure.
        """
        state = self.begin()
        made = []
        for pieces in wanted_runs(state.pieces()):
            run = self.make(state, pieces)
            state.add(run.live)
            made.append(run.made)
            if told is not None:
                told(run.made)
        return made

    def begin(self) -> "LogState":
        """What there is, after whatever cannot be read any more was taken back. Raises as `compact`."""
        self._mend()
        return LogState.of(self._source, self._derived, self._trail)

    def _mend(self) -> None:
        """Takes back what a run says of itself if it cannot be read, is of another log, or a file of it is gone or was
        cut: then it is made anew.
        """
        held = {one.name: one.size_bytes for one in self._store.held(self._trail.prefix + RUNS)}
        for name in run_names(self._derived, self._trail):
            description = self._trail.prefix + name.description
            run = read_run(self._derived, self._trail, name, anew=True) if description in held else None
            if description in held and not (run and is_whole(run, held) and self._is_of_this_log(run)):
                self._store.delete([description])

    def _is_of_this_log(self, run: LiveRun) -> bool:
        (seal,) = self._source.read([self._trail.prefix + run.description.seal.name], anew=True)
        return seal is not None and sha256(seal).hexdigest() == run.description.seal.sha256

    def make(self, state: "LogState", pieces: Sequence[Piece]) -> "Made":
        """One run of pieces that follow what is in runs already; it is not added to `state`. Raises as `compact`."""
        runs = [state.runs[piece.name] for piece in pieces if piece.is_run]
        seals = [state.seals[piece.name] for piece in pieces if not piece.is_run]
        before = state.before(pieces[0].name.start)
        fresh = [segment for seal in seals for segment in sealed_segments(seal)]
        name = RunName(pieces[0].name.start, pieces[-1].name.end)
        folder = self._trail.prefix + name.folder
        sealed_to_ms = seals[-1].seal.interval.to_ms if seals else runs[-1].description.sealed_to_ms
        with Scratch("compact") as work:
            written = self._write_rows(work.path, folder, runs, fresh)
            rows = sum(run.description.rows for run in runs) + sum(segment.records for segment in fresh)
            found = sum(part.rows for part in written.parts)
            if found != rows or sum(span.rows for span in written.spans) != rows:
                raise SealMismatch(
                    f"the segments of {folder} have {found} rows, their seals say {rows}",
                    why="digest-mismatch: what was sealed of them is not true",
                    hint="ddbtrail verify --full says which segment it is",
                )
            segments = self._segment_table(sealed_to_ms, before, runs, fresh)
            table_path = work.path / "segments.parquet"
            write_table(table_path, table_of(segments))
            table_path = table_path.rename(work.path / segments_name(file_of(table_path).sha256))
            table = file_of(table_path)
            put_whole(self._store, folder + table.name, table_path)
            known = runs[-1] if runs else before
            root, seal = (seals[-1].seal.after.root.hex(), digested(seals[-1])) if seals else _end(runs[-1])
            descriptions, handovers = notices(known, seals)
            description = RunDescription(
                name=name,
                root=root,
                seal=seal,
                previous_sha256=runs[0].description.previous_sha256 if runs else seals[0].seal.previous_sha256,
                rows=rows,
                repeats=written.repeats,
                contradictions=written.contradictions,
                imageless=written.imageless,
                spans=written.spans,
                parts=written.parts,
                segments=table,
                segment_count=len(segments),
                sealed_to_ms=sealed_to_ms,
                until_ms=pieces[-1].until_ms,
                descriptions=descriptions,
                handovers=handovers,
                writer=WRITER,
            )
            path = work.path / "run.json"
            path.write_bytes(description.compose())
            self._store.put_if_absent(self._trail.prefix + name.description, path)
        part_bytes = sum(part.file.bytes for part in description.parts)
        all_bytes = sum(file.bytes for file in description.files) + len(description.compose())
        made = MadeRun(name, len(runs), len(fresh), rows, part_bytes, all_bytes)
        return Made(LiveRun(folder, description), made)

    def _write_rows(
        self, work: Path, folder: str, runs: Sequence[LiveRun], fresh: Sequence[SealedSegment]
    ) -> "RowsOfRun":
        """The parts of a run of smaller ones and of segments, put into its folder as they become whole."""
        with self._engine.ask() as question:
            read_sources(question, run_files(self._derived, runs), self._segment_files(fresh), fresh)
            spans = tuple(Span(*row) for row in question.rows("run_spans"))
            counted = Counted()
            tables = counted.through(rows_in_order(question))
            parts = []
            with question.beside() as beside:
                for written in write_parts(work, tables, RUN_SCHEMA, "run", beside.item_digests, with_index=True):
                    put_part(self._store, folder, written)
                    parts.append(written.part)
        return RowsOfRun(tuple(parts), spans, counted.repeats, counted.contradictions, counted.imageless)

    def _segment_files(self, segments: Sequence[SealedSegment]) -> list[EvidenceFile]:
        stored = [StoredObject(self._trail.prefix + segment.path, segment.bytes) for segment in segments]
        try:
            paths = self._source.fetch(stored)
        except FileNotFoundError as error:
            raise missing([str(error)]) from error
        return [
            EvidenceFile(path, one.name, sha256=segment.file_sha256, is_sealed=True)
            for path, one, segment in zip(paths, stored, segments, strict=True)
        ]

    def _segment_table(
        self,
        sealed_to_ms: int,
        before: LiveRun | None,
        runs: Sequence[LiveRun],
        fresh: Sequence[SealedSegment],
    ) -> list[SealedSegment]:
        recent = () if before is None else read_segment_table(self._derived, before)
        own = [
            segment
            for run in runs
            for segment in read_segment_table(self._derived, run)
            if segment.entry >= run.name.start
        ]
        kept = [segment for segment in recent if segment.is_recent(sealed_to_ms)]
        return [*kept, *own, *fresh]


@dataclass(frozen=True, slots=True)
class RowsOfRun:
    """The parts of a run, which are in their place, and what its description says of its rows."""

    parts: tuple[Part, ...]
    spans: tuple[Span, ...]
    repeats: int
    contradictions: int
    imageless: int


@dataclass(frozen=True, slots=True)
class Made:
    """A run that is live, and what it was made of."""

    live: LiveRun
    made: MadeRun


@dataclass
class LogState:
    """What there is: runs from the beginning of the log, then seals that no run covers; by the entries they cover."""

    runs: dict[RunName, LiveRun]
    seals: dict[RunName, ReadSeal]
    _made: dict[int, LiveRun]

    @classmethod
    def of(cls, source: Source, derived: Source, trail: Trail) -> "LogState":
        runs = live_runs(derived, trail, anew=True)
        since = None
        if runs:
            seal = runs[-1].description.seal
            since = seal.name, seal.sha256
        log = read_log(source, trail, since=since)
        seals = {RunName(one.seal.size_before, one.seal.after.size): one for one in log.read}
        return cls({run.name: run for run in runs}, seals, {run.name.end: run for run in runs})

    def pieces(self) -> list[Piece]:
        """The same as stretches of the log, in order."""
        pieces = [Piece(name, run.description.until_ms, is_run=True) for name, run in self.runs.items()]
        for name, one in self.seals.items():
            before_ms = pieces[-1].until_ms if pieces else 0
            pieces.append(Piece(name, until_ms(one.seal, before_ms), is_run=False))
        return pieces

    def before(self, start: int) -> LiveRun | None:
        """The run that ends where another one is to begin; None at the beginning of the log."""
        return self._made[start] if start else None

    def add(self, run: LiveRun) -> None:
        """Goes on from a run that was made."""
        self._made[run.name.end] = run

    @property
    def reached(self) -> int:
        """How many entries of the log are in runs."""
        return max(self._made, default=0)

    def is_reached(self, start: int) -> bool:
        """Whether a run may begin there: at the beginning of the log, or where another one ends."""
        return start == 0 or start in self._made


def sealed_segments(one: ReadSeal) -> Iterator[SealedSegment]:
    """The segments that a seal names."""
    for number, entry in enumerate(one.seal.entries, one.seal.size_before):
        if isinstance(entry, SegmentEntry):
            yield SealedSegment.of(number, entry, one.seal.interval.sealed_at_ms)


def digested(one: ReadSeal) -> Digested:
    """A seal as a run names it."""
    return Digested(seal_name(one.seal.size_before), one.sha256)


def _end(run: LiveRun) -> tuple[str, Digested]:
    return run.description.root, run.description.seal


def notices(known: LiveRun | None, seals: Sequence[ReadSeal]) -> tuple[tuple[Digested, ...], tuple[str, ...]]:
    """What is sealed of streams and baselines, and the seals that name another key, from the beginning of the log."""
    described = {} if known is None else {one.name: one for one in known.description.descriptions}
    handovers = [] if known is None else list(known.description.handovers)
    for one in seals:
        for entry in one.seal.entries:
            if isinstance(entry, OpenEntry) and entry.description_sha256 is not None:
                name = stream_name(entry.stream_label)
                described.setdefault(name, Digested(name, entry.description_sha256))
            elif isinstance(entry, BaselineEntry):
                described.setdefault(entry.path, Digested(entry.path, entry.file_sha256))
            elif isinstance(entry, KeyRotationEntry):
                handovers.append(one.seal.name)
    return tuple(described.values()), tuple(handovers)
