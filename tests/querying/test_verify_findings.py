"""What findings come to: their verdicts, the exit code, and what is kept of very many; docs/verify.md, *Exit codes*."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from query.verify.problem import CODES, Problem, Verdict, exit_code
from query.verify.verification import MOST_PROBLEMS, Demand, Level, Verification
from tests.system.tampered import NOW_MS, ORDERS

PAGE = (Path(__file__).parents[2] / "docs" / "verify.md").read_text(encoding="utf-8")
ROWS = {
    code: (int(verdict), what)
    for code, verdict, what in re.findall(r"^\| `([a-z-]+)` \| ([134]) \|[^|]*\| ([^|]*) \|$", PAGE, re.MULTILINE)
}


def problem(code: str, name: str = "x", detail: str = "seen") -> Problem:
    return Problem(code, name, detail)


def found(**demand) -> Verification:
    return Verification(ORDERS, Demand(Level.FULL, NOW_MS, **demand))


def test_every_code_has_the_verdict_that_the_page_says():
    """Scripts compare the codes, people read the page."""
    assert {code: (problem(code).verdict.value, True) for code in CODES} == {
        code: (verdict, True) for code, (verdict, _) in ROWS.items()
    }


@pytest.mark.parametrize("code", [code for code, (_, what) in ROWS.items() if "`" in what])
def test_a_command_that_the_page_advises_is_the_one_that_the_finding_advises(code):
    """Whoever follows either types the same."""
    commands = [text for text in re.findall(r"`([^`]+)`", ROWS[code][1]) if text.startswith("ddbtrail")]
    for command in commands:
        assert f"{command}~" not in problem(code).fix
        assert command in problem(code).fix or command.split(" --")[0] in problem(code).fix, (
            command,
            problem(code).fix,
        )


def test_every_finding_says_what_to_do():
    assert all(len(problem(code).fix.split()) >= 3 for code in CODES)


@pytest.mark.parametrize(
    ("codes", "expected"),
    [
        ([], 0),
        (["unreadable"], 4),
        (["gap"], 3),
        (["unsound"], 1),
        (["unreadable", "gap"], 3),
        (["gap", "unreadable", "unsound"], 1),
        (["unsound", "unreadable"], 1),
    ],
)
def test_the_worst_finding_makes_the_exit_code(codes, expected):
    """1 outranks 3, and 3 outranks 4, in whatever order they were found."""
    assert exit_code([problem(code) for code in codes]) == expected
    assert exit_code([problem(code) for code in reversed(codes)]) == expected
    verification = found()
    verification.add(*map(problem, codes))
    assert verification.exit_code == expected


def test_a_verdict_has_a_word_for_people():
    assert [verdict.word for verdict in Verdict] == ["tampered", "incomplete", "unchecked"]


def test_of_very_many_findings_alike_the_first_are_told_and_all_are_counted():
    """A forger of a million objects must not fill the memory of whoever looks; nor hide another finding."""
    verification = found()
    verification.add(*(problem("foreign-object", f"{number}") for number in range(MOST_PROBLEMS + 3)))
    verification.add(problem("gap"))
    assert MOST_PROBLEMS == 10_000
    assert [one.name for one in verification.problems[:-1]] == [f"{number}" for number in range(MOST_PROBLEMS)]
    assert verification.problems[-1].code == "gap"
    assert verification.counts == {"foreign-object": MOST_PROBLEMS + 3, "gap": 1}
    assert [verification.count(verdict) for verdict in Verdict] == [MOST_PROBLEMS + 3, 1, 0]


def test_counts_are_of_whoever_asked():
    """What a caller does with them changes nothing."""
    verification = found()
    verification.add(problem("gap"))
    verification.counts.clear()
    assert verification.counts == {"gap": 1}


def test_names_that_are_no_text_can_be_reported():
    """Whoever writes to an archive chooses names; everything else about the finding stays."""
    verification = found()
    verification.add(problem("foreign-object", "segments/\udcff", "no \udcfe text, and ü"))
    assert verification.problems == [problem("foreign-object", "segments/\\udcff", "no \\udcfe text, and ü")]


def test_what_was_not_looked_at_is_told_in_order():
    verification = found()
    verification.skip("rollback", "no checkpoint")
    verification.skip("versions", "a folder")
    assert verification.not_checked == [("rollback", "no checkpoint"), ("versions", "a folder")]


def test_a_verification_begins_with_nothing():
    """Nothing found, nothing counted, and the table's name; of an archive without the trail, none."""
    verification = found()
    counts = ("seals", "entries", "segments", "records", "baselines", "quarantined", "unsealed", "files_checked")
    assert [getattr(verification, name) for name in (*counts, "bytes_checked", "rows_checked")] == [0] * 10
    assert (verification.problems, verification.counts, verification.exit_code) == ([], {}, 0)
    assert (verification.reconciled, verification.head, verification.sealed_to_ms) == (None, None, None)
    assert verification.table_name == "orders"
    assert Verification(None, verification.demand).table_name == ""


@pytest.mark.parametrize(
    ("since_ms", "until_ms", "expected"),
    [(None, None, False), (0, None, True), (None, 0, True), (0, 0, True)],
)
def test_a_range_is_what_was_given(since_ms, until_ms, expected):
    """One end is enough, and the beginning of time is an end too."""
    assert found(since_ms=since_ms, until_ms=until_ms).demand.has_range == expected


def test_what_is_asked_where_nothing_is_said():
    """A seal of two hours is fresh, and everything is read (docs/verify.md)."""
    demand = Demand(Level.QUICK, NOW_MS)
    assert (demand.max_age_ms, demand.checks_from) == (2 * 3_600_000, 0)
    assert (demand.pinned_key, demand.pinned_checkpoint) == (None, None)
    assert [str(level) for level in Level] == ["quick", "full"]
