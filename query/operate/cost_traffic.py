"""How a table's writes become batches, PUTs and bytes: from a workload, or from what an archive holds. Pure.

Invariant: a batch is closed by the first of three limits (*Lambda parameters for Amazon DynamoDB event source
mappings*): its window ends, it has `BatchSize` records, or it has 6 MB. Writes are taken to come evenly in time, and to
be spread evenly over the shards.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from query.operate.cost_figures import Figures

MONTH_S: Final = 730 * 3600
PAYLOAD_BYTES: Final = 6 * 1024 * 1024
BATCH_SIZE_MAX: Final = 10_000
WINDOW_S_MAX: Final = 300
_HOUR_S: Final = 3600
_DAY_S: Final = 86_400
# Smaller objects are neither moved nor monitored (*How S3 Intelligent-Tiering works*).
TIERED_BYTES: Final = 128 * 1024


@dataclass(frozen=True, slots=True)
class Workload:
    """The writes of a table and the event source mapping that reads its stream; sizes as DynamoDB counts them."""

    writes_per_second: float
    item_bytes: float = 1024
    shards: int = 4
    window_s: float = 60
    batch_size: int = BATCH_SIZE_MAX


@dataclass(frozen=True, slots=True)
class Seen:
    """What a listing says of a trail: segments of so many days, their bytes, and those of 128 KB or more."""

    days: float
    segments: int
    bytes: int
    tiered_segments: int
    tiered_bytes: int

    @classmethod
    def of(cls, sizes_bytes: Iterable[int], days: float) -> "Seen":
        sizes = list(sizes_bytes)
        tiered = [size for size in sizes if size >= TIERED_BYTES]
        return cls(days, len(sizes), sum(sizes), len(tiered), sum(tiered))


@dataclass(frozen=True, slots=True)
class Traffic:
    """A month of archiving: what Lambda runs and what S3 takes. CPU seconds are those of the machine that was measured.

    `tiered_bytes` are those in objects that are large enough for Intelligent-Tiering.
    """

    writes: float
    shards: int
    batches: float
    records_per_batch: float
    puts: float
    cpu_s: float
    stored_bytes: float
    tiered_objects: float
    tiered_bytes: float


def _nothing(shards: int) -> Traffic:
    return Traffic(0.0, shards, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0)


def most_records(workload: Workload, figures: Figures) -> int:
    """Records that fit into a batch: its size or 6 MB, whichever comes first; one record always fits."""
    return max(1, min(workload.batch_size, int(PAYLOAD_BYTES / figures.event_bytes(workload.item_bytes))))


def traffic_of(workload: Workload, figures: Figures) -> Traffic:
    """The traffic that a workload makes."""
    rate = workload.writes_per_second / workload.shards
    if rate == 0:
        return _nothing(workload.shards)
    # A window in which nothing is written makes no batch: never more batches than records.
    full_per_s = rate / most_records(workload, figures)
    per_s = min(rate, max(1 / workload.window_s, full_per_s))
    batches = workload.shards * per_s * MONTH_S
    records = rate / per_s
    # A batch that spans the turn of an hour becomes two segments.
    turns = (records - 1) / rate / _HOUR_S
    puts = batches * (figures.puts_per_batch + turns)
    batch = figures.of(workload.item_bytes)(records)
    stored = batches * batch.segment_bytes
    is_tiered = batch.segment_bytes >= TIERED_BYTES
    return Traffic(
        writes=workload.writes_per_second * MONTH_S,
        shards=workload.shards,
        batches=batches,
        records_per_batch=records,
        puts=puts,
        cpu_s=batches * batch.cpu_s,
        stored_bytes=stored,
        tiered_objects=puts if is_tiered else 0.0,
        tiered_bytes=stored if is_tiered else 0.0,
    )


def traffic_seen(seen: Seen, *, item_bytes: float, shards: int, figures: Figures) -> Traffic:
    """The traffic that an archive has taken. PUTs and bytes are counted; writes are told from bytes and item size.

    Each segment is taken for a batch of its own: with batches that span the turn of an hour there are fewer.
    """
    months = seen.days * _DAY_S / MONTH_S
    segments = seen.segments / months
    if not seen.segments:
        return _nothing(shards)
    records = _records_of(seen.bytes / seen.segments, item_bytes, figures)
    return Traffic(
        writes=segments * records,
        shards=shards,
        batches=segments,
        records_per_batch=records,
        puts=segments,
        cpu_s=segments * figures.of(item_bytes)(records).cpu_s,
        stored_bytes=seen.bytes / months,
        tiered_objects=seen.tiered_segments / months,
        tiered_bytes=seen.tiered_bytes / months,
    )


def _records_of(segment_bytes: float, item_bytes: float, figures: Figures) -> float:
    """Records of a batch whose segment has so many bytes: between one and the most that a batch can have."""
    batch = figures.of(item_bytes)
    few, many = 1.0, float(BATCH_SIZE_MAX)
    while many - few > few * 1e-6:
        middle = (few + many) / 2
        few, many = (middle, many) if batch(middle).segment_bytes < segment_bytes else (few, middle)
    return few
