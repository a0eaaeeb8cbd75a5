"""The commands that write evidence: `archive`, `follow` and `baseline`.

The one place where the reader's command line meets the archiver. Clocks and signals are read here and handed down; what
the commands do is written in `archiver`. Everything that is said goes to stderr; the answer is the exit code.
"""

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, Self

from cyclopts import Parameter
from cyclopts.validators import Number

from archiver.errors import ArchiverError, ExportRefused, NotConfigured
from archiver.format.layout import StreamSource, Trail
from query.config import Settings, load, require_archive
from query.errors import QueryError, UsageError

if TYPE_CHECKING:
    from archiver.baseline import Written
    from archiver.export import Export
    from archiver.store import ObjectStore
    from archiver.streams import DescribeTable
    from archiver.writer import BatchReport, Writer

OK: Final = 0
USAGE: Final = 2
NOT_COVERED: Final = 3
FAILED: Final = 4
INTERRUPTED: Final = 130  # as a shell reports a program that SIGINT ended

_MOST_MERGED_RECORDS: Final = 10_000
_MOST_THREADS: Final = 64
_READ_UNIT_BYTES: Final = 4096  # a consistent read takes one unit for each 4 KB
_SECOND_MS: Final = 1000

_Item = tuple[str, Mapping[str, Any]]  # the place it stands at, and its attributes

_Archive = Annotated[str | None, Parameter(name=["--archive", "-a"], help="Name, folder or s3:// URL of the archive.")]
_KeySchema = Annotated[str | None, Parameter(help="Key attributes: `pk,sk`, or `orders=pk,sk;customers=id`.")]
_Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative=(), help="Say nothing but errors.")]
_EndpointUrl = Annotated[str | None, Parameter(help="Where AWS answers, if not at AWS.")]
_Region = Annotated[str | None, Parameter(help="AWS region.")]
_Profile = Annotated[str | None, Parameter(help="Profile of the AWS configuration.")]
_DescribeTable = Annotated[bool, Parameter(help="Ask the live table for its key schema and table id.")]


# --- commands ---


def archive(
    *files: Annotated[str, Parameter(allow_leading_hyphen=True, help="Files of events; `-` is standard input.")],
    archive: _Archive = None,
    key_schema: _KeySchema = None,
    describe_table: _DescribeTable = False,
    batch: Annotated[
        int, Parameter(validator=Number(gte=1, lte=_MOST_MERGED_RECORDS), help="Merge events up to so many records.")
    ] = 1,
    endpoint_url: _EndpointUrl = None,
    region: _Region = None,
    profile: _Profile = None,
    quiet: _Quiet = False,
) -> int:
    """Archive recorded Lambda events of DynamoDB streams.

    Takes JSON (an event, or an array of events) and JSON Lines, plain, gzip or zstd, and the objects that Lambda leaves
    in an S3 on-failure destination. What is in the archive already is left as it is, so a file can be archived again.
    """

    def work(say: _Stderr) -> int:
        from archiver.recorded import iter_events, merge

        if not files:
            raise UsageError("no file was named", hint="type ddbtrail archive FILE, or - for standard input")
        into = _Place.resolve(archive, key_schema, source)
        writer = into.writer(source.describer() if describe_table else None, say)
        total = _Total(into.url)
        try:
            with say.counting("records") as advance:
                for file in files:
                    for _, records in merge(iter_events(_file(file)), batch):
                        advance(total.add(writer.archive(records, now_ms=_now_ms())))
        finally:
            say.line(total.summary())  # what stands in the archive, also when the next line says why it ended
        return OK

    source = _Source(endpoint_url, region, profile)
    return _exit_code(work, _Stderr(quiet))


def follow(
    *,
    stream: Annotated[str, Parameter(help="ARN of the stream.")],
    archive: _Archive = None,
    checkpoint: Annotated[Path | None, Parameter(help="File that keeps the position in the stream.")] = None,
    until_caught_up: Annotated[bool, Parameter(negative=(), help="End when the stream holds nothing new.")] = False,
    key_schema: _KeySchema = None,
    describe_table: _DescribeTable = True,
    endpoint_url: _EndpointUrl = None,
    region: _Region = None,
    profile: _Profile = None,
    quiet: _Quiet = False,
) -> int:
    """Read a DynamoDB stream and archive it, from its beginning or from where the last run stopped.

    Ctrl-C finishes the current batch, keeps the position and ends with 130. Exit code 3 says that the stream had
    forgotten changes before they could be read.
    """

    def work(say: _Stderr) -> int:
        from archiver.checkpoint import CheckpointFile
        from archiver.follower import Follower
        from archiver.streams_api import streams_client

        into = _Place.resolve(archive, key_schema, source)
        arn = _stream_arn(stream)
        path = checkpoint or _checkpoint_path(arn, into.url)
        writer = into.writer(source.describer() if describe_table else None, say)
        total, stop = _Total(into.url), threading.Event()
        say.line(f"position in the stream is kept in {path}")
        try:
            with say.counting("records") as advance, _stopped_by_signals(stop):
                follower = Follower(
                    client=streams_client(arn, endpoint_url=endpoint_url, region=region, profile=profile),
                    stream_arn=arn,
                    checkpoints=CheckpointFile(path, arn, into.url),
                    deliver=lambda records: advance(total.add(writer.archive(records, now_ms=_now_ms()))),
                    stop=stop,
                    pause=stop.wait,
                    monotonic=time.monotonic,
                    warn=say.warning,
                )
                follower.run(until_caught_up=until_caught_up)
        finally:
            say.line(total.summary())
        return INTERRUPTED if stop.is_set() else NOT_COVERED if follower.losses else OK

    source = _Source(endpoint_url, region, profile)
    return _exit_code(work, _Stderr(quiet))


def baseline(
    table: Annotated[str, Parameter(help="Table: name, region/name, account/region/name or ARN.")],
    /,
    *,
    from_export: Annotated[str | None, Parameter(help="Folder or s3:// URL of a full export in DynamoDB JSON.")] = None,
    scan: Annotated[bool, Parameter(negative=(), help="Read the live table instead, consistently.")] = False,
    archive: _Archive = None,
    key_schema: _KeySchema = None,
    stream_label: Annotated[str | None, Parameter(help="Stream that was on while the baseline was taken.")] = None,
    describe_table: _DescribeTable = True,
    threads: Annotated[
        int, Parameter(validator=Number(gte=1, lte=_MOST_THREADS), help="Segments of the scan, read at once.")
    ] = 4,
    endpoint_url: _EndpointUrl = None,
    region: _Region = None,
    profile: _Profile = None,
    quiet: _Quiet = False,
) -> int:
    """Import the whole table, so that items which never change are known too.

    From a DynamoDB export to S3, whose manifests and checksums are checked, or by a scan of the live table. Importing
    the same export again changes nothing.
    """

    def work(say: _Stderr) -> int:
        if scan == (from_export is not None):
            raise UsageError("one source is needed", hint="add either --from-export DIR|s3://... or --scan")
        into = _Place.resolve(archive, key_schema, source)
        if from_export is not None:
            export = _open_export(from_export, table, source)
            live = _live_table(export, source.describer(), say) if describe_table else {}
            written = _import_export(export, live, into, say, stream_label=stream_label)
        else:
            written = _import_scan(table, source, into, say, threads=threads, stream_label=stream_label)
        described = written.description
        state = "written" if written.is_new else "was there already"
        say.line(f"{_count(described.items, 'item')} in {_count(len(described.parts), 'part')}: {written.name} {state}")
        return OK

    source = _Source(endpoint_url, region, profile)
    return _exit_code(work, _Stderr(quiet))


# --- where from, where to ---


@dataclass(frozen=True, slots=True)
class _Source:
    """How AWS is reached where the data comes from, as typed; the archive may lie somewhere else."""

    endpoint_url: str | None
    region: str | None
    profile: str | None

    def client(self, service: str, *, region: str | None = None, connections: int = 10) -> Any:
        import boto3
        from botocore.config import Config

        limits = Config(retries={"mode": "adaptive", "total_max_attempts": 10}, max_pool_connections=connections)
        session: Any = boto3.Session(profile_name=self.profile)
        return session.client(service, region_name=self.region or region, endpoint_url=self.endpoint_url, config=limits)

    def describer(self) -> "DescribeTable":
        """DescribeTable in the region of the ARN, or the one typed: an emulator's ARNs may name one of their own."""
        from archiver.tables import table_describer

        describe = table_describer(endpoint_url=self.endpoint_url, profile=self.profile)
        region = self.region
        if region is None:
            return describe
        return lambda stream: describe(replace(stream, trail=replace(stream.trail, region=region)))


@dataclass(frozen=True, slots=True)
class _Place:
    """The archive that is written to, as flags, environment and configuration files name it."""

    settings: Settings
    url: str

    @classmethod
    def resolve(cls, archive: str | None, key_schema: str | None, source: _Source) -> Self:
        flags = {
            "archive": archive,
            "key_schema": key_schema,
            "endpoint_url": source.endpoint_url,
            "region": source.region,
            "profile": source.profile,
        }
        settings = load(flags, os.environ, cwd=Path.cwd(), home=Path.home())
        return cls(settings, require_archive(settings))

    def store(self) -> "ObjectStore":
        from archiver.store import open_store

        settings = self.settings
        return open_store(
            self.url, endpoint_url=settings.endpoint_url, profile=settings.profile, region=settings.region
        )

    def writer(self, describe: "DescribeTable | None", say: "_Stderr") -> "Writer":
        from archiver.streams import Streams
        from archiver.writer import Writer

        streams = Streams(key_schema=_KeySchemas(self.settings), describe_table=describe, warn=say.warning)
        return Writer(store=self.store(), streams=streams)


class _KeySchemas(Mapping[str, tuple[str, ...]]):
    """Key attributes by table name, as configured; `--key-schema pk,sk` holds for every table."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings

    def __getitem__(self, table_name: str) -> tuple[str, ...]:
        names = self._settings.key_schema_for(table_name)
        if names is None:
            raise KeyError(table_name)
        return names

    def __iter__(self) -> Iterator[str]:
        return iter({*self._settings.key_schema, *self._settings.tables})

    def __len__(self) -> int:
        return len(list(iter(self)))


# --- baselines ---


def _open_export(url: str, table: str, source: _Source) -> "Export":
    from archiver.export import open_export
    from archiver.export_files import find_export

    export = open_export(find_export(url, lambda: source.client("s3")))
    _check_table(table, export.trail, f"the export in {url}")
    return export


def _import_export(
    export: "Export", live: Mapping[str, Any], into: _Place, say: "_Stderr", *, stream_label: str | None
) -> "Written":
    from archiver.baseline import BaselineWriter
    from archiver.streams import described_streams, label_at

    store = into.store()
    described = described_streams(store, export.trail)
    key_names, key_types = _key_of(export.trail, into.settings, live, described)
    from_ms, to_ms = export.interval_ms
    enabled = [live["LatestStreamLabel"]] if live.get("LatestStreamLabel") else []
    label = stream_label or label_at(enabled, from_ms) or label_at(described, from_ms)
    _explain_label(label, say)
    writer = BaselineWriter(store, export.trail, from_ms, key_names, key_types)
    with say.counting("items", export.item_count) as advance:
        parts = writer.parts(_counted(export.items(), advance))
    origin = f"export {export.arn}, taken at {_iso(export.time_ms)}"
    return writer.describe(parts, to_ms=to_ms, origin=origin, stream_label=label, table_id=export.table_id)


def _import_scan(
    table: str, source: _Source, into: _Place, say: "_Stderr", *, threads: int, stream_label: str | None
) -> "Written":
    from archiver.baseline import BaselineWriter
    from archiver.scan import scan_items
    from archiver.tables import trail_of_table

    name, region = _name_and_region(table)
    client = source.client("dynamodb", region=region, connections=threads)
    live = client.describe_table(TableName=name)["Table"]
    trail = trail_of_table(live["TableArn"])
    _check_table(table, trail, "the table")
    units = -(-live.get("TableSizeBytes", 0) // _READ_UNIT_BYTES)
    say.line(f"scanning {name}: about {_count(live.get('ItemCount', 0), 'item')}, {_count(units, 'read unit')}")
    began_ms = _now_ms()
    key_names, key_types = _key_of_table(live)
    writer = BaselineWriter(into.store(), trail, began_ms - began_ms % _SECOND_MS, key_names, key_types)
    with say.counting("items", live.get("ItemCount") or None) as advance:
        parts = writer.parts(_counted(scan_items(client, name, threads=threads), advance))
    ended_ms = _now_ms()
    after = client.describe_table(TableName=name)["Table"]
    if after.get("TableId") != live.get("TableId"):
        raise ExportRefused(f"{name} was deleted and made again during the scan", hint="scan it again")
    label = stream_label or (_enabled_label(live) if _enabled_label(live) == _enabled_label(after) else None)
    _explain_label(label, say)
    return writer.describe(
        parts,
        to_ms=ended_ms + -ended_ms % _SECOND_MS,
        origin=f"consistent scan in {threads} segments, begun at {_iso(began_ms)}",
        stream_label=label,
        table_id=live.get("TableId"),
    )


def _live_table(export: "Export", describe: "DescribeTable", say: "_Stderr") -> Mapping[str, Any]:
    """The table as it is now, if it is still the one that was exported; empty if it is not, or cannot be asked."""
    from archiver.streams import TableUnreadable

    try:
        live = describe(StreamSource(export.trail, ""))
    except TableUnreadable as error:
        say.warning(f"could not describe {export.trail.table_name}: {error}")
        return {}
    if live.get("TableId") != export.table_id:
        say.warning(f"{export.trail.table_name} is another table today than the one that was exported")
        return {}
    return live


def _key_of(
    trail: Trail, settings: Settings, live: Mapping[str, Any], described: Mapping[str, Any]
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Key attributes in order, and their types as far as known; an export holds whole items and does not say."""
    known = [_key_of_table(live)] if live else []
    known += [(stream.key_names, dict(stream.key_schema)) for stream in described.values()]
    configured = settings.key_schema_for(trail.table_name)
    if configured is not None:
        return configured, next((types for names, types in known if names == configured), {})
    if not known:
        raise UsageError(
            f"the key of {trail.table_name} is not known",
            why="an export holds whole items, and neither live table nor archive says which attributes are the key",
            hint="add --key-schema pk,sk: partition key, then sort key",
        )
    return known[0]


def _key_of_table(live: Mapping[str, Any]) -> tuple[tuple[str, ...], dict[str, str]]:
    roles = {element["KeyType"]: element["AttributeName"] for element in live["KeySchema"]}
    types = {one["AttributeName"]: one["AttributeType"] for one in live["AttributeDefinitions"]}
    names = tuple(roles[role] for role in ("HASH", "RANGE") if role in roles)
    return names, {name: types[name] for name in names}


def _enabled_label(live: Mapping[str, Any]) -> str | None:
    return live.get("LatestStreamLabel") if live.get("StreamSpecification", {}).get("StreamEnabled") else None


def _explain_label(label: str | None, say: "_Stderr") -> None:
    if label is None:
        say.warning(
            "no stream is known to have been on while this baseline was taken, so it adds no coverage: an instant is "
            "answered from it only where a change on the other side of the gap agrees (docs/answers.md, Coverage); "
            "if one was on, stop and add --stream-label"
        )


def _check_table(given: str, trail: Trail, what: str) -> None:
    from archiver.tables import trail_of_table

    names = (trail.account, trail.region, trail.table_name)
    try:
        is_meant = trail_of_table(given) == trail if given.startswith("arn:") else _ends_with(names, given.split("/"))
    except ValueError:
        is_meant = False
    if not is_meant:
        raise UsageError(f"{what} is of {'/'.join(names)}, not of {given}", hint=f"type {trail.table_name}")


def _ends_with(names: tuple[str, ...], given: list[str]) -> bool:
    return list(names[-len(given) :]) == given


def _name_and_region(table: str) -> tuple[str, str | None]:
    if table.startswith("arn:"):
        return table.rpartition("/")[2], table.split(":")[3] if table.count(":") > 3 else None  # noqa: PLR2004
    parts = table.split("/")
    return parts[-1], parts[-2] if len(parts) > 1 else None


def _counted(items: Iterable[_Item], advance: Callable[[int], None]) -> Iterator[_Item]:
    for item in items:
        yield item
        advance(1)


# --- arguments and clocks ---


def _stream_arn(text: str) -> str:
    try:
        StreamSource.parse(text)
    except ValueError as error:
        hint = "type arn:aws:dynamodb:REGION:ACCOUNT:table/NAME/stream/LABEL, as describe-table shows it"
        raise UsageError(str(error), hint=hint) from error
    return text


def _checkpoint_path(stream_arn: str, archive_url: str) -> Path:
    state = Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local/state")
    return state / "ddbtrail" / f"{sha256(f'{stream_arn} {archive_url}'.encode()).hexdigest()[:16]}.json"


def _file(name: str) -> str:
    if name.startswith("-") and name != "-":
        raise UsageError(f"unknown option {name}", hint=f"for a file of that name type ./{name}")
    return name


@contextmanager
def _stopped_by_signals(stop: threading.Event) -> Iterator[None]:
    """The first SIGINT or SIGTERM asks to stop after the current batch; the next one does what it always does."""

    def on_signal(number: int, _frame: object) -> None:
        stop.set()
        signal.signal(number, before[number])

    signals = (signal.SIGINT, signal.SIGTERM)
    before = {int(number): signal.signal(number, on_signal) for number in signals}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _iso(instant_ms: int) -> str:
    return (
        datetime.fromtimestamp(instant_ms / _SECOND_MS, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
    )


# --- what is said ---


@dataclass
class _Total:
    """What became of all batches so far."""

    archive_url: str
    archived: int = 0
    segments: int = 0
    segments_written: int = 0
    repeated: int = 0
    quarantined: int = 0
    first_quarantined: dict[str, str] = field(default_factory=dict)

    def add(self, report: "BatchReport") -> int:
        """Takes a batch in; how many records it had."""
        self.archived += report.archived
        self.segments += len(report.segments)
        self.segments_written += report.segments_written
        self.repeated += report.repeated
        self.quarantined += len(report.quarantined)
        for record in report.quarantined:
            # One for each folder is enough to say where they are, and bounds what is remembered.
            self.first_quarantined.setdefault(record.name.rpartition("/")[0], record.reason)
        return report.received

    def summary(self) -> str:
        there = self.segments - self.segments_written
        lines = [
            f"archived {_count(self.archived, 'record')} in {_count(self.segments, 'segment')}"
            + (f", {_count(there, 'segment')} of them there already" if there else "")
            + (f", {_count(self.repeated, 'record')} twice in a batch" if self.repeated else "")
            + f"; {_count(self.quarantined, 'record')} quarantined"
        ]
        lines += [
            f"  kept verbatim in {self.archive_url.rstrip('/')}/{folder}/, the first one because: {reason}"
            for folder, reason in self.first_quarantined.items()
        ]
        return "\n".join(lines)


@dataclass
class _Stderr:
    """Everything that is said while a command runs; `-q` leaves only its errors."""

    is_quiet: bool
    _warned: set[str] = field(default_factory=set)

    def line(self, text: str) -> None:
        if not self.is_quiet:
            print(text, file=sys.stderr)

    def warning(self, text: str) -> None:
        if text not in self._warned:
            self._warned.add(text)
            self.line(f"warning: {text}")

    @contextmanager
    def counting(self, what: str, total: int | None = None) -> Iterator[Callable[[int], None]]:
        """A progress bar while the body runs, on a terminal; gives a function that takes how many more are done."""
        if self.is_quiet or not sys.stderr.isatty():
            yield lambda _more: None
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
        with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
            task = progress.add_task(what, total=total)
            yield lambda more: progress.advance(task, more)


def _count(number: int, what: str) -> str:
    return f"{number:,}".replace(",", " ") + f" {what}{'' if number == 1 else 's'}"


def _exit_code(work: Callable[[_Stderr], int], say: _Stderr) -> int:
    """Runs a command; every error that a person can act on becomes lines on stderr and an exit code."""
    try:
        return work(say)
    except QueryError as error:
        print(error.three_lines(), file=sys.stderr)
        return error.exit_code
    except ArchiverError as error:
        print("\n".join(filter(None, (str(error), error.hint))), file=sys.stderr)
        return USAGE if isinstance(error, NotConfigured) else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except Exception as error:
        if not _is_of_aws(error):
            raise
        print(
            f"AWS did not answer: {error}\ncheck credentials, --profile, --region and --endpoint-url", file=sys.stderr
        )
        return FAILED


def _is_of_aws(error: Exception) -> bool:
    from botocore.exceptions import BotoCoreError, ClientError

    return isinstance(error, BotoCoreError | ClientError)
