"""What was measured of the archiver, for the cost model: read from `figures.toml`, and drawn out between the points.

Invariant: the file is what `benchmarks.figures` wrote; sizes of items and of batches grow.
"""

import tomllib
from bisect import bisect_right
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from itertools import pairwise
from typing import Any


@dataclass(frozen=True, slots=True)
class ItemFigures:
    """One size of item: event bytes a record, and (records, CPU seconds, segment bytes) of whole batches, growing."""

    bytes: float
    event_bytes: float
    batches: tuple[tuple[float, float, float], ...]

    def cpu_s(self, records: float) -> float:
        """CPU seconds of a batch on the machine that was measured."""
        return _between([(n, cpu_s) for n, cpu_s, _ in self.batches], records)

    def segment_bytes(self, records: float) -> float:
        """Bytes of the segment of a batch."""
        return _between([(n, size) for n, _, size in self.batches], records)


@dataclass(frozen=True, slots=True)
class Figures:
    """What was measured, when and on what; sizes of items grow."""

    date: str
    machine: str
    start_cpu_s: float
    start_puts: float
    puts_per_batch: float
    log_bytes_per_batch: float
    items: tuple[ItemFigures, ...]

    def of(self, item_bytes: float) -> Callable[[float], "BatchFigures"]:
        """Figures of a batch of so many records, for one size of item, from the sizes measured next to it.

        An item smaller than the smallest that was measured counts as that one.
        """
        item_bytes = max(item_bytes, self.items[0].bytes)

        def batch(records: float) -> BatchFigures:
            return BatchFigures(
                _between([(item.bytes, item.cpu_s(records)) for item in self.items], item_bytes),
                _between([(item.bytes, item.segment_bytes(records)) for item in self.items], item_bytes),
            )

        return batch

    def event_bytes(self, item_bytes: float) -> float:
        """Bytes of a record in the event that Lambda delivers."""
        return _between([(item.bytes, item.event_bytes) for item in self.items], max(item_bytes, self.items[0].bytes))


@dataclass(frozen=True, slots=True)
class BatchFigures:
    """CPU seconds on the machine that was measured, and bytes of the segment, of one batch."""

    cpu_s: float
    segment_bytes: float


def _between(points: Sequence[tuple[float, float]], place: float) -> float:
    """The straight line between the two points around a place; outside, the line of the two points next to it."""
    if len(points) == 1:
        return points[0][1] * place / points[0][0]
    after = min(max(bisect_right([at for at, _ in points], place), 1), len(points) - 1)
    (left, low), (right, high) = points[after - 1], points[after]
    return low + (high - low) * (place - left) / (right - left)


def load_figures() -> Figures:
    """The measurements that come with ddbtrail."""
    document = tomllib.loads(files(__package__).joinpath("figures.toml").read_text(encoding="utf-8"))
    return figures_of(document)


def figures_of(document: Mapping[str, Any]) -> Figures:
    """Measurements as `benchmarks.figures` writes them."""
    measured = document["measured"]
    items = tuple(
        ItemFigures(
            item["bytes"],
            item["event_bytes_per_record"],
            tuple(
                (
                    batch["records"],
                    batch["cpu_s_per_1000_records"] * batch["records"] / 1000,
                    batch["segment_bytes_per_record"] * batch["records"],
                )
                for batch in item["batch"]
            ),
        )
        for item in document["item"]
    )
    assert items
    assert all(one.bytes < next_one.bytes for one, next_one in pairwise(items))
    assert all(one[0] < next_one[0] for item in items for one, next_one in pairwise(item.batches))
    return Figures(
        date=measured["date"],
        machine=measured["machine"],
        start_cpu_s=measured["start_cpu_s"],
        start_puts=measured["start_puts"],
        puts_per_batch=measured["puts_per_batch"],
        log_bytes_per_batch=measured["log_bytes_per_batch"],
        items=items,
    )
