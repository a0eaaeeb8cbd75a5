"""The index of a part: where its row groups lie, which keys they hold, and a digest for every 64 KiB of the part.

Laws: `parse(compose(x)) == x`; `parse` accepts only what `compose` makes, however hard that was compressed, and refuses
(ValueError) everything else; an index whose sizes, orders and counts do not add up cannot be made. Pure, but for
`PartIndex.of`, which reads the part it is made of.

With its index, whoever trusts the index's own digest reads a few row groups of a part, and knows every byte of them
before one of them is parsed. The part's Parquet footer is in the index, so it is never fetched.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256
from pathlib import Path
from typing import Any, Final, Self

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from archiver.format import FORMAT_VERSION
from archiver.format.canonical import canonical
from query.derived.key_range import KeyRange, RowKey

CHUNK_BYTES: Final = 1 << 16
# 500 groups with keys of the largest size and a footer with statistics of them stay far below; a bomb does not.
MOST_INDEX_BYTES: Final = 64 << 20

_DIGEST_BYTES: Final = 32
_MAGIC: Final = b"PAR1"
_TAIL_BYTES: Final = 8  # of a Parquet file: the length of the footer in 4 bytes, and the magic
_ZSTD_MAGIC: Final = b"\x28\xb5\x2f\xfd"
_READ_BYTES: Final = 1 << 20  # as much memory is taken, however little comes
_MEMBERS: Final = {"bytes", "chunk_bytes", "footer_offset", "format", "groups", "rows"}
_GROUP_MEMBERS: Final = {"bytes", "first", "last", "offset", "rows"}


@dataclass(frozen=True, slots=True)
class RowGroup:
    """Where the column chunks of a row group lie in the part (bytes), its rows, and the keys of its first and last."""

    offset: int
    size_bytes: int
    rows: int
    keys: KeyRange

    @property
    def end(self) -> int:
        """The first byte after it."""
        return self.offset + self.size_bytes


@dataclass(frozen=True)
class PartIndex:
    """`.idx`. `size_bytes` is that of the part, `digests` the SHA-256 of each of its chunks one after another, `footer`
    its last bytes from `footer_offset` on.
    """

    size_bytes: int
    groups: tuple[RowGroup, ...]
    digests: bytes
    footer: bytes

    def __post_init__(self) -> None:
        _demand(len(self.digests) == self.chunk_count * _DIGEST_BYTES, "it has not a digest a chunk")
        _demand(self.footer[-4:] == _MAGIC and self.footer_offset >= len(_MAGIC), "it has no footer of a part")
        length = int.from_bytes(self.footer[-_TAIL_BYTES:-4], "little")
        _demand(length + _TAIL_BYTES == len(self.footer), "its footer is not as long as the footer says")
        end, last = len(_MAGIC), None
        for group in self.groups:
            keys = group.keys
            _demand(group.size_bytes > 0 and group.rows > 0, "a row group is empty")
            _demand(group.offset >= end, "its row groups overlap, or are not in order")
            _demand(last is None or last <= keys.first, "the keys of its row groups are not in order")
            end, last = group.offset + group.size_bytes, keys.last
        _demand(bool(self.groups) and end <= self.footer_offset, "its row groups reach into the footer, or are none")
        for chunk in range(-(-self.footer_offset // CHUNK_BYTES), self.chunk_count):
            start, stop = (place - self.footer_offset for place in self.chunk_range(chunk))
            _demand(sha256(self.footer[start:stop]).digest() == self.digest(chunk), "its footer has another digest")

    # --- what it says of the part ---

    @property
    def footer_offset(self) -> int:
        """Where the Parquet footer begins."""
        return self.size_bytes - len(self.footer)

    @property
    def rows(self) -> int:
        """The rows of the part."""
        return sum(group.rows for group in self.groups)

    @property
    def chunk_count(self) -> int:
        """How many chunks of 64 KiB the part has; the last one may be shorter."""
        return -(-self.size_bytes // CHUNK_BYTES)

    def chunk_range(self, chunk: int) -> tuple[int, int]:
        """Where a chunk begins and ends in the part."""
        return chunk * CHUNK_BYTES, min((chunk + 1) * CHUNK_BYTES, self.size_bytes)

    def digest(self, chunk: int) -> bytes:
        """The SHA-256 of a chunk."""
        return self.digests[chunk * _DIGEST_BYTES : (chunk + 1) * _DIGEST_BYTES]

    def groups_for(self, keys: Iterable[RowKey]) -> tuple[int, ...]:
        """The numbers of the row groups that can hold a row of any of these keys, in order.

        A row whose key text was not known stands at (None, None, item_key): ask for that too.
        """
        found: set[int] = set()
        for key in keys:
            if key.pk is None and self._firsts[0].pk is not None:
                continue  # what has no key text stands before all that has
            found.update(range(bisect_left(self._lasts, key), bisect_right(self._firsts, key)))
        return tuple(sorted(found))

    def groups_for_partition(self, pk: str) -> tuple[int, ...]:
        """The numbers of the row groups that can hold a row of a partition key (key text), or one that says none."""
        return tuple(number for number, group in enumerate(self.groups) if group.keys.may_hold_partition(pk))

    def all_groups(self) -> tuple[int, ...]:
        """The numbers of all row groups."""
        return tuple(range(len(self.groups)))

    @cached_property
    def _firsts(self) -> list[RowKey]:
        return [group.keys.first for group in self.groups]

    @cached_property
    def _lasts(self) -> list[RowKey]:
        return [group.keys.last for group in self.groups]

    def metadata(self, numbers: Iterable[int]) -> pq.FileMetaData:
        """What the footer says, agreeing with this index on where these row groups lie. Raises ValueError."""
        found = vars(self).get("_footer_read") or self._read_footer()
        _demand(found.num_row_groups == len(self.groups), "its footer says otherwise")
        for number in numbers:
            group = self.groups[number]
            lies = _lies(found.row_group(number))
            _demand(lies == (group.offset, group.size_bytes, group.rows), "its footer says otherwise")
        return found

    def _read_footer(self) -> pq.FileMetaData:
        try:
            found = pq.read_metadata(pa.BufferReader(self.footer))
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"its footer cannot be read: {error}") from error
        # Not `cached_property`: until Python 3.12 that has one lock for all indexes, and threads read them at once.
        vars(self)["_footer_read"] = found
        return found

    # --- as a file ---

    def compose(self) -> bytes:
        plain = self._plain()
        _demand(len(plain) <= MOST_INDEX_BYTES, f"it is larger than {MOST_INDEX_BYTES} bytes")  # nobody would read it
        return bytes(pa.compress(plain, codec="zstd", asbytes=True))

    def _plain(self) -> bytes:
        members = {**self._sums(), "groups": [_group_members(group) for group in self.groups]}
        return b"".join((canonical(members), b"\n", self.digests, self.footer))

    def _sums(self) -> dict[str, int]:
        return {
            "bytes": self.size_bytes,
            "chunk_bytes": CHUNK_BYTES,
            "footer_offset": self.footer_offset,
            "format": FORMAT_VERSION,
            "rows": self.rows,
        }

    @classmethod
    def parse(cls, content: bytes) -> Self:
        line, _, rest = _decompressed(content).partition(b"\n")
        try:
            members = orjson.loads(line)
            # Compared as it was parsed: what is made of it is made once, and has thousands of groups.
            _demand(members.keys() == _MEMBERS and canonical(members) == line, "it is not in canonical form")
            size = _count(members["bytes"])
            groups = tuple(map(_group, members["groups"]))
        except (TypeError, KeyError, AttributeError) as error:
            raise ValueError(f"it is no index: {error!r}") from error
        digests_bytes = -(-size // CHUNK_BYTES) * _DIGEST_BYTES
        parsed = cls(size, groups, rest[:digests_bytes], rest[digests_bytes:])
        said = {name: _count(members[name]) for name in _MEMBERS - {"groups"}}
        _demand(said == parsed._sums(), "it does not add up, or is of another format")
        return parsed

    @classmethod
    def of(cls, path: Path, groups: Sequence[KeyRange]) -> Self:
        """The index of a part that lies at `path`; `groups` are the keys of each row group's first and last row.

        Raises ValueError for a part whose row groups are not each in one piece, or are not as many, and OSError.
        """
        try:
            metadata = pq.read_metadata(path)
        except pa.ArrowException as error:
            raise ValueError(f"{path.name} is no Parquet file: {error}") from error
        with path.open("rb") as file:
            digests = b"".join(sha256(chunk).digest() for chunk in _chunks(file))
            size = file.tell()
            file.seek(size - _TAIL_BYTES)
            footer_bytes = int.from_bytes(file.read(4), "little") + _TAIL_BYTES
            file.seek(size - footer_bytes)
            footer = file.read()
        _demand(metadata.num_row_groups == len(groups), f"it has {metadata.num_row_groups} row groups")
        lies = [_lies(metadata.row_group(number)) for number in range(len(groups))]
        return cls(
            size, tuple(RowGroup(*where, keys) for where, keys in zip(lies, groups, strict=True)), digests, footer
        )


def _lies(group: pq.RowGroupMetaData) -> tuple[int, int, int]:
    """Offset, bytes and rows of a row group. Raises ValueError unless its column chunks follow each other."""
    _demand(group.num_columns > 0, "a row group has no columns")
    start = end = -1
    for number in range(group.num_columns):
        column = group.column(number)
        offset = column.dictionary_page_offset if column.has_dictionary_page else column.data_page_offset
        _demand(end in {-1, offset}, "the column chunks of a row group do not follow each other")
        start, end = offset if start < 0 else start, offset + column.total_compressed_size
    return start, end - start, group.num_rows


def _chunks(file: Any) -> Iterator[bytes]:
    while chunk := file.read(CHUNK_BYTES):
        yield chunk


def _decompressed(content: bytes) -> bytes:
    """The content of exactly one zstd frame. Raises ValueError."""
    _demand(content[:4] == _ZSTD_MAGIC and _frame_bytes(content) == len(content), "it is not one frame of zstd")
    try:
        with pa.CompressedInputStream(pa.BufferReader(content), "zstd") as stream:
            pieces = [stream.read(_READ_BYTES)]
            while pieces[-1] and sum(map(len, pieces)) <= MOST_INDEX_BYTES:
                pieces.append(stream.read(_READ_BYTES))
            plain = b"".join(pieces)
    except (pa.ArrowException, OSError) as error:
        raise ValueError(f"it cannot be decompressed: {error}") from error
    _demand(len(plain) <= MOST_INDEX_BYTES, f"it is larger than {MOST_INDEX_BYTES} bytes")
    return plain


def _frame_bytes(content: bytes) -> int:
    """Where the frame ends that `content` begins with, as its headers say (RFC 8878, §3.1.1).

    A decompressor reads on after a frame, and skips what says that it may be skipped: bytes that no composer wrote.
    """
    descriptor = content[4] if len(content) > 4 else 0  # noqa: PLR2004
    is_single_segment, has_checksum = descriptor >> 5 & 1, descriptor >> 2 & 1
    size_field = (is_single_segment, 2, 4, 8)[descriptor >> 6]
    place = 5 + (1 - is_single_segment) + (0, 1, 2, 4)[descriptor & 3] + size_field
    while place < len(content):
        block = int.from_bytes(content[place : place + 3], "little")
        is_last, is_run_of_one, size = block & 1, block >> 1 & 3 == 1, block >> 3
        place += 3 + (1 if is_run_of_one else size)
        if is_last:
            return place + 4 * has_checksum
    return -1


def _group_members(group: RowGroup) -> dict[str, Any]:
    return {
        "bytes": group.size_bytes,
        "first": group.keys.first.members(),
        "last": group.keys.last.members(),
        "offset": group.offset,
        "rows": group.rows,
    }


def _group(members: Any) -> RowGroup:
    _demand(members.keys() == _GROUP_MEMBERS, "a row group has other members")
    offset, size, rows = _count(members["offset"]), _count(members["bytes"]), _count(members["rows"])
    return RowGroup(offset, size, rows, KeyRange(RowKey.of(members["first"]), RowKey.of(members["last"])))


def _count(value: Any) -> int:
    if type(value) is not int or value < 0:
        raise ValueError(f"expected a whole number, not {value!r}")
    return value


def _demand(holds: bool, why: str) -> None:
    if not holds:
        raise ValueError(why)
