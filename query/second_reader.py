"""The independent second reader: what somebody else read from a stream, beside what evidence holds of it.

It sees what no look at the archive can: a life from insert to remove that was never archived, and changes that were
invented. Invariants: nothing is written; of a record only its identity and the digest of its leaf are kept, by the
engine, which spills them; the leaf of every row of evidence is re-derived; what is young is on its way, and what the
stream may have forgotten is not called invented.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final, NamedTuple, Self

import pyarrow as pa

from archiver.format.layout import HOUR_MS, ROOT, Trail
from archiver.format.record import leaf_of_row
from query.catalog import SegmentFile, segments_between
from query.engine import Engine, Question
from query.rows import Reader
from query.selection import Selection
from query.source import Source

CANNOT_SEE: Final = (
    "what the stream had forgotten, changes younger than the grace, and a mistake that both readers make: "
    "they understand records by the same code"
)
# "All data in DynamoDB Streams is subject to a 24-hour lifetime" (*Change data capture for DynamoDB Streams*), less an
# hour for clocks that disagree.
_SURELY_KEPT_MS: Final = 23 * HOUR_MS
MOST_DISAGREEMENTS: Final = 100_000  # that a list in memory holds

# So much compressed evidence, and so many files, are read at a time: their rows pass through Python.
_BYTES_AT_ONCE: Final = 8_000_000
_FILES_AT_ONCE: Final = 500
_NO_LEAF: Final = b""  # of a row that no record can be rebuilt from


class Kind(StrEnum):
    """On what stream and evidence disagree."""

    MISSING = "missing"  # the stream holds it, evidence does not
    DIFFERENT = "different"  # evidence says something else of it
    INVENTED = "invented"  # the stream does not hold it, and would


class Read(NamedTuple):
    """A record as the second reader saw it: identity, and the digest (32 bytes) of its leaf.

    The sequence number is padded as in evidence, `changed_at_ms` is epoch ms.
    """

    item_key: str
    sequence_number: str
    change_id: str
    op: str
    changed_at_ms: int
    leaf: bytes


@dataclass(frozen=True, slots=True)
class Disagreement:
    """One change on which stream and evidence disagree; `segment` is the object that tells of it, None if none does."""

    kind: Kind
    item_key: str
    sequence_number: str
    change_id: str
    op: str
    changed_at_ms: int
    segment: str | None


@dataclass(frozen=True, slots=True)
class Comparison:
    """What a stream held, compared with evidence. Times in epoch ms.

    Of `read` records `agreed` stand in evidence with the same leaf and `in_flight` are younger than the grace.
    `disagreements` are at most `MOST_DISAGREEMENTS` of `missing`, `different` and `invented`. `set_aside` names the
    quarantined records that evidence should hold and does not. `judged` is the closed stretch in which what the stream
    does not hold is invented, None where nothing can be said. `losses` name what could not be read.
    """

    stream_label: str
    read: int
    archived: int
    agreed: int
    in_flight: int
    missing: int
    different: int
    invented: int
    disagreements: tuple[Disagreement, ...]
    set_aside: tuple[str, ...] = ()
    judged: tuple[int, int] | None = None
    losses: tuple[str, ...] = ()

    @property
    def exit_code(self) -> int:
        """1 for what is different or invented, else 3 for what is missing, else 4 if not all was read."""
        if self.different or self.invented:
            return 1
        if self.missing or self.set_aside:
            return 3
        return 4 if self.losses else 0


class SecondReader:
    """Takes what was read from one stream, and compares it once. Close it."""

    def __init__(self, engine: Engine, trail: Trail, stream_label: str) -> None:
        self._trail = trail
        self._label = stream_label
        self._question = engine.ask()
        self._set_aside: set[str] = set()
        self._question.run("second_reader_tables")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._question.close()

    def take(self, records: Sequence[Read], set_aside: Iterable[str] = ()) -> None:
        """Records that the stream held, and the names under which those that are not understood are quarantined."""
        _insert(self._question, "streamed", records, Read._fields)
        self._set_aside |= set(set_aside)

    def compare(
        self, source: Source, *, began_ms: int, ended_ms: int, grace_ms: int, losses: Sequence[str] = ()
    ) -> Comparison:
        """Compares with the evidence as it stands now. The stream was read from `began_ms` until `ended_ms` (epoch ms).

        Raises UnreadableArchive.
        """
        read, first_ms, last_ms = self._question.rows("second_reader_span")[0]
        judged = None
        if read and not losses:
            # Beyond the first and last record that was read nothing is said: clocks may disagree, and what came later
            # may have been archived after its shard was read.
            judged = (max(first_ms, ended_ms - _SURELY_KEPT_MS), min(last_ms, began_ms - grace_ms))
            judged = judged if judged[0] <= judged[1] else None
        archived = 0
        if read:
            for portion in _portions(segments_between(source, self._trail, first_ms, last_ms + 1)):
                archived += self._read(source, portion)
        since_ms, until_ms = judged or (0, -1)
        values = {"young_ms": ended_ms - grace_ms, "since_ms": since_ms, "until_ms": until_ms}
        self._question.run("second_reader", values)
        counts = dict(self._question.rows("second_reader_counts"))
        told = self._question.rows("second_reader_told", {"most": MOST_DISAGREEMENTS})
        return Comparison(
            stream_label=self._label,
            read=read,
            archived=archived,
            agreed=self._question.rows("second_reader_agreed")[0][0],
            in_flight=counts.get("in-flight", 0),
            missing=counts.get(Kind.MISSING, 0),
            different=counts.get(Kind.DIFFERENT, 0),
            invented=counts.get(Kind.INVENTED, 0),
            disagreements=tuple(_disagreement(*row) for row in told),
            set_aside=tuple(sorted(self._set_aside - self._quarantined(source))),
            judged=judged,
            losses=tuple(losses),
        )

    def _read(self, source: Source, segments: Sequence[SegmentFile]) -> int:
        """Re-derives the leaves of some segments; how many rows are of the stream."""
        rows = 0
        with self._question.beside() as beside:
            Reader(source, self._trail, Selection(())).read_segments(beside, segments)
            for batch in beside.batches("second_reader_rows", {"label": self._label}):
                found = [_archived(row, segments) for row in batch.to_pylist()]
                _insert(self._question, "archived", found, (*Read._fields, "segment"))
                rows += len(found)
        return rows

    def _quarantined(self, source: Source) -> set[str]:
        if not self._set_aside:
            return set()
        folders = (self._trail.prefix, f"{ROOT}/")
        return {stored.name for folder in folders for stored in source.objects(f"{folder}quarantine/")}


class _Row(NamedTuple):
    """What a leaf is made from."""

    change_id: str
    op: str
    item_key: bytes
    old_image: bytes | None
    new_image: bytes | None
    user_identity: bytes | None
    event: bytes


def _archived(row: dict[str, Any], segments: Sequence[SegmentFile]) -> tuple[Any, ...]:
    encoded: dict[str, Any] = {
        name: None if row[name] is None else row[name].encode()
        for name in ("item_key", "old_image", "new_image", "user_identity", "event")
    }
    try:
        leaf = leaf_of_row(_Row(row["change_id"], row["op"], **encoded))
    except (ValueError, KeyError, TypeError, AttributeError):
        leaf = _NO_LEAF
    name = segments[row["told_by"]].stored.name
    return *(row[column] for column in Read._fields[:-1]), leaf, name


def _portions(segments: Iterable[SegmentFile]) -> Iterator[list[SegmentFile]]:
    portion: list[SegmentFile] = []
    size_bytes = 0
    for segment in segments:
        portion.append(segment)
        size_bytes += segment.stored.size_bytes
        if size_bytes >= _BYTES_AT_ONCE or len(portion) >= _FILES_AT_ONCE:
            yield portion
            portion, size_bytes = [], 0
    if portion:
        yield portion


def _insert(question: Question, relation: str, rows: Sequence[Sequence[Any]], columns: Sequence[str]) -> None:
    if not rows:
        return
    kinds = {"changed_at_ms": pa.int64(), "leaf": pa.binary()}
    values = zip(*rows, strict=True)
    arrays = {
        name: pa.array(column, kinds.get(name, pa.string())) for name, column in zip(columns, values, strict=True)
    }
    question.register(f"{relation}_batch", pa.table(arrays))
    question.run(f"second_reader_add_{relation}")


def _disagreement(kind: str, *members: Any) -> Disagreement:
    item_key, sequence_number, change_id, op, changed_at_ms, segment = members
    return Disagreement(Kind(kind), item_key, sequence_number, change_id, op, changed_at_ms, segment)
