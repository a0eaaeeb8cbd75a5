"""The two descriptions of evidence that are JSON: what is known of a stream, and what a baseline consists of.

Laws: `parse(compose(x)) == x`; a parser refuses (ValueError) another format version, missing and unknown members.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

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
    def parse(cls, content: bytes) -> Self:
        members = _members(content, _STREAM_MEMBERS, "a stream description")
        return cls(
            stream_arn=members["stream_arn"],
            key_schema=_parse_key_schema(members["key_schema"]),
            table_id=members["table_id"],
            view_type=members["view_type"],
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
    def parse(cls, content: bytes) -> Self:
        members = _members(content, _BASELINE_MEMBERS, "a baseline description")
        parts = tuple(BaselinePart(**part) for part in members["parts"])
        if not members["from_ms"] <= members["to_ms"]:
            raise ValueError("the interval of the baseline ends before it begins")
        if sum(part.items for part in parts) != members["items"]:
            raise ValueError("the parts of the baseline do not add up to its items")
        return cls(
            complete=members["complete"],
            from_ms=members["from_ms"],
            to_ms=members["to_ms"],
            items=members["items"],
            key_schema=_parse_key_schema(members["key_schema"]),
            origin=members["origin"],
            parts=parts,
            stream_label=members["stream_label"],
            table_id=members["table_id"],
        )


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
    key_schema = tuple((element["name"], element["type"]) for element in elements)
    if len(key_schema) not in {1, 2} or any(kind not in {"S", "N", "B"} for _, kind in key_schema):
        raise ValueError("a key schema has one or two attributes of type S, N or B")
    return key_schema
