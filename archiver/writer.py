"""One batch: understand, plan, encode, put; in an order that can stop anywhere.

Invariant: when `Writer.archive` returns, every record of the batch is in the archive or in its quarantine. If it
raises,
nothing was acknowledged, whatever was already put is harmless, and the same batch may come again in any cut.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from archiver.plan import PlannedSegment, plan_segments
from archiver.segment import encode_segment
from archiver.store import ObjectStore
from archiver.stream import Quarantined, understand
from archiver.streams import Streams


@dataclass(frozen=True, slots=True)
class BatchReport:
    """What became of a batch. `received == archived + repeated + quarantined`, in records; sizes in bytes."""

    received: int = 0
    archived: int = 0
    repeated: int = 0
    quarantined: tuple[Quarantined, ...] = ()
    segments: tuple[PlannedSegment, ...] = ()
    segments_written: int = 0
    bytes_written: int = 0

    @property
    def newest_change_ms(self) -> int | None:
        """The latest creation time in the batch, epoch ms; None without any record."""
        return max((row.changed_at_ms for segment in self.segments for row in segment.rows), default=None)

    @property
    def oldest_change_ms(self) -> int | None:
        """The earliest creation time in the batch, epoch ms; None without any record."""
        return min((row.changed_at_ms for segment in self.segments for row in segment.rows), default=None)


@dataclass
class Writer:
    """Archives batches into one store. `encode` makes a planned segment's bytes (Parquet)."""

    store: ObjectStore
    streams: Streams
    encode: Callable[[PlannedSegment], bytes] = encode_segment

    def archive(self, records: Sequence[Any], *, now_ms: int) -> BatchReport:
        """Archives delivered records, all or nothing. `now_ms` (epoch ms) only decides about late markers.

        Raises StoreUnavailable or StoreRefused when the archive does not take an object.
        """
        understood, quarantined = understand(records, self.streams.key_names)
        segments = plan_segments(understood)
        archived = sum(len(segment.rows) for segment in segments)
        assert archived <= len(understood)
        # Quarantine and descriptions stand for themselves: a stop after them leaves true statements behind.
        for record in quarantined:
            self.store.put_if_absent(record.name, record.content)
        for source, name, content in self.streams.unwritten():
            self.store.put_if_absent(name, content)
            self.streams.written(source)
        sizes = [self._put(segment, now_ms) for segment in segments]
        # Segments first, answer last. If we stop between the two, Lambda sends the batch again, and each put finds its
        # own bytes already there: same records, same name, nothing overwritten.
        return BatchReport(
            received=len(records),
            archived=archived,
            repeated=len(understood) - archived,
            quarantined=tuple(quarantined),
            segments=tuple(segments),
            segments_written=sum(size > 0 for size in sizes),
            bytes_written=sum(sizes),
        )

    def _put(self, segment: PlannedSegment, now_ms: int) -> int:
        """Bytes written: 0 if the segment was already there."""
        marker = segment.late_marker(now_ms)
        if marker is not None:
            # The marker before its segment: a stop between them leaves a marker that names nothing, and the retry
            # fills it in. The other way round a late segment could stay unannounced for ever.
            self.store.put_if_absent(marker, b"")
        content = self.encode(segment)
        return len(content) if self.store.put_if_absent(segment.name, content) else 0
