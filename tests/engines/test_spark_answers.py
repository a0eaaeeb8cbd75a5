"""Spark answers what the reader answers: every state of every item, and every version, row by row; and as the oracle
does, which has never heard of either.
"""

from __future__ import annotations

import contextlib
import json
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import query
from archiver.format.description import StreamDescription
from archiver.format.layout import Trail, stream_name
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.answer import plain_key, plain_text
from query.plan import plan_state
from query.sealed import SealedObjectMissing
from query.source import Access
from query.state import Moment, reconstruct
from tests.oracle import image_of, key_of
from tests.querying import test_gaps
from tests.querying.derived_worlds import (
    Place,
    Questions,
    World,
    by_value,
    make_world,
    plain_version,
)
from tests.simulator.memory_store import MemoryStore
from tests.simulator.real import _put_baseline
from tests.system import test_fires

pytestmark = pytest.mark.xdist_group("spark")

# Chosen by what they have together (see the test): several labels, a table made anew, baselines, conflicts, missing
# images, and answers by each rule.
WORLDS = (6, 9, 17, 44, 95)
LONG_CHUNKS, LONG_SEEDS = 4, 60
REACHED = {
    *("existed by change", "existed by old-image", "existed by baseline", "existed by agreement"),
    *("already-deleted by change", "already-deleted by agreement", "not-yet-created by old-image"),
    *("unknown by guess", "unknown by nothing", "unknown: gap", "unknown: missing-image", "conflict"),
    *("judged", "versions"),
}


def ms_of(moment: Any) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)


def on_spark(spark, table, folder: Path):
    from query.spark.answers import SparkTable
    from query.spark.files import Place as SparkPlace

    return SparkTable(spark, table, SparkPlace(str(folder), Access(cache_dir=folder.parent / "cache"))).keep()


def rows_of(found) -> list[dict]:
    from query.spark.files import plain_rows

    return plain_rows(found)


def states_of(found) -> dict[str, tuple]:
    """Item key -> what is told of it."""
    rows = rows_of(found)
    told = {
        row["item_key"]: (
            row["outcome"],
            row["basis"],
            by_value(row["image"]),
            row["reason"],
            row["change_id"],
            ms_of(row["changed_at"]),
            ms_of(row["valid_from"]),
            row["is_guess"],
        )
        for row in rows
    }
    assert len(told) == len(rows), "an item twice"
    return told


def read_states(table, at_ms: int) -> tuple[dict[str, tuple], set[str]]:
    """The same of the reader, where it reads all that there is; and the items that it refuses."""
    plan = plan_state(table.evidence, "spark", at_ms=at_ms, is_cut=False, tells_absences_apart=True)
    found = reconstruct(table.engine.ask(), table.reader, table.evidence, plan, Moment(at_ms))
    with contextlib.closing(found):
        told = {
            one.item_key: (
                *(one.outcome.value, one.basis.value, by_value(one.image), one.reason),
                *(one.change_id, one.changed_at_ms, one.valid_from_ms, one.is_guess),
            )
            for one in found.all()
        }
        return told, {conflict.item_key for conflict in found.conflicts}


def check_states(world: World, table, asked, at_ms: int, where: str) -> Counter[str]:
    """Each item as the reader tells it, and as the oracle does."""
    found = states_of(asked.as_of(at_ms))
    expected, conflicting = read_states(table, at_ms)
    assert {key for key, told in found.items() if told[0] == "conflict"} == conflicting, where
    told = {key: one for key, one in found.items() if key not in conflicting}
    for key in told.keys() | expected.keys():
        assert told.get(key) == expected.get(key), f"{where}: {key}\n    {expected.get(key)}\n    {told.get(key)}"
    had = Counter(f"{one[0]} by {one[1]}" for one in told.values())
    had.update(f"{one[0]}: {one[3]}" for one in told.values() if one[3])
    had["conflict"] += len(conflicting)
    if world.is_judged:
        by_key = {key_of(orjson.loads(key)): one for key, one in told.items()}
        refused = {key for *_, key in world.oracle.conflicts()}
        for key, state in world.oracle.table_at(at_ms).items():
            if key not in refused:
                outcome, _, image, *_, is_guess = by_key.get(key, ("unknown", "nothing", None, False))
                image = None if image is None or is_guess else orjson.loads(image)["M"]
                assert (outcome, image_of(image)) == (state.outcome, image_of(state.image)), f"{where}: {key}: {state}"
                had["judged"] += 1
    return had


def check_versions(world: World, table, asked, where: str) -> int:
    """Every version of every item, and every conflict."""
    found: dict[str, list[tuple]] = {}
    for row in rows_of(asked.versions()):
        change = (
            *(row["change_id"], row["op"], ms_of(row["changed_at"]), ms_of(row["valid_from"]), row["sequence_number"]),
            *(row["stream_label"], row["item_key"], by_value(row["old_image"]), by_value(row["new_image"])),
            row["user_identity"],
        )
        told = row["item_key"], by_value(row["image"]), change, ms_of(row["valid_from"]), ms_of(row["valid_to"])
        found.setdefault(row["item_key"], []).append(told)
        events = world.told[row["stream_label"], row["sequence_number"], row["item_key"]]
        assert row["event"] in events[row["segment"]], f"{where}: {row['segment']} tells of it in other words"
    refused = {row["item_key"] for row in rows_of(asked.conflicts())}
    assert refused == {conflict.item_key for conflict in table.conflicts()}, where
    assert not refused & found.keys(), f"{where}: an item in conflict has a history"
    for key in {change[2] for change in world.told} - refused:
        expected = [plain_version(version) for version in table.item(json_text=key).versions]
        assert sorted(found[key], key=lambda told: told[2][4:6][::-1]) == expected, f"{where}: {key}"
    assert found.keys() <= {change[2] for change in world.told}
    return len(found)


def played(seed: int, folder: Path) -> tuple[World, Place] | None:
    world = make_world(seed)
    if world is None:
        return None
    return world, Place(folder, key_names=world.key_names).play(world, len(world.stages) - 1)


def history(spark, seed: int, folder: Path, instants: int) -> Counter[str]:
    there = played(seed, folder)
    if there is None:
        return Counter()
    world, place = there
    table = place.table(with_derived=False)
    asked = on_spark(spark, table, place.archive_folder)
    had: Counter[str] = Counter(versions=check_versions(world, table, asked, f"seed {seed}"))
    chosen = Questions.of(world, Random(seed), instants=instants, item_instants=0, keys=0, cuts=0).instants
    for at_ms in chosen:
        had += check_states(world, table, asked, at_ms, f"seed {seed} at {at_ms}")
    asked.forget()
    return had


def test_spark_answers_as_the_reader_and_the_oracle_do(spark, tmp_path):
    """States at some instants, all versions, all conflicts: the same rows with the same values."""
    had: Counter[str] = Counter()
    for seed in WORLDS:
        had += history(spark, seed, tmp_path / str(seed), 1)
    assert had.keys() >= REACHED, had


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(LONG_CHUNKS))
def test_spark_answers_as_they_do_in_many_histories(chunk, spark, tmp_path):
    """The same at length; in each quarter of them only what is in any."""
    had: Counter[str] = Counter()
    for seed in range(100 + chunk * LONG_SEEDS // LONG_CHUNKS, 100 + (chunk + 1) * LONG_SEEDS // LONG_CHUNKS):
        had += history(spark, seed, tmp_path / str(seed), 3)
    assert had.keys() >= {"existed by change", "already-deleted by change", "unknown by guess", "judged", "versions"}, (
        had
    )


# --- each by itself ---


@pytest.mark.parametrize("table_ids", [None, {test_gaps.OFF: "A", test_gaps.ON: "B"}])
def test_facts_across_a_gap_and_the_end_of_a_table(table_ids, spark, tmp_path):
    """What simulated histories rarely hold: the same value in another spelling on both sides of a gap, and items of a
    table that was deleted and made again. Both as the reader has them."""
    ids = table_ids or {}
    store, streams = FolderStore(tmp_path / "archive"), Streams({"orders": ("id",)})
    Writer(store, streams).archive(test_gaps.RECORDS, now_ms=test_gaps.T0 * 1000)
    for label in ids:
        arn = f"arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/{label}"
        description = StreamDescription(arn, (("id", "S"),), ids[label], "NEW_AND_OLD_IMAGES")
        name = Trail("111122223333", "eu-west-1", "orders").prefix + stream_name(label)
        (tmp_path / "archive" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "archive" / name).write_bytes(description.compose())
    table = query.open(str(tmp_path / "archive")).table("orders")
    asked = on_spark(spark, table, tmp_path / "archive")
    bases: set[str] = set()
    for at_s in (1800, 3610, 3700):
        at_ms = (test_gaps.T0 + at_s) * 1000
        found = states_of(asked.as_of(at_ms))
        assert (found, set()) == read_states(table, at_ms), at_s
        bases |= {told[1] for told in found.values()}
    assert "table-end" in bases if table_ids else "agreement" in bases
    asked.forget()


def test_a_baseline_says_nothing_of_an_item_that_changed_inside_it(spark, tmp_path):
    """The scan saw the item that was made while it went on; before that second it was not there. A change inside it by a
    clock that stepped back counts too, though it came into effect later."""
    made, still, stepped = ({"id": {"S": name}, "n": {"N": "1"}} for name in ("made", "still", "stepped"))
    second = test_gaps.T0
    writer = Writer(FolderStore(tmp_path), Streams({"orders": ("id",)}))
    first = test_gaps.change(test_gaps.OFF, 1, second - 60, "INSERT", "other", None, test_gaps.ONE)
    inside = test_gaps.change(test_gaps.OFF, 2, second + 30, "INSERT", "made", None, test_gaps.ONE)
    writer.archive([first, inside], now_ms=second * 1000)
    after = test_gaps.change(test_gaps.OFF, 3, second + 120, "MODIFY", "stepped", test_gaps.ONE, test_gaps.TWO)
    back = test_gaps.change(test_gaps.OFF, 4, second + 30, "MODIFY", "stepped", test_gaps.TWO, test_gaps.ONE)
    writer.archive([after, back], now_ms=second * 1000)
    rows = [({"id": item["id"]}, item) for item in (made, still, stepped)]
    baseline = {"s": second, "e": second + 60, "label": test_gaps.OFF, "rows": rows}
    store = MemoryStore()
    _put_baseline(store, Trail("111122223333", "eu-west-1", "orders"), baseline, (("id", "S"),))
    for name, content in store.objects.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    table = query.open(str(tmp_path)).table("orders")
    asked = on_spark(spark, table, tmp_path)
    found = states_of(asked.as_of((second + 10) * 1000))
    assert (found, set()) == read_states(table, (second + 10) * 1000)
    assert {plain_key(key)["id"]: told[:2] for key, told in found.items()} == {
        "made": ("not-yet-created", "old-image"),
        "other": ("already-deleted", "baseline"),
        "still": ("existed", "baseline"),
        "stepped": ("existed", "old-image"),
    }
    asked.forget()


def test_of_several_segments_that_tell_of_a_change_a_sealed_one_is_named(spark, tmp_path):
    """Whatever their names are: what is signed is worth more."""
    from query.spark.answers import ask

    _, place = played(6, tmp_path)
    on_spark(spark, place.table(with_derived=False), place.archive_folder)  # knows the functions
    texts = ("item_key", "stream_label", "sequence_number", "change_id", "op", "pk", "sk", "old_image", "new_image")
    columns = (*texts, "user_identity", "event", "segment")
    common = dict.fromkeys(columns, "same") | {"changed_at": datetime(2026, 9, 1, tzinfo=UTC), "position": 0}
    told = [common | {"segment": name, "is_sealed": name == "b"} for name in ("a", "b", "c")]
    schema = (
        ", ".join(f"{name} string" for name in columns) + ", changed_at timestamp, position bigint, is_sealed boolean"
    )
    (row,) = rows_of(ask(spark, "changes", {"evidence": spark.createDataFrame(told, schema)}))
    assert (row["segment"], row["is_sealed"], row["is_contradicted"]) == ("b", True, False)


def test_one_item_is_asked_without_the_others(spark, tmp_path):
    """Whoever asks for one item gets its rows alone, and coverage is still that of the trail."""
    world, place = played(44, tmp_path)
    table = place.table(with_derived=False)
    whole = on_spark(spark, table, place.archive_folder)
    at_ms = world.times[len(world.times) // 2]
    expected = states_of(whole.as_of(at_ms))
    key = min(key for key, told in expected.items() if told[0] == "existed")
    one = whole.item(key)
    assert states_of(one.as_of(at_ms)) == {key: expected[key]}
    versions = {row["change_id"] for row in rows_of(whole.versions()) if row["item_key"] == key}
    assert {row["change_id"] for row in rows_of(one.versions())} == versions
    whole.forget()


def test_a_segment_that_is_not_the_sealed_one_gives_no_answer(spark, tmp_path):
    """The task that meets it says so in the reader's own words, and they reach whoever asked."""
    from query.spark.files import RefusedOnSpark

    _, place = played(6, tmp_path)
    table = place.table(with_derived=False)
    segment = next(one for one in table.evidence.segments if one.is_sealed)
    path = place.archive_folder / segment.stored.name
    content = path.read_bytes()
    path.write_bytes(content[:100] + bytes([content[100] ^ 1]) + content[101:])
    asked = on_spark(spark, table, place.archive_folder)
    with pytest.raises(RefusedOnSpark, match=f"{segment.stored.name} is not the file that was sealed") as caught:
        rows_of(asked.versions())
    assert caught.value.why.startswith("digest-mismatch")
    assert caught.value.exit_code == 4
    path.unlink()
    with pytest.raises(RefusedOnSpark, match="cannot be read as evidence"):
        rows_of(on_spark(spark, table, place.archive_folder).versions())
    with pytest.raises(SealedObjectMissing):
        on_spark(spark, place.table(with_derived=False), place.archive_folder).versions()


def test_spark_reads_the_files_themselves(spark, tmp_path):
    """Plain `spark.read.parquet` over the folders, with nothing of ours: times, texts and lists as we read them, day and
    hour as columns."""
    world, place = played(16, tmp_path)
    place.compact()
    table = place.table(with_derived=False)
    prefix = place.archive_folder / table.trail.prefix
    read = spark.read.parquet(str(prefix / "segments"))
    assert dict(read.dtypes)["changed_at"] == "timestamp"
    found = {
        (row["stream_label"], row["sequence_number"], row["item_key"]): (ms_of(row["changed_at"]), row["hour"])
        for row in rows_of(read.selectExpr("* EXCEPT (dt, hour)", "CAST(hour AS INT) AS hour"))
    }
    changes = {(c.stream_label, c.sequence_number, c.item_key): c.changed_at_ms for c in table.changes()}
    assert {identity: told[0] for identity, told in found.items()} == changes
    assert {told[1] for told in found.values()} == {at_ms // 3_600_000 % 24 for at_ms in changes.values()}
    runs = spark.read.parquet(*(str(path.parent / "part-*.parquet") for path in prefix.glob("runs/d1/*/run.json")))
    assert dict(runs.dtypes)["changed_attributes"] == "array<string>"
    assert dict(runs.dtypes)["superseded_at"] == "timestamp"
    paths = [str(path) for path in prefix.glob("runs/d1/*/part-*.parquet")]
    ours = pa.concat_tables(pq.ParquetFile(path).read() for path in paths).to_pylist()
    in_order = [sorted(map(repr, map(sorted, map(dict.items, rows)))) for rows in (rows_of(runs), ours)]
    assert len(ours) > 5
    assert [row["position"] for row in ours]
    assert in_order[0] == in_order[1]
    assert world.told


# --- a real history ---


@pytest.mark.skipif(not test_fires.DATA.is_dir(), reason="the fires data is not there: shared/data/fires")
@pytest.mark.parametrize("known", [2, pytest.param(41, marks=pytest.mark.long)])
def test_spark_knows_the_known_tables(known, spark, tmp_path):
    """A public table over years, 402 items in the end: the known items at known instants, and as many versions as there
    were changes."""
    instants = test_fires.lines("expected.jsonl.gz")[:known]
    records = [record for event in test_fires.lines("events.jsonl.gz") for record in event["Records"]]
    if known < 41:
        last = instants[-1]["at"]
        records = [one for one in records if one["dynamodb"]["ApproximateCreationDateTime"] <= last]
    store = MemoryStore()
    writer = Writer(store, Streams({"fires": ("UniqueId",)}))
    for start in range(0, len(records), 1000):
        writer.archive(records[start : start + 1000], now_ms=0)
    archive = tmp_path / "fires"
    for name, content in store.objects.items():
        (archive / name).parent.mkdir(parents=True, exist_ok=True)
        (archive / name).write_bytes(content)
    table = query.open(str(archive)).table("fires")
    asked = on_spark(spark, table, archive)
    assert asked.versions().count() == len(table.changes()) == len(records)
    for expected in instants:
        rows = rows_of(asked.as_of(expected["at"] * 1000).where("outcome = 'existed'").select("item_key", "image"))
        found = {
            json.dumps([plain_key(row["item_key"])["UniqueId"]]): orjson.loads(plain_text(row["image"])) for row in rows
        }
        assert found == expected["items"], expected["at"]
    asked.forget()
