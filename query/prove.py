"""Proofs of single changes: made from a sealed archive, and checked against a key that the reviewer has pinned.

Invariants: a segment is compared with the digest in its seal before a row of it is read; whatever cannot be proved is
an error that says why. A check needs the proof, the key and nothing of the archive; what a proof is,
`archiver.format.proof` says.
"""

# ruff: noqa: N818  the names are answers, as in `query.errors`

from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from archiver.format.layout import SegmentName, hour_of
from archiver.format.log_entry import SegmentEntry, entry_leaf
from archiver.format.note import Checkpoint, SignedNote
from archiver.format.proof import Proof, prove_row
from archiver.format.record import leaf_of_row
from archiver.format.seal import Seal, origin_of
from query.answer import Change
from query.errors import OutsideCoverage, QueryError, UnreadableArchive, UsageError
from query.instant import format_ms
from query.note_check import PublicKey, check_note
from query.seal_log import SealLog, SealMismatch, read_log
from query.source import Source, StoredObject

_LEAF_COLUMNS = ("item_key", "old_image", "new_image", "user_identity", "event")


class NotSealed(OutsideCoverage):
    """No seal names the change yet, or none before the checkpoint that was asked for."""

    code = "not-sealed"


class NotProved(QueryError):
    """A proof does not hold, or not for what the reviewer has pinned."""

    exit_code = 1
    code = "not-proved"


class UnreadableProof(QueryError):
    """The file of a proof could not be read; nothing is said about what it proves."""

    code = "unreadable-proof"


@dataclass(frozen=True, slots=True)
class Chosen:
    """Which head of the log a proof leads to: the newest; the newest that a key has signed; or the pinned one."""

    key: PublicKey | None = None
    pinned: Checkpoint | None = None


def prove_change(source: Source, change: Change, chosen: Chosen, *, digests_only: bool) -> tuple[Proof, Seal]:
    """The proof of a change, and the seal whose head it leads to. Reads every seal, and one segment.

    Raises NotSealed, SealMismatch for a log that does not hold together or a file that is not what was sealed, and
    UnreadableArchive.
    """
    log = read_log(source, change.trail)
    return Prover(source, log, chosen).prove(change, digests_only=digests_only)


class Prover:
    """Makes proofs of the changes of one trail, all against one head of its log."""

    def __init__(self, source: Source, log: SealLog, chosen: Chosen) -> None:
        self.seal = _head(log, chosen)
        self._source = source
        entries = [entry for _, entry in log.entries()]
        self._leaves = [entry_leaf(entry) for entry in entries]
        self._segments = [(index, one) for index, one in enumerate(entries) if isinstance(one, SegmentEntry)]

    def prove(self, change: Change, *, digests_only: bool) -> tuple[Proof, Seal]:
        """The proof of a change, as `prove_change`."""
        seal = self.seal
        for index, entry in self._segments:
            if not _may_hold(entry, change):
                continue
            if index >= seal.after.size:
                raise _not_sealed(change, seal, "its segment was sealed after that")
            rows = _rows(self._source, change, entry)
            found = [place for place, row in enumerate(rows) if row.is_of(change)]
            if found:
                proof = prove_row(
                    rows[found[0]],
                    shows=not digests_only,
                    rows=[leaf_of_row(row) for row in rows],
                    row_index=found[0],
                    segment=entry,
                    entries=self._leaves[: seal.after.size],
                    entry_index=index,
                    checkpoint=seal.checkpoint,
                )
                return proof, seal
        raise _not_sealed(change, seal, "no seal names its segment")


def check_proof(content: bytes, key: PublicKey, pinned: Checkpoint | None = None) -> Proof:
    """The proof in a file, if it holds: everything in it leads to a head that the key has signed, the pinned one if one
    was pinned. Raises NotProved.
    """
    try:
        proof = Proof.parse(content)
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise NotProved(
            "the proof does not hold",
            why=str(error),
            hint="ask for another copy of the file; if that fails too, what it says is not to be believed",
        ) from error
    try:
        check_note(proof.checkpoint, proof.head.origin, key)
    except ValueError as error:
        raise NotProved(
            "the proof is not signed with the pinned key",
            why=str(error),
            hint="if the log has a new key, pin that one, or ask for a proof made with --checkpoint-of KEY.pub",
        ) from error
    if pinned is not None and pinned != proof.head:
        head = proof.head
        is_fork = (pinned.origin, pinned.size) == (head.origin, head.size)
        raise NotProved(
            "the proof leads to another head of a log than the pinned one",
            why="two heads of one size: the log was forked, and both are signed"
            if is_fork
            else f"it is of {head.origin} with {head.size} entries, pinned is {pinned.origin} with {pinned.size}",
            hint="keep both files, and ask whoever holds the key"
            if is_fork
            else "ask for one with ddbtrail prove TABLE KEY @ID --pinned-checkpoint FILE",
        )
    return proof


@dataclass(frozen=True, slots=True)
class _Row:
    """The columns of a row that say which change it is, and those that its leaf is made from."""

    change_id: str
    op: str
    sequence_number: str
    stream_label: str
    item_key: bytes
    old_image: bytes | None
    new_image: bytes | None
    user_identity: bytes | None
    event: bytes

    def is_of(self, change: Change) -> bool:
        asked = (change.change_id, change.sequence_number, change.stream_label, change.item_key.encode())
        return (self.change_id, self.sequence_number, self.stream_label, self.item_key) == asked


def _head(log: SealLog, chosen: Chosen) -> Seal:
    """The seal to whose head the proof leads."""
    origin = origin_of(log.trail)
    if not log.seals:
        raise NotSealed(
            f"{origin} has no seal yet",
            why="what nobody has signed proves nothing",
            hint="ddbtrail seal TABLE makes one",
        )
    if chosen.pinned is not None:
        return _pinned(log.seals, chosen.pinned, origin)
    for seal in reversed(log.seals):
        if chosen.key is None or _is_signed(seal.checkpoint, origin, chosen.key):
            return seal
    raise NotSealed(
        f"no seal of {origin} is signed with that key",
        why=f"its {len(log.seals)} seals are signed with others",
        hint="name the public key that signed the log, or leave --checkpoint-of out",
    )


def _pinned(seals: Sequence[Seal], pinned: Checkpoint, origin: str) -> Seal:
    if pinned.origin != origin:
        raise UsageError(
            f"the pinned checkpoint is of the log {pinned.origin}",
            why=f"the table's log is {origin}",
            hint="name the checkpoint of that table",
        )
    found = next((seal for seal in seals if seal.after.size == pinned.size), None)
    if found is None or found.head != pinned:
        raise SealMismatch(
            f"the log {origin} never had the pinned head of {pinned.size} entries",
            why="no seal ends there" if found is None else "the seal that ends there has another root",
            hint="ddbtrail verify with the same --pinned-checkpoint says what is wrong",
        )
    return found


def _is_signed(note: SignedNote, origin: str, key: PublicKey) -> bool:
    try:
        check_note(note, origin, key)
    except ValueError:
        return False
    return True


def _may_hold(entry: SegmentEntry, change: Change) -> bool:
    is_hour = SegmentName.parse(entry.path).hour_ms == hour_of(change.changed_at_ms)
    is_between = entry.first_sequence <= change.sequence_number <= entry.last_sequence
    return is_hour and is_between and entry.stream_label == change.stream_label


def _rows(source: Source, change: Change, entry: SegmentEntry) -> list[_Row]:
    """The rows of a sealed segment, its bytes compared with the seal first."""
    stored = StoredObject(change.trail.prefix + entry.path, entry.bytes)
    try:
        content = source.fetch([stored])[0].read_bytes()
    except FileNotFoundError as error:
        raise UnreadableArchive(
            f"{stored.name} is gone",
            why="a seal names it",
            hint="restore the object from the bucket's versions; ddbtrail verify says what else is missing",
        ) from error
    found = sha256(content).hexdigest()
    if found != entry.file_sha256:
        raise SealMismatch(
            f"{stored.name} is not the file that was sealed",
            why=f"it has digest {found}, its seal says {entry.file_sha256}",
            hint="the object changed after it was sealed; compare its versions in the bucket",
        )
    try:
        table = pq.read_table(pa.BufferReader(content), page_checksum_verification=True)
        return [_row(row) for row in table.select([*_Row.__slots__]).to_pylist()]
    except (pa.ArrowException, OSError, KeyError) as error:
        raise UnreadableArchive(
            f"{stored.name} cannot be read as evidence", why=str(error), hint="ddbtrail verify says more about it"
        ) from error


def _row(columns: dict[str, Any]) -> _Row:
    texts = {name: None if columns[name] is None else columns[name].encode() for name in _LEAF_COLUMNS}
    return _Row(**(columns | texts))


def _not_sealed(change: Change, seal: Seal, why: str) -> NotSealed:
    interval = seal.interval
    return NotSealed(
        f"@{change.change_id} of {format_ms(change.changed_at_ms)} is not in the log of {seal.after.size} entries",
        why=f"it reaches until {format_ms(interval.to_ms)}, sealed at {format_ms(interval.sealed_at_ms)}; {why}",
        hint="ask again after the next seal; ddbtrail seal TABLE makes one now",
    )
