"""Files of an archive as rows on Spark: each fetched, checked and decoded by the task that needs it.

Invariants: no row is decoded before the bytes of its file are checked, on the machine that decodes them; what a task
refuses ends the question, and is told on the driver in the words in which it was refused.
"""

import json
import re
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq
from pyspark.errors import PySparkException
from pyspark.sql import DataFrame, SparkSession

from archiver.format.columns import BASELINE_COLUMNS, SEGMENT_COLUMNS, Column
from query.derived.lineage import gathered
from query.errors import QueryError, UnreadableArchive
from query.gate import EvidenceFile, Gate, Kind, corrupt
from query.source import Access, Source, StoredObject, open_source

TIME: Final = pa.timestamp("us", tz="UTC")  # what Spark knows; ours have milliseconds
_ARROW: Final = {"string": pa.string(), "timestamp_ms_utc": TIME}
_SPARK: Final = {
    pa.string(): "string",
    pa.binary(): "binary",
    pa.bool_(): "boolean",
    pa.int64(): "bigint",
    TIME: "timestamp",
}
_COLUMNS: Final[dict[Kind, tuple[Column, ...]]] = {"segment": SEGMENT_COLUMNS, "baseline": BASELINE_COLUMNS}
# Of what is stored; a task has more of it when it is decoded.
_TASK_BYTES: Final = 64_000_000
_TASK_FILES: Final = 512
_FILES_AT_ONCE: Final = 64
# An item may have 400 KB twice, and a column of Arrow 2 GB.
_ROWS_AT_ONCE: Final = 1 << 11
_REFUSED: Final = re.compile(r'ddbtrail refused (\{"message".*\}) over')


class RefusedOnSpark(QueryError):  # noqa: N818
    """A task met what gives no answer; what, why and hint are those of the error there."""

    code = "refused-on-spark"


@dataclass(frozen=True, slots=True)
class Place:
    """Where files lie: every task opens it for itself, in a working folder of its own."""

    url: str
    access: Access = field(default_factory=Access)

    def __post_init__(self) -> None:
        if "://" not in self.url:
            object.__setattr__(self, "url", str(Path(self.url).absolute()))

    def open(self) -> Source:
        return open_source(self.url, self.access)


@dataclass(frozen=True, slots=True)
class RowFile:
    """A file to be read: the object, what is known of its bytes, and a number that its rows may bear."""

    stored: StoredObject
    root: str | None = None
    sha256: str | None = None
    is_sealed: bool | None = None
    number: int = 0


FILE_SCHEMA: Final = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("root", pa.string()),
        pa.field("sha256", pa.string()),
        pa.field("is_sealed", pa.bool_()),
        pa.field("number", pa.int64(), nullable=False),
    ]
)
Work = Callable[[Source, Sequence[RowFile]], Iterator[pa.RecordBatch]]
_Mapped = Callable[[Iterator[pa.RecordBatch]], Iterator[pa.RecordBatch]]


def read_files(
    session: SparkSession, place: Place, files: Sequence[RowFile], schema: pa.Schema, work: Work
) -> DataFrame:
    """What `work` makes of the files, some at a time, in tasks; its batches have the columns of `schema`."""
    if not files:
        return session.createDataFrame([], spark_schema(schema))
    described = pa.table(
        [
            [file.stored.name for file in files],
            [file.stored.size_bytes for file in files],
            [file.root for file in files],
            [file.sha256 for file in files],
            [file.is_sealed for file in files],
            [file.number for file in files],
        ],
        schema=FILE_SCHEMA,
    )
    tasks = 1 + max(sum(file.stored.size_bytes for file in files) // _TASK_BYTES, len(files) // _TASK_FILES)
    spread = session.createDataFrame(described).repartitionByRange(tasks, "name")

    def read(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        source = place.open()
        rows = (batch for some in _some(_files(batches)) for batch in work(source, some))
        # Of many small files, a batch each would cost more than its rows.
        for table in gathered(rows, rows=_ROWS_AT_ONCE):
            yield from table.combine_chunks().to_batches()

    return mapped(spread, read, schema)


def evidence_rows(
    session: SparkSession,
    place: Place,
    files: Sequence[RowFile],
    kind: Kind,
    columns: Sequence[str] | None = None,
    item_keys: Sequence[str] | None = None,
) -> DataFrame:
    """The rows of segments, or of the parts of a baseline; of some columns or items only, if that is wanted.

    Rows of segments have `segment` (the object), `position` (from 0) and `is_sealed` beside their own columns. A task
    raises CorruptSegment or SealMismatch for a file that is not what it should be.
    """
    schema = pa.schema(
        [pa.field(one.name, _ARROW[one.kind]) for one in _COLUMNS[kind] if columns is None or one.name in columns]
    )
    told = [pa.field("segment", pa.string()), pa.field("position", pa.int64()), pa.field("is_sealed", pa.bool_())]
    wanted = None if item_keys is None else pa.array(item_keys, pa.string())

    def work(source: Source, some: Sequence[RowFile]) -> Iterator[pa.RecordBatch]:
        found = local_files(source, some)
        Gate().check(found, kind)
        for file, checked in zip(some, found, strict=True):
            for batch, first in _decoded(checked, schema, kind):
                rows = batch if kind == "baseline" else _with_place(batch, file, first)
                yield rows if wanted is None else rows.filter(pa.compute.is_in(batch.column("item_key"), wanted))

    whole = schema if kind == "baseline" else pa.schema([*schema, *told])
    return read_files(session, place, files, whole, work)


def local_files(source: Source, files: Sequence[RowFile]) -> list[EvidenceFile]:
    """Local copies, to be checked before anything of them is decoded. Raises UnreadableArchive for one that is gone."""
    try:
        paths = source.fetch([file.stored for file in files])
    except FileNotFoundError as error:
        raise UnreadableArchive(
            f"{error} is gone", why="it was there when the question began", hint="run it again"
        ) from error
    return [
        EvidenceFile(path, file.stored.name, file.root, file.sha256, bool(file.is_sealed))
        for path, file in zip(paths, files, strict=True)
    ]


def mapped(rows: DataFrame, work: _Mapped, schema: pa.Schema) -> DataFrame:
    """`mapInArrow`, whose errors of ours reach the driver whole; there, `refusals` makes them ours again."""

    def guarded(batches: Iterator[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
        try:
            yield from work(batches)
        except QueryError as error:
            told = json.dumps({"message": error.message, "why": error.why, "hint": error.hint})
            raise RuntimeError(f"ddbtrail refused {told} over") from error

    with warnings.catch_warnings():  # Spark asks for an older pandas, which takes no part in this
        warnings.filterwarnings("ignore", message="PySpark does not yet fully support pandas", category=FutureWarning)
        return rows.mapInArrow(guarded, spark_schema(schema))


@contextmanager
def refusals() -> Iterator[None]:
    """Raises what a task refused as RefusedOnSpark, and anything else of Spark as it is."""
    try:
        yield
    except PySparkException as error:
        told = _REFUSED.search(str(error))
        if told is None:
            raise
        raise RefusedOnSpark(**json.loads(told[1])) from error


def spark_schema(schema: pa.Schema) -> str:
    """The columns as Spark's DDL has them."""
    return ", ".join(f"`{field.name}` {_spark_type(field.type)}" for field in schema)


def _spark_type(kind: pa.DataType) -> str:
    return f"array<{_spark_type(kind.value_type)}>" if pa.types.is_list(kind) else _SPARK[kind]


def _with_place(batch: pa.RecordBatch, file: RowFile, first: int) -> pa.RecordBatch:
    rows = batch.num_rows
    added = [
        pa.repeat(pa.scalar(file.stored.name), rows),
        pa.array(range(first, first + rows), pa.int64()),
        pa.repeat(pa.scalar(file.is_sealed, pa.bool_()), rows),
    ]
    return pa.RecordBatch.from_arrays(
        [*batch.columns, *added], names=[*batch.schema.names, "segment", "position", "is_sealed"]
    )


def _decoded(file: EvidenceFile, schema: pa.Schema, kind: Kind) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Rows of a checked file, each batch with the number of its first row."""
    first = 0
    try:
        with pq.ParquetFile(file.path) as parquet:
            if tuple(parquet.schema_arrow.names) != tuple(column.name for column in _COLUMNS[kind]):
                raise corrupt(file, f"it has the columns {', '.join(parquet.schema_arrow.names)}")
            for batch in parquet.iter_batches(_ROWS_AT_ONCE, columns=schema.names):
                yield batch.cast(schema), first
                first += batch.num_rows
    except (pa.ArrowException, OSError) as error:
        raise corrupt(file, str(error)) from error


def _files(batches: Iterable[pa.RecordBatch]) -> Iterator[RowFile]:
    for batch in batches:
        for row in batch.to_pylist():
            stored = StoredObject(row.pop("name"), row.pop("bytes"))
            yield RowFile(stored, **row)


def _some(files: Iterable[RowFile]) -> Iterator[list[RowFile]]:
    """Files that are fetched at once."""
    held: list[RowFile] = []
    size = 0
    for file in files:
        held.append(file)
        size += file.stored.size_bytes
        if len(held) >= _FILES_AT_ONCE or size >= _TASK_BYTES:
            yield held
            held, size = [], 0
    if held:
        yield held


def plain_rows(found: DataFrame) -> list[dict[str, Any]]:
    """A small answer, on the driver, as Python values; times are aware datetimes in UTC. Raises RefusedOnSpark."""
    with refusals():
        return found.toArrow().to_pylist()  # type: ignore[no-any-return]
