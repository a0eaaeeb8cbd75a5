"""`ddbtrail sql`: what a statement is answered, from a command, a file, a pipe and a prompt."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import pyarrow.parquet as pq
import pytest

import query
from query.cli import run
from query.cli.sql_prompt import history_file
from query.surface import RELATIONS, schema_names
from tests.campaign import rounds
from tests.querying.test_cli import (
    CONTRADICTION,
    HUGE,
    RECORDS,
    Answer,
    change,
    change_id,
    command,
    on_terminal,
    write,
)

SHIPPED_AT, DURING = "2026-09-17T00:00:00Z", "2026-09-16T12:00:00Z"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("archive"), RECORDS, [CONTRADICTION])


@pytest.fixture(autouse=True)
def outside(tmp_path, monkeypatch):
    """No configuration of the person who runs the tests."""
    for name in [*os.environ]:
        if name.startswith(("DDBTRAIL_", "XDG_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


@pytest.fixture
def ask(folder, monkeypatch, capsys):
    monkeypatch.setenv("DDBTRAIL_ARCHIVE", str(folder))

    def asked(*tokens):
        code = run(tokens)
        return Answer(code, *capsys.readouterr())

    return asked


@pytest.fixture(scope="module")
def archive(folder):
    return query.open(str(folder))


# --- answers ---


def test_the_rows_of_as_of_are_those_of_the_command(ask):
    """One vocabulary: a column learnt on one surface has the same name and the same value on the other."""
    shared = ("item_key", "item", "image", "changed_at", "change_id", "valid_from")
    ours = ask("sql", f"FROM orders.as_of('{DURING}') ORDER BY item_key")
    theirs = ask("as-of", "orders", DURING, "-c", ",".join(shared))
    assert ours.code == theirs.code == 0
    assert [{name: row[name] for name in shared} for row in ours.rows] == theirs.rows
    assert len(ours.rows) == 3


def test_the_rows_of_history_are_those_of_the_command(ask):
    """Newest first, the columns that scripts read."""
    shared = ("item_key", "change_id", "op", "changed_at", "sequence_number", "stream_label", "actor", "actor_source")
    shared += ("changed_attributes", "item", "old_item", "new_image", "old_image", "user_identity", "event", "segment")
    for key in (("CUST#7", "ORDER#1"), ("CUST#7",)):
        values = ", ".join(f"'{part}'" for part in key)
        ours = ask("sql", f"FROM orders.history({values})")
        theirs = ask("history", "orders", *key, "-c", ",".join(shared))
        assert [{name: row[name] for name in shared} for row in ours.rows] == theirs.rows
        assert ours.rows
    since = ask("sql", f"FROM orders.history('CUST#7', since => '{SHIPPED_AT}')")
    assert [row["change_id"] for row in since.rows] == [change_id("orders", number) for number in (6, 5)]
    until = ask("sql", f"FROM orders.history('CUST#7', 'ORDER#1', until => '{SHIPPED_AT}')")
    assert [row["change_id"] for row in until.rows] == [change_id("orders", number) for number in (3, 1)]


@pytest.mark.parametrize("key", ["42", "'42'", "'4.2E1'", "'042.0'", "42.0::DECIMAL(5, 1)"])
def test_a_number_is_found_by_value(ask, key):
    """However it is written; text that is no number, and a double, are refused and not guessed."""
    assert [row["item"]["name"] for row in ask("sql", f"FROM customers.history({key})").rows] == ["Ada"]


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        ("FROM customers.history('abc')", "'abc' is not a number"),
        ("FROM customers.history(42::DOUBLE)", "is not exact"),
        ("FROM customers.history('42', 'x')", "has no sort key"),
        ("FROM orders.history(7)", "write it as text"),
        ("FROM orders.history(NULL)", "take the value of the partition key"),
        ("FROM unnamed.history('x')", "key schema of this table is not known"),
        ("FROM orders.as_of('2026-09-15T12:00:00')", "no instant with a time zone"),
        ("FROM orders.as_of('2026-09-15')", "no instant with a time zone"),
        ("FROM orders.as_of('2026-02-30T00:00:00Z')", "no real date"),
        ("FROM orders.as_of(DATE '2026-09-15')", "a DATE has no time zone"),
        ("FROM orders.as_of(TIMESTAMP '2026-09-15 00:00:00')", "a TIMESTAMP has no time zone"),
        ("FROM orders.as_of('2999-01-01T00:00:00Z')", "in the future"),
        ("FROM orders.changes_between('yesterday', NULL)", "no instant with a time zone"),
        ("FROM orders.history('CUST#7', since => '2026-09-15 00:00')", "no instant with a time zone"),
        ("FROM orders.compare(NULL, '2026-09-15')", "no instant with a time zone"),
        ("selec 1", 'syntax error at or near "selec"'),
        ("FROM orders.nothing", "does not exist"),
        ("FROM changes", "does not exist"),
        ("SELECT nothing FROM orders.changes", "nothing"),
        ("COPY (SELECT 1) TO 'x'", "SQL reads here"),
        ("SELECT 1; SELECT 2", "one is answered at a time"),
        ("", "no statement"),
        ("FROM read_csv('/etc/passwd')", "disabled by configuration"),
    ],
)
def test_what_cannot_be_asked_is_told(ask, statement, words):
    """Exit code 2, the engine's words, and what to type instead; no rows, no files."""
    answer = ask("sql", statement)
    assert answer.code == 2, answer.err
    assert words in answer.err
    assert not answer.out
    assert not Path("x").exists()


def test_an_unknown_table_is_answered_with_those_there_are(ask):
    """A name that was mistyped."""
    answer = ask("sql", "FROM orderz.changes LIMIT 1")
    assert answer.code == 2
    assert "customers" in answer.err
    assert "orders" in answer.err


def test_blame_names_the_change_that_set_each_attribute(ask):
    """Of what the item has now; how often each was touched."""
    rows = {row["attribute"]: row for row in ask("sql", "FROM orders.blame('CUST#7', 'ORDER#1')").rows}
    assert set(rows) == {"lines", "pk", "raw", "sk", "status", "tags", "total"}
    found = {name: (row["change_id"], row["times_changed"]) for name, row in rows.items()}
    assert found["status"] == found["total"] == (change_id("orders", 5), 2)
    assert found["lines"] == (change_id("orders", 3), 2)
    assert found["pk"] == (change_id("orders", 1), 1)
    assert str(rows["total"]["value"]) == HUGE
    assert rows["tags"]["value"] == ["a", "b"]
    assert not ask("sql", "FROM orders.blame('CUST#7', 'ORDER#2')").rows, "it is gone"


def test_compare_tells_what_is_there_no_more(ask):
    rows = ask("sql", "FROM orders.compare('2026-09-15T00:30:00Z', '2026-09-18T00:00:00Z')").rows
    assert {row["item_key"]["sk"] + row["item_key"]["pk"]: row["diff_type"] for row in rows} == {
        "ORDER#1CUST#7": "modified",
        "ORDER#2CUST#7": "removed",
        "ORDER#1CUST#8": "modified",
    }


def test_the_names_of_debezium(ask):
    """c, u and d; before and after as plain JSON; a delete has no after."""
    rows = ask("sql", "FROM orders.changes_debezium ORDER BY source.sequence").rows
    assert [row["op"] for row in rows] == ["c", "c", "u", "u", "u", "d"]
    assert rows[0]["before"] is None
    assert rows[0]["after"]["status"] == "NEW"
    assert rows[4]["before"]["status"] == "NEW"
    assert rows[4]["after"]["status"] == "SHIPPED"
    assert rows[5]["after"] is None
    assert rows[5]["key"] == {"pk": "CUST#7", "sk": "ORDER#2"}
    assert rows[0]["source"]["table"] == "orders"
    assert rows[0]["ts_ms"] == rows[0]["source"]["ts_ms"] == 1_789_430_400_000


def test_the_names_of_deltas_change_data_feed(ask):
    """An update is two rows, the item before and after."""
    rows = ask("sql", "FROM orders.changes_cdf ORDER BY _commit_version, _change_type DESC").rows
    assert [row["_change_type"] for row in rows] == [
        *("insert", "insert"),
        *("update_preimage", "update_postimage") * 3,
        "delete",
    ]
    assert [row["item"].get("status") for row in rows[6:8]] == ["NEW", "SHIPPED"]
    assert rows[-1]["item"]["note"]
    assert rows[0]["_commit_timestamp"] == "2026-09-15T00:00:00Z"


def test_contradicting_evidence_is_named_and_left_out(ask):
    """The other items are answered; the exit code says that not all of it could be."""
    answer = ask("sql", "SELECT item_key FROM ledger.changes")
    assert answer.code == 4
    assert [row["item_key"] for row in answer.rows] == [{"id": "good"}]
    assert '{"id":{"S":"bad"}}' in answer.err
    assert ask("sql", "SELECT item_key FROM ledger.as_of('2026-09-16T00:00:00Z')").rows == answer.rows


def test_what_the_trail_cannot_tell_is_said(ask):
    """as_of has no row for an item whose state is unknown: that is said, and states names it with the reason."""
    answer = ask("sql", "FROM keysonly.as_of('2026-09-16T00:00:00Z')")
    assert not answer.rows
    assert "states names them" in answer.err
    assert "no baseline" in answer.err
    (row,) = ask("sql", "FROM keysonly.states('2026-09-16T00:00:00Z')").rows
    assert (row["outcome"], row["reason"]) == ("unknown", "missing-image")


# --- what is read ---


def test_only_what_a_statement_names_is_read(folder):
    """A statement about one table fetches no file of another, and coverage reads no image."""
    opened = query.open(str(folder))
    spent = []
    for statement in ("SELECT 1", "FROM customers.coverage", "FROM customers.changes", "FROM customers.versions"):
        opened.sql(statement)
        spent.append(opened.traffic[1])
    assert spent[0] == spent[1] - (spent[1] - spent[0])
    files = sum(path.stat().st_size for path in folder.rglob("*customers*/segments/**/*.parquet"))
    assert 0 < spent[3] - spent[0] <= 3 * files
    assert spent[3] == spent[2], "what was read is not read again"


def test_a_relation_that_is_not_named_is_not_there(archive):
    """Dynamic SQL could name it later: then it fails, rather than finding an empty table."""
    with pytest.raises(query.UsageError, match="is not answered"):
        archive.sql("SELECT * FROM query('FROM or' || 'ders.changes')")


def test_evidence_that_was_changed_gives_no_answer(tmp_path, monkeypatch, capsys):
    """The gate stands before SQL too: a file is parsed only after its digest was found right."""
    folder = write(tmp_path / "damaged", RECORDS)
    segment = next(folder.glob("v1/*/*/table_name=orders/segments/**/*.parquet"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    monkeypatch.setenv("DDBTRAIL_ARCHIVE", str(folder))
    assert run(["sql", "SELECT count(*) FROM orders.changes"]) == 4
    assert "cannot be read as evidence" in capsys.readouterr().err


def test_names_that_sql_does_not_tell_apart():
    """Capitals, a table of two regions, and words that mean something else to the engine get their longer name."""
    from archiver.format.layout import Trail

    found = schema_names(
        [
            Trail("111122223333", "eu-west-1", "orders"),
            Trail("111122223333", "eu-west-1", "Orders"),
            Trail("111122223333", "eu-west-1", "main"),
            Trail("111122223333", "eu-west-1", "a.b-c"),
        ]
    )
    assert list(found) == [
        "111122223333/eu-west-1/orders",
        "111122223333/eu-west-1/Orders",
        "111122223333/eu-west-1/main",
        "a.b-c",
    ]


def test_a_table_of_any_name_is_asked(tmp_path):
    """Dots, dashes, words of SQL, and one name in two regions."""
    names = ("prod-orders.v2", "select", "main", "temp", "123")
    records = [change(name, 1, "INSERT", {"id": {"S": "a"}}, None, {"v": {"N": "1"}}) for name in names]
    twins = [change("twins", 1, "INSERT", {"id": {"N": "1"}}, None, {}, region=region) for region in ("eu-1", "us-1")]
    archive = query.open(str(write(tmp_path / "names", records + twins)))
    schemas = ["prod-orders.v2", "select", "111122223333/eu-west-1/main", "111122223333/eu-west-1/temp", "123"]
    schemas += ["111122223333/eu-1/twins", "111122223333/us-1/twins"]
    for schema in schemas:
        assert len(archive.sql(f'FROM "{schema}".changes')) == 1
        assert len(archive.sql(f"FROM \"{schema}\".as_of('2026-09-16T00:00:00Z')")) == 1


def test_every_relation_says_what_it_is(archive):
    """Clients show comments."""
    archive.sql("SELECT * FROM orders.as_of('2026-09-16T00:00:00Z'), orders.coverage")
    told = archive.sql(
        "SELECT view_name AS name, comment FROM duckdb_views() WHERE schema_name = 'orders' UNION ALL "
        "SELECT function_name, comment FROM duckdb_functions() WHERE schema_name = 'orders' AND function_type = 'table_macro'"
    ).arrow()
    found = {row["name"]: row["comment"] for row in told.to_pylist() if not row["name"].startswith("_")}
    assert set(found) == set(RELATIONS)
    assert all(found.values()), found


# --- redaction ---

CANARY = "4242-canary-4242"


@pytest.fixture
def redacted(tmp_path, monkeypatch):
    """An archive with a value that must never be shown, in an attribute and in a key."""
    card = {"card": {"S": CANARY}, "n": {"N": "1"}}
    records = [
        change("orders", 1, "INSERT", {"pk": {"S": "a"}, "sk": {"S": "b"}}, None, card),
        change("orders", 2, "MODIFY", {"pk": {"S": "a"}, "sk": {"S": "b"}}, card, card | {"n": {"N": "2"}}),
        change("orders", 3, "MODIFY", {"pk": {"S": "a"}, "sk": {"S": "b"}}, card, {"card": {"S": "other"}}),
        change("cards", 1, "INSERT", {"card": {"S": CANARY}}, None, {"n": {"N": "1"}}),
        change("cards", 2, "MODIFY", {"card": {"S": CANARY}}, {"n": {"N": "1"}}, {"n": {"N": "2"}}),
        change("cards", 3, "INSERT", {"card": {"S": "another"}}, None, {"n": {"N": "1"}}),
    ]
    folder = write(tmp_path / "redacted", records)
    Path("ddbtrail.toml").write_text(
        f'default_archive = "here"\n[archives.here]\nurl = "{folder}"\n'
        '[archives.here.tables.orders]\nredact = ["card"]\nactor_attribute = "card"\n'
        '[archives.here.tables.cards]\nredact = ["card"]\nkey_schema = "card"\n'
    )
    return folder


FORMATS = ("jsonl", "csv", "table", "parquet")


@pytest.mark.parametrize("table", ["orders", "cards"])
@pytest.mark.parametrize("turn", rounds(1, len(FORMATS)))
def test_no_statement_shows_what_is_redacted(redacted, table, turn, capsysbinary, tmp_path):
    """In no relation, no column and no system table, in no format, and not in the words of an error. Formats take turns;
    `make test-long` has each statement in all the others too."""
    instant = "'2026-09-16T00:00:00Z'"
    relations = [
        *("changes", "versions", "attribute_changes", "changes_debezium", "changes_cdf", "coverage"),
        *(f"as_of({instant})", f"states({instant})", f"compare('2026-09-14T00:00:00Z', {instant})"),
        *("changes_between(NULL, NULL)", "_changes", "_baseline_items", "_key", "_segments"),
    ]
    statements = [f"FROM {table}.{relation} -- {table}.states" for relation in relations]
    if table == "orders":
        statements += ["FROM orders.history('a')", "FROM orders.blame('a', 'b')"]
    statements.append(f"SELECT error(string_agg(c::VARCHAR)) FROM {table}.changes AS c")
    for number, statement in enumerate(statements):
        output = FORMATS[(number + turn) % len(FORMATS)]
        target = tmp_path / f"{number}.{output}"
        written = ["-O", str(target)] if output == "parquet" else ["-o", output]
        code = run(["sql", statement, "-a", "here", *written])
        out, err = capsysbinary.readouterr()
        assert code == (2 if "error(" in statement else 0), err
        assert CANARY.encode() not in out + err
        if output == "parquet" and target.exists():
            assert CANARY not in str(pq.read_table(target).to_pylist())


def test_a_masked_value_is_still_compared(redacted, monkeypatch):
    """A change of it is told, and equal values are equal; only they themselves are not there."""
    archive = query.open(str(redacted), redact={"orders": ["card"], "cards": ["card"]}, key_schema={"cards": ("card",)})
    rows = archive.sql("SELECT changed_attributes FROM orders.changes ORDER BY sequence_number").arrow().to_pylist()
    assert [row["changed_attributes"] for row in rows] == [["card", "n", "pk", "sk"], ["n"], ["card", "n"]]
    told = (
        archive.sql("SELECT old, new FROM orders.attribute_changes WHERE path = 'card' AND kind = '~'")
        .arrow()
        .to_pylist()
    )
    assert len(told) == 1
    assert told[0]["old"] != told[0]["new"]
    assert len(archive.sql("SELECT DISTINCT item_key FROM cards.changes")) == 2
    with pytest.raises(query.UsageError) as refused:
        archive.sql("FROM cards.history('another')")
    assert "redacted" in refused.value.why


# --- formats, files, pipes, the prompt ---


def test_every_type_is_written(ask, tmp_path):
    """What JSON cannot hold is told as text; numbers keep their digits."""
    statement = (
        "SELECT 1 AS i, 1.50::DECIMAL(5, 2) AS d, 12345678901234567890123::HUGEINT AS h, 0.5::DOUBLE AS f, 'x'::BLOB AS b, "
        "DATE '2026-01-02' AS day, TIMESTAMP '2026-01-02 03:04:05' AS naive, TIMESTAMPTZ '2026-01-02 03:04:05Z' AS t, "
        "INTERVAL 3 DAYS AS span, [1, 2] AS l, {'a': [1.5]} AS s, MAP {'k': 1} AS m, NULL AS nothing, true AS yes, "
        "'not json' AS item, 1 AS i"
    )
    (row,) = ask("sql", statement, "-o", "jsonl").rows
    assert json.loads(json.dumps(row, default=str)) == {
        "i": 1, "d": "1.50", "h": 12345678901234567890123, "f": "0.5", "b": "78", "day": "2026-01-02",
        "naive": "2026-01-02T03:04:05", "t": "2026-01-02T03:04:05Z", "span": row["span"], "l": [1, 2],
        "s": {"a": ["1.5"]}, "m": row["m"], "nothing": None, "yes": True, "item": "not json", "i_1": 1,
    }  # fmt: skip
    for output in ("json", "csv", "tsv", "table", "md", "html"):
        answer = ask("sql", statement, "-o", output)
        assert answer.code == 0, answer.err
        assert "12345678901234567890123" in answer.out
    assert ask("sql", statement, "-O", str(tmp_path / "all.parquet")).code == 0
    assert pq.read_table(tmp_path / "all.parquet").num_rows == 1


def test_columns_are_picked(ask):
    answer = ask("sql", "FROM orders.changes", "-c", "op,change_id")
    assert list(answer.rows[0]) == ["op", "change_id"]
    assert ask("sql", "FROM orders.changes", "-c", "nothing").code == 2


def test_a_file_and_a_pipe(ask, monkeypatch, tmp_path):
    """`-f FILE`, `-f -`, and what comes in on stdin."""
    import io

    file = tmp_path / "one.sql"
    file.write_text("-- how many\nSELECT count(*) AS n\nFROM orders.changes;\n")
    assert ask("sql", "-f", str(file)).rows == [{"n": 6}]
    for tokens in (("sql",), ("sql", "-f", "-")):
        monkeypatch.setattr(sys, "stdin", io.StringIO(file.read_text()))
        answer = ask(*tokens)
        assert answer.rows == [{"n": 6}], answer.err
    assert ask("sql", "SELECT 1", "-f", str(file)).code == 2
    assert ask("sql", "-f", "nowhere.sql").code == 2


def test_the_prompt(folder, tmp_path):
    """Several lines, words of its own, an error that ends nothing, and a history for the next time."""
    environ = {
        "DDBTRAIL_ARCHIVE": str(folder),
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(Path(__file__).parents[2]),
        "TERM": "dumb",
        "PAGER": "cat",
    }
    typed = b".tables\n.help\n.what\nselec 1;\nSELECT count(*) AS how_many\nFROM orders.changes;\nSELECT 7 AS seven;\n.quit\n"
    code, shown = on_terminal(["sql"], environ, typed)
    assert code == 0
    assert "...>" in shown
    for words in ("customers", "changes_debezium", ".what is no word", "HOW MANY", "SEVEN"):
        assert words in shown, shown
    kept = history_file({}, tmp_path)
    if kept.exists():  # where Python has readline
        assert "FROM orders.changes;" in kept.read_text()
        assert kept.stat().st_mode & 0o077 == 0
    assert command("sql")


def test_an_answer_in_python_is_arrow(archive):
    """polars, pandas and DuckDB take it as it is."""
    answer = archive.sql("SELECT op, count(*) AS n FROM orders.changes GROUP BY ALL ORDER BY op")
    assert answer.arrow().to_pylist() == [{"op": "INSERT", "n": 2}, {"op": "MODIFY", "n": 3}, {"op": "REMOVE", "n": 1}]
    assert len(answer) == 3
    import pyarrow as pa

    assert pa.table(answer).num_rows == 3
    assert archive.sql("SELECT 1 FROM ledger.changes").conflicts
