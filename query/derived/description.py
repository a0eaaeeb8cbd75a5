"""What a run and a snapshot say of themselves: `run.json` and `snapshot.json`, each written after all it lists.

Laws: `parse(compose(x)) == x`; a parser accepts only what its composer makes, byte for byte, and refuses (ValueError)
everything else, also what has another digest than it states. Pure: whether it is true is for whoever compares it with
the evidence.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Self

import orjson

from archiver.format import FORMAT_VERSION
from archiver.format.canonical import canonical
from archiver.format.layout import BaselineName, label_time_ms
from archiver.format.seal import parse_seal_name
from query.derived.key_range import KeyRange, RowKey
from query.derived.names import (
    DERIVATION,
    RunName,
    SnapshotName,
    check_part_name,
    check_segments_name,
    index_name,
    items_name,
)

MOST_PART_ROWS: Final = 1 << 20  # what a place in a part is counted with (`query/sql/macros.sql`)
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class File:
    """A file beside a description: its name in the folder, its size in bytes, its SHA-256 in hex."""

    name: str
    bytes: int
    sha256: str


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


@dataclass(frozen=True, slots=True)
class Digested:
    """An object of evidence: its name inside the trail, and the SHA-256 of its bytes in hex."""

    name: str
    sha256: str


@dataclass(frozen=True, slots=True)
class RunDescription:
    """`run.json`. `root` is that of the log at `name.end` (hex), `seal` the seal that ends there; `previous_sha256` is
    the digest (hex) of the one that ends at `name.start`, None at the beginning of the log.

    `repeats` rows tell of the same change as the row before them, `contradictions` of those otherwise (as text);
    `imageless` rows left an item of which no image was carried.
    `spans` say of each stream label which changes there are: the earliest and latest `changed_at`, and how many rows.
    `segments` is the file that names the `segment_count` segments by entry, and of the runs before those that were
    sealed lately, so that a reader of the tail knows them (`query.derived.segment_table`). `sealed_to_ms` is the end of
    the interval of the last seal, `until_ms` the time that the run belongs to (`query.derived.levels`). `descriptions`
    and `handovers` are those of the whole log before `name.end`: what is sealed of streams and baselines, and the seals
    that name another key.
    """

    name: RunName
    root: str
    seal: Digested
    previous_sha256: str | None
    rows: int
    repeats: int
    contradictions: int
    imageless: int
    spans: tuple[Span, ...]
    parts: tuple[Part, ...]
    segments: File
    segment_count: int
    sealed_to_ms: int
    until_ms: int
    descriptions: tuple[Digested, ...]
    handovers: tuple[str, ...]
    writer: str

    @property
    def files(self) -> tuple[File, ...]:
        """All that it lists."""
        return (self.segments, *(file for part in self.parts for file in part.files))

    def compose(self) -> bytes:
        return _with_digest(
            {
                "contradictions": self.contradictions,
                "derivation": DERIVATION,
                "descriptions": [{"name": one.name, "sha256": one.sha256} for one in self.descriptions],
                "format": FORMAT_VERSION,
                "from": self.name.start,
                "handovers": list(self.handovers),
                "imageless": self.imageless,
                "parts": [_part_members(part) for part in self.parts],
                "root": self.root,
                "previous_sha256": self.previous_sha256,
                "repeats": self.repeats,
                "rows": self.rows,
                "seal": {"name": self.seal.name, "sha256": self.seal.sha256},
                "sealed_to_ms": self.sealed_to_ms,
                "segments": {**_file_members(self.segments), "count": self.segment_count},
                "spans": [_span_members(span) for span in self.spans],
                "to": self.name.end,
                "until_ms": self.until_ms,
                "writer": self.writer,
            }
        )

    @classmethod
    def parse(cls, content: bytes) -> Self:
        members = _described(content)
        segments = _object(members["segments"])
        count = _count(segments.pop("count"))
        parsed = cls(
            name=RunName(_count(members["from"]), _count(members["to"])),
            root=_digest(members["root"]),
            seal=Digested(_text(members["seal"]["name"]), _digest(members["seal"]["sha256"])),
            previous_sha256=None if members["previous_sha256"] is None else _digest(members["previous_sha256"]),
            rows=_count(members["rows"]),
            repeats=_count(members["repeats"]),
            contradictions=_count(members["contradictions"]),
            imageless=_count(members["imageless"]),
            spans=tuple(_span(span) for span in members["spans"]),
            parts=tuple(_part(part) for part in members["parts"]),
            segments=_file(segments),
            segment_count=count,
            sealed_to_ms=_count(members["sealed_to_ms"]),
            until_ms=_count(members["until_ms"]),
            descriptions=tuple(Digested(_text(one["name"]), _digest(one["sha256"])) for one in members["descriptions"]),
            handovers=tuple(_text(name) for name in members["handovers"]),
            writer=_text(members["writer"]),
        )
        _demand(parsed.compose() == content, "it is not in canonical form")
        _check_rows(parsed.rows, parsed.parts)
        check_segments_name(parsed.segments.name, parsed.segments.sha256)
        _demand(
            parsed.name.start <= parse_seal_name(parsed.seal.name) < parsed.name.end, "its seal is of another range"
        )
        _demand(sum(span.rows for span in parsed.spans) == parsed.rows, "its spans do not add up to its rows")
        _demand((parsed.previous_sha256 is None) == (parsed.name.start == 0), "only the first run has none before it")
        for name in parsed.handovers:
            parse_seal_name(name)
        for span in parsed.spans:
            label_time_ms(span.stream_label)
            _demand(span.first_ms <= span.last_ms, "a span ends before it begins")
        _demand(all(part.index is not None for part in parsed.parts), "a part has no index")
        return parsed


@dataclass(frozen=True, slots=True)
class SnapshotDescription:
    """`snapshot.json`: the table at `name.at_ms` as the entries before `name.end` tell it.

    `baseline` is the complete baseline that it rests on (name of its description inside the trail and SHA-256), None
    if there was none; `spans` are those of all changes that were looked at.
    """

    name: SnapshotName
    root: str
    seal: Digested
    rows: int
    spans: tuple[Span, ...]
    parts: tuple[Part, ...]
    baseline: Digested | None
    writer: str

    @property
    def files(self) -> tuple[File, ...]:
        """All that it lists."""
        return tuple(file for part in self.parts for file in part.files)

    def compose(self) -> bytes:
        baseline = None if self.baseline is None else {"name": self.baseline.name, "sha256": self.baseline.sha256}
        return _with_digest(
            {
                "at_ms": self.name.at_ms,
                "baseline": baseline,
                "derivation": DERIVATION,
                "format": FORMAT_VERSION,
                "parts": [_part_members(part) for part in self.parts],
                "root": self.root,
                "rows": self.rows,
                "seal": {"name": self.seal.name, "sha256": self.seal.sha256},
                "spans": [_span_members(span) for span in self.spans],
                "to": self.name.end,
                "writer": self.writer,
            }
        )

    @classmethod
    def parse(cls, content: bytes) -> Self:
        members = _described(content)
        baseline = members["baseline"]
        parsed = cls(
            name=SnapshotName(_count(members["to"]), _count(members["at_ms"])),
            root=_digest(members["root"]),
            seal=Digested(_text(members["seal"]["name"]), _digest(members["seal"]["sha256"])),
            rows=_count(members["rows"]),
            spans=tuple(_span(span) for span in members["spans"]),
            parts=tuple(_part(part) for part in members["parts"]),
            baseline=None if baseline is None else Digested(_text(baseline["name"]), _digest(baseline["sha256"])),
            writer=_text(members["writer"]),
        )
        _demand(parsed.compose() == content, "it is not in canonical form")
        _check_rows(parsed.rows, parsed.parts)
        parse_seal_name(parsed.seal.name)
        if parsed.baseline is not None:
            BaselineName.parse(parsed.baseline.name)
        return parsed


def _with_digest(members: dict[str, Any]) -> bytes:
    """A description with the digest of itself: what a disk or a hand has changed in it is none."""
    return canonical({**members, "digest": sha256(canonical(members)).hexdigest()})


def _check_rows(rows: int, parts: Sequence[Part]) -> None:
    _demand(sum(part.rows for part in parts) == rows, "its parts do not add up to its rows")
    for number, part in enumerate(parts):
        check_part_name(part.file.name, number, part.file.sha256)
        _demand(0 < part.rows <= MOST_PART_ROWS, f"{part.file.name} has {part.rows} rows")
        _demand(number == 0 or parts[number - 1].keys.last <= part.keys.first, "its parts are not in order")


def _part_members(part: Part) -> dict[str, Any]:
    members = {
        **_file_members(part.file),
        "first": part.keys.first.members(),
        "items_bytes": part.items.bytes,
        "items_sha256": part.items.sha256,
        "last": part.keys.last.members(),
        "rows": part.rows,
    }
    if part.index is not None:
        members |= {"index_bytes": part.index.bytes, "index_sha256": part.index.sha256}
    return members


def _part(members: Any) -> Part:
    file = _file({name: members[name] for name in ("bytes", "name", "sha256")})
    items = File(items_name(file.name), _count(members["items_bytes"]), _digest(members["items_sha256"]))
    index = None
    if "index_sha256" in members:
        index = File(index_name(file.name), _count(members["index_bytes"]), _digest(members["index_sha256"]))
    keys = KeyRange(RowKey.of(members["first"]), RowKey.of(members["last"]))
    return Part(file, items, index, _count(members["rows"]), keys)


def _file_members(file: File) -> dict[str, Any]:
    return {"bytes": file.bytes, "name": file.name, "sha256": file.sha256}


def _file(members: Mapping[str, Any]) -> File:
    return File(_text(members["name"]), _count(members["bytes"]), _digest(members["sha256"]))


def _span_members(span: Span) -> dict[str, Any]:
    return {
        "first_ms": span.first_ms,
        "first_sequence": span.first_sequence,
        "last_ms": span.last_ms,
        "last_sequence": span.last_sequence,
        "rows": span.rows,
        "stream_label": span.stream_label,
    }


def _span(members: Any) -> Span:
    first_ms, last_ms, rows = (_count(members[name]) for name in ("first_ms", "last_ms", "rows"))
    sequences = _text(members["first_sequence"]), _text(members["last_sequence"])
    return Span(_text(members["stream_label"]), first_ms, last_ms, rows, *sequences)


def _described(content: bytes) -> dict[str, Any]:
    members = _object(orjson.loads(content))
    _demand(
        (members.get("format"), members.get("derivation")) == (FORMAT_VERSION, DERIVATION),
        f"it is not of format {FORMAT_VERSION} and derivation {DERIVATION}",
    )
    return members


def _object(value: Any) -> dict[str, Any]:
    _demand(isinstance(value, dict), f"expected an object, not {value!r}")
    return value  # type: ignore[no-any-return]


def _text(value: Any) -> str:
    _demand(isinstance(value, str), f"expected a text, not {value!r}")
    return value  # type: ignore[no-any-return]


def _count(value: Any) -> int:
    _demand(type(value) is int and value >= 0, f"expected a whole number, not {value!r}")
    return value  # type: ignore[no-any-return]


def _digest(value: Any) -> str:
    _demand(isinstance(value, str) and _DIGEST.fullmatch(value) is not None, f"{value!r} is no SHA-256 in hex")
    return value  # type: ignore[no-any-return]


def _demand(holds: bool, why: str) -> None:
    if not holds:
        raise ValueError(why)
