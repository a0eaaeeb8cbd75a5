"""The rows of a segment against what docs/format.md demands of them (§6 to §9, and §12 for a verifier).

Law: a row is right when the record rebuilt from it makes the same row again (`check_row`, the long road), and nothing
is refused but by the long road. A row that DynamoDB delivers today is accepted on a short one, ten times as fast, which
accepts nothing that the long one refuses and gives the same leaf; a property test holds the two together.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Final, NamedTuple

import orjson

from archiver.format.canonical import canonical, canonical_numbers
from archiver.format.envelope import OrdinaryFrame, ordinary_frame
from archiver.format.layout import HOUR_MS, SEQUENCE_DIGITS, SegmentName, StreamSource, hour_of
from archiver.format.merkle import leaf_digest, tree_root
from archiver.format.record import (
    EARLIEST_S,
    LATEST_S,
    OPERATIONS,
    ChangeRecord,
    change_record,
    delivered,
    leaf_of_row,
)
from archiver.format.shapes import ImageShapes, KeyShapes, possible_hints

_FRAMES: Final = 8
_IDENTITIES: Final = 64
_FEWEST_DIGITS: Final = 21
_SIZE_DIGITS: Final = 15  # surely below 2**53, less than §6 allows


class SegmentRows(NamedTuple):
    """The columns of a segment, each as a list: `changed_at_ms` is epoch milliseconds; what is hashed by itself stands
    as bytes."""

    change_id: Sequence[str]
    op: Sequence[str]
    changed_at_ms: Sequence[int]
    sequence_number: Sequence[str]
    stream_label: Sequence[str]
    item_key: Sequence[bytes]
    pk: Sequence[str | None]
    sk: Sequence[str | None]
    old_image: Sequence[bytes | None]
    new_image: Sequence[bytes | None]
    user_identity: Sequence[str | None]
    event: Sequence[str]


Row = tuple[str, str, int, str, str, bytes, str | None, str | None, bytes | None, bytes | None, str | None, str]


class RowCheck:
    """Checks the rows of one stream, and remembers what they look like from one segment to the next.

    `key_names` are the key attributes in schema order, None when the schema is not known.
    """

    def __init__(self, source: StreamSource, key_names: tuple[str, ...] | None = None) -> None:
        self._source = source
        self._key_names = key_names
        self._images = ImageShapes()
        self._keys = KeyShapes(key_names)
        self._frames: list[OrdinaryFrame] = []
        self._identities: set[str] = set()

    def check(self, batches: Iterable[SegmentRows], place: SegmentName) -> list[bytes]:
        """The leaves of a segment's rows, in order (32 bytes each). Raises ValueError, which says which row and what
        disagrees, unless every row is right, they stand in order, and root and first sequence number are the name's.

        `batches` are the rows in order, some at a time: few enough to stay near the processor are the fastest.
        """
        leaves: list[bytes] = []
        on_short_road = self.short_road(place)
        first = last_sequence = last_id = ""
        for rows in batches:
            for row in zip(*rows, strict=True):
                leaf = on_short_road(row)
                if leaf is None:
                    leaf = self._long_road(row, place, len(leaves))
                sequence, change_id = row[3], row[0]
                # `leaves` is not empty here: no sequence number that passed is below "".
                if sequence <= last_sequence and (sequence, change_id, leaf) <= (last_sequence, last_id, leaves[-1]):
                    raise ValueError(f"row {len(leaves)}, change {change_id}: it is not in order, or there twice")
                last_sequence, last_id = sequence, change_id
                leaves.append(leaf)
            first = first or rows.sequence_number[0]
        if not leaves:
            raise ValueError("it has no rows")
        if first != place.first_sequence:
            raise ValueError(f"it begins with sequence number {first}, its name with {place.first_sequence}")
        root = tree_root(leaves).hex()
        if root != place.root:
            raise ValueError(f"its rows have root {root}, its name says {place.root}")
        return leaves

    def short_road(self, place: SegmentName) -> Callable[[Row], bytes | None]:
        """The leaf of an ordinary row in which everything agrees; None for a row that must take the long road."""
        frames, identities, label = self._frames, self._identities, self._source.stream_label
        is_image, is_key = self._images.is_canonical, self._keys.is_canonical
        first_ms = max(place.hour_ms, EARLIEST_S * 1000)
        end_ms = min(place.hour_ms + HOUR_MS, LATEST_S * 1000)
        at_ms, seconds, starts = -1, "", list[tuple[str, OrdinaryFrame]]()

        def leaf_of(row: Row) -> bytes | None:
            nonlocal at_ms, seconds, starts
            change_id, op, changed_at_ms, sequence, row_label, key, pk, sk, old, new, identity, event = row
            if changed_at_ms != at_ms or len(starts) < len(frames):  # once a second
                if not first_ms <= changed_at_ms < end_ms or changed_at_ms % 1000:
                    return None
                at_ms = changed_at_ms
                seconds = str(at_ms // 1000)
                starts = [(f'{frame.event_head}{seconds},"SequenceNumber":"', frame) for frame in frames]
            number = sequence.lstrip("0")
            for begin, frame in starts:
                start = f'{begin}{number}","SizeBytes":'
                if event.startswith(start) and event.endswith(frame.event_tail):
                    size = event[len(start) : -len(frame.event_tail)]
                    break
            else:
                return None
            if not (
                event.isascii()
                and number.isdecimal()
                and len(number) >= _FEWEST_DIGITS
                and len(sequence) == SEQUENCE_DIGITS
                and size.isdecimal()
                and len(size) <= _SIZE_DIGITS
                and (size[0] != "0" or size == "0")
                and row_label == label
                and op in OPERATIONS
                and change_id.isascii()
                and change_id.encode().isalnum()  # half as long as asking the text
                and is_key(key, pk, sk)
                and (old is None or is_image(old))
                and (new is None or is_image(new))
                and (identity is None or identity in identities or self._is_identity(identity))
            ):
                return None
            return leaf_digest(frame.envelope(change_id, op, key, old, new, number, seconds, size, identity))

        return leaf_of

    def _long_road(self, row: Row, place: SegmentName, number: int) -> bytes:
        """The leaf of any row; what was learned of its `event` is remembered. Raises ValueError."""
        try:
            leaf = check_row(row, self._source, place, self._key_names)
        except ValueError as error:
            raise ValueError(f"row {number}, change {row[0]}: {error}") from error
        if len(self._frames) < _FRAMES:
            self._learn_frame(row[-1])
        return leaf

    def _learn_frame(self, event: str) -> None:
        """Remembers what an event that was checked shares with the other ordinary ones of its stream."""
        members = orjson.loads(event)
        texts = [members.get(name) for name in ("eventSourceARN", "awsRegion", "eventVersion")]
        texts.append(members["dynamodb"].get("StreamViewType"))
        if all(type(text) is str for text in texts):
            frame = ordinary_frame(*texts)
            if frame not in self._frames:
                self._frames.append(frame)

    def _is_identity(self, text: str) -> bool:
        try:
            is_canonical = canonical(canonical_numbers(orjson.loads(text))) == text.encode()
        except (ValueError, TypeError):
            return False
        if is_canonical and len(self._identities) < _IDENTITIES:
            self._identities.add(text)
        return is_canonical


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
