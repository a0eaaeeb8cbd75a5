"""The tree of RFC 6962: its published vectors, and an implementation that follows its words one by one."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.format.merkle import EMPTY_ROOT, leaf_digest, node_digest, tree_root
from tests.archiving.strategies import PROPERTY

# The eight leaves and the roots of trees of 1 to 8 of them, from the reference code of the RFC's authors
# (google/certificate-transparency, merkletree tests).
LEAVES = [
    bytes.fromhex(text)
    for text in ["", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f"]
]
ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def mth(entries: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, recursive as the RFC writes it."""
    if not entries:
        return sha256(b"").digest()
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    return sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:])).digest()


@pytest.mark.parametrize("size", range(1, 9))
def test_the_vectors_of_the_reference_code_hold(size):
    """Anyone's RFC 6962 tools must accept our roots."""
    assert tree_root([leaf_digest(entry) for entry in LEAVES[:size]]).hex() == ROOTS[size - 1]
    assert mth(LEAVES[:size]).hex() == ROOTS[size - 1]


@PROPERTY
@given(st.lists(st.binary(max_size=4), max_size=70))
def test_the_tree_is_that_of_the_recursive_definition(entries):
    """Joining level by level is only a faster way to say what the RFC says."""
    assert tree_root([leaf_digest(entry) for entry in entries]) == mth(entries)


def test_the_empty_tree_is_the_digest_of_nothing():
    """RFC 6962 §2.1: "The hash of an empty list is the hash of an empty string"."""
    assert tree_root([]) == EMPTY_ROOT == sha256(b"").digest()


def test_a_leaf_is_never_a_node():
    """Without the two prefixes a forged leaf could stand for a whole branch."""
    left, right = leaf_digest(b"a"), leaf_digest(b"b")
    assert tree_root([left, right]) == node_digest(left, right)
    assert leaf_digest(left + right) != node_digest(left, right)
    assert leaf_digest(b"\x01" + left + right) != node_digest(left, right)
