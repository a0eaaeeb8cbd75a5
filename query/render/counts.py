"""What `log --stat`, `stats` and `compare --stat` show: one count a row, long rather than wide."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Final

import orjson

from archiver.format.values import plain_attributes
from query.actor import Attribution
from query.change_stat import Count
from query.redaction import Redaction
from query.render.sheet import Column, Sheet, dump


@dataclass(frozen=True, slots=True)
class CountView:
    """One line of counts as it is shown; `size_bytes` is of the item's image, where that is what is told."""

    by: str
    value: str | None
    count: int | None = None
    source: str | None = None
    size_bytes: int | None = None


def count_views(counts: Iterable[Count], redaction: Redaction, attribution: Attribution) -> list[CountView]:
    """Counts of changes, with keys and actors masked where they are redacted."""
    is_masked = bool(attribution.steps) and redaction.covers(attribution.steps)
    views = []
    for count in counts:
        view = CountView(count.by, count.value, count.changes, count.source)
        if count.by == "item" and count.value is not None:
            view = replace(view, value=key_value(count.value, redaction))
        if count.by == "actor" and is_masked and count.value is not None and ":" in (count.source or ""):
            view = replace(view, value=redaction.mask({"N" if count.is_number else "S": count.value}))
        views.append(view)
    return views


def key_value(item_key: str, redaction: Redaction) -> str:
    """An item key as plain JSON text, masked."""
    return dump(plain_attributes(orjson.loads(redaction.key(item_key))))


COUNT_COLUMNS: Final = (
    Column("by", lambda view: view.by),
    Column("value", lambda view: view.value),
    Column("count", lambda view: view.count, "integer"),
    Column("source", lambda view: view.source),
    Column("size_bytes", lambda view: view.size_bytes, "integer"),
)


def count_sheet(views: Iterable[CountView], *, has_sizes: bool = False) -> Sheet:
    """Counts; sizes are a column where there are any."""
    names = tuple(column.name for column in COUNT_COLUMNS if has_sizes or column.name != "size_bytes")
    return Sheet(COUNT_COLUMNS, views, names, names)
