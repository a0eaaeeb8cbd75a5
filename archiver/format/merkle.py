"""The Merkle tree of RFC 6962 §2.1, exactly as written.

Laws: the root of no leaves is the digest of nothing; a leaf and a node can never be taken for one another, since
each is
hashed behind a byte of its own.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Final

EMPTY_ROOT: Final = sha256(b"").digest()


def leaf_digest(data: bytes) -> bytes:
    """MTH({d}) = SHA-256(0x00 || d)."""
    return sha256(b"\x00" + data).digest()


def node_digest(left: bytes, right: bytes) -> bytes:
    """SHA-256(0x01 || left || right)."""
    return sha256(b"\x01" + left + right).digest()


def tree_root(leaves: Sequence[bytes]) -> bytes:
    """MTH of a list of leaf digests (32 bytes each), 32 bytes.

    RFC 6962 splits at the largest power of two below the size; joining neighbours level by level, and carrying an odd
    last node up unchanged, gives the same tree without recursion.
    """
    if not leaves:
        return EMPTY_ROOT
    level = list(leaves)
    while len(level) > 1:
        joined = [sha256(b"\x01" + left + right).digest() for left, right in zip(level[::2], level[1::2], strict=False)]
        if len(level) % 2:
            joined.append(level[-1])
        level = joined
    return level[0]
