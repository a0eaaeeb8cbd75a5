"""The signed heads of a log: by whom they are signed, how old the newest is, whether it continues one that was kept.

Invariant: which key to trust is the reviewer's own knowledge; the archive may only hand over from a trusted key to the
next, by an entry that a trusted key signed.
"""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final, Self

from archiver.format.layout import Trail
from archiver.format.log_entry import KeyRotationEntry, entry_leaf
from archiver.format.merkle import CompactRange
from archiver.format.note import Checkpoint, SignedNote
from archiver.format.seal import Seal, origin_of
from query.errors import UsageError
from query.instant import format_ms
from query.note_check import PublicKey, SignedByOthers, check_note, fingerprint, parse_public_key
from query.seal_log import SealLog
from query.verify.problem import Problem, Verdict

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


@dataclass(frozen=True, slots=True)
class Signed:
    """What the signatures of a log come to: findings, and the keys that may have signed a head since the pinned one."""

    problems: tuple[Problem, ...]
    keys: tuple[PublicKey, ...] = ()


def check_signatures(log: SealLog, pinned: PublicKey | None) -> Signed:
    """Every seal must be signed by the key in force: the pinned one, then whatever it and its successors name.

    Seals from before the pinned key was in force are covered by the heads that it signed: they need no check of their
    own, if the log says that the pinned key was handed over to, or the seal that would say so is missing. As a log may
    hand over to one key twice, the earliest beginning from which on everything is as it should be is the right one.
    """
    prefix, seals = log.trail.prefix, log.seals
    if pinned is None:
        return Signed((Problem("key-not-pinned", prefix, "no public key was given, so no signature was checked"),))
    from_the_first = signed = _signed_from(log.trail, seals, 0, pinned)
    for start in _starts(seals, fingerprint(pinned)):
        if not _is_tampered(signed):
            break
        signed = _signed_from(log.trail, seals, start, pinned)
    if _is_tampered(signed):
        return from_the_first
    return signed


def _is_tampered(signed: Signed) -> bool:
    return any(problem.verdict is Verdict.TAMPERED for problem in signed.problems)


def _starts(seals: Sequence[Seal], pinned: str) -> Iterator[int]:
    """Where the pinned key may have come into force: after a seal that names it, or one that is missing.

    Not after the last one: whoever can write seals could have written that hand-over, and nothing is signed by our key.
    """
    for position, (before, seal) in enumerate(pairwise(seals), start=1):
        if pinned in map(fingerprint, _next_keys(before)) or seal.size_before > before.after.size:
            yield position


def _signed_from(trail: Trail, seals: Sequence[Seal], first: int, pinned: PublicKey) -> Signed:
    """What comes of the signatures if the pinned key is in force from the seal at position `first` on."""
    prefix = trail.prefix
    problems, keys = [], [pinned]
    size, is_after_hole = (0 if first == 0 else seals[first].size_before), False
    for seal in seals[first:]:
        is_after_hole |= seal.size_before > size
        size = seal.after.size
        why = _why_not_signed(seal.checkpoint, keys[-1], origin_of(trail))
        if isinstance(why, SignedByOthers) and is_after_hole:
            told = f"{why}: the seal that hands over may be one that is missing"
            problems.append(Problem("not-checkable", prefix + seal.name, told))
        elif why is not None:
            problems.append(Problem("seal-signature", prefix + seal.name, str(why)))
        else:
            is_after_hole = False
        keys += _next_keys(seal)
    return Signed(tuple(problems), tuple(keys))


def _why_not_signed(note: SignedNote, key: PublicKey, origin: str) -> ValueError | None:
    try:
        check_note(note, origin, key)
    except ValueError as error:
        return error
    return None


def _next_keys(seal: Seal) -> list[PublicKey]:
    """The keys that a seal hands over to; what is no key is told by `hand_over_problems`."""
    keys = []
    for entry in seal.entries:
        if isinstance(entry, KeyRotationEntry):
            with suppress(ValueError):
                keys.append(parse_public_key(entry.public_key))
    return keys


def hand_over_problems(log: SealLog) -> Iterator[Problem]:
    """Hand-overs to what is no key."""
    for seal in log.seals:
        for entry in seal.entries:
            if isinstance(entry, KeyRotationEntry):
                try:
                    parse_public_key(entry.public_key)
                except ValueError as error:
                    told = f"it hands over to what is no key: {error}"
                    yield Problem("log-inconsistent", log.trail.prefix + seal.name, told)


def pinned_problems(log: SealLog, kept: PinnedCheckpoint, keys: Sequence[PublicKey]) -> Iterator[Problem]:
    """Whether the log continues the head that was kept, which one of these keys must have signed (none: no matter)."""
    name, head = log.trail.prefix, kept.head
    if head.origin != origin_of(log.trail):
        yield Problem("checkpoint-forked", name, f"{kept.file} is a checkpoint of {head.origin}")
        return
    if log.size < head.size:
        yield Problem("rolled-back", name, f"the log has {log.size} entries, {kept.file} is of {head.size}")
        return
    if not log.is_whole:
        yield Problem("not-checkable", name, f"whether the log continues {kept.file}: seals are missing or damaged")
        return
    if keys and all(_why_not_signed(kept.note, key, head.origin) is not None for key in keys):
        yield Problem("checkpoint-signature", name, f"{kept.file} is not signed with the pinned key, or one after it")
        return
    if _root_at(log, head.size) != head.root:
        yield Problem("checkpoint-forked", name, f"the log had another root at {head.size} entries than {kept.file}")


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
