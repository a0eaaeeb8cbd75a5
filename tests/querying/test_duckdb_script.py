"""`ddbtrail duckdb`: a DuckDB that has nothing of ours gives the same answers from the script; what it makes of values is
what we make of them."""

from __future__ import annotations

import json
import tempfile
from decimal import Decimal
from pathlib import Path
from random import Random

import duckdb
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import query
from archiver.format.canonical import canonical
from archiver.format.values import normal_number, same_attributes
from query.cli import run
from query.diff import changed_attributes, changes
from query.duckdb_script import script
from query.engine import sql
from query.instant import format_ms
from query.value_functions import plain_item
from tests.archiving.strategies import images
from tests.campaign import rounds
from tests.querying.test_cli import CONTRADICTION, RECORDS, change, write
from tests.querying.test_simulated import instants
from tests.querying.test_sql_simulated import Asked

SEEDS, LONG_SEEDS, CHUNKS = 4, 40, 2
NOW, LATER = "now() AS asked_at", "TIMESTAMPTZ '2100-01-01 00:00:00Z' AS asked_at"


def plain_duckdb(text: str) -> duckdb.DuckDBPyConnection:
    """A DuckDB as anybody has it, with the script."""
    connection = duckdb.connect()
    connection.execute(text)
    return connection


def rows(connection: duckdb.DuckDBPyConnection, statement: str) -> list[dict]:
    return connection.sql(statement).to_arrow_table().to_pylist()


# --- values ---


@pytest.fixture(scope="module")
def values():
    connection = duckdb.connect()
    for name in ("functions", "values", "plain_value"):
        connection.execute(sql(f"surface_{name}"))
    return connection


def exact(text: str) -> object:
    """JSON as a value, numbers with all their digits, so that only the order of names and spellings are left out."""
    return json.loads(text, parse_float=Decimal, parse_int=Decimal)


def of_pairs(values, asked, pairs):
    """What is asked of each pair of texts, `one` and `other`, in one statement."""
    return values.execute(
        f"SELECT {asked} "
        "FROM (SELECT unnest($ones) AS one, unnest($others) AS other, unnest($places) AS place) ORDER BY place",
        {
            "ones": [one for one, _ in pairs],
            "others": [other for _, other in pairs],
            "places": list(range(len(pairs))),
        },
    ).fetchall()


# Few examples with many items each: to plan the statement costs far more than another item.
@settings(max_examples=20, deadline=None)
@given(st.lists(images, min_size=6, max_size=18))
def test_values_are_what_we_make_of_them(values, found):
    """Plain twins, equality and changed attributes, of any legal item."""
    texts = [canonical(image).decode() for image in found]
    pairs = [(one, other) for one in texts for other in texts[:2]]
    asked = "plain_item(one), value_text(one) = value_text(other), changed_attributes('MODIFY', one, other)"
    told = of_pairs(values, asked, pairs)
    for (one, other), (plain, is_same, names) in zip(pairs, told, strict=True):
        assert exact(plain) == exact(plain_item(one))
        assert is_same == same_attributes(one, other)
        assert names == list(changed_attributes(one, other))


NUMBERS = (
    "0",
    "-0",
    "0.0",
    "1",
    "1.0",
    "10",
    "1E1",
    "1e+1",
    "0.1E2",
    "-1",
    "-1.50",
    "-15E-1",
    ".5",
    "5.",
    "+5",
    "007",
    "1E-130",
)


@pytest.mark.parametrize("one", NUMBERS)
def test_numbers_are_compared_by_value(values, one):
    """However they are spelled."""
    for other in NUMBERS:
        (told,) = values.execute(
            "SELECT number_value($one) = number_value($other)", {"one": one, "other": other}
        ).fetchone()
        assert told == (normal_number(one) == normal_number(other)), (one, other)


@pytest.mark.parametrize(
    "image", ['{"a":{"N":"%s"}}', '{"a":{"NS":["7","%s"]}}', '{"a":{"M":{"b":{"L":[{"N":"%s"}]}}}}', '{"a":{"S":"%s"}}']
)
def test_items_with_numbers_are_compared_by_value(values, image):
    """Wherever they stand, but not what only looks like one."""
    pairs = [(image % one, image % other) for one in NUMBERS for other in NUMBERS]
    told = of_pairs(values, "value_text(one) = value_text(other)", pairs)
    assert [is_same for (is_same,) in told] == [same_attributes(one, other) for one, other in pairs]


def test_sets_are_sets(values):
    """Of numbers too, which come in their order in the plain twin."""
    image = '{"n":{"NS":["10","9","-2","-10","0.5","1E-3","0"]},"s":{"SS":["b","a"]},"z":{"S":"a,b"}}'
    (told,) = values.execute("SELECT plain_item($image)", {"image": image}).fetchone()
    assert told == plain_item(image) == '{"n":[-10,-2,0,1E-3,0.5,9,10],"s":["a","b"],"z":"a,b"}'


# --- answers ---


def check_history(seed: int) -> None:
    """Every relation of the script has the rows that our own SQL has, over one simulated history."""
    with tempfile.TemporaryDirectory() as folder:
        asked = Asked(seed, Path(folder))
        if asked.is_empty:
            return
        text = script(folder, [("orders", asked.table)])
        assert NOW in text
        # Simulated clocks run ahead of this machine's, and an instant in the future is refused.
        connection = plain_duckdb(text.replace(NOW, LATER))
        times = instants(asked.oracle, Random(seed))
        statements = [
            *("FROM orders.versions", "FROM orders.coverage", "SELECT * EXCLUDE (segment) FROM orders.changes"),
            *("FROM orders.attribute_changes", "FROM orders.changes_debezium", "FROM orders.changes_cdf"),
            *(f"FROM orders.states('{format_ms(at_ms)}')" for at_ms in times),
            *(f"FROM orders.as_of('{format_ms(at_ms)}')" for at_ms in times[1:3]),
            f"FROM orders.changes_between('{format_ms(times[1])}', NULL)",
            f"FROM orders.compare('{format_ms(times[1])}', '{format_ms(times[-1])}')",
        ]
        for statement in statements:
            assert compared(rows(connection, statement)) == compared(asked.rows(statement)), f"seed {seed}: {statement}"
        conflicting = {row["item_key"] for row in rows(connection, "FROM orders._conflicting")}
        assert conflicting == {conflict.item_key for conflict in asked.table.conflicts()}


PLAIN = {"item", "old_item", "from_item", "to_item", "old", "new", "before", "after", "key"}


def compared(found: list[dict]) -> list[str]:
    """Rows in one order; plain JSON as a value, since two sortings of names are one item. Of several rows that tell of a
    change any may be named, and may spell what is delivered beside the images in its own way."""
    told = []
    for row in found:
        left = {
            name: value for name, value in row.items() if name not in {"event", "segment", "is_sealed", "user_identity"}
        }
        seen = {name: exact(value) if name in PLAIN and value is not None else value for name, value in left.items()}
        told.append(json.dumps(seen, sort_keys=True, default=str))
    return sorted(told)


@pytest.mark.parametrize("chunk", rounds(CHUNKS // 2, CHUNKS))
def test_a_plain_duckdb_gives_the_same_answers(chunk):
    """4 histories, half of them in `make test`; our own SQL is held against the oracle elsewhere."""
    for seed in range(chunk * SEEDS // CHUNKS, (chunk + 1) * SEEDS // CHUNKS):
        check_history(seed)


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(LONG_SEEDS // SEEDS))
def test_a_plain_duckdb_gives_the_same_answers_in_40_histories(chunk):
    """The same at length."""
    for seed in range(SEEDS * (chunk + 1), SEEDS * (chunk + 2)):
        check_history(seed)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("archive"), RECORDS, [CONTRADICTION])


def test_the_command_writes_the_script(folder, tmp_path, monkeypatch, capsys):
    """Of all tables or of those named; it says what it is not."""
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    assert run(["duckdb", "-a", str(folder), "-O", "all.sql"]) == 0
    assert "nothing is verified" in capsys.readouterr().err
    text = Path("all.sql").read_text()
    assert "NOTHING IS VERIFIED" in text
    connection = plain_duckdb(text)
    archive = query.open(str(folder))
    for statement in (
        "FROM orders.history('CUST#7', 'ORDER#1')",
        "FROM customers.history('4.2E1')",
        "FROM orders.blame('CUST#7', 'ORDER#1')",
        "FROM ledger.changes",
        "FROM unnamed.changes",
        'FROM "111122223333/us-east-1/twins".changes',
        "FROM orders.compare('2026-09-15T00:30:00Z', '2026-09-18T00:00:00Z')",
    ):
        assert compared(rows(connection, statement)) == compared(archive.sql(statement).arrow().to_pylist()), statement
    assert rows(connection, "FROM ledger._conflicting") == [{"item_key": '{"id":{"S":"bad"}}'}]
    assert run(["duckdb", "orders", "-a", str(folder)]) == 0
    assert 'CREATE SCHEMA IF NOT EXISTS "customers"' not in capsys.readouterr().out


@pytest.mark.parametrize("words", [("-o", "json"), ("nothing",), ("-c", "a")])
def test_what_the_command_does_not_do(words, folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert run(["duckdb", *words, "-a", str(folder)]) == 2
    assert not capsys.readouterr().out


def test_nothing_is_written_where_something_is_redacted(folder, tmp_path):
    """A script reads evidence as it is."""
    archive = query.open(str(folder), redact={"orders": ["status"]})
    with pytest.raises(query.UsageError, match="redacted"):
        script(str(folder), [("orders", archive.table("orders"))])
    assert script(str(folder), [("customers", archive.table("customers"))])


def test_a_quote_in_a_name_is_a_quote(tmp_path):
    """In a folder, a key attribute or a stream label nothing becomes SQL."""
    place = tmp_path / "o'; DROP SCHEMA x; --"
    key = {"it's ~/ key": {"S": "a'b"}}
    write(place, [change("orders", 1, "INSERT", key, None, {"v": {"N": "1"}})])
    text = script(str(place), [("orders", query.open(str(place)).table("orders"))])
    connection = plain_duckdb(text)
    assert len(rows(connection, "FROM orders.history('a''b')")) == 1
    with pytest.raises(query.UsageError, match="cannot stand"):
        script(str(tmp_path / "a*b"), [])


def test_the_script_of_s3_loads_what_it_needs(folder):
    """Nothing here can reach S3; the paths are those of the objects."""
    text = script("s3://bucket/prefix", [("orders", query.open(str(folder)).table("orders"))])
    assert "LOAD httpfs;" in text
    assert "'s3://bucket/prefix/v1/account=111122223333/region=eu-west-1/table_name=orders/segments/*/*/" in text
    assert len(duckdb.extract_statements(text)) > 50


def test_the_differences_of_nested_values(values, tmp_path):
    """Maps by name, lists by place, everything else whole, as `ddbtrail diff` has it."""
    old = {
        "m": {"M": {"a.b": {"S": "x"}, "same": {"NS": ["1", "2"]}}},
        "l": {"L": [{"N": "1"}, {"M": {}}]},
        "t": {"S": "1"},
    }
    new = {"m": {"M": {"a.b": {"S": "y"}, "same": {"NS": ["2.0", "1"]}}}, "l": {"L": [{"N": "1.0"}]}, "t": {"N": "1"}}
    place = write(tmp_path / "nested", [change("orders", 1, "MODIFY", {"id": {"S": "a"}}, old, new)])
    connection = plain_duckdb(script(str(place), [("orders", query.open(str(place)).table("orders"))]))
    found = {(row["path"], row["kind"]) for row in rows(connection, "FROM orders.attribute_changes")}
    full = [orjson.loads(canonical(image | {"id": {"S": "a"}})) for image in (old, new)]
    assert found == {(one.path, one.kind) for one in changes(*full)}
    assert ("l[1]", "-") in found
    assert ('m["a.b"]', "~") in found
