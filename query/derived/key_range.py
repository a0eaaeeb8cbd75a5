"""The order of rows in derived data: by key text, NULL first, then by the key itself. Pure."""

from dataclasses import dataclass
from functools import total_ordering
from typing import Any, Self


@total_ordering
@dataclass(frozen=True, slots=True)
class RowKey:
    """Where the rows of an item stand: `pk` and `sk` are key text, None where they were not known, which is below
    every text.
    """

    pk: str | None
    sk: str | None
    item_key: str

    def members(self) -> list[str | None]:
        """As JSON has it."""
        return [self.pk, self.sk, self.item_key]

    @classmethod
    def of(cls, members: Any) -> Self:
        """From JSON. Raises ValueError."""
        if (
            not isinstance(members, list)
            or [type(member) in {str, type(None)} for member in members] != [True] * 3
            or members[2] is None
        ):
            raise ValueError(f"{members!r} is no key of a row")
        return cls(*members)

    def __lt__(self, other: "RowKey") -> bool:
        return self._order < other._order

    @property
    def _order(self) -> tuple[tuple[bool, str], tuple[bool, str], str]:
        # The order of code points is that of their UTF-8 bytes.
        return (self.pk is not None, self.pk or ""), (self.sk is not None, self.sk or ""), self.item_key


@dataclass(frozen=True, slots=True)
class KeyRange:
    """The keys of the first and of the last row of something that is in order of keys."""

    first: RowKey
    last: RowKey

    def __post_init__(self) -> None:
        if self.last < self.first:
            raise ValueError(f"{self.last} stands before {self.first}")

    def may_hold(self, key: RowKey) -> bool:
        """Whether rows of that key can stand here."""
        return self.first <= key <= self.last

    def may_hold_partition(self, pk: str) -> bool:
        """Whether rows of that partition key can stand here, or rows that do not say theirs."""
        if self.first.pk is None:
            return True
        return self.first.pk <= pk and (self.last.pk or "") >= pk
