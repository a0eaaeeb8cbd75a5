"""Simulated histories whose batches fail, are sent to the on-failure destination, and are replayed from there.

The judge is the simulator's checker: after the replay nothing may be missing that the destination held.
"""

import json
from random import Random

import pytest

from archiver.replay import Replay
from archiver.streams import Streams
from archiver.writer import Writer
from tests.querying.test_simulated import read_back
from tests.simulator.check import check
from tests.simulator.memory_store import MemoryStore
from tests.simulator.real import RealHandler, encode_rows, quarantined
from tests.simulator.run import simulate

SEEDS = 60
FAILING = {"max_retries": 0, "put_fault_rate": 0.4, "has_destination": True, "outage_ms": 0}


def failed_history(seed: int):
    """A history that left batches in the destination, and nobody has replayed them."""
    store = MemoryStore(Random(seed))
    return simulate(
        seed, handler=RealHandler(seed, None, encode_rows), store=store, overrides=FAILING, has_replay=False
    )


def replayed(outcome, documents) -> list:
    """What became of each document, and what is archived is acknowledged from now on."""
    replay = Replay(Writer(outcome.store, Streams(), encode_rows), lambda _trail: True, lambda _batch: iter(()))
    became = [replay.replay(json.dumps(each).encode(), "object", now_ms=1_790_000_000_000) for each in documents]
    for emitted in outcome.records:
        emitted.is_acknowledged = emitted.is_acknowledged or emitted.fate == "destination"
    return became


@pytest.mark.parametrize("chunk", range(3))
def test_a_replay_brings_back_all_that_was_held(chunk):
    """Poison, repeated deliveries, other spellings and cut batches included; a second replay writes nothing."""
    held = 0
    for seed in range(chunk, SEEDS, 3):
        outcome = failed_history(seed)
        held += len(outcome.on_failure)
        became = replayed(outcome, outcome.on_failure)
        assert all(each.is_settled for each in became), [each.troubles for each in became]
        verdict = check(outcome, read_back(outcome.store), quarantined(outcome.store))
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
        if not check(outcome, read_back(outcome.store), quarantined(outcome.store)).passed():
            return
    pytest.fail("a replay that leaves a batch out was not caught")
