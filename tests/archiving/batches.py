"""Delivered records and batches for tests of the write path: ordinary ones, and one of every kind of nonsense."""

import copy
from collections.abc import Callable
from typing import Any

from archiver.format.record import ChangeRecord
from archiver.stream import understand
from tests.archiving.strategies import STREAM_ARN
from tests.delivery import delivered

CHANGED_AT_S = 1_795_392_000  # 2026-11-23T00:00:00Z
DAY_S, HOUR_S = 86_400, 3_600


def record(
    number: int, *, changed_at_s: float = CHANGED_AT_S, arn: str = STREAM_ARN, item: str = "a"
) -> dict[str, Any]:
    """A MODIFY of one of the items of a table with a single key, as Lambda delivers it."""
    return delivered(
        "MODIFY",
        {"id": {"S": item}},
        {"n": {"N": str(number - 1)}},
        {"n": {"N": str(number)}},
        sequence_number=4 * 10**24 + number,
        changed_at_s=changed_at_s,
        arn=arn,
        event_id=f"{number:032x}",
        size_bytes=54,
    )


def arn_of(table: str, label: str = "2026-01-01T00:00:00.000", account: str = "111122223333") -> str:
    return f"arn:aws:dynamodb:eu-west-1:{account}:table/{table}/stream/{label}"


def understood(records: list[Any]) -> list[ChangeRecord]:
    found, quarantined = understand(records, lambda _source, _record: None)
    assert not quarantined, quarantined
    return found


def _deep(levels: int) -> dict[str, Any]:
    value: dict[str, Any] = {"S": "bottom"}
    for _ in range(levels):
        value = {"L": [value]}
    return value


def _spoilt(*path: str, **change: Any) -> dict[str, Any]:
    """A good record with one member, at the end of `path`, set to `value` or deleted."""
    spoilt = copy.deepcopy(record(7))
    *parents, last = path
    place = spoilt
    for parent in parents:
        place = place[parent]
    if "value" in change:
        place[last] = change["value"]
    else:
        del place[last]
    return spoilt


_TIME = ("dynamodb", "ApproximateCreationDateTime")
_SEQUENCE = ("dynamodb", "SequenceNumber")
_IMAGE = ("dynamodb", "NewImage")

# Every line of the first row group of the project's table of bad input, and its neighbours.
BAD_RECORDS: dict[str, Callable[[], Any]] = {
    "no Keys": lambda: _spoilt("dynamodb", "Keys"),
    "Keys null": lambda: _spoilt("dynamodb", "Keys", value=None),
    "Keys empty": lambda: _spoilt("dynamodb", "Keys", value={}),
    "three Keys": lambda: _spoilt("dynamodb", "Keys", value={name: {"S": "x"} for name in "abc"}),
    "Keys of a truth value": lambda: _spoilt("dynamodb", "Keys", value={"id": {"BOOL": True}}),
    "no creation time": lambda: _spoilt(*_TIME),
    "creation time null": lambda: _spoilt(*_TIME, value=None),
    "creation time a text": lambda: _spoilt(*_TIME, value="1795392000"),
    "creation time a truth value": lambda: _spoilt(*_TIME, value=True),
    "creation time zero": lambda: _spoilt(*_TIME, value=0),
    "creation time before 2012": lambda: _spoilt(*_TIME, value=1_325_375_999),
    "creation time in 2100": lambda: _spoilt(*_TIME, value=4_102_444_800),
    "creation time in milliseconds": lambda: _spoilt(*_TIME, value=1_795_392_000_000),
    "creation time not a number": lambda: _spoilt(*_TIME, value=float("nan")),
    "creation time infinite": lambda: _spoilt(*_TIME, value=float("inf")),
    "unknown type tag": lambda: _spoilt(*_IMAGE, "odd", value={"X": "1"}),
    "unknown type tag below": lambda: _spoilt(*_IMAGE, "odd", value={"L": [{"M": {"a": {"SN": "1"}}}]}),
    "two tags in one value": lambda: _spoilt(*_IMAGE, "odd", value={"S": "1", "N": "1"}),
    "no tag in a value": lambda: _spoilt(*_IMAGE, "odd", value={}),
    "lone surrogate in a value": lambda: _spoilt(*_IMAGE, "odd", value={"S": "\ud800"}),
    "lone surrogate in a name": lambda: _spoilt(*_IMAGE, "\udc00", value={"S": "x"}),
    "lone surrogate in the key": lambda: _spoilt("dynamodb", "Keys", value={"id": {"S": "\ud800"}}),
    "lone surrogate in the id": lambda: _spoilt("eventID", value="\ud800"),
    "lone surrogate in the region": lambda: _spoilt("awsRegion", value="\ud800"),
    "lone surrogate in an unknown field": lambda: _spoilt("new", value={"a": ["\ud800"]}),
    "depth 65": lambda: _spoilt(*_IMAGE, "odd", value=_deep(64)),
    "depth 300": lambda: _spoilt(*_IMAGE, "odd", value=_deep(300)),
    "unknown field of depth 65": lambda: _spoilt("new", value=_deep(64)),
    "sequence number missing": lambda: _spoilt(*_SEQUENCE),
    "sequence number of 20 digits": lambda: _spoilt(*_SEQUENCE, value="1" * 20),
    "sequence number of 41 digits": lambda: _spoilt(*_SEQUENCE, value="1" * 41),
    "sequence number with a letter": lambda: _spoilt(*_SEQUENCE, value="1" * 20 + "x"),
    "sequence number in other digits": lambda: _spoilt(*_SEQUENCE, value="٤" * 25),
    "sequence number with a newline": lambda: _spoilt(*_SEQUENCE, value="1" * 25 + "\n"),
    "sequence number a number": lambda: _spoilt(*_SEQUENCE, value=10**24),
    "another service": lambda: _spoilt("eventSource", value="aws:kinesis"),
    "no service": lambda: _spoilt("eventSource"),
    "no ARN": lambda: _spoilt("eventSourceARN"),
    "ARN of a queue": lambda: _spoilt("eventSourceARN", value="arn:aws:sqs:eu-west-1:111122223333:orders"),
    "ARN with a path": lambda: _spoilt("eventSourceARN", value=arn_of("../../orders")),
    "no eventID": lambda: _spoilt("eventID"),
    "eventID empty": lambda: _spoilt("eventID", value=""),
    "eventID a number": lambda: _spoilt("eventID", value=7),
    "eventName unknown": lambda: _spoilt("eventName", value="UPSERT"),
    "eventName a list": lambda: _spoilt("eventName", value=["MODIFY"]),
    "no dynamodb": lambda: _spoilt("dynamodb"),
    "dynamodb a list": lambda: _spoilt("dynamodb", value=[]),
    "image null": lambda: _spoilt(*_IMAGE, value=None),
    "image a text": lambda: _spoilt(*_IMAGE, value="x"),
    "an integer beyond 2**53": lambda: _spoilt("dynamodb", "SizeBytes", value=2**53 + 1),
    "an infinite number in an unknown field": lambda: _spoilt("new", value=[float("-inf")]),
    "a text": lambda: "text",
    "null": lambda: None,
    "a list": list,
    "an empty object": dict,
    "a record of S3": lambda: {"eventSource": "aws:s3", "s3": {"bucket": {"name": "b"}}},
}
