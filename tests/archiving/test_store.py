"""The two stores: create-only, "already there" is success, absent or whole, and an error says whether a retry can help."""

import errno
import os
import resource
import signal
import stat
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import EndpointConnectionError, NoCredentialsError
from botocore.stub import ANY, Stubber
from moto import mock_aws

from archiver import store as store_module
from archiver.errors import NotConfigured, StoreRefused, StoreUnavailable
from archiver.store import FolderStore, S3Store, open_store

BUCKET, PREFIX = "archive", "some/where"
NAME = "v1/account=111122223333/region=eu-west-1/table_name=orders/segments/dt=2026-11-23/hour=00/a.parquet"


@pytest.fixture
def credentials(monkeypatch):
    for name, value in {
        "AWS_ACCESS_KEY_ID": "testing",
        "AWS_SECRET_ACCESS_KEY": "testing",
        "AWS_DEFAULT_REGION": "eu-west-1",
    }.items():
        monkeypatch.setenv(name, value)


@pytest.fixture
def s3(credentials):
    with mock_aws():
        client = boto3.client("s3")
        client.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        yield client


@pytest.fixture(params=["folder", "s3"])
def store(request, tmp_path):
    """Each store in turn: one contract."""
    if request.param == "folder":
        return FolderStore(tmp_path / "archive")
    return S3Store(request.getfixturevalue("s3"), BUCKET, PREFIX)


# --- the contract ---


def test_what_is_put_is_there(store):
    """The first word of an archive."""
    assert store.put_if_absent(NAME, b"content") is True
    assert store.get(NAME) == b"content"
    assert list(store.list("")) == [(NAME, 7)]


def test_the_second_put_of_a_name_changes_nothing(store):
    """Whoever wrote it wrote the same records, or the first is the evidence: either way it stays."""
    assert store.put_if_absent(NAME, b"first") is True
    assert store.put_if_absent(NAME, b"second") is False
    assert store.put_if_absent(NAME, b"first") is False
    assert store.get(NAME) == b"first"


def test_an_empty_object_is_an_object(store):
    """Late markers are empty."""
    assert store.put_if_absent("v1/late", b"") is True
    assert store.put_if_absent("v1/late", b"x") is False
    assert store.get("v1/late") == b""
    assert list(store.list("v1/")) == [("v1/late", 0)]


def test_what_is_absent_is_not_found(store):
    """None would be an answer; absence is not."""
    with pytest.raises(FileNotFoundError):
        store.get("v1/nothing")


def test_names_are_listed_in_order_below_a_prefix(store):
    """Readers list hours and go on after a name; a prefix is a text, not a folder."""
    names = ["a/b/1", "a/b/10", "a/b/2", "a/bc", "b/1", "a-b/1"]
    for name in names:
        store.put_if_absent(name, name.encode())
    assert [name for name, _ in store.list("")] == sorted(names)
    assert [name for name, _ in store.list("a/b/")] == ["a/b/1", "a/b/10", "a/b/2"]
    assert [name for name, _ in store.list("a/b/1")] == ["a/b/1", "a/b/10"]
    assert [name for name, _ in store.list("a/b/", "a/b/10")] == ["a/b/2"]
    assert [name for name, _ in store.list("c/")] == []
    assert dict(store.list("b/")) == {"b/1": 3}


# --- a folder ---


def test_of_racing_writers_of_one_name_exactly_one_wins(tmp_path):
    """Any number of shards and retries write at once, with no lock between them; servers race in tests/system."""
    store = FolderStore(tmp_path)
    barrier = threading.Barrier(16)

    def race(number: int) -> bool:
        barrier.wait()
        return store.put_if_absent(NAME, b"%d" % number * 10_000)

    for _ in range(10):
        with ThreadPoolExecutor(16) as pool:
            won = list(pool.map(race, range(16)))
        assert Counter(won) == {True: 1, False: 15}
        assert store.get(NAME) == b"%d" % won.index(True) * 10_000
        assert [name for name, _ in store.list("")] == [NAME]
        (store.root / NAME).unlink()


def partials(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.name.startswith(".partial-")]


def test_a_partial_file_is_never_listed(tmp_path):
    """A process killed while writing leaves one; no reader may take it for a segment."""
    store = FolderStore(tmp_path)
    store.put_if_absent("a/b", b"x")
    (tmp_path / "a" / ".partial-0123456789abcdef").write_bytes(b"half")
    assert list(store.list("")) == [("a/b", 1)]


def test_no_partial_file_stays_after_a_put(tmp_path):
    """Neither a put that wins nor one that finds its name taken leaves anything else behind."""
    store = FolderStore(tmp_path)
    store.put_if_absent("a/b", b"x")
    store.put_if_absent("a/b", b"y")
    assert partials(tmp_path) == []


def test_content_is_on_disk_before_it_has_a_name(tmp_path, monkeypatch):
    """A power cut after the answer must find the object whole: file first, then name, then the folder's entry."""
    steps = []
    for name in ("fsync", "link"):
        real = getattr(os, name)
        monkeypatch.setattr(
            store_module.os, name, lambda *arguments, name=name, real=real: (steps.append(name), real(*arguments))[1]
        )
    (tmp_path / "a").mkdir()
    FolderStore(tmp_path).put_if_absent("a/b", b"x")
    assert steps == ["fsync", "link", "fsync"]


IN_CHILD = """
import resource, signal, sys
from pathlib import Path
from archiver.errors import ArchiverError
from archiver.store import FolderStore
{before}
try:
    FolderStore(Path(sys.argv[1])).put_if_absent("a/big", b"x" * 200_000)
except ArchiverError as error:
    print(type(error).__name__, error, error.hint, sep="|")
"""


def test_a_full_disk_is_refused_and_leaves_nothing(tmp_path):
    """Retrying does not free a disk, so the type says that somebody must; and no half object has a name."""
    if os.geteuid() != 0:
        pytest.skip("a small file system can only be mounted by root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(tmp_path)], check=False, capture_output=True
    )
    if mounted.returncode:
        pytest.skip(f"no tmpfs here: {mounted.stderr.decode().strip()}")
    try:
        store = FolderStore(tmp_path)
        assert store.put_if_absent("a/small", b"x")
        with pytest.raises(StoreRefused, match="No space left") as error:
            store.put_if_absent("a/big", b"x" * 200_000)
        assert error.value.hint
        assert error.value.__cause__.errno == errno.ENOSPC
        assert list(store.list("")) == [("a/small", 1)]
        assert partials(tmp_path) == []
    finally:
        subprocess.run(["umount", str(tmp_path)], check=True)


def test_a_file_that_may_not_grow_leaves_nothing(tmp_path):
    """A quota or a limit cuts a write in the middle: what was written of it has no name and is removed."""
    before = (
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))"
    )
    assert hasattr(signal, "SIGXFSZ")
    assert hasattr(resource, "RLIMIT_FSIZE")
    said = in_child(tmp_path, before)
    assert said.startswith("StoreUnavailable|")
    assert "File too large" in said
    assert list(FolderStore(tmp_path).list("")) == []
    assert partials(tmp_path) == []


def in_child(root: Path, before: str) -> str:
    code = IN_CHILD.format(before=before)
    done = subprocess.run(
        [sys.executable, "-c", code, str(root)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
    )
    return done.stdout.strip()


def test_permission_denied_is_refused(tmp_path, monkeypatch):
    """Retrying does not change a mode, so the type says that somebody must."""
    (tmp_path / "a").mkdir()
    if os.geteuid() == 0:  # root may do anything, so the kernel's answer is given by hand
        monkeypatch.setattr(Path, "open", lambda *_arguments, **_named: denied())
    else:
        (tmp_path / "a").chmod(stat.S_IRUSR | stat.S_IXUSR)
    with pytest.raises(StoreRefused, match=r"could not write .*Permission denied"):
        FolderStore(tmp_path).put_if_absent("a/b", b"x")
    monkeypatch.undo()
    (tmp_path / "a").chmod(stat.S_IRWXU)
    assert list(FolderStore(tmp_path).list("")) == []


def denied():
    raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))


def test_a_name_below_a_file_cannot_be_written(tmp_path):
    """A file where a folder should be is somebody's mistake; it is named, and left alone."""
    (tmp_path / "a").write_bytes(b"mine")
    with pytest.raises(StoreUnavailable, match="could not write"):
        FolderStore(tmp_path).put_if_absent("a/b", b"x")
    assert (tmp_path / "a").read_bytes() == b"mine"


# --- S3, answer by answer ---


def test_more_names_than_a_page_are_all_listed(s3):
    """S3 lists a thousand at a time: a listing cut short would be an archive cut short."""
    for number in range(1_001):
        s3.put_object(Bucket=BUCKET, Key=f"{PREFIX}/n/{number:04d}", Body=b"")
    assert len(list(S3Store(s3, BUCKET, PREFIX).list("n/"))) == 1_001


@pytest.fixture
def stubbed(credentials, monkeypatch):
    """A client whose answers are written down, and no waiting between tries."""
    client = boto3.client("s3", config=Config(retries={"total_max_attempts": 1}))
    monkeypatch.setattr(store_module.time, "sleep", lambda _s: None)
    with Stubber(client) as stubber:
        yield S3Store(client, BUCKET, PREFIX), stubber
        stubber.assert_no_pending_responses()


REQUEST = {
    "Bucket": BUCKET,
    "Key": f"{PREFIX}/{NAME}",
    "Body": b"content",
    "IfNoneMatch": "*",
    "ChecksumAlgorithm": "SHA256",
}


def test_a_put_is_create_only_and_carries_a_digest(stubbed):
    """`If-None-Match: *` is what makes retries safe; S3 checks the SHA-256 and keeps it beside the object."""
    store, stubber = stubbed
    stubber.add_response("put_object", {}, REQUEST)
    assert store.put_if_absent(NAME, b"content") is True


def test_a_put_states_the_digest_on_the_wire(s3):
    """Not only asked for: the digest arrives, and is that of the content."""
    sent = {}
    s3.meta.events.register("before-send.s3.PutObject", lambda request, **_: sent.update(request.headers))
    S3Store(s3, BUCKET, PREFIX).put_if_absent(NAME, b"content")
    headers = {name.lower(): value for name, value in sent.items()}
    assert headers["if-none-match"] in ("*", b"*")
    assert "x-amz-checksum-sha256" in headers or b"sha256" in headers.get("x-amz-trailer", b"").lower()


def fail(stubber, code: str, status: int, times: int = 1) -> None:
    for _ in range(times):
        stubber.add_client_error("put_object", code, http_status_code=status, expected_params={**REQUEST, "Body": ANY})


@pytest.mark.parametrize("code", ["PreconditionFailed", "412"])
def test_412_is_success(stubbed, code):
    """A lost answer makes boto3 send again and find its own object; the name is made from the records, so it is ours."""
    store, stubber = stubbed
    fail(stubber, code, 412)
    assert store.put_if_absent(NAME, b"content") is False


def test_409_is_tried_again(stubbed):
    """Another write of the same name was under way: the S3 guide says to send again, and then it is there or free."""
    store, stubber = stubbed
    fail(stubber, "ConditionalRequestConflict", 409, times=2)
    fail(stubber, "PreconditionFailed", 412)
    assert store.put_if_absent(NAME, b"content") is False
    fail(stubber, "ConditionalRequestConflict", 409)
    stubber.add_response("put_object", {}, REQUEST)
    assert store.put_if_absent(NAME, b"content") is True


def test_endless_409_gives_up_and_a_retry_may_help(stubbed):
    """Every loop over what others do has a limit."""
    store, stubber = stubbed
    fail(stubber, "ConditionalRequestConflict", 409, times=5)
    with pytest.raises(StoreUnavailable, match="others keep writing it"):
        store.put_if_absent(NAME, b"content")


@pytest.mark.parametrize(
    ("code", "status"),
    [("InternalError", 500), ("SlowDown", 503), ("ServiceUnavailable", 503), ("RequestTimeout", 400)],
)
def test_what_passes_is_unavailable(stubbed, code, status):
    """Lambda sends the batch again, and that can help."""
    store, stubber = stubbed
    fail(stubber, code, status)
    with pytest.raises(StoreUnavailable, match=f"s3://{BUCKET}/{PREFIX}/{NAME}") as error:
        store.put_if_absent(NAME, b"content")
    assert "sent again" in error.value.hint
    assert error.value.__cause__ is not None


@pytest.mark.parametrize(
    ("code", "status", "hint"),
    [
        ("AccessDenied", 403, "s3:PutObject"),
        ("403", 403, "s3:PutObject"),
        ("NoSuchBucket", 404, "create the bucket"),
        ("KMS.DisabledException", 400, ""),
        ("InvalidAccessKeyId", 403, ""),
        ("SignatureDoesNotMatch", 403, ""),
    ],
)
def test_what_somebody_must_mend_is_refused(stubbed, code, status, hint):
    """No retry grants a permission; the hint says which one is missing."""
    store, stubber = stubbed
    fail(stubber, code, status)
    with pytest.raises(StoreRefused, match=f"s3://{BUCKET}/{PREFIX}/{NAME}") as error:
        store.put_if_absent(NAME, b"content")
    assert hint in error.value.hint


@pytest.mark.parametrize("error", [EndpointConnectionError(endpoint_url="http://x"), NoCredentialsError()])
def test_a_request_that_never_arrived_is_unavailable(stubbed, monkeypatch, error):
    """No answer is no success."""
    store, _ = stubbed

    def never(**_request):
        raise error

    monkeypatch.setattr(store._client, "put_object", never)
    with pytest.raises(StoreUnavailable, match="could not write"):
        store.put_if_absent(NAME, b"content")


def test_a_missing_bucket_is_refused_by_a_server_too(s3):
    """The code that real answers carry, not only the one we wrote down."""
    with pytest.raises(StoreRefused) as error:
        S3Store(s3, "another-bucket", "").put_if_absent(NAME, b"x")
    assert "create the bucket" in error.value.hint


# --- which store a URL means ---


def test_a_url_names_a_store(tmp_path, credentials):
    """One setting for all: a folder's path, `file://`, or `s3://bucket/prefix`."""
    assert open_store(str(tmp_path)).root == tmp_path
    assert open_store(f"file://{tmp_path}").root == tmp_path
    assert open_store("relative/folder").root == Path("relative/folder")
    store = open_store("s3://archive/some/where/")
    assert (store._bucket, store._prefix) == ("archive", "some/where/")
    assert open_store("s3://archive")._prefix == ""


@pytest.mark.parametrize("url", ["", "s3://", "s3:///prefix", "gs://bucket", "https://bucket.s3.amazonaws.com"])
def test_what_is_no_archive_is_said_to_be_none(url):
    """What, why, and what to type instead."""
    with pytest.raises(NotConfigured) as error:
        open_store(url)
    assert "s3://bucket/prefix" in error.value.hint
