"""The command line on a small real archive: answers, exit codes, formats, streams, manners."""

import contextlib
import csv
import io
import json
import os
import pty
import re
import select
import signal
import subprocess
import sys
import time
from decimal import Decimal
from hashlib import sha256
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli import COMMANDS, run
from query.cli.reference import block, commands, renewed
from tests.delivery import delivered

ROOT = Path(__file__).parents[2]
LABEL = "2026-09-01T00:00:00.000"
ARRIVED_MS = 1_791_000_000_000
HUGE = "12345678901234567890123456789012345678"
EVIL = "=1+1\x1b[2J\u202e"
DAY = 1_789_430_400  # 2026-09-15T00:00:00Z


def change(
    table, number, op, key, old=None, new=None, *, at=DAY, region="eu-west-1", view="NEW_AND_OLD_IMAGES", **rest
):
    """One record as Lambda delivers it; images without their key attributes."""
    made = delivered(
        op,
        key,
        old,
        new,
        sequence_number=100_000_000_000_000_000_000 + number,
        changed_at_s=at,
        arn=f"arn:aws:dynamodb:{region}:111122223333:table/{table}/stream/{LABEL}",
        event_id=change_id(table, number),
        view_type=view,
    )
    return made | rest


def change_id(table, number):
    return sha256(f"{table}{number}".encode()).hexdigest()[:32]


def order(partition, sort):
    return {"pk": {"S": partition}, "sk": {"S": sort}}


ORDER_1, ORDER_2, OLDER = order("CUST#7", "ORDER#1"), order("CUST#7", "ORDER#2"), order("CUST#8", "ORDER#1")
NEW = {"status": {"S": "NEW"}, "total": {"N": "21.10"}, "lines": {"L": [{"M": {"qty": {"N": "4"}}}]}}
MORE = NEW | {"lines": {"L": [{"M": {"qty": {"N": "5"}}}]}}
SHIPPED = MORE | {
    "status": {"S": "SHIPPED"},
    "total": {"N": HUGE},
    "tags": {"SS": ["b", "a"]},
    "raw": {"B": "3q2+7w=="},
}
TTL = {"userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"}}

RECORDS = [
    change("orders", 1, "INSERT", ORDER_1, None, NEW, at=DAY),
    change("orders", 2, "INSERT", ORDER_2, None, {"note": {"S": EVIL}}, at=DAY + 100),
    change("orders", 3, "MODIFY", ORDER_1, NEW, MORE, at=DAY + 86_400),
    change("orders", 4, "MODIFY", OLDER, {"n": {"N": "1"}}, {"n": {"N": "2"}}, at=DAY + 100_000),
    change("orders", 5, "MODIFY", ORDER_1, MORE, SHIPPED, at=DAY + 172_800),
    change("orders", 6, "REMOVE", ORDER_2, {"note": {"S": EVIL}}, at=DAY + 200_000, **TTL),
    change("customers", 1, "INSERT", {"id": {"N": "42"}}, None, {"name": {"S": "Ada"}}),
    change("customers", 2, "INSERT", {"id": {"N": "-5"}}, None, {"name": {"S": "Below"}}),
    change("twins", 1, "INSERT", {"id": {"N": "1"}}, None, {}),
    change("twins", 1, "INSERT", {"id": {"N": "1"}}, None, {}, region="us-east-1"),
    change("keysonly", 1, "MODIFY", {"id": {"S": "a"}}, view="KEYS_ONLY"),
    change("keysonly", 2, "MODIFY", {"id": {"S": "a"}}, at=DAY + 9, view="KEYS_ONLY"),
    change("unnamed", 1, "INSERT", {"a": {"S": "x"}, "b": {"N": "1"}}, None, {"v": {"S": "here"}}),
    change("ledger", 1, "INSERT", {"id": {"S": "good"}}, None, {"v": {"N": "1"}}),
    change("ledger", 2, "INSERT", {"id": {"S": "bad"}}, None, {"v": {"N": "1"}}),
]
CONTRADICTION = change("ledger", 2, "INSERT", {"id": {"S": "bad"}}, None, {"v": {"N": "2"}})


def write(folder, *batches):
    writer = Writer(FolderStore(folder), Streams(key_schema={"orders": ("pk", "sk")}))
    for batch in batches:
        writer.archive(batch, now_ms=ARRIVED_MS)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write(tmp_path_factory.mktemp("archive"), RECORDS, [CONTRADICTION])


@pytest.fixture(autouse=True)
def outside(tmp_path, monkeypatch):
    """No configuration of the person who runs the tests, and none above the repository."""
    for name in [*os.environ]:
        if name.startswith("DDBTRAIL_") or name in {"NO_COLOR", "FORCE_COLOR", "PAGER"}:
            monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)


class Answer:
    """What a command wrote, and its exit code."""

    def __init__(self, code, out, err):
        self.code, self.out, self.err = code, out, err

    @property
    def rows(self):
        return [json.loads(line, parse_float=Decimal) for line in self.out.splitlines()]


@pytest.fixture
def ask(folder, monkeypatch, capsys):
    """Runs a command on the archive, in this process."""
    monkeypatch.setenv("DDBTRAIL_ARCHIVE", str(folder))

    def asked(*tokens):
        code = run(tokens)
        return Answer(code, *capsys.readouterr())

    return asked


# --- answers ---


def test_tables_lists_what_there_is(ask):
    """The first command that anyone types."""
    answer = ask("tables")
    assert answer.code == 0
    orders = next(row for row in answer.rows if row["table_name"] == "orders")
    assert orders == {
        "account": "111122223333",
        "region": "eu-west-1",
        "table_name": "orders",
        "key_schema": [{"name": "pk", "type": "S"}, {"name": "sk", "type": "S"}],
        "covered_since": "2026-09-15T00:00:00Z",
        "newest_change": "2026-09-17T07:33:20Z",
        "changes": 6,
        "items": 3,
        "gaps": 0,
        "quarantined": 0,
    }


def test_the_table_of_tables_is_readable(ask):
    """Trails of one name are told apart, since the name alone would be refused."""
    lines = ask("tables", "-o", "table").out.splitlines()
    assert lines[0].split()[:5] == ["ACCOUNT", "REGION", "TABLE", "NAME", "KEYS"]
    assert any("pk S, sk S" in line for line in lines)


def test_history_is_one_change_a_line_newest_first(ask):
    """The interface that scripts use."""
    answer = ask("history", "orders", "CUST#7", "ORDER#1")
    assert answer.code == 0
    assert [row["change_id"] for row in answer.rows] == [change_id("orders", number) for number in (5, 3, 1)]
    newest = answer.rows[0]
    assert list(newest) == [
        *("table_name", "item_key", "change_id", "op", "changed_at", "sequence_number", "stream_label"),
        *("actor", "actor_source", "actor_reason", "changed_attributes", "changes", "item", "is_sealed"),
    ]
    assert newest["changed_attributes"] == ["raw", "status", "tags", "total"]
    assert answer.rows[1]["changes"] == [{"path": "lines[0].qty", "old": 4, "new": 5}]
    assert f'"total":{HUGE}' in answer.out
    assert "First recorded change: 2026-09-15 00:00:00Z (INSERT, so this is its creation)" in answer.err
    assert "3 of 3 changes shown" in answer.err


def test_history_of_a_deleted_item_names_who_deleted_it(ask):
    """An expiry is the one actor that a stream reports; the writer of the last content did not delete it."""
    removal = ask("history", "orders", "CUST#7", "ORDER#2", "-n", "1").rows[0]
    assert (removal["op"], removal["actor"], removal["item"]) == ("REMOVE", "dynamodb-ttl", None)


@pytest.mark.parametrize(
    ("options", "numbers"),
    [
        (("--op", "insert"), [1]),
        (("--op", "insert,modify", "-n", "2"), [5, 3]),
        (("--attr", "lines[0].qty"), [3, 1]),
        (("--attr", "status", "--attr", "tags"), [5, 1]),
        (("--since", "2026-09-16"), [5, 3]),
        (("--until", "2026-09-17"), [3, 1]),
        (("--during", "2026-09-16"), [3]),
        (("--during", "2026-09-15", "--reverse"), [1]),
        (("--reverse",), [1, 3, 5]),
    ],
)
def test_history_shows_what_was_asked_for(ask, options, numbers):
    """`since` is in, `until` is out: two ranges that meet hold every change once."""
    answer = ask("history", "orders", "CUST#7", "ORDER#1", *options)
    assert [row["change_id"] for row in answer.rows] == [change_id("orders", number) for number in numbers]


def test_a_range_is_echoed(ask):
    """What was typed and what was understood may differ by a time zone."""
    answer = ask("history", "orders", "CUST#7", "ORDER#1", "--during", "2026-Q3")
    assert "2026-07-01T00:00:00Z ≤ t < 2026-10-01T00:00:00Z (2026-Q3, UTC)" in answer.err


@pytest.mark.parametrize(
    "key",
    [
        ("--key", "pk=CUST#7", "--key", "sk=ORDER#1"),
        ("--key", '{"pk":"CUST#7","sk":"ORDER#1"}'),
        ("--key", '{"pk":{"S":"CUST#7"},"sk":{"S":"ORDER#1"}}'),
    ],
)
def test_a_key_may_be_pasted_as_it_is(ask, key):
    """From a log line, from the console, from code."""
    assert len(ask("history", "orders", *key).rows) == 3


def test_a_key_that_begins_with_a_dash_goes_after_two(ask):
    """-5 is a number, and `-x` would be an option."""
    assert ask("get", "customers", "--", "-5").rows[0]["item"]["name"] == "Below"


def test_a_partition_key_alone_is_the_collection(ask):
    """What else happened to this customer?"""
    assert len(ask("history", "orders", "CUST#7").rows) == 5
    text = ask("history", "orders", "CUST#7", "-o", "table").out
    assert "pk=CUST#7 sk=ORDER#2" in text


@pytest.mark.parametrize(
    ("condition", "shown"),
    [
        (("--sk-prefix", "ORDER#2"), 2),
        (("--sk-between", "ORDER#1", "ORDER#1"), 3),
        (("--sk-prefix", "ORDER#", "-n", "4"), 4),
    ],
)
def test_a_collection_may_be_narrowed(ask, condition, shown):
    """Both ends of `--sk-between` are in, as in DynamoDB's BETWEEN; the limit counts what is left."""
    answer = ask("history", "orders", "CUST#7", *condition)
    assert len(answer.rows) == shown
    assert "changes shown" in answer.err


def test_keys_come_from_our_own_output(ask, tmp_path, monkeypatch):
    """`as-of … | history --keys -` asks about every item found."""
    found = ask("as-of", "orders", "2026-09-16").out
    (tmp_path / "keys.jsonl").write_text(found)
    monkeypatch.setattr(sys, "stdin", io.StringIO(found))
    from_file, from_stdin = ask("history", "orders", "--keys", "keys.jsonl"), ask("history", "orders", "--keys", "-")
    assert len(from_file.rows) == 6
    assert from_stdin.out == from_file.out


def test_history_reads_like_a_log(ask):
    """Marks, paths and values for a person; nothing of it in a pipe unless asked for."""
    answer = ask("history", "orders", "CUST#7", "ORDER#1", "-o", "table", "-p", "-n", "2")
    lines = answer.out.splitlines()
    assert lines[0].startswith("orders  pk=CUST#7 sk=ORDER#1")
    assert lines[2].startswith(f"@{change_id('orders', 5)[:6]}")
    assert "2026-09-17 00:00:00Z  MODIFY" in lines[2]
    assert '    ~ status  "NEW" → "SHIPPED"' in lines
    assert "    ~ lines[0].qty  4 → 5" in lines


def test_get_shows_the_item_then(ask):
    """The answer names its version on stderr and is the item alone on stdout."""
    answer = ask("get", "orders", "CUST#7", "ORDER#1", "--at", "2026-09-16", "-o", "table")
    assert answer.code == 0
    assert json.loads(answer.out)["lines"] == [{"qty": 5}]
    assert "as of 2026-09-16T00:00:00Z: version @" in answer.err


def test_get_without_an_instant_is_now(ask):
    """The newest state that the archive holds."""
    row = ask("get", "orders", "CUST#7", "ORDER#1").rows[0]
    assert row["outcome"] == "existed"
    assert row["item"]["status"] == "SHIPPED"
    assert row["valid_to"] is None


def test_ddb_json_is_exactly_the_image(ask):
    """It goes into put-item: sets, binary and 38 digits must come out as they went in."""
    answer = ask("get", "orders", "CUST#7", "ORDER#1", "-o", "ddb-json")
    assert json.loads(answer.out) == ORDER_1 | SHIPPED


@pytest.mark.parametrize(
    ("key", "at", "code", "outcome"),
    [
        (("CUST#7", "ORDER#2"), "2026-09-15T00:01:39Z", 1, "not-yet-created"),
        (("CUST#7", "ORDER#2"), "2026-09-15T00:01:40Z", 0, "existed"),
        (("CUST#7", "ORDER#2"), "2026-09-17T07:33:19Z", 0, "existed"),
        (("CUST#7", "ORDER#2"), "2026-09-17T07:33:20Z", 1, "already-deleted"),
        (("CUST#8", "ORDER#1"), "2026-09-15", 0, "existed"),
        (("CUST#8", "ORDER#1"), "2026-09-14T23:59:59Z", 3, "unknown"),
    ],
)
def test_there_are_four_answers(ask, key, at, code, outcome):
    """To the second: the last one before a change and the change's own."""
    answer = ask("get", "orders", *key, "--at", at)
    assert (answer.code, answer.rows[0]["outcome"]) == (code, outcome)
    assert (answer.rows[0]["item"] is None) == (code != 0)


@pytest.mark.parametrize("output", ["table", "ddb-json"])
def test_an_absence_is_explained_in_words(ask, output):
    """Empty output alone would leave a person guessing; what goes into put-item stays empty all the same."""
    answer = ask("get", "orders", "CUST#7", "ORDER#2", "-o", output)
    assert answer.code == 1
    told = answer.out if output == "table" else answer.err
    assert "already deleted   REMOVE at 2026-09-17T07:33:20Z by DynamoDB TTL" in told
    assert output == "table" or answer.out == ""


def test_the_last_content_is_one_command_away(ask):
    """What the explanation says to type must work as it stands."""
    told = ask("get", "orders", "CUST#7", "ORDER#2", "-o", "table").out
    found = re.search(r"ddbtrail get orders 'CUST#7' 'ORDER#2' --at (\S+)", told)
    assert found is not None
    assert ask("get", "orders", "CUST#7", "ORDER#2", "--at", found[1]).rows[0]["item"]["note"] == EVIL


def test_a_guess_has_to_be_asked_for_and_is_marked(ask):
    """It is no answer of the trail: nobody should take it for one."""
    asked = ("get", "orders", "CUST#8", "ORDER#1", "--at", "2026-09-14")
    assert ask(*asked).rows[0]["item"] is None
    assert "--best-effort" in ask(*asked, "-o", "table").out
    answer = ask(*asked, "--best-effort")
    assert answer.code == 0
    assert (answer.rows[0]["is_guess"], answer.rows[0]["outcome"]) == (True, "unknown")
    assert answer.rows[0]["item"]["n"] == 1
    assert "warning: this is a guess" in answer.err


@pytest.mark.parametrize(("at", "status"), [("first", "NEW"), ("~1", "NEW"), ("last", "SHIPPED"), ("last~2", "NEW")])
def test_a_version_may_be_named_by_its_place(ask, at, status):
    """Nobody wants to copy an instant for "the one before"."""
    assert ask("get", "orders", "CUST#7", "ORDER#1", "--at", at).rows[0]["item"]["status"] == status


def test_a_version_may_be_named_by_its_change(ask):
    """As git names commits."""
    name = f"@{change_id('orders', 5)[:10]}"
    assert ask("get", "orders", "CUST#7", "ORDER#1", "--at", f"{name}~1").rows[0]["item"]["status"] == "NEW"


def test_diff_is_of_the_last_change(ask):
    """What did it just change?"""
    answer = ask("diff", "orders", "CUST#7", "ORDER#1")
    assert answer.code == 0
    assert [(row["path"], row["kind"]) for row in answer.rows] == [
        ("raw", "+"),
        ("status", "~"),
        ("tags", "+"),
        ("total", "~"),
    ]
    assert ask("diff", "orders", "CUST#7", "ORDER#1", "--exit-code").code == 1


def test_no_difference_is_zero(ask):
    """As diff(1) has it."""
    answer = ask("diff", "orders", "CUST#7", "ORDER#1", "--from", "last", "--exit-code")
    assert (answer.code, answer.out) == (0, "")
    assert "no attribute differs" in answer.err


def test_diff_may_be_a_patch(ask):
    """For whoever keeps plain copies elsewhere."""
    answer = ask("diff", "orders", "CUST#7", "ORDER#1", "--to", "~1", "--from", "first", "-o", "json-patch")
    assert json.loads(answer.out) == [{"op": "replace", "path": "/lines/0/qty", "value": 5}]
    document = json.loads(ask("diff", "orders", "CUST#7", "ORDER#1", "-o", "json").out)
    assert document["to"]["change_id"] == change_id("orders", 5)


def test_log_is_of_the_whole_table(ask):
    """Did it happen to others?"""
    answer = ask("log", "orders")
    assert [row["change_id"] for row in answer.rows] == [change_id("orders", number) for number in (6, 5, 4, 3, 2, 1)]
    assert [row["op"] for row in ask("log", "orders", "--op", "remove").rows] == ["REMOVE"]
    assert len(ask("log", "orders", "--attr", "n").rows) == 1
    assert len(ask("log", "orders", "--where", "item->>'$.status' = 'NEW'", "-n", "1").rows) == 1


def test_as_of_is_one_item_a_line(ask):
    """The interface that scripts use."""
    answer = ask("as-of", "orders", f"@{DAY + 100}")
    assert answer.code == 0
    assert [row["item_key"]["sk"] for row in answer.rows] == ["ORDER#1", "ORDER#2", "ORDER#1"]
    assert list(answer.rows[0]) == ["item_key", "item", "image", "changed_at", "change_id"]
    assert answer.rows[0]["image"] == ORDER_1 | NEW
    assert "3 items in orders as of 2026-09-15T00:01:40Z" in answer.err
    assert "1 s resolution" in answer.err
    assert "no baseline" in answer.err


@pytest.mark.parametrize("more", [[], ["--where", "true"], ["--best-effort"]])
def test_as_of_in_parquet_is_the_same_by_batches_and_row_by_row(ask, tmp_path, more):
    """Whole tables are written as they come from the engine; columns that were picked are made for each item."""
    names = ["item_key", "item", "image", "changed_at", "change_id"]
    quick, slow = tmp_path / "quick.parquet", tmp_path / "slow.parquet"
    asked = ask("as-of", "orders", f"@{DAY + 100}", *more, "-O", str(quick))
    ask("as-of", "orders", f"@{DAY + 100}", *more, "-c", ",".join(names), "-O", str(slow))
    found, expected = pq.read_table(quick), pq.read_table(slow)
    assert found.select(names).equals(expected)
    assert (found.num_rows, found.schema.metadata) == (3, {b"ddbtrail.schema_version": b"1"})
    assert "3 items in orders as of 2026-09-15T00:01:40Z" in asked.err


def test_as_of_a_change_is_a_cut(ask):
    """Two changes of one second are two states."""
    rows = ask("as-of", "orders", f"@{change_id('orders', 1)}").rows
    assert [row["item_key"]["pk"] for row in rows] == ["CUST#7", "CUST#8"]


def test_as_of_filters_by_sql(ask):
    """The same expressions as in SQL."""
    answer = ask("as-of", "orders", "now", "--where", "item->>'$.status' = 'SHIPPED'")
    assert len(answer.rows) == 1
    assert "1 item in orders" in answer.err


def test_unknown_items_are_left_out_and_counted(ask):
    """Silence about them would pass for a complete answer."""
    answer = ask("as-of", "keysonly", "now")
    assert (answer.code, answer.out) == (0, "")
    assert "1 item unknown" in answer.err
    assert ask("as-of", "keysonly", "now", "--strict").code == 3
    assert ask("as-of", "orders", "now", "--strict").code == 0


def test_an_empty_archive_has_no_tables(ask, tmp_path):
    """Nothing has been archived yet: that is no failure."""
    (tmp_path / "empty").mkdir()
    answer = ask("tables", "-a", "empty")
    assert (answer.code, answer.out) == (0, "")
    assert "no tables" in answer.err


def test_config_show_says_where_values_come_from(ask, tmp_path):
    """Five places may set a value."""
    (tmp_path / "ddbtrail.toml").write_text('tz = "Europe/Paris"\n')
    rows = {row["name"]: row for row in ask("config", "show", "--origin", "--region", "eu-west-3").rows}
    assert rows["tz"]["origin"].endswith("ddbtrail.toml: tz")
    assert (rows["region"]["value"], rows["region"]["origin"]) == ("eu-west-3", "--region")
    assert rows["archive"]["origin"] == "DDBTRAIL_ARCHIVE"


def test_redacted_attributes_are_never_shown(ask, folder, tmp_path):
    """They are archived for the day they are needed, and shown to nobody."""
    (tmp_path / "ddbtrail.toml").write_text(
        f'[archives.prod]\nurl = "{folder}"\n[archives.prod.tables.orders]\nredact = ["status"]\n'
    )
    for tokens in (
        ("history", "orders", "CUST#7", "ORDER#1"),
        ("history", "orders", "CUST#7", "ORDER#1", "-o", "table", "-p", "--full"),
        ("get", "orders", "CUST#7", "ORDER#1"),
        ("get", "orders", "CUST#7", "ORDER#1", "-o", "table"),
        ("get", "orders", "CUST#7", "ORDER#1", "-o", "ddb-json"),
        ("diff", "orders", "CUST#7", "ORDER#1"),
        ("diff", "orders", "CUST#7", "ORDER#1", "-o", "json-patch"),
        ("log", "orders"),
        ("as-of", "orders", "now"),
        ("as-of", "orders", "now", "-o", "ddb-json"),
    ):
        answer = ask(*tokens, "-a", "prod")
        assert answer.code == 0
        assert "SHIPPED" not in answer.out
        assert re.search(r"\[redacted:[0-9a-f]{16}\]", answer.out)


# --- the reviewer's desk ---


def counts(answer, by):
    return {row["value"]: row["count"] for row in answer.rows if row["by"] == by}


def test_log_stat_counts_changes_by_op_actor_attribute_and_day(ask):
    """Did it happen to others? One command, before anybody reads a line of the log."""
    answer = ask("log", "orders", "--stat")
    assert answer.code == 0
    assert counts(answer, "op") == {"INSERT": 2, "MODIFY": 3, "REMOVE": 1}
    assert counts(answer, "actor") == {None: 5, "dynamodb-ttl": 1}
    assert counts(answer, "day") == {"2026-09-15": 2, "2026-09-16": 2, "2026-09-17": 2}
    assert counts(answer, "attribute")["lines"] == 2
    assert "6 changes counted" in answer.err
    minutes = ask("log", "orders", "--stat", "--since", "2026-09-15", "--until", "2026-09-15T00:30:00Z")
    assert counts(minutes, "minute") == {"2026-09-15T00:00": 1, "2026-09-15T00:01": 1}
    some = ask("log", "orders", "--stat", "--attr", "lines", "--op", "modify", "--during", "2026-Q3")
    assert counts(some, "op") == {"MODIFY": 1}
    where = ask("log", "orders", "--stat", "--where", "item->>'$.status' = 'NEW'")
    assert counts(where, "op") == {"INSERT": 1, "MODIFY": 1}
    assert ask("log", "orders", "--stat", "--actor", "nobody").code == 1
    assert ask("log", "ledger", "--stat").code == 4  # one item contradicts itself; the other one is counted


def test_compare_shows_items_that_differ_between_two_moments(ask):
    """What changed in Q3? Items, not changes: what was undone does not show."""
    answer = ask("compare", "orders", "--from", "2026-09-15", "--to", "2026-09-18")
    assert answer.code == 0
    kinds = {(row["item_key"]["pk"], row["item_key"]["sk"]): row for row in answer.rows}
    assert {key: row["diff_type"] for key, row in kinds.items()} == {
        ("CUST#7", "ORDER#1"): "modified",
        ("CUST#8", "ORDER#1"): "modified",
    }
    assert kinds["CUST#8", "ORDER#1"]["changes"] == [{"path": "n", "old": 1, "new": 2}]
    gone = ask("compare", "orders", "--from", "2026-09-16", "--to", "2026-09-18")
    assert [row["diff_type"] for row in gone.rows if row["item_key"]["sk"] == "ORDER#2"] == ["removed"]
    stat = ask("compare", "orders", "--from", "2026-09-15", "--to", "2026-09-18", "--stat")
    assert counts(stat, "diff_type") == {"added": 0, "removed": 0, "modified": 2}
    assert counts(stat, "attribute")["status"] == 1
    before = ask("compare", "orders", "--from", "2026-09-14", "--to", "2026-09-18")
    assert before.rows == []
    assert "cannot tell" in before.err
    assert '"ORDER#1"' in before.err
    assert ask("compare", "orders", "--from", "2026-09-14", "--to", "2026-09-18", "--strict").code == 3
    assert ask("compare", "orders", "--from", "2026-09-15", "--to", "2026-09-18", "--exit-code").code == 1
    assert ask("compare", "orders", "--from", "2026-09-18", "--to", "2026-09-18", "--exit-code").code == 0
    assert ask("compare", "ledger", "--from", "2026-09-15", "--to", "now").code == 4


def test_stats_tells_items_sizes_and_changes(ask):
    """The first look at a table that somebody else wrote."""
    answer = ask("stats", "orders", "--top", "1")
    assert answer.code == 0
    assert counts(answer, "table") == {"items": 2, "changes": 6}
    assert counts(answer, "item") == {'{"pk":"CUST#7","sk":"ORDER#1"}': 3}
    (largest,) = (row for row in answer.rows if row["by"] == "largest item")
    image = ask("get", "orders", "CUST#7", "ORDER#1", "-o", "ddb-json").out.rstrip("\n")
    assert (largest["value"], largest["size_bytes"]) == ('{"pk":"CUST#7","sk":"ORDER#1"}', len(image.encode()))
    assert ask("stats", "orders", "--top", "-1").code == 2


def test_blame_names_the_change_of_each_attribute(ask):
    """Who set the status? One row per attribute; an item that is gone is answered as by `get`."""
    answer = ask("blame", "orders", "CUST#7", "ORDER#1")
    assert answer.code == 0
    rows = {row["path"]: row for row in answer.rows}
    assert (rows["status"]["value"], rows["status"]["change_id"], rows["status"]["times_changed"]) == (
        "SHIPPED",
        change_id("orders", 5),
        2,
    )
    assert rows["lines"]["last_changed_at"] == "2026-09-16T00:00:00Z"
    nested = {row["path"]: row for row in ask("blame", "orders", "CUST#7", "ORDER#1", "--nested").rows}
    assert nested["lines[0].qty"]["change_id"] == change_id("orders", 3)
    then = ask("blame", "orders", "CUST#7", "ORDER#1", "--at", "first", "--attr", "status")
    assert [(row["value"], row["change_id"]) for row in then.rows] == [("NEW", change_id("orders", 1))]
    older = {row["path"]: row for row in ask("blame", "orders", "CUST#8", "ORDER#1").rows}
    assert (older["pk"]["reason"], older["n"]["reason"]) == ("before-first", None)
    assert ask("blame", "orders", "CUST#7", "ORDER#2").code == 1
    assert ask("blame", "orders", "CUST#7", "ORDER#1", "--attr", "nothing").code == 1
    assert ask("blame", "keysonly", "a").code == 3
    assert ask("blame", "ledger", "bad").code == 4


def test_tail_shows_the_newest_changes_oldest_first(ask):
    """As `tail` of a file does; with -f until it is stopped, here at once."""
    answer = ask("tail", "orders", "-n", "2")
    assert [row["change_id"] for row in answer.rows] == [change_id("orders", 5), change_id("orders", 6)]
    assert "newest archived change: 2026-09-17T07:33:20Z" in answer.err
    followed = ask("tail", "orders", "-n", "2", "-f", "--until-seconds", "0", "--op", "remove")
    assert (followed.code, [row["op"] for row in followed.rows]) == (0, ["REMOVE"])
    assert ask("tail", "orders", "-n", "0").rows == []
    assert len(ask("tail", "orders", "-o", "table", "-n", "3").out.splitlines()) == 2  # of the last day
    assert ask("tail", "orders", "-f", "-o", "csv").code == 2
    assert ask("tail", "orders", "-n", "-1").code == 2


def test_an_actor_comes_from_the_attribute_that_is_configured(ask, folder, tmp_path):
    """In the log, in a history and in blame; what deleted an item is never the one who wrote it."""
    (tmp_path / "ddbtrail.toml").write_text(
        f'[archives.prod]\nurl = "{folder}"\n[archives.prod.tables.orders]\nactor_attribute = "status"\n'
    )
    asked = ("-a", "prod")
    rows = ask("history", "orders", "CUST#7", "ORDER#1", *asked).rows
    assert [(row["actor"], row["actor_source"]) for row in rows] == [
        ("SHIPPED", "attribute:status"),
        ("NEW", "carried:status"),
        ("NEW", "attribute:status"),
    ]
    assert "NEW?" in ask("history", "orders", "CUST#7", "ORDER#1", "-o", "table", *asked).out
    assert "written by SHIPPED" in ask("get", "orders", "CUST#7", "ORDER#1", *asked, "-o", "table").err
    assert [row["op"] for row in ask("log", "orders", "--actor", "NEW", *asked).rows] == ["MODIFY", "INSERT"]
    assert len(ask("history", "orders", "CUST#7", "--actor", "dynamodb-ttl", *asked).rows) == 1
    stat = ask("log", "orders", "--stat", *asked)
    assert {(row["value"], row["source"]): row["count"] for row in stat.rows if row["by"] == "actor"} == {
        (None, "no-attribute"): 2,
        ("NEW", "attribute:status"): 1,
        ("NEW", "carried:status"): 1,
        ("SHIPPED", "attribute:status"): 1,
        ("dynamodb-ttl", "dynamodb-ttl"): 1,
    }


# --- exit codes and errors ---


@pytest.mark.parametrize(
    ("tokens", "told"),
    [
        (("history", "oders", "x"), "orders"),
        (("history", "twins", "1"), "us-east-1/twins"),
        (("history", "customers", "abc"), "id (N)"),
        (("get", "orders", "CUST#7"), "pk (S), sk (S)"),
        (("history", "orders"), "pk (S), sk (S)"),
        (("get", "unnamed", "x", "1"), "--key-schema"),
        (("get", "orders", "CUST#7", "ORDER#1", "--at", "2026-09-16T12:00"), "time zone"),
        (("get", "orders", "CUST#7", "ORDER#1", "--at", "2999-01-01"), "future"),
        (("get", "orders", "CUST#7", "ORDER#1", "--at", "2026-Q3"), "a period, not an instant"),
        (("as-of", "orders", "soon"), "3d ago"),
        (("as-of", "orders", "~1"), "@ID"),
        (("as-of", "orders", "now", "--where", "nonsense ="), "condition"),
        (("as-of", "orders", "now", "--max-scan", "much"), "20GB"),
        (("log", "orders", "--since", "2026-09-16", "--until", "2026-09-15"), "range is empty"),
        (("log", "orders", "--during", "2026-09", "--since", "2026-09-16"), "twice"),
        (("log", "orders", "--op", "update"), "insert, modify and remove"),
        (("log", "orders", "--attr", "a..b"), "path"),
        (("log", "orders", "-n", "0"), "-n 0"),
        (("log", "orders", "-c", "chnged_at"), "changed_at"),
        (("log", "orders", "-o", "xml"), "jsonl"),
        (("log", "orders", "-o", "ddb-json"), "get and as-of"),
        (("log", "orders", "-O", "out.xls"), ".parquet"),
        (("log", "orders", "-O", "nowhere/out.csv"), "folder that exists"),
        (("log", "orders", "--tz", "Paris"), "Europe/Paris"),
        (("log", "orders", "--color", "yes"), "never"),
        (("history", "orders", "--keys", "missing.jsonl"), "missing.jsonl"),
        (("history", "orders", "CUST#7", "--keys", "-"), "two ways"),
        (("history", "orders", "CUST#7", "ORDER#1", "--sk-prefix", "O"), "leave one"),
        (("nonsense",), "ddbtrail --help"),
        (("histori",), "history"),
        (("tables", "orders"), "too many arguments"),
        (("tables", "--nonsense"), "ddbtrail tables --help"),
        (("-a", "x", "tables"), "type the command first"),
        (("as-of", "orders"), "WHEN"),
        (("log", "orders", "-n", "ten"), "ten"),
    ],
)
def test_a_wrong_question_exits_2_and_says_what_to_type(ask, tokens, told):
    """Each ends with the next thing to type; nothing but the error is written."""
    answer = ask(*tokens)
    assert (answer.code, answer.out) == (2, "")
    assert told in answer.err
    assert 2 <= len(answer.err.splitlines()) <= 4
    assert "Traceback" not in answer.err


def test_no_archive_is_a_wrong_question(ask, monkeypatch):
    """The first thing that anyone forgets."""
    monkeypatch.delenv("DDBTRAIL_ARCHIVE")
    answer = ask("tables")
    assert answer.code == 2
    assert "add -a" in answer.err


def test_a_key_schema_may_be_given(ask):
    """A composite key of which the trail does not say which half is which."""
    answer = ask("get", "unnamed", "x", "1", "--key-schema", "a,b")
    assert answer.rows[0]["item"]["v"] == "here"
    typed = ask("get", "unnamed", "--key", '{"a":{"S":"x"},"b":{"N":"1"}}')
    assert typed.rows[0]["item"]["v"] == "here"


@pytest.mark.parametrize(
    "tokens",
    [
        ("history", "orders", "CUST#7", "NONE"),
        ("history", "orders", "NOBODY"),
        ("history", "orders", "CUST#7", "ORDER#1", "--op", "remove"),
        ("log", "orders", "--op", "insert", "--since", "2026-09-16"),
        ("log", "customers", "--conflicts"),
    ],
)
def test_no_such_change_is_the_answer_no(ask, tokens):
    """Covered, looked for, not there: 1, as grep has it."""
    assert ask(*tokens).code == 1


@pytest.mark.parametrize(
    "tokens",
    [
        ("history", "orders", "CUST#7", "ORDER#1", "--during", "2026-08"),
        ("log", "orders", "--until", "2026-09-15T00:00:00Z"),
        ("get", "orders", "CUST#7", "NONE", "--at", "2026-09-01"),
        ("get", "keysonly", "a"),
        ("diff", "keysonly", "a"),
    ],
)
def test_what_is_not_covered_exits_3(ask, tokens):
    """ "No change" and "no data" are different answers."""
    assert ask(*tokens).code == 3


def test_a_missing_archive_exits_4(ask):
    """Never folded into "nothing found"."""
    answer = ask("tables", "-a", "nowhere")
    assert (answer.code, answer.out) == (4, "")
    assert "there is no archive at" in answer.err


def test_an_archive_of_another_format_exits_4(ask, tmp_path):
    """What cannot be read must not look empty."""
    (tmp_path / "new/v2").mkdir(parents=True)
    answer = ask("tables", "-a", "new")
    assert answer.code == 4
    assert "upgrade" in answer.err


@pytest.mark.parametrize("damage", ["cut", "flipped", "foreign", "renamed"])
@pytest.mark.parametrize(
    "tokens", [("tables",), ("log", "orders"), ("as-of", "orders", "now"), ("history", "orders", "CUST#7", "ORDER#1")]
)
def test_a_damaged_file_exits_4_and_is_named(ask, tmp_path, damage, tokens):
    """A partial answer is none: whatever could be read of the others is not shown."""
    write(tmp_path / "copy", RECORDS[:6])
    segments = sorted((tmp_path / "copy").glob("v1/*/*/*/segments/**/*.parquet"))
    content = segments[1].read_bytes()
    damaged = {
        "cut": content[: len(content) // 2],
        "flipped": content[:40] + bytes(byte ^ 0xFF for byte in content[40:400]) + content[400:],
        "foreign": b"PAR1" + b"\0" * 100 + b"PAR1",
        "renamed": segments[0].read_bytes(),
    }
    segments[1].write_bytes(damaged[damage])
    answer = ask(*tokens, "-a", "copy")
    assert (answer.code, answer.out) == (4, "")
    assert segments[1].name in answer.err


def test_a_contradiction_exits_4_and_names_both_segments(ask):
    """Evidence that contradicts itself is never chosen between."""
    for tokens in (("history", "ledger", "bad"), ("get", "ledger", "bad"), ("diff", "ledger", "bad")):
        answer = ask(*tokens)
        assert (answer.code, answer.out) == (4, "")
        assert len(set(re.findall(r"segments/\S+\.parquet", answer.err))) == 2


def test_a_contradiction_spoils_no_other_item(ask, tmp_path):
    """Lists give the rest and name the item."""
    (tmp_path / "keys").write_text('{"id":"bad"}\n{"id":"good"}\n')
    for tokens in (("log", "ledger"), ("as-of", "ledger", "now"), ("history", "ledger", "--keys", "keys")):
        answer = ask(*tokens)
        assert answer.code == 4
        assert [row["item_key"]["id"] for row in answer.rows] == ["good"]
        assert '{"id":{"S":"bad"}}' in answer.err
    assert ask("history", "ledger", "good").code == 0


def test_conflicts_are_listed(ask):
    """Both segments by name: someone has to look."""
    answer = ask("log", "ledger", "--conflicts")
    assert answer.code == 0
    assert len(answer.rows) == 1
    assert answer.rows[0]["item_key"] == {"id": "bad"}
    assert len(answer.rows[0]["segments"]) == 2
    assert answer.rows[0]["differs"] == ["new_image"]


def test_an_unexpected_failure_is_one_line(ask, monkeypatch):
    """Nobody reads a traceback at three in the morning; whoever mends it can have one."""
    monkeypatch.setenv("HOME", "/dev/null")
    monkeypatch.setattr("query.cli.configure.FOUND", None, raising=True)
    monkeypatch.setattr("query.config.Settings.rows", lambda self: 1 / 0)
    answer = ask("config", "show")
    assert answer.code == 4
    assert (
        answer.err == "ddbtrail failed: ZeroDivisionError: division by zero (set DDBTRAIL_DEBUG=1 for the traceback)\n"
    )
    monkeypatch.setenv("DDBTRAIL_DEBUG", "1")
    assert "Traceback" in ask("config", "show").err


def test_errors_cannot_act_on_the_terminal(ask):
    """A key may hold an escape sequence, and errors repeat keys."""
    answer = ask("history", "orders", "CUST\x1b[2J", "ORDER#1")
    assert answer.code == 1
    assert "\x1b" not in answer.err


# --- formats and streams ---


def test_one_column_name_in_every_format(ask, tmp_path):
    """A name learnt in one format works in all."""
    asked = ("as-of", "orders", f"@{DAY + 100}")
    expected = ["item_key", "item", "image", "changed_at", "change_id"]
    assert list(json.loads(ask(*asked, "-o", "json").out)["rows"][0]) == expected
    assert next(csv.reader(io.StringIO(ask(*asked, "-o", "csv").out))) == expected
    answer = ask(*asked, "-O", "state.parquet")
    assert answer.out == ""
    assert re.search(r"3 items in orders as of \S+ → state.parquet \(\S+ kB\)", answer.err)
    table = pq.read_table(tmp_path / "state.parquet")
    assert table.column_names == expected
    assert json.loads(table["image"][0].as_py()) == ORDER_1 | NEW
    assert ask(*asked, "-c", "change_id,item", "-o", "csv").out.startswith("change_id,item\n")


@pytest.mark.parametrize(
    ("name", "start"),
    [
        ("x.json", '{"schema_version":1'),
        ("x.JSONL", '{"table_name"'),
        ("x.csv", "table_name,"),
        ("x.md", "| changed"),
        ("x.html", "<!doctype"),
        ("x.txt", "orders  "),
    ],
)
def test_the_ending_of_a_file_is_its_format(ask, tmp_path, name, start):
    """Nobody types the format twice."""
    assert ask("history", "orders", "CUST#7", "ORDER#1", "-O", name).code == 0
    assert (tmp_path / name).read_text().startswith(start)
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_an_option_wins_over_the_ending_and_the_ending_over_settings(ask, tmp_path, monkeypatch):
    """The nearest wish counts."""
    monkeypatch.setenv("DDBTRAIL_OUTPUT", "md")
    assert ask("log", "orders").out.startswith("| ")
    ask("log", "orders", "-O", "x.csv")
    assert (tmp_path / "x.csv").read_text().startswith("table_name,")
    ask("log", "orders", "-O", "x.csv", "-o", "jsonl")
    assert (tmp_path / "x.csv").read_text().startswith("{")


def test_a_failed_command_leaves_the_file_as_it_was(ask, tmp_path):
    """Half an answer under the name of the whole one is worse than none."""
    (tmp_path / "x.csv").write_text("before")
    assert ask("as-of", "orders", "now", "--where", "nonsense =", "-O", "x.csv").code == 2
    assert (tmp_path / "x.csv").read_text() == "before"
    assert [path.name for path in tmp_path.iterdir()] == ["x.csv"]


def test_quiet_leaves_only_errors(ask):
    """For scripts that keep stderr."""
    assert ask("as-of", "orders", "now", "-q").err == ""
    assert ask("as-of", "orders", "soon", "-q").err != ""


@pytest.mark.parametrize(
    "tokens",
    [
        ("history", "orders", "CUST#7", "ORDER#1"),
        ("get", "orders", "CUST#7", "ORDER#1", "--at", "2026-09-16"),
        ("diff", "orders", "CUST#7", "ORDER#1"),
        ("log", "orders", "--since", "2026-09-16"),
        ("as-of", "orders", "2026-09-16"),
    ],
)
def test_explain_shows_the_plan_instead(ask, tokens):
    """What would be read, why, and how much: before paying for it."""
    plan = json.loads(ask(*tokens, "--explain", "-o", "json").out)
    assert plan["schema_version"] == 1
    assert 0 < plan["files_read"] == len(plan["files"]) <= plan["files_total"]
    assert plan["bytes"] == sum(file["size_bytes"] for file in plan["files"]) > 0
    assert all(file["reason"] for file in plan["files"])
    text = ask(*tokens, "--explain", "-o", "table")
    assert text.code == 0
    assert plan["files"][0]["name"] in text.out
    assert "item" not in text.out.split()


def test_colour_is_asked_for_or_not(ask, monkeypatch):
    """An option wins over NO_COLOR, NO_COLOR over FORCE_COLOR, and a pipe gets none unasked."""
    asked = ("history", "orders", "CUST#7", "ORDER#1", "-p", "-o", "table")
    plain = ask(*asked).out
    assert "\x1b" not in plain
    monkeypatch.setenv("FORCE_COLOR", "1")
    coloured = ask(*asked).out
    assert "\x1b[33m~\x1b[0m" in coloured
    assert re.sub(r"\x1b\[\d*m", "", coloured) == plain
    monkeypatch.setenv("NO_COLOR", "1")
    assert ask(*asked).out == plain
    assert ask(*asked, "--color", "always").out == coloured


# --- as a process ---


def command(*tokens):
    return [sys.executable, "-c", "from query.cli import main; main()", *tokens]


@pytest.fixture
def environ(folder, tmp_path):
    return {
        "DDBTRAIL_ARCHIVE": str(folder),
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "TERM": "xterm-256color",
        "PAGER": "cat",
    }


def test_no_command_waits_for_pandas(environ, tmp_path):
    """Arrow would import it, where it is installed, for every value that it is handed."""
    asked = command("log", "orders", "-O", str(tmp_path / "log.parquet"))
    done = subprocess.run([asked[0], "-X", "importtime", *asked[1:]], env=environ, capture_output=True, text=True)
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "pyarrow" in imported
    assert not {name for name in imported if name.startswith("pandas.")}


def on_terminal(tokens, environ, typed=b""):
    """What a command shows on a terminal (stdin and stdout), and its exit code; stderr is thrown away."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        command(*tokens), stdin=theirs, stdout=theirs, stderr=subprocess.DEVNULL, env=environ
    ) as process:
        os.close(theirs)
        os.write(ours, typed)
        shown = b""
        with contextlib.suppress(OSError):
            while select.select([ours], [], [], 60)[0] and (piece := os.read(ours, 65_536)):
                shown += piece
    os.close(ours)
    return process.returncode, shown.decode().replace("\r\n", "\n")


def test_a_narrow_terminal_is_not_overrun(environ):
    """A jump host with forty columns: no line wraps into the next, and the marks are there without colours."""
    environ |= {"COLUMNS": "40", "NO_COLOR": "1"}
    code, shown = on_terminal(["history", "orders", "CUST#7", "ORDER#1", "-p"], environ)
    assert code == 0
    assert "\x1b" not in shown
    assert max(len(line) for line in shown.splitlines() if line.startswith("    ")) <= 40
    assert re.search(r"~ status +.NEW. → .SHIPPED.", shown)
    code, shown = on_terminal(["as-of", "orders", "now"], environ)
    assert code == 0
    assert max(map(len, shown.splitlines())) <= 40


def test_a_terminal_gets_a_table_in_colour(environ):
    """People get people's form unasked."""
    code, shown = on_terminal(["log", "orders", "-p"], environ | {"COLUMNS": "100"})
    assert code == 0
    assert "\x1b[33m~\x1b[0m status" in shown
    assert "\x1b[2J" not in shown


def test_json_on_a_terminal_is_harmless(environ):
    """A stored escape sequence must not reach the terminal in any format."""
    code, shown = on_terminal(["history", "orders", "CUST#7", "ORDER#2", "-o", "jsonl"], environ)
    assert code == 0
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert json.loads(shown.splitlines()[0])["op"] == "REMOVE"


@pytest.mark.parametrize(("typed", "code"), [(b"n\n", 2), (b"y\n", 0)])
def test_a_large_scan_is_asked_about(environ, typed, code):
    """On a terminal only: a script must not hang on a question."""
    tokens = ["as-of", "orders", "now", "--max-scan", "1KB"]
    assert on_terminal(tokens, environ, typed)[0] == code
    assert on_terminal([*tokens, "--yes"], environ)[0] == 0
    piped = subprocess.run(command(*tokens), env=environ, capture_output=True, check=False, stdin=subprocess.DEVNULL)
    assert piped.returncode == 0


def test_a_pager_gets_the_text(environ, tmp_path):
    """A history longer than the screen scrolls away otherwise; `--no-pager` means it."""
    environ |= {"PAGER": f"tee {tmp_path / 'paged'}"}
    shown = on_terminal(["history", "orders", "CUST#7", "ORDER#1"], environ)[1]
    assert (tmp_path / "paged").read_text().splitlines() == shown.splitlines()
    (tmp_path / "paged").unlink()
    on_terminal(["history", "orders", "CUST#7", "ORDER#1", "--no-pager"], environ)
    assert not (tmp_path / "paged").exists()


def test_parquet_is_not_sent_to_a_terminal(environ):
    """It would garble it; redirected, the same command writes a file that can be read."""
    assert on_terminal(["log", "orders", "-o", "parquet"], environ)[0] == 2
    piped = subprocess.run(command("log", "orders", "-o", "parquet"), env=environ, capture_output=True, check=True)
    assert pq.read_table(io.BytesIO(piped.stdout)).num_rows == 6


def test_a_closed_pipe_ends_quietly(environ, tmp_path):
    """`| head -1` is how people look: no traceback, no failure."""
    many = [change("orders", number, "INSERT", order("A", str(number)), None, SHIPPED) for number in range(1, 2_000)]
    write(tmp_path / "many", many)
    with subprocess.Popen(
        command("log", "orders", "-q", "-a", str(tmp_path / "many")),
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout.readline().startswith(b"{")
        process.stdout.close()
        assert process.stderr.read() == b""
    assert process.returncode == 0


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_that_does_not_fit_is_a_failure(environ):
    """Exit code 0 would say that the answer was written."""
    with open("/dev/full", "w") as full:
        process = subprocess.run(
            command("log", "orders"), env=environ, stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert process.returncode == 4
    assert b"No space left" in process.stderr


def test_ctrl_c_exits_130(environ, tmp_path):
    """As every shell expects of an interrupted program, and without a traceback."""
    os.mkfifo(tmp_path / "keys")
    with subprocess.Popen(
        command("history", "orders", "--keys", str(tmp_path / "keys")),
        env=environ,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        # A test run in the background of a shell has SIGINT ignored, and so would its children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        with open(tmp_path / "keys", "w"):
            time.sleep(1)  # past the imports: Python drops an interrupt that comes while it cleans up after one
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert (process.returncode, out) == (130, b"")
    assert b"Traceback" not in err


# --- help, start, documentation ---


def test_help_imports_no_engine(environ):
    """Half a second of imports before every help text; measured by what is imported, since a clock would be noise."""
    probe = (
        "import sys; from query.cli import run; code = run(['--help'])\n"
        "print(sorted({'duckdb', 'pyarrow', 'boto3', 'obstore', 'whenever', 'archiver'} & sys.modules.keys()), code)"
    )
    process = subprocess.run([sys.executable, "-c", probe], env=environ, capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == "[] 0"


def test_a_mistake_in_words_costs_no_engine(environ):
    """A question that cannot be understood is answered at once."""
    probe = (
        "import sys; from query.cli import run; code = run(['log', 'orders', '--op', 'update'])\n"
        "print(sorted({'duckdb', 'pyarrow', 'boto3', 'rich.console'} & sys.modules.keys()), code)"
    )
    process = subprocess.run([sys.executable, "-c", probe], env=environ, capture_output=True, text=True, check=True)
    assert process.stdout.splitlines()[-1] == "[] 2"


def test_version_and_help_exit_0(ask):
    """Asking is no mistake."""
    assert ask("--version").out.startswith("ddbtrail")
    assert ask("--help").code == ask("get", "--help").code == ask().code == 0


def test_every_command_has_its_help_listed(ask):
    """What the list says of a command is what the command says of itself."""
    listed = " ".join(ask("--help").out.split())
    for name, _, _, help_text in COMMANDS:
        assert f"{name}: {help_text}" in listed
        assert help_text.rstrip(".") in " ".join(ask(name, "--help").out.split())


def test_the_page_shows_the_help_as_it_is():
    """Documentation that drifts is worse than none; `python -m query.cli.reference docs/cli.md` renews it."""
    page = (ROOT / "docs/cli.md").read_text(encoding="utf-8")
    assert renewed(page) == page
    for name in commands():
        assert block(name) in page
