"""Footers of Parquet files with other statements in them: what no writer would write, somebody else might.

A footer is one struct in Thrift's compact protocol. Here a struct is a dict of field number to (kind, value), a list is
(kind of its elements, values); what is not changed is written back byte for byte.
"""

from collections.abc import Callable
from typing import Any

from archiver.format.columns import METADATA_DIGEST
from archiver.format.stamp import UNSTAMPED, stamp

TRUE, FALSE, BYTE, I32, I64, DOUBLE, BINARY, LIST, STRUCT = 1, 2, 3, 5, 6, 7, 8, 9, 12

Struct = dict[int, tuple[int, Any]]

# Fields of parquet.thrift.
SCHEMA, ROWS_IN_ALL, GROUPS, PAIRS, CREATED_BY = 2, 3, 4, 5, 6  # FileMetaData
REPETITION = 3  # SchemaElement
CHUNKS, TOTAL_BYTES, ROWS = 1, 2, 3  # RowGroup
META = 3  # ColumnChunk
TYPE, CODEC, VALUES, STATISTICS, BLOOM_FILTER = 1, 4, 5, 12, 14  # ColumnMetaData
NULLS, DISTINCT, GREATEST, LEAST = 3, 4, 5, 6  # Statistics


def with_footer(content: bytes, change: Callable[[Struct], None]) -> bytes:
    """A file whose footer was changed, and whose own digest agrees."""
    length = int.from_bytes(content[-8:-4], "little")
    rows, footer = content[: -8 - length], content[-8 - length : -8]
    struct, end = _read(STRUCT, footer, 0)
    assert end == length
    assert _write(STRUCT, struct) == footer
    change(struct)
    for pair in struct[PAIRS][1][1] if PAIRS in struct else ():
        if pair[1] == (BINARY, METADATA_DIGEST):
            pair[2] = (BINARY, UNSTAMPED.encode())
    footer = _write(STRUCT, struct)
    return stamp(rows + footer + len(footer).to_bytes(4, "little") + b"PAR1")


def group_of(footer: Struct, number: int = 0) -> Struct:
    group: Struct = footer[GROUPS][1][1][number]
    return group


def chunk_of(footer: Struct, column: int, number: int = 0) -> Struct:
    """The metadata of a column in a group of rows."""
    meta: Struct = group_of(footer, number)[CHUNKS][1][1][column][META][1]
    return meta


def _read(kind: int, data: bytes, at: int) -> tuple[Any, int]:
    if kind in (TRUE, FALSE):
        return kind == TRUE, at
    if kind == BYTE:
        return data[at : at + 1], at + 1
    if kind == DOUBLE:
        return data[at : at + 8], at + 8
    if kind == LIST:
        return _read_list(data, at)
    if kind == STRUCT:
        return _read_struct(data, at)
    number, at = _read_number(data, at)
    if kind == BINARY:
        return data[at : at + number], at + number
    return number >> 1 ^ -(number & 1), at


def _read_number(data: bytes, at: int) -> tuple[int, int]:
    number = shift = 0
    while True:
        number |= (data[at] & 0x7F) << shift
        at, shift = at + 1, shift + 7
        if data[at - 1] < 0x80:
            return number, at


def _read_list(data: bytes, at: int) -> tuple[tuple[int, list[Any]], int]:
    count, kind = data[at] >> 4, data[at] & 15
    at += 1
    if count == 15:
        count, at = _read_number(data, at)
    values = []
    for _ in range(count):
        value, at = _read(kind, data, at)
        values.append(value)
    return (kind, values), at


def _read_struct(data: bytes, at: int) -> tuple[Struct, int]:
    fields: Struct = {}
    number = 0
    while data[at]:
        delta, kind = data[at] >> 4, data[at] & 15
        assert delta
        number += delta
        value, at = _read(kind, data, at + 1)
        fields[number] = kind, value
    return fields, at + 1


def _write(kind: int, value: Any) -> bytes:
    if kind in (TRUE, FALSE):
        return b""
    if kind in (BYTE, DOUBLE):
        return bytes(value)
    if kind == BINARY:
        return _number(len(value)) + value
    if kind == LIST:
        of, values = value
        head = bytes([len(values) << 4 | of]) if len(values) < 15 else bytes([0xF0 | of]) + _number(len(values))
        return head + b"".join(_write(of, one) for one in values)
    if kind == STRUCT:
        written, last = b"", 0
        for number, (of, inner) in sorted(value.items()):
            written += bytes([(number - last) << 4 | of]) + _write(of, inner)
            last = number
        return written + b"\0"
    return _number(value << 1 ^ value >> 63)


def _number(value: int) -> bytes:
    written = bytearray()
    while value >= 0x80:
        written.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*written, value])
