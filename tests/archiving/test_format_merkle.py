"""The tree of RFC 6962: its published vectors, and an implementation that follows its words one by one."""

from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.format.merkle import (
    EMPTY_ROOT,
    CompactRange,
    check_consistency,
    consistency_path,
    inclusion_path,
    leaf_digest,
    node_digest,
    root_of_path,
    tree_root,
)
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


# --- Proofs ---

SIZES = range(1, 34)  # past two powers of two, and both sides of each
DIGESTS = [leaf_digest(bytes([number])) for number in range(max(SIZES))]
ROOT_OF = [tree_root(DIGESTS[:size]) for size in range(len(DIGESTS) + 1)]
# From the same tests of the RFC's authors: (leaf counted from 1, size of the tree, path).
PATHS = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (3, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
]


@pytest.mark.parametrize(("leaf", "size", "path"), PATHS)
def test_the_paths_of_the_reference_code_hold(leaf, size, path):
    """Made as they make them, and accepted as they accept them."""
    leaves = [leaf_digest(entry) for entry in LEAVES[:size]]
    assert [digest.hex() for digest in inclusion_path(leaves, leaf - 1)] == path
    assert (
        root_of_path(leaves[leaf - 1], leaf - 1, size, [bytes.fromhex(text) for text in path]).hex() == ROOTS[size - 1]
    )


@pytest.mark.parametrize("size", SIZES)
def test_a_leaf_is_proved_in_its_place_and_in_no_other(size):
    """For every leaf, every other place and every other size: the root is another, or the path does not fit."""
    leaves = DIGESTS[:size]
    for index in range(size):
        path = inclusion_path(leaves, index)
        assert root_of_path(leaves[index], index, size, path) == ROOT_OF[size]
        for other in range(size):
            if other != index:
                assert leads_elsewhere(leaves[index], other, size, path, ROOT_OF[size])
        for other_size in SIZES:
            if other_size != size and index < other_size:
                assert leads_elsewhere(leaves[index], index, other_size, path, ROOT_OF[other_size])


def leads_elsewhere(leaf, index, size, path, root):
    try:
        return root_of_path(leaf, index, size, path) != root
    except ValueError:
        return True


@pytest.mark.parametrize("size", SIZES)
def test_a_path_with_more_or_less_is_refused(size):
    """Whatever is too much could be anything, and whatever is too little proves something else."""
    for index in range(size):
        path = inclusion_path(DIGESTS[:size], index)
        for wrong in ([*path, DIGESTS[0]], *([path[:-1]] if path else [])):
            with pytest.raises(ValueError, match=r"longer|shorter"):
                root_of_path(DIGESTS[index], index, size, wrong)
        for position in range(len(path)):
            spoiled = [*path[:position], bytes(32), *path[position + 1 :]]
            assert root_of_path(DIGESTS[index], index, size, spoiled) != ROOT_OF[size]


@pytest.mark.parametrize("later", SIZES)
def test_every_earlier_tree_is_proved_to_be_the_beginning(later):
    """And none with another root, in either place, nor with one digest more, fewer or other."""
    for size in range(1, later + 1):
        path = consistency_path(DIGESTS[:later], size)
        check_consistency(size, ROOT_OF[size], later, ROOT_OF[later], path)
        wrong = [
            (size, bytes(32), later, ROOT_OF[later], path),
            (size, ROOT_OF[size], later, bytes(32), path),
            (size, ROOT_OF[size], later, ROOT_OF[later], [*path, DIGESTS[0]]),
        ]
        if path:
            wrong.append((size, ROOT_OF[size], later, ROOT_OF[later], path[:-1]))
            wrong.append((size, ROOT_OF[size], later, ROOT_OF[later], []))
        for position in range(len(path)):
            spoiled = [*path[:position], bytes(32), *path[position + 1 :]]
            wrong.append((size, ROOT_OF[size], later, ROOT_OF[later], spoiled))
        wrong += [(other, ROOT_OF[other], later, ROOT_OF[later], path) for other in range(1, later) if other != size]
        wrong += [(size, ROOT_OF[size], other, ROOT_OF[other], path) for other in SIZES if other not in {size, later}]
        for attempt in wrong:
            with pytest.raises(ValueError, match=r"root|proof|earlier"):
                check_consistency(*attempt)


@pytest.mark.parametrize(("claimed", "told"), [(8, "shorter"), (2, "proof"), (3, None), (4, None), (5, "shorter")])
def test_a_proof_has_the_length_that_the_sizes_ask_for(claimed, told):
    """A true proof to a tree of four, shown for a log that says to be of another size with that very root: both roots
    are met, only the length tells. Three and four have proofs of one length, so what is signed names the size.
    """
    attempt = (2, ROOT_OF[2], claimed, ROOT_OF[4], consistency_path(DIGESTS[:4], 2))
    if told is None:
        check_consistency(*attempt)
        return
    with pytest.raises(ValueError, match=told):
        check_consistency(*attempt)


def test_a_proof_that_goes_on_beyond_the_root_says_so():
    """Nothing above the root is hashed: what is too much could be anything."""
    for later in SIZES[1:]:
        for size in range(1, later):
            path = consistency_path(DIGESTS[:later], size)
            with pytest.raises(ValueError, match="longer"):
                check_consistency(size, ROOT_OF[size], later, ROOT_OF[later], [*path, DIGESTS[0]])


def test_a_proof_from_no_tree_or_from_a_larger_one_is_none():
    """Every tree begins with the empty one, so that would say nothing."""
    for size, later in ((0, 3), (4, 3), (-1, 3)):
        with pytest.raises(ValueError, match="no earlier one"):
            check_consistency(size, EMPTY_ROOT, later, ROOT_OF[3], [])
        with pytest.raises(ValueError, match="no earlier one"):
            consistency_path(DIGESTS[:3], size)
    for index in (-1, 3):
        with pytest.raises(ValueError, match="no leaf"):
            inclusion_path(DIGESTS[:3], index)
        with pytest.raises(ValueError, match="no leaf"):
            root_of_path(DIGESTS[0], index, 3, [])


@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33)])
def test_what_is_no_digest_is_refused(digest):
    """Lengths that are not checked let two proofs be read in two ways."""
    with pytest.raises(ValueError, match="32 bytes"):
        root_of_path(digest, 0, 1, [])
    with pytest.raises(ValueError, match="32 bytes"):
        root_of_path(DIGESTS[0], 0, 2, [digest])
    with pytest.raises(ValueError, match="32 bytes"):
        check_consistency(1, digest, 1, digest, [])
    with pytest.raises(ValueError, match="32 bytes"):
        CompactRange(1, (digest,))


def test_a_compact_range_goes_on_from_any_size():
    """A sealer knows the log so far by a few digests, and gets the same roots as who has every leaf."""
    grown = CompactRange()
    assert grown.root == EMPTY_ROOT
    for size, leaf in enumerate(DIGESTS, start=1):
        grown = CompactRange(grown.size, grown.roots).append(leaf)
        assert (grown.size, grown.root) == (size, ROOT_OF[size])
        assert len(grown.roots) == size.bit_count()


@pytest.mark.parametrize(("size", "roots"), [(0, 1), (1, 0), (3, 1), (4, 2), (-1, 1)])
def test_a_compact_range_has_as_many_roots_as_its_size_has_ones(size, roots):
    """Else a log could be continued from a tree that never was."""
    with pytest.raises(ValueError, match="complete subtrees"):
        CompactRange(size, (DIGESTS[0],) * roots)
