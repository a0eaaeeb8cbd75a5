"""A real change history with known answers, in SQL: known states of a public table, and every version of its 402 items.

The data stands beside the repository; without it these tests are skipped, and say so.
"""

from __future__ import annotations

import duckdb
import pytest

import query
from query.duckdb_script import script
from query.instant import format_ms
from query.value_functions import plain_item
from tests.system import test_fires
from tests.system.fires import lines

pytestmark = test_fires.pytestmark


@pytest.fixture(scope="module")
def archive(fires_archive):
    return query.open(fires_archive)


def test_the_table_at_known_instants(archive):
    """The same items as `as_of` of the other surfaces, which are held to the known answers elsewhere."""
    fires = archive.table("fires")
    for expected in lines("expected.jsonl.gz")[::6]:
        instant = format_ms(round(expected["at"] * 1000))
        found = archive.sql(f"SELECT item_key, image FROM fires.as_of('{instant}')").arrow().to_pylist()
        told = {state.item_key: state.image for state in fires.as_of(instant).states()}
        assert {row["item_key"]: row["image"] for row in found} == told


def test_every_version_of_every_item(archive):
    """In order, with the times of the history that Python gives."""
    fires = archive.table("fires")
    rows = archive.sql("FROM fires.versions ORDER BY item_key, stream_label, sequence_number").arrow().to_pylist()
    found: dict[str, list] = {}
    for row in rows:
        found.setdefault(row["item_key"], []).append(row)
    assert len(found) == 402
    for item_key, versions in sorted(found.items())[::20]:
        told = fires.item(json_text=item_key).history(reverse=True)
        assert [(row["change_id"], row["item"]) for row in versions] == [
            (version.change_id, plain_item(version.image)) for version in told
        ]


def test_a_plain_duckdb_has_the_same_changes(archive, fires_archive):
    connection = duckdb.connect()
    connection.execute(script(fires_archive, [("fires", archive.table("fires", with_derived=False))]))
    # As docs/sql.md advises for many files: they are read once.
    connection.execute("CREATE TABLE kept AS FROM fires._told; CREATE OR REPLACE VIEW fires._told AS FROM kept")
    # Not through `changes`: a plain DuckDB takes every image apart there, also for columns that nobody asked for.
    statement = "SELECT change_id, op, effective_at, item_key, new_image, old_image FROM fires._changes ORDER BY ALL"
    archive.sql("SELECT 1 FROM fires.changes")
    theirs = connection.sql(statement).to_arrow_table().to_pylist()
    assert theirs == archive.sql(statement).arrow().to_pylist()
    assert theirs
