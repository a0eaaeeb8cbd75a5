"""Keys and signatures: made once, for their owner only, and checked by other means than ours: cryptography and openssl."""

import os
import shutil
import stat
import subprocess
from base64 import b64decode

import boto3
import moto
import pytest
from botocore.stub import Stubber
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, SECP384R1, EllipticCurvePublicKey, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key as generate_rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_public_key,
)

from archiver.format.merkle import leaf_digest
from archiver.format.note import Checkpoint, SignedNote, ecdsa_key_id, ed25519_key_id
from archiver.signer import KeyRefused, KmsSigner, create_key, load_signer

NAME = "ddbtrail/111122223333/eu-west-1/orders"
TEXT = Checkpoint(NAME, 3, leaf_digest(b"")).text
KINDS = ["ed25519", "p256"]


def holds(public_key, signature, text=TEXT):
    """Whether a signature is that of a text, asked of cryptography."""
    try:
        if isinstance(public_key, EllipticCurvePublicKey):
            public_key.verify(signature, text.encode(), ECDSA(SHA256()))
        else:
            public_key.verify(signature, text.encode())
    except InvalidSignature:
        return False
    return True


@pytest.mark.parametrize("kind", KINDS)
def test_a_key_that_was_made_signs_notes(tmp_path, kind):
    """The public file alone is enough to check, and the note that is stored still says the same."""
    made = create_key(tmp_path / "key", kind)
    signature = load_signer(tmp_path / "key").sign(NAME, TEXT)
    note = SignedNote.parse(SignedNote(TEXT, (signature,)).compose())
    public_key = load_pem_public_key((tmp_path / "key.pub").read_bytes())
    assert public_key == made
    assert holds(public_key, note.signatures[0].signature)
    assert not holds(public_key, note.signatures[0].signature, TEXT.replace("3", "4"))
    assert signature.key_name == NAME


@pytest.mark.parametrize("kind", KINDS)
def test_the_key_id_is_the_one_of_the_specification(tmp_path, kind):
    """Ed25519: of name, type and raw key; ECDSA: of the key's DER alone."""
    public_key = create_key(tmp_path / "key", kind)
    found = load_signer(tmp_path / "key").sign(NAME, TEXT).key_id
    if kind == "ed25519":
        assert found == ed25519_key_id(NAME, public_key.public_bytes(Encoding.Raw, PublicFormat.Raw))
    else:
        assert found == ecdsa_key_id(public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo))


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: apt-get install openssl")
@pytest.mark.parametrize("kind", KINDS)
def test_openssl_accepts_key_and_signature(tmp_path, kind):
    """An auditor need not install us."""
    create_key(tmp_path / "key", kind)
    signature = load_signer(tmp_path / "key").sign(NAME, TEXT)
    (tmp_path / "text").write_text(TEXT)
    (tmp_path / "signature").write_bytes(b64decode(signature.line.split()[2])[4:])
    how = ["pkeyutl", "-verify", "-pubin", "-inkey", "key.pub", "-rawin", "-in", "text", "-sigfile", "signature"]
    if kind == "p256":
        how = ["dgst", "-sha256", "-verify", "key.pub", "-signature", "signature", "text"]
    done = subprocess.run(["openssl", *how], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.fixture(params=[0o000, 0o077])
def _umask(request):
    before = os.umask(request.param)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_umask")
def test_only_the_owner_may_read_a_private_key(tmp_path):
    """Whatever the umask; and everybody the public one."""
    create_key(tmp_path / "key")
    assert stat.S_IMODE((tmp_path / "key").stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "key.pub").stat().st_mode) == 0o644
    (tmp_path / "key").chmod(0o640)
    with pytest.raises(KeyRefused, match="may be read by others") as refused:
        load_signer(tmp_path / "key")
    assert refused.value.hint == f"type chmod 600 {tmp_path / 'key'}"


@pytest.mark.parametrize("there", ["key", "key.pub"])
def test_a_key_is_never_replaced(tmp_path, there):
    """A log whose key was overwritten cannot be continued by anybody. Nothing is left half made either."""
    (tmp_path / there).write_bytes(b"precious")
    with pytest.raises(KeyRefused, match="is there already"):
        create_key(tmp_path / "key")
    assert [(path.name, path.read_bytes()) for path in tmp_path.iterdir()] == [(there, b"precious")]


def test_a_key_without_its_public_half_does_not_stay(tmp_path):
    """A link to nothing where the public key should go is found only when it is written."""
    (tmp_path / "key.pub").symlink_to(tmp_path / "nowhere")
    with pytest.raises(KeyRefused, match=r"key.pub is there already"):
        create_key(tmp_path / "key")
    assert not (tmp_path / "key").exists()


def pem(key, encryption=None):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption or NoEncryption())


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "no private key"),
        (b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n", "no private key"),
        (pem(Ed25519PrivateKey.generate(), BestAvailableEncryption(b"x")), "no private key"),
        (pem(generate_private_key(SECP384R1())), "secp384r1"),
        (pem(generate_rsa(65537, 2048)), "another kind"),
    ],
)
def test_what_is_no_key_of_ours_is_refused(tmp_path, content, reason):
    """Before anything is signed with it."""
    path = tmp_path / "key"
    path.write_bytes(content)
    path.chmod(0o600)
    with pytest.raises(KeyRefused, match=reason):
        load_signer(path)


def test_a_key_that_is_not_there_says_how_to_make_one(tmp_path):
    """The first thing that goes wrong."""
    with pytest.raises(KeyRefused, match="could not be read") as refused:
        load_signer(tmp_path / "key")
    assert refused.value.hint == "make one: ddbtrail key create PATH"


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed: apt-get install openssl")
def test_a_key_that_openssl_made_is_taken(tmp_path):
    """Whoever has one need not make another."""
    made = ["openssl", "genpkey", "-algorithm", "ed25519", "-out", str(tmp_path / "key")]
    subprocess.run(made, check=True, capture_output=True)
    (tmp_path / "key").chmod(0o600)
    signer = load_signer(tmp_path / "key")
    assert holds(signer.public_key, signer.sign(NAME, TEXT).signature)


# --- KMS ---


@pytest.fixture
def kms(monkeypatch):
    """moto's KMS: it makes and uses P-256 keys as KMS does, with MessageType RAW."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    with moto.mock_aws():
        yield boto3.client("kms", region_name="eu-west-1")


def test_a_key_of_kms_signs_as_one_in_a_file_does(kms):
    """The signature holds under the public key that KMS gives, by other code than KMS'."""
    key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    signer = KmsSigner(kms, key)
    signature = signer.sign(NAME, TEXT)
    assert holds(signer.public_key, signature.signature)
    assert not holds(signer.public_key, signature.signature, TEXT + "x")
    assert signature.key_id == ecdsa_key_id(
        signer.public_key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    )


@pytest.mark.parametrize(
    ("spec", "usage"), [("RSA_2048", "SIGN_VERIFY"), ("ECC_NIST_P384", "SIGN_VERIFY"), ("RSA_2048", "ENCRYPT_DECRYPT")]
)
def test_a_key_of_kms_for_something_else_is_refused(kms, spec, usage):
    """Before the first seal, not at it."""
    key = kms.create_key(KeySpec=spec, KeyUsage=usage)["KeyMetadata"]["Arn"]
    with pytest.raises(KeyRefused, match=f"is a key of .* for {usage}"):  # moto does not tell its KeySpec
        KmsSigner(kms, key)


def test_an_ed25519_key_of_kms_is_asked_for_the_raw_message():
    """moto has no Ed25519 keys: the request is KMS' own (ED25519_SHA_512, RAW), the answer a real signature."""
    key = Ed25519PrivateKey.generate()
    client = boto3.client("kms", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    spki = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    with Stubber(client) as stub:
        stub.add_response(
            "get_public_key",
            {"PublicKey": spki, "KeySpec": "ECC_NIST_EDWARDS25519", "KeyUsage": "SIGN_VERIFY"},
            {"KeyId": "alias/seal"},
        )
        stub.add_response(
            "sign",
            {"Signature": key.sign(TEXT.encode())},
            {
                "KeyId": "alias/seal",
                "Message": TEXT.encode(),
                "MessageType": "RAW",
                "SigningAlgorithm": "ED25519_SHA_512",
            },
        )
        signature = KmsSigner(client, "alias/seal").sign(NAME, TEXT)
    assert holds(key.public_key(), signature.signature)
    assert signature.key_id == ed25519_key_id(NAME, key.public_key().public_bytes_raw())


def test_a_denied_key_names_the_action():
    """What an administrator has to grant."""
    client = boto3.client("kms", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        stub.add_client_error("get_public_key", "AccessDeniedException", "no")
        with pytest.raises(KeyRefused, match="could not be used") as refused:
            KmsSigner(client, "alias/seal")
    assert refused.value.hint == "allow kms:GetPublicKey on the key"


def test_a_text_that_kms_cannot_take_whole_is_refused(kms):
    """It would have to be hashed first, and then everybody else checks another thing."""
    key = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    signer = KmsSigner(kms, key)
    signer.sign(NAME, "x" * 4_096)
    with pytest.raises(KeyRefused, match="4097 bytes"):
        signer.sign(NAME, "x" * 4_097)
