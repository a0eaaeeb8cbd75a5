"""What `coverage` shows: a line for each detector, what it cannot see, and each place where something is missing.

Invariant: an item is named in places alone, where its key passes the redaction.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from query.canary_chain import CanaryBreak, CanaryChain
from query.completeness import BLIND_TO, Completeness
from query.coverage import Uncovered
from query.image_chain import ImageBreak, LinkEnd
from query.instant import format_ms
from query.reconcile import ItemDifference, Reconciliation
from query.redaction import Redaction
from query.render.findings import finding_lines, wrapped
from query.render.ids import short_ids
from query.render.sheet import Column, Json, Sheet, as_json
from query.render.story import key_text
from query.render.text import Look, counted, elide, visible
from query.render.views import key_cell

_SHOWN: Final = 20  # places on a terminal


# Something is missing of one item, between two ends.
_OfAnItem = ImageBreak | CanaryBreak | ItemDifference
_KINDS: Final = {
    Uncovered: "uncovered",
    ImageBreak: "image-break",
    CanaryBreak: "canary-break",
    ItemDifference: "reconciliation",
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something is missing: a stretch that is not covered, or between two ends of one item."""

    what: Uncovered | _OfAnItem
    redaction: Redaction

    @property
    def kind(self) -> str:
        return _KINDS[type(self.what)]

    @property
    def since_ms(self) -> int | None:
        if isinstance(self.what, Uncovered):
            return self.what.since_ms
        return None if self.what.since is None else self.what.since.at_ms

    @property
    def until_ms(self) -> int:
        return self.what.until_ms if isinstance(self.what, Uncovered) else self.what.until.at_ms

    @property
    def item_key(self) -> Json | None:
        return None if isinstance(self.what, Uncovered) else key_cell(self.what.item_key, self.redaction)

    @property
    def ends(self) -> tuple[LinkEnd | None, ...]:
        return () if isinstance(self.what, Uncovered) else (self.what.since, self.what.until)

    def of_break(self, name: str) -> Any:
        return getattr(self.what, name, None)

    def of_end(self, end: str, name: str) -> str | None:
        found = None if isinstance(self.what, Uncovered) else getattr(self.what, end)
        return None if found is None else getattr(found, name)


def places(found: Completeness, redaction: Redaction) -> Iterator[Place]:
    """Stretches first, then breaks in order of time, then what canaries lack and what the table says otherwise."""
    chains = [chain for chain in found.canaries if isinstance(chain, CanaryChain)]
    beside = found.reconciliation
    yield from (Place(part, redaction) for part in found.uncovered)
    yield from (Place(one, redaction) for one in found.chain.breaks)
    yield from (Place(one, redaction) for chain in chains for one in chain.breaks)
    yield from (Place(one, redaction) for one in (beside.differences if isinstance(beside, Reconciliation) else ()))


PLACE_COLUMNS: Final = (
    Column("missing", lambda place: place.kind),
    Column("cause", lambda place: str(place.of_break("cause"))),
    Column("since", lambda place: place.since_ms, "time"),
    Column("until", lambda place: place.until_ms, "time"),
    Column("item_key", lambda place: place.item_key, "json"),
    Column("op", lambda place: place.of_break("missing")),
    Column("since_change_id", lambda place: place.of_end("since", "change_id"), "change"),
    Column("until_change_id", lambda place: place.of_end("until", "change_id"), "change"),
    Column("since_baseline", lambda place: place.of_end("since", "baseline")),
    Column("until_baseline", lambda place: place.of_end("until", "baseline")),
    Column("since_label", lambda place: place.of_end("since", "stream_label")),
    Column("until_label", lambda place: place.of_end("until", "stream_label")),
    Column(
        "changed_attributes",
        lambda place: Json(list(names)) if (names := place.of_break("changed_attributes")) is not None else None,
        "json",
    ),
)
_BRIEF: Final = ("missing", "since", "until", "item_key", "op", "cause")


def place_sheet(found: Completeness, redaction: Redaction) -> Sheet:
    """A row for each place where something is missing."""
    return Sheet(PLACE_COLUMNS, places(found, redaction), tuple(column.name for column in PLACE_COLUMNS), _BRIEF)


def completeness_document(found: Completeness, redaction: Redaction) -> dict[str, Any]:
    """The whole report as one JSON document."""
    return {
        "table_name": found.table_name,
        "requested": None
        if found.since_ms is None or found.until_ms is None
        else {"since": format_ms(found.since_ms), "until": format_ms(found.until_ms)},
        "covered": [
            {
                "since": format_ms(stretch.since_ms),
                "until": None if stretch.until_ms is None else format_ms(stretch.until_ms),
                "stream_label": stretch.stream_label,
            }
            for stretch in found.stretches
        ],
        "detectors": [
            {
                "check": finding.check,
                "result": finding.result.value,
                "detail": finding.detail,
                "fix": finding.fix or None,
                "cannot_see": BLIND_TO.get(finding.check),
            }
            for finding in found.findings()
        ],
        "links": found.chain.links,
        "links_compared": found.chain.comparable,
        "reconciliation": _reconciliation_document(found.reconciliation),
        "breaks": found.chain.broken,
        "items_with_breaks": found.chain.items,
        "missing": [as_json(PLACE_COLUMNS, place) for place in places(found, redaction)],
    }


def _reconciliation_document(found: Reconciliation | str | None) -> dict[str, Any] | None:
    """How many items were compared, and how many not and why; None if nothing was."""
    if not isinstance(found, Reconciliation):
        return None
    return {
        "since": format_ms(found.from_ms),
        "until": None if found.to_ms is None else format_ms(found.to_ms),
        "items": found.items,
        "items_compared": found.compared,
        "items_changed_meanwhile": found.touched,
        "items_unknown": found.unknown,
        "items_in_conflict": found.conflicts,
        "items_settled": found.settled,
        "items_different": found.different,
    }


def completeness_lines(found: Completeness, redaction: Redaction, look: Look) -> Iterator[str]:
    """The report for people: the range, the detectors, the places, and what no detector saw."""
    yield f"{look.paint(visible(found.table_name), 'head')}  times are UTC, 1 s resolution\n"
    if found.since_ms is not None and found.until_ms is not None:
        yield f"requested  {format_ms(found.since_ms)} → {format_ms(found.until_ms)}\n"
    for stretch in found.stretches:
        until = "now" if stretch.until_ms is None else format_ms(stretch.until_ms)
        yield f"covered    {format_ms(stretch.since_ms)} → {until}\n"
    findings = list(found.findings())
    if found.newest_change_ms is not None:
        yield f"newest     {format_ms(found.newest_change_ms)}\n"
    yield "\n"
    yield from finding_lines(findings, look)
    shown = list(places(found, redaction))
    if shown:
        yield "\n"
        some = shown[: None if look.is_full else _SHOWN]
        ends = [end for place in some for end in place.ends]
        ids = short_ids(end.change_id for end in ends if end is not None and end.change_id is not None)
        yield from (_line(place, ids, look) for place in some)
        if len(shown) > _SHOWN and not look.is_full:
            yield f"… {counted(len(shown) - _SHOWN, 'more place')} (--full, or -o jsonl)\n"
    yield "\n"
    for check in dict.fromkeys(finding.check for finding in findings):
        if check in BLIND_TO:
            text = f"{check} cannot see {BLIND_TO[check]}"
            lines = [text] if look.width is None else wrapped(text, look.width, "")
            yield from (f"{line}\n" for line in lines)


def _line(place: Place, ids: Mapping[str, str], look: Look) -> str:
    what = place.what
    if isinstance(what, Uncovered):
        told = f"uncovered  {format_ms(what.since_ms)} → {format_ms(what.until_ms)}  {what.cause}"
    else:
        since, until = (_end(end, ids) for end in place.ends)
        names = f" ({', '.join(what.changed_attributes)})" if what.changed_attributes else ""
        key = key_text(what.item_key, place.redaction)
        told = f"missing    {key}  {what.missing}{visible(names)}  {since} → {until}  {what.cause}"
    return f"{told if look.width is None or look.is_full else elide(told, look.width)}\n"


def _end(end: LinkEnd | None, ids: Mapping[str, str]) -> str:
    if end is None:
        return "no change"
    named = ids[end.change_id] if end.change_id is not None else "table" if end.baseline is None else "baseline"
    return f"{named} {format_ms(end.at_ms)}"
