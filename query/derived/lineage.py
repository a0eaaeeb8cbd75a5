"""Rows in order of item and change, and what follows for each from its neighbours: what came before it, since when it
was what the item was, and until when.

Laws: how rows are cut into batches changes nothing; rows that tell of the same change get the same times.
"""

from collections.abc import Iterable, Iterator
from typing import Final, NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

# Times (below 2^42 ms until the year 2109) under the number of their item, in one 64-bit number.
_TIME_BITS: Final = 42
_TIME: Final = pa.timestamp("ms", tz="UTC")


class _Past(NamedTuple):
    """The last change of the rows that are done."""

    item_key: str
    effective_ms: int


def gathered(
    batches: Iterable[pa.RecordBatch], *, rows: int = 1 << 16, size_bytes: int = 32 << 20
) -> Iterator[pa.Table]:
    """Small batches put together, so that what is done with each pays: to so many rows, or so many bytes in memory."""
    held: list[pa.RecordBatch] = []
    held_rows = held_bytes = 0
    for batch in batches:
        held.append(batch)
        held_rows, held_bytes = held_rows + batch.num_rows, held_bytes + batch.nbytes
        if held_rows >= rows or held_bytes >= size_bytes:
            yield pa.Table.from_batches(held)
            held, held_rows, held_bytes = [], 0, 0
    if held:
        yield pa.Table.from_batches(held)


def with_lineage(batches: Iterable[pa.RecordBatch | pa.Table]) -> Iterator[pa.Table]:
    """The same rows with `preceded_at`, `effective_at` and `superseded_at` (timestamps, UTC) after their columns, and
    `repeats`: whether a row tells of the same change as the one before it.

    Needs `item_key`, `stream_label`, `sequence_number`, `changed_at`; rows of an item stand together, in order of label
    and sequence number. NULL: no change of the item comes before, or after. Where rows of one change state different
    times, the change has the latest.
    """
    past: _Past | None = None
    # Rows of the last two changes: the last may go on, and the one before is followed by it.
    held: list[pa.Table] = []
    for batch in batches:
        if not batch.num_rows:
            continue
        fresh = batch if isinstance(batch, pa.Table) else pa.Table.from_batches([batch])
        table = pa.concat_tables([*held, fresh])
        is_new = _begins_change(table)
        starts = pc.indices_nonzero(is_new)
        if len(starts) <= 2:  # noqa: PLR2004
            held = [table]
            continue
        done, going_on = starts[-2].as_py(), starts[-1].as_py()
        rows = _derived(table.slice(0, going_on), is_new.slice(0, going_on), past).slice(0, done)
        past = _Past(rows.column("item_key")[-1].as_py(), rows.column("effective_at").cast(pa.int64())[-1].as_py())
        held = [table.slice(done)]
        yield rows
    for table in held:
        yield _derived(table, _begins_change(table), past)


def _begins_change(table: pa.Table) -> pa.Array:
    """Whether each row tells of another change than the one before it; the first does."""
    is_new = [_differs(_flat(table, name)) for name in ("item_key", "stream_label", "sequence_number")]
    return pc.or_(is_new[0], pc.or_(is_new[1], is_new[2]))


def _derived(table: pa.Table, is_new: pa.Array, past: _Past | None) -> pa.Table:
    """Rows of whole changes with their times; nothing is known yet of what follows the last one."""
    starts = pc.indices_nonzero(is_new).cast(pa.int64())
    ends = pa.concat_arrays([starts.slice(1), pa.array([table.num_rows], pa.int64())])
    keys = _flat(table, "item_key").take(starts)
    is_item = _differs(keys)
    item = pc.cumulative_sum(is_item.cast(pa.int64()))
    changed = _latest(_flat(table, "changed_at").cast(_TIME).cast(pa.int64()), starts, ends)
    continues = past is not None and keys[0].as_py() == past.item_key
    if past is not None and continues:
        changed = pc.if_else(pc.equal(item, 1), pc.max_element_wise(changed, past.effective_ms), changed)
    packed = pc.cumulative_max(pc.bit_wise_or(pc.shift_left(item, _TIME_BITS), changed))
    effective = pc.bit_wise_and(packed, (1 << _TIME_BITS) - 1)
    nothing = pa.nulls(1, pa.int64())
    before = pa.concat_arrays([nothing, effective.slice(0, len(effective) - 1)])
    before = pc.if_else(is_item, pa.scalar(None, pa.int64()), before)
    if past is not None and continues:
        before = pa.concat_arrays([pa.array([past.effective_ms], pa.int64()), before.slice(1)])
    after = pc.if_else(is_item.slice(1), pa.scalar(None, pa.int64()), effective.slice(1))
    after = pa.concat_arrays([after, nothing])
    number_of_row = pc.subtract(pc.cumulative_sum(is_new.cast(pa.int64())), 1)
    for name, values in (("preceded_at", before), ("effective_at", effective), ("superseded_at", after)):
        table = table.append_column(name, values.take(number_of_row).cast(_TIME))
    return table.append_column("repeats", pc.invert(is_new))


def _latest(values: pa.Array, starts: pa.Array, ends: pa.Array) -> pa.Array:
    """The greatest value of each change."""
    if len(starts) == len(values):
        return values
    counts = pc.subtract(ends, starts)
    latest = values.take(starts)
    for number in pc.indices_nonzero(pc.greater(counts, 1)).to_pylist():  # few: those that several rows tell of
        start, count = starts[number].as_py(), counts[number].as_py()
        top = pc.max(values.slice(start, count)).as_py()
        if top != latest[number].as_py():  # fewer still: rows that contradict each other
            latest = pa.concat_arrays([latest.slice(0, number), pa.array([top], pa.int64()), latest.slice(number + 1)])
    return latest


def _flat(table: pa.Table, name: str) -> pa.Array:
    column = table.column(name)
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _differs(values: pa.Array) -> pa.Array:
    """Whether each value is another one than the one before it; the first is."""
    return pa.concat_arrays([pa.array([True]), pc.not_equal(values.slice(1), values.slice(0, len(values) - 1))])


class Counted:
    """Counts, as rows pass by, those that repeat a change, those of them that tell it otherwise (as text), and those
    that left an item of which no image was carried.
    """

    def __init__(self) -> None:
        self.repeats = 0
        self.contradictions = 0
        self.imageless = 0
        self._before: list[object] | None = None

    def through(self, tables: Iterable[pa.Table]) -> Iterator[pa.Table]:
        """The same tables, whose rows are in order and have `repeats`."""
        for table in tables:
            repeats = _flat(table, "repeats")
            for row in pc.indices_nonzero(repeats).to_pylist():  # few
                self.repeats += 1
                before = self._content(table, row - 1) if row else self._before
                self.contradictions += self._content(table, row) != before
            self._before = self._content(table, table.num_rows - 1)
            if table.column("new_image").null_count:
                is_left = pc.and_(pc.is_null(table.column("new_image")), pc.not_equal(table.column("op"), "REMOVE"))
                self.imageless += pc.sum(is_left.cast(pa.int64())).as_py()
            yield table

    @staticmethod
    def _content(table: pa.Table, row: int) -> list[object]:
        return [table.column(name)[row].as_py() for name in ("op", "changed_at", "old_image", "new_image")]
