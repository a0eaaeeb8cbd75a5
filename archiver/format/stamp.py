"""A Parquet file's own digest: it stands in the footer and covers every byte of the file, the footer included.

Parquet readers trust their input, and page checksums leave the footer out: a flipped bit there can hide rows or move
times unseen. So the footer says, under `ddbtrail.digest`, what the SHA-256 of the file is with that digest's own 64
characters taken as zeros.

A footer is Thrift's compact protocol, in which a key-value pair of two strings has one spelling: `18 len key 18 len
value 00` (apache/parquet-format, `KeyValue`; apache/thrift, *compact protocol*). So pairs are looked for as bytes,
before any parser sees them. Values of columns stand in the footer too, as statistics, but always before the metadata:
the last pair is the file's own.
"""

import struct
from hashlib import sha256
from typing import Final

from archiver.format.columns import METADATA_DIGEST

_MAGIC: Final = b"PAR1"
_LENGTH_BYTES: Final = 4
_SMALLEST_BYTES: Final = 12  # magic, an empty footer, its length, magic
_DIGEST_CHARACTERS: Final = 64

UNSTAMPED: Final = "0" * _DIGEST_CHARACTERS


def stamp(content: bytes) -> bytes:
    """`content`, written with the digest `UNSTAMPED`, with its own digest in that place."""
    start = _digest_start(content)
    return _with_digest(content, start, sha256(content).hexdigest().encode())


def check_stamp(content: bytes) -> None:
    """Refuses (ValueError) a file that is cut short, altered in any bit, or was never stamped."""
    start = _digest_start(content)
    stated = content[start : start + _DIGEST_CHARACTERS]
    digest = sha256(memoryview(content)[:start])
    digest.update(UNSTAMPED.encode())
    digest.update(memoryview(content)[start + _DIGEST_CHARACTERS :])
    if digest.hexdigest().encode() != stated:
        raise ValueError(f"its bytes have digest {digest.hexdigest()[:16]}, it says {stated[:16]!r}")


def has_pair(content: bytes, key: bytes, value: bytes) -> bool:
    """Whether the footer of a file states a value under a key. Raises ValueError for what is no Parquet file."""
    start = content.rfind(_pair_start(key, len(value)), _footer_start(content))
    return start >= 0 and content.startswith(_pair_start(key, len(value)) + value + b"\x00", start)


def _with_digest(content: bytes, start: int, digest: bytes) -> bytes:
    return b"".join((content[:start], digest, content[start + _DIGEST_CHARACTERS :]))


def _digest_start(content: bytes) -> int:
    """Where the 64 characters of the digest begin."""
    opening = _pair_start(METADATA_DIGEST, _DIGEST_CHARACTERS)
    start = content.rfind(opening, _footer_start(content))
    if start < 0:
        raise ValueError("its footer states no digest: it was not written by ddbtrail")
    return start + len(opening)


def _footer_start(content: bytes) -> int:
    if len(content) < _SMALLEST_BYTES:
        raise ValueError("it is too short to be a Parquet file")
    if content[-len(_MAGIC) :] != _MAGIC:
        raise ValueError("it does not end as a Parquet file does: it was cut short, or it is something else")
    length_start = len(content) - len(_MAGIC) - _LENGTH_BYTES
    (length,) = struct.unpack_from("<I", content, length_start)
    if length > length_start - len(_MAGIC):
        raise ValueError("its footer is longer than the file")
    return int(length_start - length)


def _pair_start(key: bytes, value_bytes: int) -> bytes:
    assert len(key) < 0x80 and value_bytes < 0x80, "a length of one byte"  # noqa: PT018, PLR2004
    return b"\x18" + bytes([len(key)]) + key + b"\x18" + bytes([value_bytes])
