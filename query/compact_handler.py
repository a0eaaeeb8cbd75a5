"""The Lambda function that compacts: the runs of its trails, made by the hour, and what they replaced deleted.

Invariants: a run is begun only if memory, disk and the time that is left are enough for it (`query.derived.outgrown`),
and what is too large is told each time; no trail waits for another one's failure, and the first failure is the one that
is raised. The clock is read here. Evidence is read, and never written or deleted.
"""

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from archiver.format.layout import Trail
from query.derived.collect import waste
from query.derived.levels import Piece, wanted_runs
from query.derived.outgrown import Room, Work, need_of, smaller_runs
from query.derived.store import DerivedStore, open_derived
from query.engine import Engine
from query.errors import EngineFailure, QueryError
from query.runs import Compactor, LogState, MadeRun, sealed_segments
from query.source import Access, Source, open_source

SERVICE: Final = "ddbtrail-compactor"
NAMESPACE: Final = "ddbtrail"
GRACE_MS: Final = 24 * 3_600_000

logger: Final = Logger(service=SERVICE)

# "The amount of memory available to the function at runtime", MB (*Lambda environment variables*).
_MEMORY: Final = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"
# "At 1,769 MB, a function has the equivalent of one vCPU" (*Configure Lambda function memory*).
_MB_PER_CORE: Final = 1_769
# Kept back of the time: for what comes after a run, and for a run that takes longer than was thought.
_RESERVE_S: Final = 120.0
_AFTERWARDS_S: Final = 60.0
_FOLDER: Final = "ddbtrail-compaction"
# How DuckDB, and the system below it, say that memory or disk is full.
_OUTGROWN: Final = ("Out of Memory", "No space left")
# Copies are kept for one run only, so that the next one has the disk.
_CACHE_BYTES: Final = 50_000_000


class Context(Protocol):
    """What is needed of Lambda's context."""

    function_name: str

    def get_remaining_time_in_millis(self) -> int:
        """Until Lambda ends the call."""
        ...


class CompactionFailed(QueryError):  # noqa: N818
    """The environment of the function is wrong; `message` names the variable."""

    code = "compaction-failed"


@dataclass(frozen=True, slots=True)
class CompactionConfig:
    """What the function is told: `DDBTRAIL_ARCHIVE` and `DDBTRAIL_DERIVED` (URLs), `DDBTRAIL_TABLES`
    (`account/region/table`, with `;` between two) and `DDBTRAIL_ENDPOINT_URL` (outside AWS); and its memory, by Lambda.
    """

    archive_url: str
    derived_url: str
    trails: tuple[Trail, ...]
    endpoint_url: str | None
    memory_mb: int

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "CompactionConfig":
        """Raises CompactionFailed, naming the variable, for one that is missing or names no table."""
        tables = _required(environment, "DDBTRAIL_TABLES", "account/region/table")
        return cls(
            archive_url=_required(environment, "DDBTRAIL_ARCHIVE", "s3://bucket/prefix or a folder"),
            derived_url=_required(environment, "DDBTRAIL_DERIVED", "s3://another-bucket/prefix or a folder"),
            trails=tuple(_trail(table) for table in tables.split(";")),
            endpoint_url=environment.get("DDBTRAIL_ENDPOINT_URL") or None,
            memory_mb=int(environment.get(_MEMORY, "2048")),
        )


def _required(environment: Mapping[str, str], name: str, what: str) -> str:
    value = environment.get(name, "")
    if not value:
        raise CompactionFailed(f"{name} is not set", hint=f"set it to {what}")
    return value


def _trail(table: str) -> Trail:
    try:
        account, region, table_name = table.split("/")
        return Trail(account, region, table_name)
    except ValueError as error:
        raise CompactionFailed(
            f"DDBTRAIL_TABLES names {table}, which is no table", hint="write account/region/table"
        ) from error


@logger.inject_lambda_context
def compact(_event: dict[str, Any], context: Context) -> dict[str, int]:
    """Makes the runs that are wanted by now, as far as the time goes, and answers with counts. Called by a schedule.

    Raises what the first trail that failed raised: SealMismatch, UnreadableArchive, UnwritableStore, EngineFailure; or
    CompactionFailed for a wrong environment.
    """
    return compact_trails(
        CompactionConfig.from_environment(os.environ),
        now_ms=time.time_ns() // 1_000_000,
        remaining_s=lambda: context.get_remaining_time_in_millis() / 1_000,
    )


def compact_trails(
    config: CompactionConfig, *, now_ms: int, remaining_s: Callable[[], float], room: Room | None = None
) -> dict[str, int]:
    """As `compact`; `room` instead of what this machine has."""
    budget_s = remaining_s() - _RESERVE_S
    failures: list[Exception] = []
    counts: Counter[str] = Counter()
    with _work_folder() as folder:
        given = room or _room(config, folder, budget_s)
        # Each hour another one is the first, so that none waits for ever behind one that takes all the time.
        first = now_ms // 3_600_000 % len(config.trails)
        for trail in (*config.trails[first:], *config.trails[:first]):
            compaction = Compaction(trail)
            try:
                _compact_trail(config, compaction, folder, given, now_ms=now_ms, remaining_s=remaining_s)
            except Exception as error:  # noqa: BLE001  told here, and raised when the others have had their turn
                _report_failure(error, trail)
                failures.append(error)
            _report(compaction, now_ms=now_ms)
            counts += Counter(compaction.counts)
    if failures:
        raise failures[0]
    return dict(counts)


@contextmanager
def _work_folder() -> Iterator[Path]:
    """The one place of temporary files. Lambda does not clear `/tmp` when a call was ended by its timeout, so what
    another call has left goes first.
    """
    before = tempfile.tempdir
    folder = Path(tempfile.gettempdir()) / _FOLDER
    shutil.rmtree(folder, ignore_errors=True)
    (folder / "work").mkdir(parents=True)
    tempfile.tempdir = str(folder / "work")
    try:
        yield folder
    finally:
        tempfile.tempdir = before
        shutil.rmtree(folder, ignore_errors=True)


def _room(config: CompactionConfig, folder: Path, seconds: float) -> Room:
    return Room(
        memory_bytes=config.memory_mb * 1024**2,
        disk_bytes=shutil.disk_usage(folder).free,
        cores=config.memory_mb / _MB_PER_CORE,
        seconds=seconds,
    )


@dataclass
class Compaction:
    """What became of one trail in one call."""

    trail: Trail
    made: list[MadeRun] = field(default_factory=list)
    refused: int = 0
    later: int = 0
    deleted: int = 0
    waiting_since_ms: int | None = None
    is_known: bool = False

    @property
    def counts(self) -> dict[str, int]:
        return {
            "runs": len(self.made),
            "rows": sum(run.rows for run in self.made),
            "refused": self.refused,
            "later": self.later,
            "deleted": self.deleted,
        }


def _compact_trail(
    config: CompactionConfig,
    compaction: Compaction,
    folder: Path,
    room: Room,
    *,
    now_ms: int,
    remaining_s: Callable[[], float],
) -> None:
    trail, cache = compaction.trail, folder / "cache"
    access = Access(endpoint_url=config.endpoint_url, cache_dir=cache, cache_limit_bytes=_CACHE_BYTES)
    store = open_derived(config.derived_url, access)
    store.prepare()
    source, derived = open_source(config.archive_url, access), open_source(config.derived_url, access)

    def is_time_for(seconds: float) -> bool:
        shutil.rmtree(cache, ignore_errors=True)  # what the run before this one was made of
        return seconds <= remaining_s() - _AFTERWARDS_S

    BoundedCompactor(source, derived, store, trail, room, is_time_for).compact_within(compaction)
    if remaining_s() > _AFTERWARDS_S:
        compaction.deleted = _collect(derived, store, trail, now_ms)


def _collect(derived: Source, store: DerivedStore, trail: Trail, now_ms: int) -> int:
    found = waste(derived, store, trail, now_ms=now_ms, grace_ms=GRACE_MS)
    store.delete(one.name for one in found)
    return len(found)


class BoundedCompactor(Compactor):
    """A compactor that begins no run which it could not end, within `room` and while `is_time_for` says so."""

    def __init__(
        self,
        source: Source,
        derived: Source,
        store: DerivedStore,
        trail: Trail,
        room: Room,
        is_time_for: Callable[[float], bool],
    ) -> None:
        threads = max(1, round(room.cores))
        engine = Engine(memory_limit=f"{room.sort_bytes // 1_000_000}MB", threads=threads)
        super().__init__(source, derived, store, trail, engine)
        self._room = room
        self._is_time_for = is_time_for

    def compact_within(self, compaction: Compaction) -> None:
        """Makes the runs that are wanted, the oldest first, and notes in `compaction` what became of it.

        What is too large is told, and made in smaller runs; what the time is not enough for is left to the next call,
        with what would stand on it. Raises as `compact`.
        """
        state = self.begin()
        wanted = wanted_runs(state.pieces())
        _note_waiting(compaction, state, wanted)
        for pieces in wanted:
            self._make_fitting(state, pieces, compaction, is_wanted=True)
            _note_waiting(compaction, state, wanted)

    def _make_fitting(
        self, state: LogState, pieces: Sequence[Piece], compaction: Compaction, *, is_wanted: bool
    ) -> None:
        if not state.is_reached(pieces[0].name.start):
            compaction.later += 1
            return
        work = _work(state, pieces)
        need = need_of(work, self._room.cores)
        why = need.exceeds(self._room)
        if why is None and not self._is_time_for(need.seconds):
            compaction.later += 1
            return
        if why is None:
            why = self._made_or_why_not(state, pieces, compaction)
        if why is None:
            return
        smaller = smaller_runs(pieces)
        if is_wanted or len(pieces) == 1:
            compaction.refused += 1
            _report_refused(self._trail, pieces, work, why)
        for some in smaller:
            self._make_fitting(state, some, compaction, is_wanted=False)

    def _made_or_why_not(self, state: LogState, pieces: Sequence[Piece], compaction: Compaction) -> str | None:
        """None where a run was made of these pieces; else how the engine says that it has outgrown this place."""
        try:
            made = self.make(state, pieces)
        except EngineFailure as error:
            if not any(words in error.why for words in _OUTGROWN):
                raise
            return f"the estimate was too low: {error.why}"
        state.add(made.live)
        compaction.made.append(made.made)
        _report_run(self._trail, made.made)
        return None


def _work(state: LogState, pieces: Sequence[Piece]) -> Work:
    """What a run of these pieces is made of."""
    parts = [part for piece in pieces if piece.is_run for part in state.runs[piece.name].description.parts]
    segments = [segment for piece in pieces if not piece.is_run for segment in sealed_segments(state.seals[piece.name])]
    return Work(
        rows=sum(part.rows for part in parts) + sum(segment.records for segment in segments),
        objects=len(parts) + len(segments),
        bytes=sum(part.file.bytes for part in parts) + sum(segment.bytes for segment in segments),
    )


def _note_waiting(compaction: Compaction, state: LogState, wanted: Sequence[Sequence[Piece]]) -> None:
    """Since when the oldest seal waits that should be in a run and is in none."""
    waiting = [piece for run in wanted for piece in run if not piece.is_run and piece.name.start >= state.reached]
    since = min((state.seals[piece.name].seal.interval.sealed_at_ms for piece in waiting), default=None)
    compaction.waiting_since_ms, compaction.is_known = since, True


def _report_failure(error: Exception, trail: Trail) -> None:
    logger.error("compaction failed", table=trail.table_name, error=str(error), hint=getattr(error, "hint", ""))


def _report_run(trail: Trail, made: MadeRun) -> None:
    logger.info(
        "run made",
        table=trail.table_name,
        run=made.name.folder,
        rows=made.rows,
        runs=made.runs,
        segments=made.segments,
        bytes=made.bytes,
    )


def _report_refused(trail: Trail, pieces: Sequence[Piece], work: Work, why: str) -> None:
    table = f"{trail.account}/{trail.region}/{trail.table_name}"
    logger.error(
        "run refused",
        table=trail.table_name,
        entries=[pieces[0].name.start, pieces[-1].name.end],
        rows=work.rows,
        bytes=work.bytes,
        reason=why,
        hint=f"on a machine with enough disk run: ddbtrail compact {table} -a $DDBTRAIL_ARCHIVE --derived "
        "$DDBTRAIL_DERIVED; docs/operations.md, Compaction refused",
    )


def _report(compaction: Compaction, *, now_ms: int) -> None:
    """One line of log and one metrics blob for a trail."""
    lag_s = None
    if compaction.is_known:
        since = compaction.waiting_since_ms
        lag_s = 0.0 if since is None else max(0.0, (now_ms - since) / 1_000)
    logger.info("trail compacted", table=compaction.trail.table_name, lag_s=lag_s, counts=compaction.counts)
    metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
    metrics.add_dimension(name="table", value=compaction.trail.table_name)
    values: dict[str, tuple[MetricUnit, float]] = {
        "RunsMade": (MetricUnit.Count, len(compaction.made)),
        "RowsCompacted": (MetricUnit.Count, sum(run.rows for run in compaction.made)),
        "RunBytes": (MetricUnit.Bytes, sum(run.bytes for run in compaction.made)),
        "CompactionRefused": (MetricUnit.Count, compaction.refused),
    }
    if lag_s is not None:
        values["CompactionLagSeconds"] = MetricUnit.Seconds, lag_s
    for name, (unit, value) in values.items():
        metrics.add_metric(name=name, unit=unit, value=value)
    metrics.flush_metrics()
