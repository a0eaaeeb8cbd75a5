"""The table of segments beside a run: which segment an entry of the log names, and what the log says of it.

It has the run's own segments, and of earlier ones those that a reader of the tail may still come across: sealed so
lately, or of so late an hour, that a listing of the tail shows them.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from typing import Final

import pyarrow as pa
import pyarrow.parquet as pq

from archiver.format.layout import HOUR_MS, SegmentName
from archiver.format.log_entry import SegmentEntry
from query.derived.live import LiveRun
from query.derived.tail import TAIL_MS
from query.errors import DerivedGone
from query.seal_log import SealMismatch
from query.sealed import check_sealed
from query.source import Source

_RECENT_MS: Final = TAIL_MS + 48 * HOUR_MS  # late markers are listed from the beginning of the day before it

_SCHEMA: Final = pa.schema(
    [
        pa.field("entry", pa.int64(), nullable=False),
        pa.field("sealed_at_ms", pa.int64(), nullable=False),
        pa.field("path", pa.string(), nullable=False),
        pa.field("stream_label", pa.string(), nullable=False),
        pa.field("file_sha256", pa.string(), nullable=False),
        pa.field("bytes", pa.int64(), nullable=False),
        pa.field("records", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class SealedSegment:
    """A segment as the log has it: its entry's number, when it was sealed (epoch ms), its name inside the trail,
    its label, the SHA-256 (hex) and size in bytes of its file, and how many records it has.
    """

    entry: int
    sealed_at_ms: int
    path: str
    stream_label: str
    file_sha256: str
    bytes: int
    records: int

    @classmethod
    def of(cls, number: int, entry: SegmentEntry, sealed_at_ms: int) -> "SealedSegment":
        """From an entry of a seal."""
        return cls(number, sealed_at_ms, entry.path, entry.stream_label, entry.file_sha256, entry.bytes, entry.records)

    def is_recent(self, sealed_to_ms: int) -> bool:
        """Whether it may stand in the tail of a log whose last interval ends at `sealed_to_ms` (epoch ms), or later."""
        return (
            self.sealed_at_ms >= sealed_to_ms - _RECENT_MS
            or SegmentName.parse(self.path).hour_ms >= sealed_to_ms - TAIL_MS
        )


def table_of(segments: Iterable[SealedSegment]) -> pa.Table:
    """The table, in order of entries."""
    names = _SCHEMA.names
    return pa.Table.from_pylist(
        [{name: getattr(segment, name) for name in names} for segment in segments], schema=_SCHEMA
    )


def parse_segments(content: bytes) -> tuple[SealedSegment, ...]:
    """The segments of a table. Raises ValueError."""
    try:
        table = pq.ParquetFile(pa.BufferReader(content)).read()  # not `read_table`, which imports pandas where it is
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"it is no table of segments: {error}") from error
    if not table.schema.equals(_SCHEMA):
        raise ValueError("it does not have the columns of a table of segments")
    return tuple(SealedSegment(**row) for row in table.to_pylist())


def read_segment_table(derived: Source, run: LiveRun) -> tuple[SealedSegment, ...]:
    """The table of segments of a run, its digest checked. Raises SealMismatch, DerivedGone."""
    file = run.description.segments
    name = run.folder + file.name
    (content,) = derived.read([name])
    if content is None:
        raise DerivedGone(name)
    check_sealed(name, sha256(content).hexdigest(), file.sha256)
    try:
        return parse_segments(content)
    except ValueError as error:
        raise SealMismatch(
            f"{name} cannot be read", why=str(error), hint="delete the run; compact makes it anew"
        ) from error
