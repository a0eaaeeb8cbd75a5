"""Simulated histories whose batches fail, are sent to the on-failure destination, and are replayed from there.

The judge is the simulator's checker: after the replay nothing may be missing that the destination held.
"""

import io
import json
from random import Random

import orjson
import pyarrow.parquet as pq
import pytest

from archiver.format.layout import SegmentName, StreamSource, Trail
from archiver.format.record import delivered
from archiver.replay import Replay
from archiver.segment import check_segment
from archiver.streams import Streams
from archiver.writer import Writer
from tests.querying.test_simulated import read_back
from tests.simulator.check import check
from tests.simulator.memory_store import MemoryStore
from tests.simulator.real import RealHandler, is_segment, quarantined
from tests.simulator.run import simulate

SEEDS, WRITES = 30, 60
FAILING = {"max_retries": 0, "put_fault_rate": 0.4, "has_destination": True, "outage_ms": 0}


def failed_history(seed: int):
    """A history that left batches in the destination, and nobody has replayed them."""
    store = MemoryStore(Random(seed))
    return simulate(
        seed, writes=WRITES, handler=RealHandler(seed, None), store=store, overrides=FAILING, has_replay=False
    )


def replayed(outcome, documents) -> list:
    """What became of each document, and what is archived is acknowledged from now on."""
    store = outcome.store
    replay = Replay(Writer(store, Streams()), lambda _trail: True, lambda _batch: iter(()), store.get)
    became = [replay.replay(json.dumps(each).encode(), "object", now_ms=1_790_000_000_000) for each in documents]
    for emitted in outcome.records:
        emitted.is_acknowledged = emitted.is_acknowledged or emitted.fate == "destination"
    return became


def verdict_on(outcome):
    """What the checker says of the archive as it stands."""
    readable = MemoryStore()
    for name, content in outcome.store.objects.items():
        readable.put_if_absent(name, rows_of(name, content) if is_segment(name) else content)
    return check(outcome, read_back(readable), quarantined(readable))


def rows_of(name: str, content: bytes) -> bytes:
    """A segment as `encode_rows` would have written it."""
    trail, place = Trail.parse(name)
    (label,) = set(pq.read_table(io.BytesIO(content), columns=["stream_label"])["stream_label"].to_pylist())
    rows = check_segment(content, StreamSource(trail, label), SegmentName.parse(place))
    return orjson.dumps([delivered(row) for row in rows])


@pytest.mark.parametrize("chunk", range(3))
def test_a_replay_brings_back_all_that_was_held(chunk):
    """Poison, repeated deliveries, other spellings and cut batches included; a second replay writes nothing."""
    held = 0
    for seed in range(chunk, SEEDS, 3):
        outcome = failed_history(seed)
        held += len(outcome.on_failure)
        became = replayed(outcome, outcome.on_failure)
        assert all(each.is_settled for each in became), [each.troubles for each in became]
        verdict = verdict_on(outcome)
        assert verdict.passed(), verdict
        before = set(outcome.store.objects)
        assert all(each.is_settled for each in replayed(outcome, outcome.on_failure))
        assert set(outcome.store.objects) == before
    assert held > SEEDS, "there was something to replay"


def test_a_batch_that_is_not_replayed_is_missed():
    """The judge is judged: with one document left out, some history is found wanting."""
    for seed in range(SEEDS):
        outcome = failed_history(seed)
        replayed(outcome, outcome.on_failure[1:])
        if not verdict_on(outcome).passed():
            return
    pytest.fail("a replay that leaves a batch out was not caught")
