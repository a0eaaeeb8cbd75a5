"""Which files a question reads: planned as data, so tested as data; and the answers that pruning must not change."""

from __future__ import annotations

from pathlib import Path

import orjson
import pytest

import query
from archiver.format.canonical import canonical
from archiver.format.description import BaselineDescription, BaselinePart
from archiver.format.layout import BaselineName, StreamSource
from archiver.segment import encode_baseline_part
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from tests.delivery import delivered

LABEL = "2026-09-01T00:00:00.000"
ARN = f"arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/{LABEL}"
START_S = 1_788_300_000
HOUR_S = 3_600
NOW_MS = (START_S + 400 * HOUR_S) * 1000


def change(number: int, hour: int, op: str, key: str) -> dict:
    image = {"rev": {"N": str(number)}}
    return delivered(
        op,
        {"id": {"S": key}},
        None if op == "INSERT" else image,
        None if op == "REMOVE" else image,
        sequence_number=4_000_000_000_000_000_000_000 + number,
        changed_at_s=START_S + hour * HOUR_S,
        arn=ARN,
        event_id=f"{number:032x}",
        size_bytes=100,
    )


def put_baseline(folder: Path, hour: int, keys: list[str]) -> None:
    """A complete baseline of these items, taken within one second of an hour."""
    trail = StreamSource.parse(ARN).trail
    rows = [
        (canonical({"id": {"S": key}}), key, None, canonical({"id": {"S": key}, "rev": {"N": "0"}}))
        for key in sorted(keys)
    ]
    content = encode_baseline_part(rows)
    from hashlib import sha256

    digest = sha256(content).hexdigest()
    place = BaselineName((START_S + hour * HOUR_S) * 1000)
    name = place.part(0, digest)
    store = FolderStore(folder)
    store.put_if_absent(trail.prefix + name, content)
    part = BaselinePart(name.rpartition("/")[2], len(content), len(rows), digest)
    description = BaselineDescription(
        complete=True,
        from_ms=place.instant_ms,
        to_ms=place.instant_ms + 1000,
        items=len(rows),
        key_schema=(("id", "S"),),
        origin="made by a test",
        parts=(part,),
        stream_label=LABEL,
        table_id=None,
    )
    store.put_if_absent(trail.prefix + place.description, description.compose())


@pytest.fixture
def orders(tmp_path):
    """`gone` is made and deleted, `kept` and `still` made in the first hours; a baseline at hour 100; changes until 200."""
    writer = Writer(FolderStore(tmp_path), Streams())
    changes = [
        change(1, 0, "INSERT", "gone"),
        change(2, 1, "REMOVE", "gone"),
        change(3, 1, "INSERT", "kept"),
        change(4, 2, "INSERT", "still"),
        change(5, 150, "MODIFY", "kept"),
        change(6, 200, "REMOVE", "kept"),
    ]
    writer.archive(changes, now_ms=NOW_MS)
    put_baseline(tmp_path, 100, ["kept", "still"])
    return query.open(str(tmp_path), now_ms=lambda: NOW_MS).table("orders")


def at(hour: int) -> str:
    return f"@{START_S + hour * HOUR_S + 1800}"


def existing(state) -> list[str]:
    return [orjson.loads(one.item_key)["id"]["S"] for one in state.states()]


def test_with_a_floor_neither_the_past_nor_the_future_is_read(orders):
    """A complete floor at or before the instant: hours before it and after the instant are left out, but the newest one,
    which tells whether the stream is still the same."""
    state = orders.as_of(at(150))
    hours = {name.split("/dt=")[1][:18] for name in (file.name for file in state.plan.files) if "/dt=" in name}
    assert len(hours) == 2
    assert state.plan.total_files == 6
    assert state.has_floor
    assert existing(state) == ["kept", "still"]


def test_without_a_floor_everything_is_read(orders):
    """Before the baseline, later changes tell of the past, so none may be left out."""
    state = orders.as_of(at(50))
    assert len(state.plan.files) == state.plan.total_files == 6
    assert existing(state) == ["kept", "still"]
    assert state.unknown == 0


def test_an_item_deleted_long_before_the_floor_was_deleted_and_never_missing(orders):
    """Pruning must not turn "already deleted" into "not yet created"."""
    assert orders.item("gone").state(at(150)).state.outcome == "already-deleted"
    assert orders.item("never").state(at(150)).state.outcome == "not-yet-created"
    assert orders.item("kept").state(at(201)).state.outcome == "already-deleted"


def test_an_item_that_only_the_baseline_shows_is_known(orders, tmp_path):
    """That is what a baseline is for."""
    put_baseline(tmp_path, 120, ["kept", "still", "silent"])
    table = query.open(str(tmp_path), now_ms=lambda: NOW_MS).table("orders")
    assert existing(table.as_of(at(130))) == ["kept", "silent", "still"]
    assert table.item("silent").state(at(130)).state.basis == "baseline"


def test_a_range_reads_its_hours_only(orders):
    """A segment holds one hour of creation times, so the plan for a range is exact."""
    first, last = (START_S + 150 * HOUR_S) * 1000, (START_S + 151 * HOUR_S) * 1000
    found = orders.changes(since_ms=first, until_ms=last)
    assert [change.sequence_number[-1] for change in found] == ["5"]
    assert len(found.plan.files) == 1
