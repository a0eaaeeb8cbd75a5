"""Answers in notebooks: static HTML that follows the page around it, light or dark.

Laws: every text is escaped, and shows what it holds; no script, no address, nothing to be loaded; at most so many rows
and characters, with a count of what was left out; what the trail cannot tell stands above the rows.
"""

from collections.abc import Iterator, Mapping, Sequence
from html import escape
from itertools import islice
from typing import Any, Final

from orjson import loads

from archiver.format.values import plain
from query.diff import AttributeChange
from query.render.answer_pages import MOST_ROWS, Page, page_of
from query.render.blame import BlameView
from query.render.comparison import ItemChangeView
from query.render.ids import short_ids
from query.render.sheet import Column, as_shown, dump
from query.render.story import actor_text
from query.render.text import counted, grouped, visible
from query.render.views import ChangeView

_MOST_CHARACTERS: Final = 200
_MOST_OF_A_LINE: Final = 1000  # above the rows: what the trail cannot tell is told to its end
_SHORT: Final = 32
_MOST_CHANGES: Final = 8  # attributes of one change

# The page around decides what is light and what is dark: its own colour, more or less of it. Green, red and amber are
# readable on both, and always stand beside a mark.
_STYLE: Final = (
    ".ddbtrail{font-size:.9em;line-height:1.4}.ddbtrail p{margin:.2em 0}.ddbtrail .dim{opacity:.7}"
    ".ddbtrail .wide{overflow-x:auto}.ddbtrail table{border-collapse:collapse;margin:.4em 0;font-size:.95em}"
    ".ddbtrail th,.ddbtrail td{text-align:left;vertical-align:top;padding:.2em .7em .2em 0;background:none;"
    "border-bottom:1px solid color-mix(in srgb,currentColor 20%,transparent);max-width:32em;overflow-wrap:break-word}"
    ".ddbtrail td{font-family:ui-monospace,monospace}.ddbtrail .number{text-align:right}"
    ".ddbtrail .short{white-space:nowrap}"
    ".ddbtrail .plus{color:#2c974b}.ddbtrail .minus{color:#d1454b}.ddbtrail .tilde{color:#b7791f}"
    ".ddbtrail pre{white-space:pre-wrap;margin:.4em 0;background:none;color:inherit}"
    ".ddbtrail svg{display:block;width:100%;max-width:60em;height:auto}.ddbtrail svg text{fill:currentColor;"
    "font:11px system-ui,sans-serif}.ddbtrail .covered{fill:#4c8a5b}.ddbtrail .gap{fill:url(#ddbtrail-hatch);"
    "stroke:#d1454b}.ddbtrail .hatch{stroke:#d1454b;stroke-width:3}"
)
_CLASSES: Final = {"+": "plus", "-": "minus", "~": "tilde"}


def notebook_html(answer: object) -> str:
    """An answer as a piece of a page."""
    return "".join(_pieces(page_of(answer)))


def notebook_text(answer: object) -> str:
    """What stands above the rows, as text."""
    page = page_of(answer)
    return "\n".join(visible(line) for line in (page.title, *page.lines, *page.report))


def _pieces(page: Page) -> Iterator[str]:
    yield f'<div class="ddbtrail"><style>{_STYLE}</style><p><strong>{_text(page.title)}</strong></p>'
    for line in page.lines:
        yield f'<p class="dim">{_text(line, _MOST_OF_A_LINE)}</p>'
    yield page.picture
    if page.report:
        report = "\n".join(map(_text, page.report))
        yield f"<pre>{report}</pre>"
    if page.sheet is not None:
        records = iter(page.sheet.records)
        shown = list(islice(records, MOST_ROWS))
        yield from _table(page.sheet.for_people(None), shown)
        more = (sum(1 for _ in records) if page.total is None else page.total - len(shown)) if shown else 0
        if more:
            yield f'<p class="dim">… {counted(more, "more row")}</p>'
    yield "</div>"


def _table(columns: Sequence[Column], records: Sequence[Any]) -> Iterator[str]:
    if not records:
        return
    told = (column.cell(record) for column in columns if column.kind == "change" for record in records)
    ids = short_ids(one for one in told if one is not None)
    yield f'<div class="wide"><table><thead><tr>{"".join(_head(column) for column in columns)}</tr></thead><tbody>'
    for record in records:
        yield f"<tr>{''.join(_cell(column, record, ids) for column in columns)}</tr>"
    yield "</tbody></table></div>"


def _head(column: Column) -> str:
    return f'<th scope="col"{_number(column)}>{_text(column.name)}</th>'


def _cell(column: Column, record: Any, ids: Mapping[str, str]) -> str:
    if column.name == "changed_attributes" and isinstance(record, ChangeView):
        return f"<td>{_changes(record.change.item_key, record.changes)}</td>"
    if column.name == "changed_attributes" and isinstance(record, ItemChangeView):
        return f"<td>{_changes(record.item.item_key, record.changes)}</td>"
    if column.name == "actor" and isinstance(record, ChangeView | BlameView):
        return f'<td class="short">{_text(actor_text(record.made_by))}</td>'
    cell = column.cell(record)
    if column.kind == "change" and cell is not None:
        return f'<td class="short" title="{escape(visible(cell))}">{_text(ids[cell])}</td>'
    text = grouped(cell) if column.kind == "integer" and cell is not None else as_shown(column, record)
    return f"<td{_number(column) or _short(text)}>{_text(text)}</td>"


def _number(column: Column) -> str:
    return ' class="number"' if column.kind in {"integer", "number"} else ""


def _short(text: str) -> str:
    """Names and times stay on one line."""
    return ' class="short"' if len(text) <= _SHORT else ""


def _changes(item_key: str, changes: Sequence[AttributeChange] | None) -> str:
    """What a change did, a line for each attribute but those of the key, with a mark."""
    if changes is None:
        return "the stream carried no image of one side"
    key = loads(item_key)
    told = [one for one in changes if one.steps[0] not in key]
    lines = [
        f'<span class="{_CLASSES[one.kind]}">{one.kind}</span> {_text(one.path)} {_sides(one)}'
        for one in told[:_MOST_CHANGES]
    ]
    more = len(told) - len(lines)
    return "<br>".join([*lines, f"… {grouped(more)} more"] if more else lines)


def _sides(change: AttributeChange) -> str:
    values = (change.old_value, change.new_value)
    return " → ".join(_text(dump(plain(value))) for value in values if value is not None)


def _text(text: str, most: int = _MOST_CHARACTERS) -> str:
    """A text as data: at most so many characters of it, every one visible, none of them markup."""
    left = len(text) - most
    shown = visible(text if left <= 0 else text[:most])
    return escape(shown) if left <= 0 else f"{escape(shown)}… {counted(left, 'more character')}"
