"""Tables for a terminal: columns set apart by blanks, wide values elided in the middle, one block a record if narrow.

Invariants: without a width nothing is cut; with one no line is longer, unless everything is asked in full.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import chain, islice
from typing import Any, Final

from query.render.ids import short_ids
from query.render.sheet import Column, as_shown
from query.render.text import Look, elide, grouped, pad, visible, width_of

_GAP: Final = "  "
# Widths are taken from the first rows, so that a table of any length is written as it is read.
_MEASURED_ROWS: Final = 500
_NARROWEST: Final = 12  # a column thinner than this tells nothing: records are written as blocks instead


def table(columns: Sequence[Column], records: Iterable[Any], look: Look) -> Iterator[str]:
    """The rows below a heading; nothing at all without rows."""
    rest = iter(records)
    first = list(islice(rest, _MEASURED_ROWS))
    if not first:
        return
    ids = _ids(columns, first)
    rows = [_row(columns, record, ids) for record in first]
    widths = [max(width_of(text) for text in texts) for texts in zip(_heading(columns), *rows, strict=True)]
    fitted = _fit(widths, look)
    rows_of_rest = (_row(columns, record, ids) for record in rest)
    if fitted is None:
        yield from _blocks(columns, chain(rows, rows_of_rest), look)
        return
    are_numbers = [column.kind in {"integer", "number"} for column in columns]
    yield look.paint(_line(_heading(columns), fitted, are_numbers), "head") + "\n"
    for row in chain(rows, rows_of_rest):
        yield _line(row, fitted, are_numbers) + "\n"


def _heading(columns: Sequence[Column]) -> list[str]:
    return [column.name.upper().replace("_", " ") for column in columns]


def _ids(columns: Sequence[Column], records: Sequence[Any]) -> dict[str, str]:
    """Change ids as they are shown; whole where there are more rows than have been looked at."""
    if len(records) == _MEASURED_ROWS:
        return {}
    named = [column for column in columns if column.kind == "change"]
    found = [column.cell(record) for record in records for column in named]
    return short_ids([change_id for change_id in found if change_id is not None])


def _row(columns: Sequence[Column], record: Any, ids: dict[str, str]) -> list[str]:
    return [_text(column, record, ids) for column in columns]


def _text(column: Column, record: Any, ids: dict[str, str]) -> str:
    cell = column.cell(record)
    if cell is None:
        return "-"
    if column.kind == "integer":
        return grouped(cell)
    if column.kind == "change":
        return visible(ids.get(cell, cell))
    return visible(as_shown(column, record))


def _fit(widths: Sequence[int], look: Look) -> list[int] | None:
    """The width of each column: as wide as its texts, the widest cut first; None if too little would be left."""
    if look.width is None or look.is_full:
        return list(widths)
    room = look.width - len(_GAP) * (len(widths) - 1)
    fitted = list(widths)
    while sum(fitted) > room:
        widest = fitted.index(max(fitted))
        if fitted[widest] <= _NARROWEST:
            return None
        others = max((width for place, width in enumerate(fitted) if place != widest), default=0)
        fitted[widest] = max(fitted[widest] - (sum(fitted) - room), min(others, fitted[widest] - 1), _NARROWEST)
    return fitted


def _line(texts: Sequence[str], widths: Sequence[int], are_numbers: Sequence[bool]) -> str:
    cells = [
        pad(elide(text, width), width, is_right=is_number)
        for text, width, is_number in zip(texts, widths, are_numbers, strict=True)
    ]
    return _GAP.join(cells).rstrip()


def _blocks(columns: Sequence[Column], rows: Iterable[Sequence[str]], look: Look) -> Iterator[str]:
    """`name  value` on a line each, an empty line between two records."""
    names = [column.name for column in columns]
    indent = max(map(len, names)) + len(_GAP)
    before = ""
    for row in rows:
        yield before
        for name, text in zip(names, row, strict=True):
            shown = text if look.width is None or look.is_full else elide(text, max(look.width - indent, 1))
            yield f"{look.paint(pad(name, indent), 'dim')}{shown}\n"
        before = "\n"
