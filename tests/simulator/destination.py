"""The object that Lambda writes to an S3 on-failure destination: its key and its document.

Both as *Retain discarded records for a DynamoDB event source in Lambda* (Lambda Developer Guide) shows them.
"""

import json
from datetime import UTC, datetime
from typing import Any

from tests.simulator.mapping import Batch
from tests.simulator.table import ACCOUNT, REGION


def failure_key(mapping_id: str, shard_id: str, *, now_ms: int, object_id: str) -> str:
    """`aws/lambda/<ESM-UUID>/<shardID>/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-<Random UUID>`."""
    moment = datetime.fromtimestamp(now_ms // 1000, UTC)
    return f"aws/lambda/{mapping_id}/{shard_id}/{moment:%Y/%m/%d/%Y-%m-%dT%H.%M.%S}-{object_id}"


def failure_document(
    condition: str, batch: Batch, shard_id: str, arn: str, request_id: str, *, now_ms: int
) -> dict[str, Any]:
    """An S3 destination gets the whole invocation record: `payload` is the event as text, to be decoded twice."""
    parts = [emitted.record.get("dynamodb") or {} for emitted in batch.records]
    return {
        "requestContext": {
            "requestId": request_id,
            "functionArn": f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:ddbtrail",
            "condition": condition,
            "approximateInvokeCount": batch.invocations,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": _time(now_ms, "milliseconds"),
        "DDBStreamBatchInfo": {
            "shardId": shard_id,
            "startSequenceNumber": str(parts[0].get("SequenceNumber", "")),
            "endSequenceNumber": str(parts[-1].get("SequenceNumber", "")),
            "approximateArrivalOfFirstRecord": _time(batch.records[0].at_ms, "seconds"),
            "approximateArrivalOfLastRecord": _time(batch.records[-1].at_ms, "seconds"),
            "batchSize": len(batch.records),
            "streamArn": arn,
        },
        "payload": json.dumps({"Records": [emitted.fresh() for emitted in batch.records]}),
    }


def _time(at_ms: int, precision: str) -> str:
    return datetime.fromtimestamp(at_ms / 1000, UTC).isoformat(timespec=precision).replace("+00:00", "Z")
