"""The command `follow`: a stream, read by ourselves, into the archive.

Signals and the monotonic clock are met here. Invariant: a signal ends the command after the current batch, its position
kept, so that the next run goes on where this one stopped.
"""

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from archiver.format.layout import StreamSource
from query.cli.exits import INTERRUPTED, NOT_COVERED
from query.cli.progress import Stderr, Total
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


def follow(
    *,
    stream: Annotated[str, Parameter(help="ARN of the stream.")],
    archive: Archive = None,
    checkpoint: Annotated[Path | None, Parameter(help="File that keeps the position in the stream.")] = None,
    until_caught_up: Annotated[bool, Parameter(negative=(), help="End when the stream holds nothing new.")] = False,
    key_schema: KeySchema = None,
    describe_table: DescribeLiveTable = True,
    endpoint_url: EndpointUrl = None,
    region: Region = None,
    profile: Profile = None,
    compare: Annotated[
        bool, Parameter(negative=(), help="Write nothing: compare all that the stream holds with the archive.")
    ] = False,
    grace: Annotated[str, Parameter(help="With --compare: younger changes are on their way.")] = "10m",
    output: Annotated[
        str | None, Parameter(name=["--output", "-o"], help="With --compare: table, json, jsonl, csv, tsv, md or html.")
    ] = None,
    quiet: Quiet = False,
) -> int:
    """Read a DynamoDB stream and archive it, from its beginning or from where the last run stopped.

    Ctrl-C finishes the current batch, keeps the position and ends with 130. Exit code 3 says that the stream had
    forgotten changes before they could be read.

    With --compare this is an independent second reader: nothing is archived and no position is kept. The stream is read
    from its beginning and compared, change by change and leaf by leaf, with what the archive holds. Exit code 1 says
    that the archive holds something else, or changes that the stream does not have; 3 that changes are missing in it; 4
    that part of the stream could not be read.
    """
    if compare:
        from query.cli.second_reading import Reading, compare_stream

        if checkpoint is not None:
            raise UsageError("--compare keeps no position", hint="leave out --checkpoint")
        reading = Reading(_stream_arn(stream), DataSource(endpoint_url, region, profile), grace, archive, output)
        return exit_code(lambda say: compare_stream(reading, say), Stderr(quiet))

    def work(say: Stderr) -> int:
        from archiver.checkpoint import CheckpointFile
        from archiver.follower import Follower
        from archiver.streams_api import streams_client

        into = Destination.resolve(archive, key_schema, source)
        arn = _stream_arn(stream)
        path = checkpoint or _checkpoint_path(arn, into.url)
        writer = into.writer(source.describer() if describe_table else None, say)
        total, stop = Total(into.url), threading.Event()
        say.line(f"position in the stream is kept in {path}")
        try:
            with say.counting("records") as advance, stopped_by_signals(stop):
                follower = Follower(
                    client=streams_client(arn, endpoint_url=endpoint_url, region=region, profile=profile),
                    stream_arn=arn,
                    checkpoints=CheckpointFile(path, arn, into.url),
                    deliver=lambda records: advance(total.add(writer.archive(records, now_ms=now_ms()))),
                    stop=stop,
                    pause=stop.wait,
                    monotonic=time.monotonic,
                    warn=say.warning,
                )
                follower.run(until_caught_up=until_caught_up)
        finally:
            say.line(total.summary())
        return INTERRUPTED if stop.is_set() else NOT_COVERED if follower.losses else OK

    source = DataSource(endpoint_url, region, profile)
    return exit_code(work, Stderr(quiet))


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


@contextmanager
def stopped_by_signals(stop: threading.Event) -> Iterator[None]:
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
