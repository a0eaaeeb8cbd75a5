"""A whole table as of an instant from runs, beside what any answer has to read: each turn in a process of its own.

    scan       DuckDB: the lengths of the image column of the files that the plan reads
    read       DuckDB: every row of those files, as Arrow with the columns that an answer has
    as_of      ddbtrail, to the last row as Arrow: the first question of the process, then the same once more
    in_order   the same in order of keys, as the command line has it
    window     DuckDB, by hand: the window query over the segments (`benchmarks.peers`)

By hand: `python -m benchmarks.whole_table ARCHIVE DERIVED [INSTANT…]` (newest, middle, oldest); the archive is one of
`benchmarks.long_trail`, DERIVED a folder that `ddbtrail compact` filled. DDBTRAIL_BENCH_REPETITIONS turns (3) of which
medians are given, DDBTRAIL_BENCH_MEMORY the engine's `--memory-limit`, DDBTRAIL_BENCH_CASES the cases.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from benchmarks.peers import REPETITIONS, THREADS, _counted, _duckdb, instants, window

CASES: Final = tuple(os.environ.get("DDBTRAIL_BENCH_CASES", "scan,read,as_of,in_order,window").split(","))
MEMORY: Final = os.environ.get("DDBTRAIL_BENCH_MEMORY")


def measure(case: str, archive: Path, derived: Path, at_s: int) -> list[dict[str, float]]:
    """What each question of one process took: wall and CPU seconds, peak memory so far (MB), rows and image bytes."""
    import query  # noqa: PLC0415
    from query.cli.lean import leave_out_pandas, take_memory_by_jemalloc  # noqa: PLC0415

    leave_out_pandas()  # as a command has it
    take_memory_by_jemalloc()
    table = query.open(str(archive), threads=THREADS, derived_url=str(derived), memory_limit=MEMORY).table("orders")
    at = table.resolve(f"@{at_s}")
    parts = [one for one in table.plan_as_of(at, table.moment(at)).files if one.name.endswith(".parquet")]
    files, snapshots = ([one for one in parts if kind in one.name] for kind in ("/runs/", "/snapshots/"))

    def scan() -> tuple[int, int]:
        found = (0, 0)
        for kind, column in ((files, "new_image"), (snapshots, "image")):
            if kind:
                text = f"SELECT count({column}), sum(strlen({column})) FROM read_parquet($files)"
                named = [str(derived / one.name) for one in kind]
                count, size = _duckdb().execute(text, {"files": named}).fetchone()
                found = (found[0] + count, found[1] + size)
        return found

    def read() -> tuple[int, int]:
        found = (0, 0)
        for kind, image in ((files, "new_image"), (snapshots, "image")):
            if kind:
                columns = f"item_key, {image} AS image, change_id, epoch_ms(changed_at), epoch_ms(effective_at)"
                text = f"SELECT {columns} FROM read_parquet($files)"
                named = [str(derived / one.name) for one in kind]
                reader = _duckdb().sql(text, params={"files": named}).to_arrow_reader(50_000)
                count, size = _counted(reader, "image")
                found = (found[0] + count, found[1] + size)
        return found

    def as_of() -> tuple[int, int]:
        state = table.as_of(at)
        try:
            return _counted(state.batches(in_order=case == "in_order"), "image")
        finally:
            state.close()

    def by_hand() -> tuple[int, int]:
        return window(archive, at_s)

    asked = {"scan": scan, "read": read, "as_of": as_of, "in_order": as_of, "window": by_hand}[case]
    found = []
    for _ in range(2 if case in {"as_of", "in_order"} else 1):
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        items, image_bytes = asked()
        after = resource.getrusage(resource.RUSAGE_SELF)
        found.append(
            {
                "wall_s": time.perf_counter() - began,
                "cpu_s": after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime,
                "peak_mb": after.ru_maxrss / 1024,
                "items": items,
                "image_bytes": image_bytes,
                "files": len(files) + len(snapshots),
            }
        )
    return found


def run(archive: Path, derived: Path, wanted: tuple[str, ...] = ("newest", "middle", "oldest")) -> dict[str, Any]:
    """Medians by `instant case question`."""
    turns: dict[str, list[dict[str, float]]] = {}
    for _ in range(REPETITIONS):
        for instant, at_s in instants(archive).items():
            for case in CASES if instant in wanted else ():
                command = [sys.executable, "-m", "benchmarks.whole_table", "--measure", case]
                done = subprocess.run(
                    [*command, str(archive), str(derived), str(at_s)], capture_output=True, check=True, text=True
                )
                for question, figures in enumerate(json.loads(done.stdout.splitlines()[-1]), 1):
                    turns.setdefault(f"{instant} {case} {question}", []).append(figures)
    medians = {
        name: {figure: statistics.median(turn[figure] for turn in found) for figure in found[0]}
        for name, found in turns.items()
    }
    answers = {
        (name.split()[0], one["items"], one["image_bytes"])
        for name, one in medians.items()
        if name.split()[1] not in {"scan", "read"}
    }
    assert len(answers) == len({instant for instant, *_ in answers}), f"answers differ: {answers}"
    return {"load": os.getloadavg()[0], "cases": medians}


def report(results: dict[str, Any]) -> str:
    lines = [
        f"load: {results['load']:.1f}",
        f"{'case':26}{'wall s':>9}{'CPU s':>9}{'peak MB':>9}{'items':>12}{'files':>7}",
    ]
    for name, one in results["cases"].items():
        scan = results["cases"].get(f"{name.split()[0]} scan 1", one)
        ratios = f"  {one['wall_s'] / scan['wall_s']:.2f} x wall, {one['cpu_s'] / scan['cpu_s']:.2f} x CPU of the scan"
        lines.append(
            f"{name:26}{one['wall_s']:9.2f}{one['cpu_s']:9.2f}{one['peak_mb']:9.0f}{one['items']:12,.0f}"
            f"{one['files']:7.0f}{ratios}"
        )
    return "\n".join(lines)


def _main(arguments: list[str]) -> None:
    if arguments[0] == "--measure":
        _, case, archive, derived, at_s = arguments
        print(json.dumps(measure(case, Path(archive), Path(derived), int(at_s))))
        return
    archive, derived, *wanted = arguments
    print(report(run(Path(archive), Path(derived), *([tuple(wanted)] if wanted else []))))


if __name__ == "__main__":
    _main(sys.argv[1:])
