"""The Lambda function: environment in, archive out, one log line and one blob of metrics per table."""

import json
import os
import subprocess
import sys
from pathlib import Path

import boto3
import pytest
from moto import mock_aws

from archiver import handler, telemetry
from archiver.config import Config
from archiver.errors import NotAnEvent, NotConfigured, StoreRefused
from archiver.format.layout import Trail
from archiver.store import FolderStore
from tests.archiving.batches import BAD_RECORDS, CHANGED_AT_S, arn_of, record

NOW_NS = (CHANGED_AT_S + 90) * 1_000_000_000

# *surfaces*: the names that dashboards and alarms are built on, and their units.
UNITS = {
    "RecordsReceived": "Count",
    "RecordsArchived": "Count",
    "RecordsQuarantined": "Count",
    "SegmentsWritten": "Count",
    "BytesWritten": "Bytes",
    "ArchiveLagSeconds": "Seconds",
    "OldestRecordAgeSeconds": "Seconds",
}


class Context:
    """What Lambda hands over beside the event."""

    function_name = "orders-archiver"
    memory_limit_in_mb = 512
    invoked_function_arn = "arn:aws:lambda:eu-west-1:111122223333:function:orders-archiver"
    aws_request_id = "00000000-0000-0000-0000-000000000000"


class CurrentStdout:
    """Powertools keeps the stream that was there when it was imported; pytest has another one in every test."""

    def write(self, text: str) -> None:
        sys.stdout.write(text)

    def flush(self) -> None:
        sys.stdout.flush()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A container that archives into a folder, started by its first invocation."""
    for name in [name for name in os.environ if name.startswith("DDBTRAIL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("DDBTRAIL_ARCHIVE", str(tmp_path / "archive"))
    monkeypatch.setenv("DDBTRAIL_DESCRIBE_TABLE", "off")
    monkeypatch.setattr(telemetry.logger.registered_handler, "stream", CurrentStdout())
    monkeypatch.setattr(handler.time, "time_ns", lambda: NOW_NS)
    handler._writer.cache_clear()
    telemetry.report_cold_start.cache_clear()
    yield FolderStore(tmp_path / "archive")
    handler._writer.cache_clear()


def invoke(event):
    return handler.archive(event, Context())


def blobs(text: str) -> list[dict]:
    """EMF blobs in what was printed."""
    found = [json.loads(line) for line in text.splitlines() if line.startswith("{")]
    return [blob for blob in found if "_aws" in blob]


def metrics_of(blob: dict) -> dict[str, tuple[float, str]]:
    (directive,) = blob["_aws"]["CloudWatchMetrics"]
    assert directive["Namespace"] == "ddbtrail"
    return {metric["Name"]: (blob[metric["Name"]][0], metric["Unit"]) for metric in directive["Metrics"]}


def dimensions_of(blob: dict) -> dict[str, str]:
    (directive,) = blob["_aws"]["CloudWatchMetrics"]
    (names,) = directive["Dimensions"]
    return {name: blob[name] for name in names}


def by_table(text: str) -> dict[str, dict[str, tuple[float, str]]]:
    """Metrics by table, each blob with the dimensions of the design."""
    found = {}
    for blob in blobs(text):
        if "ColdStart" not in blob:
            dimensions = dimensions_of(blob)
            assert set(dimensions) == {"service", "table"}
            assert dimensions["service"] == "ddbtrail-archiver"
            assert dimensions["table"] not in found
            found[dimensions["table"]] = metrics_of(blob)
    return found


def test_an_event_becomes_an_archive(folder):
    """The whole path: environment, event, folder, counts."""
    answer = invoke({"Records": [record(1), record(2), BAD_RECORDS["no Keys"]()]})
    assert answer == {"received": 3, "archived": 2, "quarantined": 1}
    inner = [Trail.parse(name)[1] for name, _ in folder.list("")]
    assert sorted(name.split("/")[0] for name in inner) == ["quarantine", "segments", "streams"]


def test_metrics_are_those_that_alarms_are_built_on(folder, capsys):
    """Name, unit and dimensions are an interface: an alarm on a name that nobody emits is silence."""
    invoke({"Records": [record(1), record(2, changed_at_s=CHANGED_AT_S - 10), BAD_RECORDS["no Keys"]()]})
    (found,) = by_table(capsys.readouterr().out).values()
    assert {name: unit for name, (_, unit) in found.items()} == UNITS
    counts = {name: value for name, (value, _) in found.items()}
    (size,) = [size for name, size in folder.list("") if "/segments/" in name and "hour=00" in name]
    assert counts.pop("BytesWritten") > size
    assert counts == {
        "RecordsReceived": 3,
        "RecordsArchived": 2,
        "RecordsQuarantined": 1,
        "SegmentsWritten": 2,
        "ArchiveLagSeconds": 90,
        "OldestRecordAgeSeconds": 100,
    }


def test_each_table_has_its_own_metrics(folder, capsys):
    """One function may serve many tables; a lag of one must not hide behind the other."""
    records = [
        record(1),
        record(2, arn=arn_of("customers")),
        record(3, arn=arn_of("customers")),
        BAD_RECORDS["another service"](),
    ]
    records[-1]["eventSourceARN"] = "arn:aws:kinesis:eu-west-1:111122223333:stream/x"
    invoke({"Records": records})
    found = by_table(capsys.readouterr().out)
    assert {table: metrics["RecordsReceived"][0] for table, metrics in found.items()} == {
        "orders": 1,
        "customers": 2,
        "unknown": 1,
    }
    assert found["unknown"]["RecordsQuarantined"] == (1, "Count")
    assert "ArchiveLagSeconds" not in found["unknown"]


@pytest.mark.parametrize("event", [None, {}, {"Records": "x"}])
def test_an_invocation_that_fails_before_its_batch_is_known_is_counted_too(folder, capsys, event):
    """A wrong event source or environment fails every time, and only the count tells."""
    with pytest.raises(NotAnEvent):
        invoke(event)
    assert by_table(capsys.readouterr().out) == {"unknown": {"BatchesFailed": (1, "Count")}}


def test_an_empty_batch_is_a_success_without_a_word(folder, capsys):
    """Warnings of Powertools about missing metrics would be the only thing on the error stream."""
    assert invoke({"Records": []}) == {"received": 0, "archived": 0, "quarantined": 0}
    assert by_table(capsys.readouterr().out) == {}


def test_a_failed_batch_raises_and_is_counted(folder, capsys, monkeypatch):
    """Raising is what makes Lambda send again; the count is what makes somebody look."""

    def full(*_arguments):
        raise StoreRefused("no space", hint="free some")

    monkeypatch.setattr(FolderStore, "put_if_absent", full)
    with pytest.raises(StoreRefused):
        invoke({"Records": [record(1)]})
    printed = capsys.readouterr().out
    assert by_table(printed) == {"orders": {"BatchesFailed": (1, "Count")}}
    (line,) = [json.loads(line) for line in printed.splitlines() if '"batch failed"' in line]
    assert (line["level"], line["error"], line["hint"], line["received"]) == ("ERROR", "no space", "free some", 1)


def test_no_content_of_a_record_is_logged(folder, capsys):
    """Logs are read by more people than the table."""
    spoilt = BAD_RECORDS["unknown type tag"]()
    for secretive in (record(1, item="secret-key"), spoilt):
        secretive["dynamodb"]["NewImage"]["secret-name"] = {"S": "secret-value"}
        invoke({"Records": [secretive]})
    printed = capsys.readouterr()
    assert not printed.err
    assert printed.out.count('"batch archived"') == 2
    assert "secret" not in printed.out + printed.err


@pytest.mark.parametrize("event", [None, [], "x", {}, {"Records": None}, {"Records": "x"}])
def test_what_is_no_event_is_an_error_and_writes_nothing(folder, event):
    """An answer would say that something was archived."""
    with pytest.raises(NotAnEvent):
        invoke(event)
    assert list(folder.list("")) == []


def test_a_function_without_an_archive_says_so(folder, monkeypatch):
    """The variable is named, and what to set it to."""
    monkeypatch.delenv("DDBTRAIL_ARCHIVE")
    with pytest.raises(NotConfigured, match="DDBTRAIL_ARCHIVE") as error:
        invoke({"Records": [record(1)]})
    assert "s3://bucket/prefix" in error.value.hint


def test_a_container_keeps_its_writer(folder, monkeypatch):
    """Clients are dear and what is known of a stream is learnt once; another setting is another writer."""
    invoke({"Records": [record(1)]})
    invoke({"Records": [record(2)]})
    assert handler._writer.cache_info().misses == 1
    monkeypatch.setenv("DDBTRAIL_KEY_SCHEMA", "orders=id")
    invoke({"Records": [record(3)]})
    assert handler._writer.cache_info().misses == 2


def test_the_same_batch_twice_is_a_success_twice(folder):
    """At least once, and the second time there is nothing to do."""
    event = {"Records": [record(1), record(2)]}
    first = invoke(event)
    before = sorted(folder.list(""))
    assert invoke(event) == first
    assert sorted(folder.list("")) == before


def test_the_archive_may_be_in_s3(folder, monkeypatch):
    """The same function, one variable changed."""
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    monkeypatch.setenv("AWS_DEFAULT_REGION", "eu-west-1")
    monkeypatch.setenv("DDBTRAIL_ARCHIVE", "s3://archive/prefix")
    with mock_aws():
        s3 = boto3.client("s3")
        s3.create_bucket(Bucket="archive", CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
        invoke({"Records": [record(1)]})
        names = [entry["Key"] for entry in s3.list_objects_v2(Bucket="archive")["Contents"]]
    assert len([name for name in names if name.startswith("prefix/v1/") and "/segments/" in name]) == 1


IN_A_FRESH_CONTAINER = """
import json, sys
from archiver import handler
class Context:
    function_name = "orders-archiver"; memory_limit_in_mb = 512
    invoked_function_arn = "arn"; aws_request_id = "id"
for _ in range(2):
    handler.archive(json.loads(sys.argv[1]), Context())
"""


def in_a_fresh_container(event, **environment) -> str:
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(("DDBTRAIL_", "POWERTOOLS_", "LAMBDA_"))
    }
    done = subprocess.run(
        [sys.executable, "-c", IN_A_FRESH_CONTAINER, json.dumps(event)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env=kept | {"DDBTRAIL_DESCRIBE_TABLE": "off"} | environment,
    )
    return done.stdout


def test_a_cold_start_is_counted_once_per_container(tmp_path):
    """It tells how often people wait for a container; only the first invocation of one is cold."""
    printed = in_a_fresh_container({"Records": [record(1)]}, DDBTRAIL_ARCHIVE=str(tmp_path))
    (cold,) = [blob for blob in blobs(printed) if "ColdStart" in blob]
    assert metrics_of(cold) == {"ColdStart": (1, "Count")}
    assert dimensions_of(cold) == {"function_name": "orders-archiver", "service": "ddbtrail-archiver"}


def test_a_start_without_tracing_loads_neither_x_ray_nor_boto3(tmp_path):
    """Either costs more than everything else together, and a folder archive needs none of them."""
    code = "import sys, archiver.handler; print(sorted({'aws_xray_sdk', 'boto3', 'botocore.client', 'duckdb', 'pandas'} & set(sys.modules)))"
    environment = {name: value for name, value in os.environ.items() if name != "LAMBDA_TASK_ROOT"}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        env=environment,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    ("environment", "is_traced"),
    [
        ({}, False),
        ({"LAMBDA_TASK_ROOT": "/var/task"}, True),
        ({"LAMBDA_TASK_ROOT": "/var/task", "POWERTOOLS_TRACE_DISABLED": "true"}, False),
        ({"LAMBDA_TASK_ROOT": "/var/task", "POWERTOOLS_TRACE_DISABLED": "0"}, True),
    ],
)
def test_tracing_is_on_in_lambda_unless_it_is_turned_off(environment, is_traced, monkeypatch):
    """The variable is the one that Powertools documents."""
    for name in ("LAMBDA_TASK_ROOT", "POWERTOOLS_TRACE_DISABLED"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    loaded = []
    monkeypatch.setattr("aws_lambda_powertools.Tracer", lambda **named: loaded.append(named) or FakeTracer())

    def archive(_event, _context):
        return {}

    assert (telemetry.traced(archive) is not archive) is is_traced
    assert bool(loaded) is is_traced


class FakeTracer:
    def capture_lambda_handler(self, function, *, capture_response):
        assert not capture_response
        return lambda event, context: function(event, context)


# --- the environment ---


def test_the_environment_is_one_value():
    """Every name a person can set is read in one place."""
    config = Config.from_environment(
        {
            "DDBTRAIL_ARCHIVE": "s3://archive/x",
            "DDBTRAIL_KEY_SCHEMA": "orders=pk,sk;customers=id",
            "DDBTRAIL_DESCRIBE_TABLE": "Off",
            "DDBTRAIL_ENDPOINT_URL": "http://localhost:4566",
        }
    )
    assert config == Config(
        archive_url="s3://archive/x",
        key_schema={"orders": ("pk", "sk"), "customers": ("id",)},
        describes_tables=False,
        endpoint_url="http://localhost:4566",
    )
    least = Config.from_environment({"DDBTRAIL_ARCHIVE": "x"})
    assert least == Config(archive_url="x", key_schema={}, describes_tables=True, endpoint_url=None)


@pytest.mark.parametrize("schema", ["orders", "orders=", "=pk", "orders=a,b,c", "orders=pk;customers"])
def test_a_malformed_key_schema_is_named(schema):
    """A schema that was silently ignored would show as missing hints much later."""
    with pytest.raises(NotConfigured, match="DDBTRAIL_KEY_SCHEMA") as error:
        Config.from_environment({"DDBTRAIL_ARCHIVE": "x", "DDBTRAIL_KEY_SCHEMA": schema})
    assert "orders=pk,sk" in error.value.hint
