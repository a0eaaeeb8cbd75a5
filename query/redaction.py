"""Attributes that are archived but never shown: masked in whatever leaves the reader, here and nowhere else.

A path names an attribute as `diff.parse_path` reads it. What differs is found before anything is masked, so a change of
a redacted attribute is still told, without its values. A mask bears a digest of the value under a key (HMAC-SHA-256,
RFC 2104, cut to 64 bits): equal values have equal masks, however they are spelled and wherever they stand; without the
key nobody can try values until one fits.
"""

import hmac
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from secrets import token_bytes
from typing import TYPE_CHECKING, Any, Final, Self

import orjson

from archiver.format.canonical import canonical
from archiver.format.values import normal_number
from query.diff import AttributeChange, Step, at_path, compose_path, parse_path
from query.errors import UsageError

if TYPE_CHECKING:
    from query.actor import Actor
    from query.answer import Change

_DIGITS: Final = 16  # of the digest, in hex: 64 bits, so that among 10 million values no two are likely to be alike
_KEY_BYTES: Final = 32
_MASK: Final = re.compile(rf"\[redacted:[0-9a-f]{{{_DIGITS}}}\]")
_OBJECT: Final = re.compile(r'\{"')
_TAGS: Final = frozenset({"S", "N", "B", "SS", "NS", "BS", "M", "L", "BOOL", "NULL"})


def random_key() -> bytes:
    """A key that nobody keeps: masks are alike within this run only."""
    return token_bytes(_KEY_BYTES)


def is_mask(value: object) -> bool:
    """Whether a value, bare or in DynamoDB JSON, is a mask by its looks."""
    if isinstance(value, Mapping):
        value = value.get("S")
    return isinstance(value, str) and _MASK.fullmatch(value) is not None


def mask_given(name: str, value: object) -> UsageError:
    """The error for a question that holds a mask where a value belongs."""
    mask = value["S"] if isinstance(value, Mapping) else value
    return UsageError(
        f"{name} is given as {mask}",
        why=f"a mask stands for a value that redact hides ({name}); what it is cannot be told from it",
        hint="ask with the values themselves, or open the archive without redact for this table and ask anew",
    )


@dataclass(frozen=True, slots=True)
class Redaction:
    """The attributes of one table that are masked; `secret` is the key of the digests."""

    paths: tuple[tuple[Step, ...], ...] = ()
    secret: bytes = field(default_factory=random_key, repr=False)

    @classmethod
    def of(cls, texts: Sequence[str], secret: bytes | None = None) -> Self:
        """From the paths in the configuration. Raises UsageError: better no answer than one that shows too much."""
        paths = {parse_path(text) for text in texts}
        outermost = [path for path in paths if not any(path[:length] in paths for length in range(1, len(path)))]
        return cls(tuple(sorted(outermost, key=str)), secret or random_key())

    @property
    def texts(self) -> tuple[str, ...]:
        """The paths, as they are written in the configuration."""
        return tuple(map(compose_path, self.paths))

    # --- values ---

    def mask(self, value: Mapping[str, Any]) -> str:
        """What stands for a value: `[redacted:1f3a9c5b7d2e4f60]`."""
        digest = hmac.digest(self.secret, canonical(_normal(value)), "sha256")
        return f"[redacted:{digest.hex()[:_DIGITS]}]"

    def image(self, text: str | None) -> str | None:
        """An image or a key as canonical text, masked."""
        if text is None or not self.paths:
            return text
        return canonical(self._below({"M": orjson.loads(text)}, self.paths)["M"]).decode()

    def key(self, item_key: str) -> str:
        """An item key as canonical text, masked."""
        return self.image(item_key) or ""

    def change(self, change: AttributeChange) -> AttributeChange:
        """A change of an attribute, its values masked."""
        if not self.paths:
            return change
        old, new = (self.value(value, change.steps) for value in (change.old_value, change.new_value))
        return replace(change, old_value=old, new_value=new)

    def value(self, value: Mapping[str, Any] | None, steps: Sequence[Step]) -> Mapping[str, Any] | None:
        """A value that stands at `steps`: masked whole if it lies in what is redacted, else whatever in it is."""
        if value is None:
            return None
        if self.covers(steps):
            return {"S": self.mask(value)}
        return self._below(value, [path[len(steps) :] for path in self.paths if path[: len(steps)] == tuple(steps)])

    def covers(self, steps: Sequence[Step]) -> bool:
        """Whether what stands at a path is masked whole."""
        return any(tuple(steps[: len(path)]) == path for path in self.paths)

    def refuse_masks(self, attributes: Mapping[str, Any]) -> None:
        """Lets a key or an item pass that somebody gives, unless it is one that was shown: raises UsageError for a mask
        at a redacted path, which would be taken for the value.
        """
        for path in self.paths:
            value = at_path({"M": attributes}, path)
            if value is not None and is_mask(value):
                raise mask_given(compose_path(path), value)

    # --- what names or holds values ---

    def made_by(self, change: "Change") -> "Actor":
        """Who made a change; the name is masked if the attribute that it comes from is."""
        actor, steps = change.made_by, change.attribution.steps
        if not actor.is_from_attribute or not self.covers(steps) or change.new_image is None:
            return actor
        value = at_path({"M": orjson.loads(change.new_image)}, steps)
        return actor if value is None else replace(actor, name=self.mask(value))

    def key_text(self, item_key: str, hint: str | None) -> str | None:
        """The key text (`pk`, `sk`) of an item; None where a key attribute is masked, since it holds the same value."""
        return hint if self.key(item_key) == item_key else None

    def text(self, text: str) -> str:
        """Words, with every item key or image in them masked: each is found as the JSON object that it is."""
        if not self.paths:
            return text
        told, position = "", 0
        for found in _OBJECT.finditer(text):
            start = found.start()
            length = _attributes_at(text, start) if start >= position else 0
            if length:
                told += text[position:start] + self.key(text[start : start + length])
                position = start + length
        return told + text[position:]

    def _below(self, value: Mapping[str, Any], paths: Sequence[Sequence[Step]]) -> Mapping[str, Any]:
        """A copy of a value with a mask at each path below it that leads somewhere."""
        for path in paths:
            value = self._at(value, path)
        return value

    def _at(self, value: Mapping[str, Any], path: Sequence[Step]) -> Mapping[str, Any]:
        if not path:
            return {"S": self.mask(value)}
        step, rest = path[0], path[1:]
        if isinstance(step, str) and step in value.get("M", ()):
            return {"M": {**value["M"], step: self._at(value["M"][step], rest)}}
        if isinstance(step, int) and step < len(value.get("L", ())):
            inside = list(value["L"])
            inside[step] = self._at(inside[step], rest)
            return {"L": inside}
        return value


NOTHING_REDACTED: Final = Redaction()


def _normal(value: Mapping[str, Any]) -> dict[str, Any]:
    """The one spelling of a value: sets sorted, numbers as `normal_number` writes them."""
    ((tag, content),) = value.items()
    match tag:
        case "N":
            return {tag: _number(content)}
        case "NS":
            return {tag: sorted(map(_number, content))}
        case "SS" | "BS":
            return {tag: sorted(content)}
        case "L":
            return {tag: [_normal(element) for element in content]}
        case "M":
            return {tag: {name: _normal(element) for name, element in content.items()}}
        case _:
            return {tag: content}


def _number(text: str) -> str:
    try:
        return normal_number(text)
    except ValueError:
        return text


def _attributes_at(text: str, position: int) -> int:
    """How long the map of attribute values is that begins at a place of a text; 0 if none does."""
    try:
        found, end = json.JSONDecoder().raw_decode(text, position)
    except ValueError:
        return 0
    values = found.values() if isinstance(found, dict) else ()
    are_values = all(isinstance(value, dict) and len(value) == 1 and set(value) <= _TAGS for value in values)
    return end - position if found and are_values else 0
