"""A DuckDB database for a person's SQL: a file of this process that is filled first, and asked read-only and locked.

Free SQL never meets evidence. What it may see is copied into a database file in a folder that only this user can enter.
Each statement opens that file anew, read-only, and locks the engine before it runs: no file, no network, no extension,
no other database, no setting can be reached, and the lock cannot be undone. An allow-list of files would not do: with
one, COPY TO still overwrites what is on it.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import duckdb
import pyarrow as pa

from query.engine import sql
from query.errors import EngineFailure, UsageError
from query.scratch import Scratch
from query.value_functions import DIFFERENCES_TYPE, FUNCTIONS, ValueFunction

_SETTINGS: Final = {
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "preserve_insertion_order": "true",
    "python_enable_replacements": "false",
}
# In this order: nothing can be set after the last.
LOCKS: Final = (("enable_external_access", "false"), ("lock_configuration", "true"))
_ROWS_PER_BATCH: Final = 10_000
_READING: Final = frozenset({duckdb.StatementType.SELECT, duckdb.StatementType.EXPLAIN, duckdb.StatementType.MULTI})
_ENGINE_FAILURES: Final = (
    duckdb.OutOfMemoryException,
    duckdb.IOException,
    duckdb.InternalException,
    duckdb.FatalException,
)
# No table of DynamoDB is called like the database: a name that means both would be refused.
_FILE: Final = "what is asked.duckdb"


class LockedDatabase:
    """The database of one session. `memory_limit` is a size as DuckDB writes it (`4GB`)."""

    def __init__(self, *, memory_limit: str | None = None, threads: int | None = None) -> None:
        scratch = Scratch("sql")
        self.folder, self.close = scratch.path, scratch.close
        self._scratch = scratch
        self.opens_read_only = True
        self._path = self.folder / _FILE
        self._settings: dict[str, Any] = {**_SETTINGS, "temp_directory": str(self.folder / "spill")}
        if memory_limit:
            self._settings["memory_limit"] = memory_limit
        if threads:
            self._settings["threads"] = threads

    @contextmanager
    def filling(self) -> Iterator["Filling"]:
        """The database open for being filled; nothing a person typed is run then. All or nothing of it stays."""
        with self._opened(read_only=False) as connection:
            connection.begin()
            yield Filling(connection)
            connection.commit()

    def batches(self, statement: str, *, hint: str) -> Iterator[pa.RecordBatch]:
        """The rows of one statement of a person, an empty batch first that has the columns. `hint` goes with an error.

        Raises UsageError, with the engine's words, for what is no statement or may not be done, EngineFailure.
        """
        self.check(statement)
        return self.run_locked(statement, hint=hint)

    def run_locked(self, statement: str, *, hint: str = "") -> Iterator[pa.RecordBatch]:
        """The same for a statement that nobody looked at: what it can do is for the engine to say."""
        with _told(statement, hint), self._opened(read_only=self.opens_read_only) as connection:
            for name, value in LOCKS:
                connection.execute(f"SET {name} = {value}")
            yield from _rows(connection, statement)

    def check(self, statement: str) -> None:
        """Raises UsageError for anything but one statement that reads."""
        with _told(statement, "type one, such as SELECT * FROM orders.changes LIMIT 10"):
            found = duckdb.extract_statements(statement)
        if len(found) != 1:
            raise UsageError(
                f"{len(found)} statements were typed" if found else "no statement was typed",
                why="one is answered at a time",
                hint="type one, such as SELECT * FROM orders.changes LIMIT 10",
            )
        if found[0].type not in _READING:
            raise UsageError(
                f"{found[0].type.name} is not answered",
                why="SQL reads here: nothing is written, set, attached or loaded",
                hint="type a SELECT; -O FILE writes its answer to a file",
            )

    @contextmanager
    def _opened(self, *, read_only: bool) -> Iterator[duckdb.DuckDBPyConnection]:
        with duckdb.connect(str(self._path), read_only=read_only, config=self._settings) as connection:
            connection.execute(sql("time_zone"))
            connection.execute(sql("optimizers"))
            for function in FUNCTIONS:
                _register(connection, function)
            yield connection


class Filling:
    """A locked database while it is filled, by statements of ours."""

    def __init__(self, connection: duckdb.DuckDBPyConnection) -> None:
        self._connection = connection

    def run(self, statements: str, values: Mapping[str, Any] | None = None) -> None:
        """Runs statements for their effect; values are bound."""
        self._connection.execute(statements, values)

    def rows(self, statement: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(statement).fetchall()

    def insert(self, statement: str, batches: Iterator[pa.RecordBatch], schema: pa.Schema) -> None:
        """Runs a statement that reads the relation `incoming`: these batches, as they come."""
        self._connection.register("incoming", pa.RecordBatchReader.from_batches(schema, batches))
        self._connection.execute(statement)
        self._connection.unregister("incoming")


def _rows(connection: duckdb.DuckDBPyConnection, statement: str) -> Iterator[pa.RecordBatch]:
    reader = connection.sql(statement).to_arrow_reader(_ROWS_PER_BATCH)
    yield pa.RecordBatch.from_pylist([], schema=reader.schema)
    yield from reader


def _register(connection: duckdb.DuckDBPyConnection, function: ValueFunction) -> None:
    # Types as text: DuckDB complains on stderr about objects of its own that live to the end of the process.
    given: Any = {"type": "arrow", "null_handling": "special"}
    connection.create_function(
        function.name, _by_columns(function), ["VARCHAR"] * function.parameters, function.returns, **given
    )


DIFFERENCES: Final = pa.list_(pa.struct([(name, pa.string()) for name in ("path", "kind", "old", "new")]))
_ARROW_TYPES: Final = {"VARCHAR": pa.string(), "VARCHAR[]": pa.list_(pa.string()), DIFFERENCES_TYPE: DIFFERENCES}


def _by_columns(function: ValueFunction) -> Any:
    """A function of texts as one of columns of texts."""
    kind = _ARROW_TYPES[function.returns]
    if function.parameters == 1:
        return lambda texts: pa.array(map(function.work, texts.to_pylist()), kind)
    return lambda ops, old, new: pa.array(map(function.work, ops.to_pylist(), old.to_pylist(), new.to_pylist()), kind)


@contextmanager
def _told(statement: str, hint: str) -> Iterator[None]:
    """The engine's words as an error of ours."""
    try:
        yield
    except duckdb.Error as error:
        words = str(error).strip().splitlines()
        if isinstance(error, _ENGINE_FAILURES):
            raise EngineFailure(
                "the query engine failed",
                why=" ".join(words)[:400],
                hint="if it is short of memory or disk, set --memory-limit or free the temporary folder",
            ) from error
        raise UsageError(
            f"{' '.join(statement.split())[:80]!r} is not answered",
            why="\n".join(line for line in words if line.strip()),
            hint=hint,
        ) from error
