"""`follow --compare`: a stream read once more, by somebody who archives nothing, beside what the archive holds.

Signals and clocks are met here. Invariant: nothing is written, neither to the archive nor to a checkpoint; a reading
that was stopped says nothing about the archive.
"""

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from archiver.checkpoint import Position
from archiver.format.layout import StreamSource
from query.cli.durations import duration_ms
from query.cli.exits import INTERRUPTED
from query.cli.follow import stopped_by_signals
from query.cli.invocation import Invocation
from query.cli.options import Options
from query.cli.progress import Stderr
from query.cli.writing import DataSource, now_ms

if TYPE_CHECKING:
    from query.second_reader import SecondReader


@dataclass(frozen=True, slots=True)
class Reading:
    """What was typed: the stream, how its AWS is reached, the grace, the archive, and how the answer is written."""

    stream_arn: str
    data: DataSource
    grace: str
    archive: str | None
    output: str | None


class _Nowhere:
    """No position is kept, so every reading begins at the trim horizon."""

    def load(self) -> Mapping[str, Position]:
        return {}

    def save(self, positions: Mapping[str, Position]) -> None:
        pass


def compare_stream(reading: Reading, say: Stderr) -> int:
    """Reads the stream to its end, compares, writes the answer; the exit code of the comparison."""
    from archiver.follower import Follower
    from archiver.streams_api import streams_client
    from query.engine import Engine
    from query.render.second_reader import comparison_document, comparison_lines, disagreement_sheet
    from query.second_reader import SecondReader

    data, source = reading.data, StreamSource.parse(reading.stream_arn)
    grace_ms = duration_ms(reading.grace, "--grace")
    run = Invocation(
        Options(
            archive=reading.archive,
            endpoint_url=data.endpoint_url,
            region=data.region,
            profile=data.profile,
            output=reading.output,
            quiet=say.is_quiet,
        )
    )
    evidence = run.archive.source  # an archive that cannot be read is told before a day of changes is
    engine = Engine(memory_limit=run.settings.memory_limit, threads=run.settings.threads)
    stop, began_ms = threading.Event(), now_ms()
    with SecondReader(engine, source.trail, source.stream_label) as second:
        with say.counting("records") as advance, stopped_by_signals(stop):
            follower = Follower(
                client=streams_client(
                    reading.stream_arn, endpoint_url=data.endpoint_url, region=data.region, profile=data.profile
                ),
                stream_arn=reading.stream_arn,
                checkpoints=_Nowhere(),
                deliver=lambda records: advance(_take(second, records)),
                stop=stop,
                pause=stop.wait,
                monotonic=time.monotonic,
                warn=say.warning,
            )
            follower.run(until_caught_up=True)
        if stop.is_set():
            say.line("stopped before the stream was read to its end: nothing was compared")
            return INTERRUPTED
        found = second.compare(
            evidence, began_ms=began_ms, ended_ms=now_ms(), grace_ms=grace_ms, losses=follower.losses
        )
    name = source.trail.table_name
    redaction = run.redaction_of(name)
    if run.target.output == "json":
        run.write_document(comparison_document(found, name, redaction))
    else:
        look = run.target.look
        run.write(disagreement_sheet(found, redaction), lambda: comparison_lines(found, name, redaction, look))
    return found.exit_code


def _take(second: "SecondReader", records: list[dict[str, Any]]) -> int:
    """Understands a batch as the archiver does; how many records it had."""
    from archiver.stream import understand
    from query.second_reader import Read

    understood, quarantined = understand(records, lambda _source, _record: None)
    read = [
        Read(
            record.item_key.decode(),
            record.sequence_number,
            record.change_id,
            record.op,
            record.changed_at_ms,
            record.leaf,
        )
        for record in understood
    ]
    second.take(read, (each.name for each in quarantined))
    return len(records)
