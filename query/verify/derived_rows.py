"""The rows of a run beside the evidence that it claims to hold, and by themselves.

Twice, by ways that share little: the segments are sorted and derived anew and compared with the parts row by row, as
Arrow reads them; and the parts are sorted back, as DuckDB reads them, and every segment's root is computed from them
alone. Invariants: bytes are digested before anything parses them; some rows are in memory at a time, what sorts them
spills.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc

from archiver.format.bulk_check import BulkCheck, Columns
from archiver.format.layout import SegmentName, StreamSource, Trail
from query.derived.columns import RUN_SCHEMA
from query.derived.description import RunDescription
from query.derived.index import PartIndex
from query.derived.lineage import Counted
from query.derived.members import Span
from query.derived.segment_table import SealedSegment
from query.engine import Engine, Question
from query.gate import EvidenceFile
from query.run_rows import read_sources, rows_in_order
from query.verify.derived_part import RUN, Differs, check_digest, rows_at_once, rows_of_part


@dataclass(frozen=True, slots=True)
class RunFiles:
    """A run on this machine: the segments that it was made of and their files, its description, its parts, and their
    items files and their indexes as they were stored, each in order.
    """

    trail: Trail
    segments: Sequence[SealedSegment]
    evidence: Sequence[EvidenceFile]
    run: RunDescription
    parts: Sequence[EvidenceFile]
    items: Sequence[EvidenceFile]
    indexes: Sequence[PartIndex]


def check_rows(new_engine: Callable[[], Engine], files: RunFiles) -> dict[str, Any]:
    """Compares the rows of a run with those of its segments; what they say of the run, as members of its description.

    Raises Differs; SealMismatch or CorruptSegment for evidence that is not what was sealed; EngineFailure.
    """
    for part, file in zip(files.run.parts, files.parts, strict=True):
        check_digest(part, file)
    if not files.segments:
        return {"spans": (), "repeats": 0, "contradictions": 0, "imageless": 0}  # and no rows: so says the log
    engine = new_engine()
    said = compare_with_segments(engine, files)
    check_roots(engine, files)
    return said


# --- row by row ---


def compare_with_segments(engine: Engine, files: RunFiles) -> dict[str, Any]:
    """Derives the rows of a run anew, and compares them with its parts; what they say of the run. Raises as
    `check_rows`.
    """
    with engine.ask() as question:
        read_sources(question, [], files.evidence, files.segments)
        spans = tuple(Span(*row) for row in question.rows("run_spans"))
        counted = Counted()
        expected = _Rows(counted.through(rows_in_order(question)))
        place = 0
        for number, file in enumerate(files.parts):
            part, index = files.run.parts[number], files.indexes[number]
            for table in rows_of_part(RUN, part, file, index, files.items[number], files.run.writer):
                start = 0
                while start < table.num_rows:
                    other = expected.take(table.num_rows - start)
                    if other is None:
                        raise Differs(file.name, f"row {place} of the run is in no segment")
                    mine = table.slice(start, other.num_rows)
                    if not mine.equals(other):
                        raise Differs(file.name, _difference(mine, other, place))
                    start, place = start + other.num_rows, place + other.num_rows
        if expected.take(1) is not None:
            name = files.parts[-1].name if files.parts else files.evidence[0].name
            raise Differs(name, f"the run ends after {place} rows, and its segments have more")
    of_rows = {name: getattr(counted, name) for name in ("repeats", "contradictions", "imageless")}
    return {"spans": spans, **of_rows}


class _Rows:
    """Rows of a run as they are derived, taken as many at a time as the other side has."""

    def __init__(self, tables: Iterable[pa.Table]) -> None:
        self._tables = iter(tables)
        self._here: pa.Table | None = None

    def take(self, most: int) -> pa.Table | None:
        """Some of the next rows; None at the end."""
        while self._here is None or not self._here.num_rows:
            table = next(self._tables, None)
            if table is None:
                return None
            self._here = table.select(RUN_SCHEMA.names).cast(RUN_SCHEMA)
        taken = self._here.slice(0, most)
        self._here = self._here.slice(taken.num_rows)
        return taken


def _difference(mine: pa.Table, other: pa.Table, place: int) -> str:
    """Where two tables of as many rows differ first: rows count from the beginning of the run."""
    names = [name for name in RUN_SCHEMA.names if not mine.column(name).equals(other.column(name))]
    row = next(
        row for row in range(mine.num_rows) if any(mine.column(name)[row] != other.column(name)[row] for name in names)
    )
    differ = [name for name in names if mine.column(name)[row] != other.column(name)[row]]
    return f"row {place + row} of the run is not what its segments say: {', '.join(differ)}"


# --- segment by segment ---


def check_roots(engine: Engine, files: RunFiles) -> None:
    """That the rows of a run, and nothing else, make the root of every segment that the log names. Raises Differs."""
    checks: dict[str, BulkCheck] = {}
    waiting = iter(files.segments)
    with engine.ask() as question:
        for number, batches in _by_segment(_sorted_back(question, files)):
            segment = next(waiting, None)
            if segment is None or segment.entry != number:
                raise Differs(files.parts[0].name, f"its run has rows of entry {number} where others should be")
            check = checks.setdefault(segment.stream_label, BulkCheck(StreamSource(files.trail, segment.stream_label)))
            name = files.trail.prefix + segment.path
            try:
                leaves = check.check(_columns(batches), SegmentName.parse(segment.path))
            except ValueError as error:
                raise Differs(files.parts[0].name, f"its rows of {name} do not make it: {error}") from error
            if len(leaves) != segment.records:
                told = f"the run has {len(leaves)} rows of {name}, the log says {segment.records}"
                raise Differs(files.parts[0].name, told)
    left = next(waiting, None)
    if left is not None:
        raise Differs(files.parts[0].name, f"its run has no row of {files.trail.prefix}{left.path}")


def _sorted_back(question: Question, files: RunFiles) -> Iterator[pa.RecordBatch]:
    question.check(files.parts, "run")
    question.set("run_files", [str(file.path) for file in files.parts])
    at_once = rows_at_once(sum(segment.bytes for segment in files.segments), files.run.rows)
    return question.batches("run_rows_by_segment", rows_at_once=at_once)


def _by_segment(batches: Iterable[pa.RecordBatch]) -> Iterator[tuple[int, list[pa.RecordBatch]]]:
    """The rows of each segment, some at a time, by the number of its entry."""
    here: int | None = None
    held: list[pa.RecordBatch] = []
    for batch in batches:
        start = 0
        for end in _ends(batch.column("segment")):
            number = batch.column("segment")[start].as_py()
            if number != here and here is not None:
                yield here, held
                held = []
            here = number
            held.append(batch.slice(start, end - start))
            start = end
    if here is not None:
        yield here, held


def _columns(batches: Iterable[pa.RecordBatch]) -> Iterator[Columns]:
    """The columns of a segment. Raises ValueError unless its rows are numbered from 0."""
    told = 0
    for batch in batches:
        if not batch.column("position").equals(pa.array(range(told, told + batch.num_rows), pa.int64())):
            raise ValueError(f"the positions of its rows from {told} on are others")
        told += batch.num_rows
        yield Columns.of(batch.select(Columns._fields))


def _ends(numbers: pa.Array) -> list[int]:
    """Where stretches of one number end."""
    if not len(numbers):
        return []
    changes = pc.indices_nonzero(pc.not_equal(numbers.slice(1), numbers.slice(0, len(numbers) - 1)))
    return [*(place + 1 for place in changes.to_pylist()), len(numbers)]
