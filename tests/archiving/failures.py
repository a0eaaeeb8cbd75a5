"""On-failure records for tests: of S3, with the batch, and of SQS and SNS, with no more than its place."""

import json
from collections.abc import Sequence
from typing import Any

SHARD = "shardId-00000001573689847184-864758bb"


def on_failure(
    records: Sequence[Any],
    arn: str,
    *,
    has_payload: bool = True,
    shard_id: str = SHARD,
    condition: str = "RetryAttemptsExhausted",
) -> dict[str, Any]:
    """What Lambda writes of a batch (*Retain discarded records for a DynamoDB event source in Lambda*)."""
    numbers = [record["dynamodb"]["SequenceNumber"] for record in records]
    made = {
        "requestContext": {
            "requestId": "316aa6d0-8154-xmpl-9af7-85d5f4a6bc81",
            "functionArn": "arn:aws:lambda:eu-west-1:111122223333:function:ddbtrail",
            "condition": condition,
            "approximateInvokeCount": 1,
        },
        "responseContext": {"statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled"},
        "version": "1.0",
        "timestamp": "2026-11-24T00:13:49.717Z",
        "DDBStreamBatchInfo": {
            "shardId": shard_id,
            "startSequenceNumber": numbers[0],
            "endSequenceNumber": numbers[-1],
            "approximateArrivalOfFirstRecord": "2026-11-23T00:00:00Z",
            "approximateArrivalOfLastRecord": "2026-11-23T00:00:00Z",
            "batchSize": len(records),
            "streamArn": arn,
        },
    }
    return made | ({"payload": json.dumps({"Records": list(records)})} if has_payload else {})


def sqs_message(body: object) -> dict[str, Any]:
    """One message of `aws sqs receive-message`."""
    return {"MessageId": "5fea7756", "ReceiptHandle": "AQEB", "MD5OfBody": "x", "Body": json.dumps(body)}


def sns_message(message: object) -> dict[str, Any]:
    """A notification as SNS delivers it (*Amazon SNS message formats*)."""
    return {
        "Type": "Notification",
        "MessageId": "22b80b92",
        "TopicArn": "arn:aws:sns:eu-west-1:111122223333:failed",
        "Message": json.dumps(message),
        "Timestamp": "2026-11-24T00:13:49.717Z",
    }
