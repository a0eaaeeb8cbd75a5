"""Views: what the reader found, paired with what is made of it when it is shown. Nothing here asks the archive.

Invariant: every image, key and value that leaves a view has passed its redaction.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import orjson

from archiver.format.values import plain, plain_attributes
from query.actor import Actor
from query.answer import Change, State, Version
from query.diff import AttributeChange, Step, changes, touches
from query.instant import Instant, format_ms
from query.redaction import NOTHING_REDACTED, Redaction
from query.render.sheet import Json
from query.rev import Rev


@dataclass(frozen=True)
class ChangeView:
    """A change as it is shown."""

    change: Change
    redaction: Redaction = NOTHING_REDACTED

    @property
    def is_comparable(self) -> bool:
        """Whether the stream carried the images that tell what changed."""
        return self.change.is_comparable

    @cached_property
    def made_by(self) -> Actor:
        """Who made it."""
        return self.redaction.made_by(self.change)

    @cached_property
    def changes(self) -> tuple[AttributeChange, ...] | None:
        """What differs, None where an image is missing."""
        if not self.is_comparable:
            return None
        found = changes(self._old, self._new)
        return tuple(self.redaction.change(one) for one in found) if self.redaction.paths else found

    @cached_property
    def plain_changes(self) -> list[dict[str, Any]] | None:
        """The same with plain values, one for one."""
        return None if self.changes is None else [plain_change(one) for one in self.changes]

    @property
    def changed_attributes(self) -> tuple[str, ...] | None:
        """The names of the top-level attributes that differ, None where an image is missing."""
        return None if self.changes is None else tuple(dict.fromkeys(str(one.steps[0]) for one in self.changes))

    @property
    def item(self) -> Json | None:
        """The plain twin of the image after."""
        if self.redaction.paths:
            return _plain(self.new_image)
        if self._new is None or self._old is None:
            return _plain(self.new_image, self._new)
        # What did not change, as most does not, is not made twice.
        old, made = self._old, self._plain_old
        return Json(
            {
                name: made[name] if old.get(name) == self._new[name] else plain(self._new[name])
                for name in sorted(self._new)
            }
        )

    @property
    def old_item(self) -> Json | None:
        """The plain twin of the image before."""
        if self.redaction.paths:
            return _plain(self.old_image)
        return None if self._old is None else Json(self._plain_old)

    @cached_property
    def new_image(self) -> str | None:
        """The image after, masked."""
        return self.redaction.image(self.change.new_image)

    @cached_property
    def old_image(self) -> str | None:
        """The image before, masked."""
        return self.redaction.image(self.change.old_image)

    # Made once, not masked: what differs is found before anything is masked.
    @cached_property
    def _plain_old(self) -> dict[str, Any]:
        return plain_attributes(self._old or {})

    @cached_property
    def _old(self) -> Mapping[str, Any] | None:
        return None if self.change.old_image is None else orjson.loads(self.change.old_image)

    @cached_property
    def _new(self) -> Mapping[str, Any] | None:
        return None if self.change.new_image is None else orjson.loads(self.change.new_image)

    def is_about(self, paths: Sequence[Sequence[Step]]) -> bool:
        """Whether it touches one of some attributes; a change that cannot tell what it changed may."""
        return self.changes is None or any(touches(change.steps, path) for change in self.changes for path in paths)


@dataclass(frozen=True, slots=True)
class StateView:
    """An item's state as it is shown."""

    state: State
    redaction: Redaction = NOTHING_REDACTED


@dataclass(frozen=True, slots=True)
class AnswerView:
    """The answer of `get`: one item's state, the version it belongs to, and why. `at` is what was asked, resolved.

    `is_sealed` is that of `query.item.ItemState`.
    """

    table_name: str
    state: State
    at: Instant | Rev
    explanation: str
    version: Version | None = None
    is_sealed: bool | None = None
    redaction: Redaction = NOTHING_REDACTED

    @property
    def made_by(self) -> Actor | None:
        """Who made the change that the version began with; None where no change began it."""
        change = None if self.version is None else self.version.change
        return None if change is None else self.redaction.made_by(change)


@dataclass(frozen=True, slots=True)
class ConflictView:
    """A change that segments contradict each other about (`query.conflicts.Conflict`), as it is shown."""

    conflict: Any
    redaction: Redaction = NOTHING_REDACTED


def key_cell(item_key: str, redaction: Redaction) -> Json:
    """An item key: plain values in JSON, canonical DynamoDB JSON as text."""
    masked = redaction.image(item_key)
    assert masked is not None
    return Json(plain_attributes(orjson.loads(masked)), masked)


def item_cell(image: str | None, redaction: Redaction) -> Json | None:
    """The plain twin of an image."""
    return _plain(redaction.image(image))


def _plain(masked: str | None, parsed: Mapping[str, Any] | None = None) -> Json | None:
    """The plain twin of what is masked, which may have been parsed already."""
    return None if masked is None else Json(plain_attributes(orjson.loads(masked) if parsed is None else parsed))


def image_cell(image: str | None, redaction: Redaction) -> Json | None:
    """An image as DynamoDB JSON."""
    masked = redaction.image(image)
    return None if masked is None else Json(orjson.Fragment(masked), masked)


def event_cell(event: str, redaction: Redaction) -> Json:
    """What else was delivered; it may repeat the key as it was spelled."""
    if redaction.paths:
        found = orjson.loads(event)
        found.get("dynamodb", {}).pop("Keys", None)
        return Json(found)
    return Json(orjson.Fragment(event), event)


def changes_cell(view: ChangeView) -> Json | None:
    """`[{"path", "old", "new"}]` with plain values, None where an image is missing."""
    return None if view.plain_changes is None else Json(view.plain_changes)


def plain_change(change: AttributeChange) -> dict[str, Any]:
    """One changed attribute with plain values; a side that holds none is left out, since null is a value."""
    made: dict[str, Any] = {"path": change.path}
    if change.old_value is not None:
        made["old"] = plain(change.old_value)
    if change.new_value is not None:
        made["new"] = plain(change.new_value)
    return made


def difference_document(
    table_name: str, difference: Any, changes: Sequence[AttributeChange], redaction: Redaction
) -> dict[str, Any]:
    """A difference (`query.item.Diff`) as one JSON document."""
    return {
        "table_name": table_name,
        "item_key": key_cell(difference.item_key, redaction).shown,
        "from": _end(difference.older),
        "to": _end(difference.newer),
        "changes": [plain_change(change) for change in changes],
    }


def _end(version: Version | None) -> dict[str, Any] | None:
    """Which version stands at an end of a difference, None for the time before the first recorded change."""
    if version is None or version.change is None:
        return None
    change = version.change
    return {"change_id": change.change_id, "op": change.op, "changed_at": format_ms(change.changed_at_ms)}
