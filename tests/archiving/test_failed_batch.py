"""Lambda's on-failure record is read for what it says, and refused where it says nothing that could be acted on."""

import json
from typing import Any

import pytest

from archiver.format.failed_batch import FailedBatch, is_failed_batch, payload_of
from tests.archiving.batches import arn_of
from tests.archiving.test_recorded import failure

ARN = arn_of("orders")
FIRST, LAST = "800000000003126276362", "800000000003126276399"
SHARD = "shardId-00000001573689847184-864758bb"

# The document of *Retain discarded records for a DynamoDB event source in Lambda*, as the guide prints it.
GUIDE = json.loads(
    '{"requestContext":{"requestId":"316aa6d0-8154-xmpl-9af7-85d5f4a6bc81","functionArn":"arn:aws:lambda:us-east-2:12345'
    '6789012:function:myfunction","condition":"RetryAttemptsExhausted","approximateInvokeCount":1},"responseContext":'
    '{"statusCode":200,"executedVersion":"$LATEST","functionError":"Unhandled"},"version":"1.0","timestamp":'
    '"2019-11-14T00:13:49.717Z","DDBStreamBatchInfo":{"shardId":"shardId-00000001573689847184-864758bb",'
    '"startSequenceNumber":"800000000003126276362","endSequenceNumber":"800000000003126276362",'
    '"approximateArrivalOfFirstRecord":"2019-11-14T00:13:19Z","approximateArrivalOfLastRecord":"2019-11-14T00:13:19Z",'
    '"batchSize":1,"streamArn":"arn:aws:dynamodb:us-east-2:123456789012:table/mytable/stream/2019-11-14T00:04:06.388"}}'
)


def batch(**fields: Any) -> FailedBatch:
    known = {
        "stream_arn": ARN,
        "shard_id": SHARD,
        "first_sequence_number": FIRST,
        "last_sequence_number": LAST,
        "condition": "RetryAttemptsExhausted",
        "records": 2,
    }
    return FailedBatch(**(known | fields))


def document(payload: object = None, context: object = None, **info: object) -> dict[str, Any]:
    """An on-failure record with members of its batch replaced; None takes a member away."""
    made = failure(payload)
    made["DDBStreamBatchInfo"] |= {"streamArn": ARN} | info
    made["DDBStreamBatchInfo"] = {
        name: value for name, value in made["DDBStreamBatchInfo"].items() if value is not None
    }
    return made | ({} if context is None else {"requestContext": context})


READ = {
    "from S3, with the event": (document('{"Records":[]}'), batch(payload='{"Records":[]}')),
    "from SQS or SNS, without it": (document(), batch()),
    "an empty payload is a payload": (document(""), batch(payload="")),
    "one record": (document(endSequenceNumber=FIRST), batch(last_sequence_number=FIRST)),
    "numbers are compared as numbers": (
        document(startSequenceNumber="9" * 21, endSequenceNumber="1" + "0" * 21),
        batch(first_sequence_number="9" * 21, last_sequence_number="1" + "0" * 21),
    ),
    "40 digits": (document(endSequenceNumber="9" * 40), batch(last_sequence_number="9" * 40)),
    "too old": (document(context={"condition": "RecordAgeExceeded"}), batch(condition="RecordAgeExceeded")),
    "no reason told": (document(context={}), batch(condition="")),
    "no number of records": (document(batchSize=None), batch(records=None)),
    "a number of records that is none": (document(batchSize="2"), batch(records=None)),
    "a payload beside a range of nonsense": (
        document("{}", startSequenceNumber="", endSequenceNumber="x", shardId=None),
        batch(payload="{}", first_sequence_number="", last_sequence_number="x", shard_id=""),
    ),
    "a payload beside a range that runs backwards": (
        document("{}", startSequenceNumber=LAST, endSequenceNumber=FIRST),
        batch(payload="{}", first_sequence_number=LAST, last_sequence_number=FIRST),
    ),
}


@pytest.mark.parametrize(("written", "read"), READ.values(), ids=READ)
def test_an_on_failure_record_says_where_the_batch_was_and_what_it_held(written, read):
    """Whoever replays it and whoever counts what is held back read the same."""
    assert is_failed_batch(written)
    assert FailedBatch.parse(written) == read
    assert payload_of(written) == read.payload


def test_the_guides_own_record_is_understood():
    """The form is AWS's, not ours."""
    read = FailedBatch.parse(GUIDE)
    assert (read.source.trail.table_name, read.source.stream_label) == ("mytable", "2019-11-14T00:04:06.388")
    assert (read.shard_id, read.range_text, read.records) == (SHARD, f"{FIRST} to {FIRST}", 1)
    assert read.payload is None


REFUSED = {
    "a text": ("{}", "not an on-failure record"),
    "nothing": ({}, "not an on-failure record"),
    "an event": ({"Records": []}, "not an on-failure record"),
    "of an asynchronous invocation": ({"requestContext": {}, "requestPayload": {}}, "not an on-failure record"),
    "of a Kinesis stream": ({"requestContext": {}, "KinesisBatchInfo": {}}, "not an on-failure record"),
    "a batch that is a list": (document() | {"DDBStreamBatchInfo": []}, "not an object"),
    "a context that is a text": (document(context="x"), "not an object"),
    "no stream": (document(streamArn=None), "not the ARN of a DynamoDB stream"),
    "no stream beside a payload": (document("{}", streamArn=None), "not the ARN of a DynamoDB stream"),
    "a stream of Kinesis": (document(streamArn="arn:aws:kinesis:eu-west-1:1:stream/x"), "not the ARN"),
    "a shard that is a number": (document(shardId=7), "shardId is 7, not a text"),
    "a condition that is a list": (document(context={"condition": []}), "condition is"),
    "a payload that is no text": (document({"Records": []}), "payload is not one text"),
    "a payload of null": (document() | {"payload": None}, "payload is not one text"),
    "no shard": (document(shardId=None), "names no shard"),
    "no first number": (document(startSequenceNumber=None), "'' is not a sequence number"),
    "20 digits": (document(startSequenceNumber="1" * 20), "21 to 40 digits"),
    "41 digits": (document(endSequenceNumber="1" * 41), "21 to 40 digits"),
    "digits of another script": (document(startSequenceNumber="٤" * 25), "21 to 40 digits"),
    "a line more": (document(startSequenceNumber=FIRST + "\n"), "21 to 40 digits"),
    "a range that runs backwards": (document(startSequenceNumber=LAST, endSequenceNumber=FIRST), "runs backwards"),
}


@pytest.mark.parametrize(("written", "why"), REFUSED.values(), ids=REFUSED)
def test_nonsense_is_refused_with_its_reason(written, why):
    """A range that cannot be read again, or of no stream, would be "nothing lost" for ever."""
    with pytest.raises(ValueError, match=why):
        FailedBatch.parse(written)
