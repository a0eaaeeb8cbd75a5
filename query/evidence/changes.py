"""The changes of a package, written as they are read: a full record each, and a row for each attribute.

Invariants: evidence alone is read, through the gate; no more than a batch of changes is held at once; an item of which
evidence contradicts itself is in neither file, and named.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from archiver.format.values import plain
from query.answer import Change
from query.conflicts import Conflict, find_conflicts
from query.diff import AttributeChange
from query.evidence.scope import Scope
from query.history import change_of
from query.plan import changes_between
from query.render.formats import delimited_head, delimited_line, write_parquet
from query.render.records import CHANGE_COLUMNS
from query.render.sheet import Column, Json, Sheet
from query.render.views import ChangeView, key_cell
from query.table import Table

_ROWS_AT_ONCE: Final = 1_000
# A spreadsheet takes a file for UTF-8 if it begins so.
_BOM: Final = "\ufeff"


@dataclass(frozen=True, slots=True)
class _Line:
    """One line of the table of attribute changes; without a change of an attribute, that of a change as a whole."""

    view: ChangeView
    attribute: AttributeChange | None

    def side(self, name: str) -> Json | None:
        value = None if self.attribute is None else getattr(self.attribute, f"{name}_value")
        return None if value is None else Json(plain(value))


# In words: a lone + or - in a cell would be taken for the beginning of a formula.
_KINDS: Final[dict[str, str]] = {"+": "added", "-": "removed", "~": "changed"}
ATTRIBUTE_COLUMNS: Final = (
    Column("changed_at", lambda line: line.view.change.changed_at_ms, "time"),
    Column("op", lambda line: line.view.change.op),
    Column("item_key", lambda line: Json(key_cell(line.view.change.item_key, line.view.redaction).shown), "json"),
    Column("path", lambda line: line.attribute and line.attribute.path),
    Column("kind", lambda line: line.attribute and _KINDS[line.attribute.kind]),
    Column("old", lambda line: line.side("old"), "json"),
    Column("new", lambda line: line.side("new"), "json"),
    Column("actor", lambda line: line.view.made_by.name),
    Column("actor_source", lambda line: line.view.made_by.source),
    Column("actor_reason", lambda line: line.view.made_by.reason),
    Column("change_id", lambda line: line.view.change.change_id, "change"),
    Column("segment", lambda line: line.view.change.segment),
    Column("is_sealed", lambda line: line.view.change.is_sealed, "boolean"),
)


@dataclass(slots=True)
class Written:
    """What was written. `first_of` has of each segment the first change that is in the package, without its images."""

    changes: int = 0
    rows: int = 0
    conflicts: tuple[Conflict, ...] = ()
    first_of: dict[str, Change] = field(default_factory=dict)


def write_changes(table: Table, scope: Scope, records: Path, attributes: Path) -> Written:
    """Writes the changes of a scope: full records as Parquet, attribute by attribute as CSV. `table` without runs.

    Raises SealMismatch, CorruptSegment or UnreadableArchive for evidence that is not what it should be.
    """
    written = Written()
    with attributes.open("w", encoding="utf-8", newline="") as file:
        file.write(_BOM + delimited_head(ATTRIBUTE_COLUMNS))

        def noted() -> Iterator[ChangeView]:
            for view in _changes(table, scope, written):
                for line in _lines(scope, view):
                    file.write(delimited_line(ATTRIBUTE_COLUMNS, line))
                    written.rows += 1
                written.changes += 1
                written.first_of.setdefault(view.change.segment, _without_images(view.change))
                yield view

        names = tuple(column.name for column in CHANGE_COLUMNS)
        write_parquet(Sheet(CHANGE_COLUMNS, noted(), names, names), records)
    return written


def _changes(table: Table, scope: Scope, written: Written) -> Iterator[ChangeView]:
    selection = changes_between(table.evidence, scope.since_ms, scope.until_ms)
    tellers = table.reader.tellers(selection)
    asked: dict[str, Any] = {"since_ms": scope.since_ms, "until_ms": scope.until_ms}
    with table.engine.ask() as question:
        table.reader.read(question, selection)
        written.conflicts = find_conflicts(question.rows("range_conflicts", asked), tellers)
        asked |= {
            "ops": None if scope.ops is None else list(scope.ops),
            "item_key": scope.item_key,
            "conflicting": [conflict.item_key for conflict in written.conflicts],
        }
        for batch in question.batches("evidence_changes", asked, rows_at_once=_ROWS_AT_ONCE):
            for row in batch.to_pylist():
                view = ChangeView(change_of(table.trail, row, tellers, table.attribution), table.redaction)
                if scope.holds(view):
                    yield view


def _lines(scope: Scope, view: ChangeView) -> Iterator[_Line]:
    """A line for each attribute; one for a change that touches none, or does not tell, so that none is left out."""
    found = scope.attribute_changes(view)
    yield from (_Line(view, one) for one in found)
    if not found:
        yield _Line(view, None)


def _without_images(change: Change) -> Change:
    return replace(change, old_image=None, new_image=None, user_identity=None, event="")
