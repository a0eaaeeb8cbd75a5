"""Structured logs, EMF metrics and tracing through Powertools: one log line and one metrics blob per batch, or sealing.

Invariant: nothing here can fail either of them, and no content of a record is logged: names, counts and reasons only.
"""

import os
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics, MetricUnit, single_metric

from archiver.writer import BatchReport

if TYPE_CHECKING:
    from archiver.sealer import Sealing

SERVICE: Final = "ddbtrail-archiver"
NAMESPACE: Final = "ddbtrail"

logger: Final = Logger(service=SERVICE)

_MS_PER_S: Final = 1000
_TRUE: Final = frozenset({"1", "true", "yes", "y", "t", "on"})

Handler = Callable[[dict[str, Any], Any], dict[str, int]]


def traced(handler: Handler) -> Handler:
    """`handler` in a subsegment of X-Ray, in Lambda and unless `POWERTOOLS_TRACE_DISABLED` is set.

    Elsewhere the Tracer is not even imported: it makes a client of X-Ray when it is, whether tracing is on or off, and
    that doubles the start of the function.
    """
    if "LAMBDA_TASK_ROOT" not in os.environ or os.environ.get("POWERTOOLS_TRACE_DISABLED", "").lower() in _TRUE:
        return handler
    from aws_lambda_powertools import Tracer  # noqa: PLC0415

    # The answer stays out of the trace: what became of a batch is in its log line.
    return Tracer(service=SERVICE).capture_lambda_handler(handler, capture_response=False)


@cache
def report_cold_start(function_name: str) -> None:
    """`ColdStart`, once per container: Powertools' own decorator would also warn of every batch without metrics of its
    own, and count no start that ends in an error.
    """
    with single_metric(name="ColdStart", unit=MetricUnit.Count, value=1, namespace=NAMESPACE) as metric:
        metric.add_dimension(name="function_name", value=function_name)
        metric.add_dimension(name="service", value=SERVICE)


def report_batch(report: BatchReport, *, now_ms: int) -> None:
    """One line of log, and one metrics blob per table, for a batch that was archived."""
    logger.info(
        "batch archived",
        received=report.received,
        archived=report.archived,
        repeated=report.repeated,
        quarantined=len(report.quarantined),
        segments=[segment.name for segment in report.segments],
        segments_written=report.segments_written,
        bytes_written=report.bytes_written,
    )
    for record in report.quarantined:
        logger.warning("record quarantined", object=record.name, reason=record.reason)
    for table in sorted(_tables(report)):
        _report_table(report, table, now_ms)


def report_failure(error: Exception, *, received: int, tables: Iterable[str]) -> None:
    """One line of log and `BatchesFailed`, for a batch that goes back to Lambda."""
    logger.error("batch failed", received=received, error=str(error), hint=getattr(error, "hint", ""))
    for table in sorted(set(tables)) or ["unknown"]:
        with_table(table, {"BatchesFailed": (MetricUnit.Count, 1)})


def report_sealing(sealing: "Sealing", *, table: str) -> None:
    """One line of log, with the checkpoint that a reviewer may pin, and one metrics blob, for a sealed trail."""
    logger.info(
        "trail sealed",
        table=table,
        seals=sealing.seals,
        entries=sealing.entries,
        checkpoint=sealing.head.compose().decode() if sealing.head else None,
    )
    for refused in sealing.refused:
        logger.error("evidence refused", table=table, object=refused.name, reason=refused.why)
    with_table(
        table,
        {
            "SealAgeSeconds": (MetricUnit.Seconds, 0),
            "SegmentsSealed": (MetricUnit.Count, sealing.entries.get("segment", 0)),
            "EvidenceRefused": (MetricUnit.Count, len(sealing.refused)),
        },
    )


def report_seal_failure(error: Exception, *, table: str, age_s: float | None) -> None:
    """One line of log and, if it is known, the age of the newest seal, for a trail that could not be sealed."""
    logger.error("sealing failed", table=table, error=str(error), hint=getattr(error, "hint", ""))
    if age_s is not None:
        with_table(table, {"SealAgeSeconds": (MetricUnit.Seconds, age_s)})


def _tables(report: BatchReport) -> set[str]:
    named = {segment.source.trail.table_name for segment in report.segments}
    return named | {_table_of(record.trail) for record in report.quarantined}


def _table_of(trail: object) -> str:
    return getattr(trail, "table_name", "unknown")


def _report_table(report: BatchReport, table: str, now_ms: int) -> None:
    segments = [segment for segment in report.segments if segment.source.trail.table_name == table]
    quarantined = Counter(_table_of(record.trail) for record in report.quarantined)[table]
    changed_at = [row.changed_at_ms for segment in segments for row in segment.rows]
    values: dict[str, tuple[MetricUnit, float]] = {
        "RecordsReceived": (MetricUnit.Count, len(changed_at) + quarantined),
        "RecordsArchived": (MetricUnit.Count, len(changed_at)),
        "RecordsQuarantined": (MetricUnit.Count, quarantined),
        "SegmentsWritten": (MetricUnit.Count, len(segments)),
    }
    if len(_tables(report)) == 1:
        values["BytesWritten"] = MetricUnit.Bytes, report.bytes_written
    if changed_at:
        values["ArchiveLagSeconds"] = MetricUnit.Seconds, (now_ms - max(changed_at)) / _MS_PER_S
        values["OldestRecordAgeSeconds"] = MetricUnit.Seconds, (now_ms - min(changed_at)) / _MS_PER_S
    with_table(table, values)


def with_table(table: str, values: dict[str, tuple[MetricUnit, float]]) -> None:
    """Emits one EMF blob with the dimensions `service` and `table`."""
    metrics = EphemeralMetrics(namespace=NAMESPACE, service=SERVICE)
    metrics.add_dimension(name="table", value=table)
    for name, (unit, value) in values.items():
        metrics.add_metric(name=name, unit=unit, value=value)
    metrics.flush_metrics()
