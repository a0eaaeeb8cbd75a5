"""SQL over the changes of a range: those that `Table.changes` gives, and nothing that would need others."""

from __future__ import annotations

import gc
from random import Random

import pytest

from query.errors import UsageError
from query.surface import OF_ALL_TIME
from tests.querying.derived_worlds import Place, large, make_world

SEEDS = 6


@pytest.mark.parametrize("is_large", [False, True])
def test_the_changes_of_a_range_are_those_of_every_other_surface(is_large, tmp_path, monkeypatch):
    """Duplicates, conflicts, runs beside segments; a range that the trail knows nothing of."""
    large(monkeypatch, is_large)
    told = 0
    for seed in range(SEEDS):
        world = make_world(seed)
        if world is None:
            continue
        rng = Random(seed)
        place = Place(tmp_path / str(seed), key_names=world.key_names).play(world, len(world.stages) - 1)
        if rng.random() < 0.7:
            place.compact()
        archive, table = place.archive(), place.table()
        since_ms, until_ms = sorted(rng.choices([*world.times, world.times[-1] + 1000], k=2))
        for ends in (
            {"since_ms": since_ms, "until_ms": until_ms + 1000},
            {"since_ms": since_ms},
            {"until_ms": until_ms},
        ):
            asked = {name[: -len("_ms")]: f"@{ms / 1000}" for name, ms in ends.items()}
            if asked.get("since") == asked.get("until"):
                continue
            changes = table.changes(**ends)
            for relation in ("changes", "changes_between(NULL, NULL)"):
                statement = f"SELECT change_id, op, segment FROM orders.{relation} ORDER BY stream_label, sequence_number, item_key"
                found = archive.sql(statement, **asked)
                rows = sorted(tuple(row.values()) for row in found.arrow().to_pylist())
                assert rows == sorted((one.change_id, one.op, one.segment) for one in changes), (seed, ends)
                assert found.conflicts == changes.conflicts
            told += len(changes)
    assert told > 50


def test_what_needs_every_change_is_refused(tmp_path):
    """A state that was told from a part of the changes would be wrong and look right."""
    world = next(world for seed in range(SEEDS) if (world := make_world(seed)) is not None)
    archive = Place(tmp_path, key_names=world.key_names).play(world, len(world.stages) - 1).archive()
    for relation in OF_ALL_TIME:
        with pytest.raises(UsageError, match=f"{relation} needs every change"):
            archive.sql(f"FROM orders.{relation}", since="2020-01-01")
    for asked in (
        {"since": "2020-01-01", "during": "2020"},
        {"since": "2020-01-02", "until": "2020-01-01"},
        {"since": "2020-01-01T00:00:00"},
    ):
        with pytest.raises(UsageError):
            archive.sql("FROM orders.changes", **asked)


def test_sessions_of_several_ranges_do_not_mix(tmp_path):
    world = next(world for seed in range(SEEDS) if (world := make_world(seed)) is not None)
    archive = Place(tmp_path, key_names=world.key_names).play(world, len(world.stages) - 1).archive()
    middle = f"@{sorted(world.times)[len(world.times) // 2] / 1000}"
    count = "SELECT count(*) AS n FROM orders.changes"

    def counted(**asked):
        return archive.sql(count, **asked).arrow().to_pylist()[0]["n"]

    whole, before, after = counted(), counted(until=middle), counted(since=middle)
    assert whole == before + after == counted()
    assert before
    assert after


def test_names_that_are_put_together_find_nothing(tmp_path):
    """What is refused by name is not there by another one; and a word is no relation."""
    world = next(world for seed in range(SEEDS) if (world := make_world(seed)) is not None)
    archive = Place(tmp_path, key_names=world.key_names).play(world, len(world.stages) - 1).archive()
    for name in ("ver' || 'sions", "sta' || 'tes"):
        asked = f"SELECT * FROM query_table('orders.{name}') WHERE (SELECT count(*) FROM orders.changes) > 0"
        with pytest.raises(UsageError):
            archive.sql(asked, since="2020-01-01")
    words = "SELECT 'blame' AS compare, count(*) AS n FROM orders.changes WHERE item->>'versions' IS NULL"
    assert archive.sql(words, since="2020-01-01").arrow().to_pylist() == archive.sql(words).arrow().to_pylist()


def test_a_range_that_is_asked_about_no_more_is_not_kept(tmp_path, monkeypatch):
    """Ends such as `1h ago` never recur: a process that asks all day has two databases at the most."""
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "temporary"))
    world = next(world for seed in range(SEEDS) if (world := make_world(seed)) is not None)
    archive = Place(tmp_path, key_names=world.key_names).play(world, len(world.stages) - 1).archive()
    for day in range(1, 8):
        for asked in ({}, {"since": f"2020-01-{day:02}"}):
            archive.sql("SELECT count(*) FROM orders.changes", **asked).arrow()
    gc.collect()
    assert len([*(tmp_path / "temporary").glob("ddbtrail-sql-*")]) == 2


def test_an_answer_that_is_not_read_yet_stays_whole(tmp_path):
    """Whatever is asked before it is: also where some of its rows were taken already."""
    world = next(world for seed in range(SEEDS) if (world := make_world(seed)) is not None)
    archive = Place(tmp_path, key_names=world.key_names).play(world, len(world.stages) - 1).archive()
    many = "SELECT i, repeat('x', 100) AS text FROM range(100_000) AS t(i)"
    first, begun = archive.sql(many), archive.sql(many)
    taken = next(begun.batches).num_rows + next(begun.batches).num_rows
    other = archive.sql("SELECT count(*) AS n FROM orders.changes", since="2020-01-01").arrow().to_pylist()
    assert other == archive.sql("SELECT count(*) AS n FROM orders.changes").arrow().to_pylist()
    assert first.arrow().column("i").to_pylist() == list(range(100_000))
    assert 0 < taken < 100_000
    assert taken + sum(batch.num_rows for batch in begun.batches) == 100_000
