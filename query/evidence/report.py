"""The report: one page for people, made of the records that are in the package, and of nothing else.

Invariants: every text is escaped, and shows what it holds; whatever is cut says how much of it was; the page holds no
script and asks for nothing.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import groupby
from pathlib import Path
from typing import Any, Final

import orjson
from jinja2 import Environment, StrictUndefined

from archiver.format.values import plain_attributes
from query.completeness import BLIND_TO, Completeness
from query.diff import parse_path, touches
from query.engine import Question
from query.evidence.scope import Scope
from query.evidence.shortfalls import Shortfall
from query.instant import format_ms
from query.render.sheet import dump
from query.render.text import counted, grouped, visible

_MOST_ITEMS: Final = 25
_MOST_CHANGES: Final = 20
_MOST_NAMES: Final = 20
_MOST_SHORTFALLS: Final = 100
_MOST_PATHS: Final = 50
_CHARACTERS: Final = 200
_HOUR_MS: Final = 3_600_000
_DAY_MS: Final = 24 * _HOUR_MS
_MOST_ROWS: Final = 100  # of the heat map
_LEVELS: Final = 5
_WIDTH: Final = 1_000  # of a band, in units of its own


@dataclass(frozen=True, slots=True)
class Band:
    """A stretch on a band: where it begins and how wide it is, in thousandths; of which kind, and what it is."""

    x: float
    width: float
    kind: str
    title: str


def report(
    question: Question, records: Path, scope: Scope, told: Mapping[str, Any], *, complete: Completeness
) -> Iterator[str]:
    """The page, in pieces. `told` are the facts that its template shows beside those found in the records."""
    question.set("evidence_file", str(records))
    changes, items, unsealed, nameless, imageless = question.rows("evidence_totals")[0]
    totals = {"changes": changes, "items": items, "not sealed": unsealed, "without an actor": nameless}
    hours = question.rows("evidence_hours")
    facts = {
        "totals": {name: grouped(number) for name, number in totals.items()} | {"without images": grouped(imageless)},
        "counts": _counts(question.rows("evidence_counts")),
        "bands": _bands(scope, complete),
        "heat": _heat(scope, hours),
        "items": _items(question, scope),
        "more_items": max(items - _MOST_ITEMS, 0),
        "detectors": [(one, BLIND_TO.get(one.check, "")) for one in complete.findings()],
        "scope": scope,
        "most_changes": _MOST_CHANGES,
    }
    yield from _template().generate({**told, **facts})


def shown_shortfalls(found: Sequence[Shortfall]) -> dict[str, Any]:
    """The exceptions of a page, and how many more there are."""
    shown = [one.document() for one in found[:_MOST_SHORTFALLS]]
    open_ones = sum(one.accepted is None for one in found)
    return {"shortfalls": shown, "more_shortfalls": len(found) - len(shown), "open_shortfalls": open_ones}


def cut(text: str) -> str:
    """A text of at most so many characters, made visible, with a count of those that were cut."""
    left = len(text) - _CHARACTERS
    return visible(text) if left <= 0 else f"{visible(text[:_CHARACTERS])}… {counted(left, 'more character')}"


def _template() -> Any:
    environment = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True, finalize=_finalize
    )
    environment.filters |= {"cut": cut, "instant": format_ms, "grouped": grouped}
    source = files("query").joinpath("evidence", "report.html.j2").read_text(encoding="utf-8")
    return environment.from_string(source)


def _finalize(value: object) -> object:
    """Every text as a person can see it; markup of the template itself stays."""
    return visible(value) if type(value) is str else value


def _counts(rows: Iterable[tuple[str, str, int]]) -> list[dict[str, Any]]:
    made = []
    for kind, group in groupby(rows, lambda row: row[0]):
        found = list(group)
        rest = found[_MOST_NAMES:]
        made.append({"kind": kind, "rows": [row[1:] for row in found[:_MOST_NAMES]], "more": len(rest)})
    return made


def _bands(scope: Scope, complete: Completeness) -> list[Band]:
    """The period as covered, and on it what is not."""
    span = scope.until_ms - scope.since_ms

    def band(since_ms: int, until_ms: int, kind: str, what: str) -> Band:
        x, end = ((at - scope.since_ms) * _WIDTH / span for at in (since_ms, until_ms))
        return Band(
            round(x, 2), round(max(end - x, 2), 2), kind, f"{what} {format_ms(since_ms)} to {format_ms(until_ms)}"
        )

    gaps = [band(one.since_ms, one.until_ms, "gap", one.cause) for one in complete.uncovered]
    return [band(scope.since_ms, scope.until_ms, "covered", "covered"), *gaps]


def _heat(scope: Scope, hours: Sequence[tuple[int, int]]) -> dict[str, Any]:
    """A row for each day, or for several where there are many, and a cell for each hour of the day."""
    first = scope.since_ms // _DAY_MS
    days = max((scope.until_ms - 1) // _DAY_MS - first + 1, 1)
    each = -(-days // _MOST_ROWS)
    cells: dict[tuple[int, int], int] = {}
    for hour_ms, changes in hours:
        place = (hour_ms // _DAY_MS - first) // each, hour_ms // _HOUR_MS % 24
        cells[place] = cells.get(place, 0) + changes
    most = max(cells.values(), default=1)
    rows = []
    for row in range(-(-days // each)):
        numbers = [cells.get((row, hour), 0) for hour in range(24)]
        day = format_ms((first + row * each) * _DAY_MS)[:10]
        levels = [-(-number * _LEVELS // most) for number in numbers]
        rows.append({"day": day, "cells": list(zip(numbers, levels, strict=True)), "total": sum(numbers)})
    return {"rows": rows, "each": each, "most": most}


def _items(question: Question, scope: Scope) -> list[dict[str, Any]]:
    rows = question.rows("evidence_items", {"most_items": _MOST_ITEMS, "most_changes": _MOST_CHANGES})
    span = scope.until_ms - scope.since_ms
    made = []
    for (item_key, total), group in groupby(rows, lambda row: row[:2]):
        changes = [_change(scope, row[2:]) for row in group]
        dots = [round((one["at_ms"] - scope.since_ms) * _WIDTH / span, 2) for one in changes]
        key = dump(plain_attributes(orjson.loads(item_key)))
        made.append({"key": key, "total": total, "changes": changes, "dots": dots, "more": total - len(changes)})
    return made


def _change(scope: Scope, row: tuple[Any, ...]) -> dict[str, Any]:
    at_ms, op, actor, reason, change_id, changes = row
    found = [] if changes is None else orjson.loads(changes)
    if scope.paths:
        found = [one for one in found if any(touches(parse_path(one["path"]), path) for path in scope.paths)]
    attributes = [
        {"path": one["path"], "old": _value(one, "old"), "new": _value(one, "new")} for one in found[:_MOST_PATHS]
    ]
    return {
        "at_ms": at_ms,
        "op": op,
        "actor": actor if actor is not None else f"not known: {reason}",
        "change_id": change_id,
        "attributes": attributes,
        "more": len(found) - len(attributes),
        "has_images": changes is not None,
    }


def _value(change: Mapping[str, Any], side: str) -> str:
    return dump(change[side]) if side in change else ""
