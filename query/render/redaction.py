"""Attributes that are archived but never shown: masked in whatever leaves the reader.

A path names an attribute as `diff.parse_path` reads it. What differs is found before anything is masked, so a change of
a redacted attribute is still told, without its values.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Self

import orjson

from archiver.format.canonical import canonical
from query.diff import AttributeChange, Step, parse_path

MASK: Final = "[redacted]"


@dataclass(frozen=True, slots=True)
class Redaction:
    """The attributes of one table that are masked."""

    paths: tuple[tuple[Step, ...], ...] = ()

    @classmethod
    def of(cls, texts: Sequence[str]) -> Self:
        """From the paths in the configuration. Raises UsageError: better no answer than one that shows too much."""
        return cls(tuple(parse_path(text) for text in texts))

    def image(self, text: str | None) -> str | None:
        """An image or a key as canonical text, masked."""
        if text is None or not self.paths:
            return text
        image = _masked({"M": orjson.loads(text)}, self.paths)
        return canonical(image["M"]).decode()

    def change(self, change: AttributeChange) -> AttributeChange:
        """A change of an attribute, its values masked."""
        if not self.paths:
            return change
        old, new = (self._value(value, change.steps) for value in (change.old_value, change.new_value))
        return replace(change, old_value=old, new_value=new)

    def _value(self, value: Mapping[str, Any] | None, steps: Sequence[Step]) -> Mapping[str, Any] | None:
        """A value that stands at `steps`: masked whole if it lies in what is redacted, else whatever in it is."""
        if value is None:
            return None
        if any(tuple(steps[: len(path)]) == path for path in self.paths):
            return {"S": MASK}
        return _masked(value, [path[len(steps) :] for path in self.paths if path[: len(steps)] == tuple(steps)])


def _masked(value: Mapping[str, Any], paths: Sequence[Sequence[Step]]) -> Mapping[str, Any]:
    """A copy of a value with a mask at each path below it that leads somewhere."""
    for path in paths:
        value = _masked_at(value, path)
    return value


def _masked_at(value: Mapping[str, Any], path: Sequence[Step]) -> Mapping[str, Any]:
    if not path:
        return {"S": MASK}
    step, rest = path[0], path[1:]
    if isinstance(step, str) and step in value.get("M", ()):
        return {"M": {**value["M"], step: _masked_at(value["M"][step], rest)}}
    if isinstance(step, int) and step < len(value.get("L", ())):
        inside = list(value["L"])
        inside[step] = _masked_at(inside[step], rest)
        return {"L": inside}
    return value
