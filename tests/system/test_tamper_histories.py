"""The other side of the campaign: simulated histories that nobody tampered with, sealed at random moments by the real
sealer. What is whole is verified with no finding; what is not has exactly the findings that the simulator accounts for.
"""

from __future__ import annotations

import tempfile
from collections import Counter
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import pytest

from archiver.format.layout import Trail
from archiver.sealer import Sealer
from archiver.writer import Writer
from query.verify.verification import Level, Verification
from tests.campaign import rounds
from tests.querying.test_image_chain import CLEAN, expected_breaks
from tests.querying.test_simulated import archived_identities
from tests.simulator.memory_store import MemoryStore
from tests.simulator.outcome import Outcome
from tests.simulator.real import RealHandler, finish, good_records, is_segment
from tests.simulator.run import _Run
from tests.simulator.scenario import draw_scenario
from tests.simulator.table import ACCOUNT, REGION
from tests.system.tampered import FIRST_KEY, HOUR_MS, MINUTE_MS, Reviewer, Sealed

TRAIL = Trail(ACCOUNT, REGION, "orders")
CLEAN_SEEDS, OTHER_SEEDS, LONG_SEEDS = 200, 60, 2_000
CHUNKS, LONG_CHUNKS = 8, 20
WRITES = 24


class SealedHandler(RealHandler):
    """The real archiver by an honest clock; now and then, whatever became of the batch, somebody seals."""

    def __init__(self, seed: int, store: MemoryStore):
        super().__init__(seed, None)
        self.clock: Any = None  # of the run
        self._in_order = MemoryStore()
        self._in_order.objects = store.objects  # the simulator's own store lists in any order, which S3 does not
        self._sealers: list[Sealer] = []
        self.seals = 0

    def __call__(self, event: dict, store: Any) -> None:
        try:
            if self._writer is None or self._rng.random() < 0.1:
                self._writer = Writer(store, self._streams())
            self._writer.store = store
            self._writer.archive(event["Records"], now_ms=self.clock.now_ms)
        finally:
            if self._rng.random() < 0.2:
                self.seal()

    def _streams(self):
        from archiver.streams import Streams
        from tests.simulator.real import _unreadable

        return Streams(self._schema(), describe_table=_unreadable)

    def seal(self) -> None:
        """By a sealer that remembers, or by a new one."""
        if not self._sealers or self._rng.random() < 0.5:
            self._sealers.append(Sealer(self._in_order, TRAIL, FIRST_KEY))
        done = self._sealers[-1].seal(self.clock.now_ms)
        assert not done.refused, done.refused
        self.seals += 1


@dataclass
class History:
    outcome: Outcome
    found: Verification
    archived: set
    seals: int
    late: int


def verified(seed: int, overrides: dict[str, Any]) -> History | None:
    """One history, sealed on its way and at its end, and verified in full; None if nothing was ever archived."""
    rng, store = Random(seed), MemoryStore(Random(seed))
    scenario = draw_scenario(rng, overrides)
    handler = SealedHandler(seed, store)
    run = _Run(seed, WRITES, rng, scenario, handler, store)
    handler.clock = run._clock
    outcome = run.play(has_replay=False)
    # Days go by before somebody replays what failed: late segments.
    for _ in range(3):
        run._clock.now_ms += int(Random(f"{seed} days").random() * 30 * HOUR_MS)
        handler.seal()
    run._replay()
    assert not outcome.handler_errors, outcome.handler_errors
    finish(outcome)
    if not good_records(outcome) or not any(map(is_segment, store.objects)):
        return None
    run._clock.now_ms += MINUTE_MS
    handler.seal()
    sealed = Sealed(store.objects, run._clock.now_ms + MINUTE_MS, (FIRST_KEY,), trail=TRAIL)
    with tempfile.TemporaryDirectory() as folder:
        found = Reviewer(Path(folder), level=Level.FULL).verify(sealed)
    late = sum("/late/" in name for name in store.objects)
    return History(outcome, found, archived_identities(outcome), handler.seals, late)


def uncovered(outcome: Outcome, archived: set, until_ms: int) -> list[tuple[int, int]]:
    """The stretches that no label covers, by the oracle, neighbours joined."""
    oracle = outcome.oracle(archived)
    turns = {*oracle._start.values(), *(oracle._end[label] for label in oracle._labels[:-1])}
    points = sorted({*(turn for turn in turns if turn < until_ms), until_ms})
    parts = [(a, b) for a, b in pairwise(points) if oracle.covering(a) is None]
    return joined(parts)


def joined(parts: list[tuple[int, int]]) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    for since, until in sorted(parts):
        if found and found[-1][1] == since:
            since = found.pop()[0]
        found.append((since, until))
    return found


def gaps_of(found: Verification) -> list[tuple[int, int]]:
    """The stretches that the findings name."""
    texts = [problem.detail.split(" ")[0].split("/") for problem in found.problems if problem.code == "gap"]
    return joined([(epoch_ms(since), epoch_ms(until)) for since, until in texts])


def epoch_ms(text: str) -> int:
    return round(datetime.fromisoformat(text).timestamp() * 1000)


def clean(first: int, after_last: int, overrides: dict[str, Any]) -> Counter[str]:
    """Histories in which nothing is missing: 0 findings, all is sealed, exit 0. What they had in them is counted."""
    had: Counter[str] = Counter()
    for seed in range(first, after_last):
        history = verified(seed, overrides)
        if history is None:
            continue
        found = history.found
        assert not history.outcome.excused, f"seed {seed}: not a clean history"
        assert (found.exit_code, found.problems) == (0, []), f"seed {seed}: {found.problems[:3]}"
        assert found.unsealed == 0, f"seed {seed}"
        assert found.rows_checked >= found.records > 0
        had.update(histories=1, seals=history.seals, late=history.late, replayed=len(history.outcome.on_failure))
    return had


# Nothing is lost, and what Lambda gave up on is replayed, days later.
REPLAYED = {**CLEAN, "max_retries": 1, "put_fault_rate": 0.3}


@pytest.mark.parametrize("chunk", rounds(CHUNKS // 2, CHUNKS))
def test_a_clean_history_has_no_finding(chunk):
    """No false alarm: duplicates, retries, restarts, faults and baselines, one stream, sealed whenever somebody did."""
    had = clean(chunk * CLEAN_SEEDS // CHUNKS, (chunk + 1) * CLEAN_SEEDS // CHUNKS, CLEAN if chunk % 2 else REPLAYED)
    assert had["histories"] > 20
    assert had["seals"] > 2 * had["histories"]
    if chunk % 2 == 0:
        assert had["late"] > 10
        assert had["replayed"] > 10


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(LONG_CHUNKS))
def test_no_clean_history_ever_has_a_finding(chunk):
    """The same for ten times as many."""
    first = CLEAN_SEEDS + chunk * LONG_SEEDS // LONG_CHUNKS
    clean(first, first + LONG_SEEDS // LONG_CHUNKS, CLEAN if chunk % 2 else REPLAYED)


def others(first: int, after_last: int, overrides: dict[str, Any]) -> Counter[str]:
    """Histories in which anything may happen: exactly what the simulator took away is found, and nothing else."""
    had: Counter[str] = Counter()
    for seed in range(first, after_last):
        history = verified(seed, overrides)
        if history is None:
            continue
        found, outcome = history.found, history.outcome
        expected = Counter(
            {
                "image-break": sum(expected_breaks(outcome, history.archived).values()),
                "quarantined": sum("quarantine/" in name for name in outcome.store.objects),
            }
        )
        stretches = uncovered(outcome, history.archived, found.demand.now_ms)
        assert gaps_of(found) == stretches, f"seed {seed}"
        counts = Counter({code: number for code, number in found.counts.items() if code != "gap"})
        assert counts == +expected, f"seed {seed}: {found.problems[:5]}"
        assert found.exit_code == (3 if stretches or +expected else 0), f"seed {seed}"
        had.update(histories=1, gaps=len(stretches), lost=len(outcome.excused), **+expected)
    return had


SEVERAL_LABELS = {"reenable_rate": 0.05, "anew_rate": 0.02}
LOSSES = {"max_retries": 0, "put_fault_rate": 0.4, "denies_destination": True}


@pytest.mark.parametrize("chunk", rounds(CHUNKS // 2, CHUNKS))
def test_a_history_with_gaps_and_losses_has_exactly_those(chunk):
    """Streams switched off, tables made anew, records that expired or that nobody understood: each is told, once."""
    overrides = SEVERAL_LABELS if chunk % 2 else LOSSES
    had = others(chunk * OTHER_SEEDS // CHUNKS, (chunk + 1) * OTHER_SEEDS // CHUNKS, overrides)
    assert had["gaps" if chunk % 2 else "lost"] > 0


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(LONG_CHUNKS))
def test_every_history_has_exactly_its_gaps_and_losses(chunk):
    """The same for many more, and with whatever else a seed chooses."""
    first = OTHER_SEEDS + chunk * 30
    others(first, first + 30, ({}, SEVERAL_LABELS, LOSSES)[chunk % 3])
