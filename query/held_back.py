"""What Lambda gave up on and put into the S3 on-failure destination: which of its changes are not archived.

Invariants: what cannot be told of an object is never taken for archived; nothing is deleted or written; of the changes
only identities are held, and so many at a time.
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Final

from archiver.format.failed_batch import FailedBatch
from archiver.format.layout import StreamSource, Trail, sequence_text
from archiver.format.record import item_key_text
from query.engine import Question
from query.source import Source, StoredObject

_OBJECTS_AT_ONCE: Final = 64
_IDENTITIES_AT_ONCE: Final = 200_000

Identity = tuple[str, str]  # item key, order: as in the relation `changes`


@dataclass(slots=True)
class HeldBack:
    """What lies at `url`: objects of this trail and of others, and changes of this trail, each as often as it is named.

    `missing` of the changes are not archived; of `unclear` objects that cannot be said: they are no on-failure record,
    have no payload, or hold records that nobody understands.
    """

    url: str
    objects: int = 0
    of_others: int = 0
    changes: int = 0
    missing: int = 0
    unclear: list[str] = field(default_factory=list)


def read_held_back(source: Source, trail: Trail, question: Question) -> HeldBack:
    """Reads every object; `question` has read the changes. Raises UnreadableArchive for what cannot be read."""
    held = HeldBack(source.url)
    identities = _identities(source, trail, held)
    while some := list(islice(identities, _IDENTITIES_AT_ONCE)):
        held.changes += len(some)
        question.set("held", {"item_keys": [key for key, _ in some], "orders": [order for _, order in some]})
        held.missing += question.rows("not_archived")[0][0]
    return held


def _identities(source: Source, trail: Trail, held: HeldBack) -> Iterator[Identity]:
    for name, content in _contents(source):
        try:
            batch = FailedBatch.parse(json.loads(content))
            if batch.source.trail != trail:
                held.of_others += 1
                continue
            if batch.payload is None:
                raise ValueError("it has no payload")  # noqa: TRY301  told like what the parser refuses
            found, is_clear = _of_records(json.loads(batch.payload)["Records"], trail)
        except (ValueError, TypeError, KeyError, RecursionError):
            held.objects += 1
            held.unclear.append(name)
            continue
        held.objects += 1
        if not is_clear:
            held.unclear.append(name)
        yield from found


def _contents(source: Source) -> Iterator[tuple[str, bytes]]:
    objects: Iterable[StoredObject] = iter(source.objects(""))
    while some := list(islice(objects, _OBJECTS_AT_ONCE)):
        for stored, path in zip(some, source.fetch(some), strict=True):
            yield stored.name, path.read_bytes()


def _of_records(records: list[Any], trail: Trail) -> tuple[list[Identity], bool]:
    """The identities of records that are understood as far as that, and whether all were."""
    found = []
    for record in records:
        try:
            source = StreamSource.parse(record["eventSourceARN"])
            change = record["dynamodb"]
            order = f"{source.stream_label} {sequence_text(change['SequenceNumber'])}"
            if source.trail == trail:
                found.append((item_key_text(change["Keys"]).decode(), order))
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            continue
    return found, len(found) == len(records)
