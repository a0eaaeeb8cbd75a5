"""Lambda entry points: wiring and response only. The only clock of the archiver is read here.

Answering at all means success: "A handler that returns None is a success" (*Configuring partial batch response with
DynamoDB and Lambda*, Lambda Developer Guide), so every failure must raise, and does.
"""

import os
import time
from functools import cache
from typing import Any

from archiver.config import Config
from archiver.store import open_store
from archiver.stream import records_of_event
from archiver.streams import Streams
from archiver.tables import table_describer
from archiver.telemetry import logger, report_batch, report_cold_start, report_failure, traced
from archiver.writer import Writer


@cache
def _writer(config_key: tuple[tuple[str, str], ...]) -> Writer:
    """One writer per container: clients are dear, and what is known of a stream is learnt once."""
    config = Config.from_environment(dict(config_key))
    return Writer(
        store=open_store(config.archive_url, endpoint_url=config.endpoint_url),
        streams=Streams(
            key_schema=config.key_schema,
            describe_table=table_describer(endpoint_url=None) if config.describes_tables else None,
            warn=logger.warning,
        ),
    )


@logger.inject_lambda_context
@traced
def archive(event: dict[str, Any], context: Any) -> dict[str, int]:
    """Archives one batch of a DynamoDB stream, all or nothing, and answers with counts.

    Raises NotAnEvent for what is no event, NotConfigured for a wrong environment, StoreUnavailable or StoreRefused when
    the archive does not take an object; Lambda then sends the batch again.
    """
    report_cold_start(context.function_name)
    now_ms = time.time_ns() // 1_000_000
    records: list[Any] = []
    try:
        records = records_of_event(event)
        writer = _writer(_environment())
        report = writer.archive(records, now_ms=now_ms)
    except Exception as error:
        report_failure(error, received=len(records), tables=_tables(records))
        raise
    report_batch(report, now_ms=now_ms)
    return {"received": report.received, "archived": report.archived, "quarantined": len(report.quarantined)}


@logger.inject_lambda_context
@traced
def seal(_event: dict[str, Any], context: Any) -> dict[str, int]:
    """Seals what is new in the one trail of this function, and answers with counts. Called by a schedule.

    Raises NotConfigured, SealRefused, KeyRefused, StoreUnavailable or StoreRefused, and EvidenceRefused, after all the
    rest was sealed, for evidence that failed its check.
    """
    # Only here: no start of the function that archives has to pay for cryptography.
    from archiver.seal_handler import seal_trail  # noqa: PLC0415

    report_cold_start(context.function_name)
    return seal_trail(_environment(), now_ms=time.time_ns() // 1_000_000)


def _environment() -> tuple[tuple[str, str], ...]:
    """What this function was told, in an order of its own: what is kept in the container is kept under it."""
    return tuple(sorted(item for item in os.environ.items() if item[0].startswith("DDBTRAIL_")))


def _tables(records: list[Any]) -> set[str]:
    arns = {record.get("eventSourceARN", "") for record in records if isinstance(record, dict)}
    return {arn.split("/")[1] for arn in arns if isinstance(arn, str) and arn.count("/") > 1}
