"""The Merkle tree of RFC 6962 §2.1, exactly as written: root, proofs, and the compact range that goes on from a size.

Laws: the root of no leaves is the digest of nothing; a leaf and a node can never be taken for one another, since each
is hashed behind a byte of its own; a check accepts exactly the proof that this module makes, neither longer nor
shorter.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

DIGEST_BYTES: Final = 32

EMPTY_ROOT: Final = sha256(b"").digest()


def leaf_digest(data: bytes) -> bytes:
    """MTH({d}) = SHA-256(0x00 || d)."""
    return sha256(b"\x00" + data).digest()


def leaf_digests(data: Iterable[bytes]) -> list[bytes]:
    """The same of many."""
    return [sha256(b"\x00" + one).digest() for one in data]


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


# --- Proofs. Making one costs the whole tree (these trees are small); checking one, its length. ---


def inclusion_path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """PATH(index, leaves), RFC 6962 §2.1.1: the digests that lead from a leaf to the root. Raises ValueError."""
    if not 0 <= index < len(leaves):
        raise ValueError(f"there is no leaf {index} in a tree of {len(leaves)}")
    if len(leaves) == 1:
        return []
    split = _split(len(leaves))
    if index < split:
        return [*inclusion_path(leaves[:split], index), tree_root(leaves[split:])]
    return [*inclusion_path(leaves[split:], index - split), tree_root(leaves[:split])]


def consistency_path(leaves: Sequence[bytes], size: int) -> list[bytes]:
    """PROOF(size, leaves), RFC 6962 §2.1.2: that the tree of the first `size` leaves is the beginning of this one.

    Empty for the same size. Raises ValueError for no leaves, or more than there are.
    """
    if not 0 < size <= len(leaves):
        raise ValueError(f"a tree of {len(leaves)} leaves has no earlier one of {size}")
    return _subproof(leaves, size, is_known=True)


def root_of_path(leaf: bytes, index: int, size: int, path: Sequence[bytes]) -> bytes:
    """The root of the tree of `size` leaves in which `path` puts `leaf` at `index` (RFC 9162 §2.1.3.2).

    Raises ValueError for a path that fits no such leaf. The caller compares the root.
    """
    if not 0 <= index < size:
        raise ValueError(f"there is no leaf {index} in a tree of {size}")
    _check_digests(leaf, *path)
    node, last, root = index, size - 1, leaf
    for digest in path:
        if last == 0:
            raise ValueError(f"the path is longer than that of leaf {index} in a tree of {size}")
        if node % 2 or node == last:
            root = node_digest(digest, root)
            while node % 2 == 0 and node:
                node, last = node // 2, last // 2
        else:
            root = node_digest(root, digest)
        node, last = node // 2, last // 2
    if last:
        raise ValueError(f"the path is shorter than that of leaf {index} in a tree of {size}")
    return root


def check_consistency(size: int, root: bytes, later_size: int, later_root: bytes, path: Sequence[bytes]) -> None:
    """Raises ValueError unless `path` shows that the tree of `size` leaves with `root` is the beginning of the later
    one (RFC 9162 §2.1.4.2). Between two equal sizes the roots must be equal and the path empty.
    """
    if not 0 < size <= later_size:
        raise ValueError(f"a tree of {later_size} leaves has no earlier one of {size}")
    _check_digests(root, later_root, *path)
    if size == later_size:
        if path:
            raise ValueError("a proof between two trees of one size is empty")
        if root != later_root:
            raise ValueError(f"two trees of {size} leaves have different roots")
        return
    digests = [*([root] if size & (size - 1) == 0 else []), *path]
    if not path:
        raise ValueError(f"no proof that a tree of {size} leaves became one of {later_size}")
    node, last = size - 1, later_size - 1
    while node % 2:
        node, last = node // 2, last // 2
    former = latter = digests[0]
    for digest in digests[1:]:
        if last == 0:
            raise ValueError(f"the proof is longer than that from {size} leaves to {later_size}")
        if node % 2 or node == last:
            former, latter = node_digest(digest, former), node_digest(digest, latter)
            while node % 2 == 0 and node:
                node, last = node // 2, last // 2
        else:
            latter = node_digest(latter, digest)
        node, last = node // 2, last // 2
    if last:
        raise ValueError(f"the proof is shorter than that from {size} leaves to {later_size}")
    if former != root:
        raise ValueError(f"the proof does not lead to the root of the tree of {size} leaves")
    if latter != later_root:
        raise ValueError(f"the proof does not lead to the root of the tree of {later_size} leaves")


@dataclass(frozen=True, slots=True)
class CompactRange:
    """What is needed of a tree to go on from it: its size and the roots of its complete subtrees, the largest first."""

    size: int = 0
    roots: tuple[bytes, ...] = ()

    def __post_init__(self) -> None:
        if self.size < 0 or len(self.roots) != self.size.bit_count():
            raise ValueError(f"a tree of {self.size} leaves has not {len(self.roots)} complete subtrees")
        _check_digests(*self.roots)

    def append(self, leaf: bytes) -> Self:
        """The range with one leaf more."""
        roots, joined = list(self.roots), leaf
        for _ in range((~self.size & (self.size + 1)).bit_length() - 1):  # as many as the size ends in binary ones
            joined = node_digest(roots.pop(), joined)
        return type(self)(self.size + 1, (*roots, joined))

    @property
    def root(self) -> bytes:
        """The root of the whole tree."""
        if not self.roots:
            return EMPTY_ROOT
        *others, root = self.roots
        for left in reversed(others):
            root = node_digest(left, root)
        return root


def _subproof(leaves: Sequence[bytes], size: int, *, is_known: bool) -> list[bytes]:
    """SUBPROOF of RFC 6962 §2.1.2; `is_known` is its b: the verifier has the root of these leaves."""
    if size == len(leaves):
        return [] if is_known else [tree_root(leaves)]
    split = _split(len(leaves))
    if size <= split:
        return [*_subproof(leaves[:split], size, is_known=is_known), tree_root(leaves[split:])]
    return [*_subproof(leaves[split:], size - split, is_known=False), tree_root(leaves[:split])]


def _split(size: int) -> int:
    """The largest power of two below a size above one."""
    return 1 << (size - 1).bit_length() - 1


def _check_digests(*digests: bytes) -> None:
    for digest in digests:
        if len(digest) != DIGEST_BYTES:
            raise ValueError(f"a digest has {DIGEST_BYTES} bytes, not {len(digest)}")
