"""What `compare` shows: an item that differs a row."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Final

from query.compare import ItemChange
from query.diff import AttributeChange
from query.redaction import Redaction
from query.render.sheet import Column, Json, Sheet
from query.render.views import image_cell, item_cell, key_cell, plain_change


@dataclass(frozen=True)
class ItemChangeView:
    """One item as it is shown."""

    table_name: str
    item: ItemChange
    redaction: Redaction

    @cached_property
    def changes(self) -> tuple[AttributeChange, ...]:
        return tuple(self.redaction.change(change) for change in self.item.changes)


COMPARISON_COLUMNS: Final = (
    Column("table_name", lambda view: view.table_name),
    Column("diff_type", lambda view: view.item.diff_type),
    Column("item_key", lambda view: key_cell(view.item.item_key, view.redaction), "json"),
    Column("changed_attributes", lambda view: Json(list(view.item.changed_attributes)), "json"),
    Column("changes", lambda view: Json([plain_change(change) for change in view.changes]), "json"),
    Column("item", lambda view: item_cell(view.item.new_image, view.redaction), "json"),
    Column("old_item", lambda view: item_cell(view.item.old_image, view.redaction), "json"),
    Column("new_image", lambda view: image_cell(view.item.new_image, view.redaction), "json"),
    Column("old_image", lambda view: image_cell(view.item.old_image, view.redaction), "json"),
    Column("change_id", lambda view: view.item.change_id, "change"),
    Column("changed_at", lambda view: view.item.changed_at_ms, "time"),
)
_USUAL: Final = (
    *("table_name", "diff_type", "item_key", "changed_attributes", "changes", "item", "old_item"),
    *("change_id", "changed_at"),
)
_BRIEF: Final = ("diff_type", "item_key", "changed_at", "change_id", "changed_attributes")


def comparison_sheet(views: Iterable[ItemChangeView]) -> Sheet:
    """Items that were added, removed or modified, in order of key."""
    return Sheet(COMPARISON_COLUMNS, views, _USUAL, _BRIEF)
