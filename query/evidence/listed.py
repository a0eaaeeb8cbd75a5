"""The items that a package was asked for, and what became of each. Pure.

Invariant: an item is told to be without a change only if evidence tells of none in the period: not where what else was
asked left its changes out, and not where evidence contradicts itself about it.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from query.redaction import Redaction
from query.render.sheet import dump
from query.render.text import counted, grouped
from query.render.views import key_cell

# The items, one a line, and what became of each.
LISTED: Final = "scope.jsonl"


@dataclass(frozen=True, slots=True)
class ListedItem:
    """One of them: how many of its changes are in the package, of how many in the period, each once; and whether
    evidence tells one of those in two ways, so that none is in the package.
    """

    item_key: str
    changes: int
    in_period: int
    is_contradicted: bool

    def line(self, redaction: Redaction) -> str:
        """JSON with a line feed; the key as it is shown."""
        shown = key_cell(self.item_key, redaction).shown
        numbers = {"changes": self.changes, "changes_in_period": self.in_period}
        return dump({"item_key": shown, **numbers, "is_contradicted": self.is_contradicted}) + "\n"


@dataclass(frozen=True, slots=True)
class Listed:
    """All of them, as they were listed."""

    items: tuple[ListedItem, ...]

    @property
    def unchanged(self) -> int:
        return sum(one.in_period == 0 for one in self.items)

    @property
    def left_out(self) -> int:
        """How many changed, and none of their changes is one that was asked about, or they were not drawn."""
        return sum(one.changes == 0 < one.in_period and not one.is_contradicted for one in self.items)

    @property
    def contradicted(self) -> int:
        return sum(one.is_contradicted for one in self.items)

    def told(self) -> tuple[str, str]:
        """A name and a text: how many of them came to what."""
        inside = len(self.items) - self.unchanged - self.left_out - self.contradicted
        parts = [
            f"{grouped(inside)} with changes in the package",
            f"{grouped(self.unchanged)} without a change in the period",
            f"{grouped(self.left_out)} changed, but not as was asked, or not drawn",
            f"{grouped(self.contradicted)} of which evidence contradicts itself",
        ]
        return "of these items", "; ".join(parts)

    def notes(self) -> Iterator[str]:
        """What is to be known of those that are not in the package."""
        for number, told in (
            (self.unchanged, "without a change in the period"),
            (self.left_out, "changed in the period, but not as was asked, or not drawn"),
            (self.contradicted, "left out, as evidence contradicts itself"),
        ):
            if number:
                yield f"{counted(number, 'item')} of the scope {told}"
