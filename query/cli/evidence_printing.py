"""Who prints the report of a package: WeasyPrint, an extra, with libraries that pip does not install."""

import io
from collections.abc import Callable
from contextlib import redirect_stdout
from typing import TYPE_CHECKING

from query.errors import UsageError

if TYPE_CHECKING:
    from query.evidence.pdf import Printed


def open_printer() -> "Callable[[str], Printed]":
    """What makes a PDF of a page. Raises UsageError where WeasyPrint, or Pango beneath it, is not installed."""
    try:
        with redirect_stdout(io.StringIO()):  # it prints a text of its own there where a library is missing
            from query.evidence.pdf import print_page
    except ModuleNotFoundError as error:
        raise UsageError(
            "REPORT.pdf cannot be made: WeasyPrint is not installed",
            why=f"Python has no module {error.name}",
            hint="type pip install 'ddbtrail[pdf]', or leave out --pdf",
        ) from error
    except OSError as error:
        raise UsageError(
            "REPORT.pdf cannot be made: WeasyPrint does not find Pango",
            why=str(error).partition("\n")[0].lower(),
            hint="type apt-get install libpango-1.0-0 libpangoft2-1.0-0 libharfbuzz-subset0, or leave out --pdf",
        ) from error
    return print_page
