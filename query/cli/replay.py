"""The command `replay`: batches that Lambda gave up on, from the on-failure destination into the archive.

Invariants: nothing is deleted here; whatever of an object is not archived is told, also with `-q`, and the exit code
says so; what is wrong with one object stops no other.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any

from cyclopts import Parameter

from archiver.format.layout import Trail
from query.cli.exits import tell_lines
from query.cli.progress import Stderr
from query.cli.replay_report import Lines, Tally, foreseen_text, records_text
from query.cli.writing import (
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
from query.errors import AmbiguousTable, UsageError
from query.table_ref import TableRef, parse_table_ref

if TYPE_CHECKING:
    from archiver.format.failed_batch import FailedBatch
    from archiver.held_back import HeldBack, HeldBackObject
    from archiver.replay import Replayed
    from archiver.streams_api import StreamsApi
    from query.settings import Settings


def replay(
    table: Annotated[
        str | None, Parameter(help="Table: name, region/name, account/region/name or ARN. Or else --all.")
    ] = None,
    /,
    *,
    all_tables: Annotated[
        bool, Parameter(name="--all", negative=(), help="Every table that is held back there.")
    ] = False,
    archive: Archive = None,
    on_failure: Annotated[
        str | None, Parameter(help="s3://BUCKET[/PREFIX], or folder or file of a copy. [DDBTRAIL_ON_FAILURE]")
    ] = None,
    dry_run: Annotated[bool, Parameter(negative=(), help="List what would be archived, and write nothing.")] = False,
    key_schema: KeySchema = None,
    describe_table: DescribeLiveTable = True,
    endpoint_url: EndpointUrl = None,
    region: Region = None,
    profile: Profile = None,
    quiet: Quiet = False,
) -> int:
    """Archive the batches that Lambda gave up on.

    Takes every object below the on-failure URL: those of S3, which hold the batch, and messages of SQS and SNS, whose
    records are read from the stream again as long as it has them (24 hours). What is in the archive already is left as
    it is, so it can be run again. It deletes nothing: standard output gets the command lines that delete the objects
    whose every record is archived or in quarantine.

    Exit code 3 says that something is lost or is no on-failure record, 4 that something could not be read or archived.
    """

    def work(say: Stderr) -> int:
        from archiver.held_back import open_held_back
        from archiver.replay import Replay

        is_meant = _Meant(_table_ref(table, all_tables=all_tables))
        into = Destination.resolve(archive, key_schema, source, on_failure=on_failure)
        url, settings = _on_failure_url(into.settings), into.settings
        reached = {
            "endpoint_url": settings.endpoint_url,
            "profile": settings.profile,
            "region": settings.region,
        }
        held_back = open_held_back(url, **reached)
        tally, lines = Tally(url), Lines()
        if dry_run:
            _each_object(held_back, tally, say, lambda content, at: _foretold(content, at, is_meant, lines))
            say.line("\n".join([tally.objects_text("would be replayed"), "nothing was written"]))
            return tally.exit_code
        replayer = Replay(
            writer=into.writer(source.describer() if describe_table else None, say),
            is_meant=is_meant,
            reread=_rereader(source),
            kept=open_held_back(into.url, **reached).read,  # its errors name the object and the right that is missing
        )
        try:
            _each_object(
                held_back,
                tally,
                say,
                lambda content, at: replayer.replay(content, at, now_ms=now_ms()),
                settled=lambda name: lines.write(held_back.removal(name)),
            )
        finally:
            say.line("\n".join([tally.objects_text("replayed"), *records_text(replayer.records, into.url)]))
        say.line(tally.settled_text())
        return tally.exit_code

    source = DataSource(endpoint_url, region, profile)
    return exit_code(work, Stderr(quiet))


# --- which table, where from ---


def _table_ref(table: str | None, *, all_tables: bool) -> TableRef | None:
    """What was named; None for all tables."""
    if all_tables == (table is not None):
        raise UsageError(
            "name one table, or all of them",
            why="an on-failure destination may serve several tables",
            hint="type ddbtrail replay TABLE, or ddbtrail replay --all",
        )
    return None if table is None else parse_table_ref(table)


@dataclass
class _Meant:
    """Whether a trail is of the table that was named. Raises AmbiguousTable when a second one is."""

    ref: TableRef | None
    _trail: Trail | None = None

    def __call__(self, trail: Trail) -> bool:
        ref = self.ref
        if ref is None:
            return True
        if (
            trail.table_name != ref.table_name
            or ref.region not in {None, trail.region}
            or ref.account not in {None, trail.account}
        ):
            return False
        if self._trail not in {None, trail}:
            assert self._trail is not None
            raise AmbiguousTable(
                f"several tables are called {ref.text}",
                why=f"candidates: {_trail_text(self._trail)}, {_trail_text(trail)}; what was archived so far stands",
                hint="write region/name or account/region/name, or --all",
            )
        self._trail = trail
        return True


def _trail_text(trail: Trail) -> str:
    return f"{trail.account}/{trail.region}/{trail.table_name}"


def _on_failure_url(settings: "Settings") -> str:
    if settings.on_failure_url is None:
        raise UsageError(
            "no on-failure destination was named",
            why="no flag, environment variable or configuration file names one",
            hint="add --on-failure s3://BUCKET[/PREFIX], or set DDBTRAIL_ON_FAILURE: the stack's output OnFailureUrl",
        )
    return settings.on_failure_url


def _rereader(source: DataSource) -> "Callable[[FailedBatch], Iterator[list[dict[str, Any]]]]":
    clients: dict[str, StreamsApi] = {}

    def records(batch: "FailedBatch") -> Iterator[list[dict[str, Any]]]:
        from archiver.reread import reread
        from archiver.streams_api import streams_client

        of_region = batch.source.trail.region
        if of_region not in clients:
            clients[of_region] = streams_client(
                batch.stream_arn, endpoint_url=source.endpoint_url, region=source.region, profile=source.profile
            )
        return reread(clients[of_region], batch, pause=time.sleep)

    return records


# --- object by object ---


def _each_object(
    held_back: "HeldBack",
    tally: Tally,
    say: Stderr,
    handle: "Callable[[bytes, str], Replayed]",
    settled: Callable[[str], None] = lambda _name: None,
) -> None:
    """Handles every object in turn; what is wrong with one is told at once, and the next one goes on."""
    with say.counting("objects") as advance:
        for stored in held_back.objects():
            tally.objects += 1
            became = _handled(held_back, stored, handle)
            tally.add(became)
            for trouble in became.troubles:
                tell_lines(filter(None, (f"{trouble.kind.value}: {trouble.why}", tally.hint_once(trouble))))
            if became.is_settled:
                settled(stored.name)
            advance(1)


def _handled(held_back: "HeldBack", stored: "HeldBackObject", handle: "Callable[[bytes, str], Replayed]") -> "Replayed":
    from archiver.held_back import LARGEST_BYTES, DestinationUnreadable
    from archiver.replay import Kind, Replayed, Trouble

    address = held_back.address(stored.name)
    if stored.size_bytes > LARGEST_BYTES:
        why = f"{address} has {stored.size_bytes} bytes, more than Lambda can have written"
        hint = f"if it holds many messages, split it: split -C {LARGEST_BYTES} FILE"
        return Replayed(troubles=[Trouble(Kind.NOT_REPLAYABLE, why, hint)])
    try:
        content = held_back.read(stored.name)
    except DestinationUnreadable as error:
        return Replayed(troubles=[Trouble.of(Kind.FAILED, error)])
    return handle(content, address)


def _foretold(content: bytes, address: str, is_meant: Callable[[Trail], bool], lines: Lines) -> "Replayed":
    from archiver.failed_batches import NotReplayable
    from archiver.replay import Kind, Replayed, Trouble, foresee

    became = Replayed()
    for place, batch in became.meant(content, address, is_meant):
        try:
            lines.write(f"{place}: {foreseen_text(foresee(place, batch))}")
        except NotReplayable as error:
            became.troubles.append(Trouble.of(Kind.NOT_REPLAYABLE, error))
    return became
