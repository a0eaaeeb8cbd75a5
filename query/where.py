"""States and changes as Arrow tables with the public column names, and a person's SQL condition on them.

Invariants: a condition is free SQL, so it meets batches of rows in a locked database of their own, never evidence; what
is redacted is masked in them, since a condition can ask for a value, and the engine's errors quote values.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

import pyarrow as pa

from query.answer import Change, State, plain_text
from query.engine import filter_rows
from query.redaction import NOTHING_REDACTED, Redaction

_ROWS_PER_BATCH: Final = 10_000


@dataclass(frozen=True, slots=True)
class Condition:
    """A SQL condition, and what is masked in the rows that it meets."""

    text: str
    redaction: Redaction = NOTHING_REDACTED


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


def where_states(states: Iterator[State], where: str, redaction: Redaction = NOTHING_REDACTED) -> Iterator[State]:
    """The states for which a condition on the columns of `states_table` holds. Raises UsageError if it is none."""
    for batch in _batched(states):
        shown = [replace(one, item_key=redaction.key(one.item_key), image=redaction.image(one.image)) for one in batch]
        kept = filter_rows(_numbered(states_table(shown)), where)
        for index in sorted(kept["row_number"].to_pylist()):
            yield batch[index]


def where_changes(changes: Sequence[Change], where: str, redaction: Redaction = NOTHING_REDACTED) -> Iterator[Change]:
    """The changes for which a condition on their columns holds. Raises UsageError if it is none."""
    utc = pa.timestamp("ms", tz="UTC")
    for found in _batched(iter(changes)):
        actors = [redaction.made_by(change) for change in found]
        batch = [_masked(change, redaction) for change in found]
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
                "actor": pa.array([actor.name for actor in actors], pa.string()),
            }
        )
        kept = filter_rows(_numbered(table), where)
        for index in sorted(kept["row_number"].to_pylist()):
            yield found[index]


def _masked(change: Change, redaction: Redaction) -> Change:
    if not redaction.paths:
        return change
    return replace(
        change,
        item_key=redaction.key(change.item_key),
        pk=redaction.key_text(change.item_key, change.pk),
        sk=redaction.key_text(change.item_key, change.sk),
        old_image=redaction.image(change.old_image),
        new_image=redaction.image(change.new_image),
    )


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
