"""A whole table at an instant or a cut, as a person asks for it: items, counts, and what could not be told."""

from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from query.answer import State
from query.instant import Instant
from query.placed import Placed
from query.plan import ReadPlan
from query.redaction import Redaction
from query.rev import Rev
from query.settled import Settled
from query.shown import Tabular
from query.state import States
from query.where import Condition, where_states

if TYPE_CHECKING:
    import pyarrow as pa


class TableState(Tabular):
    """A table at an instant: iterate it, or take it as Arrow. Close it, or leave that to the end of the process.

    `count` items existed; of `unknown` more the trail cannot tell; `conflicts` give no answer; `has_floor` says whether
    a complete baseline shows items that never changed since coverage began. `at` is the instant or cut resolved.
    """

    def __init__(
        self,
        states: States | Placed | Settled,
        plan: ReadPlan,
        at: Instant | Rev,
        at_ms: int,
        *,
        has_floor: bool,
        where: Condition | None,
        best_effort: bool,
        read_all: Callable[[], States],
        table_name: str,
        redaction: Redaction,
    ) -> None:
        self._states = states
        self._read_all = read_all
        self._where = where
        self._best_effort = best_effort
        self.table_name = table_name
        self.redaction = redaction
        self.at = at
        self.at_ms = at_ms
        self.plan = plan
        self.has_floor = has_floor
        self.coverage = states.coverage
        self.conflicts = tuple(replace(conflict, redaction=redaction) for conflict in states.conflicts)
        self.unknown = states.unknown

    @cached_property
    def count(self) -> int:
        """How many items `states` gives."""
        if self._where is None and not self._best_effort:
            return int(self._states.count)
        return sum(1 for _ in self.states())

    def states(self) -> Iterator[State]:
        """The items that existed, in order of item key; filtered, if asked with `where`."""
        existing = map(self._shown, self._states.existing(with_guesses=self._best_effort))
        return existing if self._where is None else where_states(existing, self._where.text, self._where.redaction)

    def all_states(self) -> list[State]:
        """Every item that any fact tells of, with its outcome, in order of item key."""
        if isinstance(self._states, States):
            return [*map(self._shown, self._states.all())]
        with closing(self._read_all()) as states:
            return [*map(self._shown, states.all())]

    def _shown(self, state: State) -> State:
        """A state with what is masked where it is shown."""
        return replace(state, redaction=self.redaction) if self.redaction.paths else state

    def batches(self, *, in_order: bool = True) -> "Iterator[pa.RecordBatch]":
        """The items that existed as Arrow batches, with the columns of `answers.sql`; without order, sooner."""
        return self._states.existing_batches(with_guesses=self._best_effort, in_order=in_order)

    @property
    def has_guesses(self) -> bool:
        """Whether `states` also gives the best guess of what is not known, marked as such."""
        return self._best_effort

    def arrow(self) -> "pa.Table":
        """The items as `states` gives them: the columns of `ddbtrail as-of -o parquet`.

        Columns `item_key`, `item`, `image` (JSON text) and `change_id` are strings, `changed_at` is timestamp[ms, UTC];
        `is_guess` with best effort.
        """
        found = self.plain_batches()
        if found is None:
            return super().arrow()
        import pyarrow as pa  # noqa: PLC0415  Arrow takes its time

        from query.answer_rows import STATE_SCHEMA  # noqa: PLC0415

        return pa.Table.from_batches(found, STATE_SCHEMA)

    def plain_batches(self) -> "Iterator[pa.RecordBatch] | None":
        """The rows of `arrow` as they come; None where each has to be looked at: filtered, masked or guessed."""
        if self._where is not None or self._best_effort or self.redaction.paths:
            return None
        from query.answer_rows import states_of  # noqa: PLC0415  as above

        return map(states_of, self.batches())

    def close(self) -> None:
        """Gives back the memory and disk that the engine holds for it; nothing can be read of it afterwards."""
        self._states.close()
