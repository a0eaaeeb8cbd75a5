"""The proof of a change: one spelling, both directions, and every rule of docs/format.md §15 broken once."""

import json
from dataclasses import replace
from hashlib import sha256

import pytest
from hypothesis import given
from hypothesis import strategies as st

from archiver.format.canonical import canonical
from archiver.format.log_entry import compose_entry
from archiver.format.merkle import inclusion_path, leaf_digest, root_of_path, tree_root
from archiver.format.note import SignedNote
from archiver.format.proof import Envelope, Proof, Shown, prove_row
from archiver.format.record import change_record
from archiver.signer import public_pem
from tests.archiving.proofs import (
    LEAVES,
    LOG,
    LOG_LEAVES,
    NONSENSE,
    ORIGIN,
    OTHERWISE_SPELLED,
    PLACE,
    ROWS,
    SEGMENT,
    SENSE,
    SIGNER,
    SOURCE,
    Forge,
    block,
    padding,
    signed,
    worked,
)
from tests.archiving.strategies import PROPERTY, STREAM_ARN, records

# --- the worked example ---


def test_the_worked_example_is_what_is_composed():
    """Somebody writes another checker from it."""
    assert worked(0).compose().decode() == block("proof") + "\n"
    assert signed(ORIGIN, LOG_LEAVES).compose().decode() == block("proof-checkpoint") + "\n"
    assert public_pem(SIGNER.public_key).decode() == block("proof-key") + "\n"
    assert "\n".join(compose_entry(entry).decode() for entry in LOG) == block("proof-entries")
    assert PLACE.root == block("root")
    assert json.loads(block("proof"))["envelope"] == json.loads(block("envelope-a"))


@pytest.mark.parametrize("number", range(3))
@pytest.mark.parametrize("shows", [True, False])
def test_a_proof_comes_back_as_it_was(number, shows):
    """Also with the key in another spelling than its item's, and with a fraction of a second."""
    proof = worked(number, shows=shows)
    assert Proof.parse(proof.compose()) == proof
    assert (proof.shown is None) != shows
    envelope, row = proof.envelope, ROWS[number]
    assert (envelope.change_id, envelope.op, envelope.sequence_number) == (row.change_id, row.op, row.sequence_number)
    assert envelope.changed_at_ms == row.changed_at_ms
    assert leaf_digest(envelope.text) == row.leaf
    if shows:
        assert (proof.shown.old, proof.shown.new) == (row.old_image, row.new_image)


def test_the_key_is_shown_as_it_was_delivered():
    """The leaf covers the delivered spelling, `7.0`, and not that of the item key."""
    assert worked(2).shown.keys == b'{"pk":{"S":"CUST#9"},"sk":{"N":"7.0"}}'


def test_nothing_of_key_and_images_stands_in_a_withheld_proof():
    """Else withholding is a word only."""
    content = worked(0, shows=False).compose()
    for text in (b"CUST#7", b"PAID", b"NEW", b"10.50", b"status"):
        assert text in worked(0).compose()
        assert text not in content.replace(b"NEW_AND_OLD_IMAGES", b"")


@PROPERTY
@given(st.lists(records(), min_size=1, max_size=9), st.data())
def test_every_record_that_can_be_archived_can_be_proved(delivered, data):
    """Nothing that a stream delivers is beyond a proof: unknown fields, depth, awkward text."""
    rows = [change_record(one, SOURCE, None) for one in delivered]
    index = data.draw(st.integers(0, len(rows) - 1))
    row = rows[index]
    assert delivered[index]["eventSourceARN"] == STREAM_ARN
    leaves = [one.leaf for one in rows]
    root = tree_root(leaves).hex()
    hour_ms = row.changed_at_ms - row.changed_at_ms % 3_600_000
    segment = replace(
        SEGMENT,
        path=replace(PLACE, hour_ms=hour_ms, first_sequence=row.sequence_number, root=root).compose(),
        stream_label=STREAM_ARN.rpartition("/")[2],
        root=root,
        records=len(rows),
        first_sequence=row.sequence_number,
        last_sequence=row.sequence_number,
        first_changed_at_ms=row.changed_at_ms,
        last_changed_at_ms=row.changed_at_ms,
    )
    before = padding(data.draw(st.integers(0, 20)))
    entries = [*before, leaf_digest(compose_entry(segment)), *padding(data.draw(st.integers(0, 20)))]
    proof = prove_row(
        row,
        shows=data.draw(st.booleans()),
        rows=leaves,
        row_index=index,
        segment=segment,
        entries=entries,
        entry_index=len(before),
        checkpoint=signed(ORIGIN, entries),
    )
    assert Proof.parse(proof.compose()) == proof


# --- paths: every leaf of every tree up to 40 ---


def path_by_the_letter(m: int, leaves: list[bytes]) -> list[bytes]:
    """PATH(m, D[n]) of RFC 6962 §2.1.1, with MTH of §2.1 over digests of leaves."""

    def mth(part: list[bytes]) -> bytes:
        if len(part) == 1:
            return part[0]
        half = split(len(part))
        return sha256(b"\x01" + mth(part[:half]) + mth(part[half:])).digest()

    def split(n: int) -> int:
        k = 1
        while k * 2 < n:
            k *= 2
        return k

    if len(leaves) == 1:
        return []
    k = split(len(leaves))
    if m < k:
        return [*path_by_the_letter(m, leaves[:k]), mth(leaves[k:])]
    return [*path_by_the_letter(m - k, leaves[k:]), mth(leaves[:k])]


@pytest.mark.parametrize("size", range(1, 41))
def test_the_path_of_every_leaf_is_that_of_the_rfc(size):
    """And leads to the root from this place in a tree of this size, and from no other place or size."""
    leaves = padding(size)
    root = tree_root(leaves)
    for index, leaf in enumerate(leaves):
        path = inclusion_path(leaves, index)
        assert path == path_by_the_letter(index, leaves)
        assert root_of_path(leaf, index, size, path) == root
        for other in range(size):
            if other != index:
                assert leads_elsewhere(leaf, other, size, path, root)
        for wrong in (path[:-1], [*path, root], path[::-1], [*path[:1], *path]):
            if wrong != path:
                assert leads_elsewhere(leaf, index, size, wrong, root)


def leads_elsewhere(leaf: bytes, index: int, size: int, path: list[bytes], root: bytes) -> bool:
    try:
        return root_of_path(leaf, index, size, path) != root
    except ValueError:
        return True


# --- what is refused ---


@pytest.mark.parametrize(("name", "change", "reason"), [(name, change, why) for name, change, why, _ in NONSENSE])
def test_a_proof_that_says_nonsense_is_refused(name, change, reason):
    """Though every digest leads up and the signature is valid: what cannot be true is not proved."""
    forge = Forge.of(worked(0))
    change(forge)
    with pytest.raises(ValueError, match=r"(?i)" + reason.replace("*", r"\*")):
        Proof.parse(forge.sealed())


@pytest.mark.parametrize(("name", "change"), SENSE)
def test_a_proof_of_what_can_be_is_accepted(name, change):
    """The last value inside each bound; a checker that refuses everything proves nothing either."""
    forge = Forge.of(worked(0))
    change(forge)
    content = forge.sealed()
    assert Proof.parse(content).compose() == content


WORKED = worked(0).compose()


@pytest.mark.parametrize("other", OTHERWISE_SPELLED, ids=range(len(OTHERWISE_SPELLED)))
def test_a_proof_in_another_spelling_is_refused(other):
    """One content, one file: a digest of the file is a name for what it says."""
    with pytest.raises(ValueError, match=r"."):
        Proof.parse(other)


def changed(**members):
    return canonical(json.loads(WORKED) | members) + b"\n"


@pytest.mark.parametrize(
    ("members", "reason"),
    [
        ({"record_index": 1}, "segment"),
        ({"record_index": 3}, "no leaf 3"),
        ({"record_index": -1}, "not an index"),
        ({"record_index": False}, "not an index"),
        ({"record_index": "0"}, "not an index"),
        ({"entry_index": 0}, "checkpoint"),
        ({"entry_index": 3}, "no leaf 3"),
        ({"record_path": None}, "not a list"),
        ({"record_path": {}}, "not a list"),
        ({"record_path": []}, "shorter"),
        ({"record_path": [LEAVES[1].hex()]}, "shorter"),
        ({"record_path": [LEAVES[1].hex(), LEAVES[2].hex(), "00" * 32]}, "longer"),
        ({"record_path": [LEAVES[2].hex(), LEAVES[1].hex()]}, "segment"),
        ({"record_path": [LEAVES[1].hex().upper(), LEAVES[2].hex()]}, "hex"),
        ({"record_path": [LEAVES[1].hex()[:-2], LEAVES[2].hex()]}, "hex"),
        ({"record_path": LEAVES[1].hex()}, "not a list"),
        ({"record_path": [LEAVES[1].hex() + "00", LEAVES[2].hex()]}, "hex"),
        ({"record_path": [1, 2]}, "hex"),
        ({"entry_path": json.loads(WORKED)["record_path"]}, "checkpoint"),
        ({"checkpoint": None}, "checkpoint"),
        ({"checkpoint": ""}, "checkpoint"),
        ({"checkpoint": worked(0).checkpoint.text}, "signatures"),
        ({"checkpoint": signed(ORIGIN, LOG_LEAVES[:2]).compose().decode()}, "no such|longer|lead|shorter"),
        ({"checkpoint": signed(ORIGIN, [*LOG_LEAVES, LOG_LEAVES[0]]).compose().decode()}, "lead|shorter"),
        ({"checkpoint": signed(ORIGIN, LOG_LEAVES[::-1]).compose().decode()}, "lead"),
    ],
)
def test_a_path_or_a_head_that_does_not_fit_is_refused(members, reason):
    """A path has one length, and leads from one place in a tree of one size."""
    with pytest.raises(ValueError, match=reason):
        Proof.parse(changed(**members))


def test_a_second_signature_is_refused():
    """A checker has one key; bytes that it cannot judge could be changed unseen."""
    proof = worked(0)
    note = proof.checkpoint
    twice = SignedNote(note.text, (*note.signatures, replace(note.signatures[0], key_name="witness.example")))
    with pytest.raises(ValueError, match="one signature"):
        replace(proof, checkpoint=twice)
    with pytest.raises(ValueError, match="one signature"):
        Proof.parse(changed(checkpoint=twice.compose().decode()))


@pytest.mark.parametrize("name", ["keys", "old", "new"])
def test_what_is_shown_is_what_the_record_held(name):
    """By the digest in the envelope, under the domain of its kind: an image is no key."""
    shown = worked(0).shown
    other = Shown(**{"keys": shown.keys, "old": shown.old, "new": shown.new} | {name: b"{}"})
    with pytest.raises(ValueError, match="is not the one"):
        replace(worked(0), shown=other)


@pytest.mark.parametrize(
    ("created", "expected"),
    [(1_795_414_530, 1_795_414_530_000), ("1795414530.1239", 1_795_414_530_123), ("1795414532.25", 1_795_414_532_250)],
)
def test_a_time_is_cut_as_the_column_is(created, expected):
    """The proof says the same instant as the row: digits below the millisecond are cut off."""
    assert Envelope.of(json.loads(block("envelope-a")) | {"ts": created}).changed_at_ms == expected


@PROPERTY
@given(st.integers(0, len(WORKED) - 1), st.integers(0, 255))
def test_another_byte_makes_no_proof_but_for_the_signature(position, byte):
    """No byte of a proof is without meaning; the signature is for whoever has the key."""
    content = WORKED[:position] + bytes([byte]) + WORKED[position + 1 :]
    try:
        found = Proof.parse(content)
    except ValueError:
        return
    assert found.compose() == content
    if content != WORKED:
        assert replace(found, checkpoint=worked(0).checkpoint) == worked(0)
        assert found.signature != worked(0).signature
