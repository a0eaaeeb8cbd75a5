"""The chain of a canary: numbers left out, images that do not fit, silence, and what a range leaves of them."""

import pytest

import query
from archiver.store import FolderStore
from archiver.streams import Streams
from archiver.writer import Writer
from query.canary_chain import COUNTER, CanaryCause, canary_chain, counter_of
from tests.querying.test_image_chain import LABEL, LATER_LABEL, T0, change

EVERY_S = 300


def at(counter):
    return None if counter is None else {COUNTER: {"N": str(counter)}}


def canary_changes(*counters, every_s=EVERY_S):
    """Changes that leave these counters, each finding what the one before it left; None deletes the item."""
    made, before = [], None
    for number, counter in enumerate(counters):
        op = "REMOVE" if counter is None else "INSERT" if before is None else "MODIFY"
        made.append(change(number, op, at(before), at(counter), at_s=T0 + number * every_s))
        before = counter
    return made


@pytest.fixture
def chain_of(tmp_path):
    def made(records, **asked):
        Writer(FolderStore(tmp_path / "archive"), Streams()).archive(list(records), now_ms=T0 * 1000)
        item = query.open(str(tmp_path / "archive")).table("orders").item("a")
        changes = [version.change for version in item.versions if version.change is not None]
        times = {"since_ms": None, "until_ms": (T0 + len(records) * EVERY_S) * 1000, "every_ms": EVERY_S * 1000}
        return canary_chain(item.item_key, changes, **(times | asked))

    return made


def told(chain):
    return [
        (one.cause, one.counters, int(one.since.change_id, 16), int(one.until.change_id, 16)) for one in chain.breaks
    ]


def test_a_chain_without_a_gap(chain_of):
    """From 1 to 5, every five minutes, the newest one of them old."""
    chain = chain_of(canary_changes(1, 2, 3, 4, 5))
    assert (chain.changes, chain.counted, chain.first_counter, chain.last_counter) == (5, 5, 1, 5)
    assert (chain.longest_ms, chain.newest_ms, chain.breaks) == (EVERY_S * 1000, (T0 + 4 * EVERY_S) * 1000, ())
    assert (chain.is_silent, chain.has_rested) == (False, False)


@pytest.mark.parametrize(
    ("lost", "counters"),
    [([2], (2, 4)), ([1, 2, 3], (1, 5)), ([0], None), ([4], None)],
)
def test_a_number_that_is_left_out_is_a_change_that_was_lost(chain_of, lost, counters):
    """Between the two changes beside it. The first and the last have no neighbour: freshness tells of the last."""
    records = canary_changes(1, 2, 3, 4, 5)
    chain = chain_of([one for number, one in enumerate(records) if number not in lost])
    expected = [] if counters is None else [(CanaryCause.COUNTER, counters, lost[0] - 1, lost[-1] + 1)]
    assert told(chain) == expected


def test_a_number_that_comes_again_is_a_break(chain_of):
    """Somebody else writes the canary, or a change was invented."""
    records = canary_changes(1, 2, 2, 3)
    assert told(chain_of(records)) == [(CanaryCause.COUNTER, (2, 2), 1, 2)]


def test_a_canary_that_was_deleted_begins_anew(chain_of):
    """At whatever number."""
    assert told(chain_of(canary_changes(4, 5, None, 1, 2))) == []


@pytest.mark.parametrize(
    ("second", "is_broken"),
    [
        (change(1, "MODIFY", at(1), at(2)), False),
        (change(1, "MODIFY", {"x": {"S": "?"}, **at(1)}, at(2)), True),
        (change(1, "INSERT", None, at(2)), True),
        (change(1, "MODIFY", at(1), {}), False),
        (change(1, "MODIFY", None, at(2), view="NEW_IMAGE"), False),
        (change(1, "REMOVE", at(7)), True),
    ],
)
def test_images_tell_where_no_counter_does(chain_of, second, is_broken):
    """A canary without a counter, or whose counter fits by chance, still has to find what the last change left."""
    first = change(0, "INSERT", None, at(1))
    chain = chain_of([first, second])
    assert [one.cause for one in chain.breaks] == ([CanaryCause.IMAGES] if is_broken else [])


@pytest.mark.parametrize(("late_s", "is_silent"), [(2 * EVERY_S, False), (2 * EVERY_S + 1, True)])
def test_silence_is_told_after_twice_the_interval(chain_of, late_s, is_silent):
    """One write may fail."""
    records = canary_changes(1, 2)
    chain = chain_of(records, until_ms=(T0 + EVERY_S + late_s) * 1000)
    assert chain.is_silent is is_silent
    rested = chain_of([change(9, "MODIFY", at(2), at(3), at_s=T0 + EVERY_S + late_s)], until_ms=(T0 + 9_000) * 1000)
    assert (rested.has_rested, rested.longest_ms) == (is_silent, late_s * 1000)


def test_a_canary_without_any_change_in_a_range_is_silent(chain_of):
    """Not being there is the longest silence."""
    chain = chain_of(canary_changes(1, 2), since_ms=(T0 + 2 * EVERY_S) * 1000)
    assert (chain.changes, chain.newest_ms, chain.is_silent, chain.longest_ms) == (0, None, True, 0)


@pytest.mark.parametrize(
    ("since_s", "until_s", "changes", "broken"),
    [
        (0, 5 * EVERY_S, 4, 1),
        (3 * EVERY_S, 5 * EVERY_S, 2, 1),
        (3 * EVERY_S + 1, 5 * EVERY_S, 1, 0),
        (0, EVERY_S + 1, 2, 1),
        (0, EVERY_S, 1, 0),
    ],
)
def test_a_range_keeps_the_breaks_that_may_lie_in_it(chain_of, since_s, until_s, changes, broken):
    """As for the image chain: what is missing lies somewhere between its two ends, each to its last second."""
    records = canary_changes(1, 2, 3, 4, 5)
    del records[2]
    chain = chain_of(records, since_ms=(T0 + since_s) * 1000, until_ms=(T0 + until_s) * 1000)
    assert (chain.changes, len(chain.breaks)) == (changes, broken)


def test_the_chain_goes_on_in_the_next_stream(chain_of):
    """A stream that was off for a while leaves a number out."""
    records = [
        change(1, "INSERT", None, at(1), label=LABEL),
        change(0, "MODIFY", at(2), at(3), label=LATER_LABEL, at_s=T0 + 600),
    ]
    assert told(chain_of(records)) == [(CanaryCause.COUNTER, (1, 3), 1, 0)]


@pytest.mark.parametrize(
    ("image", "counter"),
    [
        ({COUNTER: {"N": "12"}}, 12),
        ({COUNTER: {"N": "1.2E+1"}}, 12),
        ({COUNTER: {"N": "-3"}}, -3),
        ({COUNTER: {"N": "1.5"}}, None),
        ({COUNTER: {"N": "1E+400"}}, None),
        ({COUNTER: {"S": "12"}}, None),
        ({}, None),
    ],
)
def test_a_counter_is_a_whole_number(chain_of, tmp_path, image, counter):
    """Anything else under its name counts nothing."""
    chain = chain_of([change(1, "INSERT", None, image)])
    assert (chain.counted, chain.last_counter) == ((0, None) if counter is None else (1, counter))
    (version,) = query.open(str(tmp_path / "archive")).table("orders").item("a").versions
    assert counter_of(version.change) == counter
