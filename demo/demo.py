"""The main job, on this machine, without AWS: a table is written to, its stream archived, the archive asked, and every
answer checked against what was written.

A DynamoDB API with streams runs on loopback (MiniStack). Three acts of writing, a second or more apart, since creation
times have a grain of one second; then questions through the real command line. Exits 1 if any answer differs.
"""

import json
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

ROOT: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

import boto3  # noqa: E402
import orjson  # noqa: E402

from archiver.format.values import comparable_attributes  # noqa: E402
from tests.system.parts import AwsEndpoint, ministack  # noqa: E402

TABLE: Final = "orders"
MARK: Final = ".made-by-the-demo"
GRAIN_S: Final = 1.2  # a little more than the grain of creation times
BIG_NUMBER: Final = "12345678901234567890123456789012345678"
Item = dict[str, Any]
Items = dict[tuple[str, str], Item]


def say(text: str) -> None:
    print(text, flush=True)


class Shop:
    """The application: writes to the table, and remembers in a plain dict what it wrote."""

    def __init__(self, dynamodb: Any) -> None:
        self._dynamodb = dynamodb
        self._items: Items = {}
        self.instants: list[tuple[str, Items]] = []

    def put(self, customer: str, order: str, **attributes: Item) -> None:
        item = {"customer": {"S": customer}, "order": {"S": order}, **attributes}
        self._dynamodb.put_item(TableName=TABLE, Item=item)
        self._items[customer, order] = item

    def set(self, customer: str, order: str, name: str, value: Item) -> None:
        self._dynamodb.update_item(
            TableName=TABLE,
            Key={"customer": {"S": customer}, "order": {"S": order}},
            UpdateExpression="SET #name = :value",
            ExpressionAttributeNames={"#name": name},
            ExpressionAttributeValues={":value": value},
        )
        self._items[customer, order] = {**self._items[customer, order], name: value}

    def delete(self, customer: str, order: str) -> Item:
        self._dynamodb.delete_item(TableName=TABLE, Key={"customer": {"S": customer}, "order": {"S": order}})
        return self._items.pop((customer, order))

    def forget(self, customer: str, order: str) -> Item:
        """What DynamoDB deletes by itself: gone without a request of the application."""
        return self._items.pop((customer, order))

    def curtain(self) -> None:
        """Ends an act: what the table holds now is what any later question about this second must give."""
        time.sleep(GRAIN_S)
        self.instants.append((f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}", dict(self._items)))
        time.sleep(GRAIN_S)


def act_one(shop: Shop) -> None:
    shop.put("CUST#7", "0001", status={"S": "NEW"}, total={"N": "21.10"}, tags={"SS": ["gift", "fragile"]})
    shop.put("CUST#7", "0002", status={"S": "NEW"}, meter={"N": BIG_NUMBER}, photo={"B": b"\x00\xffPNG"})
    shop.put("CUST#9", "0001", status={"S": "NEW"}, lines={"L": [{"M": {"sku": {"S": "A-1"}, "qty": {"N": "4"}}}]})
    shop.put("SESSION#1", "web", token={"S": "expires soon"})


def act_two(shop: Shop) -> None:
    shop.set("CUST#7", "0001", "status", {"S": "PAID"})
    shop.set("CUST#7", "0001", "total", {"N": "24.11"})
    shop.set("CUST#9", "0001", "lines", {"L": [{"M": {"sku": {"S": "A-1"}, "qty": {"N": "5"}}}]})
    shop.set("CUST#7", "0002", "meter", {"N": f"-{BIG_NUMBER}"})


def act_three(shop: Shop) -> Item:
    shop.set("CUST#7", "0001", "status", {"S": "SHIPPED"})
    shop.put("CUST#9", "0002", status={"S": "NEW"}, note={"NULL": True}, empty={"S": ""})
    return shop.delete("CUST#7", "0002")


def expire_by_ttl(shop: Shop, archive: Path, stream_arn: str) -> None:
    """A TTL delete, as Lambda delivers it: no local API emits one with its `userIdentity`, so this event is made by
    hand, and given to the real Lambda handler.
    """
    image = shop.forget("SESSION#1", "web")
    key = {name: image[name] for name in ("customer", "order")}
    record = {
        "eventID": "0123456789abcdef0123456789abcdef",
        "eventName": "REMOVE",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "us-east-1",
        "eventSourceARN": stream_arn,
        "userIdentity": {"type": "Service", "principalId": "dynamodb.amazonaws.com"},
        "dynamodb": {
            "ApproximateCreationDateTime": int(time.time()),
            "Keys": key,
            "OldImage": image,
            "SequenceNumber": "9" * 30,
            "SizeBytes": 60,
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
    }
    invoke = (
        "import json, sys, types; from archiver.handler import archive; "
        "names = ('function_name', 'memory_limit_in_mb', 'invoked_function_arn', 'aws_request_id'); "
        "archive(json.load(sys.stdin), types.SimpleNamespace(**dict.fromkeys(names, 'demo')))"
    )
    environment = {
        **os.environ,
        "DDBTRAIL_ARCHIVE": str(archive),
        "DDBTRAIL_KEY_SCHEMA": f"{TABLE}=customer,order",
        "DDBTRAIL_DESCRIBE_TABLE": "off",
        "POWERTOOLS_TRACE_DISABLED": "1",
        "POWERTOOLS_METRICS_DISABLED": "true",
        "POWERTOOLS_LOG_LEVEL": "ERROR",
    }
    subprocess.run(
        [sys.executable, "-c", invoke],
        input=json.dumps({"Records": [record]}).encode(),
        env=environment,
        cwd=ROOT,
        check=True,
        stdout=subprocess.DEVNULL,  # its log and metrics, as CloudWatch would get them
    )


class Desk:
    """Asks the archive through the real command line, shows the commands, and checks the answers."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self.differences = 0

    def ask(self, *words: str, shown: bool = True, codes: tuple[int, ...] = (0,), has_archive: bool = True) -> str:
        if shown:
            say(f"\n$ ddbtrail {shlex.join(words)}")
        command = [sys.executable, "-c", "from query.cli import main; main()", *words]
        command += ["-a", str(self._archive)] if has_archive else []
        environment = {**os.environ, "COLUMNS": "96"}
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=environment, check=False)
        if shown:
            say((done.stdout + done.stderr).rstrip())
        if done.returncode not in codes:
            self.differences += 1
            say(f"✗ exit {done.returncode}, expected {codes}: {done.stderr}")
        return done.stdout

    def check(self, claim: str, *, holds: bool) -> None:
        say(f"{'✓' if holds else '✗'} {claim}")
        self.differences += not holds

    def images(self, when: str) -> dict[tuple[str, str], Any]:
        """The table as of an instant: comparable images by key."""
        lines = self.ask("as-of", TABLE, when, "-o", "jsonl", shown=False).splitlines()
        rows = [orjson.loads(line) for line in lines]
        return {
            (row["item_key"]["customer"], row["item_key"]["order"]): comparable_attributes(row["image"]) for row in rows
        }


def as_text(item: Item) -> Any:
    """An item as boto3 takes it, with binary as the base64 text of DynamoDB JSON, in comparable form."""
    return comparable_attributes(orjson.loads(orjson.dumps(item, default=_base64)))


def _base64(value: object) -> str:
    import base64  # noqa: PLC0415

    assert isinstance(value, bytes)
    return base64.b64encode(value).decode()


@contextmanager
def archive_folder() -> Iterator[Path]:
    """`./demo-archive`, made anew, so that the commands shown can be typed again; only what a demo made is removed."""
    folder = Path(os.environ.get("DDBTRAIL_DEMO_ARCHIVE", "demo-archive")).resolve()
    if folder.exists() and not (folder / MARK).exists():
        raise SystemExit(
            f"{folder} was not made by a demo: move it away, or set DDBTRAIL_DEMO_ARCHIVE to another folder"
        )
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / MARK).touch()
    yield folder


def write(server: AwsEndpoint, archive: Path) -> tuple[Shop, Item]:
    """The three acts, followed into the archive."""
    dynamodb = server.client("dynamodb")
    table = dynamodb.create_table(
        TableName=TABLE,
        AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in ("customer", "order")],
        KeySchema=[{"AttributeName": "customer", "KeyType": "HASH"}, {"AttributeName": "order", "KeyType": "RANGE"}],
        BillingMode="PAY_PER_REQUEST",
        StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
    )["TableDescription"]
    stream_arn = table["LatestStreamArn"]
    shop = Shop(dynamodb)
    say("writing to the table, in three acts …")
    act_one(shop)
    shop.curtain()
    act_two(shop)
    shop.curtain()
    deleted = act_three(shop)
    expire_by_ttl(shop, archive, stream_arn)
    shop.curtain()
    follow = ["follow", "--stream", stream_arn, "-a", str(archive), "--endpoint-url", server.url, "--until-caught-up"]
    with tempfile.TemporaryDirectory() as positions:
        command = [*follow, "--checkpoint", str(Path(positions, "positions.json"))]
        say(f"$ ddbtrail {shlex.join(follow)}")
        done = subprocess.run(
            [sys.executable, "-c", "from query.cli import main; main()", *command],
            env={**os.environ, **server.environ()}, cwd=ROOT, capture_output=True, text=True, check=False,
        )  # fmt: skip
        say((done.stdout + done.stderr).rstrip())
        if done.returncode:
            raise SystemExit(f"follow failed with exit code {done.returncode}")
    dynamodb.close()
    return shop, deleted


def question(desk: Desk, shop: Shop, deleted: Item) -> None:
    """The three questions, each checked."""
    say("\n— what happened to this item?")
    desk.ask("history", TABLE, "CUST#7", "0001", "-p", "-o", "table")
    changes = [
        json.loads(line)
        for line in desk.ask("history", TABLE, "CUST#7", "0001", "-o", "jsonl", shown=False).splitlines()
    ]
    desk.check("four changes, newest first", holds=[c["op"] for c in changes] == ["MODIFY"] * 3 + ["INSERT"])

    say("\n— what was in this order before somebody deleted it?")
    removal = json.loads(desk.ask("history", TABLE, "CUST#7", "0002", "-n", "1", "-o", "jsonl", shown=False))
    desk.ask("get", TABLE, "CUST#7", "0002", "-o", "table", codes=(1,))
    image = desk.ask("get", TABLE, "CUST#7", "0002", "--at", f"@{removal['change_id']}~1", "-o", "ddb-json")
    desk.check(
        "exactly what was deleted, all 38 digits of it",
        holds=comparable_attributes(orjson.loads(image)) == as_text(deleted),
    )

    say("\n— who deleted the session?")
    ended = json.loads(desk.ask("history", TABLE, "SESSION#1", "web", "-n", "1", "-o", "jsonl", shown=False))
    desk.check("nobody: it expired (DynamoDB TTL)", holds=ended["actor"] == "dynamodb-ttl")

    say("\n— what did the table look like?")
    for when, items in shop.instants:
        found = desk.images(when)
        expected = {key: as_text(item) for key, item in items.items()}
        desk.check(f"as of {when}: {len(found)} items, each as it was written", holds=found == expected)
    desk.ask("as-of", TABLE, shop.instants[1][0], "-o", "table")
    desk.ask("tables", "-o", "table")


def proof(desk: Desk, archive: Path, folder: Path) -> None:
    """What a sceptic does: pin a key, verify, take one proof along, and tamper with a copy."""
    say("\n— can you prove it?")
    key, pinned = str(folder / "key"), ("--pinned-key", str(folder / "key.pub"))
    desk.ask("key", "create", key, has_archive=False)
    desk.ask("seal", TABLE, "--signing-key", key)
    desk.ask("verify", TABLE, *pinned, "--full", "-o", "table")
    proved = folder / "proof.json"
    desk.ask("prove", TABLE, "CUST#7", "0001", "last", "-O", str(proved))
    desk.ask("verify-proof", str(proved), *pinned, "-o", "table", has_archive=False)
    alone = [sys.executable, "docs/verify_proof.py", str(proved), f"{key}.pub"]
    say(f"\n$ python {shlex.join(alone[1:])}")
    done = subprocess.run(alone, cwd=ROOT, capture_output=True, text=True, check=False)
    say((done.stdout + done.stderr).rstrip())
    desk.check("a checker that shares no code with ddbtrail agrees", holds=done.returncode == 0)

    say("\n— and if somebody changed one bit of a copy?")
    forged = folder / "forged"
    shutil.copytree(archive, forged)
    segment = next(forged.glob("v1/*/*/*/segments/*/*/*.parquet"))
    content = bytearray(segment.read_bytes())
    content[len(content) // 2] ^= 1
    segment.write_bytes(content)
    at_the_copy = Desk(forged)
    told = json.loads(at_the_copy.ask("verify", TABLE, *pinned, "-o", "json", shown=False, codes=(1,)))
    found = [(finding["code"], finding["object"].rpartition("/")[2]) for finding in told["findings"]]
    at_the_copy.check("verify ends with 1 and names the file", holds=found == [("digest-mismatch", segment.name)])
    desk.differences += at_the_copy.differences


def main() -> int:
    started = time.monotonic()
    with archive_folder() as archive, ministack() as url, tempfile.TemporaryDirectory() as folder:
        boto3.setup_default_session(region_name="us-east-1")
        shop, deleted = write(AwsEndpoint(url), archive)
        desk = Desk(archive)
        question(desk, shop, deleted)
        proof(desk, archive, Path(folder))
    if desk.differences:
        say(f"\n✗ {desk.differences} answers differ from what was written")
        return 1
    say(f"\nEvery answer is what was written. {time.monotonic() - started:.0f} s. Try these next:\n")
    shown = os.path.relpath(archive)
    for command in (
        f"log {TABLE}",
        f"history {TABLE} 'CUST#9'",
        f"diff {TABLE} 'CUST#7' 0001",
        f"as-of {TABLE} now --explain",
        f"coverage {TABLE}",
    ):
        say(f"  .venv/bin/ddbtrail {command} -a {shown}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
