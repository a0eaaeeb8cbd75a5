"""The batches in one object of an on-failure destination, whichever way they came there.

Invariants: whatever is no on-failure record comes out as such, with its place and a reason, in the order of everything
else; of an object that breaks off, what stands before the break comes out first. No I/O.
"""

import io
from collections.abc import Iterator
from dataclasses import replace
from typing import Any, Final

from archiver.documents import Location, UnreadableRecording, iter_documents, parse_json
from archiver.errors import ArchiverError
from archiver.format.failed_batch import FailedBatch, is_failed_batch
from archiver.stream import RepeatedMembers

# A list of messages of SQS, each with one of SNS, each with the record: three. The rest is for what people put around.
_DEEPEST: Final = 8


class NotReplayable(ArchiverError):  # noqa: N818
    """A document is no on-failure record, or one that nothing can be made of."""


def failed_batches(content: bytes, address: str) -> Iterator[tuple[Location, FailedBatch | NotReplayable]]:
    """What an object says, in order: the batches, and whatever is none, each with its place.

    Takes an on-failure record as Lambda writes it; messages of SQS and SNS that hold one, as their APIs give them; and
    arrays and JSON Lines of all these, plain, gzip or zstd.
    """
    here = Location(address, 0)
    is_empty = True
    try:
        for place, document in iter_documents(lambda: io.BytesIO(content), address):
            here = place
            for found in _batches(place, document, _DEEPEST):
                is_empty = False
                yield found
    except UnreadableRecording as error:
        after = "; what is after it was not read" if here.line else ""
        hint = "fetch it again; messages are read one a line: jq -c . makes it so"
        yield here, NotReplayable(f"{error}{after}", hint=hint)
    else:
        if is_empty:
            yield here, NotReplayable(f"{address} is empty", hint="fetch it again")


def _batches(here: Location, document: Any, deepest: int) -> Iterator[tuple[Location, FailedBatch | NotReplayable]]:
    if isinstance(document, list) and deepest:
        for number, element in enumerate(document, start=1):
            yield from _batches(replace(here, element=number), element, deepest - 1)
    elif is_failed_batch(document):
        yield here, _batch(here, document)
    elif isinstance(document, dict) and isinstance(document.get("Messages"), list):  # aws sqs receive-message
        yield from _batches(here, document["Messages"], deepest)
    elif isinstance(text := _message(document), str) and deepest:
        try:
            inner = parse_json(text, f"the message of {here}")
        except UnreadableRecording as error:
            yield here, NotReplayable(str(error), hint="it is no on-failure record, or was cut short")
        else:
            yield from _batches(here, inner, deepest - 1)
    else:
        hint = "ddbtrail archive takes recorded events" if _is_event(document) else "it may be in another's folder"
        yield here, NotReplayable(f"{here} is no on-failure record of a DynamoDB stream", hint=hint)


def _batch(here: Location, document: Any) -> FailedBatch | NotReplayable:
    if any(isinstance(part, RepeatedMembers) for part in (document, document["DDBStreamBatchInfo"])):
        return NotReplayable(f"{here} names a member twice", hint="nobody knows which was meant: fetch it again")
    try:
        return FailedBatch.parse(document)
    except ValueError as error:
        return NotReplayable(f"{here} cannot be replayed: {error}", hint="fetch it again; it is as it was received")


def _message(document: Any) -> object:
    """The text inside a message: `Body` of SQS, `Message` of SNS."""
    return document.get("Body", document.get("Message")) if isinstance(document, dict) else None


def _is_event(document: Any) -> bool:
    return isinstance(document, dict) and isinstance(document.get("Records"), list)
