"""Derived data beside the evidence that it claims to be made of.

Invariants: what is derived is compared with a log and with evidence that were looked at before, never the other way
round; every run that a reader could take is looked at, also one that a larger one covers; what no description lists is
read by nobody, and is counted.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import cache
from typing import Final

from query.derived.description import RunDescription
from query.derived.index import PartIndex
from query.derived.names import RunName
from query.derived.segment_table import SealedSegment, parse_segments
from query.engine import Engine
from query.errors import CorruptSegment, DerivedGone, QueryError, UnreadableArchive
from query.runs import digested, notices
from query.seal_log import SealLog, SealMismatch
from query.source import Source
from query.verify.checks import is_in_range
from query.verify.derived_files import Derived, DerivedCheck, DerivedPlace, History
from query.verify.derived_part import Differs
from query.verify.derived_rows import RunFiles, check_rows
from query.verify.derived_snapshots import SnapshotCheck
from query.verify.inventory import Inventory
from query.verify.problem import Problem
from query.verify.verification import Demand, Level, Verification

__all__ = ["Derived", "DerivedPlace", "check_derived"]

_LOG_FAULTS: Final = frozenset(
    {"seal-malformed", "seal-of-another-trail", "log-forked", "log-inconsistent", "seal-missing", "entry-contradicts"}
)


def check_derived(
    found: Verification, source: Source, derived: Derived, log: SealLog, held: Inventory, *, is_sound: bool
) -> None:
    """Compares what is derived with the log and, with `--full`, with evidence. `is_sound`: no object of that is missing
    or anything else than what was sealed.
    """
    if not derived.sizes:
        return
    if not log.is_whole or found.counts.keys() & _LOG_FAULTS:
        found.skip("derived data", "compared only with a log that holds together")
        return
    history = History(log)
    used = _check_runs(found, source, derived, history, is_sound=is_sound)
    used |= _check_snapshots(found, source, derived, history, held, is_sound=is_sound)
    rest = len(derived.sizes.keys() - used)
    if rest:
        found.skip("other derived data", f"{rest} objects that no description lists, and no reader looks at")


# --- runs ---


def _check_runs(found: Verification, source: Source, derived: Derived, history: History, *, is_sound: bool) -> set[str]:
    """Looks at every run; the full names of what they consist of."""
    used: set[str] = set()
    names = derived.runs()
    if not names:
        return used
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


def _of_error(check: DerivedCheck, error: Exception) -> Problem | None:
    match error:
        case Differs():
            return Problem("derived-mismatch", error.name, error.why)
        case FileNotFoundError() | DerivedGone():
            # Of what goes its description goes first.
            name = str(error) if isinstance(error, FileNotFoundError) else check.folder
            told = "what its description lists is not there"
            return Problem("derived-missing", name, told) if check.is_live() else None
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


class _RunCheck(DerivedCheck):
    """One run, step by step; each rests on those before it."""

    run: RunDescription

    def __init__(self, source: Source, derived: Derived, history: History, name: RunName) -> None:
        super().__init__(source, derived, history, name.folder, name.description)
        self.name = name
        self.segments: list[SealedSegment] = []
        self._indexes: list[PartIndex] = []

    def consists_of(self) -> set[str]:
        """The full names of its files, as its description lists them."""
        self.run = self.description(RunDescription.parse)
        if self.run.name != self.name:
            raise Differs(self.json, f"it describes the run {self.run.name.start} to {self.run.name.end}")
        return {self.json, *(self.folder + file.name for file in self.run.files)}

    def compare_with_log(self) -> None:
        """What the description says of the log, and the table of segments."""
        history, name, run = self.history, self.name, self.run
        if name.end > history.size:
            raise Differs(self.json, f"it covers {name.end} entries, the log has {history.size}")
        if not (history.is_end(name.start) and history.is_end(name.end)):
            raise Differs(self.json, "it does not begin and end where seals do")
        seals = history.seals_to(name.end)
        last = seals[-1]
        first = next(one for one in seals if one.seal.size_before == name.start)
        sealed_to_ms = last.seal.interval.to_ms
        self.segments = [one for one in history.segments if name.start <= one.entry < name.end]
        recent = [one for one in history.segments if one.entry < name.start and one.is_recent(sealed_to_ms)]
        descriptions, handovers = notices(None, seals)
        told = replace(
            run,
            root=last.seal.after.root.hex(),
            seal=digested(last),
            previous_sha256=first.seal.previous_sha256,
            rows=sum(segment.records for segment in self.segments),
            segment_count=len(recent) + len(self.segments),
            sealed_to_ms=sealed_to_ms,
            until_ms=history.until_ms(name.end),
            descriptions=descriptions,
            handovers=handovers,
        )
        self.demand_alike(told, run, "the log")
        table = self.checked(run.segments)
        if self.parsed(run.segments, parse_segments, table) != (*recent, *self.segments):
            raise Differs(self.folder + run.segments.name, "its segments are not those that the log names")

    def compare_files(self) -> None:
        """The sizes of all files, and the indexes of parts by their digests."""
        self.compare_sizes(self.run.files)
        for part in self.run.parts:
            assert part.index is not None  # the description was parsed
            index = self.parsed(part.index, PartIndex.parse, self.checked(part.index))
            if (index.size_bytes, index.rows) != (part.file.bytes, part.rows):
                told = f"it is of {index.rows} rows in {index.size_bytes} bytes, its part has {part.rows}"
                raise Differs(self.folder + part.index.name, f"{told} in {part.file.bytes}")
            self._indexes.append(index)

    def compare_rows(self, engine: Callable[[], Engine]) -> None:
        """Every row, the order of rows, what follows from that, and the roots of the segments."""
        files = RunFiles(
            trail=self.trail,
            segments=self.segments,
            evidence=self.segment_files(self.segments),
            run=self.run,
            parts=self.files([part.file for part in self.run.parts]),
            items=self.files([part.items for part in self.run.parts]),
            indexes=self._indexes,
        )
        self.demand_alike(replace(self.run, **check_rows(engine, files)), self.run, "what its rows say")


# --- snapshots ---


def _check_snapshots(
    found: Verification, source: Source, derived: Derived, history: History, held: Inventory, *, is_sound: bool
) -> set[str]:
    """Looks at every snapshot; the full names of what they consist of."""
    used: set[str] = set()
    names = derived.snapshots()
    with_rows = found.demand.level is Level.FULL and is_sound and not found.demand.has_range
    engine = cache(derived.place.new_engine)
    left = 0
    for name in names:
        check = SnapshotCheck(source, derived, history, name)
        try:
            used |= check.consists_of()
            check.compare_with_log(held)
            if not with_rows or name.end <= found.demand.checks_from:
                left += 1
                continue
            check.compare_rows(engine)
        except Exception as error:  # noqa: BLE001  as above
            problem = _of_error(check, error)
            if problem is not None:
                found.add(problem)
        else:
            found.snapshots += 1
    if left:
        found.skip("items of snapshots", f"{left} snapshots were compared with the log alone: --full reads all")
    return used
