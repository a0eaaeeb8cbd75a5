"""The changes of a package, written as they are read: a full record each, and a row for each attribute.

Invariants: evidence alone is read, through the gate; no more than a batch of changes is held at once; an item of which
evidence contradicts itself is in neither file, and named.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Final

from query.answer import Change
from query.conflicts import Conflict, find_conflicts
from query.errors import UsageError
from query.evidence.scope import Scope
from query.history import ChangeRow, change_of
from query.plan import changes_between
from query.render.formats import delimited_cells, write_parquet
from query.render.records import CHANGE_COLUMNS
from query.render.sheet import Column, Json, Sheet, as_text, dump
from query.render.views import ChangeView, key_cell
from query.table import Table

_ROWS_AT_ONCE: Final = 1_000
# A spreadsheet takes a file for UTF-8 if it begins so.
_BOM: Final = "\ufeff"


# In words: a lone + or - in a cell would be taken for the beginning of a formula.
_KINDS: Final[dict[str, str]] = {"+": "added", "-": "removed", "~": "changed"}
# Columns of a change, of one of its attributes, and of the change again, as they stand in a line.
_BEFORE: Final = (
    Column("changed_at", lambda view: view.change.changed_at_ms, "time"),
    Column("op", lambda view: view.change.op),
    Column("item_key", lambda view: Json(key_cell(view.change.item_key, view.redaction).shown), "json"),
)
_OF_ATTRIBUTE: Final = ("path", "kind", "old", "new")
_AFTER: Final = (
    Column("actor", lambda view: view.made_by.name),
    Column("actor_source", lambda view: view.made_by.source),
    Column("actor_reason", lambda view: view.made_by.reason),
    Column("change_id", lambda view: view.change.change_id, "change"),
    Column("segment", lambda view: view.change.segment),
    Column("is_sealed", lambda view: view.change.is_sealed, "boolean"),
)


@dataclass(slots=True)
class Written:
    """What was written. `first_of` has of each segment the first change that is in the package, without its images;
    where items were listed, `of_item` counts the changes of each, and `in_period` those that the period holds of each.
    """

    changes: int = 0
    rows: int = 0
    conflicts: tuple[Conflict, ...] = ()
    first_of: dict[str, Change] = field(default_factory=dict)
    of_item: Counter[str] = field(default_factory=Counter)
    in_period: dict[str, int] = field(default_factory=dict)


def items_of(table: Table, scope: Scope, most: int) -> tuple[set[str], set[str]]:
    """The keys of all items with changes of a scope, and of those among them about which evidence contradicts itself:
    what these changed cannot be told, so all of the period and the list may have such changes.

    Raises UsageError for more than `most`, and as `write_changes`.
    """
    found, written, named = set[str](), Written(), scope.item_keys
    for view in _changes(table, scope, written):
        found.add(view.change.item_key)
        _check_number(found, most)
    asked = None if named is None else frozenset(named)
    contradicted = {one.item_key for one in written.conflicts if asked is None or one.item_key in asked}
    _check_number(found | contradicted, most)
    return found | contradicted, contradicted


def _check_number(found: set[str], most: int) -> None:
    if len(found) > most:
        raise UsageError(
            f"the scope has changes of more than {most} items",
            why="a sample is drawn among keys in memory",
            hint="shorten the period, or narrow it with --attr, --op or --actor",
        )


def write_changes(table: Table, scope: Scope, records: Path, attributes: Path) -> Written:
    """Writes the changes of a scope: full records as Parquet, attribute by attribute as CSV. `table` without runs.

    Raises SealMismatch, CorruptSegment or UnreadableArchive for evidence that is not what it should be.
    """
    written = Written()
    with attributes.open("w", encoding="utf-8", newline="") as file:
        before, after = ([column.name for column in columns] for columns in (_BEFORE, _AFTER))
        file.write(f"{_BOM}{delimited_cells((*before, *_OF_ATTRIBUTE, *after))}\n")

        def noted() -> Iterator[ChangeView]:
            for view in _changes(table, scope, written):
                lines = _lines(scope, view)
                file.writelines(lines)
                written.rows += len(lines)
                written.changes += 1
                if scope.listed is not None:
                    written.of_item[view.change.item_key] += 1
                if view.change.segment not in written.first_of:
                    written.first_of[view.change.segment] = _without_images(view.change)
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
        if scope.listed is not None:
            listed = {**asked, "item_keys": list(scope.listed)}
            written.in_period = dict(question.rows("evidence_listed", listed))
        asked |= {
            "ops": None if scope.ops is None else list(scope.ops),
            "item_keys": None if scope.item_keys is None else list(scope.item_keys),
            "conflicting": [conflict.item_key for conflict in written.conflicts],
        }
        for batch in question.batches("evidence_changes", asked, rows_at_once=_ROWS_AT_ONCE):
            for row in ChangeRow.all_of(batch):
                view = ChangeView(change_of(table.trail, row, tellers, table.attribution), table.redaction)
                if scope.holds(view):
                    yield view


def _lines(scope: Scope, view: ChangeView) -> list[str]:
    """A line for each attribute; one for a change that touches none, or does not tell, so that none is left out.

    What all lines of a change have in common is written as text once.
    """
    before, after = (delimited_cells([as_text(column, view) for column in columns]) for columns in (_BEFORE, _AFTER))
    found = _of_attributes(scope, view) or [("",) * len(_OF_ATTRIBUTE)]
    return [f"{before},{delimited_cells(texts)},{after}\n" for texts in found]


def _of_attributes(scope: Scope, view: ChangeView) -> list[tuple[str, ...]]:
    """The cells of `_OF_ATTRIBUTE` for each attribute that is asked about."""
    both = zip(view.changes or (), view.plain_changes or (), strict=True)
    return [
        (one.path, _KINDS[one.kind], *(dump(plain[side]) if side in plain else "" for side in ("old", "new")))
        for one, plain in both
        if scope.asks_about(one)
    ]


def _without_images(change: Change) -> Change:
    return replace(change, old_image=None, new_image=None, user_identity=None, event="")
