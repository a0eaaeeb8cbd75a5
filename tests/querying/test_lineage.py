"""What follows for each row from its neighbours, against a model that looks at one item at a time; and that it does not
matter how the rows were cut into batches.
"""

from __future__ import annotations

from collections.abc import Iterator
from random import Random

import pyarrow as pa
import pytest

from query.derived.lineage import gathered, with_lineage

SEEDS = 150
TIME = pa.timestamp("ms", tz="UTC")
BASE_MS = 1_795_435_200_000
SCHEMA = pa.schema(
    [
        pa.field("item_key", pa.string()),
        pa.field("stream_label", pa.string()),
        pa.field("sequence_number", pa.string()),
        pa.field("changed_at", TIME),
        pa.field("position", pa.int64()),
    ]
)


def drawn(rng: Random) -> list[dict]:
    """Rows in order: few items or many, one change or several of each, told once or more often, clocks that step back."""
    rows = []
    for item in range(rng.choice([1, 2, 7])):
        identities = {
            (rng.choice(["2026-01-01T00:00:00.000", "2026-02-01T00:00:00.000"]), f"{rng.randrange(30):040d}")
            for _ in range(rng.choice([1, 1, 2, 3, 9]))
        }
        for label, sequence in sorted(identities):
            at_ms = BASE_MS + rng.randrange(6) * 1000
            for _ in range(rng.choice([1, 1, 1, 2, 5])):
                told_ms = at_ms if rng.random() < 0.9 else at_ms + rng.randrange(-3, 4) * 1000  # a contradiction
                rows.append(
                    {
                        "item_key": f"item {item}",
                        "stream_label": label,
                        "sequence_number": sequence,
                        "changed_at": told_ms,
                        "position": len(rows),
                    }
                )
    return rows


def expected(rows: list[dict]) -> list[tuple]:
    """Each row's (preceded, effective, superseded) in epoch ms, and whether it repeats the change of the row before."""
    found: list[tuple] = []
    for item in dict.fromkeys(row["item_key"] for row in rows):
        told: dict[tuple[str, str], list[int]] = {}
        for row in rows:
            if row["item_key"] == item:
                told.setdefault((row["stream_label"], row["sequence_number"]), []).append(row["changed_at"])
        times, latest = [], 0
        for stated in told.values():
            latest = max(latest, *stated)
            times.append(latest)
        for place, stated in enumerate(told.values()):
            before = times[place - 1] if place else None
            after = times[place + 1] if place + 1 < len(times) else None
            found += [(before, times[place], after, number > 0) for number in range(len(stated))]
    return found


def batches(rows: list[dict], rng: Random) -> Iterator[pa.RecordBatch]:
    """The rows cut anywhere, also into nothing."""
    at = 0
    while at < len(rows):
        size = rng.choice([0, 1, 1, 2, 3, 10, len(rows)])
        yield pa.RecordBatch.from_pylist(rows[at : at + size], schema=SCHEMA)
        at += size


def told(tables: list[pa.Table]) -> tuple[list[int], list[tuple]]:
    """The positions of the rows, and what was derived of them."""
    rows = [row for table in tables for row in table.to_pylist()]
    names = ("preceded_at", "effective_at", "superseded_at")
    derived = []
    for table in tables:
        columns = [table.column(name).cast(pa.int64()).to_pylist() for name in names]
        derived += list(zip(*columns, table.column("repeats").to_pylist(), strict=True))
    return [row["position"] for row in rows], derived


def test_every_row_has_what_its_neighbours_say_however_they_were_cut():
    """Hundreds of drawn sets of rows, each cut three times: the model's times, the same rows in the same order."""
    for seed in range(SEEDS):
        rng = Random(seed)
        rows = drawn(rng)
        right = expected(rows)
        for cut in range(3):
            positions, derived = told(list(with_lineage(batches(rows, rng))))
            assert positions == list(range(len(rows))), (seed, cut)
            assert derived == right, (seed, cut)


def test_nothing_gives_nothing():
    assert list(with_lineage([])) == []
    assert list(with_lineage([pa.RecordBatch.from_pylist([], schema=SCHEMA)])) == []


def test_the_last_row_of_a_batch_waits_for_what_follows():
    """A change that goes on in the next batch, and is followed there: the first of its rows knows already."""
    key = {"item_key": "a", "stream_label": "2026-01-01T00:00:00.000"}
    rows = [
        {**key, "sequence_number": "1", "changed_at": BASE_MS + 5000, "position": 0},
        {**key, "sequence_number": "1", "changed_at": BASE_MS + 5000, "position": 1},
        {**key, "sequence_number": "2", "changed_at": BASE_MS, "position": 2},
    ]
    each = [pa.RecordBatch.from_pylist([row], schema=SCHEMA) for row in rows]
    late = BASE_MS + 5000
    assert told(list(with_lineage(each)))[1] == [
        (None, late, late, False),
        (None, late, late, True),
        (late, late, None, False),
    ]


@pytest.mark.parametrize("rows_at_once", [1, 3, 10, 1_000])
def test_gathering_changes_no_row(rows_at_once):
    """Small batches are put together until there are enough; what is left comes last."""
    rng = Random(rows_at_once)
    rows = drawn(rng) * 5
    tables = list(gathered(batches(rows, rng), rows=rows_at_once))
    assert [row["position"] for table in tables for row in table.to_pylist()] == [row["position"] for row in rows]
    assert all(table.num_rows >= rows_at_once for table in tables[:-1])
