"""SQL over an archive: what a statement names is read and copied, then the statement runs where nothing else is.

Invariants: a relation that no statement named is not there, rather than empty; what is there was read through the gate.
Coverage, changes and baselines are read apart, each only if a statement needs it, and once a session.
"""

import weakref
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from archiver.format.layout import Trail
from query.conflicts import Conflict
from query.coverage import Coverage
from query.engine import sql
from query.errors import UsageError
from query.locked import Filling, LockedDatabase
from query.shown import Tabular
from query.sql_fill import TrailFilling
from query.surface import (
    ALL_TIME,
    OF_ALL_TIME,
    OF_CHANGES,
    OF_STATES,
    RELATIONS,
    Between,
    named_relations,
    named_schemas,
    quoted,
    relations_after_a_dot,
)
from query.table import Table

if TYPE_CHECKING:
    import weakref
from collections.abc import Sequence

_TABLES_TOLD: Final = 10


@dataclass(frozen=True, slots=True)
class Asked:
    """One table that a statement names: its schema, what the trail covers, whether it was asked about states, and the
    changes in conflict, whose items are in no relation.
    """

    schema: str
    table: Table
    coverage: Coverage
    has_states: bool
    conflicts: tuple[Conflict, ...]


class SqlAnswer(Tabular):
    """The rows of a statement. Iterate `batches` once, or take them whole with `arrow`; polars, pandas and DuckDB take
    the answer as it is (`__arrow_c_stream__`).
    """

    def __init__(self, schema: pa.Schema, batches: Iterator[pa.RecordBatch], asked: "Sequence[Asked]") -> None:
        self.schema = schema
        self._left = batches
        self.batches = self._noticed()
        self._is_begun = False
        self.asked = tuple(asked)

    @property
    def is_spent(self) -> bool:
        """Whether rows were read from `batches` before they were taken whole: they are in no table any more."""
        return self._table is not None and self._was_begun

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """Changes that evidence tells in two ways, of all tables named: their items are left out everywhere."""
        return tuple(conflict for one in self.asked for conflict in one.conflicts)

    def arrow(self) -> pa.Table:
        """All rows as an Arrow table; once `batches` were read, none."""
        return self._table

    def __len__(self) -> int:
        return int(self._table.num_rows)

    def keep(self) -> None:
        """Takes the rows that are left into memory: the database answers one statement at a time."""
        self._left = iter(list(self._left))

    def _noticed(self) -> Iterator[pa.RecordBatch]:
        self._is_begun = True
        while (batch := next(self._left, None)) is not None:
            yield batch

    @cached_property
    def _table(self) -> pa.Table:
        self._was_begun = self._is_begun
        return pa.Table.from_batches(self.batches, schema=self.schema)


@dataclass(slots=True)
class _Filled:
    """What of a trail is in the database by now."""

    filling: TrailFilling
    table: Table
    coverage: Coverage
    has_changes: bool = False
    has_states: bool = False
    conflicts: tuple[Conflict, ...] = field(default=())


class SqlSession:
    """Statements over one archive. `open_table` gives the table of a trail, with its redaction; changes outside of
    `between` are not read, and do not exist to a statement.
    """

    def __init__(
        self,
        schemas: Mapping[str, Trail],
        open_table: Callable[[Trail], Table],
        database: LockedDatabase,
        *,
        now_ms: Callable[[], int],
        between: Between = ALL_TIME,
    ) -> None:
        self.schemas = schemas
        self._between = between
        self._open_table = open_table
        self._database = database
        self._now_ms = now_ms
        self._filled: dict[str, _Filled] = {}
        self._last: weakref.ref[SqlAnswer] | None = None
        with database.filling() as filling:
            filling.run(sql("surface_functions"))
            filling.run(sql("surface_plain_value"))

    def ask(self, statement: str) -> SqlAnswer:
        """The answer to one statement.

        Raises UsageError, with the engine's words, for one that is none or does more than read; as `Archive.table` and
        `Table.changes` for evidence that cannot be read.
        """
        self._database.check(statement)
        last = None if self._last is None else self._last()
        if last is not None:
            last.keep()
        schemas = named_schemas(statement, list(self.schemas))
        relations = named_relations(statement) if schemas else set()
        needs_all_time = relations_after_a_dot(statement).intersection(OF_ALL_TIME) if schemas else set()
        if needs_all_time and self._between != ALL_TIME:
            raise UsageError(
                f"{min(needs_all_time)} needs every change, and a range was given",
                why="what an item was, and for how long, also rests on changes before and after the range",
                hint="leave out the range, or ask changes, changes_between, history or attribute_changes",
            )
        needs_states = self._between == ALL_TIME and not relations.isdisjoint(OF_STATES)
        needs_changes = needs_states or not relations.isdisjoint(OF_CHANGES)
        for schema in schemas if relations else ():
            with self._database.filling() as filling:
                self._fill(filling, schema, needs_changes=needs_changes, needs_states=needs_states)
        asked = [
            Asked(schema, one.table, one.coverage, needs_states, one.conflicts if needs_changes else ())
            for schema in schemas
            if (one := self._filled.get(schema)) is not None
        ]
        batches = self._database.batches(statement, hint=self._hint(schemas))
        first = next(batches)
        answer = SqlAnswer(first.schema, batches, asked)
        self._last = weakref.ref(answer)
        return answer

    def _hint(self, named: "Sequence[str]") -> str:
        """What to type instead: of a table that was named its relations, else the tables."""
        if named:
            return f"{quoted(named[0])} has {', '.join(RELATIONS)}; see ddbtrail sql --help"
        names = [quoted(name) for name in self.schemas]
        more = ", …" if len(names) > _TABLES_TOLD else ""
        return f"name a table of the archive: {', '.join(names[:_TABLES_TOLD]) or 'there is none'}{more}"

    def _fill(self, filling: Filling, schema: str, *, needs_changes: bool, needs_states: bool) -> None:
        filled = self._filled.get(schema)
        if filled is None:
            table = self._open_table(self.schemas[schema])
            copied = TrailFilling(table, schema, self._between)
            filled = _Filled(copied, table, copied.begin(filling, asked_at_ms=self._now_ms()))
        if needs_changes and not filled.has_changes:
            filled.conflicts = filled.filling.changes(filling)
        if needs_states and not filled.has_states:
            filled.filling.baselines(filling)
        filled.has_changes |= needs_changes
        filled.has_states |= needs_states
        self._filled[schema] = filled
