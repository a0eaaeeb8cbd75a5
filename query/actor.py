"""Who made a change, as far as a trail can say. Pure; `docs/answers.md`, *Actor*, is normative.

Invariants: a delete is never put down to whoever wrote the item before it; a name that a change merely carries along is
told apart from one that it wrote; where nobody is named there is a reason.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

import orjson

from archiver.format.values import comparable
from query.diff import Step, at_path, compose_path, parse_path

TTL_PRINCIPAL: Final = "dynamodb.amazonaws.com"
TTL_ACTOR: Final = "dynamodb-ttl"
WROTE: Final = "attribute"
CARRIED: Final = "carried"

NOT_CONFIGURED: Final = "not-configured"
DELETE: Final = "delete"
NO_IMAGE: Final = "no-image"
NO_ATTRIBUTE: Final = "no-attribute"
NOT_A_NAME: Final = "not-a-name"


@dataclass(frozen=True, slots=True)
class Actor:
    """Who made a change, and how that is known; or None, and the reason why it is not.

    `source` is `dynamodb-ttl` (`user_identity` says so), `attribute:PATH` (the change wrote the attribute) or
    `carried:PATH` (the item bears this name after the change, and nothing shows that the change wrote it: the same
    writer once more, or one that does not set it).
    """

    name: str | None
    source: str | None = None
    reason: str | None = None

    @property
    def is_certain(self) -> bool:
        """Whether the change itself says so."""
        return self.source is not None and not self.source.startswith(CARRIED)

    @property
    def is_from_attribute(self) -> bool:
        """Whether the name is what an attribute holds."""
        return self.source is not None and self.source != TTL_ACTOR


@dataclass(frozen=True, slots=True)
class Attribution:
    """Where the writer of an item is named: the path of an attribute, or nowhere."""

    steps: tuple[Step, ...] = ()

    @classmethod
    def of(cls, path: str | None) -> Self:
        """From the configuration. Raises UsageError for what is no path."""
        return cls(() if path is None else parse_path(path))

    @property
    def path(self) -> str:
        return compose_path(self.steps)

    def actor(self, op: str, old_image: str | None, new_image: str | None, user_identity: str | None) -> Actor:
        """Who made a change. Images and identity are canonical text, None where the stream carried none."""
        if is_ttl(user_identity):
            return Actor(TTL_ACTOR, TTL_ACTOR)
        if not self.steps:
            return Actor(None, reason=NOT_CONFIGURED)
        if op == "REMOVE":
            return Actor(None, reason=DELETE)
        if new_image is None:
            return Actor(None, reason=NO_IMAGE)
        value = self._value(new_image)
        if value is None:
            return Actor(None, reason=NO_ATTRIBUTE)
        name = _name(value)
        if name is None:
            return Actor(None, reason=NOT_A_NAME)
        return Actor(name, f"{WROTE if self._wrote(op, old_image, value) else CARRIED}:{self.path}")

    def _wrote(self, op: str, old_image: str | None, value: Mapping[str, Any]) -> bool:
        if op == "INSERT":
            return True
        if old_image is None:
            return False
        before = self._value(old_image)
        return before is None or comparable(before) != comparable(value)

    def _value(self, image: str) -> Mapping[str, Any] | None:
        return at_path({"M": orjson.loads(image)}, self.steps)


def is_ttl(user_identity: str | None) -> bool:
    """Whether DynamoDB itself made the change, because the item had expired.

    *Time to Live*, DynamoDB Developer Guide: "userIdentity.principalId: dynamodb.amazonaws.com".
    """
    if user_identity is None:
        return False
    identity = orjson.loads(user_identity)
    return isinstance(identity, dict) and identity.get("principalId") == TTL_PRINCIPAL


def _name(value: Mapping[str, Any]) -> str | None:
    """A text or a number, as it was written; no other value names anybody."""
    ((tag, content),) = value.items()
    return content if tag in {"S", "N"} else None


NOBODY_NAMED: Final = Attribution()
