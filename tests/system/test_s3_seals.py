"""Seals on S3: the log comes through the cache and is continued from there; what was changed in the bucket is refused."""

import json

import pytest

import query
from archiver.format.layout import Trail
from archiver.sealer import Sealer
from archiver.signer import create_key, load_signer
from archiver.store import S3Store
from query import log_digests
from query.seal_log import SealMismatch
from query.sealed import SealedObjectMissing
from query.source import Access
from tests.querying.test_docs import record
from tests.system.test_s3_archive import IMAGE, NOW_MS, RECORDS, segments_of, writer_to

TRAIL = Trail("111122223333", "eu-west-1", "orders")


@pytest.fixture
def sealed(s3_bucket, tmp_path, monkeypatch):
    """A bucket with a sealed segment, a function that seals what follows, and one that opens it with a cache."""
    for name, value in s3_bucket.server.environ().items():
        monkeypatch.setenv(name, value)
    client = s3_bucket.server.client("s3")
    create_key(tmp_path / "key")
    sealer = Sealer(S3Store(client, s3_bucket.name, "trail"), TRAIL, load_signer(tmp_path / "key"))

    def seal(after_s):
        assert sealer.seal(NOW_MS + after_s * 1000).refused == ()

    def table(cache="cache"):
        access = Access(endpoint_url=s3_bucket.server.url, cache_dir=tmp_path / cache)
        return query.open(f"s3://{s3_bucket.name}/trail", access=access).table("orders")

    writer_to(client, s3_bucket).archive(RECORDS, now_ms=NOW_MS)
    seal(3_600)
    yield client, seal, table
    client.close()


def test_a_log_in_a_bucket_is_continued(sealed, s3_bucket, tmp_path, monkeypatch):
    """A year of seals is not listed and not fetched for each question."""
    monkeypatch.setattr(log_digests, "_SEALS_WORTH_KEEPING", 1)
    client, seal, table = sealed
    for number in range(3):
        seal(3_601 + number)
        assert all(change.is_sealed for change in table().changes())
    (known,) = (tmp_path / "cache" / "logs").iterdir()
    assert json.loads(known.read_bytes().partition(b"\n")[2])["newest"][0].startswith(f"{TRAIL.prefix}seals/")
    first = f"trail/{TRAIL.prefix}seals/{0:020d}.json"
    client.delete_object(Bucket=s3_bucket.name, Key=first)
    assert all(change.is_sealed for change in table().changes()), "what is known is not asked for once more"
    with pytest.raises(SealMismatch, match="does not fit"):
        table("another-cache")
    writer_to(client, s3_bucket).archive([record(99, "INSERT", "0099", None, IMAGE)], now_ms=NOW_MS)
    assert sum(change.is_sealed is False for change in table().changes()) == 1


def test_an_object_that_was_replaced_in_the_bucket_is_refused(sealed, s3_bucket):
    """Of the same size, so that no listing shows it. A copy that was fetched before is the file that was sealed."""
    client, _, table = sealed
    assert len(table().changes()) == len(RECORDS)
    (name,) = segments_of(s3_bucket)
    content = bytearray(client.get_object(Bucket=s3_bucket.name, Key=name)["Body"].read())
    content[len(content) // 2] ^= 1
    client.put_object(Bucket=s3_bucket.name, Key=name, Body=bytes(content))
    assert len(table().changes()) == len(RECORDS)
    with pytest.raises(SealMismatch, match=r"is not the file that was sealed"):
        table("another-cache").changes()
    client.delete_object(Bucket=s3_bucket.name, Key=name)
    for cache in ("cache", "another-cache"):
        with pytest.raises(SealedObjectMissing):
            table(cache).changes()
