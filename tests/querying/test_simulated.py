"""The real archiver and reader on simulated histories, against the oracle (invariants I1 to I5, and I9 on names)."""

from __future__ import annotations

import tempfile
from collections import Counter
from hashlib import sha256
from pathlib import Path
from random import Random

import orjson
import pytest

from query.plan import plan_state
from query.state import Moment, reconstruct
from tests.campaign import rounds
from tests.oracle import content_of, identity_of, image_of, key_of
from tests.simulator.check import check, shrink
from tests.simulator.memory_store import MemoryStore
from tests.simulator.real import (
    RealHandler,
    archived_rows,
    encode_rows,
    finish,
    good_records,
    identities,
    is_segment,
    open_table,
    quarantined,
    states,
)
from tests.simulator.run import simulate

PURE_SEEDS, FULL_SEEDS = 2_000, 200
CHUNKS, FULL_CHUNKS, LONG_CHUNKS = 10, 20, 20
FULL_WRITES, LONG_WRITES = 24, 36


class DigestingStore(MemoryStore):
    """Also remembers what was offered under each name, whether it was taken or not."""

    def __init__(self, rng: Random | None = None):
        super().__init__(rng)
        self.offered: dict[str, set[bytes]] = {}

    def put_if_absent(self, name: str, content: bytes) -> bool:
        self.offered.setdefault(name, set()).add(sha256(content).digest())
        return super().put_if_absent(name, content)


def read_back(store: MemoryStore) -> list[dict]:
    """The distinct changes of a store without Parquet, in order: what any reader of the format has to do."""
    found: dict[tuple, list[dict]] = {}
    for record in archived_rows(store):
        told = found.setdefault(identity_of(record), [])
        if content_of(record) not in map(content_of, told):
            told.append(record)
    return [record for identity in sorted(found, key=lambda i: (i[0], i[1])) for record in found[identity]]


def pure_verdict(seed: int, writes: int = 150, handler=None):
    store = DigestingStore(Random(seed))
    outcome = simulate(seed, writes=writes, handler=handler or RealHandler(seed, None, encode_rows), store=store)
    return outcome, check(outcome, read_back(store), quarantined(store))


@pytest.mark.parametrize("chunk", range(CHUNKS))
def test_nothing_is_lost_doubled_or_altered_in_any_history(chunk):
    """2,000 histories through the real stream, plan and format code: every record comes back once, verbatim."""
    for seed in range(chunk * PURE_SEEDS // CHUNKS, (chunk + 1) * PURE_SEEDS // CHUNKS):
        outcome, verdict = pure_verdict(seed)
        assert verdict.passed(), (
            f"{verdict}\nfewest writes: {shrink(seed, lambda s, w: not pure_verdict(s, w)[1].passed())}"
        )
        assert not outcome.handler_errors, verdict
        changed = [name for name, digests in outcome.store.offered.items() if len(digests) > 1]
        assert not changed, f"seed {seed}: one name, several contents: {changed}"


class DefectiveHandler(RealHandler):
    """The real archiver with one of the defects that stream archivers have shipped with."""

    def __init__(self, seed: int, defect: str):
        super().__init__(seed, None, encode_rows)
        self._defect = defect
        self._batches = 0

    def __call__(self, event, store):
        self._batches += 1
        if self._defect == "last record only":
            event = {"Records": event["Records"][-1:]}
        super().__call__(event, _Renamed(store, self._defect, self._batches))
        if self._defect == "poison raises" and any(name for name, *_ in store.inner.journal if "quarantine/" in name):
            raise ValueError("poison")


class _Renamed:
    """Passes puts on, under the names that a defective archiver would choose."""

    def __init__(self, store, defect, batch):
        self._store, self._defect, self._batch = store, defect, batch

    def put_if_absent(self, name, content):
        if self._defect == "poison dropped" and "quarantine/" in name:
            return True
        if is_segment(name) and self._defect == "named by time":
            name = f"{name.rpartition('/')[0]}/{self._batch // 3}.parquet"
        if is_segment(name) and self._defect == "named by first sequence":
            name = name.rpartition("-")[0]
        return self._store.put_if_absent(name, content)


@pytest.mark.parametrize(
    "defect", ["last record only", "poison dropped", "poison raises", "named by time", "named by first sequence"]
)
def test_a_defective_archiver_is_caught(defect):
    """The judge is judged: each defect of an archiver, planted around the real one, is found within the histories."""
    for seed in range(PURE_SEEDS):
        _, verdict = pure_verdict(seed, handler=DefectiveHandler(seed, defect))
        if not verdict.passed():
            return
    pytest.fail(f"{defect} was not caught in {PURE_SEEDS} histories")


def test_a_missing_destination_is_caught():
    """With finite retries and nowhere to send what failed, records are lost, and the checker says so."""
    for seed in range(PURE_SEEDS):
        store = DigestingStore(Random(seed))
        outcome = simulate(
            seed,
            handler=RealHandler(seed, None, encode_rows),
            store=store,
            overrides={"max_retries": 1},
            has_replay=False,
        )
        for emitted in outcome.records:
            if emitted.fate == "destination":
                emitted.fate = "dropped"
        vars(outcome).pop("expected", None)
        vars(outcome).pop("excused", None)
        if check(outcome, read_back(store), quarantined(store)).lost:
            return
    pytest.fail("not caught")


READER_DEFECTS = {
    "no deduplication": lambda rows: sorted(rows, key=lambda r: identity_of(r)[:2]),
    "compared as text": lambda rows: sorted(rows, key=lambda r: (identity_of(r)[0], r["dynamodb"]["SequenceNumber"])),
    "compared as float": lambda rows: sorted(rows, key=lambda r: (identity_of(r)[0], float(identity_of(r)[1]))),
    "ordered by time": lambda rows: sorted(rows, key=lambda r: float(r["dynamodb"]["ApproximateCreationDateTime"])),
}


@pytest.mark.parametrize("defect", READER_DEFECTS)
def test_a_defective_reader_is_caught(defect):
    """Each way in which readers get identity or order wrong is found within the histories."""
    for seed in range(PURE_SEEDS):
        outcome, _ = pure_verdict(seed)
        rows = archived_rows(outcome.store) if defect == "no deduplication" else read_back(outcome.store)
        Random(seed).shuffle(rows)
        if not check(outcome, READER_DEFECTS[defect](rows), quarantined(outcome.store)).passed():
            return
    pytest.fail(f"{defect} was not caught in {PURE_SEEDS} histories")


def full_history(seed: int, writes: int) -> Counter[tuple[str, int]]:
    """One history through Parquet and the reader: changes, and the state at every boundary and many instants."""
    key_names = None
    outcome = simulate(seed, writes=writes, handler=RealHandler(seed, key_names), store=DigestingStore(Random(seed)))
    assert not outcome.handler_errors, outcome.handler_errors
    finish(outcome)
    answered: Counter[tuple[str, int]] = Counter()
    if not good_records(outcome) or not any(map(is_segment, outcome.store.objects)):
        return answered
    with tempfile.TemporaryDirectory() as folder:
        table = open_table(outcome.store, Path(folder), Random(seed))
        told = [(c.stream_label, int(c.sequence_number), key_of(orjson.loads(c.item_key))) for c in table.conflicts()]
        found = identities(table)
        oracle = outcome.oracle({*found, *told, *archived_identities(outcome)})
        assert set(told) == set(oracle.conflicts()), f"seed {seed}: conflicts"
        refused = {key for *_, key in told}
        check_changes(outcome, table, found, refused, seed)
        for label, sequence in oracle.boundaries():
            at_ms = oracle._changed_at[label, sequence]
            expected = oracle.table_at_cut(label, sequence)
            compare(
                ask(table, Moment(at_ms, (label, f"{sequence:040d}"))),
                expected,
                refused,
                answered,
                (seed, label, sequence),
            )
        for at_ms in instants(oracle, Random(seed)):
            compare(ask(table, Moment(at_ms)), oracle.table_at(at_ms), refused, answered, (seed, at_ms))
    return answered


def archived_identities(outcome) -> set:
    """The identities that stand in the store, read back through the segment decoder and not through the reader."""
    from archiver.format.layout import StreamSource, Trail
    from archiver.segment import decode_segment

    found = set()
    for name, content in outcome.store.objects.items():
        if is_segment(name):
            trail, _ = Trail.parse(name)
            for row in decode_segment(content, StreamSource(trail, "2000-01-01T00:00:00.000")):
                found.add((row.source.stream_label, int(row.sequence_number), key_of(orjson.loads(row.item_key))))
    return found


def check_changes(outcome, table, found, refused, seed) -> None:
    """I1, I2, I3 and the quarantine, over the items that are not in conflict."""
    verdict = check(outcome, found, quarantined(outcome.store))
    verdict.lost = [identity for identity in verdict.lost if identity[2] not in refused]
    assert verdict.passed(), f"{verdict} (seed {seed})"


def instants(oracle, rng: Random) -> list[int]:
    """Instants before, at and between changes, a second beside them, far from all, and at both ends of each gap."""
    times = sorted({version.changed_at_ms for key in oracle.item_keys() for version in oracle._history.get(key, [])})
    chosen = rng.sample(times, min(2, len(times)))
    return sorted(
        {
            chosen[0] - 86_400_000,
            chosen[-1] + 40 * 86_400_000,
            *chosen,
            *(at - 1 for at in chosen),
            *(at + 1_000 for at in chosen),
            *(oracle._end[label] for label in oracle._labels[:-1]),
            *(oracle._start[label] - 1 for label in oracle._labels[1:]),
        }
    )


def ask(table, moment: Moment):
    read = plan_state(table.evidence, "simulated", at_ms=moment.at_ms, is_cut=moment.cut is not None)
    found = reconstruct(table.engine.ask(), table.reader, table.evidence, read, moment)
    try:
        return states(found.all())
    finally:
        found.close()


def compare(found, expected, refused, answered, where) -> None:
    for key in found.keys() | expected.keys():
        if key in refused:
            continue
        state = expected.get(key)
        # An item that nothing consulted tells of is not in the answer.
        outcome, image = found.get(key, ("unknown" if state and state.reason == "no-fact" else "not-yet-created", None))
        assert state is not None, f"{where}: {key} is invented"
        assert (outcome, image_of(image)) == (state.outcome, image_of(state.image)), (
            f"{where}: {key}: expected {state}, found {outcome} {image}"
        )
        answered[state.outcome, state.rule] += 1


@pytest.mark.parametrize("chunk", rounds(FULL_CHUNKS // 2, FULL_CHUNKS))
def test_the_reader_answers_as_the_oracle_does(chunk):
    """200 histories, half of them in `make test`, through Parquet and the reader: the state at every sequence boundary and
    around many instants."""
    for seed in range(chunk * FULL_SEEDS // FULL_CHUNKS, (chunk + 1) * FULL_SEEDS // FULL_CHUNKS):
        full_history(seed, FULL_WRITES)


@pytest.mark.parametrize(("seed", "writes"), [(694, 32), (1048, 26)])
def test_a_history_that_was_once_answered_wrongly(seed, writes):
    """An item that only the table made anew ever held: a clock behind its stream label put its INSERT before that table's
    beginning, and the end of the former table hid it."""
    full_history(seed, writes)


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(LONG_CHUNKS))
def test_the_reader_answers_as_the_oracle_does_in_2000_histories(chunk):
    """The same at length. The rules that rarely answer, 1 and 4, have tests of their own in `test_gaps.py`."""
    answered: Counter[tuple[str, int]] = Counter()
    for seed in range(chunk * PURE_SEEDS // LONG_CHUNKS, (chunk + 1) * PURE_SEEDS // LONG_CHUNKS):
        answered += full_history(FULL_SEEDS + seed, Random(seed).randint(FULL_WRITES // 2, LONG_WRITES))
    assert {rule for _, rule in answered} >= {2, 3, 5}, answered
    assert {outcome for outcome, _ in answered} == {"existed", "already-deleted", "not-yet-created", "unknown"}
