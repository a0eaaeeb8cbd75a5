"""What the compacting function tells: lines of log, and a metrics blob for each trail.

Invariant: the alarms of `infra/` watch the metrics that are named here; an alarm of a metric that is not there would
never go off.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit

from archiver.format.layout import Trail
from query.derived.levels import Piece
from query.derived.outgrown import Work
from query.runs import MadeRun

if TYPE_CHECKING:
    from query.bounded_compactor import Compaction

SERVICE: Final = "ddbtrail-compactor"
NAMESPACE: Final = "ddbtrail"

logger: Final = Logger(service=SERVICE)


def report_failure(error: Exception, trail: Trail) -> None:
    logger.error("compaction failed", table=trail.table_name, error=str(error), hint=getattr(error, "hint", ""))


def report_run(trail: Trail, made: MadeRun) -> None:
    logger.info(
        "run made",
        table=trail.table_name,
        run=made.name.folder,
        rows=made.rows,
        runs=made.runs,
        segments=made.segments,
        bytes=made.bytes,
    )


def report_refused(trail: Trail, pieces: Sequence[Piece], work: Work, why: str) -> None:
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


def report_trail(compaction: "Compaction", *, now_ms: int) -> None:
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
