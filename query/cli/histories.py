"""The items that a command names, and their changes read one item after the other, counted on the way."""

import base64
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orjson import loads

from archiver.format.keytext import key_text as ordered_text
from query.answer import Change, Version
from query.cli.exits import tell
from query.diff import Step
from query.errors import IdentityConflict, KeyMismatch, UsageError
from query.instant import format_ms
from query.key import TypedKey, parse_item_or_collection
from query.keys_file import parse_keys_file
from query.redaction import Redaction
from query.render.sheet import dump
from query.render.story import key_text
from query.render.text import counted, grouped
from query.render.views import ChangeView
from query.sort_condition import SortCondition

if TYPE_CHECKING:
    from query.collection import Collection
    from query.item import Item
    from query.table import Table

Target = Any  # an Item, or the one Collection


def targets(
    table: "Table", key: Sequence[str], named: Sequence[str], keys: str | None, *, has_condition: bool
) -> "list[Item | Collection]":
    """The items, or the one collection, that were named. Raises KeyMismatch or UsageError."""
    if keys is not None:
        if key or named or has_condition:
            raise UsageError("keys were given in two ways", hint="type --keys FILE alone, or one key")
        return [*items_in_file(table, keys)]
    schema = table.key_schema
    typed = parse_item_or_collection(schema, key, named=named, table=table.name)
    if schema is not None and len(typed) < len(schema.attributes):
        return [table.collection(typed)]
    if has_condition:
        raise KeyMismatch("a sort key was given, and a condition on it", hint="leave one of them out")
    return [_item(table, typed)]


def items_in_file(table: "Table", keys: str) -> "list[Item]":
    """The items that a file of keys names (JSON Lines, Parquet, or `-`). Raises KeyMismatch or UsageError."""
    if keys.endswith(".parquet"):
        from query.frames import read_keys

        found = read_keys(table.key_schema, keys, table=table.name, redaction=table.redaction)
    else:
        found = parse_keys_file(table.key_schema, _lines(keys), table=table.name, redaction=table.redaction)
    return [_item(table, typed) for typed in found]


def meets(condition: SortCondition, key: Mapping[str, Mapping[str, str]]) -> bool:
    """Whether the sort key of an item key lies within a condition."""
    value, low = key[condition.name], condition.low
    if condition.kind == "prefix":
        return _octets(value).startswith(_octets(low))
    assert condition.high is not None
    return ordered_text(low) <= ordered_text(value) <= ordered_text(condition.high)


@dataclass(frozen=True, slots=True)
class Filter:
    """What is shown of the changes found: sort keys, attributes (as paths), actor, and how many at most."""

    condition: SortCondition | None = None
    paths: Sequence[Sequence[Step]] = ()
    actor: str | None = None
    limit: int | None = None

    def holds(self, view: ChangeView) -> bool:
        """Whether a change is shown."""
        is_by = self.actor is None or view.made_by.name == self.actor
        return is_by and self.is_asked(view) and (not self.paths or view.is_about(self.paths))

    def is_asked(self, view: ChangeView) -> bool:
        """Whether a change is one of the items asked about."""
        return self.condition is None or meets(self.condition, loads(view.change.item_key))


class Histories:
    """The changes of several items, in order within each. Counts hold once it has been read to the end."""

    def __init__(
        self,
        found: "Sequence[Item | Collection]",
        filtered: Filter,
        selection: Mapping[str, Any],
        redaction: Redaction,
    ) -> None:
        self._targets = found
        self._filter = filtered
        self._selection = selection
        self._redaction = redaction
        self._first: Change | None = None
        self.is_one_item = len(found) == 1 and hasattr(found[0], "item_key")
        self.shown = self.total = self.unsealed = 0
        self.has_failed = False

    def __iter__(self) -> Iterator[ChangeView]:
        for target in self._targets:
            try:
                views = self._views(target)
            except IdentityConflict as error:
                if len(self._targets) == 1:
                    raise
                tell(error)
                self.has_failed = True
                continue
            self.shown += len(views)
            self.unsealed += sum(view.change.is_sealed is False for view in views)
            yield from views

    def _views(self, target: Target) -> list[ChangeView]:
        """The changes of one target that are shown; counts those that might have been."""
        from query.history import conflict_error

        history = target.history(**self._selection)
        for conflict in getattr(target, "conflicts", ()):  # of a collection: all other items are shown
            tell(conflict_error([conflict], self._redaction))
            self.has_failed = True
        self._first = history.first_change
        is_narrowed = self._filter.condition is not None
        self.total += sum(map(self._filter.is_asked, self._seen(target.history()))) if is_narrowed else history.total
        return [view for view in self._seen(history) if self._filter.holds(view)][: self._filter.limit]

    def _seen(self, versions: Iterable[Version]) -> Iterator[ChangeView]:
        return (ChangeView(version.change, self._redaction) for version in versions if version.change is not None)

    @property
    def named(self) -> str:
        """Which item or collection, or how many items."""
        if len(self._targets) != 1:
            return counted(len(self._targets), "item")
        return key_text(dump(self._targets[0].key), self._redaction)

    def summary(self) -> str:
        """How much was shown, and for one item where its history begins."""
        line = f"{grouped(self.shown)} of {counted(self.total, 'change')} shown."
        if self._first is None or not self.is_one_item:
            return line
        began = format_ms(self._first.changed_at_ms).replace("T", " ")
        meaning = ", so this is its creation" if self._first.op == "INSERT" else ", so it existed before"
        return f"{line} First recorded change: {began} ({self._first.op}{meaning})."


def _item(table: "Table", typed: TypedKey) -> "Item":
    return table.item(named=(dump(typed),))


def _lines(name: str) -> Iterator[str]:
    if name == "-":
        yield from sys.stdin
        return
    try:
        with Path(name).open(encoding="utf-8") as file:
            yield from file
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"could not read {name}", why=str(error), hint="name a file of JSON Lines") from error


def _octets(value: Mapping[str, str]) -> bytes:
    ((tag, text),) = value.items()
    return base64.b64decode(text) if tag == "B" else text.encode()
