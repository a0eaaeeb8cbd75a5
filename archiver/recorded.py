"""Recorded Lambda events, read from a file or a pipe: the way in for what was kept of a trigger's deliveries.

Takes one JSON document (an event, or an array of events) or JSON Lines of either; plain, gzip or zstd, told by the
first bytes; and what Lambda leaves in an S3 on-failure destination. Invariants: of JSON Lines never more than one line
is in memory; nothing of a record is lost or changed on the way, so a record that names a member twice comes out as
`RepeatedMembers`, for quarantine; whatever cannot be read is an error that names file and line, never a skipped line.
"""

import gzip
import io
import json
import sys
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any, Final

from archiver.errors import ArchiverError, NotAnEvent
from archiver.segment import open_zstd
from archiver.stream import RepeatedMembers, records_of_event

STDIN: Final = "-"

_GZIP: Final = b"\x1f\x8b"  # RFC 1952 §2.3.1
_ZSTD: Final = b"\x28\xb5\x2f\xfd"  # RFC 8878 §3.1.1
_LONGEST_MAGIC: Final = 4
# Lambda hands over at most 6 MB; a line may be an array of many events. Beyond this it is no recording.
_LARGEST_BYTES: Final = 512 * 1024 * 1024
_ON_FAILURE_MEMBERS: Final = frozenset({"requestContext", "DDBStreamBatchInfo"})
_ONE_A_LINE: Final = (
    'a recording holds Lambda events, {"Records": [...]}, one a line (jq -c makes it so) or in one array'
)


class UnreadableRecording(ArchiverError):  # noqa: N818
    """A file of recorded events is missing, damaged or not JSON at some line. What came before it stands."""


class PayloadMissing(NotAnEvent):
    """An on-failure record without the batch: SQS and SNS destinations keep only where it was."""


@dataclass(frozen=True, slots=True)
class Location:
    """Where an event stands: file, line (from 1) and, in an array, its place (from 1)."""

    file: str
    line: int
    element: int | None = None

    def __str__(self) -> str:
        place = f"{self.file} line {self.line}"
        return place if self.element is None else f"{place}, event {self.element}"


def iter_events(source: str | Path) -> Iterator[tuple[Location, dict[str, Any]]]:
    """The events of a file, or of stdin for `-`, in order, each with its location; `records_of_event` takes them.

    Raises UnreadableRecording for what is no JSON or cannot be read, NotAnEvent for JSON that is no event, and
    PayloadMissing for an on-failure record of SQS or SNS; each names file and line, after everything before it.
    """
    name = "standard input" if str(source) == STDIN else str(source)
    for location, document in _documents(source, name):
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


# --- bytes to lines ---


def _documents(source: str | Path, name: str) -> Iterator[tuple[Location, Any]]:
    """Every JSON document of a source: one a line, or all of it if its first line is not complete."""
    here = Location(name, 0)
    is_first = True
    try:
        with _opened(source) as file:
            for number, line in enumerate(iter(lambda: file.readline(_LARGEST_BYTES + 1), b""), start=1):
                here = Location(name, number)
                text = _text(line, here)
                if not text.strip():
                    continue
                try:
                    document = _parse(text.rstrip(), str(here))
                except UnreadableRecording as refusal:
                    # Only the first line may open a document of several lines: later, a broken line is a broken line.
                    if not is_first:
                        raise
                    document = _parse_rest(text, file, here, refusal)
                is_first = False
                yield here, document
    except (OSError, EOFError, zlib.error) as error:
        reason = getattr(error, "strerror", None) or error
        raise UnreadableRecording(
            f"{name} cannot be read after line {here.line}: {reason}"
            if here.line
            else f"{name} cannot be read: {reason}",
            hint="name a file that exists and is whole, or - for standard input; archiving it again is harmless",
        ) from error


def _opened(source: str | Path) -> IO[bytes]:
    raw: Any = sys.stdin.buffer if str(source) == STDIN else Path(source).open("rb")  # noqa: SIM115  closed later
    first = raw.read(_LONGEST_MAGIC)
    file = io.BufferedReader(_Rejoined(first, raw))
    if first.startswith(_GZIP):
        return _Ungzipped(file)
    return open_zstd(file) if first == _ZSTD else file


class _Ungzipped(io.BufferedReader):
    """A gzip stream that closes what it reads from."""

    def __init__(self, file: IO[bytes]) -> None:
        super().__init__(gzip.GzipFile(fileobj=file))
        self._compressed = file

    def close(self) -> None:
        super().close()
        self._compressed.close()


class _Rejoined(io.RawIOBase):
    """A stream whose first bytes were already taken: a pipe cannot be wound back."""

    def __init__(self, first: bytes, rest: io.BufferedReader) -> None:
        self._first, self._rest = first, rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        taken = self._first[: len(buffer)] or self._rest.read1(len(buffer))
        self._first = self._first[len(taken) :]
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self) -> None:
        if self._rest is not sys.stdin.buffer:
            self._rest.close()
        super().close()


def _text(line: bytes, here: Location) -> str:
    if len(line) > _LARGEST_BYTES:
        raise UnreadableRecording(f"{here} is longer than {_LARGEST_BYTES} bytes", hint=_ONE_A_LINE)
    try:
        return line.decode("utf-8-sig" if here.line == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise UnreadableRecording(
            f"{here} is not UTF-8: {error.reason} at byte {error.start}", hint=_ONE_A_LINE
        ) from error


# --- text to events ---


def _parse(text: str, what: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_members)
    except json.JSONDecodeError as error:
        at = f"column {error.colno}" if error.lineno == 1 else f"line {error.lineno} column {error.colno}"
        raise UnreadableRecording(f"{what} is not JSON: {error.msg} at {at}", hint=_ONE_A_LINE) from error
    except (ValueError, RecursionError) as error:  # a number or a nesting beyond every limit
        raise UnreadableRecording(f"{what} cannot be read: {error}", hint=_ONE_A_LINE) from error


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    return members if len(members) == len(pairs) else RepeatedMembers(pairs)


def _parse_rest(first_line: str, file: IO[bytes], here: Location, refusal: UnreadableRecording) -> Any:
    """The one document that begins with a line which is none itself; raises `refusal` if that line is all there is."""
    rest = file.read(_LARGEST_BYTES + 1)
    if not rest.strip():
        raise refusal
    try:
        return _parse(first_line + _text(rest, here), here.file)
    except UnreadableRecording as error:
        raise UnreadableRecording(f"{refusal}; taken as one document, {error}", hint=_ONE_A_LINE) from error


def _elements(location: Location, document: Any) -> Iterator[tuple[Location, Any]]:
    if isinstance(document, list):
        for number, element in enumerate(document, start=1):
            yield replace(location, element=number), element
    else:
        yield location, document


def _event(here: Location, document: Any) -> dict[str, Any]:
    is_failure = isinstance(document, dict) and document.keys() >= _ON_FAILURE_MEMBERS
    event = _payload(here, document) if is_failure else document
    if isinstance(event, dict) and "dynamodb" in event and "Records" not in event:
        raise NotAnEvent(f"{here} is a single record, not an event", hint="put it into one: jq -c '{Records: [.]}'")
    try:
        records_of_event(event)
    except NotAnEvent as error:
        raise NotAnEvent(f"{here}: {error}", hint=_ONE_A_LINE) from error
    if isinstance(event, RepeatedMembers):
        raise NotAnEvent(
            f"{here} names a member of the event twice: {_repeated(event)}",
            hint="one of the two would be lost: write them as two events",
        )
    return dict(event)


def _payload(here: Location, failure: dict[str, Any]) -> Any:
    """The event inside an S3 on-failure object: "the whole event as an escaped JSON string" (*Retain discarded records
    for a DynamoDB event source in Lambda*)."""
    payload = failure.get("payload")
    if isinstance(payload, str) and not isinstance(failure, RepeatedMembers):
        return _parse(payload, f"the payload of {here}")
    if "payload" in failure:
        raise UnreadableRecording(
            f"{here} is an on-failure record whose payload is not one text", hint="fetch the object from S3 again"
        )
    batch = failure["DDBStreamBatchInfo"]
    named = batch if isinstance(batch, dict) else {}
    raise PayloadMissing(
        f"{here} is an on-failure record without its payload: {named.get('batchSize', 'some')} records of "
        f"{named.get('shardId', 'a shard')}, {named.get('startSequenceNumber', '?')} to "
        f"{named.get('endSequenceNumber', '?')}",
        hint="only an S3 destination keeps the payload; for 24 hours the stream still holds the records: "
        f"ddbtrail follow --until-caught-up --stream {named.get('streamArn', 'ARN')}",
    )


def _repeated(members: RepeatedMembers) -> str:
    names = [name for name, _ in members.pairs]
    return ", ".join(sorted({name for name in names if names.count(name) > 1}))
