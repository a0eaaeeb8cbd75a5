"""The whole of a verification, in this process: what is looked at in which order, what is counted, and what the report says
was not looked at (docs/verify.md, *What is checked* and *What is not checked*).
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace

import pytest

from archiver.format.log_entry import AcknowledgeEntry, SegmentEntry
from archiver.format.seal import Seal
from archiver.signer import public_key_text
from query.archive import Archive
from query.engine import Engine
from query.errors import EngineFailure, UnreadableArchive
from query.source import ObjectVersion, StoredObject
from query.verify.verification import Level, Verification
from query.verify.verifier import verify
from tests.simulator.memory_store import MemoryStore
from tests.system.tampered import (
    CUSTOMERS,
    FIRST_KEY,
    HOUR_MS,
    MINUTE_MS,
    NOW_MS,
    ORDERS,
    SECOND_KEY,
    MemorySource,
    Reviewer,
    Sealed,
    Shop,
    label_of,
    reference,
)
from tests.system.test_tamper import (
    append_forged,
    conflict,
    contradict,
    forge_segment,
    lose_a_change,
    new_quarantine,
    orphan_part,
)

BESIDE = "v1/quarantine/"
AFTER = ": nothing was looked at after that"


@pytest.fixture(scope="module")
def sealed() -> Sealed:
    """The reference archive, made once; whoever spoils it takes a copy."""
    return reference()


@pytest.fixture
def reviewer(tmp_path) -> Reviewer:
    return Reviewer(tmp_path, level=Level.QUICK)


def told(found: Verification) -> list[tuple[str, str]]:
    return [(problem.code, problem.name) for problem in found.problems]


def skipped(found: Verification) -> dict[str, str]:
    assert len(dict(found.not_checked)) == len(found.not_checked)
    return dict(found.not_checked)


# --- what is counted ---


def test_everything_that_was_looked_at_is_counted(sealed, reviewer):
    """A report must say on how much its verdict rests."""
    found = reviewer.verify(sealed)
    assert found.problems == []
    entries = [entry for position in range(6) for entry in sealed.seal(position).entries]
    segments = [entry for entry in entries if isinstance(entry, SegmentEntry)]
    assert (found.seals, found.entries, found.segments) == (6, len(entries), len(segments))
    assert found.records == sum(entry.records for entry in segments)
    assert (found.baselines, found.quarantined, found.unsealed, found.rows_checked) == (1, 2, 0, 0)
    read = [name for name in sealed.objects if name.startswith((ORDERS.prefix, BESIDE))]
    read = [name for name in read if "/seals/" not in name and "/late/" not in name]
    assert found.files_checked == len(read)
    assert found.bytes_checked == sum(len(sealed.objects[name]) for name in read)
    assert found.acknowledgements == [entry for entry in entries if isinstance(entry, AcknowledgeEntry)]
    assert found.trail == ORDERS
    newest = sealed.seal(-1)
    assert found.head == newest.checkpoint
    assert (found.sealed_to_ms, found.sealed_at_ms) == (newest.interval.to_ms, newest.interval.sealed_at_ms)
    assert [since for since, _ in found.covered] == sorted(since for since, _ in found.covered)
    assert found.covered[-1][1] is None


def test_rows_are_counted_where_they_are_looked_at(sealed, reviewer):
    """Nine records and four items of a baseline."""
    found = replace(reviewer, level=Level.FULL).verify(sealed, asks_rows=False)
    assert found.rows_checked == found.records + 4 == 13


def test_what_is_not_sealed_yet_is_counted_and_covered(sealed, reviewer):
    """A segment of another, newer label: its rows say what it covers."""
    more = sealed.copy()
    store = MemoryStore()
    shop = Shop(store, ORDERS)
    label = label_of(NOW_MS - HOUR_MS)
    shop.archive([shop.change("new", NOW_MS - HOUR_MS // 2, label)], NOW_MS)
    more.objects |= {name: content for name, content in store.objects.items() if "/segments/" in name}
    found = reviewer.verify(more)
    assert (found.unsealed, found.segments, found.records, found.rows_checked) == (1, 8, 9, 1)
    assert found.covered[-1] == (NOW_MS - HOUR_MS // 2, None)
    assert [code for code, _ in told(found)] == ["gap"], "between the two labels"


def test_progress_is_told_of_every_file(sealed, reviewer):
    """Once each, and how many there will be."""
    spoilt = sealed.copy()
    forge_segment(spoilt, -3)
    orphan_part(spoilt)
    expected, done = [], itertools.count()

    def progress(files: int) -> Callable[[], object]:
        expected.append(files)
        return lambda: next(done)

    source = reviewer.source(spoilt)
    found = verify(source, ORDERS, reviewer.demand(spoilt), open_table=pytest.fail, progress=progress, workers=1)
    assert found.exit_code == 0
    assert next(done) == found.files_checked
    assert expected == [found.files_checked + 1], "the orphaned part is listed, and not read"


def test_files_that_are_only_listed_are_not_promised(sealed, reviewer):
    """With a checkpoint, what it covers."""
    expected = []
    demand = replace(reviewer.demand(sealed), checks_from=sealed.seal(2).after.size)

    def progress(files: int) -> Callable[[], object]:
        expected.append(files)
        return lambda: None

    found = verify(reviewer.source(sealed), ORDERS, demand, open_table=pytest.fail, progress=progress, workers=1)
    [promised] = expected
    assert promised - found.files_checked == 1, "the part of a baseline that the checkpoint covers"


# --- what is not checked ---


def test_a_report_says_what_nobody_looked_at(sealed, reviewer):
    """Each thing where it applies, and only there."""
    assert skipped(reviewer.verify(sealed)).keys() == {"rollback", "versions"}
    pinned = reviewer.with_checkpoint(sealed, -1)
    assert skipped(pinned.verify(sealed)).keys() == {"versions"}
    assert skipped(replace(pinned, max_age_ms=None).verify(sealed)).keys() == {"versions", "freshness"}
    ranged = replace(pinned, since_ms=sealed.now_ms - HOUR_MS)
    assert skipped(ranged.verify(sealed)).keys() == {"versions", "other hours"}
    derived = sealed.copy()
    derived.objects[f"{ORDERS.prefix}runs/d1/x"] = b"x"
    derived.objects[f"{ORDERS.prefix}snapshots/y"] = b"x"
    found = skipped(pinned.verify(derived))
    assert found.keys() == {"versions", "derived data"}
    assert found["derived data"].startswith("2 objects")


def test_older_objects_are_counted_where_they_are_not_read(sealed, reviewer):
    """Those of which the first word stands below the head that was kept."""
    pinned = reviewer.with_checkpoint(sealed, 0)
    size = sealed.seal(0).after.size
    found = replace(pinned, checks_from=size).verify(sealed)
    assert found.exit_code == 0
    assert skipped(found)["older objects"].startswith("1 sealed before")
    assert "older objects" not in skipped(replace(pinned, checks_from=1).verify(sealed)), "0 is the opening of a stream"


# --- the order of things ---


def test_findings_of_the_log_come_before_those_of_objects(sealed, reviewer):
    """A reader begins with the worst: that the log itself does not hold."""
    spoilt = sealed.copy()
    append_forged(spoilt, FIRST_KEY)
    gone = spoilt.segments[0]
    del spoilt.objects[gone]
    assert told(reviewer.verify(spoilt)) == [("seal-signature", spoilt.seals[-1]), ("object-missing", gone)]


def test_two_entries_that_differ_are_told_by_the_whole_name(sealed, reviewer):
    """Also of an object that stands beside all trails."""
    spoilt = sealed.copy()
    contradict(spoilt)
    found = reviewer.verify(spoilt)
    assert ("entry-contradicts", spoilt.segments[0]) in told(found)
    assert "two entries differ" in [problem.detail for problem in found.problems]
    spoilt = sealed.copy()
    [entry] = [e for e in sealed.seal(1).entries if e.type == "quarantine" and e.path.startswith("v1/")]
    append_forged(spoilt, SECOND_KEY, replace(entry, bytes=entry.bytes + 1))
    assert told(reviewer.verify(spoilt)) == [("entry-contradicts", entry.path)]


def test_the_log_is_read_once_more_if_a_seal_came_meanwhile(sealed, reviewer):
    """What was wrong in the first reading and not in the last is no finding; and nothing is told twice."""
    spoilt = sealed.copy()
    spoilt.objects[spoilt.seals[1]] = b"x"

    def read(answers: int) -> Verification:
        calls = itertools.count()

        class Listing(MemorySource):
            def objects(self, prefix: str, **options) -> list[StoredObject]:
                listed = super().objects(prefix, **options)
                return listed[:-1] if prefix.endswith("/seals/") and next(calls) < answers else listed

        return reviewer.verify(spoilt, Listing(spoilt.objects, reviewer.folder))

    whole = reviewer.verify(spoilt)
    for answers in range(4):
        assert told(read(answers)) == told(whole), answers
    torn = told(read(4))
    assert ("not-checkable", f"{ORDERS.prefix}seals/") in torn
    assert ("seal-malformed", spoilt.seals[1]) in torn


def test_a_foreign_name_among_the_seals_is_no_other_listing(sealed, reviewer):
    """It was left out of both; and it is told by the log and by the listing."""
    spoilt = sealed.copy()
    spoilt.objects[f"{ORDERS.prefix}seals/latest.json"] = b"x"
    assert set(told(reviewer.verify(spoilt))) == {("foreign-object", f"{ORDERS.prefix}seals/latest.json")}


# --- time ---


def test_a_copy_is_as_old_as_it_is(sealed, reviewer):
    """What waits for a seal may do so as long as the newest one is fresh."""
    spoilt = sealed.copy()
    name = forge_segment(spoilt, -3)
    at_limit = replace(reviewer, later_ms=2 * HOUR_MS - 5 * MINUTE_MS)
    assert told(at_limit.verify(spoilt)) == []
    late = replace(reviewer, later_ms=2 * HOUR_MS - 5 * MINUTE_MS + 1)
    assert told(late.verify(spoilt)) == [("stale", ORDERS.prefix), ("unsealed", name)]
    assert told(replace(late, max_age_ms=None).verify(spoilt)) == []


def test_without_seals_nothing_waits(sealed, reviewer):
    """Everything that lies there is evidence that no seal names; and nothing of it is called forged."""
    spoilt = sealed.copy()
    for name in spoilt.seals:
        del spoilt.objects[name]
    found = reviewer.verify(spoilt)
    assert (found.head, found.sealed_to_ms, found.sealed_at_ms) == (None, None, None)
    assert found.exit_code == 3
    waiting = [*spoilt.segments, *spoilt.named("streams/"), spoilt.named("baselines/")[0]]
    assert {name for code, name in told(found) if code == "unsealed"} == set(waiting)
    assert found.unsealed == len(waiting)


def test_behind_a_hole_nothing_is_called_forged(sealed, reviewer):
    """The seal that is missing may have named it; with a whole log it is a forgery."""
    spoilt = sealed.copy()
    name = forge_segment(spoilt, -60)
    assert ("forged-segment", name) in told(reviewer.verify(spoilt))
    gone = spoilt.seals[2]
    del spoilt.objects[gone]
    assert "forged-segment" not in reviewer.verify(spoilt).counts


# --- what is archived ---


def test_a_trail_without_segments_has_archived_nothing(sealed, reviewer):
    spoilt = sealed.copy()
    for name in spoilt.segments:
        del spoilt.objects[name]
    found = reviewer.verify(spoilt)
    assert found.counts["no-segments"] == 1
    assert ("no-segments", ORDERS.prefix) in told(found)
    assert found.segments == 0
    assert "gaps" in skipped(found)


def test_a_record_of_no_trail_is_every_trails_finding(sealed, reviewer):
    """It may have been one of this table's."""
    spoilt = sealed.copy()
    new_quarantine(spoilt, "v1/")
    found = reviewer.verify(spoilt)
    assert [code for code, _ in told(found)] == ["quarantined"]
    assert found.quarantined == 3


@pytest.mark.parametrize("level", Level)
@pytest.mark.parametrize(
    ("spoil", "code"),
    [
        (lambda s: s.objects.update({s.segments[0]: s.objects[s.segments[0]][:-1]}), "digest-mismatch"),
        (lambda s: s.objects.pop(s.segments[0]), "object-missing"),
        (lambda s: s.objects.update({f"{ORDERS.prefix}notes.txt": b""}), "foreign-object"),
        (lambda s: s.objects.update({next(n for n in s.named("late/")): b"x"}), "unsound"),
    ],
    ids=["digest", "missing", "foreign", "unsound"],
)
def test_what_rows_say_together_is_asked_of_sound_files_only(sealed, reviewer, level, spoil, code):
    """Else a forger chooses what the engine reads. The report says what was not asked."""
    spoilt = sealed.copy()
    spoil(spoilt)
    source = reviewer.source(spoilt)
    demand = replace(reviewer, level=level).demand(spoilt)
    found = verify(source, ORDERS, demand, open_table=lambda: pytest.fail("nothing may be asked"), workers=1)
    assert [one for one, _ in told(found)] == [code]
    what = "gaps, conflicts and image chain" if level is Level.FULL else "gaps"
    assert what in skipped(found)
    assert found.covered == ()


def test_what_rows_say_together_is_not_asked_of_files_that_could_not_be_read(sealed, reviewer):
    source = reviewer.source(sealed)
    source.denied = {sealed.segments[0]}
    found = reviewer.verify(sealed, source)
    assert told(found) == [("unreadable", sealed.segments[0])]
    assert "gaps" in skipped(found)


def test_quick_asks_no_rows(sealed, reviewer):
    """The table is not even opened."""
    demand = reviewer.demand(sealed)
    found = verify(reviewer.source(sealed), ORDERS, demand, open_table=lambda: pytest.fail("not asked"), workers=1)
    assert found.exit_code == 0


@pytest.mark.parametrize(
    ("error", "why"),
    [
        (EngineFailure("the engine failed", why="no memory", hint=""), "the engine failed: no memory"),
        (ZeroDivisionError("no reason"), "ZeroDivisionError: no reason"),
    ],
)
def test_an_engine_that_fails_leaves_the_rows_unchecked(sealed, reviewer, error, why):
    """It says what was not seen, and why. Gaps, which need no engine, are told all the same."""

    def fail():
        raise error

    demand = replace(reviewer, level=Level.FULL).demand(sealed)
    found = verify(reviewer.source(sealed), ORDERS, demand, open_table=fail, workers=1)
    assert told(found) == [("not-checkable", ORDERS.prefix)]
    assert found.problems[0].detail == f"gaps, conflicts and image chain: {why}"
    assert found.covered


def test_a_change_told_in_two_ways_is_told_with_its_item_and_the_object(sealed, reviewer):
    """Where to look: the item, the sequence number, what differs, and a segment."""
    spoilt = sealed.copy()
    conflict(spoilt)
    found = replace(reviewer, level=Level.FULL).verify(spoilt)
    [problem] = [problem for problem in found.problems if problem.code == "identity-conflict"]
    assert problem.name == sealed.segments[-2], "the first of the two"
    item, number = '{"pk":{"S":"b"},"sk":{"N":"1"}}', f"{10**24 + 8:040d}"
    assert problem.detail == f"new_image, old_image, op of {item} at {number} told in two ways"


def test_a_change_that_is_missing_is_told_with_its_item_and_the_time(sealed, reviewer):
    """Until somebody acknowledged the whole of the time between the changes on both sides."""
    spoilt = sealed.copy()
    lose_a_change(spoilt)
    full = replace(reviewer, level=Level.FULL)
    [problem] = full.verify(spoilt).problems
    assert (problem.code, problem.name) == ("image-break", ORDERS.prefix)
    told_of = 'MODIFY of {"pk":{"S":"new"},"sk":{"N":"1"}} is missing'
    assert problem.detail == f"{told_of} between 2026-11-23T11:00:00Z and 2026-11-23T11:02:00Z"
    start_ms = sealed.now_ms - HOUR_MS
    for until_ms, expected in ((start_ms + 2 * MINUTE_MS, 0), (start_ms + 2 * MINUTE_MS - 1, 1)):
        looked = spoilt.copy()
        append_forged(looked, SECOND_KEY, AcknowledgeEntry(None, start_ms, until_ms, "lost"), at_ms=sealed.now_ms)
        assert len(full.verify(looked).problems) == expected


def lose_a_change_at_once(sealed: Sealed, *items: str) -> int:
    """Of each item the second of three changes, all of one instant, which is given."""
    store = MemoryStore()
    store.objects = sealed.objects
    shop = Shop(store, ORDERS)
    shop._number, at_ms = 500, sealed.now_ms - HOUR_MS
    label = label_of(sealed.now_ms - sealed.now_ms % HOUR_MS - 60 * HOUR_MS)
    for item in items:
        first, _, third = (shop.change(item, at_ms, label) for _ in range(3))
        shop.archive([first], sealed.now_ms)
        shop.archive([third], sealed.now_ms)
    shop.seal(SECOND_KEY, sealed.now_ms)
    return at_ms


def test_a_break_at_one_instant_is_acknowledged_by_that_instant(sealed, reviewer):
    """Which is a millisecond: up to it, or from after it on, is not it."""
    spoilt = sealed.copy()
    at_ms = lose_a_change_at_once(spoilt, "new")
    full = replace(reviewer, level=Level.FULL)
    for since_ms, until_ms, expected in (
        (at_ms, at_ms + 1, []),
        (at_ms - 1_000, at_ms, ["image-break"]),
        (at_ms + 1, at_ms + 1_000, ["image-break"]),
    ):
        looked = spoilt.copy()
        append_forged(looked, SECOND_KEY, AcknowledgeEntry(None, since_ms, until_ms, "lost"), at_ms=sealed.now_ms)
        assert [problem.code for problem in full.verify(looked).problems] == expected, (since_ms, until_ms)


def test_breaks_that_are_not_listed_are_counted(sealed, reviewer):
    """Of very many, a table gives the first; that there are more is told, and none is told where all are listed."""
    spoilt = sealed.copy()
    lose_a_change_at_once(spoilt, "one", "two", "three")
    source = reviewer.source(spoilt)
    table = Archive(source, lambda: Engine(threads=1), now_ms=lambda: spoilt.now_ms).table("orders")

    class Short:
        def image_chain(self, **options):
            return table.image_chain(**options, most=1)

    demand = replace(reviewer, level=Level.FULL).demand(spoilt)
    found = verify(source, ORDERS, demand, open_table=Short, workers=1)
    assert found.counts == {"image-break": 1}
    assert skipped(found)["further breaks"].startswith("2 more ")
    whole = verify(source, ORDERS, demand, open_table=lambda: table, workers=1)
    assert whole.counts == {"image-break": 3}
    assert "further breaks" not in skipped(whole)


def test_rows_are_asked_of_the_range_only(sealed, reviewer):
    """A conflict in another hour is another verification's."""
    spoilt = sealed.copy()
    lose_a_change(spoilt)
    full = replace(reviewer, level=Level.FULL, max_age_ms=None)
    at_ms = sealed.now_ms - HOUR_MS
    for since_ms, until_ms, expected in (
        (at_ms - MINUTE_MS, at_ms + 3 * MINUTE_MS, ["image-break"]),
        (at_ms - HOUR_MS, at_ms, []),
        (at_ms + 3 * MINUTE_MS, None, []),
    ):
        found = replace(full, since_ms=since_ms, until_ms=until_ms).verify(spoilt)
        assert [problem.code for problem in found.problems] == expected, (since_ms, until_ms)


def test_a_range_is_what_gaps_are_asked_of(sealed, reviewer):
    """The gap of the archive is acknowledged; before the trail began nothing can be."""
    begun_ms = sealed.now_ms - 90 * HOUR_MS
    assert told(replace(reviewer, since_ms=begun_ms).verify(sealed)) == []
    assert told(replace(reviewer, since_ms=begun_ms - 1).verify(sealed)) == [("outside-coverage", ORDERS.prefix)]
    assert told(replace(reviewer, until_ms=begun_ms + 1).verify(sealed)) == []
    assert told(replace(reviewer, until_ms=begun_ms).verify(sealed)) == [("outside-coverage", ORDERS.prefix)]


def young(*, is_archived: bool) -> Sealed:
    """A young trail: one seal, made before anything was archived, and perhaps a segment that waits for its own."""
    store = MemoryStore()
    shop, label = Shop(store, ORDERS), label_of(NOW_MS - 3 * HOUR_MS)
    shop.archive([shop.change("a", NOW_MS - HOUR_MS, label)], NOW_MS)
    later = {name: content for name, content in store.objects.items() if "/segments/" in name}
    for name in later:
        del store.objects[name]
    shop.seal(FIRST_KEY, NOW_MS - HOUR_MS)
    return Sealed({**store.objects, **(later if is_archived else {})}, NOW_MS, (FIRST_KEY,))


def test_a_range_before_everything_that_was_archived_is_no_success(tmp_path):
    reviewer = Reviewer(tmp_path, level=Level.QUICK)
    assert told(reviewer.verify(young(is_archived=True))) == []
    early = replace(reviewer, until_ms=1_000)
    assert told(early.verify(young(is_archived=True))) == [("outside-coverage", ORDERS.prefix)]


def test_that_nothing_is_archived_is_one_finding(tmp_path):
    """Of nothing there are no gaps."""
    found = Reviewer(tmp_path, level=Level.QUICK).verify(young(is_archived=False))
    assert told(found) == [("no-segments", ORDERS.prefix)]
    assert "gaps" in skipped(found)


# --- versions ---


def with_versions(reviewer: Reviewer, sealed: Sealed, *more: tuple[str, str, bool]) -> MemorySource:
    source = reviewer.source(sealed)
    ones = [(name, "1", False) for name in sealed.objects]
    source.versions_of = [ObjectVersion(*one) for one in sorted((*ones, *more))]
    return source


def test_versions_are_listed_in_the_trail_and_beside_all_trails(sealed, reviewer):
    """Those of another trail are that trail's."""
    beside = next(name for name in sealed.objects if name.startswith(BESIDE))
    other = next(name for name in sealed.objects if name.startswith(CUSTOMERS.prefix))
    for name in (sealed.segments[0], sealed.seals[0], beside, other):
        found = reviewer.verify(sealed, with_versions(reviewer, sealed, (name, "2", False)))
        assert told(found) == ([] if name == other else [("second-version", name)])
        assert "versions" not in skipped(found)


def test_a_hidden_object_says_whether_the_log_misses_it(sealed, reviewer):
    """Its content is there behind the marker."""
    name = sealed.segments[0]
    hidden = sealed.copy()
    source = with_versions(reviewer, sealed, (name, "2", True))
    del hidden.objects[name]
    source.objects_by_name = hidden.objects
    found = reviewer.verify(hidden, source)
    assert told(found) == [("object-missing", name), ("object-hidden", name)]
    assert found.problems[1].detail.endswith("and the log names it")
    there = reviewer.verify(sealed, with_versions(reviewer, sealed, (name, "2", True)))
    assert told(there) == [("object-hidden", name)]
    assert "log" not in there.problems[0].detail
    set_aside = sealed.copy()
    new_quarantine(set_aside, ORDERS.prefix)
    name = next(one for one in set_aside.named("quarantine/") if one not in sealed.objects)
    found = reviewer.verify(set_aside, with_versions(reviewer, set_aside, (name, "2", True)))
    assert told(found) == [("quarantined", name), ("object-hidden", name)]
    assert "log" not in found.problems[1].detail, "whatever else was found of it"


# --- what goes wrong on the way ---


class Failing(MemorySource):
    """A listing fails, of names that begin like this."""

    at, failure = "", UnreadableArchive("could not list it", why="AccessDenied", hint="")

    def objects(self, prefix: str, **options) -> list[StoredObject]:
        if prefix == self.at:
            raise self.failure
        return super().objects(prefix, **options)

    def versions(self, prefix: str) -> Iterator[ObjectVersion] | None:
        if self.at == "versions":
            raise self.failure
        return super().versions(prefix)


@pytest.mark.parametrize(
    ("failure", "code", "why"),
    [
        (Failing.failure, "unreadable", f"could not list it: AccessDenied{AFTER}"),
        (OSError("out of room"), "unreadable", f"OSError: out of room{AFTER}"),
        (ZeroDivisionError("no reason"), "not-checkable", "the verifier failed: ZeroDivisionError: no reason"),
    ],
)
def test_whatever_goes_wrong_is_a_finding_beside_those_before_it(sealed, reviewer, failure, code, why):
    """And never good news: it says what failed, and that nothing was looked at after that."""
    spoilt = sealed.copy()
    append_forged(spoilt, FIRST_KEY)
    source = Failing(spoilt.objects, reviewer.folder)
    source.at, source.failure = BESIDE, failure
    found = reviewer.verify(spoilt, source)
    assert told(found) == [("seal-signature", spoilt.seals[-1]), (code, ORDERS.prefix)]
    assert found.problems[-1].detail == why
    assert found.seals == 7


def test_versions_that_may_not_be_listed_stop_nothing_else(sealed, reviewer):
    """Files are read all the same."""
    source = Failing(sealed.objects, reviewer.folder)
    source.at = "versions"
    found = reviewer.verify(sealed, source)
    assert told(found) == [("unreadable", ORDERS.prefix)]
    assert found.problems[0].detail == "could not list it: AccessDenied"
    assert found.files_checked == reviewer.verify(sealed).files_checked


# --- the head that was kept ---


def test_a_checkpoint_is_asked_for_with_the_keys_that_led_on(sealed, reviewer):
    """Pinned years ago: the key of today may have signed it."""
    for position in range(6):
        assert told(reviewer.with_checkpoint(sealed, position).verify(sealed)) == []
    rolled = sealed.copy()
    rolled.objects = dict(sealed.stages[4])
    assert told(reviewer.with_checkpoint(sealed, -1).verify(rolled)) == [("rolled-back", ORDERS.prefix)]


def test_a_hand_over_to_what_is_no_key_is_a_finding_of_the_log(sealed, reviewer):
    spoilt = sealed.copy()
    rotation = next(e for e in sealed.seal(3).entries if e.type == "key-rotation")
    append_forged(spoilt, SECOND_KEY, replace(rotation, public_key="AAAA"))
    assert rotation.public_key == public_key_text(SECOND_KEY.public_key)
    assert told(reviewer.verify(spoilt)) == [("log-inconsistent", spoilt.seals[-1])]
    assert Seal.parse(spoilt.objects[spoilt.seals[-1]]).interval.to_ms == sealed.now_ms
