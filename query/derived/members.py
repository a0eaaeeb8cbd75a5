"""What descriptions list: files, parts, spans and objects of evidence, each as members of JSON and back; and how strict
members are read.

Laws: `of(members()) == x`; whatever is no such thing is a ValueError, TypeError or KeyError. Pure.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from query.derived.key_range import KeyRange, RowKey
from query.derived.names import index_name, items_name

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class File:
    """A file beside a description: its name in the folder, its size in bytes, its SHA-256 in hex."""

    name: str
    bytes: int
    sha256: str

    def members(self) -> dict[str, Any]:
        return {"bytes": self.bytes, "name": self.name, "sha256": self.sha256}

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        return cls(text(members["name"]), count(members["bytes"]), digest(members["sha256"]))


@dataclass(frozen=True, slots=True)
class Part:
    """One Parquet file of rows, its items file, its index (None in a snapshot), and the keys of first and last row."""

    file: File
    items: File
    index: File | None
    rows: int
    keys: KeyRange

    @property
    def files(self) -> tuple[File, ...]:
        """All that belongs to it."""
        own = (self.file, self.items)
        return own if self.index is None else (*own, self.index)

    def members(self) -> dict[str, Any]:
        found = {
            **self.file.members(),
            "first": self.keys.first.members(),
            "items_bytes": self.items.bytes,
            "items_sha256": self.items.sha256,
            "last": self.keys.last.members(),
            "rows": self.rows,
        }
        if self.index is not None:
            found |= {"index_bytes": self.index.bytes, "index_sha256": self.index.sha256}
        return found

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        file = File.of(members)
        items = File(items_name(file.name), count(members["items_bytes"]), digest(members["items_sha256"]))
        index = None
        if "index_sha256" in members:
            index = File(index_name(file.name), count(members["index_bytes"]), digest(members["index_sha256"]))
        keys = KeyRange(RowKey.of(members["first"]), RowKey.of(members["last"]))
        return cls(file, items, index, count(members["rows"]), keys)


@dataclass(frozen=True, slots=True)
class Span:
    """The changes of one stream label: earliest and latest `changed_at` (epoch ms), how many rows tell of them, and the
    least and greatest sequence number, padded.
    """

    stream_label: str
    first_ms: int
    last_ms: int
    rows: int
    first_sequence: str
    last_sequence: str

    def members(self) -> dict[str, Any]:
        return {
            "first_ms": self.first_ms,
            "first_sequence": self.first_sequence,
            "last_ms": self.last_ms,
            "last_sequence": self.last_sequence,
            "rows": self.rows,
            "stream_label": self.stream_label,
        }

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        first_ms, last_ms, rows = (count(members[name]) for name in ("first_ms", "last_ms", "rows"))
        sequences = text(members["first_sequence"]), text(members["last_sequence"])
        return cls(text(members["stream_label"]), first_ms, last_ms, rows, *sequences)


@dataclass(frozen=True, slots=True)
class Digested:
    """An object of evidence: its name inside the trail, and the SHA-256 of its bytes in hex."""

    name: str
    sha256: str

    def members(self) -> dict[str, Any]:
        return {"name": self.name, "sha256": self.sha256}

    @classmethod
    def of(cls, members: Mapping[str, Any]) -> Self:
        return cls(text(members["name"]), digest(members["sha256"]))


# --- how strict members are read ---


def text(value: Any) -> str:
    """A text, or ValueError."""
    demand(isinstance(value, str), f"expected a text, not {value!r}")
    return value  # type: ignore[no-any-return]


def count(value: Any) -> int:
    """A whole number from 0, or ValueError."""
    demand(type(value) is int and value >= 0, f"expected a whole number, not {value!r}")
    return value  # type: ignore[no-any-return]


def digest(value: Any) -> str:
    """A SHA-256 in hex, or ValueError."""
    demand(isinstance(value, str) and _DIGEST.fullmatch(value) is not None, f"{value!r} is no SHA-256 in hex")
    return value  # type: ignore[no-any-return]


def demand(holds: bool, why: str) -> None:
    """Raises ValueError unless it holds."""
    if not holds:
        raise ValueError(why)
