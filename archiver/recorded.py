"""Recorded Lambda events, read from a file or a pipe: the way in for what was kept of a trigger's deliveries.

Takes JSON documents (an event, or an array of events), and what Lambda leaves in an S3 on-failure destination.
Invariants: nothing of a record is lost or changed on the way, so a record that names a member twice comes out as
`RepeatedMembers`, for quarantine; whatever is no event is an error that names file and line, never a skipped line.
"""

import sys
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any, Final

from archiver.documents import ONE_A_LINE, Location, UnreadableRecording, iter_documents, parse_json
from archiver.errors import ArchiverError, NotAnEvent
from archiver.format.failed_batch import is_failed_batch, payload_of
from archiver.stream import RepeatedMembers, records_of_event

STDIN: Final = "-"


class PayloadMissing(NotAnEvent):
    """An on-failure record without the batch: SQS and SNS destinations keep only where it was."""


def iter_events(source: str | Path) -> Iterator[tuple[Location, dict[str, Any]]]:
    """The events of a file, or of stdin for `-`, in order, each with its location; `records_of_event` takes them.

    Raises UnreadableRecording for what is no JSON or cannot be read, NotAnEvent for JSON that is no event, and
    PayloadMissing for an on-failure record of SQS or SNS; each names file and line, after everything before it.
    """
    name = "standard input" if str(source) == STDIN else str(source)
    for location, document in iter_documents(lambda: _opened(source), name):
        for place, element in _elements(location, document):
            yield place, _event(place, element)


def merge(events: Iterable[tuple[Location, dict[str, Any]]], most_records: int) -> Iterator[tuple[Location, list[Any]]]:
    """Neighbouring events as one batch of up to `most_records` records, with the location of its first event.

    An event is never cut, so one that holds more is a batch by itself; `most_records` of 1 keeps every event apart.
    What was gathered before a broken event comes out before its error is raised.
    """
    first, gathered = None, list[Any]()
    try:
        for location, event in events:
            records = records_of_event(event)
            if first is not None and len(gathered) + len(records) > most_records:
                yield first, gathered
                first, gathered = None, []
            first = first or location
            gathered = gathered + records
    except ArchiverError:
        if first is not None:
            yield first, gathered
        raise
    if first is not None:
        yield first, gathered


def _opened(source: str | Path) -> IO[bytes]:
    return sys.stdin.buffer if str(source) == STDIN else Path(source).open("rb")


def _elements(location: Location, document: Any) -> Iterator[tuple[Location, Any]]:
    if isinstance(document, list):
        for number, element in enumerate(document, start=1):
            yield replace(location, element=number), element
    else:
        yield location, document


def _event(here: Location, document: Any) -> dict[str, Any]:
    return event_of(here, _payload(here, document) if is_failed_batch(document) else document)


def event_of(here: Location, event: Any) -> dict[str, Any]:
    """A parsed document as the event that it is. Raises NotAnEvent, naming its location, for what is none."""
    if isinstance(event, dict) and "dynamodb" in event and "Records" not in event:
        raise NotAnEvent(f"{here} is a single record, not an event", hint="put it into one: jq -c '{Records: [.]}'")
    try:
        records_of_event(event)
    except NotAnEvent as error:
        raise NotAnEvent(f"{here}: {error}", hint=ONE_A_LINE) from error
    if isinstance(event, RepeatedMembers):
        raise NotAnEvent(
            f"{here} names a member of the event twice: {_repeated(event)}",
            hint="one of the two would be lost: write them as two events",
        )
    return dict(event)


def _payload(here: Location, failure: dict[str, Any]) -> Any:
    """The event inside an S3 on-failure object: "the whole event as an escaped JSON string" (*Retain discarded records
    for a DynamoDB event source in Lambda*)."""
    try:
        payload = payload_of(failure)
    except ValueError as error:
        raise _two_payloads(here) from error
    if payload is not None:
        if isinstance(failure, RepeatedMembers):
            raise _two_payloads(here)
        return parse_json(payload, f"the payload of {here}")
    batch = failure["DDBStreamBatchInfo"]
    named = batch if isinstance(batch, dict) else {}
    raise PayloadMissing(
        f"{here} is an on-failure record without its payload: {named.get('batchSize', 'some')} records of "
        f"{named.get('shardId', 'a shard')}, {named.get('startSequenceNumber', '?')} to "
        f"{named.get('endSequenceNumber', '?')}",
        hint="only an S3 destination keeps the payload; for 24 hours the stream still holds the records: "
        f"ddbtrail replay --all --on-failure {here.file}",
    )


def _two_payloads(here: Location) -> UnreadableRecording:
    return UnreadableRecording(
        f"{here} is an on-failure record whose payload is not one text", hint="fetch the object from S3 again"
    )


def _repeated(members: RepeatedMembers) -> str:
    names = [name for name, _ in members.pairs]
    return ", ".join(sorted({name for name in names if names.count(name) > 1}))
