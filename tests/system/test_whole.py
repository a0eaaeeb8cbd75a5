"""The whole system in one process, with faults: a DynamoDB API, its stream, the mapping, the function, S3, the reader.

Real are the table and its stream API (MiniStack), the function's entry point under the template's environment, the S3
server (MiniStack, behind a proxy that loses and refuses) and the reader. Simulated is what no emulator has: the event
source mapping, by AWS's documents, with the deployed settings, and its virtual time. The model is what the writer of
the table kept in a dict and a list.
"""

from __future__ import annotations

import contextlib
import json
import threading
import time
import uuid
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from random import Random
from typing import Any

import orjson
import pytest
from botocore.exceptions import ClientError

import query
from archiver.errors import StoreRefused, StoreUnavailable
from query.cli import run
from query.source import Access
from tests.campaign import rounds
from tests.oracle import Key, identity_of, image_of, key_of
from tests.simulator.clock import Clock
from tests.simulator.deployed import deployed, function_environment
from tests.simulator.destination import failure_document, failure_key
from tests.simulator.faults import ANSWER_LOST, KILLED_AFTER, KILLED_BEFORE, REFUSED, FunctionKilledError
from tests.simulator.mapping import Mapping
from tests.simulator.scenario import HOUR_MS, Scenario
from tests.simulator.values import VALUES, are_equal
from tests.system.drop_proxy import DropProxy
from tests.system.function import deployed_function
from tests.system.live_stream import LiveStream
from tests.system.parts import AwsEndpoint
from tests.system.test_follow_ministack import for_boto3

SEEDS = 6
PHASES, WRITES_A_PHASE, ITEMS = 3, 50, 8
ATTEMPTS = 5  # of the archiver's S3 client, before it gives up
FAULT_RATE = 0.25
MOST_STEPS = 20_000

# Besides the kinds of the simulator: what only a network and a server can do.
REQUEST_LOST, FORBIDDEN, HICCUP, RESPONSE_LOST = "request lost", "forbidden", "hiccup", "response lost"
FAULTS = (REFUSED, ANSWER_LOST, REQUEST_LOST, FORBIDDEN, HICCUP, KILLED_BEFORE, KILLED_AFTER, RESPONSE_LOST)

SCHEMA = [("customer", "S"), ("order", "N")]


@dataclass
class Journal:
    """The model: what the table held after each change, told by whoever wrote it and by nobody else."""

    items: dict[Key, dict] = field(default_factory=dict)
    changes: list[tuple[Key, Any, Any]] = field(default_factory=list)  # key, image before, image after, as values
    instants: list[tuple[int, dict[Key, Any]]] = field(default_factory=list)  # second, the whole table

    def write(self, keys: dict, image: dict | None) -> None:
        """A write that changes nothing is no change (*Change data capture for DynamoDB Streams*)."""
        key = key_of(keys)
        before = self.items.get(key)
        if are_equal(before, image):
            return
        self.changes.append((key, image_of(before), image_of(image)))
        if image is None:
            del self.items[key]
        else:
            self.items[key] = image

    def history(self, key: Key) -> list[tuple[Any, Any]]:
        return [(before, after) for of, before, after in self.changes if of == key]

    def table(self) -> dict[Key, Any]:
        return {key: image_of(image) for key, image in self.items.items()}


class LiveTable:
    """A table of its own on a real DynamoDB API, written to at random, each write told to the journal."""

    def __init__(self, rng: Random, client: Any):
        self.name = f"orders-{uuid.uuid4().hex[:12]}"
        self.journal = Journal()
        self._rng, self._client, self._revision = rng, client, 0
        self._keys = [{"customer": {"S": f"C#{n % 3}"}, "order": {"N": str(n)}} for n in range(ITEMS)]
        made = client.create_table(
            TableName=self.name,
            KeySchema=[
                {"AttributeName": name, "KeyType": kind}
                for (name, _), kind in zip(SCHEMA, ("HASH", "RANGE"), strict=True)
            ],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": kind} for name, kind in SCHEMA],
            BillingMode="PAY_PER_REQUEST",
            StreamSpecification={"StreamEnabled": True, "StreamViewType": "NEW_AND_OLD_IMAGES"},
        )
        self.stream_arn = made["TableDescription"]["LatestStreamArn"]

    def write_at_random(self) -> None:
        """Put, the same put again, update, delete, transaction."""
        keys, luck = self._rng.choice(self._keys), self._rng.random()
        held = self.journal.items.get(key_of(keys))
        if luck < 0.35:
            self._put(keys, self._image(keys))
        elif luck < 0.45 and held:
            self._put(keys, held)
        elif luck < 0.75:
            self._update(keys, held or keys)
        elif luck < 0.9:
            self._client.delete_item(TableName=self.name, Key=keys)
            self.journal.write(keys, None)
        else:
            self._transact()

    def _put(self, keys: dict, image: dict) -> None:
        self._client.put_item(TableName=self.name, Item=for_boto3({"M": image})["M"])
        self.journal.write(keys, image)

    def _update(self, keys: dict, held: dict) -> None:
        value = self._rng.choice(VALUES)
        self._client.update_item(
            TableName=self.name,
            Key=keys,
            UpdateExpression="SET #v = :v",
            ExpressionAttributeNames={"#v": "value"},
            ExpressionAttributeValues={":v": for_boto3(value)},
        )
        self.journal.write(keys, {**held, "value": value})

    def _transact(self) -> None:
        one, other = self._rng.sample(self._keys, 2)
        image = self._image(one)
        self._client.transact_write_items(
            TransactItems=[
                {"Put": {"TableName": self.name, "Item": for_boto3({"M": image})["M"]}},
                {"Delete": {"TableName": self.name, "Key": other}},
            ]
        )
        self.journal.write(one, image)
        self.journal.write(other, None)

    def _image(self, keys: dict) -> dict:
        self._revision += 1
        return {**keys, "value": self._rng.choice(VALUES), "rev": {"N": str(self._revision)}}


class Whole:
    """Table, stream, mapping, function, archive and on-failure bucket of one run."""

    def __init__(self, seed: int, server: AwsEndpoint, scenario: Scenario, clients: contextlib.ExitStack):
        def client(service: str) -> Any:
            return clients.enter_context(contextlib.closing(server.client(service)))

        rng = self._rng = Random(seed)
        self.s3 = client("s3")
        self.archive_bucket, self.failure_bucket = (f"{kind}-{uuid.uuid4().hex}" for kind in ("archive", "failure"))
        for bucket in (self.archive_bucket, self.failure_bucket):
            self.s3.create_bucket(Bucket=bucket)
        self.table = LiveTable(Random(rng.getrandbits(64)), client("dynamodb"))
        self.stream = LiveStream(client("dynamodbstreams"), self.table.stream_arn)
        self.proxy = clients.enter_context(DropProxy(server.url))
        told = function_environment(StreamArn=self.table.stream_arn, ArchiveBucket=self.archive_bucket)
        self.url = told["DDBTRAIL_ARCHIVE"]
        self.function = clients.enter_context(
            deployed_function({**server.environ(), **told, "DDBTRAIL_ENDPOINT_URL": self.proxy.url})
        )
        self.clock = Clock(Random(rng.getrandbits(64)), time.time_ns() // 1_000_000, is_skewed=False)
        self.mapping = Mapping(
            Random(rng.getrandbits(64)), self.clock, self.stream, scenario, self._invoke, self._send_failed
        )
        self.faults: Counter[str] = Counter()
        # Each kind once for certain, at the first invocations, then at random.
        self._deck = [*FAULTS, *[None] * len(FAULTS)]
        rng.shuffle(self._deck)
        self._is_calm = False
        self._mapping_id = str(uuid.UUID(int=rng.getrandbits(128)))

    # The time

    def write_a_phase(self) -> None:
        """Some writes, delivered in between, then a second that is over: an instant that the model can vouch for."""
        for number in range(WRITES_A_PHASE):
            self.table.write_at_random()
            if number % 10 == 9:
                self.stream.read(now_ms=self.clock.now_ms)
                self.mapping.pull()
                self.deliver(until_ms=self.clock.now_ms + self._rng.randrange(120_000))
        second = int(time.time())
        self.table.journal.instants.append((second, self.table.journal.table()))
        threading.Event().wait(second + 1.01 - time.time())

    def deliver(self, *, until_ms: int | None = None) -> None:
        """Virtual time goes on, to `until_ms` or (None) until nothing is left to deliver."""
        for _ in range(MOST_STEPS):
            due = self.mapping.next_due_ms()
            if due is None or (until_ms is not None and due > until_ms):
                self.clock.now_ms = max(self.clock.now_ms, until_ms or 0)
                return
            self.clock.now_ms = max(self.clock.now_ms, due)
            self.mapping.poll()
        pytest.fail("the mapping does not end")

    def outage(self, hours: int) -> None:
        """S3 refuses every put, for so long in virtual time."""
        self._is_calm = True
        self.proxy.refuse("PUT", self.archive_bucket, "SlowDown", times=10**9)
        self.deliver(until_ms=self.clock.now_ms + hours * HOUR_MS)
        self.proxy.heal()
        self._is_calm = False

    def settle(self) -> None:
        """No more faults; everything that is on its way arrives."""
        self.stream.read(now_ms=self.clock.now_ms)
        self.mapping.pull()
        self.deliver()
        self.proxy.heal()

    # The function

    def _invoke(self, records: list) -> tuple[bool, bool]:
        fault = self._deal()
        event = json.loads(json.dumps({"Records": [emitted.fresh() for emitted in records]}))
        try:
            answer = self.function.invoke(event, now_ms=self.clock.now_ms)
        except (StoreUnavailable, StoreRefused, FunctionKilledError):
            self.faults["failed invocation"] += 1
            return False, True
        distinct = len({id(emitted) for emitted in records})  # a duplicate may come in one batch with its original
        assert answer == {"received": len(records), "archived": distinct, "quarantined": 0}
        return fault != RESPONSE_LOST, True

    def _deal(self) -> str | None:
        kind = self._deck.pop() if self._deck else None
        if self._is_calm:
            return None
        if not self._deck and kind is None and self._rng.random() < FAULT_RATE:
            kind = self._rng.choice(FAULTS)
        match kind:
            case "refused":
                self.proxy.refuse("PUT", "/segments/", "SlowDown", times=ATTEMPTS)
            case "hiccup":  # the client's own retries get over it
                self.proxy.refuse("PUT", "/segments/", "InternalError", times=ATTEMPTS - 1)
            case "forbidden":
                self.proxy.refuse("PUT", "/segments/", "AccessDenied")
            case "answer lost":
                self.proxy.drop_after_commit("PUT", "/segments/")
            case "request lost":
                self.proxy.drop_before("PUT", "/segments/", times=ATTEMPTS)
            case "killed before" | "killed after":
                self.function.kill_at_next_put(kind)
        self.faults[kind or "none"] += 1
        return kind

    # The destination

    def _send_failed(self, condition: str, batch: Any, shard_id: str, arn: str) -> None:
        """Lambda writes it itself: not through the proxy, which stands before the archive."""
        document = failure_document(condition, batch, shard_id, arn, str(uuid.uuid4()), now_ms=self.clock.now_ms)
        key = failure_key(self._mapping_id, shard_id, now_ms=self.clock.now_ms, object_id=str(uuid.uuid4()))
        self.s3.put_object(Bucket=self.failure_bucket, Key=key, Body=json.dumps(document).encode())

    def failed_batches(self) -> list[dict]:
        listed = self.s3.list_objects_v2(Bucket=self.failure_bucket).get("Contents", [])
        bodies = (self.s3.get_object(Bucket=self.failure_bucket, Key=each["Key"])["Body"] for each in listed)
        return [json.loads(body.read()) for body in bodies]

    def replay(self, server: AwsEndpoint) -> int:
        """The operator's way back, as the runbook has it; the exit code."""
        source = ["--on-failure", f"s3://{self.failure_bucket}", "--endpoint-url", server.url]
        return run(["replay", self.table.name, "-a", self.url, *source])

    # The reader

    def read(self, server: AwsEndpoint, folder: Any) -> query.Archive:
        self.clock.now_ms = max(self.clock.now_ms, time.time_ns() // 1_000_000)
        access = Access(endpoint_url=server.url, cache_dir=folder)
        return query.open(self.url, access=access, now_ms=lambda: self.clock.now_ms, threads=1)


def check_answers(whole: Whole, archive: query.Archive) -> None:
    """Nothing lost, nothing doubled, nothing altered; every history and the table at every instant as the model has it."""
    journal = whole.table.journal
    (summary,) = archive.tables()
    assert (summary.changes, summary.quarantined, summary.gaps) == (len(journal.changes), 0, 0)
    table = archive.table(whole.table.name)
    assert [attribute.name for attribute in table.key_schema.attributes] == [name for name, _ in SCHEMA]
    told = [change.change_id for change in table.changes(reverse=True)]
    assert sorted(told) == sorted(emitted.record["eventID"] for emitted in _emitted(whole))
    for key in {key for key, _, _ in journal.changes}:
        ((customer, order),) = [tuple(value[1] for _, value in key)]
        versions = table.item(customer, str(order)).versions
        found = [version.change for version in versions if version.change]
        images = [(_image(change.old_image), _image(change.new_image)) for change in found]
        assert images == journal.history(key), key
    for second, expected in journal.instants:
        state = table.as_of(datetime.fromtimestamp(second, UTC))
        assert {_key(each.item_key): _image(each.image) for each in state.states()} == expected
        assert (state.count, state.unknown, state.conflicts) == (len(expected), 0, ())
        state.close()


def _emitted(whole: Whole) -> list:
    return [emitted for shard in whole.stream.shards for emitted in shard.records]


def _key(item_key: str) -> Key:
    return key_of(orjson.loads(item_key))


def _image(text: str | None) -> Any:
    return image_of(None if text is None else orjson.loads(text))


def scenario_of(seed: int) -> Scenario:
    """Seed 0 is what is deployed and nothing else; the others cut batches smaller and run lanes beside each other."""
    rng = Random(seed)
    scenario = replace(Scenario(), **deployed())
    if seed == 0:
        return scenario
    return replace(
        scenario,
        batch_size=rng.choice([4, 10, 25]),
        lanes=rng.choice([1, 2, 10]),
        duplicate_rate=0.2,
        restart_rate=0.1,
        throttle_rate=0.05,
    )


@pytest.fixture
def endpoint(ministack_url) -> AwsEndpoint:
    return AwsEndpoint(ministack_url)


def test_a_refused_request_never_arrives_and_a_healed_proxy_refuses_none(s3_bucket):
    """The fault is what it says: an error of S3's with its code, nothing written, and after `heal` no fault is left."""
    with DropProxy(s3_bucket.server.url) as proxy, contextlib.ExitStack() as clients:
        once = {"retries": {"total_max_attempts": 1}}
        through = clients.enter_context(contextlib.closing(AwsEndpoint(proxy.url).client("s3", **once)))
        proxy.refuse("PUT", "/name", "SlowDown", times=2)
        with pytest.raises(ClientError, match="SlowDown"):
            through.put_object(Bucket=s3_bucket.name, Key="name", Body=b"x")
        assert "Contents" not in through.list_objects_v2(Bucket=s3_bucket.name)
        proxy.heal()
        through.put_object(Bucket=s3_bucket.name, Key="name", Body=b"x")
        assert through.list_objects_v2(Bucket=s3_bucket.name)["KeyCount"] == 1


@pytest.mark.parametrize("seed", rounds(SEEDS // 2, SEEDS))
def test_what_was_written_to_the_table_is_what_the_reader_tells(seed, endpoint, tmp_path):
    """From the API call to the answer, with every fault on the way: the reader's histories and states are the writer's."""
    with contextlib.ExitStack() as clients:
        whole = Whole(seed, endpoint, scenario_of(seed), clients)
        for _ in range(PHASES):
            whole.write_a_phase()
        whole.settle()
        assert whole.failed_batches() == [], "no outage was long enough"
        check_answers(whole, whole.read(endpoint, tmp_path))
        assert len(_emitted(whole)) == len(whole.table.journal.changes)
        happened = whole.mapping.happened
        assert min(happened["bisect"], happened["retry"] or 1, whole.proxy.dropped) > 0, happened
        if seed:
            assert not set(FAULTS) - whole.faults.keys(), whole.faults
            assert min(happened["duplicate delivery"], happened["restart from an older checkpoint"]) > 0, happened


@pytest.mark.parametrize("seed", [0, 3])
def test_batches_that_grew_too_old_come_back_from_the_on_failure_bucket(seed, endpoint, tmp_path):
    """Thirteen hours without S3 are more than the deployed record age: the payloads in the bucket are all that is left."""
    with contextlib.ExitStack() as clients:
        whole = Whole(seed, endpoint, scenario_of(seed), clients)
        whole.write_a_phase()
        whole.settle()
        for _ in range(WRITES_A_PHASE):
            whole.table.write_at_random()
        whole.stream.read(now_ms=whole.clock.now_ms)
        whole.mapping.pull()
        whole.outage(hours=13)
        whole.write_a_phase()
        whole.settle()
        held = whole.failed_batches()
        waiting = {identity_of(record) for document in held for record in json.loads(document["payload"])["Records"]}
        assert waiting
        assert {document["requestContext"]["condition"] for document in held} == {"RecordAgeExceeded"}
        assert whole.mapping.metrics["OnFailureDestinationDeliveredEventCount"] == len(waiting)
        (summary,) = whole.read(endpoint, tmp_path / "before").tables()
        assert summary.changes == len(whole.table.journal.changes) - len(waiting)
        assert whole.replay(endpoint) == 0
        check_answers(whole, whole.read(endpoint, tmp_path / "after"))
