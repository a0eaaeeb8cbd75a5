"""What lies in an on-failure destination is listed whole and in order, or it is said why that cannot be."""

import errno
import os
import shlex
import subprocess

import boto3
import pytest
from botocore.exceptions import EndpointConnectionError
from botocore.stub import Stubber
from moto import mock_aws

from archiver.errors import NotConfigured
from archiver.held_back import DestinationUnreadable, HeldBackInS3, open_held_back
from archiver.store import S3Store

BUCKET = "failed"
KEY = "aws/lambda/6a1f/shardId-1/2026/11/23/2026-11-23T00.00.00-a"
NAMES = ["aws/lambda/u/2", "aws/lambda/u/1", "aws/lambda/é", "Z", "a b'c"]


@pytest.fixture
def s3(monkeypatch):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "us-east-1",
    }.items():
        monkeypatch.setenv(name, value)
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET)
        yield client
        client.close()


def opened(url: str, **options):
    return open_held_back(url, **({"endpoint_url": None, "profile": None, "region": None} | options))


@pytest.fixture(params=["folder", "bucket", "prefix"])
def held_back(request, tmp_path):
    """The same objects in each kind of place."""
    if request.param == "folder":
        for name in NAMES:
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_bytes(name.encode())
        return opened(str(tmp_path))
    s3 = request.getfixturevalue("s3")
    prefix = "below/" if request.param == "prefix" else ""
    for name in NAMES:
        s3.put_object(Bucket=BUCKET, Key=prefix + name, Body=name.encode())
    if prefix:
        s3.put_object(Bucket=BUCKET, Key="below-not", Body=b"x")
    return opened(f"s3://{BUCKET}/{prefix}")


def test_every_object_is_listed_in_order_and_read(held_back):
    """Twice the same order, so that a second run says what the first one said."""
    found = list(held_back.objects())
    assert [each.name for each in found] == sorted(NAMES)
    assert [each.size_bytes for each in found] == [len(each.name.encode()) for each in found]
    assert [held_back.read(each.name) for each in found] == [each.name.encode() for each in found]


def test_one_file_of_messages_is_a_destination_too(tmp_path):
    """A queue is dumped into a file."""
    (tmp_path / "messages.jsonl").write_bytes(b"{}")
    held_back = opened(str(tmp_path / "messages.jsonl"))
    (found,) = held_back.objects()
    assert (found.name, held_back.read(found.name)) == ("messages.jsonl", b"{}")
    assert held_back.address(found.name) == str(tmp_path / "messages.jsonl")


def test_a_folder_that_the_console_made_is_no_object(s3):
    """An empty object whose name ends in a slash stands for a folder; an empty object of another name is odd."""
    s3.put_object(Bucket=BUCKET, Key="aws/", Body=b"")
    s3.put_object(Bucket=BUCKET, Key="empty", Body=b"")
    assert [each.name for each in opened(f"s3://{BUCKET}").objects()] == ["empty"]


def test_the_removal_of_a_file_removes_that_file(tmp_path):
    """A shell takes the line as it is written, whatever somebody put into a name."""
    names = ["a b", "c'd", "$(touch hurt)", "-rf", "e\nf", "é;rm *"]
    for name in names:
        (tmp_path / name).write_bytes(b"")
    held_back = opened(str(tmp_path))
    for name in names[:-1]:
        subprocess.run(["sh", "-c", held_back.removal(name)], check=True, cwd=tmp_path)
    assert os.listdir(tmp_path) == names[-1:]


def test_the_removal_of_an_object_names_it_and_how_it_was_reached(s3):
    """The line is for the same account, endpoint and region; only what was given is repeated."""
    line = opened(f"s3://{BUCKET}/below/", endpoint_url="http://127.0.0.1:9").removal("a b")
    assert shlex.split(line) == ["aws", "s3", "rm", f"s3://{BUCKET}/below/a b", "--endpoint-url", "http://127.0.0.1:9"]


# --- what cannot be read ---


def test_a_folder_that_is_missing_is_not_an_empty_one(tmp_path):
    """ "Nothing is held back" would be the answer that everyone hopes for."""
    with pytest.raises(DestinationUnreadable, match=r"nothing could not be read: No such file") as raised:
        list(opened(str(tmp_path / "nothing")).objects())
    assert "on-failure bucket" in raised.value.hint


def test_an_empty_folder_is_empty(tmp_path):
    """It can be read, and there is nothing."""
    assert list(opened(str(tmp_path)).objects()) == []


def test_what_is_no_file_is_listed_and_refused_by_itself(tmp_path):
    """A link that leads nowhere, a link to a folder or a pipe spoils neither the list nor another object."""
    (tmp_path / "good").write_bytes(b"x")
    (tmp_path / "folder-elsewhere").symlink_to(tmp_path.parent, target_is_directory=True)
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe")
    held_back = opened(str(tmp_path))
    assert [each.name for each in held_back.objects()] == ["folder-elsewhere", "gone", "good", "pipe"]
    for name in ("folder-elsewhere", "gone", "pipe"):
        with pytest.raises(DestinationUnreadable, match=name):
            held_back.read(name)
    assert held_back.read("good") == b"x"


def test_a_folder_that_may_not_be_read_is_not_left_out(tmp_path, monkeypatch):
    """Half a list is no list, and walking a tree passes over such folders unless it is told not to."""
    (tmp_path / "open").mkdir()
    (tmp_path / "closed").mkdir()
    plain = os.scandir

    def scandir(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return plain(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(DestinationUnreadable, match="closed could not be read: Permission denied"):
        list(opened(str(tmp_path)).objects())


def test_a_bucket_that_does_not_exist_is_named(s3):
    """The commonest mistake is a misspelt name."""
    with pytest.raises(DestinationUnreadable, match="s3://no-such could not be read") as raised:
        list(opened("s3://no-such").objects())
    assert "--on-failure" in raised.value.hint


def test_an_object_that_went_meanwhile_is_no_empty_one(s3):
    """Somebody else clears up at the same time."""
    with pytest.raises(DestinationUnreadable, match="is gone since it was listed"):
        opened(f"s3://{BUCKET}").read("gone")


@pytest.mark.parametrize(
    ("code", "status", "hint"),
    [
        ("AccessDenied", 403, "s3:{}"),
        ("403", 403, "s3:{}"),
        ("SlowDown", 503, "network"),
        ("NoSuchBucket", 404, "corr"),
    ],
)
def test_a_refusal_of_s3_says_what_to_do(s3, code, status, hint):
    """AccessDenied names the action that is missing; what may pass says to try again."""
    held_back = HeldBackInS3(S3Store(s3, BUCKET, ""), f"s3://{BUCKET}")
    with Stubber(s3) as stubber:
        stubber.add_client_error("list_objects_v2", code, http_status_code=status)
        with pytest.raises(DestinationUnreadable, match=f"s3://{BUCKET} could not be read") as raised:
            list(held_back.objects())
        assert hint.format("ListBucket") in raised.value.hint
        stubber.add_client_error("get_object", code, http_status_code=status)
        with pytest.raises(DestinationUnreadable, match=KEY) as raised:
            held_back.read(KEY)
        assert hint.format("GetObject") in raised.value.hint


def test_no_network_is_no_empty_bucket(s3, monkeypatch):
    """A request without an answer says nothing of what is there."""

    def unreachable(**_):
        raise EndpointConnectionError(endpoint_url="https://s3.amazonaws.com")

    monkeypatch.setattr(s3, "get_object", unreachable)
    held_back = HeldBackInS3(S3Store(s3, BUCKET, ""), f"s3://{BUCKET}")
    with pytest.raises(DestinationUnreadable, match="Could not connect"):
        held_back.read(KEY)


@pytest.mark.parametrize("url", ["ftp://x", "s3://", "https://failed.s3.amazonaws.com/"])
def test_what_is_no_destination_is_a_matter_of_configuration(url):
    """A mistake in what was typed is told apart from a failure."""
    with pytest.raises(NotConfigured):
        opened(url)
