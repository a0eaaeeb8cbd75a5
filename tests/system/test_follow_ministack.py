"""`ddbtrail follow` and `baseline --scan` against streams that are not ours: MiniStack, and DynamoDB Local if it is there."""

import base64
import contextlib
import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import orjson
import pytest

from archiver.format.layout import SegmentName, StreamSource, Trail
from archiver.format.values import comparable_attributes
from archiver.segment import check_segment
from query.cli.follow import follow as follow_command
from query.cli.import_baseline import baseline
from tests.simulator.values import VALUES
from tests.system.parts import REGION, REPOSITORY, AwsEndpoint

FOLLOW = (
    "import sys; from query.cli.follow import follow; sys.exit(follow(stream=sys.argv[1], endpoint_url=sys.argv[2]))"
)
PATIENCE_S = 30.0


@pytest.fixture(params=["ministack_url", "dynamodb_local_url"])
def endpoint(request, monkeypatch, tmp_path) -> AwsEndpoint:
    endpoint = AwsEndpoint(request.getfixturevalue(request.param))
    for name in ("DDBTRAIL_ARCHIVE", "DDBTRAIL_KEY_SCHEMA", "AWS_PROFILE", "XDG_STATE_HOME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in endpoint.environ().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return endpoint


class LiveTable:
    """A table with a stream, and the images that every write must leave in it."""

    def __init__(self, endpoint: AwsEndpoint) -> None:
        self.name = f"t-{uuid.uuid4().hex}"
        self.client = endpoint.client("dynamodb")
        self.images: dict[str, dict] = {}
        self.changes: list[tuple[str, dict | None, dict | None]] = []
        self.client.create_table(
            TableName=self.name,
            KeySchema=[{"AttributeName": "sk", "KeyType": "HASH"}, {"AttributeName": "at", "KeyType": "RANGE"}],
            AttributeDefinitions=[
                {"AttributeName": "at", "AttributeType": "N"},
                {"AttributeName": "sk", "AttributeType": "S"},
            ],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )

    @property
    def stream_arn(self) -> str:
        return self.client.describe_table(TableName=self.name)["Table"]["LatestStreamArn"]

    def put(self, number: int, value: dict, count: int = 0) -> None:
        """A put in boto3's shape; what it must leave behind is kept in DynamoDB JSON."""
        name, key = f"o-{number}", {"sk": {"S": f"o-{number}"}, "at": {"N": str(number)}}
        image = {**key, "value": value, "count": {"N": str(count)}}
        self.client.put_item(TableName=self.name, Item=for_boto3({"M": image})["M"])
        self._changed(name, image)

    def delete(self, number: int) -> None:
        self.client.delete_item(TableName=self.name, Key={"sk": {"S": f"o-{number}"}, "at": {"N": str(number)}})
        self._changed(f"o-{number}", None)

    def _changed(self, name: str, image: dict | None) -> None:
        self.changes.append((name, self.images.get(name), image))
        self.images[name] = image


def for_boto3(value: dict) -> dict:
    ((tag, content),) = value.items()
    match tag:
        case "B":
            return {"B": base64.b64decode(content)}
        case "BS":
            return {"BS": [base64.b64decode(element) for element in content]}
        case "L":
            return {"L": [for_boto3(element) for element in content]}
        case "M":
            return {"M": {name: for_boto3(member) for name, member in content.items()}}
        case _:
            return value


@pytest.fixture
def table(endpoint):
    table = LiveTable(endpoint)
    with contextlib.closing(table.client):
        yield table


def archived(folder: Path) -> list[tuple[str, dict | None, dict | None]]:
    """(partition key, old image, new image) of every change in the archive, in order, once; segments are checked."""
    records = {}
    for path in folder.glob("v1/*/*/*/segments/*/*/*.parquet"):
        trail, place = Trail.parse(path.relative_to(folder).as_posix())
        content = path.read_bytes()
        (label,) = {
            StreamSource.parse(orjson.loads(each.read_bytes())["stream_arn"]).stream_label
            for each in (folder / trail.prefix / "streams").iterdir()
        }
        for record in check_segment(content, StreamSource(trail, label), SegmentName.parse(place)):
            records[record.sequence_number] = record
    return [
        (
            orjson.loads(record.item_key)["sk"]["S"],
            record.old_image and orjson.loads(record.old_image),
            record.new_image and orjson.loads(record.new_image),
        )
        for _, record in sorted(records.items())
    ]


def by_value(changes):
    """Sets may come in another order and numbers in another spelling: the service's business, not ours."""
    return [(name, *(image and comparable_attributes(image) for image in images)) for name, *images in changes]


def follow(table: LiveTable, **options) -> int:
    endpoint_url = os.environ["AWS_ENDPOINT_URL"]
    return follow_command(
        stream=table.stream_arn,
        archive="archive",
        endpoint_url=endpoint_url,
        region=REGION,
        until_caught_up=True,
        **options,
    )


def test_what_was_written_is_archived_exactly(table, tmp_path):
    """Old and new image of every change, of every type, in the order in which they happened."""
    for number, value in enumerate(VALUES):
        table.put(number % 10, value, number)
    for number in range(0, 10, 2):
        table.delete(number)
    assert follow(table) == 0
    assert by_value(archived(tmp_path / "archive")) == by_value(table.changes)


def test_a_second_run_adds_what_is_new(table, tmp_path, capsys):
    """The position is kept between runs, in a file that the command names."""
    table.put(1, {"S": "first"})
    assert follow(table) == 0
    assert "archived 1 record" in capsys.readouterr().err
    table.put(1, {"S": "second"})
    table.delete(1)
    assert follow(table) == 0
    said = capsys.readouterr().err
    assert "archived 2 records" in said
    assert Path(said.split("kept in ")[1].split("\n")[0]).is_relative_to(tmp_path / ".local/state/ddbtrail")
    assert follow(table, checkpoint=tmp_path / "another.json") == 0
    assert "3 records" in capsys.readouterr().err
    assert by_value(archived(tmp_path / "archive")) == by_value(table.changes)


def test_the_key_schema_is_learnt_from_the_table(table, tmp_path):
    """`at` sorts before `sk` in a record; only the table knows that `sk` is the partition key."""
    table.put(1, {"S": "x"})
    assert follow(table) == 0
    (described,) = (tmp_path / "archive").glob("v1/*/*/*/streams/*.json")
    assert [each["name"] for each in orjson.loads(described.read_bytes())["key_schema"]] == ["sk", "at"]


def test_ctrl_c_keeps_what_was_read(table, tmp_path, endpoint):
    """SIGINT finishes the batch, keeps the position, says how much, and ends with 130."""
    for number in range(20):
        table.put(number, {"S": "x"})
    process = subprocess.Popen(
        [sys.executable, "-c", FOLLOW, table.stream_arn, endpoint.url],
        env=os.environ | {"DDBTRAIL_ARCHIVE": str(tmp_path / "archive"), "PYTHONPATH": str(REPOSITORY)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + PATIENCE_S
        while not list(tmp_path.glob(".local/state/ddbtrail/*.json")) and time.monotonic() < deadline:
            time.sleep(0.1)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert "Traceback" not in said
    assert by_value(archived(tmp_path / "archive")) == by_value(table.changes)
    table.put(3, {"S": "later"})
    assert follow(table) == 0
    assert len(archived(tmp_path / "archive")) == 21


def test_a_wrong_endpoint_is_said_to_be_wrong(table, monkeypatch, capsys):
    """An unknown stream is an error with a hint, not an empty archive."""
    arn = table.stream_arn[:-3] + "999"
    assert (
        follow_command(stream=arn, archive="archive", endpoint_url=os.environ["AWS_ENDPOINT_URL"], region=REGION) == 4
    )
    assert "24 hours" in capsys.readouterr().err


def test_a_scan_of_the_table_agrees_with_what_was_written(table, tmp_path):
    """The floor under a trail: every item as it is, with the stream that was on."""
    for number, value in enumerate(VALUES):
        table.put(number, value)
    table.delete(0)
    url = os.environ["AWS_ENDPOINT_URL"]
    assert baseline(table.name, scan=True, archive="archive", endpoint_url=url, region=REGION) == 0
    (described,) = (tmp_path / "archive").glob("v1/*/*/*/baselines/*/baseline.json")
    members = orjson.loads(described.read_bytes())
    assert members["items"] == len(VALUES) - 1
    assert members["stream_label"] == StreamSource.parse(table.stream_arn).stream_label
    assert [each["name"] for each in members["key_schema"]] == ["sk", "at"]
