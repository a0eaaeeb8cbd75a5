"""What the log says of its evidence, and what lies in the trail beside that: docs/verify.md, *Every object in the trail* and
*Versions*, by names and sizes alone.
"""

from __future__ import annotations

from dataclasses import replace

import pytest

from archiver.format.layout import HOUR_MS, BaselineName, SegmentName, late_name, quarantine_name, stream_name
from archiver.format.log_entry import (
    AcknowledgeEntry,
    BaselineEntry,
    CloseEntry,
    IntervalEntry,
    LogEntry,
    OpenEntry,
    QuarantineEntry,
    SegmentEntry,
)
from archiver.format.seal import seal_name
from query.source import ObjectVersion, StoredObject
from query.verify.inventory import Inventory, version_problems
from query.verify.statements import Statements
from tests.system.tampered import NOW_MS, ORDERS

NOON_MS = NOW_MS - NOW_MS % HOUR_MS
LABEL = "2026-11-01T00:00:00.000"
DIGEST, OTHER = "ab" * 32, "cd" * 32
BESIDE = f"v1/{quarantine_name(DIGEST)}"
BASELINE = BaselineName(NOON_MS)


def segment(hour_ms: int = NOON_MS, number: int = 1, **said) -> SegmentEntry:
    name = SegmentName(hour_ms, f"{number:040d}", f"{number:064x}")
    usual = SegmentEntry(
        path=name.compose(),
        stream_label=LABEL,
        file_sha256=DIGEST,
        bytes=1,
        records=1,
        root=name.root,
        first_sequence=name.first_sequence,
        last_sequence=name.first_sequence,
        first_changed_at_ms=hour_ms,
        last_changed_at_ms=hour_ms,
        writer="test",
    )
    return replace(usual, **said)


def said_by(*entries: LogEntry) -> Statements:
    return Statements.of(enumerate(entries, start=10))


def held(said: Statements, *names: str, size_bytes: int = 1) -> Inventory:
    """The listing of a trail, by names inside it or by whole ones."""
    inventory = Inventory(ORDERS, said)
    inventory.take([stored(name, size_bytes) for name in names])
    return inventory


def stored(name: str, size_bytes: int = 1) -> StoredObject:
    return StoredObject(name if name.startswith("v1/") else ORDERS.prefix + name, size_bytes)


def told(problems) -> list[tuple[str, str]]:
    return [(problem.code, problem.name.removeprefix(ORDERS.prefix)) for problem in problems]


# --- what the log says ---

OF_ONE_OBJECT = {
    "segment": (segment(), segment(file_sha256=OTHER)),
    "baseline": (BaselineEntry(BASELINE.description, DIGEST), BaselineEntry(BASELINE.description, OTHER)),
    "quarantine": (QuarantineEntry(quarantine_name(DIGEST), 1), QuarantineEntry(quarantine_name(DIGEST), 2)),
    "description": (OpenEntry(LABEL, DIGEST), OpenEntry(LABEL, OTHER)),
}


def names_of(said: Statements) -> list[str]:
    return [*said.segments, *said.baselines, *said.quarantined, *said.descriptions]


@pytest.mark.parametrize("kind", OF_ONE_OBJECT)
def test_an_entry_may_be_repeated_word_for_word_and_never_be_another(kind):
    """Two that differ are a contradiction, and what was said first stays."""
    entry, other = OF_ONE_OBJECT[kind]
    once, twice, both = said_by(entry), said_by(entry, entry), said_by(entry, other)
    [name] = names_of(once)
    assert (once.contradictions, twice.contradictions, both.contradictions) == ([], [], [name])
    assert (once.segments, once.baselines, once.quarantined, once.descriptions) == (
        both.segments,
        both.baselines,
        both.quarantined,
        both.descriptions,
    )
    assert once.places == twice.places == both.places == {name: 10}, "where it was first named"


def test_a_description_that_comes_later_is_no_contradiction():
    """A stream is opened before anybody knows its key schema."""
    said = said_by(OpenEntry(LABEL, None), OpenEntry(LABEL, DIGEST), CloseEntry(LABEL))
    assert (said.descriptions, said.contradictions) == ({stream_name(LABEL): DIGEST}, [])
    assert said_by(OpenEntry(LABEL, None)).descriptions == {}


def looked(since: int, until: int) -> AcknowledgeEntry:
    return AcknowledgeEntry(None, since, until, "looked at")


def sealed_at(at_ms: int) -> IntervalEntry:
    return IntervalEntry(0, 0, at_ms, None)


def test_an_acknowledgement_names_the_whole_of_a_stretch():
    """To the millisecond at both ends; two halves are not a whole."""
    said = said_by(looked(100, 200), looked(200, 300), sealed_at(1_000))
    for since, until, expected in (
        (100, 200, True),
        (101, 199, True),
        (99, 200, False),
        (100, 201, False),
        (200, 300, True),
        (150, 250, False),
    ):
        assert said.has_acknowledged(since, until) == expected, (since, until)
    assert not said_by(sealed_at(1_000)).has_acknowledged(100, 200)


def test_an_acknowledgement_counts_up_to_the_moment_when_it_was_signed():
    """Nobody has looked at what was still to come; the seal that holds it says when that was, and no later one."""
    said = said_by(looked(100, 200), sealed_at(150), looked(300, 400), sealed_at(400), sealed_at(1_000))
    assert said.has_acknowledged(100, 150)
    assert not said.has_acknowledged(100, 151)
    assert said.has_acknowledged(300, 400)
    assert not said_by(looked(100, 200)).has_acknowledged(100, 150), "it is in no seal"


def test_objects_that_were_looked_at_are_told_from_stretches():
    of_object = AcknowledgeEntry(quarantine_name(DIGEST), None, None, "a test record")
    said = said_by(of_object, looked(1, 2), sealed_at(9))
    assert said.acknowledged == {quarantine_name(DIGEST)}
    assert said.acknowledgements == [of_object, looked(1, 2)]


# --- what lies there ---


def test_each_object_is_of_one_kind():
    """Sealed if the log names it; parts and markers are named by nothing."""
    entries = segment(), OpenEntry(LABEL, DIGEST), BaselineEntry(BASELINE.description, DIGEST)
    sealed = [segment().path, stream_name(LABEL), BASELINE.description]
    unsealed = [
        segment(number=2).path,
        stream_name("2026-11-02T00:00:00.000"),
        BaselineName(NOON_MS + 1_000).description,
    ]
    part, seal = BASELINE.part(0, DIGEST), seal_name(0)
    quarantined = [quarantine_name(OTHER), BESIDE]
    derived = ["runs/d1/x", "snapshots/y"]
    inventory = held(said_by(*entries), *sealed, *unsealed, part, seal, *quarantined, *derived)
    assert inventory.problems == []
    assert inventory.sealed == {name: stored(name) for name in sealed}
    assert inventory.unsealed == {name: stored(name) for name in unsealed}
    assert inventory.parts == {part: stored(part)}
    assert inventory.quarantined == {name: stored(name) for name in quarantined}
    assert (inventory.seals, inventory.segments, inventory.derived) == ([seal], 2, 2)


@pytest.mark.parametrize(
    "name",
    [
        "segments/x",
        "segments2/x",
        "streams/x.json",
        "late/x",
        f"late/2026-11-23/{quarantine_name(DIGEST)}",
        "quarantine/x.json",
        "baselines/x/baseline.json",
        "seals/latest.json",
        "seals",
        "runs",
        "snapshot/x",
        "notes.txt",
        "v1/quarantine/x.json",
        "v1/notes.txt",
        f"{ORDERS.prefix}{BESIDE}",
    ],
)
def test_what_nothing_in_a_trail_is_called_is_foreign(name):
    """Each, and the rest is sorted all the same."""
    inventory = held(said_by(), name, segment().path)
    assert told(inventory.problems) == [("foreign-object", name.removeprefix(ORDERS.prefix))]
    assert list(inventory.unsealed) == [segment().path]
    assert not inventory.quarantined
    assert inventory.derived == 0


def test_a_late_marker_is_its_name_alone():
    """It says which segment comes late; content in it is nobody's."""
    name = late_name(NOON_MS, SegmentName.parse(segment().path))
    empty, full = held(said_by(), name, size_bytes=0), held(said_by(), name)
    assert empty.announced == full.announced == {segment().path}
    assert (empty.problems, told(full.problems)) == ([], [("unsound", name)])
    assert not empty.unsealed


def test_what_the_log_names_must_be_there():
    """Of each kind, under its full name; a part is missed by its baseline and not by the log."""
    entries = (
        segment(),
        OpenEntry(LABEL, DIGEST),
        BaselineEntry(BASELINE.description, DIGEST),
        QuarantineEntry(quarantine_name(DIGEST), 1),
        QuarantineEntry(BESIDE, 1),
    )
    said = said_by(*entries)
    names = [segment().path, stream_name(LABEL), BASELINE.description, quarantine_name(DIGEST), BESIDE]
    assert list(held(said, *names).missing()) == []
    assert [(one.code, one.name) for one in held(said).missing()] == [
        ("object-missing", stored(name).name) for name in names
    ]
    for gone in names:
        inventory = held(said, *(name for name in names if name != gone))
        assert [one.name for one in inventory.missing()] == [stored(gone).name]


# --- what no seal names ---


def waiting(name: str, *announced: str, sealed_to_ms: int | None, is_fresh: bool, now_ms: int = NOON_MS) -> list[str]:
    markers = [late_name(now_ms, SegmentName.parse(one)) for one in announced]
    inventory = held(said_by(), name)
    inventory.take([stored(marker, 0) for marker in markers])
    assert inventory.problems == []
    found = list(inventory.waiting(now_ms=now_ms, sealed_to_ms=sealed_to_ms, is_fresh=is_fresh))
    assert all(problem.name == stored(name).name for problem in found)
    return [problem.code for problem in found]


def test_a_segment_waits_for_its_seal_in_the_tail_of_the_log():
    """Fresh: 0. Else nobody seals, and that is a finding."""
    for sealed_to_ms in (NOON_MS, None):
        assert waiting(segment().path, sealed_to_ms=sealed_to_ms, is_fresh=True) == []
        assert waiting(segment().path, sealed_to_ms=sealed_to_ms, is_fresh=False) == ["unsealed"]


@pytest.mark.parametrize("is_fresh", [True, False])
def test_an_hour_that_was_sealed_over_26_hours_ago_is_closed(is_fresh):
    """Of the end of the hour: what comes into it after that announced itself as late, or is forged."""
    path = segment(NOON_MS).path
    closed_ms = NOON_MS + 27 * HOUR_MS
    later = {"is_fresh": is_fresh, "now_ms": closed_ms + HOUR_MS}
    assert waiting(path, sealed_to_ms=closed_ms, **later) == ([] if is_fresh else ["unsealed"])
    assert waiting(path, sealed_to_ms=closed_ms + 1, **later) == ["forged-segment"]
    assert waiting(path, path, sealed_to_ms=closed_ms + 1, **later) == ["unsealed"]
    assert waiting(path, segment(number=2).path, sealed_to_ms=closed_ms + 1, **later) == ["forged-segment"]


def test_if_a_seal_is_missing_nothing_is_called_forged():
    """It may have named it: the hole itself is the finding."""
    assert waiting(segment().path, sealed_to_ms=None, is_fresh=True, now_ms=NOON_MS + 10_000 * HOUR_MS) == []


@pytest.mark.parametrize("sealed_to_ms", [None, NOON_MS])
def test_an_hour_that_has_not_begun_has_no_segments(sealed_to_ms):
    """With an hour of grace for clocks; announced or not."""
    for is_fresh in (True, False):
        path = segment(NOON_MS + HOUR_MS).path
        assert waiting(path, sealed_to_ms=sealed_to_ms, is_fresh=is_fresh) == ([] if is_fresh else ["unsealed"])
        options = {"sealed_to_ms": sealed_to_ms, "is_fresh": is_fresh, "now_ms": NOON_MS - 1}
        assert waiting(path, **options) == ["forged-segment"]
        assert waiting(path, path, **options) == ["forged-segment"]


@pytest.mark.parametrize("name", [stream_name(LABEL), BASELINE.description])
def test_descriptions_wait_as_long_as_the_log_is_fresh(name):
    """They are of no hour."""
    long_after = NOON_MS + 10_000 * HOUR_MS
    for now_ms in (0, long_after):
        assert waiting(name, sealed_to_ms=long_after, is_fresh=True, now_ms=now_ms) == []
        assert waiting(name, sealed_to_ms=long_after, is_fresh=False, now_ms=now_ms) == ["unsealed"]


def test_all_that_waits_is_judged():
    """One that may wait hides no other."""
    names = [segment(NOON_MS - hours * HOUR_MS, hours).path for hours in (30, 0, 40, 1, 50)]
    found = held(said_by(), *names).waiting(now_ms=NOON_MS, sealed_to_ms=NOON_MS, is_fresh=True)
    assert told(found) == [("forged-segment", names[place]) for place in (0, 2, 4)]


def test_a_record_in_quarantine_is_a_finding_until_somebody_named_it():
    """That the log names it is not enough; nor that of another trail's, which has the same digest, is."""
    names = [quarantine_name(DIGEST), BESIDE, quarantine_name(OTHER)]
    entries = [QuarantineEntry(name, 1) for name in names]
    assert told(held(said_by(*entries), *names).unacknowledged()) == [("quarantined", name) for name in names]
    for named in names:
        said = said_by(*entries, AcknowledgeEntry(named, None, None, "a test"))
        left = [name for name in names if name != named]
        assert told(held(said, *names).unacknowledged()) == [("quarantined", name) for name in left]


# --- versions ---

A, B, C = (ORDERS.prefix + name for name in ("late/a", "segments/b", "segments/c"))


def of_versions(*versions: tuple[str, str, bool], missing: str = "") -> list[tuple[str, str]]:
    found = version_problems(iter([ObjectVersion(*one) for one in versions]), ORDERS, lambda name: name == missing)
    return [(problem.code, problem.name) for problem in found]


def test_evidence_has_one_version():
    """A second one is told once for each object, wherever it stands in the listing."""
    assert of_versions((A, "1", False), (B, "1", False), (C, "1", False)) == []
    assert of_versions() == []
    for name in (A, B, C):
        listed = [(one, version, False) for one in (A, B, C) for version in ("1", *("23" if one == name else ""))]
        assert of_versions(*listed) == [("second-version", name)]
    assert of_versions((A, "1", False), (A, "2", True), (A, "3", False)) == [("second-version", A)]


def test_a_bare_delete_marker_hides_an_object():
    """Also where nothing is left behind it; and nothing is hidden where a second version is worse."""
    assert of_versions((A, "1", False), (A, "2", True), (B, "1", False)) == [("object-hidden", A)]
    assert of_versions((A, "2", True)) == [("object-hidden", A)]
    assert of_versions((A, "1", False), (A, "2", True), (A, "3", True)) == [("object-hidden", A)]


def test_a_marker_says_what_it_hides():
    """A reader must know whether there is something to have back, and whether the log misses it."""

    def detail(*versions: tuple[str, str, bool], missing: str = "") -> str:
        found = version_problems(iter([ObjectVersion(*one) for one in versions]), ORDERS, lambda name: name == missing)
        [problem] = found
        return problem.detail

    assert detail((A, "1", False), (A, "2", True)) == "a delete marker hides it"
    assert detail((A, "2", True)) == "a delete marker stands where nothing is left"
    assert detail((A, "1", False), (A, "2", True), missing=A) == "a delete marker hides it, and the log names it"


def test_versions_are_counted_and_the_first_five_named():
    """Whoever can write can write a million."""
    [problem] = version_problems(iter(ObjectVersion(A, f"v{n}", False) for n in range(1, 8)), ORDERS, lambda _: False)
    assert problem.detail == "7 versions of it: v1, v2, v3, v4, v5"


def test_a_version_that_is_listed_twice_is_one():
    """Some servers begin a page with the end of the one before."""
    assert of_versions((A, "1", False), (A, "1", False), (B, "1", False)) == []


def test_derived_data_has_any_number_of_versions_and_hides_no_finding():
    """Runs are made anew; what follows them in the listing is evidence again."""
    run, last = ORDERS.prefix + "runs/x", ORDERS.prefix + "seals/0"
    twice = [(run, "1", False), (run, "2", False), (run, "3", True)]
    assert of_versions(*twice) == []
    assert of_versions(*twice, (last, "1", False), (last, "2", False)) == [("second-version", last)]
    elsewhere = ORDERS.prefix + "segments/runs/x"
    assert of_versions((elsewhere, "1", False), (elsewhere, "2", False)) == [("second-version", elsewhere)]
