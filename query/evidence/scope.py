"""What a package is about: a period, and which of its changes. Pure.

Invariant: a scope is spelled with instants only, so that asking again later asks the same.
"""

import shlex
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Final

import orjson

from query.diff import AttributeChange, Step, parse_path, touches
from query.evidence.listed import LISTED
from query.evidence.sample import Drawn
from query.instant import format_ms
from query.redaction import Redaction
from query.render.text import counted
from query.render.views import ChangeView, key_cell

# What stands in a command for what is masked.
REDACTED: Final = "[redacted]"


@dataclass(frozen=True, slots=True)
class Scope:
    """Changes with `since_ms <= changed_at < until_ms` (epoch ms) of a table, in full its trail's
    `account/region/name`; and of them those of one item or of those listed, by some operations, of some attributes
    or by one actor; at last, of all these, those of the items that were drawn.
    """

    table: str
    since_ms: int
    until_ms: int
    item_key: str | None = None
    ops: tuple[str, ...] | None = None
    attributes: tuple[str, ...] = ()
    actor: str | None = None
    listed: tuple[str, ...] | None = None
    drawn: Drawn | None = None
    paths: tuple[tuple[Step, ...], ...] = field(init=False, default=())

    def __post_init__(self) -> None:
        object.__setattr__(self, "paths", tuple(parse_path(text) for text in self.attributes))

    @property
    def item_keys(self) -> tuple[str, ...] | None:
        """The items whose changes are asked about; None: of all."""
        if self.drawn is not None:
            return self.drawn.item_keys
        return self.listed if self.item_key is None else (self.item_key,)

    def holds(self, view: ChangeView) -> bool:
        """Whether a change, of the period, the item and the operations, is one of the attributes and of the actor."""
        is_by = self.actor is None or view.made_by.name == self.actor
        return is_by and (not self.paths or view.is_about(self.paths))

    def asks_about(self, change: AttributeChange) -> bool:
        """Whether a change of an attribute is one of those that are asked about."""
        return not self.paths or any(touches(change.steps, path) for path in self.paths)

    def told(self, redaction: Redaction, *, is_actor_masked: bool) -> Iterator[tuple[str, str]]:
        """The scope as pairs of names and texts; what is masked in answers is masked here."""
        yield "table", self.table
        yield "since", f"{format_ms(self.since_ms)} (inclusive)"
        yield "until", f"{format_ms(self.until_ms)} (exclusive)"
        if self.item_key is not None:
            yield "item", key_cell(self.item_key, redaction).shown_text
        if self.listed is not None:
            yield "items", f"{counted(len(self.listed), 'item')}, listed in {LISTED}"
        if self.ops is not None:
            yield "operations", ", ".join(self.ops)
        if self.attributes:
            yield "attributes", ", ".join(self.attributes)
        if self.actor is not None:
            yield "actor", REDACTED if is_actor_masked else self.actor
        if self.drawn is not None:
            yield from self.drawn.told()

    def is_masked(self, redaction: Redaction, *, is_actor_masked: bool) -> bool:
        """Whether something that was asked is masked in `command`, so that it does not ask the same as it stands."""
        return (self.actor is not None and is_actor_masked) or self._has_masked_items(redaction)

    def _has_masked_items(self, redaction: Redaction) -> bool:
        named = self.listed if self.item_key is None else (self.item_key,)
        return any(redaction.key(key) != key for key in named or ())

    def command(self, redaction: Redaction, *, is_actor_masked: bool) -> str:
        """What to type for the same package, without where the archive is and where the package goes."""
        words = ["ddbtrail", "evidence", "build", self.table]
        words += ["--since", format_ms(self.since_ms), "--until", format_ms(self.until_ms)]
        if self.item_key is not None:
            words += ["--key", orjson.dumps(orjson.loads(redaction.key(self.item_key))).decode()]
        if self.listed is not None:
            # A list of masks is no list of items.
            words += ["--scope", REDACTED if self._has_masked_items(redaction) else LISTED]
        if self.ops is not None:
            words += ["--op", ",".join(self.ops).lower()]
        for text in self.attributes:
            words += ["--attr", text]
        if self.actor is not None:
            words += ["--actor", REDACTED if is_actor_masked else self.actor]
        if self.drawn is not None:
            words += ["--sample", str(self.drawn.draw.size), "--seed", self.drawn.draw.seed]
        return shlex.join(words)
