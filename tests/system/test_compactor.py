"""The compactor's package runs in Lambda's own runtime client, on a folder and on S3, within its memory."""

import contextlib
import json
import zipfile

import pytest

from archiver.sealer import Sealer
from archiver.signer import create_key, load_signer
from archiver.store import S3Store
from archiver.streams import Streams
from archiver.writer import Writer
from infra import build
from tests.archiving.batches import CHANGED_AT_S, arn_of, record
from tests.querying.test_compact_handler import ORDERS, sealed
from tests.system import parts
from tests.system.test_package import HERE, runtime, template_environment

__all__ = ["runtime", "sealed"]  # fixtures

pytestmark = pytest.mark.xdist_group("package")

MB = 1024**2


@pytest.fixture(scope="module")
def unpacked(tmp_path_factory):
    """The compactor's package of this machine's architecture, as Lambda unpacks it."""
    package = build.build(HERE, tmp_path_factory.mktemp("package"), build.COMPACTOR)
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(package.path) as archive:
        archive.extractall(folder)
    return folder


def compacting_environment(archive, derived):
    return {
        **template_environment("CompactionFunction"),
        "DDBTRAIL_ARCHIVE": str(archive),
        "DDBTRAIL_DERIVED": str(derived),
        "DDBTRAIL_TABLES": "111122223333/eu-west-1/orders",
        # The emulator's function has less of both, and what is too little is refused.
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "3538",
        "AWS_LAMBDA_FUNCTION_TIMEOUT": "900",
    }


def test_the_built_package_compacts_in_lambdas_runtime(unpacked, runtime, sealed, tmp_path):
    """With Python 3.13 and none of this project's other libraries; twice, in one container."""
    environ = compacting_environment(sealed, tmp_path / "derived")
    with parts.lambda_function(unpacked, "query.compact_handler.compact", environ) as function:
        first = json.loads(function.invoke(b"{}"))
        again = json.loads(function.invoke(b"{}"))
        log, peak = function.log, function.peak_memory_bytes()
    print(f"peak {peak / MB:.0f} MiB resident")
    assert first == {"runs": 3, "rows": 9}, log
    assert again == {}, log
    assert len(list((tmp_path / "derived").rglob("run.json"))) == 3
    assert '"CompactionLagSeconds"' in log


def test_the_built_package_compacts_in_s3(unpacked, runtime, s3_bucket, tmp_path):
    """As in operation: evidence in one prefix, runs in another, the SDK of the runtime for credentials."""
    create_key(tmp_path / "key")
    with contextlib.closing(s3_bucket.server.client("s3")) as s3:
        store = S3Store(s3, s3_bucket.name, "audit")
        writer = Writer(store, Streams(key_schema={"orders": ("id",)}))
        sealer = Sealer(store, ORDERS, load_signer(tmp_path / "key"))
        for number, hour in enumerate((0, 1, 25)):
            at_s = CHANGED_AT_S + hour * 3_600
            changed = record(number + 1, changed_at_s=at_s + 60, arn=arn_of("orders"))
            writer.archive([changed], now_ms=(at_s + 120) * 1_000)
            sealer.seal((at_s + 1_200) * 1_000)
        environ = {
            **s3_bucket.server.environ(),
            **compacting_environment(f"{s3_bucket.url}/audit", f"{s3_bucket.url}/derived"),
            "DDBTRAIL_ENDPOINT_URL": s3_bucket.server.url,
        }
        with parts.lambda_function(unpacked, "query.compact_handler.compact", environ) as function:
            answer = json.loads(function.invoke(b"{}"))
            again = json.loads(function.invoke(b"{}"))
            log = function.log
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=s3_bucket.name, Prefix="derived/")["Contents"]]
    assert answer == {"runs": 1, "rows": 2}, log
    assert again == {}, log
    assert sorted(key.rpartition("/")[2].split("-")[0] for key in keys) == [
        *["part"] * 3,
        "run.json",
        "segments",
    ]
