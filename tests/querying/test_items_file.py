"""The items file of a part: against what a dictionary makes of the same rows, however they were cut, and the page."""

from __future__ import annotations

import hashlib
from pathlib import Path
from random import Random
from uuid import UUID

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from query.derived import items as items_files
from query.derived.columns import SNAPSHOT_SCHEMA
from query.derived.items import ITEMS_SCHEMA, ItemsWriter
from query.derived.lineage import with_lineage
from query.engine import Engine
from tests.querying.test_lineage import batches, drawn

PAGE = (Path(__file__).parents[2] / "docs" / "format.md").read_text(encoding="utf-8")
SEEDS = 60

Told = list[tuple[UUID, int, bool]]


@pytest.fixture(scope="module")
def digests():
    with Engine(threads=1).ask() as question:
        yield question.item_digests


def digest(item_key: str) -> UUID:
    return UUID(bytes=hashlib.sha256(item_key.encode()).digest()[:16])


def written(path: Path, groups: list[pa.Table], digests) -> bytes:
    writer = ItemsWriter(path, digests)
    for group in groups:
        writer.add(group)
    writer.close()
    return path.read_bytes()


def told(path: Path) -> Told:
    table = pq.read_table(path)
    assert table.schema.equals(ITEMS_SCHEMA)
    return list(zip(*(table.column(name).to_pylist() for name in ITEMS_SCHEMA.names), strict=True))


def cut(rows: pa.Table, rng: Random) -> list[pa.Table]:
    ends = sorted({rng.randrange(rows.num_rows + 1) for _ in range(rng.choice([0, 1, 4]))} | {rows.num_rows})
    return [rows.slice(start, end - start) for start, end in zip([0, *ends], ends, strict=False)]


def last_told(rows: list[dict]) -> Told:
    """Of each item the first row of its last change."""
    found: dict[str, tuple[str, int, bool]] = {}
    for number, row in enumerate(rows):
        change = row["stream_label"] + row["sequence_number"]
        if row["item_key"] not in found or found[row["item_key"]][0] != change:
            found[row["item_key"]] = (change, number, row["op"] != "REMOVE")
    return [(digest(key), number, existed) for key, (_, number, existed) in found.items()]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_items_of_a_run(seed, tmp_path, digests, monkeypatch):
    rng = Random(seed)
    monkeypatch.setattr(items_files, "_GROUP_ROWS", rng.choice([1, 2, 5, 1 << 17]))
    rows = drawn(rng)
    for row in rows:
        row["op"] = rng.choice(["INSERT", "MODIFY", "REMOVE"])
    run = pa.concat_tables(with_lineage(batches(rows, rng)))
    run = run.append_column("op", pa.array([row["op"] for row in rows]))
    contents = {written(tmp_path / "items", cut(run, rng), digests) for _ in range(3)}
    assert told(tmp_path / "items") == last_told(rows)
    assert len(contents) == 1, "how rows were cut shows in the file"


def test_drawn_rows_have_what_can_go_wrong():
    """Several rows that tell of an item's last change, and items whose last change stands alone."""
    repeated = alone = 0
    for seed in range(SEEDS):
        rows = drawn(Random(seed))
        for _, number, _ in last_told([row | {"op": "MODIFY"} for row in rows]):
            is_told_again = number + 1 < len(rows) and rows[number + 1]["item_key"] == rows[number]["item_key"]
            repeated, alone = repeated + is_told_again, alone + (not is_told_again)
    assert repeated > SEEDS
    assert alone > SEEDS


def test_the_items_of_a_snapshot(tmp_path, digests):
    """All of them, deleted ones too."""
    outcomes = ["existed", "already-deleted", "existed"]
    rows = [
        {"item_key": f"item {place}", "outcome": outcome, "basis": "change"} for place, outcome in enumerate(outcomes)
    ]
    table = pa.Table.from_pylist([dict.fromkeys(SNAPSHOT_SCHEMA.names) | row for row in rows], schema=SNAPSHOT_SCHEMA)
    written(tmp_path / "items", [table.slice(0, 2), table.slice(2)], digests)
    assert told(tmp_path / "items") == [
        (digest("item 0"), 0, True),
        (digest("item 1"), 1, False),
        (digest("item 2"), 2, True),
    ]


def test_a_part_that_tells_of_no_item_last(tmp_path, digests):
    """All its rows are of one item, which goes on in the next part."""
    times = pa.array([1, 2], pa.timestamp("ms", tz="UTC"))
    rows = pa.table(
        {"item_key": ["x", "x"], "op": ["INSERT", "MODIFY"], "superseded_at": times, "repeats": [False, False]}
    )
    written(tmp_path / "items", [rows], digests)
    assert told(tmp_path / "items") == []


@pytest.mark.parametrize(
    "keys", [["", "\x00", "a", "é", "🦆" * 3, "x" * 4_000], [f"{number}" for number in range(5_000)]]
)
def test_digests_are_those_of_the_standard_library(keys, digests):
    """In the order of the keys."""
    found = digests(pa.chunked_array([keys[:3], keys[3:]], pa.string()))
    assert [UUID(bytes=one) for one in found.storage.to_pylist()] == [digest(key) for key in keys]


def test_the_engine_finds_the_same_digest_in_a_statement(tmp_path):
    """What is in no items file is digested in the question: the two have to meet."""
    key = '{"pk":{"S":"CUST#7"},"sk":{"N":"41"}}'
    with Engine(threads=1).ask() as question:
        question.register("one", pa.table({"item_key": [key]}))
        found = question.item_digests(pa.chunked_array([[key]]))
        pq.write_table(pa.table({"item_digest": found}), tmp_path / "one.parquet", store_schema=False)
        rows = question._connection.execute(
            "SELECT item_digest = item_digest(item_key), item_digest FROM read_parquet($path), one",
            {"path": str(tmp_path / "one.parquet")},
        ).fetchall()
    assert rows == [(True, digest(key))]


def test_the_items_on_the_page():
    """The example of section 17."""
    block = PAGE.partition("```text run-items\n")[2].partition("\n```")[0]
    keys = ['{"pk":{"S":"CUST#7"},"sk":{"N":"41"}}', '{"pk":{"S":"CUST#7"},"sk":{"N":"42"}}']
    expected = [
        (digest(key), place, place > 0) for place, key in enumerate([*keys, '{"pk":{"S":"CUST#9"},"sk":{"N":"7"}}'])
    ]
    assert block == "\n".join(f"{one}  {row}  {str(existed).lower()}" for one, row, existed in expected)
