"""A table in figures: its items now, their sizes, and its changes. Images are looked at a batch at a time."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from query.change_stat import ChangeStat, change_stat
from query.conflicts import Conflict
from query.plan import ReadPlan
from query.table_state import TableState

if TYPE_CHECKING:
    from query.instant import Instant
    from query.table import Table


@dataclass(frozen=True, slots=True)
class ItemSize:
    """An item and how long its image is, as canonical DynamoDB JSON in UTF-8."""

    item_key: str
    size_bytes: int


@dataclass(frozen=True, slots=True)
class TableStats:
    """`items` exist now, of `unknown` more the trail cannot tell; the largest ones; and the changes of all time."""

    items: int
    unknown: int
    size_bytes: int
    largest: tuple[ItemSize, ...]
    changes: ChangeStat
    conflicts: tuple[Conflict, ...]
    plan: ReadPlan


def table_stats(table: "Table", now: "Instant", *, top: int) -> TableStats:
    """The figures of a table, with the `top` items that have most changes and those that are largest.

    Raises UnreadableArchive, SealMismatch or CorruptSegment.
    """
    changes = change_stat(table, top_items=top)

    def read(table: "Table") -> TableStats:
        with closing(table.as_of(now)) as state:
            size_bytes, largest = _sizes(state, top)
            conflicts = tuple(dict.fromkeys((*changes.conflicts, *state.conflicts)))
            return TableStats(state.count, state.unknown, size_bytes, largest, changes, conflicts, state.plan)

    return table.asked(read)


def _sizes(state: TableState, top: int) -> tuple[int, tuple[ItemSize, ...]]:
    total, largest = 0, list[ItemSize]()
    for keys, lengths in _lengths(state):
        total += pc.sum(lengths).as_py() or 0
        chosen = pc.top_k_unstable(lengths, min(top, len(lengths)))
        found = zip(keys.take(chosen).to_pylist(), lengths.take(chosen).to_pylist(), strict=True)
        largest += [ItemSize(key, length) for key, length in found]
        largest = sorted(largest, key=lambda one: (-one.size_bytes, one.item_key))[:top]
    return total, tuple(largest)


def _lengths(state: TableState) -> "Iterator[tuple[pa.Array, pa.Array]]":
    for batch in state.batches(in_order=False):
        yield batch.column("item_key"), pc.binary_length(batch.column("image")).cast(pa.int64())
