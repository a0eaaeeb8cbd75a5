"""An object of an on-failure destination is read whichever way it came there; what is none is said to be none."""

import gzip
import json

import pytest

from archiver.failed_batches import NotReplayable, failed_batches
from archiver.format.failed_batch import FailedBatch
from tests.archiving.batches import arn_of, record
from tests.archiving.failures import on_failure, sns_message, sqs_message

ARN = arn_of("orders")
WITH = on_failure([record(1), record(2)], ARN)
WITHOUT = [on_failure([record(number)], ARN, has_payload=False) for number in (3, 4, 5)]
BATCHES = [FailedBatch.parse(each) for each in (WITH, *WITHOUT)]


def lines(*documents: object) -> bytes:
    return b"".join(json.dumps(document).encode() + b"\n" for document in documents)


def wrapped(document: object, times: int) -> object:
    for _ in range(times):
        document = {"Body": json.dumps(document)}
    return document


FORMS = {
    "one record, as Lambda puts it": (lines(WITH), BATCHES[:1]),
    "over many lines": (json.dumps(WITH, indent=2).encode(), BATCHES[:1]),
    "records, one a line": (lines(WITH, *WITHOUT), BATCHES),
    "records in an array": (lines([WITH, *WITHOUT]), BATCHES),
    "gzip": (gzip.compress(lines(WITH)), BATCHES[:1]),
    "what aws sqs receive-message prints": (
        json.dumps({"Messages": [sqs_message(each) for each in WITHOUT]}, indent=4).encode(),
        BATCHES[1:],
    ),
    "several of its answers, one a line": (
        lines({"Messages": [sqs_message(WITHOUT[0])]}, {"Messages": [sqs_message(each) for each in WITHOUT[1:]]}),
        BATCHES[1:],
    ),
    "messages of SQS, one a line": (lines(*map(sqs_message, WITHOUT)), BATCHES[1:]),
    "messages of SNS, one a line": (lines(*map(sns_message, WITHOUT)), BATCHES[1:]),
    "messages of SNS in messages of SQS": (
        lines({"Messages": [sqs_message(sns_message(each)) for each in WITHOUT]}),
        BATCHES[1:],
    ),
    "bodies alone, one a line": (lines(*WITHOUT), BATCHES[1:]),
}


@pytest.mark.parametrize(("content", "batches"), FORMS.values(), ids=FORMS)
def test_every_form_gives_the_same_batches(content, batches):
    """How a message was kept is the business of whoever kept it."""
    assert [found for _, found in failed_batches(content, "object")] == batches


NONE = {
    "not JSON": (b"oops", "object line 1 is not JSON"),
    "empty": (b"", "object is empty"),
    "blank": (b"\n \n", "object is empty"),
    "an answer of SQS without messages": (lines({"Messages": []}), "object is empty"),
    "cut short": (lines(WITH)[:-20], "object line 1 is not JSON"),
    "gzip cut short": (gzip.compress(lines(WITH))[:-9], "object cannot be read"),
    "not UTF-8": (b'{"a": "\xff"}', "object line 1 is not UTF-8"),
    "a number": (b"7", "no on-failure record"),
    "another object": (b'{"a": 1}', "no on-failure record"),
    "a recorded event": (lines({"Records": [record(1)]}), "no on-failure record"),
    "a message with something else in it": (lines(sqs_message({"a": 1})), "no on-failure record"),
    "a message with no JSON in it": (lines({"Body": "hello"}), "the message of object line 1 is not JSON"),
    "a record whose range is nonsense": (
        lines(WITHOUT[0]).replace(b'"endSequenceNumber": "4', b'"endSequenceNumber": "x'),
        "is not a sequence number",
    ),
    "two payloads": (lines(WITH).rstrip()[:-1] + b', "payload": "{}"}', "names a member twice"),
    "two ends": (
        lines(WITHOUT[0]).replace(b'"batchSize"', b'"endSequenceNumber": "' + b"9" * 25 + b'", "batchSize"'),
        "names a member twice",
    ),
    "lists in lists": (b"[" * 500 + b"]" * 500, "no on-failure record"),
    "messages in messages": (lines(wrapped(WITHOUT[0], 12)), "no on-failure record"),
}


@pytest.mark.parametrize(("content", "why"), NONE.values(), ids=NONE)
def test_what_is_no_on_failure_record_is_said_to_be_none(content, why):
    """It may be somebody else's, or half of ours: to pass over it in silence would be to lose the half of ours."""
    ((_, found),) = failed_batches(content, "object")
    assert isinstance(found, NotReplayable)
    assert why in str(found)
    assert "object" in str(found)
    assert found.hint


@pytest.mark.parametrize("bad", [lines({"a": 1}), lines(sqs_message("x"))], ids=["an object", "a message"])
def test_a_bad_document_hides_none_after_it(bad):
    """A file of a thousand messages must not be lost for one of them."""
    found = [found for _, found in failed_batches(lines(WITHOUT[0]) + bad + lines(WITHOUT[1]), "object")]
    assert [type(each) for each in found] == [FailedBatch, NotReplayable, FailedBatch]


def test_a_broken_line_ends_the_object_and_says_so():
    """Where a line breaks off nobody knows what the next ones are worth; what stood before it is taken."""
    first, (place, broken) = failed_batches(lines(WITHOUT[0]) + b"oops\n" + lines(WITHOUT[1]), "object")
    assert first[1] == BATCHES[1]
    assert "line 2 is not JSON" in str(broken)
    assert "what is after it was not read" in str(broken)
    assert place.line == 1


def test_a_recorded_event_is_sent_where_it_is_taken():
    """Two commands that look alike: the error knows the other one."""
    ((_, found),) = failed_batches(lines({"Records": []}), "object")
    assert "ddbtrail archive" in found.hint
