"""Every row of a segment checked, against what no checker can do without.

CPU time of one process, in repetitions that take turns, as medians; a ratio is the median of the ratios within each
turn. Every record is a MODIFY with both images, the most there is to check.

    floor      pyarrow reads the same file, checksums of its pages included, and SHA-256 of its bytes
    check      `query.evidence_rows.check_segment_file`: every column against its record, every leaf, order and root
    long road  the same rows, each by `check_row`: what a row costs that is like no other

Small segments are measured too, since a file costs something whatever it holds; and a process that checks many, for its
memory; and two processes, for what the second core brings.
"""

import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from hashlib import sha256
from multiprocessing import get_context
from typing import Any, Final

import pyarrow as pa
import pyarrow.parquet as pq

from archiver.format.layout import SegmentName, StreamSource
from archiver.format.record import change_record
from archiver.format.row_check import Row, check_row
from archiver.plan import PlannedSegment, plan_segments
from archiver.segment import encode_segment
from benchmarks.archiver import STREAM_ARN, event_of, ratio
from query.evidence_rows import check_segment_file

ITEM_BYTES: Final = (300, 1000)  # of an image as JSON
RECORDS: Final = (10_000, 100)
REPETITIONS: Final = 15
LONG_ROAD_RECORDS: Final = 1000
SOURCE: Final = StreamSource.parse(STREAM_ARN)
MANY: Final = 300  # segments of one process
A_FEW: Final = 20
PARALLEL: Final = 24
WORKERS: Final = 2


def planned(records: int, size_bytes: int) -> PlannedSegment:
    """A segment of so many changes, of as many items."""
    delivered = json.loads(event_of(records, size_bytes))["Records"]
    (segment,) = plan_segments([change_record(record, SOURCE, ("pk", "sk")) for record in delivered])
    return segment


def floor(content: bytes) -> None:
    pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True).read(use_threads=False)
    sha256(content).digest()


def turns_us(tasks: dict[str, Callable[[], object]], records: int) -> dict[str, list[float]]:
    """CPU microseconds per record, by task and turn."""
    times = max(1, 2000 // records)  # what is over in a moment is measured more often
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(REPETITIONS):
        for name, task in tasks.items():
            started = time.process_time()
            for _ in range(times):
                task()
            taken[name].append((time.process_time() - started) / records / times * 1e6)
    return taken


def against_the_floor(records: int, size_bytes: int) -> dict[str, float]:
    segment = planned(records, size_bytes)
    content = encode_segment(segment)
    taken = turns_us(
        {
            "floor": lambda: floor(content),
            "check": lambda: check_segment_file(content, SOURCE.trail, segment.place, ("pk", "sk")),
        },
        records,
    )
    check_us = statistics.median(taken["check"])
    return {
        "image bytes": statistics.mean(len(row.new_image or b"") for row in segment.rows),
        "file bytes per record": len(content) / records,
        "floor us": statistics.median(taken["floor"]),
        "check us": check_us,
        "check us, best turn": min(taken["check"]),
        "ratio": ratio(taken["check"], taken["floor"]),
        "records per s and core": 1e6 / check_us,
        "records per s and core, best turn": 1e6 / min(taken["check"]),
    }


def long_road(size_bytes: int) -> dict[str, float]:
    segment = planned(LONG_ROAD_RECORDS, size_bytes)
    rows = [
        Row(*row[1:5], SOURCE.stream_label, *row[5:10], row[10] and row[10].decode(), row[11].decode())
        for row in segment.rows
    ]
    taken = turns_us({"long": lambda: [check_row(row, SOURCE, segment.place) for row in rows]}, LONG_ROAD_RECORDS)
    return {"long road us": statistics.median(taken["long"])}


_PEAK: Final = """
import sys
from pathlib import Path
from archiver.format.layout import SegmentName, StreamSource
from query.evidence_rows import check_segment_file
trail, place = StreamSource.parse(sys.argv[1]).trail, SegmentName.parse(sys.argv[2])
for _ in range(int(sys.argv[4])):
    check_segment_file(Path(sys.argv[3]).read_bytes(), trail, place)
print(int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) / 1024)
"""


def memory() -> dict[str, float]:
    """Resident memory, MiB at most, of processes that check a segment so many times."""
    segment = planned(RECORDS[0], ITEM_BYTES[0])
    figures = {}
    with tempfile.NamedTemporaryFile() as file:
        file.write(encode_segment(segment))
        file.flush()
        for times in (1, A_FEW, MANY):
            arguments = [STREAM_ARN, segment.place.compose(), file.name, str(times)]
            command = [sys.executable, "-c", _PEAK, *arguments]
            peak = subprocess.run(command, check=True, capture_output=True).stdout
            figures[f"peak MiB after {times} segments"] = float(peak)
    return figures


def checked(content: bytes, name: str) -> int:
    """In a worker: how many rows were right."""
    return check_segment_file(content, SOURCE.trail, SegmentName.parse(name)).records


def parallel() -> dict[str, float]:
    """Wall seconds of the same segments in one process and in two, started before the time is taken."""
    segment = planned(RECORDS[0], ITEM_BYTES[0])
    contents, name = [encode_segment(segment)] * PARALLEL, segment.place.compose()
    wall: dict[int, list[float]] = {1: [], WORKERS: []}
    for workers, taken in wall.items():
        with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
            list(pool.map(checked, contents[:WORKERS], [name] * WORKERS))
            for _ in range(3):
                started = time.perf_counter()
                rows = sum(pool.map(checked, contents, [name] * PARALLEL))
                taken.append(time.perf_counter() - started)
    return {
        "records per s, one process": rows / min(wall[1]),
        "records per s, two processes": rows / min(wall[WORKERS]),
        "speed-up": min(wall[1]) / min(wall[WORKERS]),
    }


def run() -> dict[str, dict[str, float]]:
    """Every figure of the row check."""
    figures = {
        f"{records:,} records, items of {size_bytes} bytes": against_the_floor(records, size_bytes)
        for records in RECORDS
        for size_bytes in ITEM_BYTES
    }
    figures |= {f"row by row, items of {size_bytes} bytes": long_road(size_bytes) for size_bytes in ITEM_BYTES}
    return figures | {"memory": memory(), "processes": parallel()}


def report(figures: dict[str, dict[str, Any]]) -> str:
    """The figures for people."""
    lines = ["every row of a segment checked"]
    for title, values in figures.items():
        lines.append(f"  {title}")
        lines += [f"    {name:36} {value:12,.2f}" for name, value in values.items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(report(run()))
