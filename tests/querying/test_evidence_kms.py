"""Packages that a key in KMS signed, which nobody can take out: verified by openssl, who never heard of KMS."""

from __future__ import annotations

import os
import subprocess

import boto3
import moto
import pytest

from archiver.signer import load_signer
from query.evidence.build import Signing
from tests.querying.test_evidence import World, checked, outside

__all__ = ["outside"]  # a fixture


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    return World(tmp_path_factory.mktemp("kms"))


@pytest.fixture
def kms(monkeypatch):
    """moto, with credentials and without any configuration of this machine."""
    for name in [name for name in os.environ if name.startswith("AWS_")]:
        monkeypatch.delenv(name)
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "test")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    with moto.mock_aws():
        yield boto3.client("kms", region_name="eu-west-1")


@pytest.mark.parametrize("name", ["arn", "alias"])
def test_a_package_is_signed_by_a_key_in_kms(made, kms, tmp_path, name):
    """Named in either way; openssl says that the signature is of this manifest, and of no other."""
    arn = kms.create_key(KeySpec="ECC_NIST_P256", KeyUsage="SIGN_VERIFY")["KeyMetadata"]["Arn"]
    kms.create_alias(AliasName="alias/reviewer", TargetKeyId=arn)
    key = {"arn": arn, "alias": "alias/reviewer"}[name]
    assert made.build(tmp_path / "it", "--signing-key", key, "--region", "eu-west-1") == 0
    (tmp_path / "pinned.der").write_bytes(kms.get_public_key(KeyId=arn)["PublicKey"])
    openssl = ["openssl", "dgst", "-sha256", "-keyform", "DER", "-verify", tmp_path / "pinned.der"]
    openssl += ["-signature", "MANIFEST.sig", "MANIFEST.sha256"]
    assert subprocess.run(openssl, cwd=tmp_path / "it", capture_output=True).returncode == 0
    assert checked(tmp_path / "it") == 0
    with (tmp_path / "it" / "MANIFEST.sha256").open("a") as file:
        file.write("\n")
    assert subprocess.run(openssl, cwd=tmp_path / "it", capture_output=True).returncode != 0


@pytest.mark.parametrize(
    ("key", "more", "words"),
    [
        ("alias/nobody", ("--region", "eu-west-1"), "NotFound"),
        ("alias/reviewer", (), "specify a region"),
        ("alias/other", ("--region", "eu-west-1"), "make one for signing"),
    ],
)
def test_a_key_that_cannot_sign_leaves_no_package(made, kms, tmp_path, capsys, key, more, words):
    """Exit code 2: not there, in no region, or a key for something else."""
    other = kms.create_key()["KeyMetadata"]["KeyId"]
    kms.create_alias(AliasName="alias/other", TargetKeyId=other)
    assert made.build(tmp_path / "it", "--signing-key", key, *more) == 2
    assert words in capsys.readouterr().err
    assert not (tmp_path / "it").exists()


def test_a_signature_of_another_key_leaves_no_package(made, tmp_path, monkeypatch, capsys):
    """Whoever signs was asked for the public key minutes before; a package whose signature is not of it is none."""
    told, other = (load_signer(made.folder / name) for name in ("package", "p256"))
    for signer, code in ((other, 4), (told, 0)):
        signing = Signing(told.public_key, lambda text, signer=signer: signer.sign("it", text).signature)
        monkeypatch.setattr("query.cli.evidence_signing.open_signing", lambda *_, signing=signing: signing)
        assert made.build(tmp_path / "it", "--signing-key", "whatever") == code
        assert (tmp_path / "it").exists() == (code == 0)
        assert ("signed with another key than the one in it" in capsys.readouterr().err) == (code == 4)
    assert checked(tmp_path / "it", "--pinned-key", str(made.folder / "package.pub")) == 0
