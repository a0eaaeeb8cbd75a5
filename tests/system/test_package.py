"""The built package is what runs: the same bytes every time, nothing in it that must not be, and it works in Lambda's
own runtime client with Python 3.13, within its limits of start and memory.

The figures that are checked here are also printed: `python -m pytest tests/system/test_package.py -rP`. What no part
here does: limit memory, run on Lambda's processors, or start as cold as Lambda does.
"""

import contextlib
import json
import os
import platform
import random
import shutil
import struct
import subprocess
import zipfile

import pytest
from cryptography.hazmat.primitives.serialization import load_der_public_key

from archiver.format.layout import Trail
from archiver.format.log_entry import SegmentEntry
from archiver.format.seal import Seal, origin_of
from archiver.signer import check_signature, create_key
from archiver.store import FolderStore, S3Store
from archiver.streams import Streams
from archiver.writer import Writer
from infra import build
from infra.cloudformation import sam_template
from infra.errors import PackageRefused
from infra.wheels import FROM_THE_RUNTIME, LOCK, PLATFORMS, Locked, locked_wheels, parse_lock
from tests.archiving.batches import arn_of, record
from tests.system import parts

# One worker builds, where pytest-xdist keeps a group together (3.8 does not with pytest 9.2: then each builds once).
pytestmark = pytest.mark.xdist_group("package")

HERE = "arm64" if platform.machine() in {"arm64", "aarch64"} else "x86_64"
ELF_MACHINES = {"arm64": 0xB7, "x86_64": 0x3E}
BATCH_BYTES_MAX = 6 * 1024 * 1024  # "6 MB each for request and response (synchronous)" (*Lambda quotas*)
ITEM_BYTES_MAX = 400 * 1024
PEAK_BYTES_MAX = 256 * 1024 * 1024
IMPORT_FLOORS_MAX = 1.6
STARTS = 5

# Runs inside the runtime, on the package alone: everything that the archive holds, read and checked again.
READ_BACK = """
import pathlib, sys
from archiver.format.layout import SegmentName, StreamSource, Trail
from archiver.segment import check_segment
import pyarrow.parquet as pq
archive, label, rows = pathlib.Path(sys.argv[1]), sys.argv[2], 0
for path in archive.glob("v1/*/*/*/segments/*/*/*.parquet"):
    trail, name = Trail.parse(path.relative_to(archive).as_posix())
    rows += len(check_segment(path.read_bytes(), StreamSource(trail, label), SegmentName.parse(name)))
    assert pq.read_metadata(path).metadata[b"ddbtrail.writer"] == sys.argv[3].encode(), pq.read_metadata(path).metadata
print(rows)
"""
TIME_THE_IMPORT = """
import sys, time
start = time.process_time()
import orjson, pyarrow.parquet
from aws_lambda_powertools import Logger
from aws_lambda_powertools.metrics import EphemeralMetrics
libraries = time.process_time()
import archiver.handler
needless = {"boto3", "aws_xray_sdk", "numpy", "cryptography", "archiver.sealer"}
print(libraries - start, time.process_time() - start, *sorted(needless & sys.modules.keys()))
"""
# The same for the function that seals, which also needs the handler that it shares with the other one.
TIME_THE_SEALER = """
import sys, time
start = time.process_time()
import archiver.handler
handler = time.process_time()
import archiver.seal_handler
print(handler - start, time.process_time() - handler, *sorted({"boto3", "aws_xray_sdk", "numpy"} & sys.modules.keys()))
"""


def wheels(architecture):
    folder = build.BUILD / "wheels" / architecture
    folder.mkdir(parents=True, exist_ok=True)
    return locked_wheels(architecture, folder)


@pytest.fixture(scope="module")
def package(tmp_path_factory):
    """The package of this machine's architecture, as `make package` makes it."""
    return build.build(HERE, tmp_path_factory.mktemp("package"))


@pytest.fixture(scope="module")
def unpacked(package, tmp_path_factory):
    folder = tmp_path_factory.mktemp("task")
    with zipfile.ZipFile(package.path) as archive:
        archive.extractall(folder)
    return folder


@pytest.fixture(scope="module")
def runtime():
    try:
        return parts.lambda_runtime()
    except parts.PartAbsent as absent:
        pytest.skip(str(absent))


def template_environment(function="ArchiveFunction"):
    """The variables that the template sets to a fixed value: the test runs what is deployed."""
    variables = sam_template()["Resources"][function]["Properties"]["Environment"]["Variables"]
    return {name: value for name, value in variables.items() if isinstance(value, str)}


def in_runtime(runtime, unpacked, script, *arguments):
    environ = {**template_environment(), "PYTHONPATH": str(unpacked), "PYTHONDONTWRITEBYTECODE": "1"}
    environ["LAMBDA_TASK_ROOT"] = str(unpacked)  # Powertools' tracer would be imported, but for the template
    command = [str(runtime.python), "-c", script, *map(str, arguments)]
    done = subprocess.run(command, env=environ, cwd="/", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# --- What is in it ---


def test_the_same_sources_and_lock_give_the_same_bytes(package, tmp_path):
    """Else nobody could tell whether the function that runs is the one that was reviewed."""
    copy = tmp_path / "elsewhere"
    for path in sorted((parts.REPOSITORY / "archiver").rglob("*.py"), reverse=True):
        target = copy / path.relative_to(parts.REPOSITORY)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(path, target)
        os.utime(target, (0, 1_234_567_890))
        target.chmod(0o755)
    (copy / "archiver" / "__pycache__").mkdir()
    (copy / "archiver" / "__pycache__" / "handler.cpython-311.pyc").write_bytes(b"of whoever built it")
    shutil.copyfile(parts.REPOSITORY / "pyproject.toml", copy / "pyproject.toml")
    again = build.write_package(build.package_contents(reversed(wheels(HERE)), copy), tmp_path / "again.zip")
    assert again.path.read_bytes() == package.path.read_bytes()


@pytest.mark.parametrize("architecture", PLATFORMS)
def test_a_package_fits_and_is_made_for_its_architecture(architecture):
    """Lambda takes 250 MB with layers; a library of the other architecture would fail every batch."""
    contents = build.package_contents(wheels(architecture))
    unzipped = sum(map(len, contents.values()))
    print(f"{architecture}: {unzipped / 1e6:.1f} MB unzipped in {len(contents)} files")
    assert unzipped <= build.UNZIPPED_BYTES_MAX
    libraries = [name for name in contents if ".so" in name]
    assert len(libraries) > 10
    for name in libraries:
        assert struct.unpack_from("<H", contents[name], 18)[0] == ELF_MACHINES[architecture], name


@pytest.mark.parametrize(
    "name",
    [
        "query/__init__.py",
        "duckdb/__init__.py",
        "_duckdb.cpython-313-x86_64-linux-gnu.so",
        "duckdb-2.0.0.dist-info/METADATA",
        "boto3/__init__.py",
        "botocore-1.44.5.dist-info/METADATA",
    ],
)
def test_a_package_with_a_reader_or_an_sdk_is_refused(name):
    """Who can write evidence must not bring the means to read it; and the runtime's SDK is kept current by AWS."""
    build.refuse_unfit({"archiver/handler.py": b"", "archiver/query_of_mine.py": b""})
    with pytest.raises(PackageRefused, match=name.partition("/")[0].split(".")[0].split("-")[0]):
        build.refuse_unfit({"archiver/handler.py": b"", name: b""})


def test_a_package_may_have_its_limit_and_not_a_byte_more():
    """The limit is Lambda's, less what layers take."""
    build.refuse_unfit({"archiver/handler.py": bytes(build.UNZIPPED_BYTES_MAX)})
    with pytest.raises(PackageRefused, match="200,000,001 bytes unzipped, more than 200,000,000"):
        build.refuse_unfit({"archiver/handler.py": bytes(build.UNZIPPED_BYTES_MAX), "a": b"a"})


def test_two_wheels_with_one_file_are_refused(tmp_path):
    """Which of the two would run is nobody's decision."""
    for name in ("one-1-py3-none-any.whl", "two-1-py3-none-any.whl"):
        with zipfile.ZipFile(tmp_path / name, "w") as wheel:
            wheel.writestr("shared/__init__.py", name)
    with pytest.raises(PackageRefused, match=r"shared/__init__\.py is in two wheels"):
        build.package_contents(sorted(tmp_path.glob("*.whl")))


def test_a_wheel_that_wants_an_installer_is_refused(tmp_path):
    """Its `.data` files belong elsewhere: packed where they lie, they would be missed at run time. Commands may go."""
    with zipfile.ZipFile(tmp_path / "one-1-py3-none-any.whl", "w") as wheel:
        wheel.writestr("one-1.data/scripts/one", "#!python")
        wheel.writestr("one-1.data/purelib/one.py", "")
    with pytest.raises(
        PackageRefused, match=r"one-1-py3-none-any\.whl wants an installer for one-1\.data/purelib/one\.py"
    ):
        build.package_contents([tmp_path / "one-1-py3-none-any.whl"])


def test_contents_that_are_unfit_are_never_written(tmp_path):
    """The refusal stands where packages are made, not only where it is tested."""
    with zipfile.ZipFile(tmp_path / "duckdb-2.0.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr("duckdb/__init__.py", "")
    with pytest.raises(PackageRefused, match="the archiver's package would hold duckdb"):
        build.package_contents([tmp_path / "duckdb-2.0.0-py3-none-any.whl"])


def test_the_lock_names_a_digest_for_every_wheel_and_nothing_that_the_runtime_brings():
    """A requirement without a digest would take whatever the index answers."""
    locked = parse_lock(LOCK.read_text())
    assert {"pyarrow", "orjson", "aws-lambda-powertools", "cryptography"} <= {
        requirement.name for requirement in locked
    }
    assert not FROM_THE_RUNTIME & {requirement.name for requirement in locked}
    assert "".join(requirement.compose() for requirement in locked) == LOCK.read_text().partition("\n")[2]
    with pytest.raises(PackageRefused, match="no requirement with digests"):
        parse_lock(LOCK.read_text() + "requests==2.34.2\n")


def test_a_wheel_with_another_digest_is_never_packed(tmp_path, monkeypatch):
    """The file may have any name: only its bytes count."""
    lock = tmp_path / "lambda.txt"
    lock.write_text(Locked("orjson", "3.13.0", frozenset({"0" * 64})).compose())
    (tmp_path / "orjson-3.13.0-cp313-cp313-manylinux_2_17_x86_64.whl").write_bytes(b"not what was locked")
    monkeypatch.setattr("infra.wheels._download", lambda *_: None)
    with pytest.raises(PackageRefused, match=r"no wheel for arm64 .*: orjson"):
        locked_wheels("arm64", tmp_path, lock=lock)


def test_the_function_runs_the_versions_that_the_tests_run_with():
    """Else every other test would speak of other libraries than the ones that are deployed."""
    pinned = set((LOCK.parent / "dev.txt").read_text().replace("_", "-").lower().split())
    assert {f"{requirement.name}=={requirement.version}" for requirement in parse_lock(LOCK.read_text())} <= pinned


# --- How it runs ---


def event_of(records):
    return json.dumps({"Records": records}, separators=(",", ":"), ensure_ascii=False).encode()


def full_batch(image_bytes):
    """As many records as Lambda hands over at once, each with two images of about so many bytes, none like another."""
    noise, records, size = random.Random(image_bytes), [], 0
    while size < BATCH_BYTES_MAX and len(records) < 10_000:
        changed = record(len(records) + 1, item=f"item {len(records)}")
        for image in ("OldImage", "NewImage"):
            changed["dynamodb"][image]["text"] = {"S": noise.randbytes(image_bytes // 2).hex()}
        records.append(changed)
        size += len(event_of([changed])) - len(event_of([])) + 1
    while len(event_of(records)) > BATCH_BYTES_MAX:
        records.pop()
    return records


def test_the_built_package_archives_a_batch_and_reads_it_back(runtime, unpacked, tmp_path):
    """The claim of this file: what is deployed writes evidence that passes every check, also its own."""
    records = [record(number) for number in range(1, 101)]
    environ = {**template_environment(), "DDBTRAIL_ARCHIVE": str(tmp_path), "DDBTRAIL_DESCRIBE_TABLE": "off"}
    with parts.lambda_function(unpacked, "archiver.handler.archive", environ) as function:
        first = json.loads(function.invoke(event_of(records)))
        again = json.loads(function.invoke(event_of([*records[50:], record(101)])))
        failed = json.loads(function.invoke(b'{"not": "an event"}'))
    assert first == {"received": 100, "archived": 100, "quarantined": 0}, function.log
    assert again == {"received": 51, "archived": 51, "quarantined": 0}, function.log
    assert failed["errorType"] == "NotAnEvent", "a failure must reach Lambda as one"
    label = arn_of("orders").rsplit("/", 1)[1]
    assert in_runtime(runtime, unpacked, READ_BACK, tmp_path, label, "ddbtrail 0.1.0").strip() == "151"


def test_the_built_package_writes_to_s3_with_the_oldest_sdk_of_the_runtime(runtime, unpacked, s3_bucket):
    """boto3 is not in the package: the one the runtime brings must know create-only puts with a SHA-256."""
    records = [record(number) for number in range(1, 11)]
    environ = {
        **template_environment(),
        **s3_bucket.server.environ(),
        "DDBTRAIL_ARCHIVE": f"{s3_bucket.url}/audit",
        "DDBTRAIL_ENDPOINT_URL": s3_bucket.server.url,
        "DDBTRAIL_DESCRIBE_TABLE": "off",
    }
    with (
        parts.lambda_function(unpacked, "archiver.handler.archive", environ) as function,
        contextlib.closing(s3_bucket.server.client("s3")) as s3,
    ):
        first = json.loads(function.invoke(event_of(records)))
        keys = [entry["Key"] for entry in s3.list_objects_v2(Bucket=s3_bucket.name)["Contents"]]
        (segment,) = (key for key in keys if "table_name=orders/segments/" in key)
        s3.put_object(Bucket=s3_bucket.name, Key=segment, Body=b"somebody was here")
        again = json.loads(function.invoke(event_of(records)))
        assert first == again == {"received": 10, "archived": 10, "quarantined": 0}, function.log
        stored = s3.get_object(Bucket=s3_bucket.name, Key=segment)["Body"].read()
    assert stored == b"somebody was here", "what has the name is left alone"


@pytest.mark.parametrize(
    ("what", "image_bytes", "records_min"),
    [
        ("records as small as they come", 8, 6_000),
        ("1 KB items", 1_000, 2_000),
        ("400 KB items", ITEM_BYTES_MAX - 200, 7),
    ],
    ids=["small", "1KB", "400KB"],
)
def test_a_full_batch_stays_within_its_memory(runtime, unpacked, tmp_path, what, image_bytes, records_min):
    """The template gives 512 MB at the least; half of it is left to what differs between here and Lambda."""
    records = full_batch(image_bytes)
    event = event_of(records)
    assert len(records) >= records_min
    environ = {**template_environment(), "DDBTRAIL_ARCHIVE": str(tmp_path), "DDBTRAIL_DESCRIBE_TABLE": "off"}
    with parts.lambda_function(unpacked, "archiver.handler.archive", environ) as function:
        for _ in range(2):  # what the first one leaves in the heap is there for the second
            assert json.loads(function.invoke(event))["archived"] == len(records), function.log
        peak = function.peak_memory_bytes()
    print(f"{what}: {len(records):,} records, {len(event) / 1e6:.2f} MB, peak {peak / 1024**2:.0f} MiB resident")
    assert peak <= PEAK_BYTES_MAX


def test_the_handler_is_imported_in_little_more_time_than_its_libraries(runtime, unpacked):
    """A cold start delays a batch and is paid for. Without bytecode: the package has none, and cannot keep any.

    Seconds of CPU, as a ratio, since the machine may be busy; 1.3 and 0.33 s on a quiet one.
    """
    starts = [in_runtime(runtime, unpacked, TIME_THE_IMPORT).split() for _ in range(STARTS)]
    assert {start[2] for start in starts if len(start) > 2} == set(), "imported only when they are needed"
    libraries, handler = (min(float(start[column]) for start in starts) for column in (0, 1))
    print(f"import of the handler: {handler:.3f} s of CPU, of which its libraries {libraries:.3f} s (best of {STARTS})")
    assert handler <= IMPORT_FLOORS_MAX * libraries


# --- How it seals ---

TRAIL = Trail("111122223333", "eu-west-1", "orders")
SEALED_AT_ONCE = 12


def sealing_environment(archive, key):
    told = {
        "DDBTRAIL_ARCHIVE": archive,
        "DDBTRAIL_SIGNING_KEY": key,
        "DDBTRAIL_SEAL_TABLE": "111122223333/eu-west-1/orders",
    }
    return {**template_environment("SealFunction"), **{name: str(value) for name, value in told.items()}}


def seals_of(store):
    return [Seal.parse(store.get(name)) for name, _ in store.list(f"{TRAIL.prefix}seals/")]


def records_sealed(seals):
    return sum(entry.records for seal in seals for entry in seal.entries if isinstance(entry, SegmentEntry))


def test_the_built_package_seals_what_it_has_archived(unpacked, runtime, tmp_path):
    """The other entry point of the same package, with its own cryptography: the runtime has none. Twice, in one container."""
    archive, store = tmp_path / "archive", FolderStore(tmp_path / "archive")
    public_key = create_key(tmp_path / "key")
    environ = {**template_environment(), "DDBTRAIL_ARCHIVE": str(archive), "DDBTRAIL_DESCRIBE_TABLE": "off"}
    with parts.lambda_function(unpacked, "archiver.handler.archive", environ) as function:
        function.invoke(event_of([record(number) for number in range(1, 101)]))
    with parts.lambda_function(
        unpacked, "archiver.handler.seal", sealing_environment(archive, tmp_path / "key")
    ) as function:
        first = json.loads(function.invoke(b"{}"))
        again = json.loads(function.invoke(b"{}"))
        (tmp_path / "key").unlink()  # the next container finds none
    assert first == {"seals": 1, "open": 1, "segment": 1, "interval": 1}, function.log
    assert again == {"seals": 1, "interval": 1}, function.log
    for seal in seals_of(store):
        check_signature(seal.checkpoint, origin_of(TRAIL), public_key)
    assert records_sealed(seals_of(store)) == 100
    with parts.lambda_function(
        unpacked, "archiver.handler.seal", sealing_environment(archive, tmp_path / "key")
    ) as function:
        failed = json.loads(function.invoke(b"{}"))
        assert failed["errorType"] == "KeyRefused", "a failure must reach Lambda as one"
        assert '"SealAgeSeconds"' in function.log


@pytest.mark.parametrize("spec", ["ECC_NIST_EDWARDS25519", "ECC_NIST_P256"])
def test_the_built_package_signs_with_a_key_of_kms(unpacked, runtime, s3_bucket, spec):
    """With the oldest SDK that the runtime has had, which did not know Ed25519 yet; MiniStack's KMS signs with either."""
    archive = f"{s3_bucket.url}/audit"
    with (
        contextlib.closing(s3_bucket.server.client("kms")) as kms,
        contextlib.closing(s3_bucket.server.client("s3")) as s3,
    ):
        key = kms.create_key(KeySpec=spec, KeyUsage="SIGN_VERIFY")["KeyMetadata"]
        told = kms.get_public_key(KeyId=key["KeyId"])
        store = S3Store(s3, s3_bucket.name, "audit")
        Writer(store, Streams()).archive([record(1)], now_ms=1_795_392_000_000)
        environ = {
            **s3_bucket.server.environ(),
            **sealing_environment(archive, key["Arn"]),
            "DDBTRAIL_ENDPOINT_URL": s3_bucket.server.url,
        }
        with parts.lambda_function(unpacked, "archiver.handler.seal", environ) as function:
            assert json.loads(function.invoke(b"{}"))["segment"] == 1, function.log
            kms.disable_key(KeyId=key["KeyId"])
            failed = json.loads(function.invoke(b"{}"))
            kms.enable_key(KeyId=key["KeyId"])
            assert json.loads(function.invoke(b"{}")) == {"seals": 1, "interval": 1}, function.log
        assert failed["errorType"] == "KeyRefused", failed
        for seal in seals_of(store):
            check_signature(seal.checkpoint, origin_of(TRAIL), load_der_public_key(told["PublicKey"]))
        assert len(seals_of(store)) == 2


@pytest.mark.parametrize(
    ("what", "image_bytes"), [("records as small as they come", 8), ("400 KB items", ITEM_BYTES_MAX - 200)]
)
def test_sealing_holds_one_segment_at_a_time(unpacked, runtime, tmp_path, what, image_bytes):
    """A backlog has thousands: twelve of the largest take no more than a quarter of what the template gives."""
    store, batch = FolderStore(tmp_path / "archive"), full_batch(image_bytes)
    create_key(tmp_path / "key")
    for number in range(SEALED_AT_ONCE):
        shifted = [
            {
                **changed,
                "dynamodb": {
                    **changed["dynamodb"],
                    "SequenceNumber": f"{int(changed['dynamodb']['SequenceNumber']) + number * 10**9}",
                },
            }
            for changed in batch
        ]
        Writer(store, Streams()).archive(shifted, now_ms=1_795_392_000_000)
    with parts.lambda_function(
        unpacked, "archiver.handler.seal", sealing_environment(store.root, tmp_path / "key")
    ) as function:
        answer = json.loads(function.invoke(b"{}"))
        assert answer.get("segment") == SEALED_AT_ONCE, function.log
        peak = function.peak_memory_bytes()
    print(f"{what}: {SEALED_AT_ONCE} segments of {len(batch):,} records, peak {peak / 1024**2:.0f} MiB resident")
    assert records_sealed(seals_of(store)) == SEALED_AT_ONCE * len(batch)
    assert peak <= PEAK_BYTES_MAX


def test_the_sealer_adds_little_to_the_start(unpacked, runtime):
    """It is called every 15 minutes, mostly cold. Without bytecode, as the package is; boto3 waits until it is needed."""
    starts = [in_runtime(runtime, unpacked, TIME_THE_SEALER).split() for _ in range(STARTS)]
    assert {start[2] for start in starts if len(start) > 2} == set()
    handler, more = (min(float(start[column]) for start in starts) for column in (0, 1))
    print(f"import of the sealer: {more:.3f} s of CPU after {handler:.3f} s for the handler (best of {STARTS})")
    assert more <= handler
