"""What Lambda writes of a batch that it gave up on: where it stood, why it failed and, in S3, the batch itself.

The document is that of *Retain discarded records for a DynamoDB event source in Lambda* (Lambda Developer Guide). "The
S3 destination contains the whole invocation record", the event as text in `payload`; SQS and SNS get only the shard and
the range. Laws: a payload is never refused for what stands beside it, since it is the data; a range that has to serve
in its place is refused unless it can be read again.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Self

from archiver.format.layout import StreamSource

_MEMBERS: Final = frozenset({"requestContext", "DDBStreamBatchInfo"})
# `SequenceNumber`: "Minimum length of 21. Maximum length of 40" (API reference, GetShardIterator).
_SEQUENCE_NUMBER: Final = re.compile(r"[0-9]{21,40}")


@dataclass(frozen=True, slots=True)
class FailedBatch:
    """A batch that Lambda gave up on. First and last sequence number as Lambda wrote them, both inside the batch.

    `condition` is Lambda's reason, such as `RetryAttemptsExhausted`; `records` their number, None if it is not told;
    `payload` the text of the whole event, None where only the stream still has it.
    """

    stream_arn: str
    shard_id: str
    first_sequence_number: str
    last_sequence_number: str
    condition: str
    records: int | None = None
    payload: str | None = None

    def __post_init__(self) -> None:
        StreamSource.parse(self.stream_arn)
        if self.payload is not None:
            return
        if not self.shard_id:
            raise ValueError("it has no payload, and names no shard to read the records from again")
        for number in (self.first_sequence_number, self.last_sequence_number):
            if _SEQUENCE_NUMBER.fullmatch(number) is None:
                raise ValueError(f"it has no payload, and {number!r} is not a sequence number of 21 to 40 digits")
        if int(self.first_sequence_number) > int(self.last_sequence_number):
            raise ValueError(f"it has no payload, and its range {self.range_text} runs backwards")

    @property
    def source(self) -> StreamSource:
        """The stream that the batch is of."""
        return StreamSource.parse(self.stream_arn)

    @property
    def range_text(self) -> str:
        """The range as people read it: `<first> to <last>`."""
        return f"{self.first_sequence_number} to {self.last_sequence_number}"

    @classmethod
    def parse(cls, document: Mapping[str, Any]) -> Self:
        """From a parsed on-failure record. Raises ValueError, naming the reason, for what is none."""
        if not is_failed_batch(document):
            raise ValueError("it is not an on-failure record of a DynamoDB stream")
        context, batch = document["requestContext"], document["DDBStreamBatchInfo"]
        if not isinstance(context, Mapping) or not isinstance(batch, Mapping):
            raise ValueError("requestContext or DDBStreamBatchInfo is not an object")
        records = batch.get("batchSize")
        return cls(
            stream_arn=_text(batch, "streamArn"),
            shard_id=_text(batch, "shardId"),
            first_sequence_number=_text(batch, "startSequenceNumber"),
            last_sequence_number=_text(batch, "endSequenceNumber"),
            condition=_text(context, "condition"),
            records=records if type(records) is int and records > 0 else None,
            payload=payload_of(document),
        )


def is_failed_batch(document: object) -> bool:
    """Whether a parsed document is meant as an on-failure record of a DynamoDB stream."""
    return isinstance(document, Mapping) and document.keys() >= _MEMBERS


def payload_of(document: Mapping[str, Any]) -> str | None:
    """The text of the event in an on-failure record, None if it has none. Raises ValueError for what is no text."""
    if "payload" not in document:
        return None
    payload = document["payload"]
    if type(payload) is not str:
        raise ValueError("its payload is not one text")
    return payload


def _text(members: Mapping[str, Any], name: str) -> str:
    """A member that is a text, empty if it is missing: `FailedBatch` decides what may be."""
    value = members.get(name, "")
    if type(value) is not str:
        raise ValueError(f"{name} is {value!r}, not a text")
    return value
