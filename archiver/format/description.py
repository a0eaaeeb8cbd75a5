"""The two descriptions of evidence that are JSON: what is known of a stream, and what a baseline consists of.

Laws: `parse(compose(x)) == x`; a parser accepts only what its composer makes, byte for byte, and refuses (ValueError)
everything else: another format version, missing and unknown members, wrong types, another spelling.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import orjson

from archiver.format import FORMAT_VERSION
from archiver.format.canonical import canonical

# (name, "S" | "N" | "B"): the partition key, then the sort key if there is one.
KeySchema = tuple[tuple[str, str], ...]

_STREAM_MEMBERS: Final = frozenset({"format", "key_schema", "stream_arn", "table_id", "view_type"})
_BASELINE_MEMBERS: Final = frozenset(
    {"format", "complete", "from_ms", "to_ms", "items", "key_schema", "origin", "parts", "stream_label", "table_id"}
)


@dataclass(frozen=True, slots=True)
class StreamDescription:
    """One generation of a table's stream, the content of `streams/<label>.json`."""

    stream_arn: str
    key_schema: KeySchema
    table_id: str | None
    view_type: str | None

    @property
    def key_names(self) -> tuple[str, ...]:
        return tuple(name for name, _ in self.key_schema)

    def compose(self) -> bytes:
        return canonical(
            {
                "format": FORMAT_VERSION,
                "key_schema": _key_schema_json(self.key_schema),
                "stream_arn": self.stream_arn,
                "table_id": self.table_id,
                "view_type": self.view_type,
            }
        )

    @classmethod
    def parse(cls, content: bytes) -> "StreamDescription":
        members = _members(content, _STREAM_MEMBERS, "a stream description")
        return _exact(
            cls(
                stream_arn=_text(members["stream_arn"]),
                key_schema=_parse_key_schema(members["key_schema"]),
                table_id=_text_or_none(members["table_id"]),
                view_type=_text_or_none(members["view_type"]),
            ),
            content,
        )


@dataclass(frozen=True, slots=True)
class BaselinePart:
    """One file of a baseline: its name (without folder), size in bytes, number of items and SHA-256 in hex."""

    name: str
    bytes: int
    items: int
    sha256: str


@dataclass(frozen=True, slots=True)
class BaselineDescription:
    """The content of `baseline.json`: the closed interval (epoch ms) that the items stand for, and the parts.

    `complete` says that an item not in any part did not exist. `stream_label` is the stream that was enabled while the
    baseline was taken, None if nobody knows; `origin` says in words where it came from.
    """

    complete: bool
    from_ms: int
    to_ms: int
    items: int
    key_schema: KeySchema
    origin: str
    parts: tuple[BaselinePart, ...]
    stream_label: str | None
    table_id: str | None

    def compose(self) -> bytes:
        return canonical(
            {
                "format": FORMAT_VERSION,
                "complete": self.complete,
                "from_ms": self.from_ms,
                "to_ms": self.to_ms,
                "items": self.items,
                "key_schema": _key_schema_json(self.key_schema),
                "origin": self.origin,
                "parts": [
                    {"name": part.name, "bytes": part.bytes, "items": part.items, "sha256": part.sha256}
                    for part in self.parts
                ],
                "stream_label": self.stream_label,
                "table_id": self.table_id,
            }
        )

    @classmethod
    def parse(cls, content: bytes) -> "BaselineDescription":
        members = _members(content, _BASELINE_MEMBERS, "a baseline description")
        parts = tuple(_parse_part(part) for part in _list(members["parts"]))
        from_ms, to_ms, items = _count(members["from_ms"]), _count(members["to_ms"]), _count(members["items"])
        if not from_ms <= to_ms:
            raise ValueError("the interval of the baseline ends before it begins")
        if sum(part.items for part in parts) != items:
            raise ValueError("the parts of the baseline do not add up to its items")
        if not isinstance(members["complete"], bool):
            raise ValueError("complete is not true or false")
        return _exact(
            cls(
                complete=members["complete"],
                from_ms=from_ms,
                to_ms=to_ms,
                items=items,
                key_schema=_parse_key_schema(members["key_schema"]),
                origin=_text(members["origin"]),
                parts=parts,
                stream_label=_text_or_none(members["stream_label"]),
                table_id=_text_or_none(members["table_id"]),
            ),
            content,
        )


Described = TypeVar("Described", StreamDescription, BaselineDescription)


def _members(content: bytes, expected: frozenset[str], what: str) -> Mapping[str, Any]:
    members = orjson.loads(content)
    if not isinstance(members, dict) or members.get("format") != FORMAT_VERSION:
        raise ValueError(f"not {what} of format {FORMAT_VERSION}")
    if set(members) != expected:
        raise ValueError(f"not {what}: members {sorted(set(members) ^ expected)} are missing or unknown")
    return members


def _key_schema_json(key_schema: KeySchema) -> list[dict[str, str]]:
    return [{"name": name, "type": kind} for name, kind in key_schema]


def _parse_key_schema(elements: Any) -> KeySchema:
    pairs = [_exact_members(element, {"name", "type"}) for element in _list(elements)]
    key_schema = tuple((_text(pair["name"]), _text(pair["type"])) for pair in pairs)
    if len(key_schema) not in {1, 2} or any(kind not in {"S", "N", "B"} for _, kind in key_schema):
        raise ValueError("a key schema has one or two attributes of type S, N or B")
    return key_schema


def _parse_part(part: Any) -> BaselinePart:
    members = _exact_members(part, {"name", "bytes", "items", "sha256"})
    return BaselinePart(
        name=_text(members["name"]),
        bytes=_count(members["bytes"]),
        items=_count(members["items"]),
        sha256=_text(members["sha256"]),
    )


def _exact(parsed: Described, content: bytes) -> Described:
    if parsed.compose() != content:
        raise ValueError("not in canonical form")
    return parsed


def _exact_members(value: Any, names: set[str]) -> Mapping[str, Any]:
    if not isinstance(value, dict) or set(value) != names:
        raise ValueError(f"expected an object with {sorted(names)}")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError(f"expected a list, not {value!r}")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a string, not {value!r}")
    return value


def _text_or_none(value: Any) -> str | None:
    return None if value is None else _text(value)


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"expected a whole number, not {value!r}")
    return value
