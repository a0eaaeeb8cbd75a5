"""How a key is named and found, and what is told when it cannot be used: an ARN of KMS, a file, a text in the log."""

import os
from base64 import b64decode, b64encode
from dataclasses import replace

import boto3
import moto
import pytest
from botocore.stub import Stubber
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1
from cryptography.hazmat.primitives.asymmetric.ec import generate_private_key as generate_p256
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_public_key,
)

from archiver.format.note import SignedNote
from archiver.signer import (
    KeyRefused,
    KmsSigner,
    LocalSigner,
    check_signature,
    create_key,
    load_signer,
    open_signer,
    public_key_text,
)

NAME, TEXT = "ddbtrail/111122223333/eu-west-1/orders", "a text\n"
ED25519, ANOTHER = (LocalSigner(Ed25519PrivateKey.generate()) for _ in range(2))
P256 = LocalSigner(generate_p256(SECP256R1()))
BOTH_KINDS = pytest.mark.parametrize("signer", [ED25519, P256], ids=["ed25519", "p256"])


def info(key):
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


# --- ARNs ---


@pytest.fixture
def aws(monkeypatch):
    """moto, with credentials and without any configuration of this machine."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with moto.mock_aws():
        yield


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize("region", [None, "us-east-1"])
def test_a_key_of_kms_is_found_in_the_region_that_its_arn_says(region):
    """Whatever region is the usual one."""
    client = boto3.client("kms", region_name="eu-west-1")
    arn = client.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    signer = open_signer(arn, region=region)
    assert info(signer.public_key) == client.get_public_key(KeyId=arn)["PublicKey"]
    check_signature(SignedNote(TEXT, (signer.sign(NAME, TEXT),)), NAME, signer.public_key)


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    "arn",
    [
        "arn:aws:kms:eu-west-1:123456789012:key/1234abcd-12ab-34cd-56ef-1234567890ab",
        "arn:aws:kms:eu-central-2:111122223333:key/mrk-0123456789abcdef0123456789abcdef",
        "arn:aws:kms:us-east-1:111122223333:alias/Team_A/Sealing:2-x",
        "arn:aws-us-gov:kms:us-gov-west-1:987654321098:alias/seal",
    ],
)
def test_every_form_of_arn_is_asked_of_kms(arn):
    """None of these keys is there, which only KMS can say."""
    with pytest.raises(KeyRefused, match=r"could not be used: .*NotFound") as refused:
        open_signer(arn)
    assert refused.value.hint == "check the key's state and its region"


@pytest.mark.usefixtures("aws")
@pytest.mark.parametrize(
    "arn",
    [
        "arn:",
        "arn:aws:s3:::bucket",
        "arn:aw:kms:eu-west-1:123456789012:key/x",
        "arn:aws:kms:eu-west-1:12345678901:key/x",
        "arn:aws:kms:eu-west-1:1234567890123:key/x",
        "arn:aws:kms:eu-west-1:123456789012:key/",
        "arn:aws:kms:eu-west-1:123456789012:grant/x",
        "arn:aws:kms::123456789012:key/x",
        "arn:aws:kms:eu-west-1:123456789012:key/x ",
        "arn:arn:aws:kms:eu-west-1:123456789012:key/x",
    ],
)
def test_what_is_no_arn_of_a_key_is_asked_of_nobody(arn):
    """And never taken for a path."""
    with pytest.raises(KeyRefused, match="is not the ARN of a KMS key"):
        open_signer(arn)


@pytest.mark.usefixtures("aws")
def test_a_profile_that_is_not_there_is_told(tmp_path):
    """Before KMS is asked anything; a key in a file needs none."""
    with pytest.raises(KeyRefused, match="could not be used") as refused:
        open_signer("arn:aws:kms:eu-west-1:123456789012:key/x", profile="nobody")
    assert refused.value.hint == "check credentials, --profile and --region"
    made = create_key(tmp_path / "key")
    assert open_signer(str(tmp_path / "key"), profile="nobody").public_key == made


@pytest.mark.usefixtures("aws")
def test_an_alias_that_is_pointed_elsewhere_signs_with_the_key_that_it_was():
    """A log that bears a key's id and another one's signature could never be continued."""
    client = boto3.client("kms", region_name="us-east-1")
    first, second = (
        client.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"] for _ in range(2)
    )
    client.create_alias(AliasName="alias/seal", TargetKeyId=first)
    signer = open_signer("alias/seal", region="us-east-1")
    client.update_alias(AliasName="alias/seal", TargetKeyId=second)
    assert info(signer.public_key) == client.get_public_key(KeyId=first)["PublicKey"]
    check_signature(SignedNote(TEXT, (signer.sign(NAME, TEXT),)), NAME, signer.public_key)


# --- what KMS answers ---


@pytest.fixture
def stub():
    client = boto3.client("kms", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    with Stubber(client) as stub:
        yield stub


def test_a_key_of_the_right_kind_for_another_use_is_refused(stub):
    """P-256 keys may be for key agreement."""
    answer = {"PublicKey": info(P256.public_key), "KeySpec": "ECC_NIST_P256", "KeyUsage": "KEY_AGREEMENT"}
    stub.add_response("get_public_key", answer)
    with pytest.raises(KeyRefused, match="is a key of ECC_NIST_P256 for KEY_AGREEMENT"):
        KmsSigner(stub.client, "alias/seal")


def test_who_may_look_at_a_key_and_not_sign_is_told_so(stub):
    """The action that has to be granted is another one."""
    answer = {"PublicKey": info(P256.public_key), "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}
    stub.add_response("get_public_key", answer)
    stub.add_client_error("sign", "AccessDeniedException", "no")
    with pytest.raises(KeyRefused) as refused:
        KmsSigner(stub.client, "alias/seal").sign(NAME, TEXT)
    assert refused.value.hint == "allow kms:Sign on the key"


def test_a_signature_of_another_key_is_thrown_away(stub):
    """Whatever KMS says: it is looked at before anybody else sees it."""
    answer = {"PublicKey": info(P256.public_key), "KeySpec": "ECC_NIST_P256", "KeyUsage": "SIGN_VERIFY"}
    stub.add_response("get_public_key", answer)
    other = LocalSigner(generate_p256(SECP256R1())).sign(NAME, TEXT).signature
    stub.add_response("sign", {"Signature": other})
    with pytest.raises(KeyRefused, match="signed with another key than it told before"):
        KmsSigner(stub.client, "alias/seal").sign(NAME, TEXT)


# --- files and texts ---


@pytest.mark.parametrize("mode", [0o601, 0o602, 0o604, 0o610, 0o620, 0o640])
def test_no_right_of_anybody_else_is_too_small(tmp_path, mode):
    create_key(tmp_path / "key")
    (tmp_path / "key").chmod(mode)
    with pytest.raises(KeyRefused, match=f"mode {mode:04o}"):
        load_signer(tmp_path / "key")


def test_a_private_key_of_a_kind_that_nobody_knows_is_refused(tmp_path):
    """Of a newer version, perhaps."""
    pkcs8 = ED25519.key.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    other = pkcs8.replace(bytes.fromhex("06032b6570"), bytes.fromhex("06032b6568"))
    assert other != pkcs8
    path = tmp_path / "key"
    path.write_bytes(b"-----BEGIN PRIVATE KEY-----\n" + b64encode(other) + b"\n-----END PRIVATE KEY-----\n")
    path.chmod(0o600)
    with pytest.raises(KeyRefused, match="is no private key"):
        load_signer(path)


def test_a_key_is_not_made_where_nobody_can_write(tmp_path):
    with pytest.raises(KeyRefused, match="could not be written: No such file or directory"):
        create_key(tmp_path / "nowhere" / "key")


@BOTH_KINDS
def test_the_log_names_a_key_in_base64_of_its_der(signer):
    """Anybody can read it from there."""
    assert load_der_public_key(b64decode(public_key_text(signer.public_key), validate=True)) == signer.public_key


@BOTH_KINDS
def test_a_note_holds_if_every_signature_of_the_key_does(signer):
    """Others are passed over, and none is too few."""
    ours, others = signer.sign(NAME, TEXT), ANOTHER.sign(NAME, TEXT)
    check_signature(SignedNote(TEXT, (others, ours)), NAME, signer.public_key)
    spoilt = replace(ours, signature=ours.signature[:-1] + bytes([ours.signature[-1] ^ 1]))
    for wrong in (spoilt, signer.sign(NAME, "another text\n")):
        with pytest.raises(ValueError, match="not valid"):
            check_signature(SignedNote(TEXT, (ours, wrong)), NAME, signer.public_key)
    for wrong in (others, signer.sign(f"{NAME}2", TEXT)):
        with pytest.raises(ValueError, match="no signature of the key"):
            check_signature(SignedNote(TEXT, (wrong,)), NAME, signer.public_key)
