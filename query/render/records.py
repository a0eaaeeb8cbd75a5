"""The columns of each kind of answer, as data. Names are those of the SQL columns; `docs/cli.md` explains them."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any, Final

import orjson

from archiver.format.values import plain
from query.instant import Instant, format_ms
from query.render.sheet import Column, Json, Sheet
from query.render.views import (
    AnswerView,
    ChangeView,
    ConflictView,
    StateView,
    changes_cell,
    event_cell,
    image_cell,
    item_cell,
    key_cell,
)

if TYPE_CHECKING:
    import pyarrow as pa


def _names(names: Sequence[str] | None) -> Json | None:
    return None if names is None else Json(list(names))


def _verbatim(text: str | None) -> Json | None:
    return None if text is None else Json(orjson.Fragment(text), text)


def _plain(value: Any) -> Json | None:
    return None if value is None else Json(plain(value))


def _keys(table: Any) -> str:
    if table.key_schema is None:
        return "not known"
    return ", ".join(f"{attribute.name} {attribute.type}" for attribute in table.key_schema.attributes)


def _key_schema(table: Any) -> Json | None:
    if table.key_schema is None:
        return None
    return Json([{"name": attribute.name, "type": attribute.type} for attribute in table.key_schema.attributes])


def _setting_text(value: object) -> str | None:
    if value is None:
        return None
    if isinstance(value, dict):
        return ";".join(f"{name}={','.join(attributes)}" for name, attributes in value.items())
    if isinstance(value, bool):
        return str(value).lower()
    return ",".join(value) if isinstance(value, tuple) else str(value)


CHANGE_COLUMNS: Final = (
    Column("account", lambda view: view.change.trail.account),
    Column("region", lambda view: view.change.trail.region),
    Column("table_name", lambda view: view.change.trail.table_name),
    Column("item_key", lambda view: key_cell(view.change.item_key, view.redaction), "json"),
    Column("change_id", lambda view: view.change.change_id, "change"),
    Column("op", lambda view: view.change.op),
    Column("changed_at", lambda view: view.change.changed_at_ms, "time"),
    Column("sequence_number", lambda view: view.change.sequence_number),
    Column("stream_label", lambda view: view.change.stream_label),
    Column("actor", lambda view: view.made_by.name),
    Column("actor_source", lambda view: view.made_by.source),
    Column("actor_reason", lambda view: view.made_by.reason),
    Column("changed_attributes", lambda view: _names(view.changed_attributes), "json"),
    Column("changes", changes_cell, "json"),
    Column("item", lambda view: view.item, "json"),
    Column("old_item", lambda view: view.old_item, "json"),
    Column("new_image", lambda view: _verbatim(view.new_image), "json"),
    Column("old_image", lambda view: _verbatim(view.old_image), "json"),
    Column("user_identity", lambda view: _verbatim(view.change.user_identity), "json"),
    Column("event", lambda view: event_cell(view.change.event, view.redaction), "json"),
    Column("segment", lambda view: view.change.segment),
    Column("is_sealed", lambda view: view.change.is_sealed, "boolean"),
)
_USUAL_OF_CHANGE: Final = (
    *("table_name", "item_key", "change_id", "op", "changed_at", "sequence_number", "stream_label"),
    *("actor", "actor_source", "actor_reason", "changed_attributes", "changes", "item", "is_sealed"),
)
_BRIEF_OF_CHANGE: Final = ("changed_at", "change_id", "op", "item_key", "actor", "changed_attributes")

STATE_COLUMNS: Final = (
    Column("item_key", lambda view: key_cell(view.state.item_key, view.redaction), "json"),
    Column("item", lambda view: item_cell(view.state.image, view.redaction), "json"),
    Column("image", lambda view: image_cell(view.state.image, view.redaction), "json"),
    Column("changed_at", lambda view: view.state.changed_at_ms, "time"),
    Column("change_id", lambda view: view.state.change_id, "change"),
    Column("valid_from", lambda view: view.state.valid_from_ms, "time"),
    Column("outcome", lambda view: view.state.outcome.value),
    Column("basis", lambda view: view.state.basis.value),
    Column("is_guess", lambda view: view.state.is_guess, "boolean"),
    Column("reason", lambda view: view.state.reason),
)
_USUAL_OF_STATE: Final = ("item_key", "item", "image", "changed_at", "change_id")
_BRIEF_OF_STATE: Final = ("item_key", "changed_at", "change_id", "item")

ANSWER_COLUMNS: Final = (
    Column("table_name", lambda view: view.table_name),
    *STATE_COLUMNS,
    Column("at", lambda view: format_ms(view.at.ms) if isinstance(view.at, Instant) else view.at.text),
    Column("valid_to", lambda view: view.version and view.version.valid_to_ms, "time"),
    Column("actor", lambda view: view.made_by and view.made_by.name),
    Column("actor_source", lambda view: view.made_by and view.made_by.source),
    Column("actor_reason", lambda view: view.made_by and view.made_by.reason),
    Column("explanation", lambda view: view.explanation),
    Column("is_sealed", lambda view: view.is_sealed, "boolean"),
)
_USUAL_OF_ANSWER: Final = (
    *("table_name", "item_key", "at", "outcome", "item", "image", "change_id", "changed_at", "valid_from", "valid_to"),
    *("actor", "actor_source", "actor_reason", "basis", "is_guess", "reason", "explanation", "is_sealed"),
)
_BRIEF_OF_ANSWER: Final = ("item_key", "at", "outcome", "change_id", "changed_at", "item")

TABLE_COLUMNS: Final = (
    Column("account", lambda table: table.account),
    Column("region", lambda table: table.region),
    Column("table_name", lambda table: table.table_name),
    Column("keys", _keys),
    Column("key_schema", _key_schema, "json"),
    Column("covered_since", lambda table: table.covered_since_ms, "time"),
    Column("newest_change", lambda table: table.newest_change_ms, "time"),
    Column("changes", lambda table: table.changes, "integer"),
    Column("items", lambda table: table.items, "integer"),
    Column("gaps", lambda table: table.gaps, "integer"),
    Column("quarantined", lambda table: table.quarantined, "integer"),
)
_BRIEF_OF_TABLE: Final = ("table_name", "keys", "covered_since", "newest_change", "changes", "items", "gaps")

CONFLICT_COLUMNS: Final = (
    Column("item_key", lambda view: key_cell(view.conflict.item_key, view.redaction), "json"),
    Column("stream_label", lambda view: view.conflict.stream_label),
    Column("sequence_number", lambda view: view.conflict.sequence_number),
    Column("differs", lambda view: _names(view.conflict.differs), "json"),
    Column("segments", lambda view: _names(view.conflict.segments), "json"),
)
FILE_COLUMNS: Final = (
    Column("name", lambda file: file.name),
    Column("size_bytes", lambda file: file.size_bytes, "integer"),
    Column("reason", lambda file: file.reason),
    Column("is_sealed", lambda file: file.is_sealed, "boolean"),
)
DIFFERENCE_COLUMNS: Final = (
    Column("path", lambda change: change.path),
    Column("kind", lambda change: change.kind),
    Column("old", lambda change: _plain(change.old_value), "json"),
    Column("new", lambda change: _plain(change.new_value), "json"),
)
SETTING_COLUMNS: Final = (
    Column("name", lambda row: row[0]),
    Column("value", lambda row: _setting_text(row[1])),
    Column("origin", lambda row: row[2]),
)


def change_sheet(found: Iterable[ChangeView]) -> Sheet:
    """Changes, as `history` and `log` show them."""
    return Sheet(CHANGE_COLUMNS, found, _USUAL_OF_CHANGE, _BRIEF_OF_CHANGE)


def state_sheet(
    states: Iterable[StateView], *, with_guesses: bool = False, batches: "Iterable[pa.RecordBatch] | None" = None
) -> Sheet:
    """Items of a table at one instant, as `as-of` shows them; guesses are marked as such. `batches`: the same with the
    usual columns, if they are plain to have.
    """
    marked = ("is_guess",) if with_guesses else ()
    return Sheet(STATE_COLUMNS, states, _USUAL_OF_STATE + marked, _BRIEF_OF_STATE + marked, batches)


def answer_sheet(view: AnswerView) -> Sheet:
    """One item at one instant: which of the four outcomes, and the item if there is one."""
    return Sheet(ANSWER_COLUMNS, [view], _USUAL_OF_ANSWER, _BRIEF_OF_ANSWER)


def table_sheet(tables: Sequence[Any]) -> Sheet:
    """The tables of an archive (`TableSummary`), one name of several trails told apart by account and region."""
    usual = tuple(column.name for column in TABLE_COLUMNS if column.name != "keys")
    brief: tuple[str, ...] = _BRIEF_OF_TABLE
    if any(table.quarantined for table in tables):
        brief = (*brief, "quarantined")
    if len({table.table_name for table in tables}) < len(tables):
        brief = ("account", "region", *brief)
    return Sheet(TABLE_COLUMNS, tables, usual, brief)


def conflict_sheet(found: Iterable[ConflictView]) -> Sheet:
    """Changes that stand in two segments with different content."""
    return _whole(CONFLICT_COLUMNS, found)


def plan_sheet(files: Iterable[Any]) -> Sheet:
    """The files that a question reads (`PlannedFile`); people are told which are sealed where any is."""
    found = tuple(files)
    names = tuple(column.name for column in FILE_COLUMNS)
    has_seals = any(file.is_sealed is not None for file in found)
    return Sheet(FILE_COLUMNS, found, names, names if has_seals else names[:-1])


def difference_sheet(changes: Iterable[Any]) -> Sheet:
    """What differs between two versions (`AttributeChange`)."""
    return _whole(DIFFERENCE_COLUMNS, changes)


def setting_sheet(rows: Iterable[tuple[str, object, str]], *, has_origin: bool) -> Sheet:
    """The settings in force, and where each came from."""
    return _whole(SETTING_COLUMNS if has_origin else SETTING_COLUMNS[:2], rows)


def _whole(columns: tuple[Column, ...], records: Iterable[Any]) -> Sheet:
    names = tuple(column.name for column in columns)
    return Sheet(columns, records, names, names)
