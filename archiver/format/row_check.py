"""A row of a segment against what docs/format.md demands of it (§6 to §9, and §12 for a verifier): the long road.

Law: a row is right when the record rebuilt from it makes the same row again. `bulk_check` does it to whole columns.
"""

from typing import NamedTuple

import orjson

from archiver.format.layout import SegmentName, StreamSource, hour_of
from archiver.format.record import ChangeRecord, change_record, delivered, leaf_of_row
from archiver.format.shapes import possible_hints


class Row(NamedTuple):
    """A row of a segment: `changed_at_ms` is epoch milliseconds; what is hashed by itself stands as bytes."""

    change_id: str
    op: str
    changed_at_ms: int
    sequence_number: str
    stream_label: str
    item_key: bytes
    pk: str | None
    sk: str | None
    old_image: bytes | None
    new_image: bytes | None
    user_identity: str | None
    event: str


def check_row(row: Row, source: StreamSource, place: SegmentName, key_names: tuple[str, ...] | None = None) -> bytes:
    """The leaf of one row, if it is the one that its own delivered record makes: no column may say anything else than
    its leaf covers. Raises ValueError, which says what disagrees."""
    try:
        record = record_of_row(row, source)
        original = delivered(record)
        created = original["dynamodb"]["ApproximateCreationDateTime"]
        if isinstance(created, str):  # a fraction is kept as the text of its double
            original["dynamodb"]["ApproximateCreationDateTime"] = float(created)
        named = StreamSource.parse(original["eventSourceARN"])
        again = change_record(original, named, None)
        leaf = leaf_of_row(record)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"it does not rebuild its record: {error!r}") from error
    if named != source or record.source != source:
        raise ValueError(
            f"it belongs to another stream: {original['eventSourceARN']}, label {record.source.stream_label}"
        )
    if hour_of(record.changed_at_ms) != place.hour_ms:
        raise ValueError(f"it was made in another hour: changed_at is {record.changed_at_ms} ms")
    expected = again._replace(pk=record.pk, sk=record.sk)
    made = record._replace(leaf=leaf)
    if expected != made:
        names = [name for name in ChangeRecord._fields if getattr(expected, name) != getattr(made, name)]
        raise ValueError(f"it disagrees with the record it was made from in {', '.join(names)}")
    hints = (record.pk, record.sk)
    if hints not in possible_hints(orjson.loads(record.item_key), key_names):
        raise ValueError(f"pk and sk {hints} are not the key text of {row[5].decode()}")
    return leaf


def record_of_row(row: Row, source: StreamSource) -> ChangeRecord:
    """The columns of a row as a change record, its leaf left empty: what it says, unchecked."""
    change_id, op, changed_at_ms, sequence_number, label, key, pk, sk, old, new, identity, event = row
    return ChangeRecord(
        source if label == source.stream_label else StreamSource(source.trail, label),
        change_id,
        op,
        changed_at_ms,
        sequence_number,
        key,
        pk,
        sk,
        old,
        new,
        None if identity is None else identity.encode(),
        event.encode(),
        b"",
    )
