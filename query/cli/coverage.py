"""The command `coverage`: what a trail can answer for, and where something is missing."""

from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from query.cli.options import DEFAULTS, Options, Table

if TYPE_CHECKING:
    from query.cli.invocation import Invocation
    from query.completeness import Completeness
    from query.held_back import HeldBack
    from query.table import Table as Trail


def coverage(
    table: Table,
    /,
    *,
    since: Annotated[str | None, Parameter(help="From this instant on.")] = None,
    until: Annotated[str | None, Parameter(help="Before this instant.")] = None,
    during: Annotated[str | None, Parameter(help="A period: 2026, 2026-Q3, 2026-09, 2026-W38, 2026-09-16.")] = None,
    on_failure: Annotated[
        str | None, Parameter(help="Where failed batches go: s3://BUCKET, or a folder. [DDBTRAIL_ON_FAILURE]")
    ] = None,
    options: Options = DEFAULTS,
) -> int:
    """Show what the trail of a table covers, and where something is missing.

    Each detector has a line: the streams, the image chain (what a change found must be what the change before it left),
    the on-failure bucket, the quarantine. Each sees something else, and says what it cannot see. Reads every segment.

    Exit code 3 says that something is missing, 4 that the on-failure destination could not be read.
    """
    from query.cli.invocation import Invocation
    from query.cli.options import Which
    from query.render.completeness import completeness_document, completeness_lines, place_sheet

    run = Invocation(options, more={"on_failure": on_failure})
    found = run.archive.table(table)
    since_ms, until_ms = run.resolve_range(Which(since=since, until=until, during=during), lambda: found)
    report = _examined(run, found, since_ms, until_ms)
    redaction = run.redaction(found)
    if run.target.output == "json" and not run.picked_columns:
        run.write_document(completeness_document(report, redaction))
    else:
        run.write(place_sheet(report, redaction), lambda: completeness_lines(report, redaction, run.target.look))
    if run.target.output not in {"json", "table"}:
        for finding in report.findings():
            run.note(f"{finding.check}: {finding.result.value}: {finding.detail}")
    return report.exit_code


def _examined(run: "Invocation", table: "Trail", since_ms: int | None, until_ms: int | None) -> "Completeness":
    from query.completeness import Completeness
    from query.errors import OutsideCoverage
    from query.instant import format_ms

    coverage = table.coverage()
    if since_ms is None:
        since_ms = coverage.covered_since_ms
    until_ms = run.now_ms if until_ms is None else min(until_ms, run.now_ms)
    if since_ms is not None and since_ms >= until_ms:
        raise OutsideCoverage(
            f"the trail of {table.name} covers nothing before {format_ms(until_ms)}",
            why=f"it begins at {format_ms(since_ms)}",
            hint="ask about a later time",
            covered=coverage.covered,
        )
    return Completeness(
        table_name=table.name,
        since_ms=since_ms,
        until_ms=until_ms,
        newest_change_ms=coverage.newest_change_ms,
        stretches=coverage.stretches,
        uncovered=() if since_ms is None else coverage.uncovered(since_ms, until_ms),
        chain=table.image_chain(since_ms=since_ms, until_ms=until_ms),
        held_back=_held_back(run, table),
        quarantined=table.quarantined(),
    )


def _held_back(run: "Invocation", table: "Trail") -> "HeldBack | str | None":
    """What the on-failure destination holds of a table; a text if it cannot be read, None if none was named."""
    from query.cli.operating import open_archive
    from query.errors import UnreadableArchive

    url = run.settings.on_failure_url
    if url is None:
        return None
    try:
        return table.held_back(open_archive(run.settings, url))
    except UnreadableArchive as error:
        return f"{error.message}: {error.why}"
