"""What the log of a trail vouches for: of each sealed file its digest, as every question needs it before it reads.

Invariants: every seal of the listing is read, and what is remembered of one is forgotten with its file; nothing is
taken from a log whose entries do not lead to its head, or, where a key is pinned, whose head that key did not sign.
What is told apart here is only "holds" and "does not": `seal_log`, which reads the same in every detail, says why.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from hashlib import sha256
from pathlib import Path
from secrets import token_hex
from typing import TYPE_CHECKING, Final, Self

from archiver.format.layout import Trail
from archiver.format.log_entry import KeyRotationEntry
from archiver.format.seal import Seal, origin_of
from query.derived.live import LiveRun
from query.errors import UnreadableArchive
from query.log_digests import Log, Named, SealedFile
from query.seal_log import SealMismatch, read_log
from query.source import Source

if TYPE_CHECKING:
    from query.derived.description import RunDescription
    from query.note_check import PublicKey

WITHOUT_SEALS: Final = "ddbtrail verify says what else is wrong; --no-seals answers without looking at seals"


class SealedObjectMissing(SealMismatch):
    """The log names an object that the archive no longer has."""

    code = "sealed-object-missing"


class SealNotSigned(SealMismatch):
    """The head of the log is not signed with the key that was pinned, or there is no head."""

    code = "seal-signature"


@dataclass(frozen=True, slots=True)
class Sealed:
    """What is sealed, by path inside the trail: segments, and descriptions of streams and baselines.

    `to_ms` (epoch ms) is the end of the newest interval that was looked at. `runs` hold what was sealed first:
    `segments` are those that were sealed after it, `in_runs` the names of the ones in runs that the tail may show.
    """

    segments: Mapping[str, SealedFile]
    descriptions: Mapping[str, SealedFile]
    to_ms: int
    runs: tuple[LiveRun, ...] = ()
    in_runs: frozenset[str] = frozenset()

    def with_names(self, in_runs: Iterable[str]) -> Self:
        """The same, where these segments are in runs."""
        return replace(self, in_runs=frozenset(in_runs))


def check_sealed(name: str, content_sha256: str, expected_sha256: str) -> None:
    """Raises SealMismatch for a file (its full name) whose digest is not the sealed one; both in hex."""
    if content_sha256 != expected_sha256:
        raise SealMismatch(
            f"{name} is not the file that was sealed",
            why=f"digest-mismatch: it has digest {content_sha256}, its seal says {expected_sha256}",
            hint="it changed after it was sealed: compare its versions in the bucket; " + WITHOUT_SEALS,
        )


def missing(names: Sequence[str]) -> SealedObjectMissing:
    """The error for sealed objects (full names) that an answer would have to do without."""
    more = f", and {len(names) - 1} more" if len(names) > 1 else ""
    return SealedObjectMissing(
        f"{names[0]} is missing{more}",
        why="sealed-object-missing: it is sealed, and the archive has no such object; the answer would lack it",
        hint="restore it from the bucket's versions; " + WITHOUT_SEALS,
    )


class SealReader:
    """Reads the logs of one archive's trails, and remembers them: here, and a long one in `folder` too, if given.

    Seals never change, so a log that is known is only continued: its newest known seal must still be there as it was,
    and what follows is read. That earlier ones have gone or changed is for `verify` to find: they are told once.
    """

    def __init__(self, source: Source, *, pinned: "PublicKey | None" = None, folder: Path | None = None) -> None:
        self._source = source
        self._pinned = pinned
        self._folder = folder
        self._known: dict[Trail, Log] = {}

    def read(self, trail: Trail, *, may_be_unsealed: bool = False) -> Sealed | None:
        """What is sealed of a trail. Without any seal None, unless a key is pinned and the trail has to be sealed.

        Raises SealMismatch for a log that does not hold together, UnreadableArchive.
        """
        log = self._log(trail)
        if log.newest is None:
            if self._pinned is None or may_be_unsealed:
                return None
            raise SealNotSigned(
                f"{trail.prefix} has no seals, though a key is pinned",
                why="seal-signature: somebody may have removed them, or nobody has sealed this trail yet",
                hint="seal it: ddbtrail seal; --no-seals answers without looking at seals",
            )
        if self._pinned is not None:
            _check_signed(log, self._pinned)
        self._known[trail] = log  # only one that holds
        self._remember(log)
        return Sealed(log.segments, log.descriptions, log.to_ms)

    def read_after(
        self, trail: Trail, runs: Sequence[LiveRun], *, listed: Callable[[], None] = lambda: None
    ) -> Sealed | None:
        """What is sealed of a trail beside its runs (one at least), of which the last one says where the log goes on.
        `listed` is called as soon as the seals are: whatever is looked at from then on, no seal of these left out.

        None if they are not runs of this log: then the log has to be read. Raises as `read`.
        """
        run = runs[-1].description
        name = trail.prefix + run.seal.name
        log = None
        with suppress(ValueError, TypeError, KeyError, RecursionError):
            log = self._log_after(trail, name, run, listed)
        if log is None:
            return None
        if self._pinned is not None:
            handovers = [trail.prefix + handover for handover in run.handovers]
            contents = self._source.read(handovers)
            known = [(name, content) for name, content in zip(handovers, contents, strict=True) if content is not None]
            log.handovers[:0] = known
            _check_signed(log, self._pinned)
        described = {one.name: SealedFile(one.sha256) for one in run.descriptions}
        if any(described.setdefault(path, said) != said for path, said in log.descriptions.items()):
            return None
        return Sealed(log.segments, described, log.to_ms, tuple(runs))

    def _log_after(self, trail: Trail, name: str, run: "RunDescription", then: Callable[[], None]) -> Log | None:
        """The log from the last seal of a run on. Raises ValueError and its like for one that does not hold."""
        listed = self._source.objects(f"{trail.prefix}seals/", start_after=name.removesuffix(".json"))
        then()
        if not listed or listed[0].name != name:
            return None
        try:
            contents = [path.read_bytes() for path in self._source.fetch(listed)]
        except OSError:
            return None
        if sha256(contents[0]).hexdigest() != run.seal.sha256:
            return None
        log = Log.starting_at(trail, name, contents[0])
        if (log.size, log.root.hex()) != (run.name.end, run.root):
            return None
        for stored, content in zip(listed[1:], contents[1:], strict=True):
            log.extend(stored.name, content)
        return log

    def _log(self, trail: Trail) -> Log:
        known = self._known.pop(trail, None) or self._remembered(trail)
        if known is not None:
            with suppress(ValueError):  # not the log that was known, or it does not hold: read from its beginning
                return self._continued(known)
        try:
            return self._continued(Log(trail))
        except ValueError as error:
            raise self._why_not(trail, error) from error

    def _continued(self, log: Log) -> Log:
        """A log with what was sealed since. Raises ValueError, UnreadableArchive."""
        listed = self._source.objects(f"{log.trail.prefix}seals/", start_after=log.before_newest)
        try:
            following = zip((one.name for one in listed), self._source.fetch(listed), strict=True)
            if log.newest is not None and _content(next(following, None)) != log.newest:
                raise ValueError("its newest known seal is another one")
            for name, path in following:
                log.extend(name, path.read_bytes())
        except FileNotFoundError as error:
            raise UnreadableArchive(
                f"{error} is gone", why="it was listed a moment ago", hint="find out who deleted it: ddbtrail verify"
            ) from error
        except OSError as error:
            raise UnreadableArchive(
                f"could not read the seals of {log.trail.prefix}",
                why=str(error),
                hint="check who may read them; --no-seals answers without looking at seals",
            ) from error
        except (TypeError, KeyError, RecursionError) as error:
            raise ValueError(str(error)) from error
        return log

    def _why_not(self, trail: Trail, error: Exception) -> SealMismatch:
        """What the strict reader says of a log that does not hold."""
        try:
            read_log(self._source, trail)
        except SealMismatch as found:
            return SealMismatch(found.message, why=found.why, hint=WITHOUT_SEALS)
        return SealMismatch(f"the log of {trail.prefix} does not hold together", why=str(error), hint=WITHOUT_SEALS)

    # --- across processes ---

    def _file(self, trail: Trail) -> Path | None:
        if self._folder is None:
            return None
        return self._folder / f"{sha256(f'{self._source.url} {trail.prefix}'.encode()).hexdigest()[:32]}.log"

    def _remembered(self, trail: Trail) -> Log | None:
        path = self._file(trail)
        try:
            return None if path is None else Log.parse(trail, path.read_bytes())
        except (OSError, ValueError, TypeError, KeyError):
            return None  # nothing is remembered, or something else: the log itself is read

    def _remember(self, log: Log) -> None:
        path = self._file(log.trail)
        if path is None or not log.is_worth_keeping:
            return
        partial = path.with_name(f".partial-{token_hex(8)}")
        with suppress(OSError):  # a full or read-only disk costs time, and no answer
            path.parent.mkdir(parents=True, exist_ok=True)
            partial.write_bytes(log.compose())
            partial.replace(path)
        with suppress(OSError):
            partial.unlink(missing_ok=True)


def _content(file: tuple[str, Path] | None) -> Named | None:
    return None if file is None else (file[0], file[1].read_bytes())


def _check_signed(log: Log, pinned: "PublicKey") -> None:
    """Raises SealNotSigned unless the newest head is signed with the pinned key, or one that it led to.

    A head covers all that was before it. So besides the newest only the seals that hand over must be signed, each with
    the key before; and none from before the pinned key was handed over to, if it was.
    """
    from query.note_check import fingerprint  # noqa: PLC0415  only a pinned key needs cryptography

    assert log.newest is not None
    heads = [Seal.parse(content) for name, content in log.handovers if name != log.newest[0]]
    heads.append(Seal.parse(log.newest[1]))
    ours = fingerprint(pinned)
    starts = [0, *(number for number, seal in enumerate(heads, 1) if ours in map(fingerprint, _next_keys(seal)))]
    why = [_why_not_signed(heads[start:], pinned, origin_of(log.trail)) for start in starts]
    if None not in why:
        raise SealNotSigned(
            f"{log.newest[0]} is not signed with the pinned key",
            why=f"seal-signature: {why[0]}",
            hint="compare pinned_key with what whoever runs the sealer published; " + WITHOUT_SEALS,
        )


def _why_not_signed(heads: Sequence[Seal], key: "PublicKey", origin: str) -> str | None:
    """Why not every head is signed with the key in force: `key`, then what the heads hand over to. None if all are."""
    from query.note_check import check_note  # noqa: PLC0415

    if not heads:
        # Whoever can write seals could have written the hand-over to it.
        return "no seal is signed with it yet"
    for seal in heads:
        try:
            check_note(seal.checkpoint, origin, key)
        except ValueError as error:
            return f"{seal.name}: {error}"
        *_, key = key, *_next_keys(seal)
    return None


def _next_keys(seal: Seal) -> list["PublicKey"]:
    """The keys that a seal hands over to. Raises SealMismatch for what is no key."""
    from query.note_check import parse_public_key  # noqa: PLC0415

    try:
        return [parse_public_key(entry.public_key) for entry in seal.entries if isinstance(entry, KeyRotationEntry)]
    except ValueError as error:
        raise SealMismatch(f"{seal.name} hands over to what is no key", why=str(error), hint=WITHOUT_SEALS) from error
