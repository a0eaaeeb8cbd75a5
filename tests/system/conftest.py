"""Fixtures that start a real part when the first test asks for it, and skip, visibly, where it is not installed.

A test that uses a part gets its marker (`-m rgw`, `-m ministack`). Under pytest-xdist each worker starts its own part;
Ceph is the heavy one, so all its tests go to one worker (`--dist loadgroup`).
"""

import contextlib
import uuid
from collections.abc import Iterator

import pytest

from tests.system import fires, parts

MARKERS = {"ministack_url": [pytest.mark.ministack], "rgw": [pytest.mark.rgw, pytest.mark.xdist_group("rgw")]}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture in getattr(item, "fixturenames", ()):
            for marker in MARKERS.get(fixture, ()):
                item.add_marker(marker)


@contextlib.contextmanager
def _or_skip(part) -> Iterator:
    with contextlib.ExitStack() as running:
        try:
            started = running.enter_context(part)
        except parts.PartAbsent as absent:
            pytest.skip(str(absent))
        yield started


@pytest.fixture(scope="session")
def ministack_url() -> Iterator[str]:
    """The endpoint of MiniStack: DynamoDB with streams and S3."""
    with _or_skip(parts.ministack()) as url:
        yield url


@pytest.fixture(scope="session")
def dynamodb_local_url() -> Iterator[str]:
    """The endpoint of AWS's DynamoDB Local, if DDBTRAIL_TEST_DYNAMODB_LOCAL names its folder."""
    with _or_skip(parts.dynamodb_local()) as url:
        yield url


@pytest.fixture(scope="session")
def rgw() -> Iterator[parts.AwsEndpoint]:
    """The S3 endpoint of Ceph RGW with the credentials it takes."""
    with _or_skip(parts.ceph_rgw()) as endpoint:
        yield endpoint


@pytest.fixture(scope="session")
def fires_archive(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The recorded events of `tests.system.fires` in a folder, one batch an event. Nobody may write to it."""
    archive = tmp_path_factory.mktemp("fires")
    fires.ddbtrail("archive", str(fires.DATA / "events.jsonl.gz"), "-a", str(archive))
    return str(archive)


@pytest.fixture
def s3_bucket(ministack_url: str) -> Iterator[parts.Bucket]:
    """A fresh bucket on MiniStack."""
    with _fresh_bucket(parts.AwsEndpoint(ministack_url)) as bucket:
        yield bucket


@pytest.fixture
def rgw_bucket(rgw: parts.AwsEndpoint) -> Iterator[parts.Bucket]:
    """A fresh bucket on Ceph RGW."""
    with _fresh_bucket(rgw) as bucket:
        yield bucket


@pytest.fixture(
    params=[
        pytest.param("s3_bucket", id="ministack", marks=MARKERS["ministack_url"]),
        pytest.param("rgw_bucket", id="rgw", marks=MARKERS["rgw"]),
    ]
)
def any_bucket(request: pytest.FixtureRequest) -> parts.Bucket:
    """A fresh bucket on each S3 server in turn: for claims that every object store must keep."""
    return request.getfixturevalue(request.param)


@contextlib.contextmanager
def _fresh_bucket(server: parts.AwsEndpoint) -> Iterator[parts.Bucket]:
    bucket = parts.Bucket(f"test-{uuid.uuid4().hex}", server)
    with contextlib.closing(server.client("s3")) as s3:
        s3.create_bucket(Bucket=bucket.name)
        yield bucket
