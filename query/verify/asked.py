"""A verification as it is asked for in Python; the command line has its own road, with progress and a fresh cache."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Final

from archiver.format.layout import Trail
from query.errors import UsageError
from query.note_check import load_public_key
from query.redaction import Redaction
from query.source import Source
from query.verify.verification import Demand, Level, Verification
from query.verify.verifier import verify

if TYPE_CHECKING:
    from query.table import Table

_MS_PER_HOUR: Final = 3_600_000


def verify_evidence(
    source: Source,
    trail: Trail,
    *,
    open_table: "Callable[[], Table]",
    now_ms: int,
    period: tuple[int | None, int | None],
    pinned_key: str | Path | None,
    full: bool,
    max_age_h: float | None,
    redaction: Redaction,
) -> Verification:
    """Looks at the evidence of one trail; derived data is listed, and not compared. Raises UsageError for S3, whose
    copies here are what is not to be believed.
    """
    if source.url.startswith("s3://"):
        raise UsageError(
            "an archive in S3 is verified from fresh copies",
            why="what lies in the cache was believed before",
            hint=f"type ddbtrail verify {trail.table_name}, or copy the archive into a folder",
        )
    since_ms, until_ms = period
    demand = Demand(
        level=Level.FULL if full else Level.QUICK,
        now_ms=now_ms,
        pinned_key=None if pinned_key is None else load_public_key(Path(pinned_key)),
        max_age_ms=None if max_age_h is None else round(max_age_h * _MS_PER_HOUR),
        since_ms=since_ms,
        until_ms=until_ms,
        redaction=redaction,
    )
    found = verify(source, trail, demand, open_table=open_table)
    found.skip("failed batches", "the on-failure destination was not asked: ddbtrail verify --on-failure s3://BUCKET")
    found.skip("reconciliation", "the table itself was not asked: Table.reconcile")
    return found
