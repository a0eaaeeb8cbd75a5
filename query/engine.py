"""The DuckDB connection for our statements: its limits and its file access. A person's SQL has `locked`.

Invariants: SQL comes from the `.sql` files beside this one; values are bound or held in variables, never formatted in;
nothing is downloaded into DuckDB, it reads the local files it is handed; a corrupt file is named, never half read.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import cache
from importlib.resources import files
from typing import Any, Final, Self

import duckdb
import pyarrow as pa

from archiver.format.columns import BASELINE_COLUMNS, SEGMENT_COLUMNS
from query.derived.columns import RUN_SCHEMA, SNAPSHOT_SCHEMA
from query.errors import DerivedGone, EngineFailure, UsageError
from query.gate import EvidenceFile, Gate, Kind, corrupt
from query.scratch import Scratch

_SETTINGS: Final = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "preserve_insertion_order": "false",
    "python_enable_replacements": "false",
}
_ROWS_PER_BATCH: Final = 50_000
_COLUMNS: Final = {tuple(column.name for column in columns) for columns in (SEGMENT_COLUMNS, BASELINE_COLUMNS)} | {
    tuple(schema.names) for schema in (RUN_SCHEMA, SNAPSHOT_SCHEMA)
}


class Engine:
    """One DuckDB database in memory, spilling to disk beyond its limit."""

    def __init__(self, *, memory_limit: str | None = None, threads: int | None = None) -> None:
        # Not where the command was typed: that may be anywhere, and nobody else is to read what is spilled.
        self._spill = Scratch("spill")
        settings: dict[str, Any] = {**_SETTINGS, "temp_directory": str(self._spill.path)}
        if memory_limit:
            settings["memory_limit"] = memory_limit
        if threads:
            settings["threads"] = threads
        self._database = duckdb.connect(config=settings)
        self._database.execute(sql("time_zone"))
        self._database.execute(sql("optimizers"))
        self._database.execute(sql("macros"))
        self._gate = Gate(threads)
        self._threads = threads

    def ask(self) -> "Question":
        """A connection of its own, with temporary relations of its own, for one question. Close it."""
        return Question(self._database.cursor(), self._gate, self._threads)


class Question:
    """The steps of one question on one connection."""

    def __init__(self, connection: duckdb.DuckDBPyConnection, gate: Gate, threads: int | None) -> None:
        self._connection = connection
        self._gate = gate
        self.threads = threads  # None: as many as there are cores
        self._files: Sequence[EvidenceFile] = ()
        self._derived: Sequence[EvidenceFile] = ()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    @property
    def derived_paths(self) -> list[str]:
        """The files of runs and snapshots that were let through, in order."""
        return [str(file.path) for file in self._derived]

    def beside(self) -> "Question":
        """Another question on the same engine, with temporary relations of its own."""
        return Question(self._connection.cursor(), self._gate, self.threads)

    def load_changes(self, segments: Sequence[EvidenceFile], runs: Sequence[EvidenceFile]) -> None:
        """Reads segments and runs into the relation `loaded`, which every later question on the same engine sees."""
        self.read_changes(segments, runs)
        self.run("loaded")

    def use_loaded(self, files: Sequence[EvidenceFile]) -> None:
        """Makes the rows that were loaded the relation `changes`."""
        self._files = [*self._files, *files]
        self.run("changes_loaded")

    def read_changes(
        self,
        segments: Sequence[EvidenceFile],
        runs: Sequence[EvidenceFile],
        *,
        rows_of_runs: "pa.Table | None" = None,
    ) -> None:
        """Makes the rows of segments and of the parts of runs the relation `changes`; `rows_of_runs` are rows that were
        read already. Raises CorruptSegment or SealMismatch for a file that is not what it should be.
        """
        self.check(segments, "segment")
        self.check(runs, "run")
        # Rows of runs first: of several that tell of a change, one that is sealed.
        self.set("first_segment_file", len(runs) + (rows_of_runs is not None))
        if segments:
            self.set("segment_files", [str(file.path) for file in segments])
            self.run("segment_changes")
        if runs:
            self.set("run_files", [str(file.path) for file in runs])
            self.run("run_changes")
        if rows_of_runs is not None:
            self.register("run_items", rows_of_runs)
            self.run("run_changes_of_items")
        has_runs = bool(runs) or rows_of_runs is not None
        kind = (
            "from_both"
            if segments and has_runs
            else "from_segments"
            if segments
            else "from_runs"
            if has_runs
            else "empty"
        )
        self.run(f"changes_{kind}")

    def read_baseline(self, relation: str, parts: Sequence[EvidenceFile]) -> None:
        """Makes the items of a baseline's parts the relation `floor` or `ceiling`; with no parts, an empty one."""
        self.check(parts, "baseline")
        if not parts:
            self.run(f"{relation}_empty")
            return
        self.set(f"{relation}_files", [str(file.path) for file in parts])
        self.run(relation)

    def set(self, name: str, value: object) -> None:
        """Sets a variable that the SQL of this question may read."""
        assert name.isidentifier()
        with self._errors():
            self._connection.execute(f"SET VARIABLE {name} = $value", {"value": value})

    def run(self, statement: str, values: Mapping[str, Any] | None = None) -> None:
        """Runs one of the `.sql` files for its effect."""
        with self._errors():
            self._connection.execute(sql(statement), values)

    def rows(self, statement: str, values: Mapping[str, Any] | None = None) -> list[tuple[Any, ...]]:
        """All rows of one of the `.sql` files, as Python values (no timestamps: select epoch ms)."""
        with self._errors():
            return self._connection.execute(sql(statement), values).fetchall()

    def batches(
        self, statement: str, values: Mapping[str, Any] | None = None, *, rows_at_once: int = _ROWS_PER_BATCH
    ) -> Iterator[pa.RecordBatch]:
        """The rows of one of the `.sql` files as Arrow batches; read them to the end before the next statement."""
        with self._errors():
            yield from self._connection.sql(sql(statement), params=values).to_arrow_reader(rows_at_once)

    def arrow(self, statement: str, values: Mapping[str, Any] | None = None) -> pa.Table:
        """The rows of one of the `.sql` files as an Arrow table."""
        with self._errors():
            return self._connection.sql(sql(statement), params=values).to_arrow_table()

    def register(self, relation: str, table: pa.Table) -> None:
        """Makes an Arrow table a relation of this question."""
        self._connection.register(relation, table)

    def item_digests(self, item_keys: pa.ChunkedArray) -> pa.Array:
        """The first 16 bytes of the SHA-256 of each item key, as UUIDs (`query.derived.items`)."""
        import pyarrow as pa  # noqa: PLC0415  Arrow takes its time

        self.register("keyed", pa.table({"row": pa.array(range(len(item_keys)), pa.int64()), "item_key": item_keys}))
        found = self.arrow("item_digests").column("item_digest").cast(pa.binary(16)).combine_chunks()
        return pa.ExtensionArray.from_storage(pa.uuid(), found)

    @contextmanager
    def reading(self, relation: str, schema: pa.Schema, batches: Iterator[pa.RecordBatch]) -> Iterator[None]:
        """Makes batches, which are read once, a relation of this question; raises what they raise."""
        raised: list[Exception] = []

        def noted() -> Iterator[pa.RecordBatch]:
            try:
                yield from batches
            except Exception as error:
                raised.append(error)
                raise

        self._connection.register(relation, pa.RecordBatchReader.from_batches(schema, noted()))
        try:
            yield
        except Exception:
            if raised:
                raise raised[0] from None
            raise
        finally:
            with suppress(duckdb.ConnectionException):  # closed meanwhile, and with it the relation
                self._connection.unregister(relation)

    def check(self, read: Sequence[EvidenceFile], kind: Kind) -> None:
        """Lets only whole files through, before any row of them is read. Raises SealMismatch or CorruptSegment."""
        self.check_each([(file, kind) for file in read])

    def check_each(self, read: Sequence[tuple[EvidenceFile, Kind]]) -> None:
        """The same for files of several kinds."""
        self._files = [*self._files, *(file for file, _ in read)]
        self._derived = [*self._derived, *(file for file, kind in read if kind in {"run", "snapshot"})]
        self._gate.check_each(read)

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except duckdb.Error as error:
            vanished = next((file for file in self._derived if not file.path.exists()), None)
            if vanished is not None:
                raise DerivedGone(vanished.name) from error
            culprit = self._culprit(error)
            if culprit is not None:
                raise corrupt(culprit, " ".join(str(error).split())[:200]) from error
            raise EngineFailure(
                "the query engine failed",
                why=" ".join(str(error).split())[:400],
                hint="run it again; if it is short of memory or disk, set --memory-limit or free the temporary folder",
            ) from error

    def _culprit(self, error: duckdb.Error) -> EvidenceFile | None:
        """The file that an error of DuckDB is about: named in it, or found by reading the files one by one."""
        named = [file for file in self._files if str(file.path) in str(error)]
        if len(named) == 1:
            return named[0]
        if isinstance(error, duckdb.OutOfMemoryException):
            return None
        # "This column of that file": a difference is told with both names, the whole one first.
        return next(filter(self._is_unlike_evidence, named or self._files), None)

    def _is_unlike_evidence(self, file: EvidenceFile) -> bool:
        try:
            columns = self._connection.execute(sql("columns_of_file"), {"path": str(file.path)}).fetchall()
            self._connection.execute(sql("read_whole_file"), {"path": str(file.path)}).fetchall()
        except duckdb.Error:
            return True
        return tuple(name for (name,) in columns) not in _COLUMNS


def filter_rows(table: pa.Table, condition: str) -> pa.Table:
    """The rows of an Arrow table for which a person's SQL condition holds.

    The condition is free SQL, so it runs in a database that holds these rows only, has no file or network access and
    cannot be unlocked. Raises UsageError with the engine's words for a condition that does not parse.
    """
    settings: dict[str, Any] = {**_SETTINGS, "enable_external_access": "false", "lock_configuration": "true"}
    with duckdb.connect(config=settings) as locked:
        rows = locked.from_arrow(table)
        try:
            return rows.filter(condition).to_arrow_table()
        except duckdb.Error as error:
            raise UsageError(
                f"--where {condition!r} is not a condition on {', '.join(table.column_names)}",
                why=str(error).splitlines()[0],
                hint="write for example --where \"item->>'$.status' = 'OPEN'\"",
            ) from error


def relation(table: pa.Table) -> duckdb.DuckDBPyRelation:
    """An Arrow table as a relation of DuckDB's default connection, which belongs to whoever asked for it."""
    return duckdb.from_arrow(table)


@cache
def sql(name: str) -> str:
    """The text of a statement."""
    return files("query").joinpath("sql", f"{name}.sql").read_text(encoding="utf-8")
