"""Stream events to change records: the only file that knows what AWS delivers.

Invariant: every record of an event comes out once, either as a change record or as a quarantined text. Nothing about a
record's content raises; only an event that is none does (`NotAnEvent`), before anything is written.
"""

import base64
import json
import re
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Any, Final

from archiver.errors import NotAnEvent
from archiver.format.layout import ROOT, StreamSource, Trail, quarantine_name
from archiver.format.record import ChangeRecord, change_record

# Enough for any nesting that the JSON parser itself let through.
_DEEP_RECURSION: Final = 20_000

# Tells the key attributes of a stream in schema order, or None; gets a delivered record of that stream to learn from.
KeyNames = Callable[[StreamSource, Mapping[str, Any]], tuple[str, ...] | None]


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A record that cannot be understood: its trail if its ARN tells one, its text verbatim, and why."""

    trail: Trail | None
    content: bytes
    reason: str

    @property
    def name(self) -> str:
        """The object that keeps it, below the archive."""
        folder = f"{ROOT}/" if self.trail is None else self.trail.prefix
        return folder + quarantine_name(sha256(self.content).hexdigest())


class RepeatedMembers(dict[str, Any]):
    """A JSON object that named a member twice: kept so that the record can be written down as it came."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        self.pairs = pairs


def records_of_event(event: object) -> list[Any]:
    """The records of a Lambda event. Raises NotAnEvent for what has none."""
    if not isinstance(event, Mapping):
        raise NotAnEvent(
            f"the event is a {type(event).__name__}, not an object",
            hint="invoke the function from an event source mapping on a DynamoDB stream",
        )
    records = event.get("Records")
    if not isinstance(records, list):
        raise NotAnEvent(
            "the event has no list of Records",
            hint="invoke the function from an event source mapping on a DynamoDB stream",
        )
    return records


def understand(records: Sequence[Any], key_names: KeyNames) -> tuple[list[ChangeRecord], list[Quarantined]]:
    """Change records and quarantined ones, together as many as there were records."""
    sources: dict[str, tuple[StreamSource, tuple[str, ...] | None]] = {}
    understood: list[ChangeRecord] = []
    quarantined: list[Quarantined] = []
    for record in records:
        try:
            understood.append(_understand(record, sources, key_names))
        except (ValueError, TypeError, RecursionError) as error:
            quarantined.append(_quarantine(record, str(error) or type(error).__name__))
    assert len(understood) + len(quarantined) == len(records)
    return understood, quarantined


def _understand(
    record: Any, sources: dict[str, tuple[StreamSource, tuple[str, ...] | None]], key_names: KeyNames
) -> ChangeRecord:
    if type(record) is not dict:
        raise ValueError(f"a record must be an object, not {type(record).__name__}")
    arn = record.get("eventSourceARN")
    if type(arn) is not str:
        raise ValueError("eventSourceARN is missing or not a string")
    if arn not in sources:
        source = StreamSource.parse(arn)
        sources[arn] = source, key_names(source, record)
    source, names = sources[arn]
    if names is None:
        names = key_names(source, record)
        sources[arn] = source, names
    return change_record(record, source, names)


def _quarantine(record: Any, reason: str) -> Quarantined:
    trail = None
    if isinstance(record, dict) and isinstance(record.get("eventSourceARN"), str):
        try:
            trail = StreamSource.parse(record["eventSourceARN"]).trail
        except ValueError:
            trail = None
    return Quarantined(trail, _verbatim(record), reason)


def _verbatim(record: Any) -> bytes:
    """The record as JSON text. ASCII with escapes, so that lone surrogates survive too."""
    try:
        return _dump(record)
    except RecursionError:
        limit = sys.getrecursionlimit()
        sys.setrecursionlimit(_DEEP_RECURSION)
        try:
            return _dump(record)
        finally:
            sys.setrecursionlimit(limit)


def _dump(record: Any) -> bytes:
    if _repeats_members(record):
        return _dump_pairs(record).encode()
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode()


def _repeats_members(value: Any) -> bool:
    if isinstance(value, RepeatedMembers):
        return True
    if isinstance(value, dict):
        return any(map(_repeats_members, value.values()))
    return isinstance(value, list) and any(map(_repeats_members, value))


def _dump_pairs(value: Any) -> str:
    if isinstance(value, dict):
        pairs: Iterable[tuple[str, Any]] = value.pairs if isinstance(value, RepeatedMembers) else value.items()
        return "{" + ",".join(f"{json.dumps(name)}:{_dump_pairs(member)}" for name, member in pairs) + "}"
    if isinstance(value, list):
        return "[" + ",".join(map(_dump_pairs, value)) + "]"
    return json.dumps(value)


# Inside attribute values boto3 hands binary as bytes; Lambda as base64 text.
_NAME_BY_CLIENT: Final = re.compile("^(PrincipalId|Type)$")


def as_delivered(record: Mapping[str, Any], stream_arn: str) -> dict[str, Any]:
    """A record of `GetRecords`, as boto3 returns it, in the shape in which Lambda delivers it.

    Bytes become base64 text, datetimes epoch seconds, `PrincipalId` and `Type` of `userIdentity` lower-case, and the
    stream's ARN is added: `eventSourceARN` is "not a member of the Streams API Record shape: Lambda adds it".
    """
    delivered: dict[str, Any] = {name: wire(value) for name, value in record.items()}
    identity = delivered.get("userIdentity")
    if isinstance(identity, dict):
        delivered["userIdentity"] = {
            name[0].lower() + name[1:] if _NAME_BY_CLIENT.match(name) else name: value
            for name, value in identity.items()
        }
    delivered["eventSourceARN"] = stream_arn
    return delivered


def wire(value: Any) -> Any:
    """A value of boto3's low-level clients as the service sent it: bytes as base64 text, datetimes as epoch seconds."""
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    if isinstance(value, datetime):
        seconds = value.timestamp()
        return int(seconds) if seconds.is_integer() else seconds
    if isinstance(value, dict):
        return {name: wire(member) for name, member in value.items()}
    if isinstance(value, list):
        return [wire(element) for element in value]
    return value
