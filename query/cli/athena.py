"""The command `athena`: the statements with which Athena reads the trail of a table where it lies."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final, Literal

from cyclopts import Parameter

from query.cli.exits import FOUND, NOT_FOUND
from query.cli.options import DEFAULTS, Options, Table

if TYPE_CHECKING:
    from archiver.format.layout import Trail
    from query.athena import Statement
    from query.cli.invocation import Invocation
    from query.render.sheet import Sheet
    from query.table_ref import TableRef

_SQL: Final = "sql"


def athena(
    table: Table,
    /,
    *,
    emit: Annotated[
        Literal["ddl", "manifest"],
        Parameter(help="What to write: the statements that make tables and views, or the manifest of the runs."),
    ] = "ddl",
    name: Annotated[str | None, Parameter(help="Name of the table in Athena, if not that of the table.")] = None,
    database: Annotated[str | None, Parameter(help="Database of Athena, if not the one that is chosen there.")] = None,
    since: Annotated[
        str | None, Parameter(help="First day that Athena looks at: YYYY-MM-DD. Without it the archive is listed.")
    ] = None,
    manifest: Annotated[
        str | None, Parameter(help="Folder s3://… that holds the manifest alone: makes a table over the runs too.")
    ] = None,
    options: Options = DEFAULTS,
) -> int:
    """Write the statements with which Athena reads the trail of a table.

    A table over the segments, with partition projection, so that no partition is ever added by hand; a view of the
    changes, each once; a view of the items that exist now; and a prepared statement, the table as of an instant.
    With --manifest also a table over the runs, whose parts a file in that folder names: --emit manifest writes it.
    Nothing is sent to Athena. SQL is written unless -o, or the ending of -O, says otherwise; the other formats have a
    row a statement.
    """
    from query.athena import Place, athena_name, refuse_folder, script, segments_location, statements
    from query.athena_runs import manifest_location, run_statements
    from query.cli.invocation import Invocation
    from query.settings import require_archive
    from query.table_ref import parse_table_ref

    if emit == "manifest":
        return _write_manifest(options, table)
    run = Invocation(_as_sql(options), formats=(_SQL,))
    url, ref = require_archive(run.settings), parse_table_ref(table)
    place = Place(name if name is not None else athena_name(ref.table_name), database)
    trail = _complete(ref) if since is not None else None
    if trail is None:
        refuse_folder(url)
        trail = _trail(run, ref, None if name is not None else place.name)
    location = segments_location(url, trail)
    made = statements(location, place, _day(since) if since is not None else _first_day(run, trail))
    if manifest is not None:
        made = (*made[:-1], *run_statements(manifest_location(manifest), place), made[-1])
    if run.target.output == _SQL:
        run.target.write([script(made, place)])
    else:
        run.write(_sheet(made))
    run.note(f"table {place.quoted()} over {location}")
    return FOUND


def _as_sql(options: Options) -> Options:
    """SQL is the usual format here, unless -o or the ending of -O names another."""
    from query.render.formats import EXTENSIONS

    file = options.output_file
    if options.output is not None or (file is not None and Path(file).suffix.lower() in EXTENSIONS):
        return options
    return replace(options, output=_SQL)


def _write_manifest(options: Options, table: str) -> int:
    """The parts of the runs that there are now, a line each. Raises UsageError for runs that Athena cannot read."""
    from query.athena import refuse_folder
    from query.athena_runs import manifest
    from query.cli.invocation import Invocation
    from query.cli.operating import access_of
    from query.derived.live import live_runs
    from query.errors import UsageError
    from query.instant import format_ms
    from query.source import open_source

    run = Invocation(replace(options, output=_SQL), formats=(_SQL,))
    url = run.settings.derived_url
    if url is None:
        raise UsageError("nobody said where runs lie", hint="add --derived s3://bucket/prefix, or set DDBTRAIL_DERIVED")
    refuse_folder(url)
    runs = live_runs(open_source(url, access_of(run.settings)), run.archive.trail(table), anew=True)
    run.target.write([f"{line}\n" for line in manifest(url, runs)])
    if not runs:
        run.note("there are no runs yet: ddbtrail compact")
        return NOT_FOUND
    run.note(
        f"runs hold what was sealed to {format_ms(runs[-1].description.sealed_to_ms)}; later changes are not in them"
    )
    return FOUND


# --- the trail ---


def _complete(ref: "TableRef") -> "Trail | None":
    """The trail of a table named in full, for which nothing need be asked."""
    from archiver.format.layout import Trail

    if ref.account is None or ref.region is None:
        return None
    return Trail(ref.account, ref.region, ref.table_name)


def _trail(run: "Invocation", ref: "TableRef", name: str | None) -> "Trail":
    """The trail that is meant. Raises UsageError if Athena would know another one by the same `name`."""
    from query.athena import athena_name
    from query.errors import UsageError
    from query.trails import find_trail, trails

    known = trails(run.archive.source)
    meant = find_trail(known, ref)
    twins = [trail for trail in known if trail != meant and athena_name(trail.table_name) == name]
    if twins:
        others = ", ".join(f"{trail.account}/{trail.region}/{trail.table_name}" for trail in twins)
        raise UsageError(
            f"the name {name} would be that of several tables in Athena",
            why=f"{others} would have it too: Athena knows small letters, digits and _ alone",
            hint=f"add --name, for example --name {name}_{athena_name(meant.region)}",
        )
    return meant


def _first_day(run: "Invocation", trail: "Trail") -> str:
    from query.catalog import first_hour_ms
    from query.errors import UsageError
    from query.instant import format_ms

    first_ms = first_hour_ms(run.archive.source, trail)
    if first_ms is None:
        raise UsageError(
            f"the archive holds no segment of {trail.table_name} yet",
            why="Athena has to be told the first day",
            hint="type --since YYYY-MM-DD with the day on which the trail begins",
        )
    return format_ms(first_ms)[:10]


def _day(text: str) -> str:
    from datetime import date

    from query.errors import UsageError

    try:
        day = date.fromisoformat(text)
    except ValueError:
        day = None
    if day is None or day.isoformat() != text:
        raise UsageError(f"--since {text} is not a day", why="days are UTC", hint="type for example --since 2026-09-01")
    return text


# --- the answer ---


def _sheet(made: Sequence["Statement"]) -> "Sheet":
    from query.render.sheet import Column, Sheet

    columns = (
        Column("kind", lambda statement: statement.kind),
        Column("name", lambda statement: statement.name),
        Column("sql", lambda statement: statement.sql),
    )
    return Sheet(columns, made, ("kind", "name", "sql"), ("kind", "name", "sql"))
