"""Rows of runs, snapshots and baselines as answers: Arrow columns renamed, the rest of them constant; and answers as
the table that a person takes. Pure.
"""

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from query.gate import Kind
from query.value_functions import plain_item

# What is read of each.
COLUMNS: Final = {
    "run": ("item_key", "new_image", "change_id", "changed_at", "effective_at"),
    "snapshot": ("item_key", "image", "basis", "change_id", "changed_at", "effective_at"),
    "baseline": ("item_key", "image"),
}
_OF_CHANGES: Final = ("change_id", "changed_at", "effective_at")  # a snapshot's rows keep them where a baseline tells


# The columns of `answers.sql` that are told.
ANSWER_SCHEMA: Final = pa.schema(
    {
        "item_key": pa.string(),
        "rule": pa.string(),
        "image": pa.string(),
        "basis": pa.string(),
        "reason": pa.string(),
        "is_known": pa.bool_(),
        "was_before": pa.bool_(),
        "change_id": pa.string(),
        "changed_at_ms": pa.int64(),
        "valid_from_ms": pa.int64(),
    }
)


def answers_of(kind: Kind, rows: pa.Table) -> Iterator[pa.RecordBatch]:
    """Rows of a run, a snapshot or a baseline with the columns of `answers.sql`."""
    is_change = pc.equal(rows.column("basis"), "change") if kind == "snapshot" else None
    constant = {"rule": "p", "basis": "change" if kind == "run" else "baseline", "is_known": True, "was_before": True}
    columns = []
    for field in ANSWER_SCHEMA:
        name = {"changed_at_ms": "changed_at", "valid_from_ms": "effective_at"}.get(field.name, field.name)
        name = "new_image" if kind == "run" and name == "image" else name
        if name in rows.column_names:
            column = rows.column(name).cast(field.type)
            is_shown = kind != "snapshot" or name not in _OF_CHANGES
            columns.append(column if is_shown else pc.if_else(is_change, column, None))
        else:
            columns.append(pa.repeat(pa.scalar(constant.get(name), field.type), rows.num_rows))
    yield from pa.table(columns, schema=ANSWER_SCHEMA).to_batches()


# The columns of a table at an instant, as every format has them.
STATE_SCHEMA: Final = pa.schema(
    {
        "item_key": pa.string(),
        "item": pa.string(),
        "image": pa.string(),
        "changed_at": pa.timestamp("ms", tz="UTC"),
        "change_id": pa.string(),
    }
)


def states_of(batch: pa.RecordBatch) -> pa.RecordBatch:
    """Answers that existed with the columns of `STATE_SCHEMA`; only the plain twins are made in Python."""
    images = batch.column("image")
    columns = {
        "item": pa.array(map(plain_item, images.to_pylist()), pa.string(), size=len(images)),
        "changed_at": batch.column("changed_at_ms").cast(STATE_SCHEMA.field("changed_at").type),
    }
    names = STATE_SCHEMA.names
    return pa.record_batch([columns[name] if name in columns else batch.column(name) for name in names], STATE_SCHEMA)
