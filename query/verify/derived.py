"""Derived data beside the evidence that it claims to be made of.

Invariants: what is derived is compared with a log and with evidence that were looked at before, never the other way
round; every run that a reader could take is looked at, also one that a larger one covers; what no description lists is
read by nobody, and is counted.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cache
from hashlib import sha256
from itertools import accumulate
from typing import Final, TypeVar

from archiver.format.layout import Trail
from query.derived.description import File, RunDescription
from query.derived.index import PartIndex
from query.derived.levels import until_ms
from query.derived.names import RUNS, RunName
from query.derived.segment_table import SealedSegment, parse_segments
from query.engine import Engine
from query.errors import CorruptSegment, QueryError, UnreadableArchive
from query.gate import EvidenceFile
from query.runs import digested, notices, sealed_segments
from query.seal_log import ReadSeal, SealLog, SealMismatch
from query.source import Source, StoredObject
from query.verify.checks import is_in_range
from query.verify.derived_rows import Differs, RunFiles, check_rows
from query.verify.problem import Problem
from query.verify.verification import Demand, Level, Verification

Parsed = TypeVar("Parsed")

_FOLDERS: Final = ("runs/", "snapshots/")
_LOG_FAULTS: Final = frozenset(
    {"seal-malformed", "seal-of-another-trail", "log-forked", "log-inconsistent", "seal-missing", "entry-contradicts"}
)


@dataclass(frozen=True, slots=True)
class DerivedPlace:
    """Where derived data lies, and what makes an engine to sort rows with."""

    source: Source
    new_engine: Callable[[], Engine]


@dataclass(frozen=True, slots=True)
class Derived:
    """The derived data of a trail as it was listed before its log was read: a run that is made meanwhile, of a log that
    has grown, is none of it. `sizes` are bytes by full name.
    """

    place: DerivedPlace
    trail: Trail
    sizes: Mapping[str, int] = field(default_factory=dict)

    @classmethod
    def listed(cls, place: DerivedPlace, trail: Trail) -> "Derived":
        """Raises UnreadableArchive."""
        listed = [stored for folder in _FOLDERS for stored in place.source.objects(trail.prefix + folder)]
        return cls(place, trail, {stored.name: stored.size_bytes for stored in listed})

    def runs(self) -> list[RunName]:
        """The runs that have a description, in order."""
        found = []
        for name in self.sizes:
            folder, _, file = name.removeprefix(self.trail.prefix + RUNS).partition("/")
            if file == "run.json" and name.startswith(self.trail.prefix + RUNS):
                try:
                    found.append(RunName.parse(folder))
                except ValueError:
                    continue  # no reader looks there
        return sorted(found)

    def below(self, folder: str) -> set[str]:
        """The full names of all that lies in a folder of the trail."""
        return {name for name in self.sizes if name.startswith(self.trail.prefix + folder)}


def check_derived(found: Verification, source: Source, derived: Derived, log: SealLog, *, is_sound: bool) -> None:
    """Compares what is derived with the log and, with `--full`, with evidence. `is_sound`: no object of that is missing
    or anything else than what was sealed.
    """
    if not derived.sizes:
        return
    if not log.is_whole or found.counts.keys() & _LOG_FAULTS:
        found.skip("derived data", "compared only with a log that holds together")
        return
    used = _check_runs(found, source, derived, log, is_sound=is_sound)
    rest = [name.removeprefix(derived.trail.prefix) for name in derived.sizes if name not in used]
    snapshots = sum(name.startswith("snapshots/") for name in rest)
    if snapshots:
        found.skip("snapshots", f"{snapshots} objects: only runs are compared with evidence")
    if len(rest) > snapshots:
        found.skip("other derived data", f"{len(rest) - snapshots} objects that no run lists, and no reader looks at")


# --- runs ---


def _check_runs(found: Verification, source: Source, derived: Derived, log: SealLog, *, is_sound: bool) -> set[str]:
    """Looks at every run; the full names of what they consist of."""
    used: set[str] = set()
    names = derived.runs()
    if not names:
        return used
    history = _History(log)
    is_full = found.demand.level is Level.FULL
    engine = cache(derived.place.new_engine)  # made when it is first needed
    left = 0
    for name in names:
        check = _RunCheck(source, derived, history, name)
        try:
            used |= check.consists_of()
            check.compare_with_log()
            check.compare_files()
            if not (is_full and is_sound):
                continue
            if _is_left_out(check, found.demand):
                left += 1
                continue
            check.compare_rows(engine)
        except Exception as error:  # noqa: BLE001  one that breaks a parser or the engine stops no other
            problem = _of_error(check, error)
            if problem is not None:
                found.add(problem)
        else:
            found.runs += 1
            found.run_rows += check.run.rows
    if not is_full:
        found.skip("rows of runs", f"{len(names)} runs were compared with the log, and not read: --full reads them")
    elif not is_sound:
        found.skip("rows of runs", "compared only with evidence that is all there and sound")
    if left:
        found.skip("older runs", f"{left} outside of what was asked for were compared with the log, and not read")
    return used


def _is_left_out(check: "_RunCheck", demand: Demand) -> bool:
    """Whether nothing of a run was asked for: all of it sealed before the checkpoint, or of other hours."""
    if check.name.end <= demand.checks_from:
        return True
    return bool(check.segments) and not any(is_in_range(segment.path, demand) for segment in check.segments)


def _of_error(check: "_RunCheck", error: Exception) -> Problem | None:
    match error:
        case Differs():
            return Problem("derived-mismatch", error.name, error.why)
        case FileNotFoundError():
            # Of a run that goes its description goes first.
            return Problem("derived-missing", str(error), "its run lists it") if check.is_live() else None
        case SealMismatch() | CorruptSegment():
            return Problem("derived-mismatch", check.folder, f"{error.message}: {error.why}")
        case UnreadableArchive():
            return Problem("derived-unreadable", check.folder, f"{error.message}: {error.why}")
        case OSError():
            return Problem("derived-unreadable", check.folder, error.strerror or str(error))
        case MemoryError():
            return Problem("derived-unreadable", check.folder, "there is not enough memory to read it")
        case QueryError():
            return Problem("not-checkable", check.folder, f"{error.message}: {error.why}")
    return Problem("not-checkable", check.folder, f"{type(error).__name__}: {error}")


class _History:
    """What the log says at each size at which a seal ends."""

    def __init__(self, log: SealLog) -> None:
        self.seals = log.read
        self.size = log.size
        self.segments = [segment for seal in log.read for segment in sealed_segments(seal)]
        self._ends = {one.seal.after.size: number for number, one in enumerate(log.read, 1)}
        self._until_ms = [0, *accumulate(log.read, lambda before, one: until_ms(one.seal, before), initial=0)][1:]

    def is_end(self, size: int) -> bool:
        """Whether a seal begins or ends there."""
        return size == 0 or size in self._ends

    def seals_to(self, size: int) -> Sequence[ReadSeal]:
        """The seals before a size at which one ends."""
        return self.seals[: self._ends[size]]

    def until_ms(self, size: int) -> int:
        """The time that the seal that ends there belongs to."""
        return self._until_ms[self._ends[size]]


class _RunCheck:
    """One run, step by step; each rests on those before it. Whatever differs is raised as Differs."""

    run: RunDescription

    def __init__(self, source: Source, derived: Derived, history: _History, name: RunName) -> None:
        self.name = name
        self.folder = derived.trail.prefix + name.folder
        self.segments: list[SealedSegment] = []
        self._json = derived.trail.prefix + name.description
        self._evidence = source
        self._derived = derived
        self._history = history
        self._indexes: list[PartIndex] = []

    def is_live(self) -> bool:
        """Whether its description is still there."""
        return self._derived.place.source.read([self._json], anew=True)[0] is not None

    def consists_of(self) -> set[str]:
        """The full names of its files, as its description lists them."""
        content = self._content(self._json)
        try:
            self.run = RunDescription.parse(content)
        except Exception as error:
            raise Differs(self._json, f"it describes no run: {error}") from error
        if self.run.name != self.name:
            raise Differs(self._json, f"it describes the run {self.run.name.start} to {self.run.name.end}")
        return {self._json, *(self.folder + file.name for file in self._files())}

    def _files(self) -> list[File]:
        indexes = [part.index for part in self.run.parts if part.index is not None]
        return [self.run.segments, *(part.file for part in self.run.parts), *indexes]

    # --- the log ---

    def compare_with_log(self) -> None:
        """What the description says of the log, and the table of segments."""
        history, name, run = self._history, self.name, self.run
        if name.end > history.size:
            raise Differs(self._json, f"it covers {name.end} entries, the log has {history.size}")
        if not (history.is_end(name.start) and history.is_end(name.end)):
            raise Differs(self._json, "it does not begin and end where seals do")
        seals = history.seals_to(name.end)
        last = seals[-1]
        sealed_to_ms = last.seal.interval.to_ms
        self.segments = [one for one in history.segments if name.start <= one.entry < name.end]
        recent = [one for one in history.segments if one.entry < name.start and one.is_recent(sealed_to_ms)]
        descriptions, handovers = notices(None, seals)
        told = replace(
            run,
            root=last.seal.after.root.hex(),
            seal=digested(last),
            rows=sum(segment.records for segment in self.segments),
            segment_count=len(recent) + len(self.segments),
            sealed_to_ms=sealed_to_ms,
            until_ms=history.until_ms(name.end),
            descriptions=descriptions,
            handovers=handovers,
        )
        self._demand_alike(told, "the log")
        table = self._checked(run.segments)
        if self._parsed(run.segments, parse_segments, table) != (*recent, *self.segments):
            raise Differs(self.folder + run.segments.name, "its segments are not those that the log names")

    def _demand_alike(self, told: RunDescription, by: str) -> None:
        differ = [one.name for one in fields(told) if getattr(told, one.name) != getattr(self.run, one.name)]
        if differ:
            raise Differs(self._json, f"{by} says otherwise of {', '.join(differ)}")

    # --- its files ---

    def compare_files(self) -> None:
        """The sizes of all files, and the indexes of parts by their digests."""
        for file in self._files():
            size = self._derived.sizes.get(self.folder + file.name)
            if size is None:
                raise FileNotFoundError(self.folder + file.name)
            if size != file.bytes:
                raise Differs(self.folder + file.name, f"it has {size} bytes, its run says {file.bytes}")
        for part in self.run.parts:
            assert part.index is not None  # the description was parsed
            index = self._parsed(part.index, PartIndex.parse, self._checked(part.index))
            if (index.size_bytes, index.rows) != (part.file.bytes, part.rows):
                told = f"it is of {index.rows} rows in {index.size_bytes} bytes, its part has {part.rows}"
                raise Differs(self.folder + part.index.name, f"{told} in {part.file.bytes}")
            self._indexes.append(index)

    def _content(self, name: str) -> bytes:
        (content,) = self._derived.place.source.read([name], anew=True)
        if content is None:
            raise FileNotFoundError(name)
        return content

    def _checked(self, file: File) -> bytes:
        """The content of a small file, with the digest that the description says."""
        content = self._content(self.folder + file.name)
        digest = sha256(content).hexdigest()
        if (len(content), digest) != (file.bytes, file.sha256):
            told = f"its digest is {digest[:16]}…, its run says {file.sha256[:16]}…"
            raise Differs(self.folder + file.name, told)
        return content

    def _parsed(self, file: File, parse: Callable[[bytes], Parsed], content: bytes) -> Parsed:
        try:
            return parse(content)
        except MemoryError:
            raise
        except Exception as error:
            raise Differs(self.folder + file.name, f"it cannot be read: {error}") from error

    # --- its rows ---

    def compare_rows(self, engine: Callable[[], Engine]) -> None:
        """Every row, the order of rows, what follows from that, and the roots of the segments."""
        parts = self.run.parts
        stored = [StoredObject(self.folder + part.file.name, part.file.bytes) for part in parts]
        paths = self._derived.place.source.fetch(stored)
        sealed = [StoredObject(self._derived.trail.prefix + segment.path, segment.bytes) for segment in self.segments]
        files = RunFiles(
            trail=self._derived.trail,
            segments=self.segments,
            evidence=[
                EvidenceFile(path, one.name, sha256=segment.file_sha256, is_sealed=True)
                for path, one, segment in zip(self._evidence.fetch(sealed), sealed, self.segments, strict=True)
            ],
            run=self.run,
            parts=[
                EvidenceFile(path, one.name, sha256=part.file.sha256)
                for path, one, part in zip(paths, stored, parts, strict=True)
            ],
            indexes=self._indexes,
        )
        self._demand_alike(replace(self.run, **check_rows(engine, files)), "what its rows say")
