"""One item collection: the items that share a partition key, and their versions in one list.

Invariant: an item about which evidence contradicts itself gives no version and is named in `conflicts`; all others are
told.
"""

from collections.abc import Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any

import orjson

from archiver.format.keytext import key_text
from query.answer import Version
from query.conflicts import Conflict
from query.derived.by_key import Wanted
from query.history import ChangeRow, changes_of_item, conflicts_of, versions_of
from query.item import Item
from query.plan import ReadPlan, plan_item
from query.redaction import Redaction
from query.tellers import Tellers
from query.versioned import Versioned

if TYPE_CHECKING:
    from query.table import Table


class Collection(Versioned):
    """The items that share a partition key."""

    def __init__(self, table: "Table", partition: Mapping[str, Any]) -> None:
        self.table = table
        self.key = dict(partition)

    @cached_property
    def _read(self) -> tuple[dict[str, list[ChangeRow]], Tellers]:
        """Its rows by item, and what they say of the segments they come from."""
        ((name, value),) = self.key.items()
        pk = key_text(value)

        def read(table: "Table") -> tuple[dict[str, list[ChangeRow]], Tellers]:
            rows: dict[str, list[ChangeRow]] = {}
            with table.engine.ask() as question:
                table.reader.read_items(question, Wanted(pk=pk))
                for row in ChangeRow.all_of(question.arrow("collection_rows", {"pk": pk})):
                    if row.pk is not None or orjson.loads(row.item_key).get(name) == value:
                        rows.setdefault(row.item_key, []).append(row)
            return rows, table.reader.tellers()

        return self.table.asked(read)

    @property
    def redaction(self) -> Redaction:
        return self.table.redaction

    @property
    def _rows(self) -> dict[str, list[ChangeRow]]:
        return self._read[0]

    @property
    def _tellers(self) -> Tellers:
        return self._read[1]

    @property
    def plan(self) -> ReadPlan:
        ((_, value),) = self.key.items()

        def planned(table: "Table") -> ReadPlan:
            parts = table.reader.parts_of_items(Wanted(pk=key_text(value)))
            return plan_item(
                table.evidence, f"history of {self.table.redaction.key(orjson.dumps(self.key).decode())}", parts
            )

        return self.table.asked(planned)

    @property
    def conflicts(self) -> tuple[Conflict, ...]:
        """The changes of the collection that evidence contradicts itself about."""
        return tuple(
            conflict for rows in self._rows.values() for conflict in conflicts_of(rows, self._tellers, self.redaction)
        )

    def items(self) -> list[Item]:
        """The items of the collection that have a recorded change, in order of item key."""
        return [Item(self.table, orjson.loads(item_key)) for item_key in sorted(self._rows)]

    @property
    def versions(self) -> list[Version]:
        """The versions of all its items in the order of their changes, without the items in `conflicts`."""
        versions = [
            version
            for rows in self._rows.values()
            if not conflicts_of(rows, self._tellers)
            for version in versions_of(
                changes_of_item(self.table.trail, rows, self._tellers, self.table.attribution, self.redaction),
                self.redaction,
            )
        ]
        versions.sort(key=lambda version: (version.change.order, version.item_key) if version.change else ((), ""))
        return versions
