"""The end of a trail's log, as far as a sealer must know it: the last seal, the recent ones, and every notice.

Invariants: nothing is built on a seal that does not parse, is not signed with the sealer's own key (or is the one by
which a former key, which is not known here, hands over to it), or does not follow from the one before it; what was read
once is not read again, since seals never change.
"""

from collections.abc import Collection
from dataclasses import dataclass, field
from typing import Final

from archiver.errors import ArchiverError
from archiver.format.layout import Trail
from archiver.format.log_entry import NOTICES, KeyRotationEntry, LogEntry, SegmentEntry
from archiver.format.merkle import CompactRange
from archiver.format.seal import Seal, origin_of, parse_seal_name, seal_digest, seal_name
from archiver.signer import PublicKey, check_signature, public_key_text
from archiver.store import ObjectStore

# A seal that could not be read to its end would be a hole in the log; this many are ten years of one every minute.
_MOST_SEALS: Final = 6_000_000


class SealRefused(ArchiverError):  # noqa: N818
    """The log cannot be continued: its end does not verify, or somebody's clock is wrong. Nothing was written."""


@dataclass(frozen=True, slots=True)
class StoredSeal:
    """A seal, and the digest of its bytes as they are stored (hex)."""

    seal: Seal
    sha256: str


@dataclass
class SealedLog:
    """The log of one trail in one store, for a sealer that signs with `public_key`."""

    store: ObjectStore
    trail: Trail
    public_key: PublicKey
    foreign: dict[str, str] = field(default_factory=dict)  # full names among the seals that are none, and why
    _seals: dict[int, StoredSeal] = field(default_factory=dict)
    _sizes: list[int] = field(default_factory=list)
    _followed: set[int] = field(default_factory=set)

    def refresh(self) -> StoredSeal | None:
        """Looks for seals after those known; the last one, None for a log without any. Raises SealRefused."""
        folder = f"{self.trail.prefix}seals/"
        after = self.trail.prefix + seal_name(self._sizes[-1]) if self._sizes else ""
        for name, _ in self.store.list(folder, start_after=after):
            try:
                self._sizes.append(parse_seal_name(name.removeprefix(self.trail.prefix)))
            except ValueError as error:
                # No seal has this name, so the log does not lead through it; and nothing that others put there, perhaps
                # for good, may stop the sealing.
                self.foreign[name] = str(error)
                continue
            if len(self._sizes) > _MOST_SEALS:
                raise SealRefused(f"{folder} has over {_MOST_SEALS} objects", hint="these are no seals")
        last = self._read(self._sizes[-1]) if self._sizes else None
        if last is not None:
            self._check_end(last.seal)
        return last

    def extended(self, seal: Seal, content: bytes) -> StoredSeal:
        """Takes note of a seal that was written just now, after the last one known."""
        assert not self._sizes or seal.size_before > self._sizes[-1]
        self._sizes.append(seal.size_before)
        self._seals[seal.size_before] = StoredSeal(seal, seal_digest(content))
        return self._seals[seal.size_before]

    def unnamed(self, paths: Collection[str], since_ms: int | None) -> set[str]:
        """Of these segments, those that no seal names that was made since an instant (epoch ms; None: no seal at all).

        Reads from the newest seal back, and no further than to the last segment that it looks for: where nothing
        arrived, nothing is read. Each seal is checked to follow from the one before it. Raises SealRefused.
        """
        left = set(paths)
        for position in reversed(range(len(self._sizes))):
            if not left:
                break
            stored = self._read(self._sizes[position])
            self._check_follows(stored.seal, self._read(self._sizes[position - 1]) if position else None)
            left -= {entry.path for entry in stored.seal.entries if isinstance(entry, SegmentEntry)}
            if since_ms is not None and stored.seal.interval.sealed_at_ms < since_ms:
                break
        return left

    def notices(self) -> list[LogEntry]:
        """Every entry of the whole log that is neither a segment nor an interval, the oldest first."""
        found: list[LogEntry] = []
        size = self._sizes[-1] if self._sizes else None
        while size is not None:
            seal = self._read(size).seal
            found[:0] = [entry for entry in seal.entries if isinstance(entry, NOTICES)]
            size = seal.interval.previous_notice
        return found

    def newest_notice(self) -> int | None:
        """The size that the newest seal with a notice extends: what the next interval leads back to."""
        if not self._sizes:
            return None
        seal = self._read(self._sizes[-1]).seal
        has_notice = any(isinstance(entry, NOTICES) for entry in seal.entries)
        return seal.size_before if has_notice else seal.interval.previous_notice

    def _read(self, size: int) -> StoredSeal:
        if size not in self._seals:
            name = self.trail.prefix + seal_name(size)
            try:
                content = self.store.get(name)
                seal = Seal.parse(content)
                if seal.size_before != size or seal.head.origin != origin_of(self.trail):
                    raise ValueError("it is the seal of another size, or of another trail")  # noqa: TRY301
            except (ValueError, FileNotFoundError) as error:
                raise _broken(name, error) from error
            self._seals[size] = StoredSeal(seal, seal_digest(content))
        return self._seals[size]

    def _check_end(self, last: Seal) -> None:
        """The end must be ours: signed with our key, or the seal that hands over to it."""
        before = self._read(self._sizes[-2]) if len(self._sizes) > 1 else None
        self._check_follows(last, before)
        next_key = _handed_over(last)
        if next_key is not None and next_key != public_key_text(self.public_key):
            raise SealRefused(
                f"the log of {origin_of(self.trail)} was handed over to another key", hint="seal with that key"
            )
        try:
            check_signature(last.checkpoint, origin_of(self.trail), self.public_key)
        except ValueError as error:
            if next_key is not None and not self._is_held_by_us(before):
                return  # signed with the key before ours, which is not known here: whoever verifies knows it
            raise SealRefused(
                f"{self.trail.prefix}{last.name} is not signed with this key: {error}",
                hint="seal with the key that signed it; to change keys, seal with the old one and --next-key NEW.pub",
            ) from error

    def _is_held_by_us(self, stored: StoredSeal | None) -> bool:
        """Whether nobody but this key can have signed the seal that comes next."""
        if stored is None or _handed_over(stored.seal) is not None:
            return False
        try:
            check_signature(stored.seal.checkpoint, origin_of(self.trail), self.public_key)
        except ValueError:
            return False
        return True

    def _check_follows(self, seal: Seal, before: StoredSeal | None) -> None:
        if seal.size_before in self._followed:
            return
        try:
            seal.check_extends(before.seal.after if before else CompactRange())
            if before is not None and seal.previous_sha256 != before.sha256:
                raise ValueError("the seal before it is not the one that it names")  # noqa: TRY301
        except ValueError as error:
            raise _broken(self.trail.prefix + seal.name, error) from error
        self._followed.add(seal.size_before)


def _handed_over(seal: Seal) -> str | None:
    """The key that signs after a seal, as its entry names it; None if the one that signed it goes on."""
    return next((entry.public_key for entry in reversed(seal.entries) if isinstance(entry, KeyRotationEntry)), None)


def _broken(name: str, error: Exception) -> SealRefused:
    why = "it is gone" if isinstance(error, FileNotFoundError) else str(error)
    return SealRefused(f"{name} does not continue the log: {why}", hint="ddbtrail verify says what is wrong with it")
