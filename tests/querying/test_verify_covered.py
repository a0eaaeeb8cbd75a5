"""What a trail covers by its log, and which gaps are findings: docs/verify.md, *What is archived*."""

from __future__ import annotations

from dataclasses import replace

import pytest

from archiver.format.description import BaselineDescription, StreamDescription
from archiver.format.layout import HOUR_MS, BaselineName, stream_name
from archiver.format.log_entry import AcknowledgeEntry, BaselineEntry, OpenEntry
from query.coverage import Coverage, LabelSpan, Stretch
from query.verify.covered import coverage_by_log, gap_problems
from query.verify.inventory import Inventory
from tests.querying.test_verify_inventory import DIGEST, held, said_by, sealed_at, segment
from tests.system.tampered import ORDERS, MemorySource

T0 = 1_790_000_000_000 - 1_790_000_000_000 % HOUR_MS
ONE, TWO = "2026-09-21T00:00:00.000", "2026-09-25T00:00:00.000"
KEYS = (("pk", "S"),)


def described(label: str, table_id: str | None) -> tuple[str, bytes]:
    arn = f"arn:aws:dynamodb:{ORDERS.region}:{ORDERS.account}:table/{ORDERS.table_name}/stream/{label}"
    return stream_name(label), StreamDescription(arn, KEYS, table_id, None).compose()


def baseline(label: str, from_ms: int, to_ms: int) -> tuple[str, bytes]:
    description = BaselineDescription(True, from_ms, to_ms, 0, KEYS, "test", (), label, None)
    return BaselineName(from_ms).description, description.compose()


def of_label(label: str, *, first_ms: int, number: int = 1):
    """A segment of one change."""
    return segment(
        first_ms - first_ms % HOUR_MS,
        number,
        stream_label=label,
        first_changed_at_ms=first_ms,
        last_changed_at_ms=first_ms,
    )


def covered(tmp_path, *entries, unsealed=(), files=()) -> Coverage:
    contents = {ORDERS.prefix + name: content for name, content in files}
    inventory: Inventory = held(said_by(*entries), *(name for name, _ in files))
    return coverage_by_log(MemorySource(contents, tmp_path), inventory, unsealed)


# --- what is covered ---


def test_a_label_covers_from_its_first_change_to_its_last(tmp_path):
    """Sealed ones by the log alone, in whatever order; the newest label goes on."""
    first, middle, last = (of_label(ONE, first_ms=T0 + n * 7_000_000, number=n + 1) for n in range(3))
    other = of_label(TWO, first_ms=T0 + 90_000_000, number=9)
    for entries in ((first, middle, last, other), (last, other, first, middle), (middle, first, other, last)):
        coverage = covered(tmp_path, *entries)
        assert coverage.stretches == (
            Stretch(ONE, T0, T0 + 14_000_000),
            Stretch(TWO, T0 + 90_000_000, None),
        )
        assert coverage.newest_change_ms == T0 + 90_000_000


def test_a_sealed_segment_is_not_opened(tmp_path):
    """The log says of it what is needed, from its first change to its last; so a daily verification costs a day."""
    long = replace(of_label(ONE, first_ms=T0 + 1_000), last_changed_at_ms=T0 + 9_000)
    later = of_label(TWO, first_ms=T0 + 90_000_000, number=2)
    source = MemorySource({}, tmp_path)
    coverage = coverage_by_log(source, held(said_by(long, later), long.path, later.path), ())
    assert coverage.stretches == (Stretch(ONE, T0 + 1_000, T0 + 9_000), Stretch(TWO, T0 + 90_000_000, None))


def test_what_is_not_sealed_yet_is_covered_too(tmp_path):
    """By its rows, which were looked at: earlier or later than what is sealed, or of another label."""
    spans = [
        LabelSpan(ONE, T0 - 5, T0 - 3, 7),
        LabelSpan(ONE, T0 + 20_000_000, T0 + 20_000_001, 2),
        LabelSpan(TWO, 1, 2),
    ]
    coverage = covered(tmp_path, of_label(ONE, first_ms=T0), unsealed=spans[:2])
    assert coverage == Coverage((Stretch(ONE, T0 - 5, None),), (), T0 + 20_000_001)
    coverage = covered(tmp_path, of_label(ONE, first_ms=T0), unsealed=spans)
    assert coverage.stretches == (Stretch(ONE, T0 - 5, T0 + 20_000_001), Stretch(TWO, 1, None))


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_baseline_widens_its_label(tmp_path, is_sealed):
    """The stream was on while the table was read."""
    name, content = baseline(ONE, T0 - 5_000, T0 + 9_000_000)
    entries = [BaselineEntry(name, DIGEST)] if is_sealed else []
    coverage = covered(
        tmp_path, of_label(ONE, first_ms=T0), of_label(TWO, first_ms=T0 + 90_000_000, number=2), *entries,
        files=[(name, content)],
    )  # fmt: skip
    assert coverage.stretches[0] == Stretch(ONE, T0 - 5_000, T0 + 9_000_000)


@pytest.mark.parametrize("is_sealed", [True, False])
def test_a_table_that_was_made_again_ends_the_one_before(tmp_path, is_sealed):
    """The descriptions of streams say so, by the table's id."""
    files = [described(ONE, "t1"), described(TWO, "t2")]
    entries = [OpenEntry(ONE, DIGEST), OpenEntry(TWO, DIGEST)] if is_sealed else []
    coverage = covered(
        tmp_path, of_label(ONE, first_ms=T0), of_label(TWO, first_ms=T0 + 90_000_000, number=2), *entries,
        files=[*files, baseline(ONE, T0, T0)],
    )  # fmt: skip
    assert [end.stream_label for end in coverage.ends] == [TWO]


# --- which gaps are findings ---

GAP = Coverage((Stretch(ONE, 1_000, 2_000), Stretch(TWO, 5_000, None)))
TWO_GAPS = Coverage(
    (Stretch(ONE, 1_000, 2_000), Stretch(TWO, 5_000, 6_000), Stretch("2026-09-26T00:00:00.000", 8_000, None))
)


def gaps(coverage: Coverage, *entries, since_ms=None, until_ms=None, now_ms=10_000) -> list[tuple[str, str]]:
    found = list(gap_problems(coverage, ORDERS, said_by(*entries), since_ms=since_ms, until_ms=until_ms, now_ms=now_ms))
    assert {problem.name for problem in found} <= {ORDERS.prefix}
    return [(problem.code, problem.detail.partition(" ")[0]) for problem in found]


def iso(since_ms: int, until_ms: int) -> str:
    """As `ddbtrail acknowledge` takes it."""
    return "/".join(f"1970-01-01T00:00:{ms // 1000:02d}Z" for ms in (since_ms, until_ms))


def acknowledged(since_ms: int, until_ms: int) -> AcknowledgeEntry:
    return AcknowledgeEntry(None, since_ms, until_ms, "looked at")


def test_a_gap_is_a_finding_until_the_whole_of_it_is_acknowledged():
    """Of the whole trail, if nothing was said: from its beginning until now."""
    gap = [("gap", iso(2_000, 5_000))]
    assert gaps(GAP) == gap
    assert gaps(GAP, acknowledged(2_000, 5_000), sealed_at(9_000)) == []
    assert gaps(GAP, acknowledged(2_001, 5_000), sealed_at(9_000)) == gap
    assert gaps(GAP, acknowledged(2_000, 4_999), sealed_at(9_000)) == gap


def test_a_gap_says_from_when_to_when_and_why():
    """As `ddbtrail acknowledge` takes it."""
    [problem] = gap_problems(GAP, ORDERS, said_by(), since_ms=None, until_ms=None, now_ms=10_000)
    assert problem.detail == f"{iso(2_000, 5_000)} is not covered: between-streams"


def test_a_gap_that_was_acknowledged_hides_no_other():
    """Before it or after it."""
    both = [("gap", iso(2_000, 5_000)), ("gap", iso(6_000, 8_000))]
    assert gaps(TWO_GAPS) == both
    assert gaps(TWO_GAPS, acknowledged(2_000, 5_000), sealed_at(9_000)) == both[1:]
    assert gaps(TWO_GAPS, acknowledged(6_000, 8_000), sealed_at(9_000)) == both[:1]


def test_only_the_range_that_was_asked_for_is_looked_at():
    assert gaps(GAP, since_ms=1_000, until_ms=2_000) == []
    assert gaps(GAP, since_ms=1_000, until_ms=3_000) == [("gap", iso(2_000, 3_000))]
    assert gaps(GAP, since_ms=4_000) == [("gap", iso(4_000, 5_000))]
    assert gaps(GAP, since_ms=5_000) == []
    assert gaps(GAP, until_ms=2_000) == []


def test_nothing_is_missing_of_what_is_still_to_come():
    """A gap, or the end of the range, may lie ahead."""
    assert gaps(GAP, now_ms=2_000) == []
    assert gaps(GAP, now_ms=3_000) == [("gap", iso(2_000, 3_000))]
    assert gaps(GAP, until_ms=4_000, now_ms=3_000) == [("gap", iso(2_000, 3_000))]


def test_what_is_before_the_trail_is_outside_it():
    assert gaps(GAP, since_ms=0, until_ms=2_000) == [("outside-coverage", iso(0, 1_000))]


@pytest.mark.parametrize(
    ("since_ms", "until_ms"),
    [(None, 1_000), (None, 500), (3_000, 3_000), (10_000, None), (11_000, None), (4_000, 3_000)],
)
def test_an_empty_range_is_never_success(since_ms, until_ms):
    """It holds no time that the trail could cover: also where it is empty by an instant."""
    [(code, _)] = gaps(GAP, since_ms=since_ms, until_ms=until_ms)
    assert code == "outside-coverage"


def test_a_range_of_a_trail_that_covers_nothing_is_outside_it():
    """All that was looked at is a log, and what is not sealed lies elsewhere: there is nothing to call good."""
    for asked in ({"since_ms": 1_000}, {"until_ms": 2_000}, {"since_ms": 1_000, "until_ms": 2_000}):
        [(code, _)] = gaps(Coverage(()), **asked)
        assert code == "outside-coverage"
