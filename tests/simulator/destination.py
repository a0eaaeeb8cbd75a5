"""The document that Lambda writes to an S3 on-failure destination."""

import json
from typing import Any

from tests.simulator.mapping import Batch
from tests.simulator.table import ACCOUNT, REGION

_ANY_TIME = "2027-01-01T00:00:00Z"  # no reader may lean on it


def failure_document(condition: str, batch: Batch, shard_id: str, arn: str, request_id: str) -> dict[str, Any]:
    """An S3 destination gets the whole invocation record: `payload` is the event as text, to be decoded twice
    (Lambda Developer Guide, *Retain discarded records for a DynamoDB event source in Lambda*)."""
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
        "timestamp": _ANY_TIME,
        "DDBStreamBatchInfo": {
            "shardId": shard_id,
            "startSequenceNumber": str(parts[0].get("SequenceNumber", "")),
            "endSequenceNumber": str(parts[-1].get("SequenceNumber", "")),
            "approximateArrivalOfFirstRecord": _ANY_TIME,
            "approximateArrivalOfLastRecord": _ANY_TIME,
            "batchSize": len(batch.records),
            "streamArn": arn,
        },
        "payload": json.dumps({"Records": [emitted.fresh() for emitted in batch.records]}),
    }
