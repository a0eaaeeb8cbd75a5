"""Signatures of notes and the keys they are checked with: docs/verify.md, *The log*, and what a reviewer may pin."""

from __future__ import annotations

import hashlib
from base64 import b64decode, b64encode
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from archiver.format.note import NoteSignature, SignedNote
from archiver.signer import LocalSigner, public_key_text, public_pem
from query.errors import UsageError
from query.note_check import SignedByOthers, check_note, fingerprint, load_public_key, parse_public_key

ORIGIN, TEXT = "ddbtrail/111122223333/eu-west-1/orders", "ddbtrail/111122223333/eu-west-1/orders\n7\nroot\n"
ED25519 = LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"one").digest()))
ANOTHER = LocalSigner(ed25519.Ed25519PrivateKey.from_private_bytes(hashlib.sha256(b"two").digest()))
P256 = LocalSigner(ec.derive_private_key(4711, ec.SECP256R1()))
BOTH_KINDS = pytest.mark.parametrize("signer", [ED25519, P256], ids=["ed25519", "p256"])

RFC_8410 = "MCowBQYDK2VwAyEAGb9ECWmEzf6FQbrBZ9w7lshQhqowtrbLDFw4rXAxZuE="  # §10.1, its Ed25519 public key
P384 = ec.derive_private_key(4711, ec.SECP384R1())
# An Ed25519 key that says to be of another kind: 1.3.101.104, which nobody has.
OF_NO_KIND = b64encode(b64decode(RFC_8410).replace(bytes.fromhex("06032b6570"), bytes.fromhex("06032b6568"))).decode()


def pem(text: str) -> bytes:
    return f"-----BEGIN PUBLIC KEY-----\n{text}\n-----END PUBLIC KEY-----\n".encode()


def info(key) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def note(*signatures: NoteSignature, text: str = TEXT) -> SignedNote:
    return SignedNote(text, signatures)


# --- whether a note is signed ---


@BOTH_KINDS
def test_a_note_is_signed_by_the_key_that_signed_it(signer):
    """Alone, twice, and among signatures of witnesses, wherever it stands."""
    ours, witness = signer.sign(ORIGIN, TEXT), ANOTHER.sign("witness.example/w1", TEXT)
    for signatures in ((ours,), (ours, ours), (witness, ours), (ours, witness)):
        check_note(note(*signatures), ORIGIN, signer.public_key)


@BOTH_KINDS
def test_a_signature_of_another_text_is_not_valid(signer):
    """It says to be of the key, so it is not one by others."""
    with pytest.raises(ValueError, match="not valid") as refused:
        check_note(note(signer.sign(ORIGIN, TEXT), text=TEXT.replace("7", "8")), ORIGIN, signer.public_key)
    assert not isinstance(refused.value, SignedByOthers)


@BOTH_KINDS
def test_each_signature_that_says_to_be_of_the_key_must_be_valid(signer):
    """One that is does not excuse one that is not, whichever comes first."""
    ours = signer.sign(ORIGIN, TEXT)
    spoilt = replace(ours, signature=ours.signature[:-1] + bytes([ours.signature[-1] ^ 1]))
    for signatures in ((ours, spoilt), (spoilt, ours)):
        with pytest.raises(ValueError, match="not valid"):
            check_note(note(*signatures), ORIGIN, signer.public_key)


@BOTH_KINDS
def test_what_others_signed_is_told_with_their_names_and_keys(signer):
    """A reviewer may recognise them."""
    one, other = ANOTHER.sign(ORIGIN, TEXT), ANOTHER.sign("witness.example/w1", TEXT)
    with pytest.raises(SignedByOthers) as refused:
        check_note(note(one, other), ORIGIN, signer.public_key)
    ours = signer.sign(ORIGIN, TEXT).key_id.hex()
    names = f"{ORIGIN} {one.key_id.hex()}, witness.example/w1 {other.key_id.hex()}"
    assert str(refused.value) == f"it is not signed with the key {ours}, but by {names}"


@BOTH_KINDS
def test_the_name_of_another_log_is_that_of_another_signer(signer):
    """The same key may seal two trails: what it signed as the one says nothing of the other."""
    for name in (f"{ORIGIN}2", "witness.example/w1"):
        with pytest.raises(SignedByOthers):
            check_note(note(signer.sign(name, TEXT)), ORIGIN, signer.public_key)


@BOTH_KINDS
def test_a_signature_that_says_to_be_of_another_key_is_of_another(signer):
    """Even one that would be valid."""
    with pytest.raises(SignedByOthers):
        check_note(note(replace(signer.sign(ORIGIN, TEXT), key_id=b"\0\1\2\3")), ORIGIN, signer.public_key)


# --- keys ---


@BOTH_KINDS
def test_a_key_is_read_from_a_file_and_from_an_entry(signer, tmp_path):
    path = tmp_path / "orders.pub"
    path.write_bytes(public_pem(signer.public_key))
    assert load_public_key(path) == signer.public_key
    assert parse_public_key(public_key_text(signer.public_key)) == signer.public_key


@pytest.mark.parametrize("key", [parse_public_key(RFC_8410), P256.public_key], ids=["ed25519", "p256"])
def test_a_fingerprint_is_what_openssl_and_sha256sum_print(key):
    """Two people compare it by voice: SHA-256 of the SubjectPublicKeyInfo in DER."""
    assert fingerprint(key) == hashlib.sha256(info(key)).hexdigest()
    assert info(parse_public_key(RFC_8410)) == b64decode(RFC_8410)


@pytest.mark.parametrize(
    "key", [P384.public_key(), rsa.generate_private_key(65537, 1024).public_key()], ids=["P-384", "RSA"]
)
def test_keys_of_other_kinds_are_refused(key, tmp_path):
    """What this verifier cannot check it does not pin."""
    path = tmp_path / "key.pub"
    path.write_bytes(key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    with pytest.raises(UsageError) as refused:
        load_public_key(path)
    assert refused.value.why == "it is neither Ed25519 nor P-256"
    with pytest.raises(ValueError, match="neither Ed25519 nor P-256"):
        parse_public_key(b64encode(info(key)).decode())


def test_a_kind_that_nobody_knows_is_no_key(tmp_path):
    """Of a newer version, perhaps."""
    path = tmp_path / "key.pub"
    path.write_bytes(pem(OF_NO_KIND))
    with pytest.raises(UsageError):
        load_public_key(path)
    with pytest.raises(ValueError, match=r"."):
        parse_public_key(OF_NO_KIND)


@pytest.mark.parametrize(
    "text", ["", "AAAA", RFC_8410[:-4], f"{RFC_8410}\n", f" {RFC_8410}", RFC_8410.replace("G", "G\n", 1), "é"], ids=repr
)
def test_an_entry_has_a_key_in_one_spelling(text):
    """Two spellings of one key would be two entries that say the same."""
    with pytest.raises(ValueError, match=r"."):
        parse_public_key(text)


def test_a_file_that_holds_no_key_says_why(tmp_path):
    """A private key is named as such: a reviewer should not have it."""
    path = tmp_path / "key.pub"
    with pytest.raises(UsageError) as missing:
        load_public_key(path)
    assert (str(path) in missing.value.message, missing.value.why) == (True, "No such file or directory")
    path.write_bytes(ED25519.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    with pytest.raises(UsageError) as private:
        load_public_key(path)
    assert (str(path) in private.value.message, private.value.why) == (True, "it is a private key")
    path.write_bytes(b"no key")
    with pytest.raises(UsageError) as other:
        load_public_key(path)
    assert "private" not in other.value.why
