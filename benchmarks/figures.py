"""What `ddbtrail cost` reckons with, measured: `python -m benchmarks.figures` writes `query/operate/figures.toml`.

The Lambda handler itself, from the event's text to the answer of the last PUT: in a process of its own, with boto3
writing to a server on this machine that takes everything and keeps nothing. CPU is that process's time; what waiting
for S3 costs is an assumption of `prices.toml`, not measured.

A batch of one record, of ten and so on up to a full one are measured, since neither CPU nor bytes grow by the same step
with each record. Every record is a MODIFY with both images, the most that a write can cost.
"""

import importlib.metadata
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from random import Random
from typing import Any, ClassVar, Final

from benchmarks.archiver import PAYLOAD_BYTES, item, record

FIGURES: Final = Path(__file__).parents[1] / "query" / "operate" / "figures.toml"
# Sizes as DynamoDB counts them: one write unit, and up to the largest item there can be (*Constraints in DynamoDB*).
ITEM_BYTES: Final = (256, 1024, 4096, 16_384, 65_536, 400 * 1024)
RECORDS: Final = (1, 10, 100, 1000)
BATCH_SIZE_MAX: Final = 10_000  # of an event source mapping (API *CreateEventSourceMapping*)
STARTS: Final = 5
REPETITIONS: Final = 9
LEAST_S: Final = 0.5  # what is over in a moment is measured more often
HOUR_S: Final = 3600


# --- what is archived ---


def dynamodb_bytes(value: dict[str, Any]) -> int:
    """The size of an attribute value as it is billed (*DynamoDB item sizes and formats*)."""
    ((kind, held),) = value.items()
    match kind:
        case "S":
            return len(held.encode())
        case "N":  # "approximately (length of attribute name) + (1 byte per two significant digits) + (1 byte)"
            return (sum(character.isdigit() for character in held) + 1) // 2 + 1
        case "BOOL" | "NULL":
            return 1
        case "SS":
            return sum(len(text.encode()) for text in held)
        case "M":
            return 3 + sum(1 + len(name.encode()) + dynamodb_bytes(inner) for name, inner in held.items())
    raise ValueError(f"no item here has a value of type {kind}")


def item_bytes_of(image: dict[str, Any]) -> int:
    return sum(len(name.encode()) + dynamodb_bytes(value) for name, value in image.items())


def item_of(rng: Random, words: list[str], number: int, size_bytes: int) -> dict[str, Any]:
    """An order whose note fills it up to exactly `size_bytes`."""
    image = item(rng, words, number, 0)
    missing = size_bytes - item_bytes_of(image)
    if missing < 0:
        raise ValueError(
            f"an order of {size_bytes} bytes cannot be made: it has {size_bytes - missing} without its note"
        )
    note = " ".join(rng.choices(words, k=missing // 3 + 1))[:missing]
    return image | {"note": {"S": note.ljust(missing, ".")}}


def event_of(count: int, size_bytes: int, from_s: int) -> bytes:
    """An event of changes of different items, one thousand a second from `from_s` on (epoch s), as Lambda's JSON."""
    rng = Random(size_bytes)
    words = [f"{rng.getrandbits(32):08x}"[: rng.randint(2, 8)] for _ in range(2000)]
    records = []
    for number in range(count):
        new = item_of(rng, words, number, size_bytes)
        made = record(number, new | {"status": {"S": "NEW"}}, new)
        made["dynamodb"]["ApproximateCreationDateTime"] = float(from_s + number // 1000)
        records.append(made)
    return json.dumps({"Records": records}, separators=(",", ":")).encode()


def record_bytes(size_bytes: int, from_s: int) -> float:
    """Bytes of an event per record."""
    return len(event_of(50, size_bytes, from_s)) / 50


def batches(size_bytes: int, from_s: int) -> list[int]:
    """Records of the batches that are measured: the last one is full, by Lambda's payload or by its batch size."""
    full = min(BATCH_SIZE_MAX, int(PAYLOAD_BYTES / record_bytes(size_bytes, from_s)))
    return [count for count in RECORDS if count < full] + [full]


# --- where it is archived ---


class Taker(BaseHTTPRequestHandler):
    """Takes every object, as S3 does; remembers how large each put was."""

    protocol_version = "HTTP/1.1"
    put_bytes: ClassVar[list[tuple[str, int]]] = []

    def do_PUT(self) -> None:
        length = int(self.headers["Content-Length"])
        self.rfile.read(length)
        self.put_bytes.append((self.path, int(self.headers.get("x-amz-decoded-content-length", length))))
        self.send_response(200)
        self.send_header("ETag", '"0"')
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        return


@contextmanager
def taking() -> Iterator[str]:
    """The address of a server that takes every object."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Taker)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


# --- the function, in a process of its own ---


def measure(event_file: str, result_file: str) -> None:
    """Runs the handler on one event, first cold and then warm. Standard output is its log."""
    from archiver.handler import archive  # noqa: PLC0415  how long that takes is part of the start

    event = Path(event_file).read_bytes()
    context = Context()
    archive(json.loads(event), context)
    sys.stdout.flush()
    start_s = time.process_time()
    logged = os.fstat(1).st_size
    taken: list[float] = []
    while len(taken) < REPETITIONS or sum(taken) < LEAST_S:
        started = time.process_time()
        archive(json.loads(event), context)
        taken.append(time.process_time() - started)
    sys.stdout.flush()
    warm_s = statistics.median(taken)
    log_bytes = (os.fstat(1).st_size - logged) / len(taken)
    result = {"start_s": start_s - warm_s, "cpu_s": warm_s, "log_bytes": log_bytes, "turns": len(taken)}
    Path(result_file).write_text(json.dumps(result), encoding="utf-8")


class Context:
    """What the function asks of Lambda's context."""

    function_name = "orders-trail-ArchiveFunction-1234567890AB"
    memory_limit_in_mb = 512
    invoked_function_arn = f"arn:aws:lambda:us-east-1:111122223333:function:{function_name}"
    aws_request_id = "316aa6d0-8154-4f0a-9af7-85d5f4a6bc81"


def measured(event: bytes, endpoint_url: str) -> dict[str, float]:
    """CPU seconds of a batch and of the start before it, bytes of log, puts and bytes of the segment."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DDBTRAIL_"))} | {
        "AWS_ACCESS_KEY_ID": "none",
        "AWS_SECRET_ACCESS_KEY": "none",
        "AWS_DEFAULT_REGION": "us-east-1",
        "DDBTRAIL_ARCHIVE": "s3://archive/ddbtrail",
        "DDBTRAIL_ENDPOINT_URL": endpoint_url,
        "DDBTRAIL_KEY_SCHEMA": "orders=pk,sk",
        "DDBTRAIL_DESCRIBE_TABLE": "off",
        "POWERTOOLS_TRACE_DISABLED": "1",
    }
    Taker.put_bytes.clear()
    with tempfile.TemporaryDirectory() as folder:
        event_file, result_file = Path(folder, "event.json"), Path(folder, "result.json")
        event_file.write_bytes(event)
        command = [sys.executable, "-m", "benchmarks.figures", "--measure", str(event_file), str(result_file)]
        with Path(folder, "log").open("wb") as log:
            subprocess.run(command, env=environment, stdout=log, check=True)
        result: dict[str, float] = json.loads(result_file.read_text(encoding="utf-8"))
    segments = [size for name, size in Taker.put_bytes if "/segments/" in name]
    others = len(Taker.put_bytes) - len(segments)  # what is known of the stream, once in a container's life
    return result | {
        "puts": len(segments) / (result["turns"] + 1),
        "start_puts": others,
        "segment_bytes": statistics.median(segments),
    }


# --- the figures ---


def run() -> str:
    """Measures, and gives the text of `figures.toml`."""
    from_s = int(time.time()) // HOUR_S * HOUR_S
    load = os.getloadavg()[0]
    rows: list[str] = []
    every: list[dict[str, float]] = []
    with taking() as endpoint_url:
        starts = [measured(event_of(1, 1024, from_s), endpoint_url) for _ in range(STARTS)]
        for size_bytes in ITEM_BYTES:
            rows += ["", "[[item]]", f"bytes = {size_bytes}"]
            rows.append(f"event_bytes_per_record = {record_bytes(size_bytes, from_s):.1f}")
            for count in batches(size_bytes, from_s):
                found = measured(event_of(count, size_bytes, from_s), endpoint_url)
                every.append(found)
                rows += ["", "[[item.batch]]", f"records = {count}"]
                rows.append(f"cpu_s_per_1000_records = {found['cpu_s'] / count * 1000:.5f}")
                rows.append(f"segment_bytes_per_record = {found['segment_bytes'] / count:.1f}")
                print(f"{size_bytes:>7} bytes x {count:>6}: {found['cpu_s']:.4f} s", file=sys.stderr)
    head = {
        "date": datetime.now(UTC).date().isoformat(),
        "machine": f"{os.cpu_count()} x {_processor()}, {platform.machine()}",
        "software": f"Python {platform.python_version()}, "
        + ", ".join(f"{name} {importlib.metadata.version(name)}" for name in ("pyarrow", "orjson", "boto3")),
        "load_before": round(load, 2),
        "load_after": round(os.getloadavg()[0], 2),
        "start_cpu_s": round(statistics.median(start["start_s"] for start in starts), 3),
        "start_puts": max(round(start["start_puts"]) for start in starts),
        "puts_per_batch": round(statistics.mean(found["puts"] for found in every), 3),
        "log_bytes_per_batch": round(statistics.median(found["log_bytes"] for found in every)),
    }
    told = [f"{name} = {json.dumps(value)}" for name, value in head.items()]
    # One of the benchmark's own processes runs at a time.
    is_quiet = max(head["load_before"], head["load_after"] - 1) < 0.5
    noise = (
        []
        if is_quiet
        else ["#", "# The machine was not quiet: others worked on it, and CPU seconds are on the high side."]
    )
    return "\n".join([*_HEADER.splitlines(), *noise, "", "[measured]", *told, *rows, ""])


_HEADER: Final = """\
# Measured by `python -m benchmarks.figures`, which writes this file: do not edit it.
#
# CPU seconds are those of the process that runs the Lambda handler, from the text of the event to the answer of the
# last PUT; seconds of waiting are not among them. `load_before` and `load_after` are the machine's load of one minute.
# `bytes` of an item are as DynamoDB counts them. Every record is a MODIFY that carries both images."""


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return " ".join(line.partition(":")[2].split())
    return platform.processor() or "unknown processor"


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        measure(*sys.argv[2:4])
    else:
        target = Path(sys.argv[1]) if sys.argv[1:] else FIGURES
        text = run()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(text, encoding="utf-8")
