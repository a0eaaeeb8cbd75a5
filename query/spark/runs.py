"""Runs made by Spark: rows are sorted by as many machines as there are, and no row is brought to the driver.

Invariants: those of `query.runs`, whose log, order of effects and description these are; every item lies in one range
of keys, so what its rows say of each other is found by the task that writes them; a part that is put has the digest
that the description states, also where a task had to be done again.
"""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
from pyspark import StorageLevel, TaskContext
from pyspark.sql import DataFrame, SparkSession
from pyspark.sql.functions import asc_nulls_first

from archiver.format.layout import Trail
from query.derived.columns import RUN_SCHEMA
from query.derived.key_range import KeyRange, RowKey
from query.derived.lineage import Counted, gathered, with_lineage
from query.derived.live import LiveRun
from query.derived.members import File, Part, Span
from query.derived.names import index_name, items_name, part_name
from query.derived.parts import WrittenPart, write_parts
from query.derived.segment_table import SealedSegment
from query.derived.store import open_derived, put_whole
from query.engine import Engine
from query.gate import Kind
from query.run_rows import read_unhinted
from query.runs import Compactor, RowsOfRun
from query.scratch import Scratch
from query.seal_log import SealMismatch
from query.source import Source, StoredObject
from query.spark.answers import ask
from query.spark.files import TIME, Place, RowFile, local_files, mapped, plain_rows, read_files, refusals

# Of what is stored: one range of keys, which becomes two parts or more.
RANGE_BYTES: Final = 256_000_000
_TASK_MEMORY: Final = "1GB"  # of the engine that derives which attributes a change changed
_ROWS_AT_ONCE: Final = 1 << 11
_CHUNK_BYTES: Final = 4 << 20
_ORDER: Final = ("pk", "sk", "item_key", "stream_label", "sequence_number", "segment", "position")
_RANGES: Final = _ORDER[:3]
# What follows from the rows around a row is found when all are in order.
_OF_NEIGHBOURS: Final = {"preceded_at", "effective_at", "superseded_at", "repeats"}
_UNORDERED: Final = pa.schema(
    [
        pa.field(column.name, TIME if pa.types.is_timestamp(column.type) else column.type)
        for column in RUN_SCHEMA
        if column.name not in _OF_NEIGHBOURS
    ]
)
_KINDS: Final = ("part", "items", "index")  # the files of a part
_WRITTEN: Final = pa.schema(
    [
        pa.field("range", pa.int64()),
        pa.field("part", pa.int64()),
        pa.field("kind", pa.string()),  # one of `_KINDS`, or `told`, which has no content
        pa.field("content", pa.binary()),
        pa.field("told", pa.string()),
    ]
)
_PUT: Final = pa.schema([pa.field("name", pa.string())])


class SparkCompactor(Compactor):
    """Makes the runs of one trail, as `Compactor` does, its rows by Spark."""

    def __init__(
        self,
        session: SparkSession,
        archive: Place,
        derived: Place,
        trail: Trail,
        *,
        range_bytes: int = RANGE_BYTES,
    ) -> None:
        store = open_derived(derived.url, derived.access)
        store.prepare()
        super().__init__(archive.open(), derived.open(), store, trail, Engine(threads=1))
        self._session = session
        self._places: dict[Kind, Place] = {"segment": archive, "run": derived}
        self._range_bytes = range_bytes

    def _write_rows(
        self,
        work: Path,  # noqa: ARG002  tasks have folders of their own
        folder: str,
        runs: Sequence[LiveRun],
        fresh: Sequence[SealedSegment],
    ) -> RowsOfRun:
        segments = [_segment_file(self._trail, segment) for segment in fresh]
        parts = [
            RowFile(stored, sha256=part.file.sha256)
            for run in runs
            for stored, part in zip(run.parts, run.description.parts, strict=True)
        ]
        size = sum(file.stored.size_bytes for file in (*segments, *parts))
        if not size:
            return RowsOfRun((), (), 0, 0, 0)
        unordered = self._rows("segment", segments).unionAll(self._rows("run", parts)).persist(StorageLevel.DISK_ONLY)
        with refusals():
            spans, hinted = self._hinted(unordered)
            ranges = -(-size // self._range_bytes)
            written = written_parts(hinted, ranges).persist(StorageLevel.DISK_ONLY)
            found = self._put(folder, written)
        written.unpersist()
        unordered.unpersist()
        return RowsOfRun(found[0], spans, *found[1])

    def _rows(self, kind: Kind, files: Sequence[RowFile]) -> DataFrame:
        def work(source: Source, some: Sequence[RowFile]) -> Iterator[pa.RecordBatch]:
            with Engine(memory_limit=_TASK_MEMORY, threads=1).ask() as question:
                found = local_files(source, some)
                of_kind = (found, [], []) if kind == "run" else ([], found, [file.number for file in some])
                read_unhinted(question, *of_kind)
                for batch in question.batches("run_rows_unhinted", rows_at_once=_ROWS_AT_ONCE):
                    yield batch.select(_UNORDERED.names).cast(_UNORDERED)

        return read_files(self._session, self._places[kind], files, _UNORDERED, work)

    def _hinted(self, unordered: DataFrame) -> tuple[tuple[Span, ...], DataFrame]:
        """What there is of each stream label, and the rows with all key text that is known of their items."""
        told = plain_rows(ask(self._session, "run_spans", {"unordered": unordered}))
        has_missing = [row.pop("without_pk") for row in told]
        spans = tuple(Span(**row) for row in told)
        if not any(has_missing):
            return spans, unordered
        return spans, ask(self._session, "run_rows_hinted", {"unordered": unordered}).select(*_UNORDERED.names)

    def _put(self, folder: str, written: DataFrame) -> tuple[tuple[Part, ...], tuple[int, int, int]]:
        """Puts what the tasks have written under its names, and says what it is."""
        told = plain_rows(written.where("kind = 'told'").select("range", "part", "told").orderBy("range", "part"))
        said = [(row["range"], row["part"], json.loads(row["told"])) for row in told]
        counts = [one["counts"] for *_, one in said if "counts" in one]
        parts = {(number, part): one for number, part, one in said if "counts" not in one}
        described = [_part(number, one) for number, one in enumerate(parts.values())]
        names = {place: _names(part) for place, part in zip(parts, described, strict=True)}
        put = mapped(written.where("kind <> 'told'"), _putting(self._places["run"], folder, names), _PUT)
        found = {row["name"] for row in plain_rows(put)}
        expected = {name for names_of_part in names.values() for name, _ in names_of_part.values()}
        assert found == expected, "a part that was told of was not put"
        repeats, contradictions, imageless = (sum(column) for column in zip(*counts, strict=True))
        return tuple(described), (repeats, contradictions, imageless)


def written_parts(rows: DataFrame, ranges: int) -> DataFrame:
    """The rows in the order of a run, as the bytes of its parts and indexes, range of keys after range: what tasks
    made, not yet put, since the number of a part is known only when all before it are there.
    """
    in_ranges = rows.repartitionByRange(ranges, *map(asc_nulls_first, _RANGES))
    in_order = in_ranges.sortWithinPartitions(*map(asc_nulls_first, _ORDER))
    return mapped(in_order, _write, _WRITTEN)


def _write(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    context = TaskContext.get()
    assert context is not None
    number, part = context.partitionId(), 0
    counted = Counted()
    with Scratch("compact") as work, Engine(memory_limit=_TASK_MEMORY, threads=1).ask() as digesting:
        tables = counted.through(with_lineage(gathered(batches)))
        parts = write_parts(work.path, tables, RUN_SCHEMA, "run", digesting.item_digests, with_index=True)
        for part, written in enumerate(parts, 1):
            for kind, path in zip(_KINDS, written.paths, strict=True):
                yield from _chunks(number, part, kind, path)
                path.unlink()
            yield _told(number, part, _members(written))
    counts = [counted.repeats, counted.contradictions, counted.imageless]
    yield _told(number, part + 1, {"counts": counts})


def _chunks(number: int, part: int, kind: str, path: Path) -> Iterator[pa.RecordBatch]:
    with path.open("rb") as file:
        while content := file.read(_CHUNK_BYTES):
            yield _row(number, part, kind, content, None)


def _told(number: int, part: int, members: Mapping[str, Any]) -> pa.RecordBatch:
    return _row(number, part, "told", None, json.dumps(members))


def _row(number: int, part: int, kind: str, content: bytes | None, told: str | None) -> pa.RecordBatch:
    return pa.RecordBatch.from_arrays(
        [
            pa.array([value], field.type)
            for value, field in zip((number, part, kind, content, told), _WRITTEN, strict=True)
        ],
        schema=_WRITTEN,
    )


def _members(written: WrittenPart) -> dict[str, Any]:
    part = written.part
    assert part.index is not None
    return {
        "bytes": part.file.bytes,
        "sha256": part.file.sha256,
        "items_bytes": part.items.bytes,
        "items_sha256": part.items.sha256,
        "index_bytes": part.index.bytes,
        "index_sha256": part.index.sha256,
        "rows": part.rows,
        "first": part.keys.first.members(),
        "last": part.keys.last.members(),
    }


def _part(number: int, members: Mapping[str, Any]) -> Part:
    """A part under the number that it has in the run."""
    name = part_name(number, members["sha256"])
    return Part(
        file=File(name, members["bytes"], members["sha256"]),
        items=File(items_name(name), members["items_bytes"], members["items_sha256"]),
        index=File(index_name(name), members["index_bytes"], members["index_sha256"]),
        rows=members["rows"],
        keys=KeyRange(RowKey.of(members["first"]), RowKey.of(members["last"])),
    )


def _names(part: Part) -> dict[str, tuple[str, str]]:
    """The names under which the files of a part are put, and their digests (hex)."""
    return {kind: (file.name, file.sha256) for kind, file in zip(_KINDS, part.files, strict=True)}


def _putting(derived: Place, folder: str, names: Mapping[tuple[int, int], Mapping[str, tuple[str, str]]]) -> Any:
    def put(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        store = open_derived(derived.url, derived.access)
        rows = (row for batch in batches for row in batch.to_pylist())
        for (number, part, kind), chunks in groupby(rows, lambda row: (row["range"], row["part"], row["kind"])):
            name, digest = names[number, part][kind]
            with Scratch("compact") as work:
                path = work.path / name
                _join(path, (row["content"] for row in chunks), digest)
                put_whole(store, folder + name, path)
            yield pa.RecordBatch.from_pylist([{"name": name}], schema=_PUT)

    return put


def _join(path: Path, chunks: Iterable[bytes], expected_sha256: str) -> None:
    """Writes a file of chunks. Raises SealMismatch if it is not the one that was told of: a task was done again, and
    another version of a library made other bytes of the same rows.
    """
    digest = sha256()
    with path.open("wb") as file:
        for chunk in chunks:
            digest.update(chunk)
            file.write(chunk)
    if digest.hexdigest() != expected_sha256:
        raise SealMismatch(
            f"{path.name} is not the part that was made",
            why=f"it has digest {digest.hexdigest()}, and {expected_sha256} was told of",
            hint="run it again; let all machines have the same versions of ddbtrail and pyarrow",
        )


def _segment_file(trail: Trail, segment: SealedSegment) -> RowFile:
    stored = StoredObject(trail.prefix + segment.path, segment.bytes)
    return RowFile(stored, sha256=segment.file_sha256, is_sealed=True, number=segment.entry)
