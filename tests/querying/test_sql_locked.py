"""The lock on a person's SQL: attacks that work on an open engine, and must not on ours."""

from __future__ import annotations

import http.server
import threading
from pathlib import Path

import pytest

import query.locked
from query.errors import QueryError, UsageError
from query.locked import LockedDatabase

CANARY = "canary-4f6a"


@pytest.fixture
def secret(tmp_path) -> Path:
    """A file that nobody asked about."""
    path = tmp_path / "secret.csv"
    path.write_text(f"word\n{CANARY}\n")
    return path


@pytest.fixture
def database() -> LockedDatabase:
    made = LockedDatabase(memory_limit="500MB", threads=1)
    with made.filling() as filling:
        filling.run("CREATE TABLE kept AS SELECT 1 AS one; CREATE VIEW shown AS SELECT one FROM kept")
    return made


@pytest.fixture
def unlocked(monkeypatch):
    """Takes the lock out, and leaves all the rest."""

    def opened(database: LockedDatabase) -> LockedDatabase:
        monkeypatch.setattr(query.locked, "LOCKS", ())
        database.opens_read_only = False
        return database

    return opened


def attack(database: LockedDatabase, statement: str) -> list:
    """Runs a statement as if nothing had looked at it before: the engine alone stands in the way."""
    return [row for batch in database.run_locked(statement) for row in batch.to_pylist()]


READING = [
    "FROM read_csv('{secret}')",
    "FROM '{secret}'",
    "FROM read_text('{secret}')",
    "FROM read_blob('{secret}')",
    "FROM glob('{folder}/*')",
    "FROM sniff_csv('{secret}')",
    "SELECT * FROM query('FROM read_text(''{secret}'')')",
    "SELECT * FROM query_table(['{secret}'])",
    "EXPLAIN ANALYZE SELECT * FROM read_csv('{secret}')",
    "WITH RECURSIVE r AS (SELECT 1 AS n UNION ALL SELECT n + 1 FROM r WHERE n < 2) SELECT content FROM r, read_text('{secret}')",
]
WRITING = [
    "COPY (SELECT 1) TO '{out}'",
    "COPY kept TO '{out}' (FORMAT parquet)",
    "EXPLAIN ANALYZE COPY (SELECT 1) TO '{out}'",
    "SELECT 1; COPY (SELECT 1) TO '{out}'",
    "COPY kept TO '{secret}'",
    "EXPORT DATABASE '{out}'",
    "ATTACH '{out}' AS other; CREATE TABLE other.t AS SELECT 1",
]
CHANGING = [
    "INSERT INTO kept VALUES (2)",
    "UPDATE kept SET one = 2",
    "DELETE FROM kept",
    "DROP TABLE kept CASCADE",
    "CREATE OR REPLACE VIEW shown AS SELECT 2 AS one",
    "ALTER TABLE kept ADD COLUMN two INTEGER DEFAULT 2",
    "EXPLAIN ANALYZE INSERT INTO kept VALUES (2)",
    "WITH gone AS (DELETE FROM kept RETURNING one) SELECT * FROM gone",
]
SETTING = [
    "SET enable_external_access = true",
    "SET lock_configuration = false",
    "RESET lock_configuration",
    "SET memory_limit = '64GB'",
    "PRAGMA threads = 64",
    "SET allowed_directories = ['/']",
    "SET GLOBAL temp_directory = '/'",
    "SET autoload_known_extensions = true",
    "SET python_enable_replacements = true",
    "PRAGMA enable_profiling = 'json'",
    "CALL enable_logging(storage = 'file', storage_path = '{out}')",
]
OTHERS = [
    "INSTALL httpfs",
    "FORCE INSTALL httpfs FROM 'http://127.0.0.1:1'",
    "LOAD httpfs",
    "LOAD '{out}.duckdb_extension'",
    "UPDATE EXTENSIONS",
    "ATTACH ':memory:' AS other",
    "ATTACH 'postgres:host=127.0.0.1' AS other (TYPE postgres)",
    "CREATE SECRET s (TYPE s3, KEY_ID 'a', SECRET 'b')",
    "CREATE PERSISTENT SECRET s (TYPE http, BEARER_TOKEN 'b')",
    "SELECT getenv('CANARY')",
    "IMPORT DATABASE '{folder}'",
    "FROM read_csv('http://127.0.0.1:{port}/x.csv')",
    "FROM read_parquet('s3://bucket/key.parquet')",
    "FROM outside",
]


def told(statement: str, secret: Path, port: int = 1) -> str:
    folder = secret.parent
    return statement.format(secret=secret, folder=folder, out=folder / "out", port=port)


@pytest.mark.parametrize("statement", READING)
def test_no_file_is_read(statement, database, secret):
    """What lies on the machine is none of the archive's."""
    with pytest.raises(QueryError) as refused:
        attack(database, told(statement, secret))
    assert CANARY not in str(refused.value.three_lines())


@pytest.mark.parametrize("statement", WRITING)
def test_no_file_is_written(statement, database, secret):
    """Neither a new one, nor one that is there."""
    with pytest.raises(QueryError):
        attack(database, told(statement, secret))
    assert [path.name for path in secret.parent.iterdir()] == ["secret.csv"]
    assert CANARY in secret.read_text()


@pytest.mark.parametrize("statement", CHANGING)
def test_what_was_read_stays_as_it_is(statement, database, secret):
    """An answer rests on what the archive holds, not on the statement before."""
    with pytest.raises(QueryError):
        attack(database, told(statement, secret))
    assert attack(database, "SELECT one FROM shown") == [{"one": 1}]


@pytest.mark.parametrize("statement", SETTING)
def test_no_setting_is_changed(statement, database, secret):
    """The lock is one of them."""
    with pytest.raises(QueryError):
        attack(database, told(statement, secret))
    assert [path.name for path in secret.parent.iterdir()] == ["secret.csv"]


class Listening(http.server.BaseHTTPRequestHandler):
    asked: list[str]

    def do_GET(self) -> None:
        self.asked.append(self.path)
        self.send_error(404)

    do_HEAD = do_GET

    def log_message(self, *_: object) -> None: ...


@pytest.mark.parametrize("statement", OTHERS)
def test_nothing_else_is_reached(statement, database, secret, monkeypatch):
    """No extension, no network, no other database, no secret, no environment, no object of this process."""
    monkeypatch.setenv("CANARY", CANARY)
    outside = [{"word": CANARY}]
    assert outside
    handler = type("Handler", (Listening,), {"asked": []})
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        try:
            with pytest.raises(QueryError) as refused:
                attack(database, told(statement, secret, server.server_address[1]))
        finally:
            server.shutdown()
    assert not handler.asked
    assert CANARY not in refused.value.three_lines()


@pytest.mark.parametrize("statement", [READING[0], READING[1], READING[2], READING[4], READING[6], READING[9]])
def test_without_the_lock_a_file_is_read(statement, database, secret, unlocked):
    """These attacks are real: it is the lock that stops them."""
    found = attack(unlocked(database), told(statement, secret))
    assert CANARY in str(found) or "secret.csv" in str(found)


@pytest.mark.parametrize("statement", WRITING)
def test_without_the_lock_a_file_is_written(statement, database, secret, unlocked):
    attack(unlocked(database), told(statement, secret))
    assert (secret.parent / "out").exists() or CANARY not in secret.read_text()


@pytest.mark.parametrize("statement", [one for one in CHANGING if not one.startswith("WITH gone")])
def test_without_the_lock_answers_change(statement, database, secret, unlocked):
    database = unlocked(database)
    attack(database, statement)
    try:
        assert attack(database, "FROM kept") != [{"one": 1}] or attack(database, "FROM shown") != [{"one": 1}]
    except UsageError as error:
        assert "kept" in error.three_lines()  # noqa: PT017  a table that is gone is a change too


def test_only_reading_is_answered(database):
    """What does more than read is told so before the engine sees it, and several statements are no question."""
    for statement in (
        "COPY kept TO 'x'",
        "SET threads = 1",
        "CREATE TEMP TABLE t AS SELECT 1",
        "ATTACH 'x'",
        "PRAGMA version",
    ):
        with pytest.raises(UsageError, match="is not answered"):
            database.check(statement)
    with pytest.raises(UsageError, match="2 statements"):
        database.check("SELECT 1; SELECT 2")
    with pytest.raises(UsageError, match="no statement"):
        database.check(" -- nothing")


def test_the_answer_is_more_than_memory(database):
    """Beyond its limit the engine spills, into the folder that only this user can enter."""
    (rows,) = attack(
        database, "SELECT count(*) AS n FROM (SELECT i, repeat('x' || i, 9) AS t FROM range(800_000) r(i) ORDER BY t)"
    )
    assert rows == {"n": 800_000}
    assert database.folder.stat().st_mode & 0o077 == 0


def test_nothing_is_left_behind(database):
    """Copies of evidence go with the session."""
    folder = database.folder
    assert folder.exists()
    database.close()
    assert not folder.exists()
