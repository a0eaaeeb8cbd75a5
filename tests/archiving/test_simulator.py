"""The simulator is the judge of the archiver, so it is judged first.

A toy archiver and a toy reader, right ones, pass; ten planted defects (each a line of code that somebody has shipped)
are each caught. How often is held, because a simulator that goes blind to a kind of fault does so silently.
"""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from tests.oracle import identity_of, label_of, value_of
from tests.simulator import poison
from tests.simulator.check import check, check_states, shrink
from tests.simulator.faults import KINDS, FaultyStore, FunctionKilledError, StoreUnavailableError
from tests.simulator.memory_store import MemoryStore
from tests.simulator.run import simulate
from tests.simulator.scenario import RETENTION_MS
from tests.simulator.toy import DEFECTS, is_understood, run_toy, toy_archive, toy_read, toy_table_at_cut
from tests.simulator.values import VALUES, are_equal, respell

SEEDS, CALIBRATION_SEEDS, LONG_SEEDS = 200, 40, 2_000

# Of the first 40 seeds, at least so many must catch the defect (measured, less a little for changes of the dice).
CAUGHT_AT_LEAST = {
    "last only": 30,
    "poison dropped": 3,
    "poison raises": 3,
    "no destination": 5,
    "no deduplication": 18,
    "named by time": 30,
    "named by first sequence": 5,
    "compared as text": 9,
    "compared as float": 25,
    "ordered by time": 25,
}


def toy_fails(defect: str):
    return lambda seed, writes: not run_toy(seed, writes, defect=defect, overrides=DEFECTS.get(defect))[1].passed()


def test_a_right_archiver_and_reader_pass():
    """Whatever the seed brings, nothing is lost, doubled, invented, disordered or altered, and no failure is its own."""
    for seed in range(SEEDS):
        outcome, verdict = run_toy(seed)
        assert verdict.passed(), f"{verdict}\nfewest writes: {shrink(seed, toy_fails(''))}"
        assert not outcome.handler_errors, verdict


@pytest.mark.parametrize("defect", DEFECTS)
def test_a_planted_defect_is_caught(defect):
    """Each defect is found about as often as when it was measured, and the seed and a shorter history are named."""
    fails = toy_fails(defect)
    caught = [seed for seed in range(CALIBRATION_SEEDS) if fails(seed, 150)]
    assert len(caught) >= CAUGHT_AT_LEAST[defect], f"{defect}: only seeds {caught}"
    fewest = shrink(caught[0], fails)
    assert fails(caught[0], fewest)
    assert f"seed {caught[0]}, {fewest} writes" in str(run_toy(caught[0], fewest, defect=defect)[1])


@pytest.mark.long
def test_all_seeds_pass_on_the_right_one_and_each_defect_is_caught_among_them():
    """The counts of the whole calibration, printed for the record."""
    for defect in ("", *DEFECTS):
        caught = [seed for seed in range(LONG_SEEDS) if toy_fails(defect)(seed, 150)]
        print(f"{defect or 'right':25} {len(caught) / LONG_SEEDS:6.1%} first at {caught[:1]}")
        assert bool(caught) == bool(defect), f"{defect}: {caught[:10]}"


def test_everything_that_can_go_wrong_does():
    """A fault that no seed draws tests nothing: across the seeds of one run each kind happens, and not once only."""
    happened: Counter[str] = Counter()
    for seed in range(SEEDS):
        outcome = simulate(seed, handler=toy_archive)
        happened.update(outcome.happened)
        good = [e.record for e in outcome.records if not e.is_poison]
        times: dict[tuple, float] = {}
        for record in good:
            key = identity_of(record)[2]
            at, stream = record["dynamodb"]["ApproximateCreationDateTime"], record["dynamodb"]
            happened["time steps back within an item"] += at < times.get(key, 0)
            happened["same second within an item"] += at == times.get(key)
            happened[type(at).__name__] += 1
            happened[record["eventName"]] += 1
            happened["TTL"] += bool(record.get("userIdentity"))
            times[key] = at
            happened.update(next(iter(v)) for v in stream.get("NewImage", {}).values())
        lengths = {(label_of(r), len(r["dynamodb"]["SequenceNumber"])) for r in good}
        happened["digit length crossed"] += len(lengths) > len({label for label, _ in lengths})
        happened["one number, two items"] += len({identity_of(r)[:2] for r in good}) < len(good)
        happened["poison"] += len(good) < len(outcome.records)
        happened["baseline"] += len(outcome.baselines)
    names = [
        *KINDS, "throttle", "bisect", "retry", "RetryAttemptsExhausted", "RecordAgeExceeded", "duplicate delivery", "restart",
        "restart from an older checkpoint",        "payload limit", "expiry", "lost response", "new label", "split", "table made anew", "time steps back within an item",
        "same second within an item", "int", "float", "INSERT", "MODIFY", "REMOVE", "TTL", "S", "N", "B", "BOOL", "NULL", "M",
        "L", "SS", "NS", "BS", "digit length crossed", "one number, two items", "poison", "baseline",
    ]  # fmt: skip
    assert not [name for name in names if happened[name] < 5], happened


def test_a_seed_is_a_history():
    """The same seed gives the same records, deliveries and objects; another seed gives others."""
    one, same, other = (run_toy(seed)[0] for seed in (3, 3, 4))
    assert [e.text for e in one.records] == [e.text for e in same.records]
    assert one.store.journal == same.store.journal
    assert [e.text for e in one.records] != [e.text for e in other.records]


def test_what_the_application_writes_does_not_depend_on_the_handler():
    """A handler that fails must not change the history that it is judged by, or a shrunk history would be another one."""

    def fail(event, store):
        raise ValueError

    calm = {"is_skewed": False}
    right, wrong = simulate(5, handler=toy_archive, overrides=calm), simulate(5, handler=fail, overrides=calm)
    strip = [(e.record["eventName"], e.record["dynamodb"]["Keys"]) for e in right.records if not e.is_poison]
    assert strip == [(e.record["eventName"], e.record["dynamodb"]["Keys"]) for e in wrong.records if not e.is_poison]


def test_without_duplicates_and_restarts_an_item_is_delivered_in_order():
    """Lanes, retries, bisect and splits keep the order of each item: in-order processing at the item level."""
    overrides = {
        "duplicate_rate": 0.0, "restart_rate": 0.0, "lost_response_rate": 0.0, "put_fault_rate": 0.3, "split_rate": 0.05,
        "is_bisecting": True, "max_retries": -1, "max_age_ms": -1, "outage_ms": 0, "anew_rate": 0.0, "reenable_rate": 0.0,
        "poison_rate": 0.0, "batch_size": 10, "window_ms": 60_000,
    }  # fmt: skip
    happened: Counter[str] = Counter()
    for seed in range(20):
        delivered: list[tuple] = []

        def archive(event, store, delivered=delivered):
            toy_archive(event, store)
            delivered += [identity_of(record) for record in event["Records"]]

        outcome = simulate(seed, handler=archive, overrides=overrides)
        happened.update(outcome.happened)
        assert len(delivered) == len(outcome.records)
        for key in {key for _, _, key in delivered}:
            numbers = [number for _, number, of in delivered if of == key]
            assert numbers == sorted(numbers), seed
    assert min(happened["bisect"], happened["split"], happened["retry"]) > 10


def test_a_handler_that_fails_of_its_own_accord_excuses_nothing():
    """Records that expire behind a failing handler are lost: only trouble that the simulator made is an excuse."""

    def fail(event, store):
        raise ValueError("no")

    outcome = simulate(1, writes=20, handler=fail, overrides={"max_retries": -1, "max_age_ms": -1, "poison_rate": 0.0})
    verdict = check(outcome, [])
    assert len(verdict.lost) == len(outcome.records) > 0
    assert {e.fate for e in outcome.records} == {"starved"}
    assert "ValueError: no" in str(verdict)


def test_a_long_outage_expires_records_and_the_checker_excuses_them():
    """24 hours is the end of a stream record; what was never acknowledged by then may be missing."""
    overrides = {
        "outage_ms": 2 * RETENTION_MS,
        "outage_at": 0.1,
        "max_retries": -1,
        "max_age_ms": -1,
        "poison_rate": 0.0,
    }
    outcome, verdict = run_toy(2, overrides={**overrides, "outage_kind": "mapping"})
    assert len(outcome.excused) > 0
    assert verdict.passed(), verdict


def test_the_destination_saves_what_retries_could_not():
    """Payloads of the on-failure destination are the whole event; replayed, nothing is missing."""
    overrides = {"max_retries": 0, "put_fault_rate": 0.5, "poison_rate": 0.0, "outage_ms": 0, "has_destination": True}
    replayed, verdict = run_toy(2, overrides=overrides)
    assert replayed.on_failure
    assert verdict.passed(), verdict
    held, verdict = run_toy(2, overrides=overrides, has_replay=False)
    assert verdict.passed(), verdict  # waiting at the destination is not lost
    assert len(held.excused) > verdict.recovered


def test_a_fresh_event_is_delivered_each_time():
    """A handler that spoils its event in place spoils no later delivery and is found out."""

    def spoil(event, store):
        for record in event["Records"]:
            if is_understood(record):
                record["dynamodb"]["Keys"]["spoiled"] = {"S": "x"}
        toy_archive(event, store)

    outcome = simulate(1, handler=spoil)
    assert check(outcome, toy_read(outcome.store)).invented


def test_the_checker_sees_a_changed_image():
    """I5: one attribute of one image changed on the way is reported with its identity."""
    outcome, _ = run_toy(1)
    records = toy_read(outcome.store)
    changed = next(record for record in records if "NewImage" in record["dynamodb"])
    changed["dynamodb"]["NewImage"]["extra"] = {"S": "x"}
    assert check(outcome, records).altered == [identity_of(changed)]


def test_the_checker_takes_bare_identities():
    """A reader that gives identities only is checked for loss, duplicates and order."""
    outcome, _ = run_toy(1, overrides={"poison_rate": 0.0})
    identities = [identity_of(record) for record in toy_read(outcome.store)]
    assert check(outcome, identities).passed()
    assert check(outcome, identities[1:]).lost == identities[:1]
    assert check(outcome, [*identities, identities[0]]).duplicated == identities[:1]
    assert check(outcome, identities[::-1]).disordered


def test_conflicting_deliveries_are_two_records_of_one_identity():
    """A conflict is kept, both contents come back, and the oracle knows the identity."""
    overrides = {"conflict_rate": 0.5, "duplicate_rate": 0.5, "put_fault_rate": 0.0, "outage_ms": 0}
    outcome = simulate(1, handler=toy_archive, overrides=overrides)
    found = outcome.oracle().conflicts()
    assert found
    assert all(len(records) > 1 for records in found.values())
    both = [record for records in found.values() for record in records]
    assert not check(outcome, both).duplicated
    assert not check(outcome, both).altered


@pytest.mark.parametrize("defect", ["", "null images skipped", "old images ignored"])
def test_state_is_checked_at_every_boundary(defect):
    """I4: a reader that brings deleted items back, or cannot look backwards, is caught although its records are right."""
    one_label = {
        "anew_rate": 0.0, "reenable_rate": 0.0, "outage_ms": 0, "max_retries": -1, "max_age_ms": -1, "poison_rate": 0.0,
        "view_type": "NEW_AND_OLD_IMAGES",
    }  # fmt: skip
    caught = 0
    for seed in range(10):
        outcome = simulate(seed, handler=toy_archive, overrides=one_label)
        outcome.records = outcome.records[20:]  # the trail begins a little late, so that old images count
        records = [r for r in toy_read(outcome.store) if identity_of(r) in outcome.expected]
        verdict = check_states(outcome, lambda *cut: toy_table_at_cut(records, cut, defect=defect))  # noqa: B023
        caught += not verdict.passed()
        assert defect or verdict.passed(), verdict
    assert bool(caught) == bool(defect)


@pytest.mark.parametrize("kind", poison.KINDS)
def test_poison_is_poison(kind):
    """Each kind of damage makes a record that a right archiver cannot take for a change."""
    outcome = simulate(1, writes=30, handler=toy_archive, overrides={"poison_rate": 0.0})
    record = outcome.records[-1].fresh()
    assert is_understood(record)
    poison.KINDS[kind](record)
    assert not is_understood(record)


@pytest.mark.parametrize("kind", KINDS)
def test_a_fault_leaves_what_it_says(kind):
    """Refused and killed before leave nothing, a lost answer and killed after leave the object, late leaves it later."""
    inner = MemoryStore()
    store = FaultyStore(inner, Random(0), script=[kind, None])
    with pytest.raises((StoreUnavailableError, FunctionKilledError)):
        store.put_if_absent("a", b"1")
    assert ("a" in inner.objects) == (kind in ("answer lost", "killed after"))
    store.settle()
    assert ("a" in inner.objects) == (kind in ("answer lost", "killed after", "late"))
    assert store.put_if_absent("a", b"2") == (kind in ("refused", "killed before"))


def test_a_store_never_overwrites():
    """Create-only is the one promise the archiver builds on."""
    store = MemoryStore(Random(1))
    assert store.put_if_absent("b", b"1")
    assert not store.put_if_absent("b", b"2")
    assert store.get("b") == b"1"
    assert [store.put_if_absent(name, b"") for name in "cad"] == [True] * 3
    assert dict(store.list("")) == {"a": 0, "b": 1, "c": 0, "d": 0}
    assert [name for name, _ in MemoryStore().list("")] == []
    with pytest.raises(FileNotFoundError):
        store.get("z")


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:40])
def test_another_spelling_is_the_same_value(value):
    """A no-op write may list a set in another order: it must not make a record."""
    assert value_of(respell(value)) == value_of(value)
    assert are_equal({"a": value}, {"a": respell(value)})
    assert not are_equal({"a": value}, {"a": {"S": "different"}})
