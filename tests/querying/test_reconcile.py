"""Reconciliation finds what the table holds and the trail does not say, and accuses nobody of what is on its way."""

import dataclasses

import orjson
import pytest

import query
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.reconcile import CLOCK_MARGIN_MS, Difference, reconcile
from tests.querying.test_image_chain import (
    LABEL,
    LATER_LABEL,
    ONE,
    SPELLED,
    SPELLED_OTHERWISE,
    T0,
    THREE,
    TWO,
    change,
    with_baseline,
)

SCAN_MS = (T0 + 3_600) * 1000
MARGIN_S = CLOCK_MARGIN_MS // 1000


def key(name):
    return f'{{"id":{{"S":"{name}"}}}}'


def items(shown):
    """Items as a scan gives them, in batches of two."""
    rows = [
        (key(name), orjson.dumps({"id": {"S": name}, **image}, option=orjson.OPT_SORT_KEYS))
        for name, image in shown.items()
    ]
    return [rows[n : n + 2] for n in range(0, len(rows), 2)]


@pytest.fixture
def compare(tmp_path):
    """Archives records and compares the trail with the items shown."""

    def made(records, shown, **asked):
        writer = Writer(FolderStore(tmp_path / "archive"), Streams())
        if records:
            assert not writer.archive(list(records), now_ms=T0 * 1000).quarantined
        table = query.open(str(tmp_path / "archive")).table("orders")
        return reconcile(table, items(shown), **({"from_ms": SCAN_MS} | asked))

    return made


def told(found):
    return [
        (one.item_key[12:-3], one.kind.value, one.change_id and int(one.change_id, 16)) for one in found.differences
    ]


INSERTED = change(1, "INSERT", None, ONE)
MODIFIED = change(2, "MODIFY", ONE, TWO)
REMOVED = change(3, "REMOVE", TWO)


@pytest.mark.parametrize(
    ("records", "shown", "differences"),
    [
        ([INSERTED], {"a": ONE}, []),
        ([INSERTED, MODIFIED], {"a": TWO}, []),
        ([INSERTED, MODIFIED, REMOVED], {}, []),
        ([INSERTED, MODIFIED], {"a": ONE}, [("a", "differs", 2)]),
        ([INSERTED, MODIFIED], {"a": THREE}, [("a", "differs", 2)]),
        ([INSERTED, MODIFIED], {}, [("a", "not-in-table", 2)]),
        ([INSERTED, MODIFIED, REMOVED], {"a": TWO}, [("a", "missing-in-archive", 3)]),
        ([change(1, "INSERT", None, SPELLED)], {"a": SPELLED_OTHERWISE}, []),
        ([change(1, "INSERT", None, ONE)], {"a": {"n": {"S": "1"}}}, [("a", "differs", 1)]),
    ],
)
def test_the_last_change_must_have_left_what_the_table_holds(compare, records, shown, differences):
    """This is what the image chain cannot see: nothing comes after the last change to vouch for it."""
    found = compare(records, shown)
    assert told(found) == differences
    assert (found.items, found.compared, found.different) == (
        len(shown),
        1 if shown or differences else 0,
        len(differences),
    )
    for one in found.differences:
        assert one.until_ms == SCAN_MS
        assert one.changed_at_ms == (T0 + one_number(one)) * 1000
        assert one.changed_attributes == (("n",) if one.kind is Difference.DIFFERS else ())


def one_number(one):
    return int(one.change_id, 16)


@pytest.mark.parametrize(("is_from_beginning", "expected"), [(True, [("b", "missing-in-archive", None)]), (False, [])])
def test_an_item_that_the_trail_never_met_is_missing_only_if_it_should_have(compare, is_from_beginning, expected):
    """Items that rested since before the trail began are in the table and in no change."""
    found = compare([INSERTED], {"a": ONE, "b": ONE}, is_from_beginning=is_from_beginning)
    assert told(found) == expected
    assert found.unknown == (0 if is_from_beginning else 1)


@pytest.mark.parametrize(
    ("label", "baseline_s", "expected"),
    [
        (LABEL, T0 - 7_200, [("c", "missing-in-archive", None)]),
        (None, T0 - 7_200, []),
        (LATER_LABEL, T0 - 7_200, []),
        (LABEL, T0 + 3_600, []),  # stands for the same moment: nothing is compared with itself
    ],
)
def test_a_baseline_of_the_same_stream_says_what_there_was_before(compare, tmp_path, label, baseline_s, expected):
    """An item that it does not show was made later, and its change should be there. One of another stream says nothing of
    what happened between the two."""
    with_baseline(tmp_path / "archive", {"b": TWO}, baseline_s, label=label)
    found = compare([INSERTED], {"a": ONE, "b": TWO, "c": ONE})
    assert told(found) == expected


def test_a_baseline_of_no_stream_covers_nothing(compare, tmp_path):
    """Without any change nothing is covered, and a baseline that names no stream does not make it so."""
    with_baseline(tmp_path / "archive", {"b": TWO}, T0 - 7_200, label=None)
    found = compare([], {"b": TWO, "c": ONE})
    assert (told(found), found.compared, found.unknown) == ([], 0, 2)


def test_the_last_hour_that_can_touch_an_item_is_read(compare):
    """A change in the first second of an hour lies in another segment than the second before it."""
    records = [INSERTED, change(2, "INSERT", None, ONE, key="b", at_s=T0 + 7_200)]
    found = compare(records, {"a": ONE, "b": THREE}, to_ms=(T0 + 7_200 - MARGIN_S) * 1000)
    assert (found.touched, found.compared) == (1, 1)


def test_a_baseline_is_a_fact_of_items_that_rested_since(compare, tmp_path):
    """And a change that is missing after it shows."""
    with_baseline(tmp_path / "archive", {"b": TWO, "c": ONE}, T0 - 7_200)
    found = compare([INSERTED], {"a": ONE, "b": THREE})
    assert told(found) == [("b", "differs", None), ("c", "not-in-table", None)]
    assert (found.items, found.compared) == (2, 3)


@pytest.mark.parametrize(
    ("at_s", "asked", "is_compared"),
    [
        (3_600 - MARGIN_S - 1, {}, True),
        (3_600 - MARGIN_S, {}, False),
        (3_600, {}, False),
        (90_000, {}, False),
        (3_600 + 10 + MARGIN_S, {"to_ms": SCAN_MS + 10_000}, False),
        (3_600 + 10 + MARGIN_S + 1, {"to_ms": SCAN_MS + 10_000}, True),
    ],
)
def test_an_item_that_did_not_rest_is_not_compared(compare, at_s, asked, is_compared):
    """A scan reads each item at another moment, and two clocks tell of it; to the last second. What an export shows was
    settled before later changes."""
    records = [change(1, "INSERT", None, ONE, key="z"), change(2, "MODIFY", ONE, TWO, at_s=T0 + at_s)]
    found = compare(records, {"a": THREE, "z": ONE}, **asked)
    assert (found.compared, found.touched, found.different) == ((2, 0, 1) if is_compared else (1, 1, 0))


def test_what_a_later_change_found_is_what_stood_there_before(compare):
    """An export of a moment before the first archived change of an item can be compared all the same."""
    later = change(1, "MODIFY", ONE, TWO, at_s=T0 + 90_000)
    asked = {"to_ms": SCAN_MS + 10_000}
    assert told(compare([change(5, "INSERT", None, ONE, key="z"), later], {"a": ONE, "z": ONE}, **asked)) == []
    assert told(compare([], {"a": TWO, "z": ONE}, **asked)) == [("a", "differs", None)]


def test_an_item_beyond_a_gap_is_not_compared(compare):
    """Between two streams changes are lost, and that is known: coverage says it, item by item nobody can."""
    records = [INSERTED, change(1, "INSERT", None, ONE, key="b", label=LATER_LABEL, at_s=T0 + 3_000)]
    found = compare(records, {"a": TWO, "b": ONE})
    assert (told(found), found.unknown, found.compared) == ([], 1, 1)


def test_an_item_in_conflict_is_not_compared(compare):
    """Which of its two contents the table should hold nobody knows."""
    compare([INSERTED], {})
    records = [change(1, "INSERT", None, TWO), change(2, "INSERT", None, ONE, key="b")]
    found = compare(records, {"a": ONE, "b": ONE}, is_from_beginning=True)
    assert (told(found), found.conflicts, found.compared, found.unknown) == ([], 1, 1, 0)


def test_nothing_is_compared_without_a_trail(compare, tmp_path):
    """And that is said: nothing compared is no agreement."""
    spoiled = change(1, "INSERT", None, ONE)
    spoiled["eventName"] = "UPSERT"
    Writer(FolderStore(tmp_path / "archive"), Streams()).archive([spoiled], now_ms=T0 * 1000)
    found = compare([], {"a": ONE})
    assert (found.items, found.compared, found.unknown) == (1, 0, 1)


def test_some_items_are_looked_at_again(compare):
    """A record that was on its way is archived at the second look; what still differs is confirmed."""
    records = [INSERTED, change(2, "INSERT", None, ONE, key="b")]
    first = compare(records, {"a": TWO, "b": TWO})
    assert told(first) == [("a", "differs", 1), ("b", "differs", 2)]
    second = compare([MODIFIED], {"a": TWO, "b": TWO}, item_keys=[key("a"), key("b")])
    both = first.confirmed_by(second)
    assert (told(both), both.different, both.settled) == ([("b", "differs", 2)], 1, 1)


def test_a_second_look_at_some_items_says_nothing_of_others(compare):
    """Those that were not read again are no items that the table has lost."""
    found = compare([INSERTED, change(2, "INSERT", None, ONE, key="b")], {"a": ONE}, item_keys=[key("a")])
    assert (told(found), found.compared) == ([], 1)


def test_what_is_archived_while_the_table_is_read_tells_which_items_did_not_rest(compare, tmp_path):
    """A scan takes hours, and the list of segments from before it knows nothing of them."""
    records = [INSERTED, change(2, "INSERT", None, ONE, key="b")]
    assert told(compare(records, {"a": TWO, "b": ONE})) == [("a", "differs", 1)]
    folder = tmp_path / "archive"
    table = query.open(str(folder)).table("orders")
    assert len(table.changes()) == 2  # its segments are read, and kept

    def read():
        yield from items({"a": TWO})
        late = change(9, "MODIFY", ONE, TWO, at_s=SCAN_MS // 1000 + 5)
        Writer(FolderStore(folder), Streams()).archive([late], now_ms=T0 * 1000)
        yield from items({"b": ONE})

    found = reconcile(table, read(), from_ms=SCAN_MS, refresh=lambda: query.open(str(folder)).table("orders"))
    assert (told(found), found.touched, found.compared) == ([], 1, 1)


def test_differences_are_counted_beyond_those_listed(compare, monkeypatch):
    """A stretch in which everything was lost may leave a million of them."""
    monkeypatch.setattr("query.reconcile.MOST_DIFFERENCES", 2)
    records = [change(n, "INSERT", None, ONE, key=str(n)) for n in range(1, 6)]
    found = compare(records, {str(n): TWO for n in range(1, 6)})
    assert (found.items, found.different) == (5, 5)
    assert [one.item_key for one in found.differences] == [key("1"), key("2")]
    assert dataclasses.replace(found, differences=()).different == 5


def test_an_item_that_the_trail_never_met_is_confirmed_at_a_second_look(compare):
    """It is asked for by its key, and still nothing is known of it."""
    found = compare([INSERTED], {"b": ONE}, item_keys=[key("b")], is_from_beginning=True)
    assert told(found) == [("b", "missing-in-archive", None)]
