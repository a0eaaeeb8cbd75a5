"""SQL in a gap and at a table's end: the rules that simulated histories rarely reach, held to what Python answers."""

from __future__ import annotations

import pytest

from query.locked import LockedDatabase
from query.sql_session import SqlSession
from tests.querying.test_gaps import OFF, ON, T0, table_of

__all__ = ["table_of"]  # the fixture: one set of records for both surfaces
LATER_MS = 4_102_444_800_000


@pytest.mark.parametrize("table_ids", [None, {OFF: "one", ON: "two"}, {OFF: "one", ON: "one"}])
def test_states_around_a_gap_are_those_of_python(table_ids, table_of):
    """Before it, in it and after it; the same table, or one that was deleted and made again."""
    table = table_of(table_ids)
    session = SqlSession({"orders": table.trail}, lambda _: table, LockedDatabase(), now_ms=lambda: LATER_MS)
    bases = set()
    for at_s in (T0 + 30, T0 + 60, T0 + 1800, T0 + 3605, T0 + 3625, T0 + 3700):
        rows = session.ask(f"FROM orders.states(to_timestamp({at_s}))").arrow().to_pylist()
        told = {(row["item_key"], row["outcome"], row["image"], row["reason"]) for row in rows}
        states = table.as_of(f"@{at_s}").all_states()
        # Python keeps the best guess beside an unknown state; SQL does not guess.
        known = [(one, None if one.is_guess else one.image) for one in states]
        assert told == {(one.item_key, one.outcome.value, image, one.reason) for one, image in known}, at_s
        assert {row["basis"] for row in rows} == {"nothing" if one.is_guess else one.basis.value for one in states}
        bases |= {row["basis"] for row in rows}
    assert bases >= ({"table-end"} if table_ids and table_ids[OFF] != table_ids[ON] else {"agreement"})
