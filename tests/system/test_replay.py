"""`ddbtrail replay` against services that are not ours: a bucket, a queue, a topic and a stream of MiniStack."""

import base64
import contextlib
import json
import os
import shlex
import uuid
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from archiver.format.layout import StreamSource
from query.cli import run
from query.cli.follow import follow
from tests.archiving.batches import arn_of, record
from tests.archiving.failures import on_failure
from tests.simulator.values import VALUES
from tests.system import parts
from tests.system.test_follow_ministack import LiveTable

FOLDER = "aws/lambda/6a1f/shardId-1/2026/11/23"
MANY = 3_000
BATCH = 7


class Answer:
    def __init__(self, code: int, out: str, err: str) -> None:
        self.code, self.out, self.err = code, out.splitlines(), err


@pytest.fixture
def ask(monkeypatch, tmp_path, capsys):
    """Runs a command as it is typed, in an empty home."""
    for name in [name for name in os.environ if name.startswith(("DDBTRAIL_", "AWS_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)

    def asked(*tokens: str) -> Answer:
        code = run(tokens)
        return Answer(code, *capsys.readouterr())

    return asked


@pytest.fixture
def server(ministack_url, ask, monkeypatch) -> parts.AwsEndpoint:
    server = parts.AwsEndpoint(ministack_url)
    for name, value in server.environ().items():
        monkeypatch.setenv(name, value)
    return server


@pytest.fixture
def client(server):
    """A function that gives clients of MiniStack, closed at the end."""
    with contextlib.ExitStack() as clients:
        yield lambda service: clients.enter_context(contextlib.closing(server.client(service)))


@pytest.fixture
def bucket(client) -> str:
    name = f"failed-{uuid.uuid4().hex}"
    client("s3").create_bucket(Bucket=name)
    return name


def objects(archive: Path) -> set[str]:
    """Names in an archive in a folder, but for late markers."""
    names = {path.relative_to(archive).as_posix() for path in archive.rglob("*") if path.is_file()}
    return {name for name in names if "/late/" not in name}


# --- a live table, whose changes Lambda "gave up on" ---


def as_lambda_delivers(record: dict, arn: str) -> dict:
    """From boto3's shape to that of *Using AWS Lambda with Amazon DynamoDB*, without the code under test."""

    def text(value):
        if isinstance(value, bytes):
            return base64.b64encode(value).decode()
        if isinstance(value, dict):
            return {name: text(member) for name, member in value.items()}
        return [text(element) for element in value] if isinstance(value, list) else value

    made = text(record) | {"eventSourceARN": arn}
    created = record["dynamodb"]["ApproximateCreationDateTime"].timestamp()
    made["dynamodb"]["ApproximateCreationDateTime"] = int(created) if created.is_integer() else created
    return made


class Failed:
    """A table, its stream as Lambda would have delivered it, cut into batches, and Lambda's record of each."""

    def __init__(self, server: parts.AwsEndpoint, client) -> None:
        self.table = LiveTable(server)
        for number, value in enumerate(VALUES):
            self.table.put(number % 10, value, number)
        for number in range(0, 10, 2):
            self.table.delete(number)
        self.arn = self.table.stream_arn
        streams = client("dynamodbstreams")
        (shard,) = streams.describe_stream(StreamArn=self.arn)["StreamDescription"]["Shards"]
        self.shard_id = shard["ShardId"]
        request = {"StreamArn": self.arn, "ShardId": self.shard_id, "ShardIteratorType": "TRIM_HORIZON"}
        iterator = streams.get_shard_iterator(**request)["ShardIterator"]
        found = streams.get_records(ShardIterator=iterator)["Records"]
        self.records = [as_lambda_delivers(each, self.arn) for each in found]
        assert len(self.records) == len(self.table.changes)
        self.batches = [self.records[start : start + BATCH] for start in range(0, len(self.records), BATCH)]

    def record_of(self, batch: list[dict], *, has_payload: bool) -> dict:
        return on_failure(batch, self.arn, has_payload=has_payload, shard_id=self.shard_id)


@pytest.fixture
def failed(server, client):
    made = Failed(server, client)
    with contextlib.closing(made.table.client):
        yield made


def told(ask, archive: str, table: str) -> list[list[str]]:
    """What the reader answers from an archive: every change, and the table as it is."""
    asked = [
        ask(*question, "-a", archive, "-o", "jsonl", "-q") for question in (("log", table), ("as-of", table, "now"))
    ]
    assert [answer.code for answer in asked] == [0, 0]
    assert all(answer.out for answer in asked)
    return [sorted(answer.out) for answer in asked]


def test_what_is_held_back_in_s3_is_answered_as_if_it_had_never_failed(ask, server, client, bucket, failed):
    """Bucket to archive in S3, twice; then the answers are those of an archive that followed the stream."""
    s3 = client("s3")
    for number, batch in enumerate(failed.batches):
        body = json.dumps(failed.record_of(batch, has_payload=True))
        s3.put_object(Bucket=bucket, Key=f"{FOLDER}/{number:04}", Body=body)
    archive = f"s3://{bucket}-archive/trail"
    s3.create_bucket(Bucket=f"{bucket}-archive")
    first = ask("replay", failed.table.name, "-a", archive, "--on-failure", f"s3://{bucket}")
    assert first.code == 0, first.err
    assert f"{len(failed.records)} records: {len(failed.records)} archived now, 0 there already" in first.err
    listed = s3.list_objects_v2(Bucket=f"{bucket}-archive")["Contents"]

    again = ask("replay", failed.table.name, "-a", archive, "--on-failure", f"s3://{bucket}")
    assert (again.code, again.out) == (0, first.out)
    assert f"0 archived now, {len(failed.records)} there already" in again.err
    assert s3.list_objects_v2(Bucket=f"{bucket}-archive")["Contents"] == listed

    assert follow(stream=failed.arn, archive="followed", until_caught_up=True, region=parts.REGION) == 0
    assert told(ask, archive, failed.table.name) == told(ask, "followed", failed.table.name)

    for line in first.out:
        aws, service, remove, url = shlex.split(line)
        assert (aws, service, remove) == ("aws", "s3", "rm")
        s3.delete_object(Bucket=bucket, Key=url.removeprefix(f"s3://{bucket}/"))
    assert "Contents" not in s3.list_objects_v2(Bucket=bucket)


@pytest.mark.parametrize("way", ["queue", "topic"])
def test_a_batch_read_from_the_stream_again_has_the_names_of_the_one_that_was_kept(ask, client, failed, tmp_path, way):
    """SQS and SNS keep no record, only where it is; cut alike, both roads end in the same objects, byte for byte."""
    sqs, sns = client("sqs"), client("sns")
    queue = sqs.create_queue(QueueName=f"failed-{uuid.uuid4().hex}")["QueueUrl"]
    topic = sns.create_topic(Name=f"failed-{uuid.uuid4().hex}")["TopicArn"]
    attributes = sqs.get_queue_attributes(QueueUrl=queue, AttributeNames=["QueueArn"])["Attributes"]
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=attributes["QueueArn"])
    (tmp_path / "kept").mkdir()
    for number, batch in enumerate(failed.batches):
        (tmp_path / "kept" / f"{number}").write_text(json.dumps(failed.record_of(batch, has_payload=True)))
        message = json.dumps(failed.record_of(batch, has_payload=False))
        if way == "queue":
            sqs.send_message(QueueUrl=queue, MessageBody=message)
        else:
            sns.publish(TopicArn=topic, Message=message)
    (tmp_path / "messages").mkdir()
    received = 0
    while found := sqs.receive_message(QueueUrl=queue, MaxNumberOfMessages=10).get("Messages"):
        (tmp_path / "messages" / f"{received}.json").write_text(json.dumps({"Messages": found}, indent=4))
        received += len(found)
    assert received == len(failed.batches)

    assert ask("replay", failed.table.name, "-a", "from-payload", "--on-failure", "kept").code == 0
    answer = ask("replay", failed.table.name, "-a", "from-stream", "--on-failure", "messages")
    assert answer.code == 0, answer.err
    assert f"{len(failed.records)} records: {len(failed.records)} archived now" in answer.err
    assert len(answer.out) == len(list((tmp_path / "messages").iterdir())), "each file is settled"
    kept, reread = tmp_path / "from-payload", tmp_path / "from-stream"
    assert objects(kept) == objects(reread)
    assert len([name for name in objects(kept) if name.endswith(".parquet")]) >= len(failed.batches)
    assert all((kept / name).read_bytes() == (reread / name).read_bytes() for name in objects(kept))


def test_a_range_that_the_stream_has_forgotten_is_named_and_the_others_go_on(ask, failed, tmp_path):
    """What is lost is said range by range, and no message about it may be deleted: it is all that is left."""
    first, second, third = (failed.record_of(batch, has_payload=False) for batch in failed.batches[:3])
    info = second["DDBStreamBatchInfo"]
    info["startSequenceNumber"] = info["startSequenceNumber"].replace("0", "1", 1)[:21].ljust(21, "0")
    info["endSequenceNumber"] = info["startSequenceNumber"]
    label = StreamSource.parse(failed.arn).stream_label
    third["DDBStreamBatchInfo"]["streamArn"] = failed.arn.replace(label, "2020-01-01T00:00:00.000")
    (tmp_path / "messages.jsonl").write_text("\n".join(map(json.dumps, (second, third, first))))
    answer = ask("replay", failed.table.name, "-a", "archive", "--on-failure", "messages.jsonl")
    assert answer.code == 3
    assert answer.out == []
    assert answer.err.count("lost: ") == 2
    assert f"{info['startSequenceNumber']} to {info['endSequenceNumber']}" in answer.err
    assert "Stream not found" in answer.err
    assert f"{BATCH} records: {BATCH} archived now" in answer.err


# --- buckets of every kind ---


def fill(client, bucket: str, many: int) -> list[str]:
    """Puts so many objects, a record each, into a bucket; their URLs in order of name."""
    s3 = client("s3")

    def put(number: int) -> str:
        key = f"{FOLDER}/{number:04}"
        s3.put_object(Bucket=bucket, Key=key, Body=json.dumps(on_failure([record(number)], arn_of("orders"))))
        return f"s3://{bucket}/{key}"

    with ThreadPoolExecutor(8) as pool:
        return list(pool.map(put, range(1, many + 1)))


def test_a_bucket_is_read_to_its_last_object(ask, client, bucket):
    """S3 lists a thousand at a time, so one more is on a page of its own."""
    urls = fill(client, bucket, 1_001)
    answer = ask("replay", "orders", "-a", "archive", "--on-failure", f"s3://{bucket}", "--dry-run")
    assert answer.code == 0, answer.err
    assert "1 001 objects below" in answer.err
    assert [line.partition(" line 1: orders, ")[0] for line in answer.out] == urls


@pytest.mark.long
def test_a_bucket_of_3000_objects_is_replayed_to_its_last_one(ask, client, bucket):
    """An outage of a day leaves thousands; each becomes its segment, and each may go."""
    urls = fill(client, bucket, MANY)
    client("s3").create_bucket(Bucket=f"{bucket}-archive")
    archive = f"s3://{bucket}-archive"
    answer = ask("replay", "orders", "-a", archive, "--on-failure", f"s3://{bucket}", "--no-describe-table")
    assert answer.code == 0, answer.err
    assert f"{MANY} archived now, 0 there already" in answer.err
    assert answer.out == [f"aws s3 rm {url}" for url in urls]
    pages = client("s3").get_paginator("list_objects_v2").paginate(Bucket=f"{bucket}-archive", Prefix="v1/")
    names = [entry["Key"] for page in pages for entry in page["Contents"]]
    assert sum("table_name=orders/segments/" in name for name in names) == MANY


def test_an_object_of_6_mb_is_replayed(ask, client, bucket):
    """The largest payload that Lambda takes comes through S3 whole."""
    big = [record(number, arn=arn_of("orders")) for number in range(1, 601)]
    for each in big:
        each["dynamodb"]["NewImage"]["text"] = {"S": "x" * 9_900}
    body = json.dumps(on_failure(big, arn_of("orders")))
    assert 6_000_000 < len(body) < 7_000_000
    client("s3").put_object(Bucket=bucket, Key=f"{FOLDER}/big", Body=body)
    answer = ask("replay", "orders", "-a", "archive", "--on-failure", f"s3://{bucket}/aws", "--no-describe-table")
    assert answer.code == 0, answer.err
    assert "600 records: 600 archived now" in answer.err
    assert answer.out == [f"aws s3 rm s3://{bucket}/{FOLDER}/big"]


def test_an_empty_bucket_is_good_news(ask, bucket):
    """Nothing is held back."""
    answer = ask("replay", "orders", "-a", "archive", "--on-failure", f"s3://{bucket}")
    assert (answer.code, answer.out) == (0, [])
    assert f"0 objects below s3://{bucket}" in answer.err


def test_a_missing_bucket_is_no_empty_one(ask, server):
    """A misspelt name must not pass for good news."""
    answer = ask("replay", "orders", "-a", "archive", "--on-failure", "s3://no-such-bucket-here")
    assert answer.code == 4
    assert "s3://no-such-bucket-here could not be read" in answer.err
    assert "correct --on-failure" in answer.err


# --- denied ---


@contextlib.contextmanager
def ministack_with_policies():
    """MiniStack with signatures and identity policies enforced (AUTH); its root has the credentials of `AwsEndpoint`."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AUTH", "true")
        with parts.ministack() as url:
            yield parts.AwsEndpoint(url)


def test_each_right_that_is_missing_is_named(ask, monkeypatch):
    """List, read, archive, stream: each refusal says which right it is, costs 4, and stops no more than it has to."""
    with contextlib.ExitStack() as running:
        try:
            root = running.enter_context(ministack_with_policies())
        except parts.PartAbsent as absent:
            pytest.skip(str(absent))
        s3, iam = (running.enter_context(contextlib.closing(root.client(service))) for service in ("s3", "iam"))
        table = LiveTable(root)
        running.enter_context(contextlib.closing(table.client))
        table.put(1, {"S": "x"})
        arn = table.stream_arn
        for name in ("failed", "archive"):
            s3.create_bucket(Bucket=name)
        kept = on_failure([record(1, arn=arn)], arn)
        s3.put_object(Bucket="failed", Key="a", Body=json.dumps(kept))
        s3.put_object(
            Bucket="failed", Key="b", Body=json.dumps(on_failure([record(2, arn=arn)], arn, has_payload=False))
        )
        s3.put_object(Bucket="failed", Key="c", Body=json.dumps(on_failure([record(3, arn=arn)], arn)))
        iam.create_user(UserName="operator")
        key = iam.create_access_key(UserName="operator")["AccessKey"]
        operator = parts.AwsEndpoint(root.url, key["AccessKeyId"], key["SecretAccessKey"])
        for name, value in operator.environ().items():
            monkeypatch.setenv(name, value)

        def replay(**allowed: str) -> Answer:
            """With just these rights: action, with _ for the colon, on a resource."""
            statements = [
                {"Effect": "Allow", "Action": action.replace("_", ":"), "Resource": resource}
                for action, resource in allowed.items()
            ]
            document = json.dumps({"Version": "2012-10-17", "Statement": statements})
            iam.put_user_policy(UserName="operator", PolicyName="rights", PolicyDocument=document)
            return ask(
                "replay", "--all", "-a", "s3://archive/trail", "--on-failure", "s3://failed", "--no-describe-table"
            )

        failed, archive = "arn:aws:s3:::failed", "arn:aws:s3:::archive/*"
        answer = replay(s3_GetObject=f"{failed}/*", s3_PutObject=archive)
        assert (answer.code, "s3:ListBucket" in answer.err) == (4, True), answer.err

        answer = replay(s3_ListBucket=failed, s3_PutObject=archive)
        assert (answer.code, "s3:GetObject" in answer.err, answer.out) == (4, True, []), answer.err
        assert "3 failed" in answer.err

        answer = replay(s3_ListBucket=failed, s3_GetObject=f"{failed}/*")
        assert (answer.code, "s3:PutObject" in answer.err, answer.out) == (4, True, []), answer.err
        assert "1 object below s3://failed: 0 replayed" in answer.err, "it stopped at the first one"

        answer = replay(s3_ListBucket=failed, s3_GetObject=f"{failed}/*", s3_PutObject=archive)
        assert answer.code == 4
        assert "dynamodb:GetRecords" in answer.err
        assert "2 replayed, 1 failed" in answer.err
        assert answer.out == ["aws s3 rm s3://failed/a", "aws s3 rm s3://failed/c"]

        answer = replay(s3_ListBucket=failed, s3_GetObject=f"{failed}/*", s3_PutObject=archive)
        assert (answer.code, answer.out) == (4, []), "what is there already cannot be compared"
        assert "s3:GetObject (and kms:Decrypt) on s3://archive/trail is missing" in answer.err
