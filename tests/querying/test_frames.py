"""Answers as data frames, and data frames as questions: the rows of the command line, and nothing lost on the way."""

import os
import shlex
import shutil
import subprocess
import sys
from base64 import b64decode
from decimal import Decimal

import duckdb
import orjson
import pandas as pd
import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import query
from archiver.segment import encode_segment
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.cli.sample import write_sample
from query.cli.sample_story import tables
from query.errors import KeyMismatch, UsageError
from tests.delivery import delivered

ACTORS = dict.fromkeys(("customers", "orders", "stock"), "updated_by")
KEY = "correct horse battery staple, 32 bytes"
NOW = "2026-10-01T00:00:00Z"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "shop"
    write_sample(folder)
    return folder


@pytest.fixture(scope="module")
def archive(folder):
    return query.open(
        str(folder / "archive"),
        actor_attribute=ACTORS,
        redact={"customers": ["card_number"]},
        redaction_key=KEY.encode(),
    )


def written(folder, line, into):
    """What the command line writes into a Parquet file."""
    environment = {**os.environ, "HOME": str(into.parent), "PYTHONPATH": os.getcwd(), "DDBTRAIL_REDACTION_KEY": KEY}
    command = [sys.executable, "-c", "from query.cli import main; main()", *shlex.split(line), "-O", str(into)]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return pq.read_table(into)


SAME = {
    "history orders 'CUST#1' 'ORDER#0015'": lambda a: a.table("orders").item("CUST#1", "ORDER#0015").history(),
    "blame customers 7": lambda a: a.table("customers").item(7).blame(),
    "diff customers 7": lambda a: a.table("customers").item(7).diff(),
    "log customers --during 2026-Q3": lambda a: a.table("customers").log(during="2026-Q3"),
    "log customers --during 2026-Q3 --stat": lambda a: a.table("customers").stat(during="2026-Q3"),
    "compare customers --from 2026-07-01 --to 2026-10-01": lambda a: a.table("customers").compare("2026-07-01", "2026-10-01"),
    "as-of customers 2026-09-01": lambda a: a.table("customers").as_of("2026-09-01"),
    "as-of orders 2026-09-01": lambda a: a.table("orders").as_of("2026-09-01"),
    "as-of orders 2026-08-18T14:00:00Z --best-effort": lambda a: a.table("orders").as_of("2026-08-18T14:00:00Z", best_effort=True),
}  # fmt: skip


@pytest.mark.parametrize("line", SAME)
def test_a_table_in_python_is_the_file_that_the_command_writes(folder, archive, line, tmp_path):
    """Columns, types, rows, masks and their order: who knows one surface knows the other."""
    expected = written(folder, line, tmp_path / "rows.parquet")
    found = SAME[line](archive).arrow()
    assert found.num_rows
    assert found.schema.equals(expected.schema)
    assert found.to_pylist() == expected.to_pylist()


@pytest.mark.parametrize("line", SAME)
def test_every_frame_takes_an_answer_as_it_is(archive, line):
    """By the Arrow PyCapsule interface, without our knowing of them; and by the methods that are named after them."""
    answer = SAME[line](archive)
    rows = answer.arrow().to_pylist()
    assert pa.table(answer).to_pylist() == rows
    assert pl.DataFrame(answer).equals(answer.pl())
    assert pd.DataFrame.from_arrow(answer).equals(answer.df())
    assert len(answer.pl()) == len(answer.df()) == len(rows)
    assert duckdb.sql("SELECT count(*) FROM answer").fetchall() == [(len(rows),)]
    assert answer.rel().aggregate("count(*)").fetchall() == [(len(rows),)]


def test_numbers_keep_all_their_digits(archive):
    """38 of them, as text in `image` and verbatim in `item`; no frame sees a float."""
    story = {(o["customer"]["S"], o["order"]["S"]): o for o in tables()[1].items.values() if "reference" in o}
    frame = archive.table("orders").as_of(NOW).pl()
    for image, item in frame.select("image", "item").iter_rows():
        exact = orjson.loads(image)
        if "reference" in exact:
            digits = story[exact["customer"]["S"], exact["order"]["S"]]["reference"]["N"]
            assert exact["reference"] == {"N": digits}
            assert f'"reference":{digits}' in item


@pytest.mark.parametrize("name", ["customers", "orders", "stock"])
@pytest.mark.parametrize("when", ["2026-07-01", "2026-08-18T20:00:00Z", NOW])
def test_batches_from_the_engine_are_the_rows_one_by_one(folder, name, when):
    """Without a condition and without masks a table goes from engine to Arrow; each row has to be what it was."""
    table = query.open(str(folder / "archive")).table(name)
    assert table.as_of(when).arrow() == table.as_of(when, where="true").arrow()


def test_a_change_bears_its_own_time_though_the_clock_stepped_back(tmp_path):
    """`changed_at` is what the stream said of the change, not when the version began by the order of changes."""
    arn = "arn:aws:dynamodb:eu-west-1:111122223333:table/things/stream/2026-07-01T00:00:00.000"
    begun_s = 1_782_950_400
    records = [
        delivered(
            "MODIFY", {"id": {"S": "a"}}, {"n": {"N": str(n)}}, {"n": {"N": str(n + 1)}},
            sequence_number=4 * 10**24 + n, changed_at_s=begun_s - 5 * n, arn=arn, event_id=f"{n:031x}a",
        )
        for n in range(2)
    ]  # fmt: skip
    Writer(FolderStore(tmp_path), Streams(), encode_segment).archive(records, now_ms=begun_s * 1000)
    table = query.open(str(tmp_path)).table("things")
    (row,) = table.as_of("now").arrow().to_pylist()
    assert row["changed_at"].timestamp() == begun_s - 5
    assert table.as_of("now").arrow() == table.as_of("now", where="true").arrow()


def test_an_answer_of_no_rows_is_a_table_with_columns(archive):
    orders = archive.table("orders")
    nothing = orders.log(since="2026-08-18T14:00:00Z", until="2026-08-18T15:00:00Z")
    assert nothing.arrow().num_rows == 0
    assert nothing.arrow().schema == orders.log(limit=1).arrow().schema
    assert nothing.pl().is_empty()


# --- keys ---


FRAMES = {
    "polars": pl.DataFrame,
    "pandas": pd.DataFrame,
    "arrow": pa.table,
    "categories": lambda columns: pa.table({name: pa.array(column).dictionary_encode() for name, column in columns.items()}),
    "batches": lambda columns: pa.table(columns).to_reader(max_chunksize=1),
}  # fmt: skip


@pytest.mark.parametrize("kind", FRAMES)
def test_keys_come_from_any_frame(archive, kind):
    """In the order of their first appearance, each once; further columns are none of our business."""
    orders = archive.table("orders")
    columns = {
        "order": ["ORDER#0015", "ORDER#0003", "ORDER#0015"],
        "customer": ["CUST#1", "CUST#3", "CUST#1"],
        "x": [1, 2, 3],
    }
    found = orders.items(FRAMES[kind](columns))
    assert [item.item_key for item in found] == [
        orders.item(*key).item_key for key in (("CUST#1", "ORDER#0015"), ("CUST#3", "ORDER#0003"))
    ]


@pytest.mark.parametrize("values", [[7, 12], [Decimal("7.0"), Decimal(12)], ["7", "1.2e1"]])
def test_a_number_may_come_as_any_exact_kind(archive, values):
    customers = archive.table("customers")
    found = customers.items(pa.table({"number": pa.array(values)}))
    assert [item.item_key for item in found] == ['{"number":{"N":"7"}}', '{"number":{"N":"12"}}']


def test_keys_come_from_our_own_tables(archive):
    """What one question found is what the next one is asked about."""
    customers = archive.table("customers")
    changed = customers.log(during="2026-Q3", attr="card_number")
    expected = list(dict.fromkeys(change.item_key for change in changed))
    assert [item.item_key for item in customers.items(changed)] == expected
    assert [item.item_key for item in customers.items(changed.pl().select("item_key"))] == expected


def test_keys_come_one_by_one(archive):
    orders, customers = archive.table("orders"), archive.table("customers")
    found = orders.items([("CUST#1", "ORDER#0015"), {"customer": "CUST#1", "order": "ORDER#0015"}])
    assert [item.item_key for item in found] == [orders.item("CUST#1", "ORDER#0015").item_key]
    assert [item.item_key for item in customers.items(iter([7, 8]))] == [customers.item(n).item_key for n in (7, 8)]


@pytest.mark.parametrize(
    ("columns", "words"),
    [
        ({"customer": ["CUST#1"]}, ("customer", "order", "no columns for the key")),
        ({"customer": ["CUST#1"], "order": [None]}, ("row 1", "None")),
        ({"customer": ["CUST#1", "CUST#1"], "order": ["ORDER#0015", ""]}, ("row 2", "empty")),
        ({"customer": [1], "order": ["ORDER#0015"]}, ("row 1", "not text")),
        ({"item_key": [17]}, ("item_key", "int64")),
        ({"item_key": ['{"customer":{"S":"CUST#1"}}']}, ("row 1", "order")),
        ({"item_key": ["CUST#1"]}, ("row 1", "CUST#1")),
        ({"item_key": ['{"customer":{"S":"CUST#1"},"order":{"S":"ORDER#0015"}}', None]}, ("row 2", "null")),
    ],
)
def test_a_wrong_frame_is_told_what_is_wrong(archive, columns, words):
    with pytest.raises(UsageError) as told:
        archive.table("orders").items(pa.table(columns))
    text = f"{told.value.message} {told.value.why} {told.value.hint}"
    assert all(word in text for word in words), text


@pytest.mark.parametrize(
    "given", [{"sku": "A-1"}, "A-1", "17", b"17", bytearray(b"17"), 17, Decimal(17), {"sku": {"S": "A-1"}}]
)
def test_one_key_is_not_taken_for_several(archive, given):
    """A text is a sequence of letters, a mapping one of names, and bytes are one of numbers: each would be many keys."""
    with pytest.raises(UsageError) as told:
        archive.table("stock").items(given)
    assert f"items([{given!r}])" in told.value.hint
    assert "item(…)" in told.value.hint


@pytest.mark.parametrize("value", [bytearray(b"17"), memoryview(b"17")])
def test_a_value_of_bytes_is_one_value(archive, value):
    """In a list of keys too, where a tuple is the values of one."""
    with pytest.raises(KeyMismatch, match=r"key 1: .* is not text"):
        archive.table("stock").items([value])


def test_keys_one_by_one_are_told_by_their_place(archive):
    with pytest.raises(KeyMismatch, match="key 2"):
        archive.table("orders").items([("CUST#1", "ORDER#0015"), "CUST#1"])


@pytest.mark.parametrize("name", ["number", "item_key"])
def test_a_column_that_is_there_twice_is_named(archive, name):
    """Which of them is meant nobody can tell."""
    values = pa.array(["7"])
    frame = pa.Table.from_arrays([values, pa.array([1]), values], [name, "x", name])
    with pytest.raises(UsageError, match=f"2 columns {name}") as told:
        archive.table("customers").items(frame)
    assert "1, 3" in told.value.why


def test_an_image_that_is_there_twice_is_named(archive):
    frame = pa.Table.from_arrays([pa.array(["{}"]), pa.array(["{}"])], ["image", "image"])
    with pytest.raises(UsageError, match="2 columns image"):
        archive.table("stock").reconcile(frame, since=NOW)


@pytest.mark.parametrize("values", [[7.0], [float("nan")], [True]])
def test_a_number_is_never_taken_from_a_float(archive, values):
    """0.1 is not the number that it looks like; pandas makes floats of whole numbers where one is missing."""
    with pytest.raises(KeyMismatch, match="row 1"):
        archive.table("customers").items(pa.table({"number": pa.array(values)}))


def test_the_command_line_takes_keys_from_parquet(folder, archive, tmp_path):
    pq.write_table(pa.table({"number": [7, 8]}), tmp_path / "keys.parquet")
    line = f"history customers --keys {tmp_path / 'keys.parquet'}"
    found = written(folder, line, tmp_path / "rows.parquet")
    customers = archive.table("customers")
    expected = [change.change_id for item in customers.items([7, 8]) for change in item.changes]
    assert sorted(found["change_id"].to_pylist()) == sorted(expected)
    assert expected


# --- rows of the table itself ---


def lost():
    """What a batch that was lost did, of what no later change tells: by item key, what kind of difference it leaves."""
    stock = tables()[2]
    gone = next(place for place, batch in enumerate(stock.batches) if batch.is_lost)
    later = {orjson.dumps(one["dynamodb"]["Keys"]) for batch in stock.batches[gone + 1 :] for one in batch.records}
    kinds = {"INSERT": "missing-in-archive", "MODIFY": "differs", "REMOVE": "not-in-table"}
    told = {orjson.dumps(one["dynamodb"]["Keys"]): kinds[one["eventName"]] for one in stock.batches[gone].records}
    return {key.decode(): kind for key, kind in told.items() if key not in later}


def live(folder):
    return (folder / "stock-now.jsonl").read_text().splitlines()


@pytest.mark.parametrize("kind", ["polars", "pandas", "arrow", "mappings"])
def test_the_table_itself_shows_what_was_lost(folder, archive, kind):
    """A batch never arrived; nothing in the trail of those items can tell, and the table can."""
    rows = {
        "polars": lambda: pl.DataFrame({"image": live(folder)}),
        "pandas": lambda: pd.DataFrame({"image": live(folder)}),
        "arrow": lambda: pa.table({"image": live(folder)}).to_reader(max_chunksize=2),
        "mappings": lambda: map(orjson.loads, live(folder)),
    }[kind]()
    found = archive.table("stock").reconcile(rows, since=NOW, until=NOW)
    assert {one.item_key: one.kind.value for one in found.differences} == lost()
    assert len(lost()) > 1
    assert (found.items, found.different) == (len(live(folder)), len(lost()))


def test_a_table_agrees_with_its_own_state(folder):
    """What the trail tells, given back as a frame, differs nowhere."""
    orders = query.open(str(folder / "archive")).table("orders")
    state = orders.as_of(NOW)
    found = orders.reconcile(state.pl(), since=NOW, until=NOW)
    assert (found.different, found.compared) == (0, state.count)
    fewer = orders.reconcile(state.pl().tail(-1), since=NOW, until=NOW)
    assert [one.kind.value for one in fewer.differences] == ["not-in-table"]


def test_binary_may_be_bytes(folder):
    """boto3 gives bytes where DynamoDB JSON has base64."""
    orders = query.open(str(folder / "archive")).table("orders")
    items = [orjson.loads(state.image) for state in orders.as_of(NOW).states()]
    for item in items:
        for value in item.values():
            if "B" in value:
                value["B"] = b64decode(value["B"])
    assert any(isinstance(value.get("B"), bytes) for item in items for value in item.values())
    assert orders.reconcile(items, since=NOW, until=NOW).different == 0


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (pa.table({"sku": ["A-1"]}), ("no column image", "sku")),
        (pa.table({"image": [1]}), ("int64",)),
        (pa.table({"image": ["{"]}), ("row 1",)),
        (pa.table({"image": ["[]"]}), ("row 1", "not an item")),
        (pa.table({"image": [None]}, schema=pa.schema({"image": pa.string()})), ("row 1",)),
        (pa.table({"image": ['{"sku":{"S":"A-1"}}', '{"id":{"S":"A-1"}}']}), ("row 2", "sku")),
        ([{"sku": "A-1"}], ("row 1",)),
    ],
)
def test_wrong_rows_are_told_what_is_wrong(archive, rows, words):
    with pytest.raises(UsageError) as told:
        archive.table("stock").reconcile(rows, since=NOW, until=NOW)
    text = f"{told.value.message} {told.value.why} {told.value.hint}"
    assert all(word in text for word in words), text


@pytest.mark.parametrize("is_same", [True, False])
def test_an_item_that_is_there_twice_is_refused(folder, archive, is_same):
    """A table has it once: two rows would count twice, and either might be the wrong one."""
    rows = [orjson.loads(line) for line in live(folder)]
    again = rows[3] if is_same else rows[3] | {"bins": {"NS": ["99"]}}
    with pytest.raises(UsageError, match="2 rows are of one item") as told:
        archive.table("stock").reconcile([*rows, again], since=NOW, until=NOW)
    assert rows[3]["sku"]["S"] in told.value.message


def test_reconcile_asks_since_when(folder, archive):
    with pytest.raises(UsageError, match="since when") as told:
        archive.table("stock").reconcile(map(orjson.loads, live(folder)), since=None)
    assert "2026-" in told.value.hint


def test_rows_are_read_again_where_derived_data_goes(folder, tmp_path):
    """Runs may be deleted at any time, and then the question is asked once more: with all rows, although they were given
    as something that can be read only once."""
    copy = shutil.copytree(folder / "archive", tmp_path / "archive")
    done = subprocess.run(
        [sys.executable, "-c", "from query.cli import main; main()", "compact", "stock", "-a", str(copy), "--derived", str(copy)],
        env={**os.environ, "HOME": str(tmp_path), "PYTHONPATH": os.getcwd()}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    runs = list(copy.glob("v1/*/*/*/runs"))
    assert runs, done.stderr
    stock = query.open(str(copy)).table("stock")
    assert stock.evidence.runs
    shutil.rmtree(runs[0])
    found = stock.reconcile(map(orjson.loads, live(folder)), since=NOW, until=NOW)
    assert found.items == len(live(folder))
    assert {one.item_key: one.kind.value for one in found.differences} == lost()
