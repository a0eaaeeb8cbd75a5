"""The signed heads of a log: by whom they are signed, how old the newest is, whether it continues one that was kept.

Invariant: which key to trust is the reviewer's own knowledge; the archive may only hand over from a trusted key to the
next, by an entry that a trusted key signed.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from archiver.format.layout import Trail
from archiver.format.log_entry import KeyRotationEntry, entry_leaf
from archiver.format.merkle import CompactRange
from archiver.format.note import Checkpoint, SignedNote
from archiver.format.seal import Seal, origin_of
from query.errors import UsageError
from query.instant import format_ms
from query.note_check import PublicKey, check_note, fingerprint, parse_public_key
from query.seal_log import SealLog
from query.verify.problem import Problem

# Two machines that both keep their time well.
_CLOCKS_DIFFER_MS: Final = 5 * 60_000


@dataclass(frozen=True, slots=True)
class PinnedCheckpoint:
    """A head of the log that the reviewer kept: the signed note, and where it was kept (for messages)."""

    note: SignedNote
    head: Checkpoint
    file: str

    @classmethod
    def load(cls, path: Path) -> Self:
        """Raises UsageError for a file that is no signed checkpoint."""
        try:
            note = SignedNote.parse(path.read_bytes())
            return cls(note, Checkpoint.parse(note.text), str(path))
        except (OSError, ValueError) as error:
            why = error.strerror if isinstance(error, OSError) else str(error)
            raise UsageError(
                f"{path} is no checkpoint", why=why or "", hint="name a file with the text that ddbtrail seal printed"
            ) from error


def signature_problems(log: SealLog, pinned: PublicKey | None) -> Iterator[Problem]:
    """Every seal must be signed by the key in force: the pinned one, then whatever it and its successors name.

    Seals from before the pinned key was in force are covered by the heads that it signed: they need no check of their
    own, if the log says that the pinned key was handed over to.
    """
    prefix = log.trail.prefix
    if pinned is None:
        yield Problem("key-not-pinned", prefix, "no public key was given, so no signature was checked")
        return
    key: PublicKey | None = None
    first = _first_of(log.seals, fingerprint(pinned))
    if log.seals and first == len(log.seals):
        # Whoever can write seals could have written this hand-over: without a later seal nothing is signed by our key.
        yield Problem("seal-signature", prefix + log.seals[-1].name, "no seal is signed with the pinned key yet")
    for position, seal in enumerate(log.seals):
        if position >= first:
            key = key or pinned
            try:
                check_note(seal.checkpoint, origin_of(log.trail), key)
            except ValueError as error:
                yield Problem("seal-signature", prefix + seal.name, str(error))
        for text in _handed_over(seal):
            try:
                key = parse_public_key(text) if key is not None else None
            except ValueError as error:
                yield Problem("log-inconsistent", prefix + seal.name, f"it hands over to what is no key: {error}")


def keys_in_force(log: SealLog, pinned: PublicKey) -> list[PublicKey]:
    """The pinned key, and those that the log hands over to after it."""
    keys = [pinned]
    for seal in log.seals[_first_of(log.seals, fingerprint(pinned)) :]:
        for text in _handed_over(seal):
            try:
                keys.append(parse_public_key(text))
            except ValueError:
                continue  # told by `signature_problems`
    return keys


def _first_of(seals: Sequence[Seal], pinned: str) -> int:
    """The position of the first seal that the pinned key has to sign."""
    for position, seal in enumerate(seals):
        for text in _handed_over(seal):
            try:
                if fingerprint(parse_public_key(text)) == pinned:
                    return position + 1
            except ValueError:
                continue
    return 0


def _handed_over(seal: Seal) -> list[str]:
    return [entry.public_key for entry in seal.entries if isinstance(entry, KeyRotationEntry)]


def pinned_problems(log: SealLog, kept: PinnedCheckpoint, pinned: PublicKey | None) -> Iterator[Problem]:
    """Whether the log continues the head that was kept."""
    name, head = log.trail.prefix, kept.head
    if head.origin != origin_of(log.trail):
        yield Problem("checkpoint-forked", name, f"{kept.file} is a checkpoint of {head.origin}")
        return
    if pinned is not None and not _is_signed(kept.note, head.origin, keys_in_force(log, pinned)):
        yield Problem("checkpoint-signature", name, f"{kept.file} is not signed with the pinned key, or one after it")
        return
    if log.size < head.size:
        yield Problem("rolled-back", name, f"the log has {log.size} entries, {kept.file} is of {head.size}")
        return
    if not log.is_whole:
        yield Problem("not-checkable", name, f"whether the log continues {kept.file}: seals are missing or damaged")
        return
    if _root_at(log, head.size) != head.root:
        yield Problem("checkpoint-forked", name, f"the log had another root at {head.size} entries than {kept.file}")


def _is_signed(note: SignedNote, origin: str, keys: Sequence[PublicKey]) -> bool:
    for key in keys:
        try:
            check_note(note, origin, key)
        except ValueError:
            continue
        return True
    return False


def _root_at(log: SealLog, size: int) -> bytes | None:
    """The root of the first so many entries."""
    before = CompactRange()
    for seal in log.seals:
        if seal.after.size >= size:
            for entry in seal.entries[: size - before.size]:
                before = before.append(entry_leaf(entry))
            return before.root
        before = seal.after
    return None


def time_problems(
    log: SealLog, trail: Trail, *, now_ms: int, max_age_ms: int | None, until_ms: int | None
) -> Iterator[Problem]:
    """Whether the newest seal is fresh, or the asked-for period is sealed to its end (epoch ms)."""
    for seal in log.seals:
        if seal.interval.sealed_at_ms > now_ms + _CLOCKS_DIFFER_MS:
            when = format_ms(seal.interval.sealed_at_ms)
            yield Problem("seal-in-future", trail.prefix + seal.name, f"it says that it was made at {when}")
    if not log.seals:
        yield Problem("no-seals", trail.prefix, "nothing is sealed, so nothing can be proved")
        return
    last = log.seals[-1].interval
    age_ms = now_ms - last.sealed_at_ms
    if max_age_ms is not None and age_ms > max_age_ms:
        when = format_ms(last.sealed_at_ms)
        yield Problem("stale", trail.prefix, f"the newest seal was made at {when}, {age_ms // 1000} s ago")
    if until_ms is not None and last.to_ms < min(until_ms, now_ms):
        yield Problem("period-not-sealed", trail.prefix, f"the log reaches to {format_ms(last.to_ms)}")
