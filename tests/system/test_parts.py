"""The real parts do what the other tests rely on. If one of these fails, believe nothing that rests on the part."""

import concurrent.futures
import contextlib
import http.client
import os
import socket
import subprocess
import sys
import threading
import time
from urllib.parse import urlsplit

import pytest
from botocore.exceptions import ClientError

from tests.system import parts
from tests.system.drop_proxy import DropProxy

WRITERS = 20
RACES = 3
SHARD_PAGES_MAX = 20


def put_status(s3, bucket: str, key: str, body: bytes) -> int:
    """The HTTP status of a create-only put."""
    try:
        answer = s3.put_object(Bucket=bucket, Key=key, Body=body, IfNoneMatch="*")
    except ClientError as error:
        answer = error.response
    return answer["ResponseMetadata"]["HTTPStatusCode"]


def test_a_second_create_only_put_is_refused_and_changes_nothing(any_bucket):
    """The archiver takes 412 for "already stored": it must mean that, and leave the first bytes alone."""
    with contextlib.closing(any_bucket.server.client("s3")) as s3:
        assert put_status(s3, any_bucket.name, "a/b", b"first") == 200
        assert put_status(s3, any_bucket.name, "a/b", b"second") == 412
        assert s3.get_object(Bucket=any_bucket.name, Key="a/b")["Body"].read() == b"first"


def test_of_racing_create_only_puts_exactly_one_wins(any_bucket):
    """Two sealers may extend the same size at once; only the object store decides between them."""
    s3 = any_bucket.server.client("s3", max_pool_connections=WRITERS, retries={"total_max_attempts": 1})
    with contextlib.closing(s3), concurrent.futures.ThreadPoolExecutor(WRITERS) as writers:
        for race in range(RACES):
            together = threading.Barrier(WRITERS)

            def write(writer: int, key=f"race-{race}", together=together) -> int:
                together.wait()
                return put_status(s3, any_bucket.name, key, b"writer %d" % writer)

            statuses = list(writers.map(write, range(WRITERS)))
            assert statuses.count(200) == 1, statuses
            stored = s3.get_object(Bucket=any_bucket.name, Key=f"race-{race}")["Body"].read()
            assert stored == b"writer %d" % statuses.index(200), statuses


def test_a_put_whose_answer_was_lost_is_retried_and_then_refused_as_already_there(s3_bucket):
    """boto3 retries by itself and gets 412 for its own write: the writer must not take that for someone else's."""
    with DropProxy(s3_bucket.server.url) as proxy:
        proxy.drop_after_commit("PUT", "segment")
        with contextlib.closing(parts.AwsEndpoint(proxy.url).client("s3")) as s3:
            assert put_status(s3, s3_bucket.name, "segment", b"mine") == 412
            assert s3.get_object(Bucket=s3_bucket.name, Key="segment")["Body"].read() == b"mine"
    assert (proxy.requests["PUT"], proxy.dropped) == (2, 1)


def test_a_put_that_was_lost_before_the_store_saw_it_is_retried_and_wins(s3_bucket):
    """The other half of the pair: to the client it looks the same, but nothing is stored yet."""
    with DropProxy(s3_bucket.server.url) as proxy:
        proxy.drop_before("PUT", "segment")
        with contextlib.closing(parts.AwsEndpoint(proxy.url).client("s3")) as s3:
            assert put_status(s3, s3_bucket.name, "segment", b"mine") == 200
    assert (proxy.requests["PUT"], proxy.dropped) == (2, 1)


def test_a_rule_of_the_proxy_spares_other_methods_and_other_names(s3_bucket):
    """A fault that hits more than it names would make a test pass for the wrong reason."""
    with DropProxy(s3_bucket.server.url) as proxy:
        proxy.drop_before("PUT", "segment", times=100)
        proxy.drop_after_commit("DELETE", "other", times=100)
        with contextlib.closing(parts.AwsEndpoint(proxy.url).client("s3")) as s3:
            assert put_status(s3, s3_bucket.name, "other", b"12345") == 200
            assert s3.get_object(Bucket=s3_bucket.name, Key="other")["Body"].read() == b"12345"
            assert [o["Key"] for o in s3.list_objects_v2(Bucket=s3_bucket.name)["Contents"]] == ["other"]
    assert proxy.dropped == 0
    assert (proxy.requests["PUT"], proxy.request_bytes["PUT"]) == (1, 5)
    assert proxy.requests["GET"] == 2
    assert proxy.response_bytes["GET"] > 5


def test_the_proxy_finds_a_dynamodb_operation_by_its_target(ministack_url):
    """All DynamoDB calls are POST /: without the target a fault could not be aimed at one of them."""
    with DropProxy(ministack_url) as proxy:
        proxy.drop_before("POST", ".ListTables")
        client = parts.AwsEndpoint(proxy.url).client("dynamodb", retries={"total_max_attempts": 2})
        with contextlib.closing(client) as dynamodb:
            dynamodb.describe_endpoints()
            assert proxy.dropped == 0
            assert dynamodb.list_tables()["TableNames"] is not None
    assert (proxy.dropped, proxy.requests["POST"]) == (1, 3)


def test_the_proxy_forwards_a_chunked_body_whole(s3_bucket):
    """SDKs send bodies of unknown length in chunks; a proxy that cut them would look like a corrupting store."""
    content = os.urandom(200_000)
    with DropProxy(s3_bucket.server.url) as proxy:
        connection = http.client.HTTPConnection(urlsplit(proxy.url).netloc)
        with contextlib.closing(connection):
            pieces = iter([content[:1], content[1:70_000], content[70_000:]])
            connection.request("PUT", f"/{s3_bucket.name}/chunked", body=pieces, encode_chunked=True)
            assert connection.getresponse().read() is not None
            connection.request("GET", f"/{s3_bucket.name}/chunked")
            assert connection.getresponse().read() == content
    assert proxy.request_bytes["PUT"] == len(content)


def test_the_proxy_answers_expect_continue_before_the_body(s3_bucket):
    """botocore waits a second for this answer on every PUT; without it faults and benchmarks would crawl."""
    with DropProxy(s3_bucket.server.url) as proxy:
        address = urlsplit(proxy.url)
        with socket.create_connection((address.hostname, address.port), timeout=10) as client:
            head = f"PUT /{s3_bucket.name}/x HTTP/1.1\r\nHost: {address.netloc}\r\nContent-Length: 2\r\n"
            client.sendall(f"{head}Expect: 100-continue\r\n\r\n".encode())
            assert client.recv(1_000).startswith(b"HTTP/1.1 100 ")
            client.sendall(b"ok")
            assert client.recv(1_000).startswith(b"HTTP/1.1 200 ")


def test_added_latency_is_a_lower_bound_on_every_request(ministack_url):
    """Benchmarks compare readers at the distance of a real store; one request that slips through flatters."""
    with DropProxy(ministack_url) as proxy:
        proxy.add_latency_ms = 60.0
        with contextlib.closing(parts.AwsEndpoint(proxy.url).client("s3")) as s3:
            before = time.monotonic()
            for _ in range(2):
                s3.list_buckets()
            assert time.monotonic() - before >= 0.120


@pytest.mark.parametrize(
    "part",
    [pytest.param("ministack_url", marks=pytest.mark.ministack), "dynamodb_local_url"],
)
def test_a_stream_tells_every_change_in_order_with_both_images(part, request):
    """The whole archive rests on this; a write that changes nothing must not appear."""
    endpoint = parts.AwsEndpoint(request.getfixturevalue(part))
    name, key = f"orders-{os.getpid()}", {"id": {"S": "a"}}
    with (
        contextlib.closing(endpoint.client("dynamodb")) as dynamodb,
        contextlib.closing(endpoint.client("dynamodbstreams")) as streams,
    ):
        table = dynamodb.create_table(
            TableName=name,
            KeySchema=[{"AttributeName": "id", "KeyType": "HASH"}],
            AttributeDefinitions=[{"AttributeName": "id", "AttributeType": "S"}],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )["TableDescription"]
        first, second = {**key, "n": {"N": "1"}}, {**key, "n": {"N": "2"}}
        for item in (first, first, second):
            dynamodb.put_item(TableName=name, Item=item)
        dynamodb.delete_item(TableName=name, Key=key)
        records = read_stream(streams, table["LatestStreamArn"])
        dynamodb.delete_table(TableName=name)
    told = [(r["eventName"], r["dynamodb"].get("OldImage"), r["dynamodb"].get("NewImage")) for r in records]
    assert told == [("INSERT", None, first), ("MODIFY", first, second), ("REMOVE", second, None)]
    numbers = [int(r["dynamodb"]["SequenceNumber"]) for r in records]
    assert numbers == sorted(set(numbers))


def read_stream(streams, arn: str) -> list[dict]:
    """Every record of a stream, shard by shard, until a page comes back empty."""
    records = []
    for shard in streams.describe_stream(StreamArn=arn)["StreamDescription"]["Shards"]:
        iterator = streams.get_shard_iterator(
            StreamArn=arn, ShardId=shard["ShardId"], ShardIteratorType="TRIM_HORIZON"
        )["ShardIterator"]
        for _ in range(SHARD_PAGES_MAX):
            page = streams.get_records(ShardIterator=iterator)
            records += page["Records"]
            iterator = page.get("NextShardIterator")
            if not page["Records"] or iterator is None:
                break
    return records


@pytest.mark.ministack
@pytest.mark.parametrize("end", ["sys.exit(0)", "os.kill(os.getpid(), signal.SIGKILL)"])
def test_a_part_ends_with_the_process_that_started_it(ministack_url, end, tmp_path):
    """A run that is interrupted must not leave servers behind that the next run, or a person, stumbles over."""
    if "KILL" in end and sys.platform != "linux":
        pytest.skip("only Linux tells a child that its parent was killed")
    code = f"""
import os, signal, sys
from tests.system import parts
never_left = parts.ministack()
print(never_left.__enter__(), flush=True)
{end}
"""
    environ = {**os.environ, "TMPDIR": str(tmp_path)}
    started = [sys.executable, "-c", code]
    child = subprocess.run(started, cwd=parts.REPOSITORY, env=environ, capture_output=True, text=True)
    assert child.stdout.startswith("http://"), child.stderr
    address = urlsplit(child.stdout.strip())
    deadline = time.monotonic() + 10
    while is_listening(address.hostname, address.port) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_listening(address.hostname, address.port)


def is_listening(host: str, port: int) -> bool:
    with contextlib.suppress(ConnectionRefusedError), socket.create_connection((host, port), timeout=5):
        return True
    return False


def test_a_part_that_is_not_installed_says_how_to_install_it(tmp_path, monkeypatch):
    """A skip without the way out is how a test stays skipped for years."""
    monkeypatch.setenv("DDBTRAIL_EMULATORS", str(tmp_path))
    with pytest.raises(parts.PartAbsent, match="make emulators"), parts.ministack():
        pass


def test_a_part_that_does_not_come_up_shows_the_end_of_its_log(tmp_path, monkeypatch):
    """The log lies in a temporary folder that is gone when someone reads the failure."""
    program = tmp_path / "bin" / "ministack"
    program.parent.mkdir()
    program.write_text("#!/bin/sh\necho the port is taken\nexit 3\n")
    program.chmod(0o755)
    monkeypatch.setenv("DDBTRAIL_EMULATORS", str(tmp_path))
    with pytest.raises(parts.PartFailed, match=r"code 3(?s:.*)the port is taken"), parts.ministack():
        pass
