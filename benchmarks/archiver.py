"""The archiver against its floor, and against what people write today.

Everything is CPU time of this process, in repetitions that take turns, as medians; a ratio is the median of the ratios
within each turn. Only ratios of one run mean anything: machines are noisy. The event is parsed afresh for every
repetition, outside the measured time: Lambda hands the function objects that nobody has touched yet, and where they lie
in memory is a good part of the cost.

    floor          orjson's text of keys and images, and `pyarrow.parquet.write_table` of the same columns, nothing else
    archiver       `Writer.archive` into a store that keeps nothing: validation, digests, root, plan and Parquet
    today, JSON    boto3's TypeDeserializer and one JSON object per record
    today, Parquet boto3's TypeDeserializer and one Parquet object per record through pandas, as awswrangler does it
"""

import io
import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from random import Random
from typing import Any, Final

import orjson
import pyarrow as pa
import pyarrow.parquet as pq

from archiver.streams import Streams
from archiver.writer import BatchReport, Writer

STREAM_ARN: Final = "arn:aws:dynamodb:eu-west-1:111122223333:table/orders/stream/2026-01-01T00:00:00.000"
FIRST_CHANGE_S: Final = 1_795_392_000
NOW_MS: Final = (FIRST_CHANGE_S + 60) * 1000
PAYLOAD_BYTES: Final = 6 * 1024 * 1024  # Lambda's limit for one synchronous event
RECORDS: Final = 2_000
RECORDS_TODAY: Final = 40  # one object per record is slow enough to measure on few
REPETITIONS: Final = 9
IMPORTS: Final = 5
LARGEST_LIST: Final = 204_795  # booleans in one 400 KB item, the most JSON that an item can become

SCHEMA: Final = pa.schema(
    [
        *((name, pa.string()) for name in ("change_id", "op")),
        ("changed_at", pa.timestamp("ms", tz="UTC")),
        *((name, pa.string()) for name in ("sequence_number", "stream_label", "item_key", "pk", "sk")),
        *((name, pa.string()) for name in ("old_image", "new_image", "user_identity", "event")),
    ]
)


class Nowhere:
    """A store that takes everything and keeps nothing but the number of bytes."""

    def __init__(self) -> None:
        self.size_bytes = 0

    def put_if_absent(self, _name: str, content: bytes) -> bool:
        self.size_bytes += len(content)
        return True

    def get(self, name: str) -> bytes:
        raise FileNotFoundError(name)

    def list(self, _prefix: str, _start_after: str = "") -> Iterator[tuple[str, int]]:
        return iter(())


# --- what is archived ---


def item(rng: Random, words: list[str], number: int, size_bytes: int) -> dict[str, Any]:
    """An order of nine attributes, about `size_bytes` as JSON."""
    image = {
        "pk": {"S": f"CUSTOMER#{number % 1000:06d}"},
        "sk": {"S": f"ORDER#2026-11-23T{number % 24:02d}:{number % 60:02d}:00Z#{number:08d}"},
        "status": {"S": rng.choice(["PENDING", "PAID", "SHIPPED", "DELIVERED"])},
        "total": {"N": f"{rng.randint(100, 999_999) / 100}"},
        "revision": {"N": str(number)},
        "is_gift": {"BOOL": rng.random() < 0.1},
        "tags": {"SS": rng.sample(words, 3)},
        "address": {"M": {"city": {"S": rng.choice(words)}, "zip": {"S": str(rng.randint(10_000, 99_999))}}},
    }
    missing = size_bytes - len(orjson.dumps(image)) - len(',"note":{"S":""}')
    return image | {"note": {"S": " ".join(rng.choices(words, k=max(1, missing // 6)))[: max(0, missing)]}}


def record(number: int, old: dict[str, Any], new: dict[str, Any]) -> dict[str, Any]:
    """A MODIFY as Lambda delivers it."""
    return {
        "eventID": f"{number:032x}",
        "eventName": "MODIFY",
        "eventVersion": "1.1",
        "eventSource": "aws:dynamodb",
        "awsRegion": "eu-west-1",
        "dynamodb": {
            "ApproximateCreationDateTime": float(FIRST_CHANGE_S + number // 1000),
            "Keys": {"pk": new["pk"], "sk": new["sk"]},
            "NewImage": new,
            "OldImage": old,
            "SequenceNumber": str(4 * 10**24 + number * 137),
            "SizeBytes": 2 * len(str(new)),
            "StreamViewType": "NEW_AND_OLD_IMAGES",
        },
        "eventSourceARN": STREAM_ARN,
    }


def event_of(count: int, size_bytes: int) -> bytes:
    """An event of `count` changes of items of about `size_bytes`, as JSON."""
    rng = Random(count)
    words = [f"{rng.getrandbits(32):08x}"[: rng.randint(2, 8)] for _ in range(2000)]
    records = []
    for number in range(count):
        new = item(rng, words, number, size_bytes)
        old = new | {"status": {"S": "NEW"}, "revision": {"N": str(number - 1)}}
        records.append(record(number, old, new))
    return json.dumps({"Records": records}, separators=(",", ":")).encode()


def largest_event() -> bytes:
    """One change of the one 400 KB item that becomes the most JSON: just under Lambda's limit."""
    image = {"pk": {"S": "a"}, "sk": {"S": "b"}, "all": {"L": [{"BOOL": True}] * LARGEST_LIST}}
    return json.dumps({"Records": [record(1, image, image)]}, separators=(",", ":")).encode()


def full_event(size_bytes: int = 1000) -> bytes:
    """A batch that fills Lambda's payload."""
    per_record = len(event_of(100, size_bytes)) / 100
    return event_of(int(PAYLOAD_BYTES / per_record), size_bytes)


# --- what is measured ---


def archive(records: list[Any]) -> BatchReport:
    """The archiver, without a clock and without a network."""
    writer = Writer(store=Nowhere(), streams=Streams(key_schema={"orders": ("pk", "sk")}))
    return writer.archive(records, now_ms=NOW_MS)


def columns_of(report: BatchReport) -> dict[str, list[Any]]:
    """The columns that the floor need not compute."""
    rows = [row for segment in report.segments for row in segment.rows]
    return {
        "change_id": [row.change_id for row in rows],
        "op": [row.op for row in rows],
        "changed_at": [row.changed_at_ms for row in rows],
        "sequence_number": [row.sequence_number for row in rows],
        "stream_label": [row.source.stream_label for row in rows],
        "pk": [row.pk for row in rows],
        "sk": [row.sk for row in rows],
        "user_identity": [None] * len(rows),
        "event": [row.event for row in rows],
    }


def floor(records: list[Any], columns: dict[str, list[Any]]) -> None:
    """What no archiver of these columns can do without."""
    streams = [delivered["dynamodb"] for delivered in records]
    columns = columns | {
        "item_key": [orjson.dumps(stream["Keys"]) for stream in streams],
        "old_image": [orjson.dumps(stream["OldImage"]) for stream in streams],
        "new_image": [orjson.dumps(stream["NewImage"]) for stream in streams],
    }
    arrays = [
        pa.array(columns[field.name], pa.binary()).view(pa.string())
        if isinstance(columns[field.name][0], bytes)
        else pa.array(columns[field.name], field.type)
        for field in SCHEMA
    ]
    pq.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA), pa.BufferOutputStream(), compression="zstd")


def plain_images(records: list[Any]) -> Iterator[dict[str, Any]]:
    from boto3.dynamodb.types import TypeDeserializer  # noqa: PLC0415

    deserialize = TypeDeserializer().deserialize
    for delivered in records:
        image = delivered["dynamodb"]["NewImage"]
        yield {name: deserialize(value) for name, value in image.items()}


def json_today(records: list[Any]) -> None:
    store = Nowhere()
    for image in plain_images(records):
        plain = {name: sorted(value) if isinstance(value, set) else value for name, value in image.items()}
        store.put_if_absent("object", json.dumps(plain, default=str).encode())


def _cell(value: Any) -> Any:
    return json.dumps(value, default=list) if isinstance(value, dict | set) else value


def parquet_today(records: list[Any]) -> None:
    import pandas as pd  # noqa: PLC0415

    store = Nowhere()
    for image in plain_images(records):
        flat = {
            name: json.dumps(value, default=list) if isinstance(value, dict | set) else value
            for name, value in image.items()
        }
        sink = io.BytesIO()
        pd.DataFrame([flat]).to_parquet(sink, compression="snappy", index=False)
        store.put_if_absent("object", sink.getvalue())


def turns_us(tasks: dict[str, tuple[bytes, Callable[[list[Any]], object]]]) -> dict[str, list[float]]:
    """CPU microseconds per record, by task and turn; a task is an event, parsed afresh each time, and what to do."""
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(REPETITIONS):
        for name, (event, task) in tasks.items():
            records = json.loads(event)["Records"]
            started = time.process_time()
            task(records)
            taken[name].append((time.process_time() - started) / len(records) * 1e6)
            del records
    return taken


def ratio(one: list[float], other: list[float]) -> float:
    """Median of the ratios within each turn."""
    return statistics.median(mine / theirs for mine, theirs in zip(one, other, strict=True))


def against_the_floor(size_bytes: int) -> dict[str, float]:
    """The archiver and its floor on a batch of items of one size."""
    event = event_of(RECORDS, size_bytes)
    report = archive(json.loads(event)["Records"])
    columns = columns_of(report)
    taken = turns_us({"floor": (event, lambda records: floor(records, columns)), "archiver": (event, archive)})
    archiver_us = statistics.median(taken["archiver"])
    return {
        "floor_us": statistics.median(taken["floor"]),
        "archiver_us": archiver_us,
        "ratio": ratio(taken["archiver"], taken["floor"]),
        "records_per_s": 1e6 / archiver_us,
        "floor_records_per_s": 1e6 / statistics.median(taken["floor"]),
        "event_bytes_per_record": len(event) / RECORDS,
        "segment_bytes_per_record": report.bytes_written / RECORDS,
    }


def against_today() -> dict[str, float]:
    """The archiver and what people write today, microseconds per record of 1 KB, and how many times slower that is."""
    few = event_of(RECORDS_TODAY, 1000)
    taken = turns_us(
        {"archiver": (event_of(RECORDS, 1000), archive), "JSON": (few, json_today), "Parquet": (few, parquet_today)}
    )
    return {f"{name}_us": statistics.median(times) for name, times in taken.items()} | {
        "JSON_ratio": ratio(taken["JSON"], taken["archiver"]),
        "Parquet_ratio": ratio(taken["Parquet"], taken["archiver"]),
    }


_PEAK = """
import json, sys
import archiver.handler
from benchmarks.archiver import archive
archive(json.loads(sys.stdin.buffer.read())["Records"])
print(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM")))
"""
_IMPORT = "import time; started = time.process_time(); import {}; print(time.process_time() - started)"


def _printed(code: str, stdin: bytes = b"") -> float:
    return float(subprocess.run([sys.executable, "-c", code], input=stdin, capture_output=True, check=True).stdout)


def peak_mb(event: bytes) -> float:
    """Resident memory, in MiB, of a process that has imported the handler and archived one event."""
    return _printed(_PEAK, event) / 1024


def import_s(modules: str) -> float:
    """CPU seconds that an import takes in a fresh process, median of five."""
    return statistics.median(_printed(_IMPORT.format(modules)) for _ in range(IMPORTS))


def run() -> dict[str, dict[str, float]]:
    """Every figure of the archiver's budget; times are CPU time."""
    events = {"no records": b'{"Records":[]}', "6 MB of 1 KB items": full_event(), "400 KB x 2": largest_event()}
    handler_s, libraries_s = import_s("archiver.handler"), import_s("pyarrow.parquet, boto3")
    return {
        "items of 1000 bytes": against_the_floor(1000),
        "items of 400 bytes": against_the_floor(400),
        "what people write today": against_today(),
        "peak_mib": {name: peak_mb(event) for name, event in events.items()},
        "import": {"handler_s": handler_s, "pyarrow_boto3_s": libraries_s, "ratio": handler_s / libraries_s},
    }


def report(figures: dict[str, dict[str, float]]) -> str:
    """The figures for people."""
    lines = []
    for title, values in figures.items():
        lines.append(title)
        lines += [f"    {name:32} {value:12,.2f}" for name, value in values.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(report(run()))
