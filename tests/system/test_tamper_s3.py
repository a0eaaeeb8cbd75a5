"""The tamper campaign in S3, where an object has versions: the hiding attack, and what a network and a policy can do.

The archive is the reference archive as of now, put into a versioned bucket; `verify` runs as the command does.
"""

from __future__ import annotations

import contextlib
import io
import json
import os
import resource
import subprocess
import sys
import time
from pathlib import Path

import pytest

from archiver.signer import public_pem
from query.cli import run
from query.s3_source import S3Source
from query.source import Access
from tests.system.drop_proxy import DropProxy
from tests.system.parts import Bucket
from tests.system.refusing_proxy import RefusingProxy
from tests.system.tampered import FIRST_KEY, ORDERS, Sealed, reference

DDBTRAIL = [sys.executable, "-c", "from query.cli import main; main()"]
PREFIX = "audit"


class Stored:
    """The reference archive in a bucket, and what an administrator of the bucket may do with it."""

    def __init__(self, bucket: Bucket, folder: Path, *, is_versioned: bool = True):
        self.bucket, self.folder = bucket, folder
        self.sealed: Sealed = reference(time.time_ns() // 1_000_000)
        self.key = folder / "key.pub"
        self.key.write_bytes(public_pem(FIRST_KEY.public_key))
        self.s3 = bucket.server.client("s3")
        if is_versioned:
            self.s3.put_bucket_versioning(Bucket=bucket.name, VersioningConfiguration={"Status": "Enabled"})
        for name, content in self.sealed.objects.items():
            self.put(name, content)

    def put(self, name: str, content: bytes, **options: str) -> None:
        self.s3.put_object(Bucket=self.bucket.name, Key=f"{PREFIX}/{name}", Body=content, **options)

    def delete(self, name: str) -> None:
        self.s3.delete_object(Bucket=self.bucket.name, Key=f"{PREFIX}/{name}")

    def get(self, name: str) -> bytes:
        return self.s3.get_object(Bucket=self.bucket.name, Key=f"{PREFIX}/{name}")["Body"].read()

    def command(self, *tokens: str, url: str | None = None, limit_bytes: int | None = None) -> tuple[int, str, str]:
        """Exit code, and what was told on stdout and stderr; in a process of its own where its files have a limit."""
        server = self.bucket.server
        environ = {**server.environ(), "PATH": "/usr/bin:/bin", "HOME": str(self.folder)}
        asked = [*tokens, "-a", f"{self.bucket.url}/{PREFIX}", "--endpoint-url", url or server.url]
        if limit_bytes is None:
            return here(asked, environ)
        # Python does not see that a module it compiled was written in part, and would find it so for ever.
        environ |= {"PYTHONDONTWRITEBYTECODE": "1"}
        limit = (limit_bytes, limit_bytes)
        done = subprocess.run(
            [*DDBTRAIL, *asked], env=environ, capture_output=True, text=True,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, limit),
        )  # fmt: skip
        return done.returncode, done.stdout, done.stderr

    def verify(self, *more: str, url: str | None = None, limit_bytes: int | None = None) -> tuple[int, dict, str]:
        """Exit code, report, and what was told on stderr."""
        tokens = ("verify", "orders", "--pinned-key", str(self.key), "-o", "json", *more)
        code, out, err = self.command(*tokens, url=url, limit_bytes=limit_bytes)
        return code, json.loads(out) if out else {}, err


def here(tokens: list[str], environ: dict[str, str]) -> tuple[int, str, str]:
    """A command in this process, with this environment and no other."""
    out, err = io.StringIO(), io.StringIO()
    with pytest.MonkeyPatch.context() as patch, contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        for name in os.environ.keys() - environ.keys():
            patch.delenv(name)
        for name, value in environ.items():
            patch.setenv(name, value)
        code = run(tokens)
    return code, out.getvalue(), err.getvalue()


@pytest.fixture
def stored(any_bucket, tmp_path):
    """On each S3 server in turn: what a delete marker does is the server's to say."""
    made = Stored(any_bucket, tmp_path)
    with contextlib.closing(made.s3):
        yield made


@pytest.fixture
def plain(s3_bucket, tmp_path):
    """A bucket without versioning."""
    made = Stored(s3_bucket, tmp_path, is_versioned=False)
    with contextlib.closing(made.s3):
        yield made


@pytest.mark.parametrize("level", ["--quick", "--full"])
def test_an_archive_in_s3_is_verified_with_all_its_versions(stored, level):
    """Each object has one version and no delete marker, and that was looked at."""
    code, report, told = stored.verify(level)
    assert code == 0, (report.get("findings"), told)
    assert "versions" not in {entry["check"] for entry in report["not_checked"]}
    assert not list(stored.folder.rglob("*.parquet")), "copies are thrown away"


def test_the_hiding_attack_is_tampering(stored):
    """A delete marker, which Object Lock allows, then a create-only put of forged bytes, which then succeeds: a plain GET
    gives the forgery."""
    name = stored.sealed.segments[2]
    forged = stored.sealed.objects[stored.sealed.segments[1]]
    stored.delete(name)
    stored.put(name, forged, IfNoneMatch="*")
    assert stored.get(name) == forged
    code, report, _ = stored.verify()
    assert code == 1
    assert report["codes"] == {"second-version": 1, "digest-mismatch": 1}
    assert {finding["object"] for finding in report["findings"]} == {name}


def test_a_version_of_the_same_bytes_is_tampering_too(stored):
    """Nothing of evidence is written twice, so somebody else wrote it; his next version may be another."""
    name = stored.sealed.segments[2]
    stored.delete(name)
    stored.put(name, stored.sealed.objects[name], IfNoneMatch="*")
    code, report, _ = stored.verify()
    assert (code, report["codes"]) == (1, {"second-version": 1})


def test_an_overwritten_object_is_tampering(stored):
    """Without a delete marker, by somebody whom no condition binds."""
    name = stored.sealed.named("quarantine/")[0]
    stored.put(name, b"{}")
    code, report, _ = stored.verify()
    assert (code, report["codes"]) == (1, {"second-version": 1, "unsound": 1})


def test_a_bare_delete_marker_is_incomplete(stored):
    """The object is there still, and can be had back."""
    name = stored.sealed.segments[2]
    stored.delete(name)
    code, report, _ = stored.verify()
    assert (code, report["codes"]) == (3, {"object-missing": 1, "object-hidden": 1})


def test_a_hidden_tail_is_seen_without_any_checkpoint(stored):
    """In a folder it would not be: here the markers tell."""
    stored.delete(stored.sealed.seals[-1])
    code, report, _ = stored.verify()
    assert (code, report["codes"]) == (3, {"object-hidden": 1})


def test_a_late_marker_that_was_deleted_is_seen(stored):
    """No seal names it; the bucket remembers."""
    stored.delete(stored.sealed.named("late/")[0])
    code, report, _ = stored.verify()
    assert (code, report["codes"]) == (3, {"object-hidden": 1})


def test_everything_deleted_is_incomplete(stored):
    """The names are gone from every listing."""
    for name in stored.sealed.objects:
        stored.delete(name)
    code, report, _ = stored.verify()
    assert (code, report["codes"]) == (3, {"no-trail": 1})


def test_a_bucket_without_versions_is_verified_by_its_digests(plain):
    """Each object then has one version, which has no name."""
    code, report, told = plain.verify()
    assert code == 0, (report.get("findings"), told)
    name = plain.sealed.segments[2]
    plain.put(name, plain.sealed.objects[plain.sealed.segments[1]])
    code, report, _ = plain.verify()
    assert (code, report["codes"]) == (1, {"digest-mismatch": 1})


def test_a_poisoned_cache_helps_nobody(plain):
    """Copies that earlier commands kept say what somebody wrote into them; `verify` reads the bucket."""
    name = plain.sealed.segments[2]
    good = plain.sealed.objects[name]
    bad = bytearray(good)
    bad[len(bad) // 2] ^= 1
    assert plain.command("log", "orders")[0] == 0
    [copy] = plain.folder.rglob(name.rpartition("/")[2])
    assert copy.read_bytes() == good
    # A bad bucket behind good copies.
    plain.put(name, bytes(bad))
    code, report, _ = plain.verify("--full")
    assert (code, report["codes"]) == (1, {"digest-mismatch": 1})
    # A good bucket behind bad copies.
    plain.put(name, good)
    copy.write_bytes(bytes(bad))
    code, report, told = plain.verify("--full")
    assert code == 0, (report.get("findings"), told)


def test_one_object_that_is_denied_is_4(plain):
    """The policy of the bucket leaves one out: it is named, and all others are checked."""
    with RefusingProxy(plain.bucket.server.url) as proxy:
        with proxy.refusing(rf"GET .*{plain.sealed.segments[2].rpartition('/')[2]}"):
            code, report, told = plain.verify(url=proxy.url)
    assert (code, report["codes"]) == (4, {"unreadable": 1}), told
    assert report["findings"][0]["object"] == plain.sealed.segments[2]
    assert report["totals"]["files_checked"] == 13


def test_versions_that_are_denied_are_4(plain):
    """The right that is forgotten most easily: without it the hiding attack is not seen."""
    with RefusingProxy(plain.bucket.server.url) as proxy:
        with proxy.refusing(r"GET \S*[?&]versions"):
            code, report, told = plain.verify(url=proxy.url)
    assert (code, report["codes"]) == (4, {"unreadable": 1}), told
    assert (
        "s3:ListBucketVersions" in report["findings"][0]["detail"] + report["findings"][0]["fix"]
        or "versions" in (report["findings"][0]["detail"])
    )


def test_a_listing_that_is_denied_is_4(plain):
    """Nothing was looked at."""
    with RefusingProxy(plain.bucket.server.url) as proxy:
        with proxy.refusing(r"GET \S*list-type=2"):
            code, _, told = plain.verify(url=proxy.url)
    assert code == 4, told


def test_a_network_that_fails_in_the_middle_is_4(plain):
    """One object never comes, however often it is asked for."""
    with DropProxy(plain.bucket.server.url) as proxy:
        proxy.drop_before("GET", plain.sealed.segments[2].rpartition("/")[2], times=1_000)
        code, report, told = plain.verify(url=proxy.url)
        assert proxy.dropped
    assert (code, report["codes"]) == (4, {"unreadable": 1}), told


def test_a_disk_that_is_full_is_4(plain):
    """A copy of an object does not fit: what could not be kept was not read. Smaller objects are checked all the same."""
    limit = 2_500  # segments are larger, seals are not
    assert all(len(plain.sealed.objects[name]) > limit for name in plain.sealed.segments)
    code, report, told = plain.verify(limit_bytes=limit)
    assert code == 4, told
    assert report["codes"] == {"unreadable": len(plain.sealed.segments)}


def test_a_listing_of_many_pages_is_read_to_its_end(plain, monkeypatch):
    """S3 ends a page after a thousand names: what stands on the third page is seen like all else."""
    for number in range(2_100):
        plain.put(f"{ORDERS.prefix}runs/d1/{number:05}", b"")
    plain.put(f"{ORDERS.prefix}zzz", b"")
    for name, value in plain.bucket.server.environ().items():
        monkeypatch.setenv(name, value)
    access = Access(endpoint_url=plain.bucket.server.url, cache_dir=plain.folder / "cache")
    source = S3Source(f"{plain.bucket.url}/{PREFIX}", plain.bucket.name, PREFIX, access)
    assert len(source.objects(ORDERS.prefix)) == len(plain.sealed.named("")) + 2_101
    assert len(set(source.versions(ORDERS.prefix))) == len(plain.sealed.named("")) + 2_101
    code, report, _ = plain.verify()
    assert (code, report["codes"]) == (1, {"foreign-object": 1})
