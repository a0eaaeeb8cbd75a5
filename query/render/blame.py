"""What `blame` shows: an attribute a row, its value, and the change that set it so."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from archiver.format.values import plain
from query.actor import Actor
from query.blame import Blame
from query.redaction import Redaction
from query.render.sheet import Column, Json, Sheet
from query.render.views import key_cell


@dataclass(frozen=True, slots=True)
class BlameView:
    """One attribute of an item as it is shown."""

    table_name: str
    item_key: str
    row: Blame
    redaction: Redaction

    @property
    def value(self) -> Json | None:
        masked = self.redaction.value(self.row.value, self.row.steps)
        return None if masked is None else Json(plain(masked))

    @property
    def made_by(self) -> Actor:
        change = self.row.change
        return Actor(None, reason=self.row.reason) if change is None else self.redaction.made_by(change)


BLAME_COLUMNS: Final = (
    Column("table_name", lambda view: view.table_name),
    Column("item_key", lambda view: key_cell(view.item_key, view.redaction), "json"),
    Column("path", lambda view: view.row.path),
    Column("value", lambda view: view.value, "json"),
    Column("is_removed", lambda view: view.row.is_removed, "boolean"),
    Column("last_changed_at", lambda view: view.row.change and view.row.change.changed_at_ms, "time"),
    Column("op", lambda view: view.row.change and view.row.change.op),
    Column("actor", lambda view: view.made_by.name),
    Column("actor_source", lambda view: view.made_by.source),
    Column("actor_reason", lambda view: view.made_by.reason),
    Column("change_id", lambda view: view.row.change and view.row.change.change_id, "change"),
    Column("times_changed", lambda view: view.row.times_changed, "integer"),
    Column("reason", lambda view: view.row.reason),
    Column("changed_from", lambda view: view.row.since_ms, "time"),
    Column("changed_until", lambda view: view.row.until_ms, "time"),
)
_USUAL: Final = tuple(column.name for column in BLAME_COLUMNS)
_BRIEF: Final = ("path", "value", "last_changed_at", "actor", "change_id", "times_changed")


def blame_sheet(views: Sequence[BlameView]) -> Sheet:
    """The attributes of an item; people see why nobody is blamed, and how an actor is known, where that matters."""
    brief = list(_BRIEF)
    if any(view.made_by.name is not None and not view.made_by.is_certain for view in views):
        brief.insert(brief.index("actor") + 1, "actor_source")
    if any(view.row.reason for view in views):
        brief.append("reason")
    return Sheet(BLAME_COLUMNS, views, _USUAL, tuple(brief))
