"""What Athena is told is Trino's, and Hive's where a table is made: a parser says so that has nothing to do with us. And
its view of runs finds what is in them. The views of segments are asked in `tests/querying/test_athena.py`.
"""

from __future__ import annotations

import json
from collections import Counter

import duckdb
import pytest
import sqlglot
from sqlglot import exp

from archiver.format.layout import Trail
from query.athena import Place as Named
from query.athena import segments_location, statements
from query.athena_runs import manifest, manifest_location, run_statements
from query.derived.columns import RUN_SCHEMA
from query.derived.live import live_runs
from query.derived.segment_table import read_segment_table
from query.errors import UsageError
from query.source import Access, open_source
from tests.querying.derived_worlds import TRAIL, Place, World, by_value, make_world
from tests.querying.test_athena import answer, ms_of, through_trino

ARCHIVE, DERIVED, MANIFEST = "s3://acme-audit/ddbtrail", "s3://acme-derived/ddbtrail", "s3://acme-derived/m/orders"
NAMED = Named("orders", "audit")
MADE = {
    one.name: one
    for one in (
        *statements(segments_location(ARCHIVE, Trail("111122223333", "eu-west-1", "orders")), NAMED, "2026-09-01"),
        *run_statements(manifest_location(MANIFEST), NAMED),
    )
}


def question(one) -> str:
    """What a statement asks, without what it makes of it."""
    return one.sql.split(" FROM\n", 1)[1] if one.kind == "prepared" else one.sql


@pytest.mark.parametrize("name", [name for name, one in MADE.items() if one.kind != "table"])
def test_every_question_is_of_trino(name):
    """It parses in all it has, and what the parser makes of it means the same to the parser."""
    parsed = sqlglot.parse_one(question(MADE[name]), read="trino", error_level=sqlglot.ErrorLevel.RAISE)
    assert isinstance(parsed, exp.Create if MADE[name].kind == "view" else exp.Query)
    assert not list(parsed.find_all(exp.Command, exp.Anonymous)), "something that Trino does not know"
    assert sqlglot.parse_one(parsed.sql("trino"), read="trino") == parsed


@pytest.mark.parametrize("name", [name for name, one in MADE.items() if one.kind == "table"])
def test_every_table_is_one_to_athena(name):
    """The language of Hive: columns, partitions, how files are read and where they lie, each understood."""
    parsed = sqlglot.parse_one(MADE[name].sql, read="athena", error_level=sqlglot.ErrorLevel.RAISE)
    assert isinstance(parsed, exp.Create)
    assert parsed.kind == "TABLE"
    location = parsed.find(exp.LocationProperty).this.this
    assert location == (
        f"{MANIFEST}/"
        if name.endswith("_runs")
        else segments_location(ARCHIVE, Trail("111122223333", "eu-west-1", "orders"))
    )
    assert (parsed.find(exp.PartitionedByProperty) is None) == name.endswith("_runs")


def test_the_parser_can_refuse():
    """What is no SQL does not pass for it."""
    for wrong in ("CREATE VIEW v AS SELECT (1", "SELECT CASE WHEN a THEN 1", "SELECT a b c FROM t"):
        with pytest.raises(sqlglot.ParseError):
            through_trino(wrong)


def test_the_columns_of_runs_are_those_that_compact_writes():
    """Names and order, and types as Hive has them."""
    parsed = sqlglot.parse_one(MADE["orders_runs"].sql, read="athena")
    told = [(column.name, column.kind.sql("hive").lower()) for column in parsed.find_all(exp.ColumnDef)]
    assert [name for name, _ in told] == RUN_SCHEMA.names
    assert dict(told) | {"changed_attributes": "array<string>", "repeats": "boolean", "segment": "bigint"} == dict(told)
    assert {kind for name, kind in told if name.endswith("_at")} == {"timestamp"}


# --- the view of runs ---


class Runs:
    """DuckDB with the view carried out over the parts that a manifest names."""

    def __init__(self, place: Place) -> None:
        runs = live_runs(place.derived(), TRAIL)
        lines = manifest(DERIVED, runs)
        paths = [str(place.derived_folder / line.removeprefix(f"{DERIVED}/")) for line in lines]
        columns = ", ".join(
            f"{one.name} AT TIME ZONE 'UTC' AS {one.name}" if one.name.endswith("_at") else one.name
            for one in RUN_SCHEMA
        )
        self._connection = duckdb.connect()
        self._connection.execute("SET TimeZone = 'UTC'")
        self._connection.execute("CREATE SCHEMA audit")
        self._connection.execute(f"CREATE VIEW audit.orders_runs AS SELECT {columns} FROM read_parquet({paths})")
        self._connection.execute(through_trino(MADE["orders_run_changes"].sql))
        self.segments = {
            TRAIL.prefix + one.path
            for run in runs
            for one in read_segment_table(place.derived(), run)
            if one.entry >= run.name.start
        }

    def rows(self, what: str) -> list[dict]:
        return self._connection.sql(f"SELECT * FROM audit.orders_{what}").to_arrow_table().to_pylist()


def told_in_runs(world: World, runs: Runs) -> dict[tuple, int]:
    """Each change of the segments that are in runs, by the decoder of segments: how many rows tell of it."""
    found = Counter()
    for identity, segments in world.told.items():
        found[identity] = len(segments.keys() & runs.segments)
    return {identity: count for identity, count in found.items() if count}


@pytest.mark.parametrize("seed", [5, 9, 16, 44])
def test_the_view_of_runs_tells_what_is_in_them(seed, tmp_path):
    """Every change of the segments that the runs were made of, once, and nothing else; what contradicts itself stays."""
    world = make_world(seed)
    place = Place(tmp_path, apart=True, key_names=world.key_names).play(world, len(world.stages) // 2)
    place.compact()  # what a larger run replaces later is still there, and in no manifest
    place.play(world, len(world.stages) - 1).compact()
    runs = Runs(place)
    expected = told_in_runs(world, runs)
    assert expected
    found = runs.rows("run_changes")
    told = Counter((row["stream_label"], row["sequence_number"], row["item_key"]) for row in found)
    assert told.keys() == expected.keys()
    assert len(runs.rows("runs")) >= sum(row["copies"] for row in found) == sum(expected.values())
    table = place.table(with_derived=False)
    changes = {(c.stream_label, c.sequence_number, c.item_key): c for c in table.changes()}
    doubted = {conflict.item_key for conflict in table.conflicts()}
    for row in found:
        identity = row["stream_label"], row["sequence_number"], row["item_key"]
        if identity[2] in doubted:
            continue
        change = changes[identity]
        assert (row["op"], ms_of(row["changed_at"])) == (change.op, change.changed_at_ms)
        assert (by_value(row["old_image"]), by_value(row["new_image"])) == (
            by_value(change.old_image),
            by_value(change.new_image),
        )
        assert f"{row['dt']} {row['hour']}" == f"{row['changed_at']:%Y-%m-%d} {row['changed_at'].hour}"


# --- the command ---

FULL = f"athena 111122223333/eu-west-1/orders -a {ARCHIVE} --since 2026-09-01"


def test_the_table_over_runs_comes_where_its_manifest_is_named(tmp_path, monkeypatch):
    """Six statements instead of four, in the order in which they have to run."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    code, out, err = answer(f"{FULL} --database audit --manifest {MANIFEST} -o jsonl")
    assert code == 0, err
    rows = [json.loads(line) for line in out.splitlines()]
    assert {row["name"]: row["sql"] for row in rows} == {name: one.sql for name, one in MADE.items()}
    assert rows[-1]["kind"] == "prepared"
    code, out, err = answer(f"{FULL} --manifest /var/manifest")
    assert (code, out) == (2, "")
    assert "--manifest /var/manifest cannot stand" in err


def test_the_manifest_names_the_parts_of_live_runs_alone(tmp_path, monkeypatch):
    """A line each, in order; what a larger run has replaced is in none. Runs in a folder are refused: Athena reads S3."""
    world = make_world(16)
    place = Place(tmp_path / "world", apart=True).play(world, len(world.stages) // 2)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    # An archive and runs that say they are in S3 and lie in folders.
    folders = {ARCHIVE: place.archive_folder, DERIVED: place.derived_folder}
    for module in ("query.opening", "query.source"):
        monkeypatch.setattr(f"{module}.open_source", lambda url, _: open_source(str(folders.get(url, url)), Access()))
    asked = f"athena orders --emit manifest -a {ARCHIVE} --derived"
    assert answer(f"{asked} {DERIVED}")[:2] == (1, "")
    place.compact()
    place.play(world, len(world.stages) - 1).compact()
    code, out, err = answer(f"{asked} {DERIVED}")
    assert code == 0, err
    live = [part for run in live_runs(place.derived(), TRAIL) for part in run.parts]
    assert out.splitlines() == [f"{DERIVED}/{part.name}" for part in live]
    assert len(live) < len(list(place.derived_folder.rglob("part-*.parquet"))), "nothing was replaced"
    assert "later changes are not in them" in err
    code, out, err = answer(f"{asked} {place.derived_folder}")
    assert (code, out) == (2, "")
    assert "reads S3 alone" in err


def test_a_folder_for_the_manifest_is_one_in_s3():
    """What would end the text of a statement is refused."""
    assert manifest_location("s3://b/m/") == manifest_location("s3://b/m") == "s3://b/m/"
    for wrong in ("s3://b/it's", "b/m", "s3:///m", "s3://b/${x}"):
        with pytest.raises(UsageError):
            manifest_location(wrong)
