"""The Lambda function that compacts: the runs of its trails, made by the hour, and what they replaced deleted.

Invariants: no trail waits for another one's failure, and the first failure is the one that is raised. The clock is read
here. Evidence is read, and never written or deleted. What a call has room for, `query.bounded_compactor` says.
"""

import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from archiver.format.layout import Trail
from query.bounded_compactor import BoundedCompactor, Compaction
from query.compaction_report import logger, report_failure, report_trail
from query.derived.collect import waste
from query.derived.outgrown import Room
from query.derived.store import DerivedStore, open_derived
from query.errors import QueryError
from query.source import Access, Source, open_source

GRACE_MS: Final = 24 * 3_600_000

# "The amount of memory available to the function at runtime", MB (*Lambda environment variables*).
_MEMORY: Final = "AWS_LAMBDA_FUNCTION_MEMORY_SIZE"
# "At 1,769 MB, a function has the equivalent of one vCPU" (*Configure Lambda function memory*).
_MB_PER_CORE: Final = 1_769
# Kept back of the time: for what comes after a run, and for a run that takes longer than was thought.
_RESERVE_S: Final = 120.0
_AFTERWARDS_S: Final = 60.0
_FOLDER: Final = "ddbtrail-compaction"
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
                report_failure(error, trail)
                failures.append(error)
            report_trail(compaction, now_ms=now_ms)
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
