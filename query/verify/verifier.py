"""The verifier: the log first, then the objects it names, then what it does not name, then what the rows say together.

Invariants: nothing is judged by what came after it; whatever could not be looked at is a finding or stands among
`not_checked`; without seals, or without a key, the answer is never 0.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Final

from archiver.format.layout import ROOT, Trail
from archiver.format.seal import parse_seal_name
from query.coverage import LabelSpan
from query.errors import QueryError, UnreadableArchive
from query.instant import format_ms
from query.seal_log import LogFault, SealLog, read_log
from query.source import Source, StoredObject
from query.verify.checks import checks
from query.verify.contents import check_contents
from query.verify.covered import coverage_by_log, gap_problems
from query.verify.derived import Derived, DerivedPlace, check_derived
from query.verify.heads import check_signatures, hand_over_problems, pinned_problems, time_problems
from query.verify.inventory import Inventory, version_problems
from query.verify.problem import Problem
from query.verify.statements import Statements
from query.verify.verification import Demand, Level, Verification

if TYPE_CHECKING:
    from query.table import Table

_READINGS: Final = 4  # a sealer that seals so often while the archive is listed is none

Progress = Callable[[int], Callable[[], object]]  # of so many files or a few more; the result is called after each

_OF_OBJECTS: Final = frozenset({"foreign-object", "digest-mismatch", "unsound", "object-missing", "unreadable"})


def verify(
    source: Source,
    trail: Trail,
    demand: Demand,
    *,
    open_table: "Callable[[], Table]",
    progress: Progress = lambda _files: lambda: None,
    workers: int | None = None,
    derived: DerivedPlace | None = None,
) -> Verification:
    """Looks at one trail. `open_table` opens it for questions about its rows, once its files are known to be sound;
    `derived` is where its runs lie (None: they are not looked at).

    Whatever goes wrong on the way is a finding like any other, beside those made before it.
    """
    found = Verification(trail, demand)
    try:
        # Before the log, so that no run is of a longer one.
        beside = None if derived is None else _derived(found, derived, trail)
        log, listed = _read(found, source, trail)
        said = Statements.of(log.entries())
        found.add(
            *(Problem("entry-contradicts", _full(trail, name), "two entries differ") for name in said.contradictions)
        )
        held = Inventory(trail, said)
        held.take(listed)
        held.take(source.objects(f"{ROOT}/quarantine/"))
        _presence(found, held, log)
        if held.derived and (beside is None or beside.place.source.url != source.url):
            found.skip("derived data", f"{held.derived} objects of runs and snapshots: evidence alone is verified")
        _versions(found, source, held)
        unsealed = _contents(found, source, held, progress, workers)
        _rows_together(found, source, held, unsealed, open_table)
        if beside is not None:
            check_derived(found, source, beside, log, held, is_sound=not found.counts.keys() & _OF_OBJECTS)
    except (UnreadableArchive, OSError) as error:
        found.add(Problem("unreadable", trail.prefix, f"{_why(error)}: nothing was looked at after that"))
    except Exception as error:  # noqa: BLE001  what was found until then must not be lost, nor the rest called good
        found.add(Problem("not-checkable", trail.prefix, f"the verifier failed: {_why(error)}"))
    return found


def _read(found: Verification, source: Source, trail: Trail) -> tuple[SealLog, Sequence[StoredObject]]:
    """The log, and everything that lies in the trail, as they stood at one time: a sealer may be at work meanwhile.

    Two listings that keep differing are a finding: one of them is not the truth.
    """
    for _ in range(_READINGS):
        faults: list[LogFault] = []
        log = read_log(source, trail, faults.append)
        listed = source.objects(trail.prefix)
        if tuple(stored.name for stored in listed if _is_seal(trail, stored)) == log.listed:
            break
    else:
        found.add(Problem("not-checkable", f"{trail.prefix}seals/", "each listing shows other seals"))
    found.add(*map(_of_fault, faults))
    _heads(found, log)
    return log, listed


def _is_seal(trail: Trail, stored: StoredObject) -> bool:
    try:
        parse_seal_name(stored.name.removeprefix(trail.prefix))
    except ValueError:
        return False
    return True


def _why(error: Exception) -> str:
    if isinstance(error, QueryError):
        return f"{error.message}: {error.why}"
    return f"{type(error).__name__}: {error}"


def _of_fault(fault: LogFault) -> Problem:
    return Problem(fault.code, fault.name, fault.why)


def _full(trail: Trail, inside: str) -> str:
    return inside if inside.startswith(f"{ROOT}/") else trail.prefix + inside


def _heads(found: Verification, log: SealLog) -> None:
    demand = found.demand
    found.seals, found.entries = len(log.read), log.size
    if log.seals:
        last = log.seals[-1]
        found.head, found.sealed_to_ms = last.checkpoint, last.interval.to_ms
        found.sealed_at_ms = last.interval.sealed_at_ms
    signed = check_signatures(log, demand.pinned_key)
    found.add(*signed.problems, *hand_over_problems(log))
    if demand.pinned_checkpoint is not None:
        found.add(*pinned_problems(log, demand.pinned_checkpoint, signed.keys))
    else:
        found.skip("rollback", "no checkpoint was pinned: a log cut short looks like a younger one")
    max_age_ms = demand.max_age_ms
    found.add(*time_problems(log, log.trail, now_ms=demand.now_ms, max_age_ms=max_age_ms, until_ms=demand.until_ms))
    if max_age_ms is None:
        found.skip("freshness", "no seal is too old for --max-age none, so unsealed evidence may be of any age")


def _presence(found: Verification, held: Inventory, log: SealLog) -> None:
    found.add(*held.problems, *held.missing(), *held.unacknowledged())
    is_fresh = not any(problem.code in {"stale", "no-seals"} for problem in found.problems)
    # What a seal that is gone may have named is not forged: the hole in the log is the finding.
    reached_ms = found.sealed_to_ms if log.is_whole else None
    found.add(*held.waiting(now_ms=found.demand.now_ms, sealed_to_ms=reached_ms, is_fresh=is_fresh))
    found.segments, found.unsealed = held.segments, len(held.unsealed)
    found.acknowledgements = held.said.acknowledgements
    found.baselines, found.quarantined = len(held.said.baselines), len(held.quarantined)
    found.records = sum(entry.records for entry in held.said.segments.values())
    if not held.segments:
        found.add(Problem("no-segments", held.trail.prefix, "no change record is archived"))


def _versions(found: Verification, source: Source, held: Inventory) -> None:
    missing = {problem.name for problem in found.problems if problem.code == "object-missing"}
    try:
        for folder in (held.trail.prefix, f"{ROOT}/quarantine/"):
            versions = source.versions(folder)
            if versions is None:
                found.skip("versions", "objects in a folder have none; on S3 every version and delete marker is listed")
                return
            found.add(*version_problems(versions, held.trail, missing.__contains__))
    except UnreadableArchive as error:
        found.add(Problem("unreadable", held.trail.prefix, f"{error.message}: {error.why}"))


def _derived(found: Verification, place: DerivedPlace, trail: Trail) -> Derived | None:
    try:
        return Derived.listed(place, trail)
    except UnreadableArchive as error:
        found.add(Problem("derived-unreadable", trail.prefix, f"{error.message}: {error.why}"))
        return None


# --- bytes ---


def _contents(
    found: Verification, source: Source, held: Inventory, progress: Progress, workers: int | None
) -> list[LabelSpan]:
    """Looks at every file; what the segments that are not sealed yet cover."""
    left = sum(1 for inside in held.sealed if held.said.places[inside] < found.demand.checks_from)
    if left:
        found.skip("older objects", f"{left} sealed before the checkpoint were listed, and not read again")
    if found.demand.has_range:
        found.skip("other hours", "segments outside the range were listed, and not read")
    unsealed = []
    advance = progress(len(held.sealed) + len(held.unsealed) + len(held.quarantined) + len(held.parts) - left)
    for checked in check_contents(source, checks(found, source, held), workers=workers):
        found.files_checked += 1
        found.bytes_checked += checked.stored.size_bytes
        found.rows_checked += checked.rows
        if checked.span is not None:
            unsealed.append(checked.span)
        problem = checked.problem()
        if problem is not None:
            found.add(problem)
        advance()
    return unsealed


# --- rows together ---


def _rows_together(
    found: Verification,
    source: Source,
    held: Inventory,
    unsealed: Sequence[LabelSpan],
    open_table: "Callable[[], Table]",
) -> None:
    """Gaps, and with every row: conflicts and the image chain. Only on files that are known to be sound."""
    what = "gaps, conflicts and image chain" if found.demand.level is Level.FULL else "gaps"
    if not found.segments or any(problem.code in _OF_OBJECTS for problem in found.problems):
        found.skip(what, "asked only of a trail whose files are all there and sound")
        return
    try:
        _gaps(found, source, held, unsealed)
        if found.demand.level is Level.FULL:
            _chain(found, held.trail, held.said, open_table())
    except Exception as error:  # noqa: BLE001  an engine may fail in any way, and no way is good news
        found.add(Problem("not-checkable", held.trail.prefix, f"{what}: {_why(error)}"))


def _gaps(found: Verification, source: Source, held: Inventory, unsealed: Sequence[LabelSpan]) -> None:
    demand, coverage = found.demand, coverage_by_log(source, held, unsealed)
    found.covered = coverage.covered
    found.add(
        *gap_problems(
            coverage,
            held.trail,
            held.said,
            since_ms=demand.since_ms,
            until_ms=demand.until_ms,
            now_ms=demand.now_ms,
        )
    )


def _chain(found: Verification, trail: Trail, said: Statements, table: "Table") -> None:
    chain = table.image_chain(since_ms=found.demand.since_ms, until_ms=found.demand.until_ms)
    for conflict in chain.conflicts:
        told = f"{', '.join(conflict.differs)} of {conflict.item_key} at {conflict.sequence_number} told in two ways"
        found.add(Problem("identity-conflict", conflict.segments[0], told))
    for broken in chain.breaks:
        since, until = broken.since.at_ms, broken.until.at_ms
        if not said.has_acknowledged(since, max(until, since + 1)):
            where = f"between {format_ms(since)} and {format_ms(until)}"
            told = f"{broken.missing} of {broken.item_key} is missing {where}"
            found.add(Problem("image-break", trail.prefix, told))
    if chain.broken > len(chain.breaks):
        found.skip("further breaks", f"{chain.broken - len(chain.breaks)} more of the image chain are not listed")
