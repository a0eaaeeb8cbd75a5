"""The rows of a segment, whole columns at once: the short road of `row_check`.

Law: nothing is refused but by the long road. A row that DynamoDB delivers today is accepted on the short one, six times
as fast, which accepts nothing that the long one refuses and gives the same leaf; property tests hold the two together.

Arrow compares and joins columns; Python does what Arrow cannot, and what is like nothing that was seen before. The only
file of the format that imports pyarrow: columns in memory, not Parquet.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, NamedTuple, cast

import orjson
import pyarrow as pa
import pyarrow.compute as pc

from archiver.format.canonical import canonical, canonical_numbers
from archiver.format.envelope import OrdinaryFrame, image_digests, key_digests, ordinary_frame
from archiver.format.layout import HOUR_MS, SEQUENCE_DIGITS, SegmentName, StreamSource
from archiver.format.merkle import leaf_digests, tree_root
from archiver.format.record import EARLIEST_S, LATEST_S, OPERATIONS
from archiver.format.row_check import Row, check_row
from archiver.format.shapes import ImageShapes, KeyShapes, TextKey

ROWS_AT_ONCE: Final = 4096  # few enough to stay near the processor, enough for what each step costs
_FRAMES: Final = 8
_IDENTITIES: Final = 64
_FEWEST_DIGITS: Final = 21
_SIZE_DIGITS: Final = 15  # surely below 2**53, less than §6 allows
_HEX_DIGITS: Final = 64
_SPACE: Final = 0x20
_BEYOND_ASCII: Final = 0x80
_LENGTHS: Final = 8  # of sequence numbers and sizes of one batch, told apart by slicing
_OPERATIONS: Final = pa.array(sorted(OPERATIONS), pa.string())

# As Python values, what is hashed is bytes.
_BYTES: Final = frozenset({"item_key", "old_image", "new_image"})

# Columns, masks and texts in memory, as Arrow has them.
Column = Any
Mask = Any


class Columns(NamedTuple):
    """The columns of some rows as Arrow arrays: texts as they stand in the file, not known to be UTF-8, and
    `changed_at_ms` in epoch milliseconds."""

    change_id: Column
    op: Column
    changed_at_ms: Column
    sequence_number: Column
    stream_label: Column
    item_key: Column
    pk: Column
    sk: Column
    old_image: Column
    new_image: Column
    user_identity: Column
    event: Column

    @classmethod
    def of(cls, batch: pa.RecordBatch) -> "Columns":
        """The columns of a batch read from a segment."""
        kinds = (pa.int64() if name == "changed_at_ms" else pa.string() for name in cls._fields)
        return cls(*(column.view(kind) for column, kind in zip(batch.columns, kinds, strict=True)))

    def __len__(self) -> int:
        return len(self.change_id)

    def from_row(self, number: int) -> "Columns":
        """These rows without the first ones."""
        return Columns(*(column.slice(number) for column in self))

    def row(self, number: int) -> Row:
        """One row as Python values. Raises ValueError for a text that is not UTF-8."""
        return next(self.rows(number, 1))

    def rows(self, first: int = 0, count: int | None = None) -> Iterator[Row]:
        """Rows as Python values. Raises ValueError for a text that is not UTF-8."""
        lists = []
        for name, column in zip(self._fields, self, strict=True):
            some = column.slice(first, count)
            lists.append((some.view(pa.binary()) if name in _BYTES else some).to_pylist())
        return map(Row._make, zip(*lists, strict=True))


class BulkCheck:
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

    def check(self, batches: Iterable[Columns], place: SegmentName) -> list[bytes]:
        """The leaves of a segment's rows, in order (32 bytes each). Raises ValueError, which says which row and what
        disagrees, unless every row is right, they stand in order, and root and first sequence number are the name's.

        `batches` are the rows in order, some at a time: few enough to stay near the processor are the fastest.
        """
        leaves: list[bytes] = []
        first, last = "", ("", "", b"")
        for rows in batches:
            found = self._leaves(rows, place, len(leaves))
            last = _check_order(rows, found, last, len(leaves))
            leaves += found
            first = first or rows.sequence_number[0].as_py()
        if not leaves:
            raise ValueError("it has no rows")
        if first != place.first_sequence:
            raise ValueError(f"it begins with sequence number {first}, its name with {place.first_sequence}")
        root = tree_root(leaves).hex()
        if root != place.root:
            raise ValueError(f"its rows have root {root}, its name says {place.root}")
        return leaves

    def _leaves(self, rows: Columns, place: SegmentName, before: int) -> list[bytes]:
        """The leaf of every row, whichever road it takes. Raises ValueError."""
        leaves = self.ordinary_leaves(rows, place)
        number = 0
        while None in leaves[number:]:
            number = leaves.index(None, number)
            frames = len(self._frames)
            leaves[number] = self._long_road(rows, number, place, before + number)
            number += 1
            if len(self._frames) > frames:  # the others may be like this one
                leaves[number:] = self.ordinary_leaves(rows.from_row(number), place)
        return cast("list[bytes]", leaves)

    def ordinary_leaves(self, rows: Columns, place: SegmentName) -> list[bytes | None]:
        """The leaves of ordinary rows in which everything agrees; None for each that must take the long road."""
        if not self._frames:
            return [None] * len(rows)
        hashed = _Hashed.of(rows)
        seconds, is_right = _seconds(rows.changed_at_ms, place)
        number = pc.ascii_ltrim(rows.sequence_number, "0")
        for rule in (
            pc.ascii_is_decimal(number),
            pc.greater_equal(pc.binary_length(number), _FEWEST_DIGITS),
            pc.equal(pc.binary_length(rows.sequence_number), SEQUENCE_DIGITS),
            pc.equal(rows.stream_label, self._source.stream_label),
            pc.is_in(rows.op, value_set=_OPERATIONS),
            pc.ascii_is_alnum(rows.change_id),
            self._are_keys(rows),
            self._are_images(rows.old_image, hashed.old),
            self._are_images(rows.new_image, hashed.new),
            self._are_identities(rows.user_identity),
        ):
            is_right = pc.and_(is_right, rule)
        digests = _Digests.of(rows, hashed)
        leaves: list[bytes | None] = [None] * len(rows)
        for frame in self._frames:
            size, is_framed = _size(rows.event, frame, seconds, number)
            is_here = pc.fill_null(pc.and_(is_right, is_framed), fill_value=False)
            if not pc.any(is_here).as_py():
                continue
            found = leaf_digests(_envelopes(frame, rows, digests, number, seconds, size).to_pylist())
            if pc.all(is_here).as_py():
                return list(found)
            leaves = [leaf if here else old for leaf, here, old in zip(found, is_here.to_pylist(), leaves, strict=True)]
        return leaves

    def _long_road(self, rows: Columns, number: int, place: SegmentName, told: int) -> bytes:
        """The leaf of any row; what was learned of its `event` is remembered. Raises ValueError."""
        change_id = "unknown"
        try:
            row = rows.row(number)
            change_id = row.change_id
            leaf = check_row(row, self._source, place, self._key_names)
        except ValueError as error:
            raise ValueError(f"row {told}, change {change_id}: {error}") from error
        if len(self._frames) < _FRAMES:
            self._learn_frame(row.event)
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

    def _are_identities(self, column: Column) -> Mask:
        is_known = pc.is_null(column)
        if self._identities:
            is_known = pc.or_(is_known, pc.is_in(column, value_set=pa.array(sorted(self._identities), pa.string())))
        return _with(is_known, lambda number: self._is_identity(column[number]))

    def _is_identity(self, value: pa.StringScalar) -> bool:
        try:
            text: str = value.as_py()
            is_canonical = canonical(canonical_numbers(orjson.loads(text))) == text.encode()
        except (ValueError, TypeError):
            return False
        if is_canonical and len(self._identities) < _IDENTITIES:
            self._identities.add(text)
        return is_canonical

    def _are_images(self, column: Column, texts: Sequence[bytes | None]) -> Mask:
        """Which images are canonical, or NULL."""
        if _is_plain(column):
            return pa.array(self._images.are_canonical(texts), pa.bool_())
        is_canonical = self._images.is_canonical
        return pa.array([text is None or is_canonical(text) for text in texts], pa.bool_())

    def _are_keys(self, rows: Columns) -> Mask:
        """Which item keys are in normal spelling, with hints that belong to them."""
        is_known = pa.repeat(pa.scalar(value=False), len(rows))
        if _is_plain(rows.item_key):
            for key in self._keys.texts:
                is_known = pc.or_(is_known, pc.fill_null(_are_text_keys(rows, key), fill_value=False))
        return _with(is_known, lambda number: self._is_key(rows, number))

    def _is_key(self, rows: Columns, number: int) -> bool:
        text = rows.item_key[number].as_buffer().to_pybytes()
        try:
            return self._keys.is_canonical(text, rows.pk[number].as_py(), rows.sk[number].as_py())
        except UnicodeDecodeError:
            return False


class _Hashed(NamedTuple):
    """What is hashed by itself, as Python values."""

    keys: list[bytes]
    old: list[bytes | None]
    new: list[bytes | None]

    @classmethod
    def of(cls, rows: Columns) -> "_Hashed":
        return cls(
            *(column.view(pa.binary()).to_pylist() for column in (rows.item_key, rows.old_image, rows.new_image))
        )


class _Digests(NamedTuple):
    """Of keys and images, as they stand in envelopes."""

    key: Column
    old: Column
    new: Column

    @classmethod
    def of(cls, rows: Columns, hashed: _Hashed) -> "_Digests":
        return cls(
            _hex(key_digests(hashed.keys)),
            *(
                pc.if_else(pc.is_null(column), "null", _joined('"', _hex(image_digests(images)), '"'))
                for column, images in ((rows.old_image, hashed.old), (rows.new_image, hashed.new))
            ),
        )


def _hex(digests: Sequence[bytes]) -> Column:
    """Digests of 32 bytes as texts of 64 digits."""
    ends = pa.array(range(0, _HEX_DIGITS * (len(digests) + 1), _HEX_DIGITS), pa.int32())
    digits = b"".join(digests).hex().encode()
    return pa.StringArray.from_buffers(len(digests), ends.buffers()[1], pa.py_buffer(digits))


def _check_order(
    rows: Columns, leaves: Sequence[bytes], last: tuple[str, str, bytes], told: int
) -> tuple[str, str, bytes]:
    """The place of the last row, if each stands behind the one before it, and the first behind `last`.

    Raises ValueError.
    """
    numbers = rows.sequence_number
    is_later = pc.greater(numbers.slice(1), numbers.slice(0, len(rows) - 1))
    if numbers[0].as_py() > last[0] and pc.all(is_later, min_count=0).as_py():  # as in nearly every segment
        return numbers[-1].as_py(), rows.change_id[-1].as_py(), leaves[-1]
    places = zip(numbers.to_pylist(), rows.change_id.to_pylist(), leaves, strict=True)
    for number, place in enumerate(places, told):
        if place <= last:
            raise ValueError(f"row {number}, change {place[1]}: it is not in order, or there twice")
        last = place
    return last


def _seconds(changed_at_ms: Column, place: SegmentName) -> tuple[Column, Mask]:
    """The times as texts of seconds, and which of them are whole seconds of the hour."""
    first_ms = max(place.hour_ms, EARLIEST_S * 1000)
    end_ms = min(place.hour_ms + HOUR_MS, LATEST_S * 1000)
    seconds = pc.divide(changed_at_ms, 1000)
    is_right = pc.and_(pc.greater_equal(changed_at_ms, first_ms), pc.less(changed_at_ms, end_ms))
    return seconds.cast(pa.string()), pc.and_(is_right, pc.equal(pc.multiply(seconds, 1000), changed_at_ms))


def _size(event: Column, frame: OrdinaryFrame, seconds: Column, number: Column) -> tuple[Column, Mask]:
    """The `SizeBytes` of events as texts, and which of the events are this frame around it, its number in canonical
    form."""
    start = _joined(frame.event_head, seconds, ',"SequenceNumber":"', number, '","SizeBytes":')
    lengths = pc.binary_length(start)
    tail = len(frame.event_tail.encode())
    size = pa.repeat("", len(event))
    for length in pc.unique(lengths).to_pylist()[:_LENGTHS]:
        inside = pc.binary_slice(event.view(pa.binary()), length, -tail).view(pa.string())
        size = pc.if_else(pc.equal(lengths, length), inside, size)
    is_framed = pc.equal(event, _joined(start, size, frame.event_tail))
    is_number = pc.and_(pc.ascii_is_decimal(size), pc.less_equal(pc.binary_length(size), _SIZE_DIGITS))
    is_plain = pc.or_(pc.invert(pc.starts_with(size, "0")), pc.equal(size, "0"))
    return size, pc.and_(is_framed, pc.and_(is_number, is_plain))


def _envelopes(
    frame: OrdinaryFrame, rows: Columns, digests: _Digests, number: Column, seconds: Column, size: Column
) -> Column:
    """What `OrdinaryFrame.envelope` makes of each row."""
    who = pc.coalesce(_joined(',"user_identity":', rows.user_identity), "")
    return _joined(
        *('{"event_id":"', rows.change_id, '","event_name":"', rows.op, frame.before_keys, digests.key),
        *('","new":', digests.new, ',"old":', digests.old),
        *(frame.before_sequence, number, '","size_bytes":', size, frame.before_time, seconds, who, frame.envelope_tail),
    ).view(pa.binary())


def _are_text_keys(rows: Columns, key: TextKey) -> Mask:
    """Which keys, in which nothing is escaped, are this one around the strings that their hints are."""
    if key.middle is None:
        expected, is_single = _joined(key.head, rows.pk, key.tail), pc.is_null(rows.sk)
    else:
        one, two = (rows.sk, rows.pk) if key.is_reversed else (rows.pk, rows.sk)
        expected, is_single = _joined(key.head, one, key.middle, two, key.tail), True
    is_whole = pc.equal(pc.count_substring(rows.item_key, '"'), key.quotes)
    return pc.and_(pc.and_(pc.equal(rows.item_key, expected), is_whole), is_single)


def _joined(*parts: Any) -> Column:
    """Texts put together row by row; NULL where one of them is."""
    return pc.binary_join_element_wise(*parts, "")


def _with(mask: Mask, is_right: Callable[[int], bool]) -> Mask:
    """A mask, and each row that it leaves out asked by itself."""
    if pc.all(mask, min_count=0).as_py():
        return mask
    return pa.array([here or is_right(number) for number, here in enumerate(mask.to_pylist())], pa.bool_())


def _is_plain(column: Column) -> bool:
    """Whether no text of a column holds what JSON escapes, nor anything beyond ASCII."""
    _, offsets, data = column.buffers()
    if data is None or not len(column):
        return True
    ends = pa.Array.from_buffers(pa.int32(), len(column) + 1, [None, offsets], offset=column.offset)
    first, end = ends[0].as_py(), ends[-1].as_py()
    if first == end:
        return True
    ends_of = pc.min_max(pa.Array.from_buffers(pa.uint8(), end - first, [None, data], offset=first))
    is_ascii = ends_of["min"].as_py() >= _SPACE and ends_of["max"].as_py() < _BEYOND_ASCII
    return is_ascii and b"\\" not in data.slice(first, end - first).to_pybytes()
