"""State and history on a large trail, against what a person would write by hand over the same files.

    image scan     the image column of the same files, nothing else: what any answer has to read at least
    window         the hand-written DuckDB query: row_number() over (partition by item_key order by sequence_number
    desc)
    polars         the same with polars: sort within groups, take the last
    as-of          `Table.as_of(...)` to the last row of the answer, on a freshly opened archive

Each is measured alone, in turns, in a process of its own, with two threads; figures are medians of CPU and wall
seconds.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

from benchmarks.dataset import HOURS, START_MS, TRAIL, make

THREADS: Final = 2
REPETITIONS: Final = int(os.environ.get("DDBTRAIL_BENCH_REPETITIONS", "3"))
_MS_PER_S: Final = 1000
NEWEST_S: Final = (START_MS + HOURS * 3_600_000) // _MS_PER_S
MIDDLE_S: Final = (START_MS + HOURS * 1_800_000) // _MS_PER_S


def _files(folder: Path) -> list[str]:
    return sorted(map(str, folder.glob(f"{TRAIL.prefix}segments/*/*/*.parquet")))


def _connection() -> Any:
    import duckdb  # noqa: PLC0415

    return duckdb.connect(config={"threads": THREADS, "preserve_insertion_order": "false"})


def image_scan(folder: Path) -> int:
    query = "SELECT sum(strlen(new_image)) FROM read_parquet($files)"
    return int(_connection().execute(query, {"files": _files(folder)}).fetchone()[0])


def window(folder: Path) -> int:
    query = """
        SELECT item_key, new_image, changed_at, change_id FROM (
            SELECT *, row_number() OVER (PARTITION BY item_key ORDER BY sequence_number DESC) AS newest_first
            FROM read_parquet($files)
        ) WHERE newest_first = 1 AND op <> 'REMOVE'"""
    found = _connection().sql(query, params={"files": _files(folder)}).to_arrow_reader(50_000)
    return sum(batch.num_rows for batch in found)


def with_polars(folder: Path) -> int:
    import polars as pl  # noqa: PLC0415

    columns = ["item_key", "new_image", "changed_at", "change_id", "op", "sequence_number"]
    rows = pl.scan_parquet(_files(folder)).select(columns)
    newest = rows.group_by("item_key").agg(pl.all().sort_by("sequence_number").last())
    return newest.filter(pl.col("op") != "REMOVE").collect(engine="streaming").height


def as_of_newest(folder: Path) -> int:
    return _as_of(folder, NEWEST_S)


def as_of_middle(folder: Path) -> int:
    return _as_of(folder, MIDDLE_S)


def _as_of(folder: Path, at_s: int) -> int:
    import query  # noqa: PLC0415

    state = query.open(str(folder), threads=THREADS).table("orders").as_of(f"@{at_s}")
    return sum(batch.num_rows for batch in state._states.existing_batches())  # noqa: SLF001  no row is made a Python object


def history(folder: Path) -> int:
    import query  # noqa: PLC0415

    table = query.open(str(folder), threads=THREADS).table("orders")
    return len(table.item("CUST#77", "ORDER#000000777").history())


def history_by_hand(folder: Path) -> int:
    query = "SELECT * FROM read_parquet($files) WHERE pk = $pk AND sk = $sk ORDER BY sequence_number"
    values = {"files": _files(folder), "pk": "CUST#77", "sk": "ORDER#000000777"}
    return len(_connection().sql(query, params=values).to_arrow_table())


CASES: Final[dict[str, Callable[[Path], int]]] = {
    case.__name__: case
    for case in (image_scan, window, with_polars, as_of_newest, as_of_middle, history, history_by_hand)
}


def measure(name: str, folder: Path) -> dict[str, float]:
    """One case in this process: rows (or bytes) found, CPU and wall seconds, peak resident memory in MB."""
    import resource  # noqa: PLC0415

    started, cpu = time.perf_counter(), time.process_time()
    found = CASES[name](folder)
    return {
        "found": found,
        "wall_s": time.perf_counter() - started,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def run(changes: int | None = None) -> dict[str, Any]:
    """All cases on a trail of so many changes (`DDBTRAIL_BENCH_CHANGES`, 10 million), as medians and ratios."""
    changes = changes or int(os.environ.get("DDBTRAIL_BENCH_CHANGES", "10000000"))
    folder = Path(
        os.environ.get("DDBTRAIL_BENCH_FOLDER", str(Path(tempfile.gettempdir()) / f"ddbtrail-bench-{changes}"))
    )
    make(folder, changes)
    turns: dict[str, list[dict[str, float]]] = {name: [] for name in CASES}
    for _ in range(REPETITIONS):
        for name in CASES:
            command = [sys.executable, "-m", "benchmarks.reading", name, str(folder)]
            turns[name].append(json.loads(subprocess.run(command, check=True, capture_output=True).stdout))
    medians = {
        name: {figure: statistics.median(turn[figure] for turn in results) for figure in results[0]}
        for name, results in turns.items()
    }
    ratios = {
        "as-of newest / image scan": _ratio(turns, "as_of_newest", "image_scan"),
        "window / as-of newest": _ratio(turns, "window", "as_of_newest"),
        "polars / as-of newest": _ratio(turns, "with_polars", "as_of_newest"),
        "as-of middle / image scan": _ratio(turns, "as_of_middle", "image_scan"),
        "history / by hand": _ratio(turns, "history", "history_by_hand"),
    }
    return {"changes": changes, "medians": medians, "ratios": ratios}


def _ratio(turns: dict[str, list[dict[str, float]]], one: str, other: str) -> dict[str, float]:
    pairs = list(zip(turns[one], turns[other], strict=True))
    return {
        figure: statistics.median(first[figure] / second[figure] for first, second in pairs)
        for figure in ("wall_s", "cpu_s")
    }


def report(results: dict[str, Any]) -> str:
    """The results as text."""
    lines = [
        f"reading {results['changes']:,} changes",
        "",
        f"{'case':18}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'found':>12}",
    ]
    for name, figures in results["medians"].items():
        lines.append(
            f"{name:18}{figures['wall_s']:9.2f}{figures['cpu_s']:9.2f}{figures['peak_mb']:9.0f}{figures['found']:12,.0f}"
        )
    lines += ["", f"{'ratio':30}{'wall':>8}{'CPU':>8}"]
    lines += [f"{name:30}{ratio['wall_s']:8.2f}{ratio['cpu_s']:8.2f}" for name, ratio in results["ratios"].items()]
    return "\n".join(lines)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], Path(sys.argv[2]))))
