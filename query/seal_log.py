"""The log of a trail as its seals tell it: read in order, and checked to be one append-only log.

Nothing of the evidence is opened and no key is needed here: that the heads are signed is for `verify`. Invariant: every
seal of the listing is read, and each either follows from the one before it or is a fault; without somebody to take
faults, the first one is an error.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Final, NoReturn

from archiver.format.layout import Trail
from archiver.format.log_entry import NOTICES, LogEntry, SegmentEntry
from archiver.format.merkle import CompactRange
from archiver.format.seal import Seal, origin_of, parse_seal_name
from query.errors import UnreadableArchive
from query.source import Source, StoredObject

_SEALS_AT_ONCE: Final = 256

FOREIGN: Final = "foreign-object"
MALFORMED: Final = "seal-malformed"
SWAPPED: Final = "seal-of-another-trail"
MISSING: Final = "seal-missing"
FORKED: Final = "log-forked"
INCONSISTENT: Final = "log-inconsistent"
UNREADABLE: Final = "unreadable"

# As for the times of change records (docs/format.md, §6): no seal is from another age, whatever its clock said.
_LATEST_MS: Final = 4_102_444_800_000


class SealMismatch(UnreadableArchive):
    """The seals of a trail do not hold together, or an object is not what its seal says."""

    code = "digest-mismatch"


@dataclass(frozen=True, slots=True)
class LogFault:
    """What is wrong with the log: a stable code, the object's full name, and why."""

    code: str
    name: str
    why: str


@dataclass(frozen=True, slots=True)
class ReadSeal:
    """A seal as it was read, the object that holds it, and the digest of its bytes (hex)."""

    seal: Seal
    stored: StoredObject
    sha256: str


@dataclass(frozen=True, slots=True)
class SealLog:
    """Every seal of a trail that could be read, in order. `is_whole`: none is missing between them, or before them."""

    trail: Trail
    read: tuple[ReadSeal, ...]
    is_whole: bool
    listed: tuple[str, ...] = ()  # full names of all that were there, in order

    @property
    def seals(self) -> tuple[Seal, ...]:
        return tuple(one.seal for one in self.read)

    @property
    def size(self) -> int:
        """How many entries the log has."""
        return self.read[-1].seal.after.size if self.read else 0

    def entries(self) -> Iterator[tuple[int, LogEntry]]:
        """Every entry with its place in the log, in order."""
        for one in self.read:
            yield from enumerate(one.seal.entries, start=one.seal.size_before)

    def segments(self) -> dict[str, SegmentEntry]:
        """The sealed segments by path inside the trail."""
        return {entry.path: entry for _, entry in self.entries() if isinstance(entry, SegmentEntry)}


def read_log(
    source: Source,
    trail: Trail,
    report: Callable[[LogFault], None] | None = None,
    *,
    since: tuple[str, str] | None = None,
) -> SealLog:
    """Reads every seal of a trail. Faults go to `report`, or raise SealMismatch if there is none.

    `since` is a seal that is known already, by its name inside the trail and the digest of its bytes (hex): only what
    follows it is read, and it has to be there as it was. Raises UnreadableArchive for what cannot be read at all.
    """
    take = report or _refuse
    read: list[ReadSeal] = []
    is_whole = True
    listed = _listed(source, trail, take, "" if since is None else since[0].removesuffix(".json"))
    if since is not None:
        known = _known_seal(source, trail, listed, since, take)
        if known is None:
            return SealLog(trail, (), is_whole=False, listed=tuple(stored.name for stored in listed))
        read.append(known)
        listed = listed[1:]
    for stored, content in _contents(source, listed, take):
        seal = None if content is None else _parsed(trail, stored, content, take)
        if seal is None or content is None:
            is_whole = False
            continue
        last = read[-1] if read else None
        size = last.seal.after.size if last else 0
        if seal.size_before < size:
            take(LogFault(FORKED, stored.name, f"the seal before it leads to {size} entries already"))
        elif seal.size_before > size:
            take(LogFault(MISSING, stored.name, f"the seals of entries {size} to {seal.size_before} are missing"))
        else:
            for why in _disagreements(seal, last):
                take(LogFault(INCONSISTENT, stored.name, why))
        is_whole = is_whole and seal.size_before == size
        if is_whole and seal.interval.previous_notice != _newest_notice(last):
            take(LogFault(INCONSISTENT, stored.name, "it leads to other notices than the seals before it have"))
        read.append(ReadSeal(seal, stored, sha256(content).hexdigest()))
    if since is not None:
        read = read[1:]
    return SealLog(trail, tuple(read), is_whole, tuple(stored.name for stored in listed))


def _known_seal(
    source: Source,
    trail: Trail,
    listed: Sequence[StoredObject],
    since: tuple[str, str],
    take: Callable[[LogFault], None],
) -> ReadSeal | None:
    """The seal from which a log is read on, if it is there as it was."""
    name, digest = trail.prefix + since[0], since[1]
    if not listed or listed[0].name != name:
        take(LogFault(MISSING, name, "it was there before, and is gone"))
        return None
    ((stored, content),) = _contents(source, listed[:1], take)
    seal = None if content is None else _parsed(trail, stored, content, take)
    if seal is None or content is None:
        return None
    if sha256(content).hexdigest() != digest:
        take(LogFault(INCONSISTENT, name, "it was another one before"))
        return None
    return ReadSeal(seal, stored, digest)


def _listed(
    source: Source, trail: Trail, take: Callable[[LogFault], None], start_after: str = ""
) -> list[StoredObject]:
    listed: list[StoredObject] = []
    for stored in source.objects(f"{trail.prefix}seals/", start_after=start_after and trail.prefix + start_after):
        try:
            parse_seal_name(stored.name.removeprefix(trail.prefix))
        except ValueError as error:
            take(LogFault(FOREIGN, stored.name, str(error)))
            continue
        listed.append(stored)
    return listed


def _contents(
    source: Source, listed: Sequence[StoredObject], take: Callable[[LogFault], None]
) -> Iterator[tuple[StoredObject, bytes | None]]:
    """Each seal with its bytes; None for one that cannot be read, which stops no other."""
    for start in range(0, len(listed), _SEALS_AT_ONCE):
        some = listed[start : start + _SEALS_AT_ONCE]
        try:
            paths = source.fetch(some)
        except (OSError, UnreadableArchive):
            yield from ((stored, _content(source, stored, take)) for stored in some)
        else:
            yield from ((stored, _bytes(path, stored, take)) for stored, path in zip(some, paths, strict=True))


def _content(source: Source, stored: StoredObject, take: Callable[[LogFault], None]) -> bytes | None:
    try:
        return _bytes(source.fetch([stored])[0], stored, take)
    except FileNotFoundError:
        take(LogFault(MISSING, stored.name, "it was listed a moment ago, and is gone"))
    except OSError as error:
        take(LogFault(UNREADABLE, stored.name, error.strerror or str(error)))
    except UnreadableArchive as error:
        take(LogFault(UNREADABLE, stored.name, f"{error.message}: {error.why}"))
    return None


def _bytes(path: Path, stored: StoredObject, take: Callable[[LogFault], None]) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        take(LogFault(MISSING, stored.name, "it was listed a moment ago, and is gone"))
    except OSError as error:
        take(LogFault(UNREADABLE, stored.name, error.strerror or str(error)))
    return None


def _parsed(trail: Trail, stored: StoredObject, content: bytes, take: Callable[[LogFault], None]) -> Seal | None:
    try:
        seal = Seal.parse(content)
        if trail.prefix + seal.name != stored.name:
            raise ValueError(f"it extends a log of {seal.size_before} entries, its name says another size")  # noqa: TRY301
        if seal.interval.sealed_at_ms >= _LATEST_MS:
            raise ValueError(f"it was made at {seal.interval.sealed_at_ms}, which is no time of a seal")  # noqa: TRY301
        if len(seal.checkpoint.signatures) != 1:
            # Nobody would check the others, and nobody would see them change.
            raise ValueError(f"it bears {len(seal.checkpoint.signatures)} signatures, not that of the log alone")  # noqa: TRY301
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        take(LogFault(MALFORMED, stored.name, str(error)))
        return None
    if seal.head.origin != origin_of(trail):
        take(LogFault(SWAPPED, stored.name, f"it is of the log {seal.head.origin}"))
    return seal


def _disagreements(seal: Seal, last: ReadSeal | None) -> Iterator[str]:
    """How a seal does not follow from the one before it."""
    try:
        seal.check_extends(last.seal.after if last else CompactRange())
    except ValueError as error:
        yield str(error)
    if seal.previous_sha256 != (last.sha256 if last else None):
        yield "the seal before it is not the one that it names"
    if last is None:
        return
    before, interval = last.seal.interval, seal.interval
    if interval.from_ms > before.to_ms:
        yield "its interval begins after the end of the one before it"
    if interval.to_ms < before.to_ms or interval.sealed_at_ms < before.sealed_at_ms:
        yield "its interval ends, or was made, before the one before it"


def _newest_notice(last: ReadSeal | None) -> int | None:
    """What the seal after `last` has to say of earlier notices."""
    if last is None:
        return None
    if any(isinstance(entry, NOTICES) for entry in last.seal.entries):
        return last.seal.size_before
    return last.seal.interval.previous_notice


def _refuse(fault: LogFault) -> NoReturn:
    if fault.code == UNREADABLE:
        raise UnreadableArchive(
            f"could not read {fault.name}", why=fault.why, hint="grant the right to read it, or look at the network"
        )
    raise SealMismatch(
        f"{fault.name} does not fit into the log of the trail",
        why=f"{fault.code}: {fault.why}",
        hint="ddbtrail verify says what else is wrong; restore the object's version",
    )
