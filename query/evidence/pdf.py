"""The report as PDF, printed by WeasyPrint from the page that is in the package: the only import of it.

Invariants: nothing is fetched, whatever the page names; neither the time nor chance gets into the bytes, only the page,
the versions of WeasyPrint and Pango, and the fonts of the machine; a character that none of those has is named.
"""

import logging
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

from weasyprint import HTML
from weasyprint import VERSION as WEASYPRINT
from weasyprint.urls import FatalURLFetchingError, URLFetcher

from query.errors import QueryError

_SHEET: Final = re.compile(r"<style>(.*?)</style>", re.DOTALL)
_PRINTED: Final = re.compile(r"@media print \{ :root \{(.*?)\}", re.DOTALL)
_COLOUR: Final = re.compile(r"--(\w+): (#[0-9a-f]+)")
_USE: Final = re.compile(r"var\(--(\w+)\)")
# fontTools writes the time into a font that it makes of a variable one, or the time that this names (seconds).
_CLOCK: Final = "SOURCE_DATE_EPOCH"
# How WeasyPrint begins to log that it drew a box; the character is its first argument.
_BOX: Final = ".notdef glyph"


@dataclass(frozen=True, slots=True)
class Printed:
    """A PDF; by which software; the characters that stand in it as boxes, since no font of the machine has them."""

    content: bytes
    software: str
    boxes: frozenset[str]


def print_page(page: str) -> Printed:
    """A page of HTML as a tagged PDF, whose identifier is the SHA-256 of the page.

    Raises QueryError if the page asks for anything but a `data:` address, or a part of it cannot be drawn.
    """
    nothing = URLFetcher(allowed_protocols=("data",), allow_redirects=False, fail_on_errors=True)
    name = sha256(page.encode()).hexdigest().encode()
    with _no_clock(), _noted() as noted:
        try:
            html = HTML(string=_with_drawings(page), url_fetcher=nothing)
            content = html.write_pdf(pdf_identifier=name, pdf_tags=True)
        except FatalURLFetchingError as error:
            raise _not_printed(str(error)) from error
    if noted.errors:
        raise _not_printed(noted.errors[0])
    return Printed(content, f"weasyprint {WEASYPRINT}", frozenset(noted.boxes))


def _not_printed(why: str) -> QueryError:
    return QueryError(
        "the report cannot be printed", why=why.lower(), hint="leave out --pdf: REPORT.html has all of it"
    )


def _with_drawings(page: str) -> str:
    """The page with its rules for print inside each drawing: WeasyPrint gives a drawing no others, and no variables."""
    sheet = "".join(_SHEET.findall(page))
    colours = dict(_COLOUR.findall("".join(_PRINTED.findall(sheet))))
    rules = _USE.sub(lambda use: colours[use[1]], sheet)
    return page.replace("</svg>", f"<style>{rules}</style></svg>")


@contextmanager
def _no_clock() -> Iterator[None]:
    before = os.environ.get(_CLOCK)
    os.environ[_CLOCK] = "0"
    try:
        yield
    finally:
        if before is None:
            del os.environ[_CLOCK]
        else:
            os.environ[_CLOCK] = before


class _Noted(logging.Handler):
    """What WeasyPrint only logs: characters that became boxes, and parts of the page that it left out."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.boxes = set[str]()
        self.errors: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= logging.ERROR:
            self.errors.append(record.getMessage())
        elif str(record.msg).startswith(_BOX) and isinstance(record.args, tuple):
            self.boxes.add(str(record.args[0]))


@contextmanager
def _noted() -> Iterator[_Noted]:
    logger, handler = logging.getLogger("weasyprint"), _Noted()
    logger.addHandler(handler)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
