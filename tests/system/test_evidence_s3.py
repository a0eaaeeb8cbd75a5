"""A package of an archive in S3 says which versions it was made of, and until when the bucket keeps them."""

from __future__ import annotations

import contextlib
import csv
import subprocess
import sys
import uuid
from datetime import UTC, datetime

import pytest
from botocore.exceptions import ClientError

from archiver.sealer import Sealer
from archiver.signer import create_key, load_signer
from archiver.store import S3Store
from archiver.streams import Streams
from archiver.writer import Writer
from tests.querying.test_evidence import HOUR, PERIOD, RECORDS, START, TRAIL
from tests.system.parts import Bucket
from tests.system.refusing_proxy import RefusingProxy

DDBTRAIL = [sys.executable, "-c", "from query.cli import main; main()"]
UNTIL = datetime(2031, 9, 30, 12, 0, 5, tzinfo=UTC)


@pytest.fixture(params=["locked", "versioned", "plain"])
def made(request, any_bucket, tmp_path):
    """An archive in a bucket: with Object Lock, with versions, without either; and the key that its seals need."""
    server = any_bucket.server
    bucket = Bucket(f"test-{uuid.uuid4().hex}", server)
    with contextlib.closing(server.client("s3")) as s3:
        s3.create_bucket(Bucket=bucket.name, ObjectLockEnabledForBucket=request.param == "locked")
        if request.param == "versioned":
            s3.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
        store = S3Store(s3, bucket.name, "audit")
        writer = Writer(store, Streams(key_schema={"orders": ("pk",)}))
        for start in range(0, 60, 10):
            writer.archive(RECORDS[start : start + 10], now_ms=(START + 12 * HOUR) * 1000)
        create_key(tmp_path / "log", "ed25519")
        Sealer(store, TRAIL, load_signer(tmp_path / "log")).seal((START + 14 * HOUR) * 1000)
        yield request.param, bucket, s3


def sources_of(bucket, folder, url=None):
    """The rows of source-files.csv of a package built now."""
    command = ["evidence", "build", "orders", "-a", f"{bucket.url}/audit", "--endpoint-url", url or bucket.server.url]
    command += [*PERIOD, "-O", str(folder / "it"), "--pinned-key", str(folder / "log.pub")]
    environ = {**bucket.server.environ(), "PATH": "/usr/bin:/bin", "HOME": str(folder)}
    done = subprocess.run([*DDBTRAIL, *command], env=environ, capture_output=True, text=True, check=False)
    assert (folder / "it").is_dir(), done.stderr
    with (folder / "it" / "source-files.csv").open() as file:
        return list(csv.DictReader(file))


def test_it_says_until_when_each_object_is_kept(made, tmp_path):
    """Of the very version that was read, and only where somebody locked it."""
    kind, bucket, s3 = made
    listed = s3.list_object_versions(Bucket=bucket.name, Prefix="audit/").get("Versions", [])
    versions = {entry["Key"].removeprefix("audit/"): entry["VersionId"] for entry in listed}
    locked = {name for name in sorted(versions) if "/segments/" in name} if kind == "locked" else set()
    for number, name in enumerate(sorted(locked)):
        mode = ("COMPLIANCE", "GOVERNANCE")[number % 2]
        s3.put_object_retention(
            Bucket=bucket.name, Key=f"audit/{name}", Retention={"Mode": mode, "RetainUntilDate": UNTIL}
        )  # fmt: skip
    rows = sources_of(bucket, tmp_path)
    assert {row["object"] for row in rows} <= versions.keys()
    assert locked & {row["object"] for row in rows} == locked & {r["object"] for r in rows if r["kind"] == "segment"}
    for row in rows:
        # An id that begins with a dash is no formula either.
        assert row["version_id"].removeprefix("'") == versions[row["object"]]
        if row["object"] in locked:
            mode = ("COMPLIANCE", "GOVERNANCE")[sorted(locked).index(row["object"]) % 2]
            assert (row["retention_mode"], row["retain_until"]) == (mode, "2031-09-30T12:00:05Z")
        else:
            assert (row["retention_mode"], row["retain_until"]) == ("none", "")
    if kind == "locked":
        assert {row["retention_mode"] for row in rows} == {"COMPLIANCE", "GOVERNANCE", "none"}
        name = next(row["object"] for row in rows if row["retention_mode"] == "COMPLIANCE")
        with pytest.raises(ClientError):
            s3.delete_object(Bucket=bucket.name, Key=f"audit/{name}", VersionId=versions[name])


@pytest.mark.parametrize("made", ["locked"], indirect=True)
def test_what_it_may_not_know_it_does_not_call_none(made, tmp_path):
    """Whoever may read objects may not always read how long they are kept."""
    _, bucket, _ = made
    with RefusingProxy(bucket.server.url) as proxy, proxy.refusing(r"GET \S*[?&]retention"):
        rows = sources_of(bucket, tmp_path, proxy.url)
    assert {(row["retention_mode"], row["retain_until"]) for row in rows} == {("not known: AccessDenied", "")}
