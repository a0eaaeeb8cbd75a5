"""Tables of states and rows given back, on simulated histories, against the oracle: shards, retries, duplicates, gaps,
clocks that step back, baselines and conflicts."""

from collections import Counter
from random import Random

import orjson
import pytest

from query.instant import format_ms
from query.render.answer_pages import MOST_ROWS
from tests.oracle import image_of, key_of
from tests.querying.test_simulated import instants
from tests.querying.test_sql_simulated import Asked

SEEDS = 12


def by_key(table):
    """Items and images of an Arrow table of states, as the oracle has them."""
    rows = table.to_pylist()
    found = {key_of(orjson.loads(row["item_key"])): image_of(orjson.loads(row["image"])) for row in rows}
    assert len(found) == len(rows), "an item is there twice"
    return found


def expected_at(asked, at_ms):
    """What existed, without the items of which evidence contradicts itself."""
    states = asked.oracle.table_at(at_ms)
    return {
        item: image_of(state.image)
        for item, state in states.items()
        if state.outcome == "existed" and item not in asked.refused
    }


@pytest.mark.parametrize("seed", range(SEEDS))
def test_tables_of_states_are_what_the_oracle_says(seed, tmp_path):
    """By batches from the engine and row by row; as keys of the next question; and on the page that shows them."""
    asked = Asked(seed, tmp_path)
    if asked.is_empty:
        pytest.skip("nothing was archived")
    for at_ms in instants(asked.oracle, Random(seed))[:6]:
        when = format_ms(at_ms)
        state = asked.table.as_of(when)
        table = state.arrow()
        expected = expected_at(asked, at_ms)
        assert by_key(table) == expected
        assert table == asked.table.as_of(when, where="true").arrow()
        assert [item.item_key for item in asked.table.items(state)] == table.column("item_key").to_pylist()
        assert state._repr_html_().count("<tr>") == (min(len(expected), MOST_ROWS) + 1 if expected else 0)


def test_a_table_as_the_oracle_has_it_differs_nowhere(tmp_path):
    """The rows are the oracle's. Whatever was compared differs as soon as it is altered, and is missed without rows."""
    seen: Counter[str] = Counter()
    for seed in range(SEEDS):
        asked = Asked(seed, tmp_path / str(seed))
        for at_ms in [] if asked.is_empty else instants(asked.oracle, Random(seed))[:4]:
            when, states = format_ms(at_ms), asked.oracle.table_at(at_ms)
            rows = [state.image for state in states.values() if state.outcome == "existed"]
            found = asked.table.reconcile(rows, since=when, until=when)
            assert (found.items, found.different) == (len(rows), 0)
            altered = [{**row, "altered": {"BOOL": True}} for row in rows]
            told = asked.table.reconcile(altered, since=when, until=when)
            assert [one.kind.value for one in told.differences] == ["differs"] * found.compared
            missed = asked.table.reconcile([], since=when, until=when)
            assert [one.kind.value for one in missed.differences] == ["not-in-table"] * found.compared
            seen.update(compared=found.compared, touched=found.touched)
    assert seen["compared"] > 20, "the claims hold where nothing is compared, too"
    assert seen["touched"] > 5
