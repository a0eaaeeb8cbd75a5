"""The order of rows in derived data: by key text, NULL first, then by the key itself. Pure."""

from dataclasses import dataclass
from typing import Any, NamedTuple, Self


class RowKey(NamedTuple):
    """Where the rows of an item stand: `pk` and `sk` are key text, None where they were not known, which is below
    every text.
    """

    pk: str | None
    sk: str | None
    item_key: str

    def members(self) -> list[str | None]:
        """As JSON has it."""
        return list(self)

    @classmethod
    def of(cls, members: Any) -> Self:
        """From JSON. Raises ValueError."""
        if type(members) is not list or len(members) != len(cls._fields):
            raise ValueError(f"{members!r} is no key of a row")
        pk, sk, item_key = members
        if type(item_key) is not str or not (_is_text_or_none(pk) and _is_text_or_none(sk)):
            raise ValueError(f"{members!r} is no key of a row")
        return cls(pk, sk, item_key)

    # Indexes have thousands of keys: texts are compared as the tuple that they are, and None alone takes longer. The
    # order of code points is that of their UTF-8 bytes.

    def __lt__(self, other: tuple[str | None, ...]) -> bool:
        try:
            return tuple.__lt__(self, other)
        except TypeError:
            return _order(self) < _order(other)

    def __le__(self, other: tuple[str | None, ...]) -> bool:
        return not other < self

    def __gt__(self, other: tuple[str | None, ...]) -> bool:
        return other < self

    def __ge__(self, other: tuple[str | None, ...]) -> bool:
        return not self < other


def _is_text_or_none(text: Any) -> bool:
    return text is None or type(text) is str


def _order(key: tuple[str | None, ...]) -> tuple[tuple[bool, str], ...]:
    return tuple((text is not None, text or "") for text in key)


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
