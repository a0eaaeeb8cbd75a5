"""Signs the heads of logs: with a key in a local file, or one in KMS that nobody can take out.

The only file that imports cryptography or boto3 for signing. Invariants: a private key is written once, readable by its
owner only, and refused where others may read it; what comes out is a signature line under the log's own name.
"""

import os
import re
import stat
from base64 import b64encode
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Literal, Protocol

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import (
    ECDSA,
    SECP256R1,
    EllipticCurvePrivateKey,
    EllipticCurvePublicKey,
)
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_p256
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
    load_pem_private_key,
)

from archiver.errors import ArchiverError
from archiver.format.note import NoteSignature, SignedNote, ecdsa_key_id, ed25519_key_id

KeyKind = Literal["ed25519", "p256"]
PrivateKey = Ed25519PrivateKey | EllipticCurvePrivateKey
PublicKey = Ed25519PublicKey | EllipticCurvePublicKey

_OWNER_ONLY: Final = 0o600
# A message "up to 4096 bytes" is signed as it is (API *Sign*, MessageType RAW); a checkpoint has about 150.
_KMS_MESSAGE_BYTES_MAX: Final = 4096
_KMS_KEY: Final = re.compile(r"arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):[0-9]{12}:(?:key|alias)/[A-Za-z0-9:/_-]+")
_KMS_ALGORITHMS: Final = {"ed25519": "ED25519_SHA_512", "p256": "ECDSA_SHA_256"}


class KeyRefused(ArchiverError):  # noqa: N818
    """A key cannot be made, read or used. Nothing was signed."""


class Signer(Protocol):
    """Who signs."""

    @property
    def public_key(self) -> PublicKey: ...

    def sign(self, key_name: str, text: str) -> NoteSignature:
        """The signature of a note's text under a name. Raises KeyRefused."""
        ...


def create_key(path: Path, kind: KeyKind = "ed25519") -> PublicKey:
    """Writes a new private key (PEM, PKCS 8) and, beside it as `.pub`, its public one. Raises KeyRefused.

    Neither file may be there: a key that is overwritten is a log that cannot be continued.
    """
    key: PrivateKey = Ed25519PrivateKey.generate() if kind == "ed25519" else generate_p256(SECP256R1())
    public_path = path.with_name(f"{path.name}.pub")
    if public_path.exists():
        raise KeyRefused(f"{public_path} is there already", hint="choose another name: keys are never replaced")
    _write_new(path, key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()), _OWNER_ONLY)
    try:
        _write_new(public_path, public_pem(key.public_key()), 0o644)
    except KeyRefused:
        with suppress(OSError):
            path.unlink()  # nobody has signed with it
        raise
    return key.public_key()


def load_signer(path: Path) -> "LocalSigner":
    """The signer of a private key file. Raises KeyRefused, also for one that others may read."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_bytes()
    except OSError as error:
        raise KeyRefused(
            f"{path} could not be read: {error.strerror}",
            hint="make one: ddbtrail key create PATH",
        ) from error
    if mode & 0o077:
        raise KeyRefused(f"{path} may be read by others (mode {mode:04o})", hint=f"type chmod 600 {path}")
    try:
        key = load_pem_private_key(content, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise KeyRefused(
            f"{path} is no private key: {error}", hint="name the file without .pub, not encrypted"
        ) from error
    if isinstance(key, EllipticCurvePrivateKey) and not isinstance(key.curve, SECP256R1):
        raise KeyRefused(f"{path} is a key of {key.curve.name}", hint="keys are Ed25519 or P-256")
    if not isinstance(key, Ed25519PrivateKey | EllipticCurvePrivateKey):
        raise KeyRefused(f"{path} is a key of another kind", hint="keys are Ed25519 or P-256")
    return LocalSigner(key)


def open_signer(
    key: str, *, profile: str | None = None, region: str | None = None, endpoint_url: str | None = None
) -> Signer:
    """The signer behind the ARN of a KMS key, which also says its region; behind `alias/NAME`, an alias in the region
    that is set; or behind a private key file's path (`./alias/NAME` for a file of that name).

    Raises KeyRefused.
    """
    if key.startswith(("arn:", "alias/")):
        return _kms_signer(key, profile, region, endpoint_url)
    return load_signer(Path(key))


def _kms_signer(key: str, profile: str | None, region: str | None, endpoint_url: str | None) -> "KmsSigner":
    import boto3  # noqa: PLC0415
    from botocore.config import Config  # noqa: PLC0415

    named = _KMS_KEY.fullmatch(key)
    if named is None and not key.startswith("alias/"):
        raise KeyRefused(
            f"{key} is not the ARN of a KMS key", hint="write arn:aws:kms:REGION:ACCOUNT:key/ID, or the path of a key"
        )
    limits = Config(connect_timeout=5, read_timeout=10, retries={"mode": "standard", "total_max_attempts": 4})

    def client() -> Any:
        session = boto3.Session(profile_name=profile, region_name=region)
        where = region if named is None else named["region"]
        return session.client("kms", region_name=where, endpoint_url=endpoint_url, config=limits)

    return KmsSigner(_asked(client, key, "kms:GetPublicKey"), key)


@dataclass(frozen=True, slots=True)
class LocalSigner:
    """A private key in this process."""

    key: PrivateKey

    @property
    def public_key(self) -> PublicKey:
        return self.key.public_key()

    def sign(self, key_name: str, text: str) -> NoteSignature:
        message = text.encode()
        signature = (
            self.key.sign(message)
            if isinstance(self.key, Ed25519PrivateKey)
            else self.key.sign(message, ECDSA(SHA256()))
        )
        return NoteSignature(key_name, key_id(key_name, self.public_key), signature)


class KmsSigner:
    """An asymmetric key of KMS for signing. `client` is boto3's; `key` an id, ARN or alias.

    Invariant: every signature is by the key whose public half was told at first, wherever an alias points by now.
    """

    def __init__(self, client: Any, key: str) -> None:
        told = _asked(lambda: client.get_public_key(KeyId=key), key, "kms:GetPublicKey")
        found = load_der_public_key(told["PublicKey"])
        is_p256 = isinstance(found, EllipticCurvePublicKey) and isinstance(found.curve, SECP256R1)
        if told.get("KeyUsage") != "SIGN_VERIFY" or not (is_p256 or isinstance(found, Ed25519PublicKey)):
            raise KeyRefused(
                f"{key} is a key of {told.get('KeySpec') or 'another kind'} for {told.get('KeyUsage')}",
                hint="make one for signing: ECC_NIST_EDWARDS25519, or ECC_NIST_P256 where that is missing",
            )
        assert isinstance(found, Ed25519PublicKey | EllipticCurvePublicKey)
        self._client, self._key = client, told.get("KeyId", key)
        self._public_key: PublicKey = found

    @property
    def public_key(self) -> PublicKey:
        return self._public_key

    def sign(self, key_name: str, text: str) -> NoteSignature:
        message = text.encode()
        if len(message) > _KMS_MESSAGE_BYTES_MAX:
            raise KeyRefused(
                f"{len(message)} bytes are more than KMS signs at once", hint="sign with a key in a local file"
            )
        kind = "ed25519" if isinstance(self.public_key, Ed25519PublicKey) else "p256"
        request = {"Message": message, "MessageType": "RAW", "SigningAlgorithm": _KMS_ALGORITHMS[kind]}
        told = _asked(lambda: self._client.sign(KeyId=self._key, **request), self._key, "kms:Sign")
        try:
            _check(self.public_key, told["Signature"], message)
        except InvalidSignature as error:
            raise KeyRefused(
                f"{self._key} signed with another key than it told before",
                hint="name the key by its ARN, not by an alias; what was signed was thrown away",
            ) from error
        return NoteSignature(key_name, key_id(key_name, self.public_key), told["Signature"])


def key_id(key_name: str, public_key: PublicKey) -> bytes:
    """The id of a key in signature lines (4 bytes)."""
    if isinstance(public_key, Ed25519PublicKey):
        return ed25519_key_id(key_name, public_key.public_bytes_raw())
    return ecdsa_key_id(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


def check_signature(note: SignedNote, key_name: str, public_key: PublicKey) -> None:
    """Raises ValueError unless a note bears a valid signature of a key under a name. Others are passed over."""
    ours = key_id(key_name, public_key)
    signed = [one.signature for one in note.signatures if (one.key_name, one.key_id) == (key_name, ours)]
    if not signed:
        raise ValueError(f"it bears no signature of the key {ours.hex()}")
    message = note.text.encode()
    try:
        for signature in signed:
            _check(public_key, signature, message)
    except InvalidSignature as error:
        raise ValueError("its signature is not valid") from error


def _check(public_key: PublicKey, signature: bytes, message: bytes) -> None:
    """Raises InvalidSignature."""
    if isinstance(public_key, Ed25519PublicKey):
        public_key.verify(signature, message)
    else:
        public_key.verify(signature, message, ECDSA(SHA256()))


def public_key_text(public_key: PublicKey) -> str:
    """A public key as a `key-rotation` entry names it: SubjectPublicKeyInfo (DER) in base64."""
    return b64encode(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def public_pem(public_key: PublicKey) -> bytes:
    """SubjectPublicKeyInfo in PEM, as openssl reads it."""
    return public_key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)


def _write_new(path: Path, content: bytes, mode: int) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    except FileExistsError as error:
        raise KeyRefused(f"{path} is there already", hint="choose another name: keys are never replaced") from error
    except OSError as error:
        raise KeyRefused(
            f"{path} could not be written: {error.strerror}", hint="choose a folder of your own"
        ) from error
    with os.fdopen(descriptor, "wb") as file:
        os.fchmod(file.fileno(), mode)  # whatever the umask is
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _asked(question: Callable[[], Any], key: str, action: str) -> Any:
    from botocore.exceptions import BotoCoreError, ClientError  # noqa: PLC0415

    try:
        return question()
    except ClientError as error:
        code = error.response.get("Error", {}).get("Code", "")
        hint = (
            f"allow {action} on the key" if code == "AccessDeniedException" else "check the key's state and its region"
        )
        raise KeyRefused(f"{key} could not be used: {error}", hint=hint) from error
    except BotoCoreError as error:
        raise KeyRefused(
            f"{key} could not be used: {error}", hint="check credentials, --profile and --region"
        ) from error
