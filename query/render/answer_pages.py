"""What a notebook shows of each kind of answer: a title, what has to be known before its rows are read, the rows."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import singledispatch
from typing import Final

from query.answer import Version
from query.blame import ItemBlame
from query.change_stat import ChangeStat
from query.changes import Changes
from query.compare import Comparison, ItemChange
from query.conflicts import Conflict
from query.coverage import Coverage
from query.history import History
from query.instant import Instant, format_ms
from query.item import Diff, ItemState
from query.reconcile import CANNOT_SEE, Reconciliation
from query.redaction import Redaction
from query.render.answer_sheets import attributes_sheet, item_change_sheet, sheet_of
from query.render.sheet import Sheet
from query.render.story import actor_text, key_text
from query.render.text import Look, counted, grouped
from query.render.verification import verification_lines
from query.rev import Rev
from query.sql_session import SqlAnswer
from query.table_state import TableState
from query.verify.verification import Verification

_NAMED: Final = 5  # conflicts and unknown items that are named
MOST_ROWS: Final = 25  # shown of any answer
_WIDTH: Final = 1000  # of the band of coverage, in units of its own
_HATCH: Final = (
    '<defs><pattern id="ddbtrail-hatch" width="8" height="8" patternUnits="userSpaceOnUse" '
    'patternTransform="rotate(45)"><line class="hatch" x1="0" y1="0" x2="0" y2="8"/></pattern></defs>'
)
_UTC: Final = "times are UTC, 1 s resolution"


@dataclass(frozen=True, slots=True)
class Page:
    """A title, lines below it, rows, or a report as it stands on a terminal. Texts, all of them, but `picture`: markup.

    `total` is how many rows there are, None where they are only known when they are read.
    """

    title: str
    lines: Sequence[str] = ()
    sheet: Sheet | None = None
    total: int | None = None
    report: Sequence[str] = field(default=())
    picture: str = ""


@singledispatch
def page_of(answer: object) -> Page:
    """What is shown of an answer."""
    raise TypeError(f"{type(answer).__name__} is no answer that a notebook shows")


@page_of.register
def _(answer: History) -> Page:
    keys = {version.item_key for version in answer}
    named = [version.change.trail.table_name for version in answer if version.change is not None][:1]
    named += [key_text(key, answer.redaction) for key in keys] if len(keys) == 1 else []
    what = f"{grouped(len(answer))} of {counted(answer.total, 'change')}"
    return Page(" ".join([*named, what]), [_UTC], sheet_of(answer), len(answer))


@page_of.register
def _(answer: Version) -> Page:
    change, redaction = answer.change, answer.redaction
    lines = [f"valid from {_time(answer.valid_from_ms)} to {_time(answer.valid_to_ms, 'now')}; {_UTC}"]
    if change is not None:
        actor = actor_text(redaction.made_by(change)) or "nobody named"
        lines.append(f"{change.op} @{change.change_id} by {actor}")
    named = "" if change is None else f"{change.trail.table_name} "
    title = f"{named}{key_text(answer.item_key, redaction)}"
    if answer.image is None:
        return Page(f"{title}: deleted", lines)
    return Page(title, lines, attributes_sheet(answer.image, redaction))


@page_of.register
def _(answer: ItemState) -> Page:
    state, redaction = answer.state, answer.redaction
    title = f"{key_text(state.item_key, redaction)} at {_at(answer.at)}: {state.outcome.value}"
    lines = [redaction.text(answer.explanation), _UTC]
    if state.is_guess and state.image is not None:
        lines.append("what is shown is a guess: the trail cannot tell")
    return Page(title, lines, None if state.image is None else attributes_sheet(state.image, redaction))


@page_of.register
def _(answer: Diff) -> Page:
    ends = " → ".join(_end(version) for version in (answer.older, answer.newer))
    title = f"{key_text(answer.item_key, answer.redaction)}: {counted(len(answer.changes), 'difference')}"
    return Page(title, [ends], sheet_of(answer), len(answer.changes))


@page_of.register
def _(answer: ItemBlame) -> Page:
    title = f"{answer.table_name} {key_text(answer.item_key, answer.redaction)}: who set each attribute"
    return Page(title, [_UTC], sheet_of(answer), len(answer))


@page_of.register
def _(answer: Changes) -> Page:
    title = f"{answer.table_name}: {counted(len(answer), 'change')}"
    lines = [_UTC, *_conflicts(answer.conflicts, answer.redaction)]
    return Page(title, lines, sheet_of(answer), len(answer))


@page_of.register
def _(answer: ChangeStat) -> Page:
    title = f"{answer.table_name}: {counted(answer.total, 'change')} counted"
    return Page(title, _conflicts(answer.conflicts, answer.redaction), sheet_of(answer), len(answer.counts))


@page_of.register
def _(answer: Comparison) -> Page:
    kinds: Counter[str] = Counter()
    shown: list[ItemChange] = []
    for item in answer:
        kinds[item.diff_type] += 1
        if len(shown) < MOST_ROWS:
            shown.append(item)
    counts = ", ".join(f"{grouped(kinds[name])} {name}" for name in ("added", "removed", "modified"))
    lines = [f"{_at(answer.older_at)} → {_at(answer.newer_at)}; {_UTC}"]
    if answer.unknown:
        what = f"{counted(len(answer.unknown), 'item')} left out, of which one of the two moments does not tell"
        lines.append(_naming(what, answer.unknown, answer.redaction))
    if not answer.has_floor:
        lines.append("no baseline: items that never changed are not known, and did not differ")
    lines += _conflicts(answer.conflicts, answer.redaction)
    sheet = item_change_sheet(answer.table_name, shown, answer.redaction)
    return Page(f"{answer.table_name}: {counts}", lines, sheet, kinds.total())


@page_of.register
def _(answer: TableState) -> Page:
    lines = [_UTC]
    if answer.unknown:
        shown = "a guess is shown where there is one" if answer.has_guesses else "left out"
        lines.append(f"{counted(answer.unknown, 'item')} of which the trail cannot tell, {shown}")
    if not answer.has_floor:
        lines.append("no baseline: items that never changed are not known")
    lines += _conflicts(answer.conflicts, answer.redaction)
    title = f"{answer.table_name} as of {_at(answer.at)}: {counted(answer.count, 'item')}"
    return Page(title, lines, sheet_of(answer), answer.count)


@page_of.register
def _(answer: SqlAnswer) -> Page:
    conflicts = answer.conflicts
    what = [f"{counted(len(conflicts), 'conflict')}: the items are in no relation"] if conflicts else []
    if answer.is_spent:
        return Page("the rows were read already", [*what, "batches gives each once: ask again, or take arrow() first"])
    return Page(counted(len(answer), "row"), what, sheet_of(answer), len(answer))


@page_of.register
def _(answer: Reconciliation) -> Page:
    left = {
        "changed meanwhile": answer.touched,
        "of which the trail cannot tell": answer.unknown,
        "contradicted by the trail itself": answer.conflicts,
        "the same at a second look": answer.settled,
    }
    lines = [f"the table as it was read from {_time(answer.from_ms)} to {_time(answer.to_ms, 'now')}"]
    lines += [f"{counted(number, 'item')} {why}" for why, number in left.items() if number]
    lines.append(f"this cannot see {CANNOT_SEE}")
    title = f"{answer.table_name}: {counted(answer.compared, 'item')} compared, {grouped(answer.different)} different"
    return Page(title, lines, sheet_of(answer), answer.different)


@page_of.register
def _(answer: Verification) -> Page:
    report = [line.rstrip("\n") for line in verification_lines(answer, Look())]
    return Page(report[-1], [], report=report[:-2])


@page_of.register
def _(answer: Coverage) -> Page:
    if not answer.stretches:
        return Page("nothing is archived")
    gaps = [f"not covered: {_time(since)} to {_time(until)}" for since, until in answer.gaps]
    title = f"covered since {_time(answer.covered_since_ms)}, with {counted(len(gaps), 'gap')}"
    more = [f"and {grouped(len(gaps) - MOST_ROWS)} more"] if len(gaps) > MOST_ROWS else []
    lines = [f"newest change {_time(answer.newest_change_ms)}; {_UTC}", *gaps[:MOST_ROWS], *more]
    return Page(title, lines, sheet_of(answer), len(answer.stretches), picture=_band(answer))


# --- the words ---


def _time(at_ms: int | None, otherwise: str = "not known") -> str:
    return otherwise if at_ms is None else format_ms(at_ms)


def _at(at: Instant | Rev) -> str:
    return format_ms(at.ms) if isinstance(at, Instant) else at.text


def _end(version: Version | None) -> str:
    if version is None:
        return "no item"
    return "before the trail" if version.change_id is None else f"@{version.change_id} {_time(version.valid_from_ms)}"


def _conflicts(found: Sequence[Conflict], redaction: Redaction) -> list[str]:
    """Which items are left out because evidence contradicts itself."""
    keys = tuple(dict.fromkeys(conflict.item_key for conflict in found))
    return [_naming(f"evidence contradicts itself about {counted(len(keys), 'item')}", keys, redaction)] if keys else []


def _naming(what: str, keys: Sequence[str], redaction: Redaction) -> str:
    names = ", ".join(key_text(key, redaction) for key in keys[:_NAMED])
    return f"{what}: {names}{', …' if len(keys) > _NAMED else ''}"


# --- the picture ---


def _band(coverage: Coverage) -> str:
    """The time that is covered, as a band; what is not, hatched."""
    since_ms = min(stretch.since_ms for stretch in coverage.stretches)
    until_ms = max(coverage.newest_change_ms or 0, *(until or since for since, until in coverage.covered)) + 1

    def place(at_ms: int) -> float:
        return round((at_ms - since_ms) * _WIDTH / (until_ms - since_ms), 2)

    def gap(from_ms: int, to_ms: int) -> str:
        x, width = place(from_ms), max(round(place(to_ms) - place(from_ms), 2), 2)
        what = f"<title>{_time(from_ms)} to {_time(to_ms)}</title>"
        return f'<rect class="gap" x="{x}" y="2" width="{width}" height="18">{what}</rect>'

    title = f"Covered but for {counted(len(coverage.gaps), 'gap')}, hatched here"
    return (
        f'<svg viewBox="0 0 {_WIDTH} 40" role="img"><title>{title}</title>{_HATCH}'
        f'<rect class="covered" x="0" y="2" width="{_WIDTH}" height="18"/>'
        f"{''.join(gap(*one) for one in coverage.gaps[:_WIDTH])}"
        f'<text x="0" y="35">{_time(since_ms)}</text>'
        f'<text x="{_WIDTH}" y="35" text-anchor="end">{_time(until_ms - 1)}</text></svg>'
    )
