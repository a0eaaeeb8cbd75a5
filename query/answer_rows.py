"""Rows of runs, snapshots and baselines as answers: Arrow columns renamed, the rest of them constant. Pure."""

from collections.abc import Iterator
from typing import Final

import pyarrow as pa
import pyarrow.compute as pc

from query.gate import Kind

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
