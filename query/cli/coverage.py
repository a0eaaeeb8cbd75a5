"""The command `coverage`: what a trail can answer for, and where something is missing."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter

from query.cli.options import DEFAULTS, Options, Table

if TYPE_CHECKING:
    from query.canary_chain import CanaryChain
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
    reconcile: Annotated[
        str | None, Parameter(help="Compare with a full export in DynamoDB JSON: a folder, or s3:// URL.")
    ] = None,
    scan: Annotated[bool, Parameter(negative=(), help="Compare with the live table, read consistently.")] = False,
    settle: Annotated[str, Parameter(help="Items that differ are looked at again after so long.")] = "60s",
    from_beginning: Annotated[
        bool, Parameter(negative=(), help="The trail began with its table: an item that it does not know is missing.")
    ] = False,
    canary: Annotated[
        tuple[str, ...],
        Parameter(consume_multiple=True, negative=(), help="Keys of items that somebody updates again and again."),
    ] = (),
    canary_every: Annotated[str, Parameter(help="How often that is.")] = "1h",
    options: Options = DEFAULTS,
) -> int:
    """Show what the trail of a table covers, and where something is missing.

    Each detector has a line: the streams, the image chain (what a change found must be what the change before it left),
    the on-failure bucket, the quarantine. Each sees something else, and says what it cannot see. Reads every segment.

    With --reconcile or --scan the state that the trail gives is compared with the table, item by item. With --canary
    the changes of these items must be continuous: their writer adds one to ddbtrail_counter each time.

    Exit code 3 says that something is missing, 4 that what was to be compared with could not be read.
    """
    from query.cli.durations import duration_ms
    from query.cli.invocation import Invocation
    from query.cli.options import Which
    from query.cli.reconciling import reconciled
    from query.errors import UsageError
    from query.render.completeness import completeness_document, completeness_lines, place_sheet

    if scan and reconcile is not None:
        raise UsageError("two things to compare with", hint="type either --reconcile EXPORT or --scan")
    settle_ms, every_ms = duration_ms(settle, "--settle"), duration_ms(canary_every, "--canary-every")
    run = Invocation(options, more={"on_failure": on_failure})
    found = run.archive.table(table, with_derived=False)
    keys = _canary_keys(run, found, canary)
    since_ms, until_ms = run.resolve_range(Which(since=since, until=until, during=during), lambda: found)
    report = examined(run, found, since_ms, until_ms)
    report = replace(report, canaries=_canaries(run, found, keys, since_ms, until_ms, every_ms))
    if scan or reconcile is not None:
        beside = reconciled(run, found, reconcile, settle_ms, is_from_beginning=from_beginning)
        report = replace(report, reconciliation=beside)
    redaction = run.redaction(found)
    if run.target.output == "json" and not run.picked_columns:
        run.write_document(completeness_document(report, redaction))
    else:
        run.write(place_sheet(report, redaction), lambda: completeness_lines(report, redaction, run.target.look))
    if run.target.output not in {"json", "table"}:
        for finding in report.findings():
            run.note(redaction.text(f"{finding.check}: {finding.result.value}: {finding.detail}"))
    return report.exit_code


def examined(run: "Invocation", table: "Trail", since_ms: int | None, until_ms: int | None) -> "Completeness":
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
        chain=table.image_chain(since_ms=since_ms, until_ms=until_ms, coverage=coverage),
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


def _canary_keys(run: "Invocation", table: "Trail", typed: Sequence[str]) -> list[tuple[str, ...]]:
    """The keys of canaries, as typed or configured: as many values for each as the key has. Raises UsageError."""
    from query.errors import UsageError

    values = tuple(typed) or run.settings.table(table.name).canary_keys
    schema = table.key_schema
    size = 1 if schema is None else len(schema.attributes)
    if len(values) % size:
        why = "" if schema is None else f"the key of {table.name} is {schema.text}"
        raise UsageError(
            f"{len(values)} values are no keys", why=why, hint="type the values of each canary in schema order"
        )
    return [values[start : start + size] for start in range(0, len(values), size)]


def _canaries(
    run: "Invocation",
    table: "Trail",
    keys: Sequence[tuple[str, ...]],
    since_ms: int | None,
    until_ms: int | None,
    every_ms: int,
) -> "tuple[CanaryChain | str, ...]":
    """The chain of each canary; a text in place of one whose evidence contradicts itself."""
    from query.canary_chain import canary_chain
    from query.errors import IdentityConflict

    until_ms = run.now_ms if until_ms is None else min(until_ms, run.now_ms)
    found: list[CanaryChain | str] = []
    for key in keys:
        item = table.item(*key)
        try:
            changes = [version.change for version in item.versions if version.change is not None]
        except IdentityConflict:
            found.append("evidence contradicts itself about it: ddbtrail log TABLE --conflicts")
            continue
        found.append(canary_chain(item.item_key, changes, since_ms=since_ms, until_ms=until_ms, every_ms=every_ms))
    return tuple(found)
