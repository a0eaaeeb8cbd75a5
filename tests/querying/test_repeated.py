"""Changes that several rows tell of are counted once, whichever files hold them; and what of stretches overlaps."""

from __future__ import annotations

import copy

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from query.change_stat import change_stat
from query.engine import Question
from query.overlaps import Stretch, shared
from tests.querying.derived_worlds import large
from tests.querying.test_runs_same_answers import ByHand
from tests.system.tampered import FIRST_KEY, MINUTE_MS

# Hours of archiving: `ByHand` compacts whole days before the last, and whole hours of that.
SAME_HOUR, NEXT_HOUR, NEXT_DAY, TAIL = -47.9, -46.5, -20.0, 3.2


def told_twice(again: float, *, otherwise: bool = False) -> ByHand:
    """A trail of some days in which one record of the beginning is archived once more, beside another one."""
    trail = ByHand()
    first = trail.shop.change("twice", trail.at(-48), trail.label)
    second = copy.deepcopy(first)
    if otherwise:
        second["dynamodb"]["NewImage"]["note"] = {"S": "something else"}
    # Another one of its hour beside it: alone it would be the segment that is there already.
    beside = trail.shop.change("beside", trail.at(-47.95), trail.label)
    batches = [(-48.0, [first]), (again, [second, beside])]
    batches += [(hour, [trail.shop.change(f"of {hour}", trail.at(hour), trail.label)]) for hour in range(-47, 4)]
    for hours, records in sorted(batches, key=lambda batch: batch[0]):
        trail.shop.archive(records, trail.at(hours))
        trail.shop.seal(FIRST_KEY, trail.at(hours) + MINUTE_MS)
    return trail


@pytest.mark.parametrize("is_large", [True, False])
@pytest.mark.parametrize("again", [SAME_HOUR, NEXT_HOUR, NEXT_DAY, TAIL])
def test_a_change_that_two_rows_tell_is_counted_once(again, is_large, tmp_path, monkeypatch):
    large(monkeypatch, is_large)
    place = told_twice(again).place(tmp_path, 4)
    place.compact()
    table = place.table()
    assert len(table.evidence.runs) > 2
    rows = sum(run.description.rows for run in table.evidence.runs)
    rows += sum(pq.read_metadata(place.archive_folder / one.stored.name).num_rows for one in table.evidence.segments)
    found = change_stat(table)
    assert (found.total, rows, len(table.changes())) == (53, 54, 53)
    assert found.of("op") == {"INSERT": 53}


@pytest.mark.parametrize("again", [SAME_HOUR, NEXT_HOUR, NEXT_DAY, TAIL])
def test_an_item_of_which_two_rows_tell_differently_is_named_and_left_out(again, tmp_path, monkeypatch):
    large(monkeypatch, True)
    place = told_twice(again, otherwise=True).place(tmp_path, 4)
    place.compact()
    found = change_stat(place.table())
    assert [conflict.item_key for conflict in found.conflicts] == ['{"pk":{"S":"twice"},"sk":{"N":"1"}}']
    assert found.total == 52


def test_runs_that_share_nothing_are_not_compared(tmp_path, monkeypatch):
    """What makes counting fast: no row of them is looked at for its identity."""
    large(monkeypatch, True)
    trail = ByHand()
    for hour in range(-47, 1):
        trail.change(f"of {hour}", hour)
    place = trail.place(tmp_path, 2)
    place.compact()
    table = place.table()
    assert table.evidence.runs
    asked = []
    run = Question.run

    def noted(question, name, values=None):
        asked.append(name)
        run(question, name, values)

    monkeypatch.setattr(Question, "run", noted)
    assert change_stat(table).total == 48
    assert "stat_chosen" in asked
    assert [name for name in asked if "doubtful" in name] == ["stat_doubtful_from_segments"]  # the tail


NAMES = st.text("abcd", max_size=3)
STRETCHES = st.tuples(NAMES, NAMES).map(lambda ends: Stretch(min(ends), max(ends)))


@given(STRETCHES, st.lists(STRETCHES, max_size=4), NAMES)
def test_what_another_stretch_may_hold_is_always_shared(own, others, at):
    """Checked place by place: whatever lies in both is below the one bound or above the other."""
    found = shared(own, others)
    if own.first <= at <= own.last and any(other.first <= at <= other.last for other in others):
        assert at <= found.upto or at >= found.since


@given(STRETCHES, STRETCHES)
def test_a_stretch_beside_another_shares_nothing(one, other):
    is_apart = one.last < other.first or other.last < one.first
    found = shared(one, [other])
    assert (found == shared(one, [])) is is_apart or (found.upto == "" and one.first == "")
