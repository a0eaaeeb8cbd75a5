"""What a run and a snapshot say of themselves: `run.json` and `snapshot.json`, each written after all it lists.

Laws: `parse(compose(x)) == x`; a parser accepts only what its composer makes, byte for byte, and refuses (ValueError)
everything else, also what has another digest than it states. Pure: whether it is true is for whoever compares it with
the evidence.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Self

import orjson

from archiver.format import FORMAT_VERSION
from archiver.format.canonical import canonical
from archiver.format.layout import BaselineName, label_time_ms
from archiver.format.seal import parse_seal_name
from query.derived.members import Digested, File, Part, Span, count, demand, digest, text
from query.derived.names import (
    DERIVATION,
    RunName,
    SnapshotName,
    check_part_name,
    check_segments_name,
)

MOST_PART_ROWS: Final = 1 << 20  # what a place in a part is counted with (`query/sql/macros.sql`)


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
                "descriptions": [one.members() for one in self.descriptions],
                "format": FORMAT_VERSION,
                "from": self.name.start,
                "handovers": list(self.handovers),
                "imageless": self.imageless,
                "parts": [part.members() for part in self.parts],
                "root": self.root,
                "previous_sha256": self.previous_sha256,
                "repeats": self.repeats,
                "rows": self.rows,
                "seal": self.seal.members(),
                "sealed_to_ms": self.sealed_to_ms,
                "segments": {**self.segments.members(), "count": self.segment_count},
                "spans": [span.members() for span in self.spans],
                "to": self.name.end,
                "until_ms": self.until_ms,
                "writer": self.writer,
            }
        )

    @classmethod
    def parse(cls, content: bytes) -> Self:
        members = _described(content)
        segments = _object(members["segments"])
        segment_count = count(segments.pop("count"))
        parsed = cls(
            name=RunName(count(members["from"]), count(members["to"])),
            root=digest(members["root"]),
            seal=Digested.of(members["seal"]),
            previous_sha256=None if members["previous_sha256"] is None else digest(members["previous_sha256"]),
            rows=count(members["rows"]),
            repeats=count(members["repeats"]),
            contradictions=count(members["contradictions"]),
            imageless=count(members["imageless"]),
            spans=tuple(map(Span.of, members["spans"])),
            parts=tuple(map(Part.of, members["parts"])),
            segments=File.of(segments),
            segment_count=segment_count,
            sealed_to_ms=count(members["sealed_to_ms"]),
            until_ms=count(members["until_ms"]),
            descriptions=tuple(map(Digested.of, members["descriptions"])),
            handovers=tuple(text(name) for name in members["handovers"]),
            writer=text(members["writer"]),
        )
        demand(parsed.compose() == content, "it is not in canonical form")
        _check_rows(parsed.rows, parsed.parts)
        check_segments_name(parsed.segments.name, parsed.segments.sha256)
        demand(parsed.name.start <= parse_seal_name(parsed.seal.name) < parsed.name.end, "its seal is of another range")
        demand(sum(span.rows for span in parsed.spans) == parsed.rows, "its spans do not add up to its rows")
        demand((parsed.previous_sha256 is None) == (parsed.name.start == 0), "only the first run has none before it")
        for name in parsed.handovers:
            parse_seal_name(name)
        for span in parsed.spans:
            label_time_ms(span.stream_label)
            demand(span.first_ms <= span.last_ms, "a span ends before it begins")
        demand(all(part.index is not None for part in parsed.parts), "a part has no index")
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
        baseline = None if self.baseline is None else self.baseline.members()
        return _with_digest(
            {
                "at_ms": self.name.at_ms,
                "baseline": baseline,
                "derivation": DERIVATION,
                "format": FORMAT_VERSION,
                "parts": [part.members() for part in self.parts],
                "root": self.root,
                "rows": self.rows,
                "seal": self.seal.members(),
                "spans": [span.members() for span in self.spans],
                "to": self.name.end,
                "writer": self.writer,
            }
        )

    @classmethod
    def parse(cls, content: bytes) -> Self:
        members = _described(content)
        baseline = members["baseline"]
        parsed = cls(
            name=SnapshotName(count(members["to"]), count(members["at_ms"])),
            root=digest(members["root"]),
            seal=Digested.of(members["seal"]),
            rows=count(members["rows"]),
            spans=tuple(map(Span.of, members["spans"])),
            parts=tuple(map(Part.of, members["parts"])),
            baseline=None if baseline is None else Digested.of(baseline),
            writer=text(members["writer"]),
        )
        demand(parsed.compose() == content, "it is not in canonical form")
        _check_rows(parsed.rows, parsed.parts)
        parse_seal_name(parsed.seal.name)
        if parsed.baseline is not None:
            BaselineName.parse(parsed.baseline.name)
        return parsed


def _with_digest(members: dict[str, Any]) -> bytes:
    """A description with the digest of itself: what a disk or a hand has changed in it is none."""
    return canonical({**members, "digest": sha256(canonical(members)).hexdigest()})


def _check_rows(rows: int, parts: Sequence[Part]) -> None:
    demand(sum(part.rows for part in parts) == rows, "its parts do not add up to its rows")
    for number, part in enumerate(parts):
        check_part_name(part.file.name, number, part.file.sha256)
        demand(0 < part.rows <= MOST_PART_ROWS, f"{part.file.name} has {part.rows} rows")
        demand(number == 0 or parts[number - 1].keys.last <= part.keys.first, "its parts are not in order")


def _described(content: bytes) -> dict[str, Any]:
    members = _object(orjson.loads(content))
    demand(
        (members.get("format"), members.get("derivation")) == (FORMAT_VERSION, DERIVATION),
        f"it is not of format {FORMAT_VERSION} and derivation {DERIVATION}",
    )
    return members


def _object(value: Any) -> dict[str, Any]:
    demand(isinstance(value, dict), f"expected an object, not {value!r}")
    return value  # type: ignore[no-any-return]
