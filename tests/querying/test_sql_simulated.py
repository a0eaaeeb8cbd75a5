"""SQL on simulated histories, against the oracle: states, versions, changes, differences, coverage, of every item."""

from __future__ import annotations

import tempfile
from collections import Counter
from pathlib import Path
from random import Random

import orjson
import pytest

from query.diff import changed_attributes, changes
from query.instant import format_ms
from query.locked import LockedDatabase
from query.sql_session import SqlSession
from tests.campaign import rounds
from tests.oracle import Oracle, image_of, key_of
from tests.querying.test_simulated import DigestingStore, archived_identities, instants
from tests.simulator.real import (
    LONG_AFTER_MS,
    RealHandler,
    finish,
    good_records,
    identities,
    is_segment,
    open_table,
)
from tests.simulator.run import simulate

SEEDS, LONG_SEEDS, CHUNKS, WRITES = 12, 240, 4, 24


class Asked:
    """One simulated history, its oracle, and SQL over its archive."""

    def __init__(self, seed: int, folder: Path, writes: int = WRITES):
        self.outcome = simulate(
            seed, writes=writes, handler=RealHandler(seed, None), store=DigestingStore(Random(seed))
        )
        finish(self.outcome)
        self.is_empty = not good_records(self.outcome) or not any(map(is_segment, self.outcome.store.objects))
        if self.is_empty:
            return
        self.table = open_table(self.outcome.store, folder, Random(seed))
        told = [
            (c.stream_label, int(c.sequence_number), key_of(orjson.loads(c.item_key))) for c in self.table.conflicts()
        ]
        found = {*identities(self.table), *told, *archived_identities(self.outcome)}
        self.oracle: Oracle = self.outcome.oracle(found)
        self.refused = {key for *_, key in told}
        self.session = SqlSession(
            {"orders": self.table.trail},
            lambda _: self.table,
            LockedDatabase(threads=1),
            now_ms=lambda: LONG_AFTER_MS,
        )

    def rows(self, statement: str) -> list[dict]:
        return self.session.ask(statement).arrow().to_pylist()


def key(row: dict):
    return key_of(orjson.loads(row["item_key"]))


def image(text: str | None):
    return image_of(None if text is None else orjson.loads(text))


def ms(moment) -> int | None:
    return None if moment is None else round(moment.timestamp() * 1000)


def check_states(asked: Asked, at_ms: int, answered: Counter) -> None:
    """Every item has the oracle's outcome and image; `as_of` holds those that existed."""
    expected = asked.oracle.table_at(at_ms)
    found = {key(row): row for row in asked.rows(f"FROM orders.states('{format_ms(at_ms)}')")}
    assert not asked.refused & set(found), "an item in conflict has no answer"
    assert set(found) <= set(expected), "an item is invented"
    for item, state in expected.items():
        if item in asked.refused:
            continue
        row = found.get(item)
        outcome = ("unknown" if state.reason == "no-fact" else "not-yet-created") if row is None else row["outcome"]
        told = None if row is None else row["image"]
        assert (outcome, image(told)) == (state.outcome, image_of(state.image)), f"{item}: {state} but {row}"
        answered[state.outcome, state.rule] += 1
        if row is not None and state.outcome == "unknown":
            assert row["reason"] == state.reason
    existed = {key(row): row["image"] for row in asked.rows(f"FROM orders.as_of('{format_ms(at_ms)}')")}
    assert existed == {item: row["image"] for item, row in found.items() if row["outcome"] == "existed"}


def check_comparison(asked: Asked, one_ms: int, other_ms: int) -> None:
    """An item is listed exactly if its two states differ as values, or one of them is unknown."""
    older, newer = asked.oracle.table_at(one_ms), asked.oracle.table_at(other_ms)
    expected = {}
    for item in set(older) - asked.refused:
        one, other = older[item], newer[item]
        if "unknown" in {one.outcome, other.outcome}:
            expected[item] = "unknown"
        elif image_of(one.image) != image_of(other.image):
            expected[item] = "added" if one.image is None else "removed" if other.image is None else "modified"
    rows = asked.rows(f"FROM orders.compare('{format_ms(one_ms)}', '{format_ms(other_ms)}')")
    found = {key(row): row["diff_type"] for row in rows}
    assert len(rows) == len(found)
    # An item that no consulted fact tells of is not among the states, so it is not known to be unknown either.
    silent = {item for item, kind in expected.items() if kind == "unknown" and item not in found}
    assert all("no-fact" in {older[item].reason, newer[item].reason} for item in silent)
    assert found == {item: kind for item, kind in expected.items() if item not in silent}


def check_history(asked: Asked) -> None:
    """Versions in order with their effective times; changes once, each with what it did by the reader's own diff."""
    versions: dict = {}
    for row in asked.rows("FROM orders.versions ORDER BY item_key, stream_label, sequence_number"):
        versions.setdefault(key(row), []).append(row)
    for item in asked.oracle.item_keys() - asked.refused:
        expected = asked.oracle.history(item)
        found = versions.get(item, [])
        assert [(row["stream_label"], int(row["sequence_number"])) for row in found] == [
            (version.label, version.sequence) for version in expected
        ]
        for position, (row, version) in enumerate(zip(found, expected, strict=True)):
            following = expected[position + 1].effective_ms if position + 1 < len(expected) else None
            assert (ms(row["valid_from"]), ms(row["valid_to"])) == (version.effective_ms, following)
            assert image(row["image"]) == (None if version.op == "REMOVE" else image_of(version.new_image))
    assert not set(versions) & asked.refused
    differences: dict = {}
    for row in asked.rows("FROM orders.attribute_changes"):
        told = (row["path"], row["kind"], row["old"], row["new"])
        differences.setdefault((row["item_key"], row["stream_label"], row["sequence_number"]), []).append(told)
    for row in asked.rows("FROM orders.changes"):
        comparable = (row["old_image"] or row["op"] == "INSERT") and (row["new_image"] or row["op"] == "REMOVE")
        names = list(changed_attributes(row["old_image"], row["new_image"])) if comparable else None
        assert row["changed_attributes"] == names
        expected_paths = [(one.path, one.kind) for one in changes(row["old_image"], row["new_image"])]
        found_paths = differences.get((row["item_key"], row["stream_label"], row["sequence_number"]), [])
        assert sorted(told[:2] for told in found_paths) == (sorted(expected_paths) if comparable else [])


def check_coverage(asked: Asked) -> None:
    coverage = asked.table.coverage()
    rows = asked.rows("FROM orders.coverage")
    covered = [(row["stream_label"], ms(row["since"]), ms(row["until"])) for row in rows if row["kind"] == "covered"]
    assert sorted(covered) == sorted((one.stream_label, one.since_ms, one.until_ms) for one in coverage.stretches)
    assert [(ms(row["since"]), ms(row["until"])) for row in rows if row["kind"] == "gap"] == list(coverage.gaps)


def check_range(asked: Asked, since_ms: int, until_ms: int) -> None:
    rows = asked.rows(f"FROM orders.changes_between('{format_ms(since_ms)}', '{format_ms(until_ms)}')")
    expected = asked.table.changes(since_ms=since_ms, until_ms=until_ms)
    assert sorted(row["change_id"] for row in rows) == sorted(
        change.change_id for change in expected if key_of(orjson.loads(change.item_key)) not in asked.refused
    )


def check_histories(seeds: range) -> Counter:
    answered: Counter = Counter()
    for seed in seeds:
        with tempfile.TemporaryDirectory() as folder:
            asked = Asked(seed, Path(folder))
            if asked.is_empty:
                continue
            times = instants(asked.oracle, Random(seed))
            try:
                for at_ms in times:
                    check_states(asked, at_ms, answered)
                check_comparison(asked, times[0], times[-1])
                check_comparison(asked, times[len(times) // 2], times[-1])
                check_history(asked)
                check_coverage(asked)
                check_range(asked, times[1], times[-1])
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error
    return answered


@pytest.mark.parametrize("chunk", rounds(CHUNKS // 2, CHUNKS))
def test_sql_answers_as_the_oracle_does(chunk):
    """12 histories, half of them in `make test`: the state of every item around many instants, comparisons, versions, differences and coverage."""
    answered = check_histories(range(chunk * SEEDS // CHUNKS, (chunk + 1) * SEEDS // CHUNKS))
    assert {outcome for outcome, _ in answered} >= {"existed", "already-deleted", "unknown"}, answered


@pytest.mark.long
@pytest.mark.parametrize("chunk", range(LONG_SEEDS // SEEDS))
def test_sql_answers_as_the_oracle_does_in_240_histories(chunk):
    """The same at length."""
    answered = check_histories(range(SEEDS * (chunk + 1), SEEDS * (chunk + 2)))
    assert {rule for _, rule in answered} >= {2, 3, 5}, answered
