"""How findings look: a mark and a line each, no line wider than the terminal, nothing told by colour alone."""

import io
import json
import re

import pytest

from query.operate.answers import Missing, Unknown
from query.operate.diagnosis import Health, diagnose, examine
from query.operate.facts import Lag
from query.operate.finding import failed, not_checked, passed, warned
from query.render.findings import HealthView, finding_lines, finding_sheet, health_sheet
from query.render.formats import text_of
from query.render.text import Look, width_of
from tests.operating import right
from tests.operating.test_checks import all_unknown

LONG = "a detail that goes on for longer than a narrow terminal is wide, to see that it is wrapped at blanks"
ARN = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-09-01T00:00:00.000"
FOUR = [
    passed("a", "is right"),
    failed("b", LONG, f"type {ARN}"),
    warned("c", "is odd", "mend it"),
    not_checked("d", "x"),
]


def shown(findings, **look) -> list[str]:
    return "".join(finding_lines(findings, Look(**look))).splitlines()


def test_a_pipe_gets_one_line_each():
    """`grep ✗` finds the whole of it: what was seen and what to do."""
    assert shown(FOUR) == [
        "✓ a: is right",
        f"✗ b: {LONG}  → type {ARN}",
        "! c: is odd  → mend it",
        "- d: x",
    ]


def test_a_terminal_gets_no_line_beyond_its_width():
    """Details are wrapped under their mark, the fix stands on a line of its own."""
    lines = shown(FOUR, width=60)
    assert lines[:5] == [
        "✓ a: is right",
        "✗ b: a detail that goes on for longer than a narrow terminal",
        "  is wide, to see that it is wrapped at blanks",
        "    → type arn:aws:dynamodb:eu-west-1:111122223333:table/ord",
        "      ers/stream/2026-09-01T00:00:00.000",
    ]
    assert "! c: is odd  → mend it" in lines, "what fits stays on one line"


@pytest.mark.parametrize("width", [20, 40, 60, 80, 200])
@pytest.mark.parametrize("facts", [right.facts(), all_unknown(), right.with_mapping(EventSourceArn=ARN)])
def test_no_line_of_doctor_is_too_wide(facts, width):
    """Also ARNs, which have no blank to break at."""
    findings = list(diagnose(facts, "orders", allow_mutable=False, now_ms=right.NOW_MS))
    lines = shown(findings, width=width)
    assert max(map(width_of, lines)) <= width
    told = "".join("".join(lines).split())
    assert all("".join(finding.check.split()) in told for finding in findings)
    assert "".join(ARN.split()).rpartition("/")[2] in told or facts.table == all_unknown().table


def test_colour_adds_nothing():
    """Without it (NO_COLOR, a pipe, a colour-blind reader) the marks say the same."""
    painted = shown(FOUR, width=60, is_coloured=True)
    assert painted != shown(FOUR, width=60)
    assert [re.sub(r"\x1b\[[0-9;]*m", "", line) for line in painted] == shown(FOUR, width=60)
    marks = {line[0] for line in shown(FOUR, width=60) if not line.startswith(" ")}
    assert marks == {"✓", "✗", "!", "-"}


def test_a_terminal_without_these_marks_gets_plain_ones():
    """An old jump host must not end doctor with an error of encoding; widths stay."""
    findings = [*FOUR, failed("e", "größer", "→ …")]
    lines = "".join(finding_lines(findings, Look(width=60), "ascii")).splitlines()
    assert all(line.isascii() for line in lines)
    assert {line[0] for line in lines if not line.startswith(" ")} == {"+", "X", "!", "-"}
    assert [len(line) for line in lines[:-1]] == [len(line) for line in shown(FOUR, width=60)]
    assert lines[-1] == "X e: gr\\xf6\\xdfer  > > _"


def test_what_was_not_checked_for_one_reason_is_one_line():
    """Twenty lines that say the same hide the one that does not; only neighbours, so that the order stays."""
    findings = [
        not_checked("a", "x"),
        not_checked("b", "x"),
        passed("c", "x"),
        not_checked("d", "x"),
        not_checked("e", "y"),
    ]
    assert shown(findings) == ["- a, b: x", "✓ c: x", "- d: x", "- e: y"]


def test_what_aws_says_cannot_steer_the_terminal():
    """A message may hold what somebody else put into a name."""
    (line,) = shown([failed("a", "it says \x1b[2J\u202e", "do \x07 it")])
    assert line == "✗ a: it says \\u001b[2J\\u202e  → do \\u0007 it"


def test_machines_get_every_finding():
    """Nothing is grouped for them, and there is no fix where there is nothing to do."""
    rows = [json.loads(line) for line in text_of(finding_sheet(FOUR), "jsonl", Look())]
    assert [(row["check"], row["result"]) for row in rows] == [
        *[("a", "passed"), ("b", "failed"), ("c", "warning"), ("d", "not-checked")]
    ]
    assert [row["fix"] for row in rows] == [None, f"type {ARN}", "mend it", None]


def health_json(health):
    findings = list(examine(health, "orders", right.NOW_MS))
    view = HealthView(None, health, findings, right.NOW_MS)
    return json.loads(io.StringIO("".join(text_of(health_sheet(view), "jsonl", Look()))).read())


def test_figures_are_seconds_and_bytes():
    """41 s, not 41 000 of something."""
    facts = right.facts()
    row = health_json(
        Health(reader=facts.reader, lag=Lag(41_900, right.NOW_MS), trail=facts.trail, on_failure=facts.on_failure)
    )
    assert (row["iterator_age_s"], row["newest_change_age_s"]) == (41, 41)
    assert (row["held_back_objects"], row["held_back_bytes"], row["held_back_oldest"]) == (0, 0, None)
    assert (row["mapping_state"], row["last_result"], row["is_healthy"]) == ("Enabled", "OK", True)


@pytest.mark.parametrize("nothing", [Unknown("denied"), Missing("there is none")])
def test_a_figure_that_is_not_known_is_null(nothing):
    """0 objects held back, and nobody knows how many: two things."""
    row = health_json(Health(reader=nothing, lag=nothing, trail=nothing, on_failure=None))
    figures = {name: value for name, value in row.items() if name not in {"findings", "is_healthy"}}
    assert set(figures.values()) == {None}
    assert all(finding["detail"] for finding in row["findings"])
