"""Two days of a table in simulated time, with a long outage in them, under the deployed settings.

The archiver, the command `replay` and the reader are the real ones; the stream, the mapping and the time are simulated.
The model of what is lost, and of which items can show it, is what the stream held.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterable
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import orjson
import pytest

import query
from query.cli import run
from query.table import Table
from tests.oracle import identity_of, image_of, key_of, to_ms
from tests.simulator.check import check
from tests.simulator.deployed import deployed
from tests.simulator.destination import failure_key
from tests.simulator.memory_store import MemoryStore
from tests.simulator.outcome import Outcome
from tests.simulator.real import LONG_AFTER_MS, RealHandler, finish, identities, quarantined
from tests.simulator.run import simulate
from tests.simulator.scenario import HOUR_MS
from tests.simulator.stream import Emitted

MINUTE_MS = 60_000
WRITES, DAYS = 300, 2
# The documents do not say how long Lambda waits between attempts: what is claimed must hold for each of these.
LONGEST_BACKOFFS_MS = (MINUTE_MS, 15 * MINUTE_MS, 4 * HOUR_MS)
STEADY = {
    "pause_ms": DAYS * 24 * HOUR_MS // WRITES, "items": 20, "shards": 2, "split_rate": 0.01, "view_type": "NEW_AND_OLD_IMAGES",
    "time_style": "int", "is_skewed": False, "poison_rate": 0.02, "anew_rate": 0.0, "reenable_rate": 0.0,
    "baseline_rate": 0.0, "put_fault_rate": 0.02, "lost_response_rate": 0.02, "duplicate_rate": 0.05, "restart_rate": 0.0,
    "throttle_rate": 0.0, "event_version": "1.1", "has_unknown_field": False, "has_null_identity": False,
    "outage_at": 0.2,
}  # fmt: skip


def two_days(kind: str, hours: int, *, seed: int = 1, **overrides: Any) -> Outcome:
    """One history with an outage, unreplayed."""
    settings = {**STEADY, **deployed(), "outage_kind": kind, "outage_ms": hours * HOUR_MS, **overrides}
    handler = RealHandler(seed, None)
    return simulate(
        seed, writes=WRITES, handler=handler, store=MemoryStore(Random(seed)), overrides=settings, has_replay=False
    )


def archived(outcome: Outcome, folder: Path) -> Table:
    """The archive as a folder, opened."""
    if not folder.exists():
        finish(outcome)
        for name, content in outcome.store.objects.items():
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
    return query.open(str(folder), now_ms=lambda: LONG_AFTER_MS, threads=1).table(outcome.table_name)


def replay(outcome: Outcome, folder: Path, copies: Path, *, documents: Iterable[dict]) -> None:
    """The objects of the on-failure bucket as `aws s3 sync` brings them, and the command."""
    ids = Random(0)
    for document in documents:
        batch = document["DDBStreamBatchInfo"]
        at_ms = _ms(document["timestamp"])
        name = failure_key(
            "mapping", batch["shardId"], now_ms=at_ms, object_id=str(uuid.UUID(int=ids.getrandbits(128)))
        )
        path = copies / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(document))
    told = ["--all", "--on-failure", str(copies), "-a", str(folder), "--no-describe-table"]
    assert run(["replay", *told]) == 0
    for emitted in outcome.records:
        emitted.is_acknowledged = emitted.is_acknowledged or emitted.fate == "destination"


def _ms(timestamp: str) -> int:
    return int(datetime.fromisoformat(timestamp).timestamp() * 1000)


@pytest.fixture(autouse=True)
def _own_settings(tmp_path, monkeypatch):
    """No configuration of whoever runs the tests."""
    for name in [name for name in os.environ if name.startswith("DDBTRAIL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "home"))


def check_everything_is_there(outcome: Outcome, table: Table, folder: Path) -> None:
    held = [json.loads(path.read_bytes()) for path in folder.rglob("quarantine/*.json")]
    verdict = check(outcome, identities(table), held)
    assert verdict.passed(), verdict
    assert verdict.ok == len(outcome.records), "nothing was excused"
    assert not outcome.handler_errors, outcome.handler_errors


# --- What heals ---


@pytest.mark.parametrize("longest_backoff_ms", LONGEST_BACKOFFS_MS)
@pytest.mark.parametrize("kind", ["store", "function"])
def test_ten_hours_without_storage_or_function_heal_themselves(kind, longest_backoff_ms, tmp_path):
    """Ten hours are less than the record age: every change is archived by Lambda's own retries.

    Only if it waited hours between two attempts could a batch meet its age in between; then its payload is saved.
    """
    outcome = two_days(kind, 10, longest_backoff_ms=longest_backoff_ms)
    assert outcome.happened["retry"] > 5
    assert outcome.happened["expiry"] == outcome.metrics["DroppedEventCount"] == 0
    table = archived(outcome, tmp_path / "archive")
    if longest_backoff_ms <= 15 * MINUTE_MS:
        assert outcome.on_failure == []
    elif outcome.on_failure:
        replay(outcome, tmp_path / "archive", tmp_path / "copies", documents=outcome.on_failure)
        table = archived(outcome, tmp_path / "archive")
    check_everything_is_there(outcome, table, tmp_path / "archive")
    assert lost_for_good(outcome) == []
    assert told_breaks(table) == expected_breaks(outcome), "only what is in quarantine is missing from the chain"


@pytest.mark.parametrize("longest_backoff_ms", LONGEST_BACKOFFS_MS)
@pytest.mark.parametrize("kind", ["store", "function"])
def test_thirty_hours_without_storage_or_function_are_whole_after_a_replay(kind, longest_backoff_ms, tmp_path):
    """Longer than the stream remembers: what grew too old was saved with its payload, and `replay` brings it back."""
    outcome = two_days(kind, 30, longest_backoff_ms=longest_backoff_ms)
    saved = sum(document["DDBStreamBatchInfo"]["batchSize"] for document in outcome.on_failure)
    assert saved == outcome.metrics["OnFailureDestinationDeliveredEventCount"] > 50
    assert outcome.happened["expiry"] == outcome.metrics["DroppedEventCount"] == 0
    folder = tmp_path / "archive"
    before = identities(archived(outcome, folder))
    replay(outcome, folder, tmp_path / "copies", documents=outcome.on_failure)
    table = archived(outcome, folder)
    assert len(identities(table)) > len(before)
    check_everything_is_there(outcome, table, folder)
    assert lost_for_good(outcome) == []
    assert told_breaks(table) == expected_breaks(outcome), "only what is in quarantine is missing from the chain"
    replay(outcome, folder, tmp_path / "copies", documents=outcome.on_failure)
    check_everything_is_there(outcome, archived(outcome, folder), folder)


def test_a_document_that_is_not_replayed_is_missed(tmp_path):
    """The test above is judged: without one of its documents it must fail."""
    outcome = two_days("store", 30)
    folder = tmp_path / "archive"
    archived(outcome, folder)
    longest = max(outcome.on_failure, key=lambda document: document["DDBStreamBatchInfo"]["batchSize"])
    others = [document for document in outcome.on_failure if document is not longest]
    replay(outcome, folder, tmp_path / "copies", documents=others)
    missing = {
        identity_of(record)
        for record in json.loads(longest["payload"])["Records"]
        if not any(e.is_poison and e.record == record for e in outcome.records)
    }
    verdict = check(outcome, identities(archived(outcome, folder)), quarantined(outcome.store))
    assert missing
    assert set(verdict.lost) == missing


# --- What is lost, and who can tell ---


def lost_for_good(outcome: Outcome) -> list[Emitted]:
    return [e for e in outcome.records if not e.is_acknowledged and not e.is_poison and e.fate in ("expired", "denied")]


def expected_breaks(outcome: Outcome) -> set[tuple]:
    """(item key, last change before the hole in ms, first after it, what is missing), of every item whose first change
    after a hole found another image than the last one before it had left. Worked out of what the stream held.
    """
    gone = {id(emitted) for emitted in lost_for_good(outcome)}
    by_item: dict[Any, list[Emitted]] = {}
    for emitted in outcome.records:
        if not emitted.is_poison:
            by_item.setdefault(key_of(emitted.record["dynamodb"]["Keys"]), []).append(emitted)
    breaks = set()
    for key, changes in by_item.items():
        ordered = sorted(changes, key=lambda emitted: identity_of(emitted.record)[:2])
        for one, next_one in pairwise([emitted for emitted in ordered if id(emitted) not in gone]):
            left = one.record["dynamodb"].get("NewImage")
            found = next_one.record["dynamodb"].get("OldImage")
            if image_of(left) != image_of(found):
                missing = "INSERT" if left is None else "REMOVE" if found is None else "MODIFY"
                breaks.add((key, _changed_ms(one), _changed_ms(next_one), missing))
    return breaks


def told_breaks(table: Table) -> set[tuple]:
    return {
        (key_of(orjson.loads(found.item_key)), found.since.at_ms, found.until.at_ms, found.missing)
        for found in table.image_chain().breaks
    }


def _changed_ms(emitted: Emitted) -> int:
    return to_ms(emitted.record["dynamodb"]["ApproximateCreationDateTime"])


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    ("kind", "overrides"),
    [("mapping", {}), ("store", {"denies_destination": True}), ("function", {"denies_destination": True})],
    ids=["mapping disabled", "no storage, no destination", "no function, no destination"],
)
def test_the_chain_names_the_items_that_changed_again_and_the_stretch(kind, overrides, seed, tmp_path):
    """Thirty hours that nothing saved: what is lost is lost, and every item that can show it is named, and no other."""
    # Damage spoils the chain too: a record in quarantine is a change that the chain misses, rightly.
    outcome = two_days(kind, 30, seed=seed, poison_rate=0.0, **overrides)
    lost = lost_for_good(outcome)
    assert len(lost) > 10
    folder = tmp_path / "archive"
    archived(outcome, folder)
    if outcome.on_failure:
        replay(outcome, folder, tmp_path / "copies", documents=outcome.on_failure)
    table = archived(outcome, folder)
    verdict = check(outcome, identities(table))
    assert verdict.passed(), verdict
    assert verdict.ok == len(outcome.records) - len(lost), "exactly these are missing"
    expected = expected_breaks(outcome)
    assert expected
    assert told_breaks(table) == expected
    chain = table.image_chain()
    assert (chain.broken, chain.items) == (len(expected), len({key for key, *_ in expected}))
    first, last = min(map(_changed_ms, lost)), max(map(_changed_ms, lost))
    assert all(since <= last and until >= first for _, since, until, _ in expected), "every stretch meets the outage"


def test_a_mapping_that_is_disabled_for_thirty_hours_loses_six_and_saves_twelve(tmp_path):
    """24 hours is what the stream remembers; 12 to 24 hours old is what the destination gets; younger goes on."""
    outcome = two_days("mapping", 30, poison_rate=0.0)
    lost, saved = lost_for_good(outcome), [e for e in outcome.records if e.fate == "destination"]
    assert lost
    assert saved
    assert len(lost) == outcome.happened["expiry"]
    enabled_ms = min(e.at_ms for e in saved) + 24 * HOUR_MS
    assert max(e.at_ms for e in lost) < min(e.at_ms for e in saved)
    assert all(enabled_ms - e.at_ms > 11 * HOUR_MS for e in saved)
    assert 4 * HOUR_MS < max(e.at_ms for e in lost) - min(e.at_ms for e in lost) < 7 * HOUR_MS
    assert outcome.metrics["DroppedEventCount"] == 0, "CloudWatch does not count what the stream forgot"


def test_the_deployed_record_age_leaves_room_for_the_longest_wait():
    """A record is looked at again before the stream forgets it, even if Lambda waits four hours between two attempts."""
    assert deployed()["max_age_ms"] + max(LONGEST_BACKOFFS_MS) < 24 * HOUR_MS
    assert deployed()["max_retries"] == -1
