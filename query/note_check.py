"""Whether a signed note bears the signature of a key that somebody pinned. The only file of the reader that imports
cryptography.

Invariant: the key is the reviewer's own and comes from a file that was named; nothing of the archive says which key
to trust but an entry signed with the key trusted before it.
"""

from base64 import b64decode
from hashlib import sha256
from pathlib import Path
from typing import TypeAlias

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP256R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
    load_pem_public_key,
)

from archiver.format.note import SignedNote, ecdsa_key_id, ed25519_key_id
from query.errors import UsageError

PublicKey: TypeAlias = Ed25519PublicKey | EllipticCurvePublicKey


class SignedByOthers(ValueError):  # noqa: N818
    """A note bears no signature that says to be of the key in question: valid or not, others signed it."""


def load_public_key(path: Path) -> PublicKey:
    """The public key in a PEM file. Raises UsageError for what is none, and for a private key."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UsageError(
            f"the public key {path} could not be read",
            why=error.strerror or str(error),
            hint="name the .pub file that ddbtrail key create wrote, or what KMS gives as the public key",
        ) from error
    try:
        return parse_public_pem(content)
    except ValueError as error:
        why = "it is a private key" if b"PRIVATE KEY" in content else str(error)
        raise UsageError(
            f"{path} is no public key", why=why, hint="name a file that begins with -----BEGIN PUBLIC KEY-----"
        ) from error


def parse_public_pem(content: bytes) -> PublicKey:
    """The public key in PEM. Raises ValueError for what is none of Ed25519 or P-256."""
    try:
        return _supported(load_pem_public_key(content))
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error


def public_pem(key: PublicKey) -> bytes:
    """SubjectPublicKeyInfo in PEM, as openssl reads it."""
    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def algorithm(key: PublicKey) -> str:
    """How a key signs, in words."""
    return "Ed25519" if isinstance(key, Ed25519PublicKey) else "ECDSA P-256 with SHA-256"


def parse_public_key(text: str) -> PublicKey:
    """The public key in a `key-rotation` entry. Raises ValueError."""
    try:
        return _supported(load_der_public_key(b64decode(text, validate=True)))
    except UnsupportedAlgorithm as error:
        raise ValueError(str(error)) from error


def fingerprint(key: PublicKey) -> str:
    """SHA-256 of a key's SubjectPublicKeyInfo, in hex: what `openssl pkey -pubin -outform DER | sha256sum` prints."""
    return sha256(_info(key)).hexdigest()


def check_note(note: SignedNote, origin: str, key: PublicKey) -> None:
    """Raises ValueError unless a note bears a valid signature of the key under the name `origin`: SignedByOthers if it
    has none at all of that key.

    Signatures under other names (witnesses) are passed over; every one that says to be of this key must be valid.
    """
    ours = ed25519_key_id(origin, key.public_bytes_raw()) if isinstance(key, Ed25519PublicKey) else _ecdsa_id(key)
    signed = [one.signature for one in note.signatures if (one.key_name, one.key_id) == (origin, ours)]
    if not signed:
        others = ", ".join(f"{one.key_name} {one.key_id.hex()}" for one in note.signatures)
        raise SignedByOthers(f"it is not signed with the key {ours.hex()}, but by {others}")
    try:
        for signature in signed:
            check_detached(note.text.encode(), signature, key)
    except ValueError as error:
        raise ValueError("its signature is not valid") from error


def check_detached(content: bytes, signature: bytes, key: PublicKey) -> None:
    """Raises ValueError unless a signature of its own is that of the key over these bytes."""
    try:
        if isinstance(key, Ed25519PublicKey):
            key.verify(signature, content)
        else:
            key.verify(signature, content, ECDSA(SHA256()))
    except InvalidSignature as error:
        raise ValueError("the signature is not valid") from error


def _supported(key: object) -> PublicKey:
    if isinstance(key, Ed25519PublicKey):
        return key
    if isinstance(key, EllipticCurvePublicKey) and isinstance(key.curve, SECP256R1):
        return key
    raise ValueError("it is neither Ed25519 nor P-256")


def _ecdsa_id(key: EllipticCurvePublicKey) -> bytes:
    return ecdsa_key_id(_info(key))


def _info(key: PublicKey) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
