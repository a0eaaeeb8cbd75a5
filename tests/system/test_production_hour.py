"""An hour of production: a million changes through the deployed mapping and function, with faults, and everything is there.

The function is a process of its own, killed now and then; its memory is watched. The reader's answers are compared with
a journal that shares no code with it (`production.py`). Simulated: the table, its stream, the mapping, the time.
"""

from __future__ import annotations

import json
import resource
import time
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from random import Random
from statistics import median
from typing import Any

import orjson
import pyarrow.parquet as pq
import pytest

import query
from tests.oracle import label_of
from tests.simulator.clock import Clock
from tests.simulator.deployed import deployed, function_environment
from tests.simulator.mapping import Mapping
from tests.simulator.scenario import Scenario
from tests.system.function_process import FAULTS, Container, container
from tests.system.production import SCHEMA, Production, digest, identity_digest, text_of, verbatim

START_S = 1_798_759_200  # 2026-12-31T23:20Z: the hour, the day and the year turn on the way
HOUR_S = 3_600
ITEMS = 5_000
SPLITS = 4
TRIM_EVERY_S = 30
REPETITIONS = 60
WARM_UP, MOST_GROWTH = 0.2, 1.05  # the share of a container's invocations that is not judged; of its resident memory


@dataclass(frozen=True)
class Size:
    changes: int
    instants: int
    windows: int
    fault_rate: float
    poison: int
    is_steady: bool  # are batches of one size, so that the two halves of the hour can be compared?


SHORT = Size(changes=20_000, instants=10, windows=2, fault_rate=0.06, poison=25, is_steady=False)
LONG = Size(changes=1_080_000, instants=100, windows=5, fault_rate=0.06, poison=100, is_steady=True)

# Beside the deployed settings: what Lambda does unasked.
UNASKED = {
    "shards": 2, "gap": "small", "duplicate_rate": 0.03, "restart_rate": 0.03, "throttle_rate": 0.01,
    "restart_batch_sizes": (10_000, 5_000, 1_000), "restart_lanes": (1, 2, 3), "lost_response_rate": 0.02,
}  # fmt: skip


class Hour:
    """One hour of writes and deliveries."""

    def __init__(self, seed: int, size: Size, function: Container):
        rng = Random(seed)
        self.size, self.function = size, function
        self.happened: Counter[str] = Counter()
        self.invocations = 0
        self.failed_batches = 0
        self._largest_event = b""
        self._scenario = replace(Scenario(), **deployed(), **UNASKED)
        self.clock = Clock(Random(rng.getrandbits(64)), START_S * 1000, is_skewed=False)
        self._rng = Random(rng.getrandbits(64))
        expected = size.changes
        self.production = Production(
            Random(rng.getrandbits(64)), self.clock, self._scenario, items=ITEMS, expected=expected
        )
        self.mapping = Mapping(
            Random(rng.getrandbits(64)), self.clock, self.production.stream, self._scenario, self._invoke, self._send
        )
        self._splits = set(self._rng.sample(range(HOUR_S // 10, HOUR_S), SPLITS))

    def play(self) -> None:
        """Every second its share of the changes, then all that is due; at the end, all that is left."""
        made = 0
        poisoned = Counter(self._rng.choices(range(HOUR_S), k=self.size.poison))
        for second in range(HOUR_S):
            if second in self._splits:
                self.production.stream.split()
            wanted = self.size.changes * (second + 1) // HOUR_S
            while made < wanted:
                made += self.production.write()
            for _ in range(poisoned[second]):
                self.production.write_poison()
            self.mapping.pull()
            self.clock.now_ms = (START_S + second) * 1000 + 999
            self._deliver(until_ms=self.clock.now_ms)
            self.clock.now_ms += 1
            if second % TRIM_EVERY_S == 0:
                self.mapping.trim()
        self._deliver(until_ms=None)

    def repeat_the_largest_batch(self) -> list[tuple[int, int]]:
        """Resident memory after each of many deliveries of one batch: what grows now grows without end."""
        for _ in range(REPETITIONS):
            reply = self.function.invoke(self._largest_event, now_ms=self.clock.now_ms, fault=None)
            assert "answer" in reply, reply
        return self.function.resident_bytes[-REPETITIONS:]

    def _deliver(self, *, until_ms: int | None) -> None:
        while (due := self.mapping.next_due_ms()) is not None and (until_ms is None or due <= until_ms):
            self.clock.now_ms = max(self.clock.now_ms, due)
            self.mapping.poll()

    def _invoke(self, records: list) -> tuple[bool, bool]:
        """Killed only in the first half: the last container must live long enough for its memory to be judged."""
        self.invocations += 1
        fault = None
        if self._rng.random() < self.size.fault_rate:
            is_first_half = self.clock.now_ms < (START_S + HOUR_S // 2) * 1000
            fault = self._rng.choice(FAULTS if is_first_half else FAULTS[:2])
        event = b'{"Records":[' + b",".join(emitted.text for emitted in records) + b"]}"
        self._largest_event = max(self._largest_event, event, key=len)
        reply = self.function.invoke(event, now_ms=self.clock.now_ms, fault=fault)
        if "answer" not in reply:
            assert fault, f"nobody injected this: {reply}"
            assert reply.get("died") or reply["error"].startswith("StoreUnavailable"), reply
            self.happened[fault] += 1
            return False, True
        assert reply["answer"]["received"] == len(records)
        is_lost = self._rng.random() < self._scenario.lost_response_rate
        self.happened["lost response"] += is_lost
        return not is_lost, True

    def _send(self, *_: Any) -> None:
        self.failed_batches += 1


@dataclass
class Evidence:
    """What stands in the segments, read with pyarrow alone: each row by its digests."""

    rows: int = 0
    segments: int = 0
    altered: int = 0
    invented: int = 0

    def read(self, folder: Path, of_change: dict[int, int]) -> set[int]:
        """The identities that are there."""
        found: set[int] = set()
        columns = ["stream_label", "sequence_number", "item_key", "op", "old_image", "new_image"]
        for path in folder.glob("v1/account=*/region=*/table_name=*/segments/*/*/*.parquet"):
            self.segments += 1
            table = pq.ParquetFile(path).read(columns=columns)
            for label, number, key, op, *images in zip(*(c.to_pylist() for c in table.columns), strict=True):
                self.rows += 1
                identity = identity_digest(label, number, orjson.loads(key))
                old, new = (None if image is None else text_of(orjson.loads(image)) for image in images)
                content = of_change.get(identity)
                self.invented += content is None
                self.altered += content is not None and content != digest(op.encode(), old, new)
                found.add(identity)
        return found


def check_hour(hour: Hour, archive: Path, seed: int) -> Evidence:
    """Nothing lost, nothing doubled, nothing altered; quarantine is the poison; the reader tells what the journal tells."""
    rng, journal, size = Random(seed), hour.production.journal, hour.size
    evidence = Evidence()
    found = evidence.read(archive, journal.of_change)
    assert (evidence.altered, evidence.invented) == (0, 0)
    assert len(journal.of_change.keys() - found) == 0, "lost"
    quarantined = {verbatim(json.loads(path.read_bytes())) for path in archive.rglob("quarantine/*.json")}
    assert quarantined == journal.poison

    opened = query.open(str(archive), now_ms=lambda: (START_S + 2 * HOUR_S) * 1000, threads=2)
    (summary,) = opened.tables()
    assert (summary.changes, summary.gaps) == (len(journal.of_change), 0), "answers hold every change once"
    assert summary.items == len(set(journal.items))
    table = opened.table("orders")
    check_windows(table, hour, rng.sample(range(HOUR_S - 5), size.windows))
    # The first seconds are left out: an instant before the first change of all is before coverage.
    instants = rng.sample(range(START_S + 5, START_S + HOUR_S + 60), size.instants)
    for second, expected in journal.tables_at(instants):
        state = table.as_of(datetime.fromtimestamp(second, UTC))
        told = {}
        for each in state.states():
            told[Production.item_of(orjson.loads(each.item_key))] = digest(text_of(orjson.loads(each.image)))
        assert (state.unknown, state.conflicts) == (0, ())
        assert told == expected, datetime.fromtimestamp(second, UTC)
        state.close()
    return evidence


def check_windows(table: query.Archive, hour: Hour, offsets: list[int]) -> None:
    """The changes of a few seconds, as the reader lists them: each once, and all of the journal's."""
    journal = hour.production.journal
    for offset in offsets:
        since_s = START_S + offset
        changes = table.changes(since_ms=since_s * 1000, until_ms=(since_s + 3) * 1000)
        told = [
            identity_digest(change.stream_label, change.sequence_number, orjson.loads(change.item_key))
            for change in changes
        ]
        assert len(told) == len(set(told)) == sum(since_s <= second < since_s + 3 for second in journal.seconds)
        assert set(told) <= journal.of_change.keys()


def growth_of(resident: list[tuple[int, int]]) -> tuple[float, float, list[int]]:
    """Of the container that lived longest: by how much its median and its greatest resident memory grew from one half of
    its life to the other, after the warm-up; and the samples.
    """
    lives = Counter(generation for generation, _ in resident)
    longest = max(lives, key=lambda generation: lives[generation])
    samples = [size for generation, size in resident if generation == longest]
    judged = samples[int(len(samples) * WARM_UP) :]
    first, second = judged[: len(judged) // 2], judged[len(judged) // 2 :]
    return median(second) / median(first), max(second) / max(first), samples


def simulate_hour(size: Size, folder: Path, *, seed: int) -> None:
    """The figures of each half are printed as soon as they are known: the first are told also if the second fails."""
    began = time.monotonic()
    environment = {
        **function_environment(KeySchema=f"orders={','.join(SCHEMA)}"),
        "DDBTRAIL_ARCHIVE": str(folder / "archive"),
        "DDBTRAIL_DESCRIBE_TABLE": "off",
    }
    with container(environment, folder / "function.log") as function:
        hour = Hour(seed, size, function)
        hour.play()
        resident = list(function.resident_bytes)
        repeated = hour.repeat_the_largest_batch()
    check_function(hour, resident, repeated, seconds=time.monotonic() - began)
    evidence = check_hour(hour, folder / "archive", seed)
    tested_mib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"rows in evidence {evidence.rows:,}, segments {evidence.segments:,}; the table at {size.instants} instants and "
        f"the changes of {size.windows} windows are the journal's\n"
        f"the test itself at most {tested_mib} MiB, in all {time.monotonic() - began:.0f} s"
    )


def check_function(
    hour: Hour, resident: list[tuple[int, int]], repeated: list[tuple[int, int]], *, seconds: float
) -> None:
    """Every fault happened, and the memory of the function is flat."""
    median_growth, most_growth, samples = growth_of(resident)
    repeated_growth, _, _ = growth_of(repeated)
    faults = {**hour.happened, **{name: count for name, count in hour.mapping.happened.items() if count}}
    journal = hour.production.journal
    print(
        f"\nchanges {len(journal.of_change):,}, poison {len(journal.poison)}, written in {seconds:.0f} s\n"
        f"invocations {hour.invocations:,}, containers {hour.function.generation}\n"
        f"faults {dict(sorted(faults.items()))}\n"
        f"resident memory of the function, last container: {min(samples) >> 20} to {max(samples) >> 20} MiB in "
        f"{len(samples)} samples; second half by first: median {median_growth:.3f}, greatest {most_growth:.3f}, "
        f"of {REPETITIONS} deliveries of one batch {repeated_growth:.3f}",
        flush=True,
    )
    assert hour.failed_batches == 0, "no fault lasted long enough for the destination"
    assert len(journal.of_change) == hour.size.changes
    assert not {*FAULTS, "lost response", "bisect", "duplicate delivery", "restart"} - faults.keys(), faults
    assert hour.function.generation > 1
    assert len(samples) > 50
    assert repeated_growth <= MOST_GROWTH
    # Few and uneven batches leave a new high-water mark at any time: that is no growth.
    assert not hour.size.is_steady or max(median_growth, most_growth) <= MOST_GROWTH


def test_an_hour_with_few_changes_is_archived_whole(tmp_path):
    """The short form of the hour below."""
    simulate_hour(SHORT, tmp_path, seed=1)


@pytest.mark.slowest
@pytest.mark.long
def test_an_hour_with_a_million_changes_is_archived_whole(tmp_path):
    """300 writes a second, and everything that can go wrong does; the function's memory is flat."""
    simulate_hour(LONG, tmp_path, seed=2)


def test_the_journal_folds_to_the_table():
    """The judge is judged: at its last second the journal's table is the table, and it goes through others before."""
    clock = Clock(Random(1), START_S * 1000, is_skewed=False)
    production = Production(Random(2), clock, Scenario(), items=50, expected=500)
    for _ in range(500):
        production.write()
        clock.advance(400)
    ((_, last),) = production.journal.tables_at([START_S + 10_000])
    held = {production.item_of(image): digest(text_of(image)) for image in production.table.items.values()}
    assert last == held
    assert len({str(table) for _, table in production.journal.tables_at(list(range(START_S, START_S + 200, 10)))}) == 20
    assert all(label_of(e.record) for shard in production.stream.shards for e in shard.records)


def test_a_growing_container_is_seen():
    """The judge is judged: 6 % more in the second half is too much, and the warm-up is not held against it."""
    flat = [(1, 50)] * 20 + [(2, 10)] * 20 + [(2, 100)] * 80
    assert growth_of(flat)[:2] == (1.0, 1.0)
    assert growth_of([(1, 100)] * 60 + [(1, 106)] * 40)[0] > MOST_GROWTH
