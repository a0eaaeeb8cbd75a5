"""The changes of a table in a range of time."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from query.answer import Change
from query.conflicts import EVER, Conflict, find_conflicts
from query.diff import parse_path
from query.history import ChangeRow, change_of
from query.plan import ReadPlan
from query.redaction import NOTHING_REDACTED, Redaction
from query.shown import Tabular
from query.where import where_changes

if TYPE_CHECKING:
    from query.table import Table


@dataclass(frozen=True, slots=True)
class Changes(Tabular):
    """Changes in a range, newest first unless asked the other way; `conflicts` are left out and listed."""

    changes: tuple[Change, ...]
    conflicts: tuple[Conflict, ...]
    plan: ReadPlan
    table_name: str = ""
    redaction: Redaction = field(default=NOTHING_REDACTED, repr=False, compare=False)

    def __iter__(self) -> Iterator[Change]:
        return iter(self.changes)

    def __len__(self) -> int:
        return len(self.changes)


def changes_of(
    table: "Table",
    *,
    since_ms: int | None,
    until_ms: int | None,
    ops: Sequence[str] | None,
    where: str | None,
    actor: str | None,
    attributes: Sequence[str],
    limit: int | None,
    reverse: bool,
) -> Changes:
    """What `Table.changes` says."""
    paths = [parse_path(attribute) for attribute in attributes]
    is_narrowed = where is not None or actor is not None or bool(paths)
    ends = {
        "since_ms": EVER["since_ms"] if since_ms is None else since_ms,
        "until_ms": EVER["until_ms"] if until_ms is None else until_ms,
    }
    values = {
        **ends,
        "ops": list(ops) if ops else None,
        "is_reversed": reverse,
        "most": limit if limit is not None and not is_narrowed else EVER["until_ms"],
    }

    def read(table: "Table") -> tuple[list[Change], tuple[Conflict, ...]]:
        selection = table.reader.between(table.evidence, since_ms, until_ms)
        tellers = table.reader.tellers(selection)
        with table.engine.ask() as question:
            table.reader.read(question, selection)
            conflicts = find_conflicts(question.rows("range_conflicts", ends), tellers, table.redaction)
            told = {**values, "conflicting": [conflict.item_key for conflict in conflicts]}
            rows = [row for batch in question.batches("range_changes", told) for row in ChangeRow.all_of(batch)]
        found = [change_of(table.trail, row, tellers, table.attribution, table.redaction) for row in rows]
        return found, conflicts

    found, conflicts = table.asked(read)
    if where is not None:
        found = list(where_changes(list(found), where, table.redaction))
    if actor is not None:
        found = [change for change in found if table.redaction.made_by(change).name == actor]
    if paths:
        found = [change for change in found if change.may_be_about(paths)]
    found = found[:limit]
    return Changes(tuple(found), conflicts, table.plan_changes(since_ms, until_ms), table.name, table.redaction)
