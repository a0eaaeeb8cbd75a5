"""The command `baseline`: the whole table, from an export or a scan, into the archive.

The clock of a scan is read here. Invariants: the interval is cut outward to whole seconds; a table that was made again
during a scan gives no baseline; what `table_meant` cannot tell is asked for, never guessed.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any, Final

from cyclopts import Parameter
from cyclopts.validators import Number

from archiver.errors import ExportRefused
from query.cli.progress import Stderr, count
from query.cli.table_meant import check_table, explain_label, key_of, live_table, name_and_region
from query.cli.writing import (
    OK,
    Archive,
    DataSource,
    DescribeLiveTable,
    Destination,
    EndpointUrl,
    KeySchema,
    Profile,
    Quiet,
    Region,
    exit_code,
    now_ms,
)
from query.errors import UsageError

if TYPE_CHECKING:
    from archiver.baseline import Written
    from archiver.export import Export

_MOST_THREADS: Final = 64
_READ_UNIT_BYTES: Final = 4096  # a consistent read takes one unit for each 4 KB
_SECOND_MS: Final = 1000

_Item = tuple[str, Mapping[str, Any]]  # the place it stands at, and its attributes


def baseline(
    table: Annotated[str, Parameter(help="Table: name, region/name, account/region/name or ARN.")],
    /,
    *,
    from_export: Annotated[str | None, Parameter(help="Folder or s3:// URL of a full export in DynamoDB JSON.")] = None,
    scan: Annotated[bool, Parameter(negative=(), help="Read the live table instead, consistently.")] = False,
    archive: Archive = None,
    key_schema: KeySchema = None,
    stream_label: Annotated[str | None, Parameter(help="Stream that was on while the baseline was taken.")] = None,
    describe_table: DescribeLiveTable = True,
    threads: Annotated[
        int, Parameter(validator=Number(gte=1, lte=_MOST_THREADS), help="Segments of the scan, read at once.")
    ] = 4,
    endpoint_url: EndpointUrl = None,
    region: Region = None,
    profile: Profile = None,
    quiet: Quiet = False,
) -> int:
    """Import the whole table, so that items which never change are known too.

    From a DynamoDB export to S3, whose manifests and checksums are checked, or by a scan of the live table. Importing
    the same export again changes nothing.
    """

    def work(say: Stderr) -> int:
        if scan == (from_export is not None):
            raise UsageError("one source is needed", hint="add either --from-export DIR|s3://... or --scan")
        into = Destination.resolve(archive, key_schema, source)
        if from_export is not None:
            export = _open_export(from_export, table, source)
            live = live_table(export, source.describer(), say) if describe_table else {}
            written = _import_export(export, live, into, say, stream_label=stream_label)
        else:
            written = _import_scan(table, source, into, say, threads=threads, stream_label=stream_label)
        described = written.description
        state = "written" if written.is_new else "was there already"
        say.line(f"{count(described.items, 'item')} in {count(len(described.parts), 'part')}: {written.name} {state}")
        return OK

    source = DataSource(endpoint_url, region, profile)
    return exit_code(work, Stderr(quiet))


def _open_export(url: str, table: str, source: DataSource) -> "Export":
    from archiver.export import open_export
    from archiver.export_files import find_export

    export = open_export(find_export(url, lambda: source.client("s3")))
    check_table(table, export.trail, f"the export in {url}")
    return export


def _import_export(
    export: "Export", live: Mapping[str, Any], into: Destination, say: Stderr, *, stream_label: str | None
) -> "Written":
    from archiver.baseline import BaselineWriter
    from archiver.streams import described_streams
    from archiver.tables import label_when_taken

    store = into.store()
    described = described_streams(store, export.trail)
    key_names, key_types = key_of(export.trail, into.settings, live, described)
    from_ms, to_ms = export.interval_ms
    label = stream_label or label_when_taken(live, described, from_ms)
    explain_label(label, say)
    writer = BaselineWriter(store, export.trail, from_ms, key_names, key_types)
    with say.counting("items", export.item_count) as advance:
        parts = writer.parts(_counted(export.items(), advance))
    origin = f"export {export.arn}, taken at {_iso(export.time_ms)}"
    return writer.describe(parts, to_ms=to_ms, origin=origin, stream_label=label, table_id=export.table_id)


def _import_scan(
    table: str, source: DataSource, into: Destination, say: Stderr, *, threads: int, stream_label: str | None
) -> "Written":
    from archiver.baseline import BaselineWriter
    from archiver.scan import scan_items
    from archiver.tables import enabled_label, key_of_table, trail_of_table

    name, region = name_and_region(table)
    client = source.client("dynamodb", region=region, connections=threads)
    live = client.describe_table(TableName=name)["Table"]
    trail = trail_of_table(live["TableArn"])
    check_table(table, trail, "the table")
    units = -(-live.get("TableSizeBytes", 0) // _READ_UNIT_BYTES)
    say.line(f"scanning {name}: about {count(live.get('ItemCount', 0), 'item')}, {count(units, 'read unit')}")
    began_ms = now_ms()
    key_names, key_types = key_of_table(live)
    writer = BaselineWriter(into.store(), trail, began_ms - began_ms % _SECOND_MS, key_names, key_types)
    with say.counting("items", live.get("ItemCount") or None) as advance:
        parts = writer.parts(_counted(scan_items(client, name, threads=threads), advance))
    ended_ms = now_ms()
    after = client.describe_table(TableName=name)["Table"]
    if after.get("TableId") != live.get("TableId"):
        raise ExportRefused(f"{name} was deleted and made again during the scan", hint="scan it again")
    label = stream_label or (enabled_label(live) if enabled_label(live) == enabled_label(after) else None)
    explain_label(label, say)
    return writer.describe(
        parts,
        to_ms=ended_ms + -ended_ms % _SECOND_MS,
        origin=f"consistent scan in {threads} segments, begun at {_iso(began_ms)}",
        stream_label=label,
        table_id=live.get("TableId"),
    )


def _counted(items: Iterable[_Item], advance: Callable[[int], None]) -> Iterator[_Item]:
    for item in items:
        yield item
        advance(1)


def _iso(instant_ms: int) -> str:
    return (
        datetime.fromtimestamp(instant_ms / _SECOND_MS, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )
