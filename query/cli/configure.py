"""Commands about archives and settings: tables, config show."""

from typing import Annotated

from cyclopts import Parameter

from query.cli.exits import FOUND
from query.cli.options import DEFAULTS, Options


def tables(*, options: Options = DEFAULTS) -> int:
    """List the tables of an archive: keys, since when they are covered, and how much there is.

    An empty archive has no tables: no rows, exit code 0.
    """
    from query.cli.invocation import Invocation
    from query.render.records import table_sheet

    run = Invocation(options)
    found = run.archive.tables()
    run.write(table_sheet(found))
    if not found:
        run.note(f"the archive at {run.archive.url} holds no tables yet")
    return FOUND


def show(
    *,
    origin: Annotated[bool, Parameter(negative=(), help="Say where each value came from.")] = False,
    options: Options = DEFAULTS,
) -> int:
    """Show each setting in force.

    From low to high: defaults, ~/.config/ddbtrail/config.toml, ddbtrail.toml here or above, DDBTRAIL_*, flags.
    """
    from query.cli.invocation import Invocation
    from query.render.records import setting_sheet

    run = Invocation(options)
    run.write(setting_sheet(run.settings.rows(), has_origin=origin))
    return FOUND
