"""An archive on S3: create-only under races and lost answers, a cache that spares requests, errors that say what to do."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import pytest

import query
from archiver.errors import StoreUnavailable
from archiver.store import S3Store
from archiver.streams import Streams
from archiver.writer import Writer
from query.errors import UnreadableArchive
from query.source import Access
from tests.querying.test_docs import record
from tests.system.drop_proxy import DropProxy

RACERS = 20
NOW_MS = 1_788_307_200_000  # within a day of the records: no late markers beside them
IMAGE = {"status": {"S": "NEW"}}
RECORDS = [record(number, "INSERT", f"{number:04}", None, IMAGE) for number in range(30)]


def writer_to(client, bucket) -> Writer:
    return Writer(S3Store(client, bucket.name, "trail"), Streams({"orders": ("customer", "order")}))


def segments_of(bucket) -> list[str]:
    client = bucket.server.client("s3")
    try:
        listed = client.list_objects_v2(Bucket=bucket.name, Prefix="trail/").get("Contents", [])
    finally:
        client.close()
    return [entry["Key"] for entry in listed if "/segments/" in entry["Key"] and "/late/" not in entry["Key"]]


def test_of_many_writers_of_one_batch_one_writes_each_object(any_bucket):
    """Containers overlap: the same batch at once from twenty writers is stored once, and all of them succeed."""
    clients = [any_bucket.server.client("s3") for _ in range(RACERS)]
    try:
        with ThreadPoolExecutor(RACERS) as pool:
            reports = list(
                pool.map(lambda client: writer_to(client, any_bucket).archive(RECORDS, now_ms=NOW_MS), clients)
            )
    finally:
        for client in clients:
            client.close()
    assert sum(report.segments_written for report in reports) == len(segments_of(any_bucket)) == 1
    assert {report.archived for report in reports} == {len(RECORDS)}


def test_an_answer_lost_after_the_commit_is_success_once(any_bucket):
    """The client tries again and is told 412 for its own write: that is success, and nothing stands twice."""
    with DropProxy(any_bucket.server.url) as proxy:
        proxy.drop_after_commit("PUT", "/segments/")
        server = type(any_bucket.server)(proxy.url, any_bucket.server.access_key, any_bucket.server.secret_key)
        client = server.client("s3")
        report = writer_to(client, any_bucket).archive(RECORDS, now_ms=NOW_MS)
        client.close()
        assert proxy.dropped == 1
    assert report.archived == len(RECORDS)
    assert len(segments_of(any_bucket)) == 1


def test_a_store_that_never_answers_acknowledges_nothing(s3_bucket):
    """Requests lost beyond the client's own retries raise: Lambda keeps the batch, and the next attempt fills it in."""
    with DropProxy(s3_bucket.server.url) as proxy:
        proxy.drop_before("PUT", "/segments/", times=50)
        server = type(s3_bucket.server)(proxy.url, s3_bucket.server.access_key, s3_bucket.server.secret_key)
        client = server.client("s3", retries={"mode": "standard", "total_max_attempts": 2})
        with pytest.raises(StoreUnavailable):
            writer_to(client, s3_bucket).archive(RECORDS, now_ms=NOW_MS)
        client.close()
    assert segments_of(s3_bucket) == []
    client = s3_bucket.server.client("s3")
    assert writer_to(client, s3_bucket).archive(RECORDS, now_ms=NOW_MS).segments_written == 1
    client.close()


def test_a_second_question_fetches_nothing(s3_bucket, tmp_path, monkeypatch):
    """Objects never change, so what was read once is read from the cache, in another process too."""
    for name, value in s3_bucket.server.environ().items():
        monkeypatch.setenv(name, value)
    client = s3_bucket.server.client("s3")
    writer_to(client, s3_bucket).archive(RECORDS, now_ms=NOW_MS)
    client.close()
    with DropProxy(s3_bucket.server.url) as proxy:
        access = Access(endpoint_url=proxy.url, cache_dir=tmp_path)
        fetched = []
        for _ in range(2):
            proxy.reset_counters()
            state = query.open(f"{s3_bucket.url}/trail", access=access).table("orders").as_of("now")
            assert state.count == len(RECORDS)
            state.close()
            fetched.append(proxy.response_bytes["GET"])
    assert fetched[1] < fetched[0], fetched
    assert sum(path.stat().st_size for path in tmp_path.rglob("*.parquet")) > 0


def test_a_missing_bucket_is_an_error_that_names_it(s3_bucket, tmp_path, monkeypatch):
    """Never an empty answer."""
    for name, value in s3_bucket.server.environ().items():
        monkeypatch.setenv(name, value)
    access = Access(endpoint_url=s3_bucket.server.url, cache_dir=tmp_path)
    with pytest.raises(UnreadableArchive, match="no archive at s3://no-such-bucket-here"):
        query.open("s3://no-such-bucket-here/trail", access=access).tables()


def test_an_empty_bucket_has_no_tables(s3_bucket, tmp_path, monkeypatch):
    """It exists, and nothing was archived yet."""
    for name, value in s3_bucket.server.environ().items():
        monkeypatch.setenv(name, value)
    access = Access(endpoint_url=s3_bucket.server.url, cache_dir=tmp_path)
    assert query.open(f"{s3_bucket.url}/trail", access=access).tables() == []
