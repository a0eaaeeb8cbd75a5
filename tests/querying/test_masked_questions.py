"""Masks given back as questions: what an answer shows in place of a value is never taken for the value."""

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import query
from query.cli import run
from query.cli.sample import write_sample
from query.errors import UsageError

NOW = "2026-10-01T00:00:00Z"
# An attribute of each key, of text and a number; one that is no key; and one that lies deeper.
REDACT = {"orders": ["customer", "total"], "customers": ["number"], "stock": ["on_hand"]}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sample") / "shop"
    write_sample(folder)
    return folder


@pytest.fixture(scope="module")
def archive(folder):
    return query.open(str(folder / "archive"), redact=REDACT, redaction_key=b"correct horse battery staple")


def refused(told, *words):
    """What, why, and what to do."""
    text = f"{told.value.message}\n{told.value.why}\n{told.value.hint}"
    assert all(word in text for word in ("[redacted:", "redact hides", *words)), text


@pytest.mark.parametrize(("name", "attribute"), [("orders", "customer"), ("customers", "number")])
@pytest.mark.parametrize("shape", ["answer", "arrow", "columns", "lines"])
def test_masked_keys_of_an_answer_are_refused(archive, name, attribute, shape):
    """The item of a mask does not exist, and "not yet created" would be said of one that does."""
    table = archive.table(name)
    log = table.log(limit=5)
    keys = [orjson.loads(text) for text in log.arrow().column("item_key").to_pylist()]
    given = {
        "answer": log,
        "arrow": log.arrow().select(["item_key"]),
        "columns": pa.table({part: [next(iter(key[part].values())) for key in keys] for part in keys[0]}),
        "lines": keys,
    }[shape]
    with pytest.raises(UsageError) as told:
        table.items(given)
    refused(told, attribute, "key 1" if shape == "lines" else "row 1")


def test_one_masked_key_is_refused_however_it_is_given(archive):
    orders = archive.table("orders")
    mask = orders.redaction.mask({"S": "CUST#1"})
    whole = {"customer": {"S": mask}, "order": {"S": "ORDER#0015"}}
    for ask in (
        lambda: orders.item(mask, "ORDER#0015"),
        lambda: orders.item(whole),
        lambda: orders.item(named=(f"customer={mask}", "order=ORDER#0015")),
        lambda: orders.item(json_text=orjson.dumps(whole).decode()),
        lambda: orders.collection(mask),
    ):
        with pytest.raises(UsageError) as told:
            ask()
        refused(told, "customer")


def test_what_only_looks_like_a_mask_elsewhere_is_a_value(archive):
    """An attribute that nobody redacts may hold any text, and a redacted one any but a mask."""
    orders = archive.table("orders")
    mask = orders.redaction.mask({"S": "CUST#1"})
    assert orders.item("CUST#1", mask).state(NOW).state.outcome.value != "existed"
    assert orders.item(f"{mask}x", "ORDER#0015").history().total == 0
    assert orders.item("CUST#1", "ORDER#0015").history().total > 0


@pytest.mark.parametrize("form", ["jsonl", "parquet", "--key", "key"])
def test_the_command_line_refuses_masked_keys(folder, archive, form, tmp_path, monkeypatch, capsys):
    orders = archive.table("orders")
    key = orders.log(limit=1).arrow().column("item_key").to_pylist()[0]
    given = {
        "jsonl": ["--keys", str(tmp_path / "keys.jsonl")],
        "parquet": ["--keys", str(tmp_path / "keys.parquet")],
        "--key": ["--key", key],
        "key": [one["S"] for one in orjson.loads(key).values()],
    }[form]
    (tmp_path / "keys.jsonl").write_text(f'{{"item_key":{key}}}\n')
    pq.write_table(pa.table({"item_key": [key]}), tmp_path / "keys.parquet")
    monkeypatch.setenv("HOME", str(tmp_path))
    config = (folder / "ddbtrail.toml").read_text().replace('url = "archive"', f'url = "{folder / "archive"}"')
    (tmp_path / "ddbtrail.toml").write_text(
        config.replace("tables.orders]\n", 'tables.orders]\nredact = ["customer"]\n')
    )
    monkeypatch.chdir(tmp_path)
    code = run(["history", "orders", *given])
    told = capsys.readouterr()
    assert (code, told.out) == (2, "")
    assert "[redacted:" in told.err
    assert "redact hides" in told.err


@pytest.mark.parametrize("name", ["orders", "customers", "stock"])
@pytest.mark.parametrize("shape", ["frame", "mappings"])
def test_a_masked_state_is_no_table_to_compare_with(archive, name, shape):
    """A table that was shown masked differs from its own trail in every item, or in an attribute of each."""
    table = archive.table(name)
    state = table.as_of(NOW).arrow()
    rows = state if shape == "frame" else [orjson.loads(text) for text in state.column("image").to_pylist()]
    with pytest.raises(UsageError) as told:
        table.reconcile(rows, since=NOW, until=NOW)
    refused(told, "row 1")


def test_a_redacted_table_is_compared_with_its_values(folder, archive):
    """What is refused is the mask, not the attribute."""
    rows = (folder / "stock-now.jsonl").read_text().splitlines()
    plain = query.open(str(folder / "archive")).table("stock")
    expected = plain.reconcile(pa.table({"image": rows}), since=NOW, until=NOW)
    found = archive.table("stock").reconcile(pa.table({"image": rows}), since=NOW, until=NOW)
    assert expected.different
    assert (found.items, found.different) == (expected.items, expected.different)
