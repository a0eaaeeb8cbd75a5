"""Tables for notes and pages: Markdown and HTML. Values are data, never markup; controls and bidi marks are visible."""

import html as escaping
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from query.render.sheet import Column, as_shown
from query.render.text import visible

# Self-contained and without script: nothing is loaded from anywhere, and it follows a dark page.
_STYLE: Final = (
    ":root{color-scheme:light dark}body{font:14px/1.5 system-ui,sans-serif;margin:2rem}"
    "table{border-collapse:collapse}th,td{border-bottom:1px solid #8884;padding:.3rem .8rem;text-align:left;"
    "vertical-align:top;overflow-wrap:anywhere}td{font-family:ui-monospace,monospace}"
)
# What Markdown reads as markup inside a cell; `&` and `<` are for renderers that let HTML through.
_MARKDOWN: Final = str.maketrans(
    {character: f"\\{character}" for character in "\\`*_[]|~#>"} | {"&": "&amp;", "<": "&lt;"}
)


def markdown(columns: Sequence[Column], records: Iterable[Any]) -> Iterator[str]:
    """A table as GitHub, GitLab and chat systems take it."""
    yield _row(column.name.translate(_MARKDOWN) for column in columns)
    yield _row("---:" if column.kind in {"integer", "number"} else "---" for column in columns)
    for record in records:
        yield _row(visible(as_shown(column, record)).translate(_MARKDOWN) for column in columns)


def html(columns: Sequence[Column], records: Iterable[Any]) -> Iterator[str]:
    """A page of its own."""
    yield "<!doctype html>\n"
    yield f'<html lang="en"><head><meta charset="utf-8"><title>ddbtrail</title><style>{_STYLE}</style></head><body>\n'
    yield f"<table><thead><tr>{_cells('th', (column.name for column in columns))}</tr></thead><tbody>\n"
    for record in records:
        yield f"<tr>{_cells('td', (as_shown(column, record) for column in columns))}</tr>\n"
    yield "</tbody></table></body></html>\n"


def _row(cells: Iterable[str]) -> str:
    return f"| {' | '.join(cells)} |\n"


def _cells(tag: str, texts: Iterable[str]) -> str:
    return "".join(f"<{tag}>{escaping.escape(visible(text))}</{tag}>" for text in texts)
