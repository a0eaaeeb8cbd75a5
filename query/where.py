"""States and changes as Arrow tables with the public column names, and a person's SQL condition on them.

Invariant: a condition is free SQL, so it meets batches of rows in a locked database of their own, never evidence.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

import pyarrow as pa

from query.answer import Change, State, plain_text
from query.engine import filter_rows

_ROWS_PER_BATCH: Final = 10_000


def states_table(states: Sequence[State]) -> pa.Table:
    """States that existed as an Arrow table with the public column names."""
    utc = pa.timestamp("ms", tz="UTC")
    return pa.table(
        {
            "item_key": pa.array([(plain_text(state.item_key) or b"").decode() for state in states], pa.string()),
            "item": pa.array([(plain_text(state.image) or b"").decode() for state in states], pa.string()),
            "image": pa.array([state.image for state in states], pa.string()),
            "changed_at": pa.array([state.changed_at_ms for state in states], pa.int64()).cast(utc),
            "change_id": pa.array([state.change_id for state in states], pa.string()),
            "valid_from": pa.array([state.valid_from_ms for state in states], pa.int64()).cast(utc),
        }
    )


def where_states(states: Iterator[State], where: str) -> Iterator[State]:
    """The states for which a condition on the columns of `states_table` holds. Raises UsageError if it is none."""
    for batch in _batched(states):
        kept = filter_rows(_numbered(states_table(batch)), where)
        for index in sorted(kept["row_number"].to_pylist()):
            yield batch[index]


def where_changes(changes: Sequence[Change], where: str) -> Iterator[Change]:
    """The changes for which a condition on their columns holds. Raises UsageError if it is none."""
    utc = pa.timestamp("ms", tz="UTC")
    for batch in _batched(iter(changes)):
        table = pa.table(
            {
                **{
                    name: pa.array([getattr(change, name) for change in batch], pa.string())
                    for name in (
                        "change_id",
                        "op",
                        "sequence_number",
                        "stream_label",
                        "pk",
                        "sk",
                        "old_image",
                        "new_image",
                    )
                },
                "changed_at": pa.array([change.changed_at_ms for change in batch], pa.int64()).cast(utc),
                "item_key": pa.array([(plain_text(change.item_key) or b"").decode() for change in batch], pa.string()),
                "item": pa.array([_text(plain_text(change.new_image)) for change in batch], pa.string()),
                "old_item": pa.array([_text(plain_text(change.old_image)) for change in batch], pa.string()),
                "actor": pa.array([change.actor for change in batch], pa.string()),
            }
        )
        kept = filter_rows(_numbered(table), where)
        for index in sorted(kept["row_number"].to_pylist()):
            yield batch[index]


def _text(content: bytes | None) -> str | None:
    return None if content is None else content.decode()


def _numbered(table: pa.Table) -> pa.Table:
    return table.append_column("row_number", pa.array(range(len(table)), pa.int64()))


def _batched(values: Iterator[Any]) -> Iterator[list[Any]]:
    batch: list[Any] = []
    for value in values:
        batch.append(value)
        if len(batch) == _ROWS_PER_BATCH:
            yield batch
            batch = []
    if batch:
        yield batch
