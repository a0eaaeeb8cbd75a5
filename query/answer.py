"""What an answer is: states, versions and the four outcomes. Pure data; `docs/answers.md` says what each means.

Invariant: absent and unknown are never None or an empty item: an outcome says which of the four answers it is.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

import orjson

from archiver.format.layout import Trail
from archiver.format.values import native_attributes, plain_attributes
from query.actor import NOBODY_NAMED, Actor, Attribution
from query.diff import Step, changes, touches
from query.masked import Masked
from query.redaction import NOTHING_REDACTED, Redaction
from query.shown import Shown

if TYPE_CHECKING:
    from query.tellers import Tellers


class Outcome(StrEnum):
    """The four answers to "what was this item at that instant"."""

    EXISTED = "existed"
    ALREADY_DELETED = "already-deleted"
    NOT_YET_CREATED = "not-yet-created"
    UNKNOWN = "unknown"


class Basis(StrEnum):
    """What an answer rests on."""

    CHANGE = "change"  # the last change at or before the instant
    OLD_IMAGE = "old-image"  # the first change after it: what it says of the moment before
    BASELINE = "baseline"
    TABLE_END = "table-end"
    AGREEMENT = "agreement"  # two facts on both sides of a gap say the same
    GUESS = "guess"  # `--best-effort`: not covered
    NOTHING = "nothing"


@dataclass(frozen=True, slots=True, repr=False)
class Change(Masked):
    """One change record as evidence holds it, duplicates removed. JSON columns are canonical text; times epoch ms.

    `effective_ms` is the running maximum of `changed_at_ms` along the item's changes; `segment` the object of evidence
    that tells of it, which `tellers` knows by the number `told_by`.
    """

    trail: Trail
    change_id: str
    op: str
    changed_at_ms: int
    effective_ms: int
    sequence_number: str
    stream_label: str
    item_key: str
    pk: str | None
    sk: str | None
    old_image: str | None
    new_image: str | None
    user_identity: str | None
    event: str
    tellers: "Tellers" = field(repr=False, compare=False)
    told_by: int = field(repr=False, compare=False)
    attribution: Attribution = field(default=NOBODY_NAMED, repr=False, compare=False)
    redaction: Redaction = field(default=NOTHING_REDACTED, repr=False, compare=False)

    @property
    def segment(self) -> str:
        """The full name of the segment that tells of it; it may have to be looked up where runs are read."""
        return self.tellers[self.told_by]

    @property
    def is_sealed(self) -> bool | None:
        """Whether that segment is sealed; None in a trail without seals, or where seals were not checked."""
        return self.tellers.is_sealed(self.told_by)

    @property
    def order(self) -> tuple[str, str]:
        """Label and padded sequence number: the order of an item's changes."""
        return self.stream_label, self.sequence_number

    @property
    def is_comparable(self) -> bool:
        """Whether the stream carried the images that tell what changed."""
        has_old = self.old_image is not None or self.op == "INSERT"
        return has_old and (self.new_image is not None or self.op == "REMOVE")

    def may_be_about(self, paths: Sequence[Sequence[Step]]) -> bool:
        """Whether it touches one of some attributes; a change that cannot tell what it changed may."""
        if not self.is_comparable:
            return True
        found = changes(self.old_image, self.new_image)
        return any(touches(change.steps, path) for change in found for path in paths)

    @property
    def made_by(self) -> Actor:
        """Who made the change, how that is known, or why it is not."""
        return self.attribution.actor(self.op, self.old_image, self.new_image, self.user_identity)

    @property
    def actor(self) -> str | None:
        """Who made the change: `dynamodb-ttl` for a TTL delete, None if the trail does not say."""
        return self.made_by.name

    @property
    def actor_source(self) -> str | None:
        """How `actor` is known."""
        return self.made_by.source


@dataclass(frozen=True, slots=True, repr=False)
class State(Masked):
    """One item at one instant: the outcome, and what it rests on.

    `image` is canonical DynamoDB JSON, present exactly when the outcome is `existed` or a best-effort guess says so;
    `reason` explains `unknown` (`missing-image`, `before-coverage`, `gap`, `no-fact`). Times are epoch ms, None unless
    the basis is a change.
    """

    item_key: str
    outcome: Outcome
    basis: Basis
    image: str | None = None
    reason: str | None = None
    change_id: str | None = None
    changed_at_ms: int | None = None
    valid_from_ms: int | None = None
    is_guess: bool = False
    redaction: Redaction = field(default=NOTHING_REDACTED, repr=False, compare=False)


@dataclass(frozen=True, slots=True, repr=False)
class Version(Masked, Shown):
    """One state of one item between two changes. `item` is Python objects (exact), `raw` the DynamoDB JSON untouched.

    `valid_from_ms` and `valid_to_ms` are effective times in epoch ms; None means open (not known, or still current).
    `change` is the change that began it, None if it began before the trail. A version of a deletion has no image.
    """

    item_key: str
    image: str | None
    change: Change | None = None
    valid_from_ms: int | None = None
    valid_to_ms: int | None = None
    prev: "Version | None" = field(default=None, repr=False, compare=False)
    next: "Version | None" = field(default=None, repr=False, compare=False)
    redaction: Redaction = field(default=NOTHING_REDACTED, repr=False, compare=False)

    @property
    def raw(self) -> dict[str, Any] | None:
        """The item in DynamoDB JSON (`{"total": {"N": "24.11"}}`), untouched; None for a deletion."""
        return None if self.image is None else orjson.loads(self.image)

    @property
    def item(self) -> dict[str, Any] | None:
        """The item by attribute name, exact: `Decimal`, `str`, `bytes`, `bool`, None, `frozenset`, `list`, `dict`."""
        raw = self.raw
        return None if raw is None else native_attributes(raw)

    @property
    def change_id(self) -> str | None:
        """The id of the change that began it, whole; None if it began before the trail."""
        return None if self.change is None else self.change.change_id

    @property
    def actor(self) -> str | None:
        """Who made that change, as `Change.actor`; None if the trail does not say."""
        return None if self.change is None else self.change.actor


def plain_text(image: str | None) -> bytes | None:
    """The plain JSON twin of an image or key, number text verbatim; None for no image."""
    return None if image is None else orjson.dumps(plain_attributes(orjson.loads(image)))


def plain_key(item_key: str) -> Mapping[str, Any]:
    """An item key as plain values, ready for orjson."""
    return plain_attributes(orjson.loads(item_key))
