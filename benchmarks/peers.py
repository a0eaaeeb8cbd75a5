"""State of a whole table at an instant, as others would find it: what each takes, and what it must store first.

    image scan        the image column of the files, nothing else: what any answer has to read at least
    as-of             `Table.as_of(...)` to the last row of the answer, without runs
    as-of compacted   the same beside the runs (and whatever else) that `compact` has made of the archive
    window            DuckDB: row_number() over (partition by item_key order by sequence_number desc)
    polars            sort within groups, take the last
    spark             the window query, in Spark's local mode
    delta             a Delta Lake table kept current by one merge per hour of changes, at the version of the hour

Each in a process of its own, with two threads, at the newest, the middle and the oldest instant (a tenth of the trail).
All find the same: as many items, and as many bytes of images. The instants are ends of hours, which is where a table
that is merged hourly has versions; between two merges it knows of no state.

The trail is one of `benchmarks.long_trail` over 90 days, of DDBTRAIL_BENCH_CHANGES changes (1 million); or
`python -m benchmarks.peers ARCHIVE [CASE…]` takes one that is there. Spark and Delta Lake are no dependencies of
ddbtrail: `make bench-peers` installs them into .bench (Spark needs Java 17). The Delta table is made once, beside the
archive or at DDBTRAIL_BENCH_DELTA. With DDBTRAIL_BENCH_MERGES only so many of the last hours are merged, into a table
that is written at once for the hours before: what a merge costs in the end, where all of them would take hours.

Of the Delta table: nothing is vacuumed, or earlier versions would be gone, and it is not optimized; merges by this
library rewrite every file that holds a changed row. It answers for the ends of hours only, tells no deleted item from
one that never was, and has no history of an item but by comparing versions.
"""

import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from bisect import bisect_right
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

# Nothing of the project and no package is imported here: these lines also run in the environment of the peers.
THREADS: Final = 2
REPETITIONS: Final = int(os.environ.get("DDBTRAIL_BENCH_REPETITIONS", "3"))
_INSTANTS: Final = {"newest": 1.0, "middle": 0.5, "oldest": 0.1}  # share of the trail's hours
_HOUR: Final = re.compile(r"dt=(?P<day>[0-9-]{10})/hour=(?P<hour>[0-9]{2})/")
_COLUMNS: Final = ("item_key", "new_image", "changed_at", "change_id", "op", "sequence_number")
_PEERS_PYTHON: Final = os.environ.get("DDBTRAIL_BENCH_PYTHON", ".bench/bin/python")
_CLOCK_TICKS: Final = os.sysconf("SC_CLK_TCK")

Answer = tuple[int, int]  # how many items there are, and how many bytes their images have


def segment_files(archive: Path) -> list[str]:
    """The segments of the only trail there, by hour and first sequence number."""
    return sorted(map(str, archive.glob("v1/account=*/region=*/table_name=*/segments/*/*/*.parquet")))


def hour_s(file: str) -> int:
    """The beginning of a segment's hour, epoch seconds, from its path."""
    found = _HOUR.search(file)
    assert found is not None
    return int(datetime.fromisoformat(f"{found['day']}T{found['hour']}:00:00").replace(tzinfo=UTC).timestamp())


def instants(archive: Path) -> dict[str, int]:
    """The last second of an hour, epoch seconds: "up to" it and "before" the next are the same."""
    files = segment_files(archive)
    first_s, hours = hour_s(files[0]), (hour_s(files[-1]) - hour_s(files[0])) // 3600 + 1
    return {name: first_s + int(hours * share) * 3600 - 1 for name, share in _INSTANTS.items()}


# --- the cases ---


def image_scan(archive: Path, _at_s: int) -> Answer:
    query = "SELECT count(new_image), sum(strlen(new_image)) FROM read_parquet($files)"
    return tuple(_duckdb().execute(query, {"files": segment_files(archive)}).fetchone())


def as_of(archive: Path, at_s: int) -> Answer:
    import query  # noqa: PLC0415

    state = query.open(str(archive), threads=THREADS).table("orders").as_of(f"@{at_s}")
    return _counted(state._states.existing_batches(), "image")  # noqa: SLF001  no row is made a Python object


def as_of_compacted(archive: Path, at_s: int) -> Answer:
    return as_of(archive, at_s)


def window(archive: Path, at_s: int) -> Answer:
    query = """
        SELECT item_key, new_image, changed_at, change_id FROM (
            SELECT *, row_number() OVER (PARTITION BY item_key ORDER BY sequence_number DESC) AS newest_first
            FROM read_parquet($files) WHERE changed_at <= to_timestamp($at_s)
        ) WHERE newest_first = 1 AND op <> 'REMOVE'"""
    found = _duckdb().sql(query, params={"files": segment_files(archive), "at_s": at_s})
    return _counted(found.to_arrow_reader(50_000), "new_image")


def polars(archive: Path, at_s: int) -> Answer:
    import polars as pl  # noqa: PLC0415

    at = pl.from_epoch(pl.lit(at_s)).dt.cast_time_unit("ms").dt.replace_time_zone("UTC")
    rows = pl.scan_parquet(segment_files(archive)).select(_COLUMNS).filter(pl.col("changed_at") <= at)
    newest = rows.group_by("item_key").agg(pl.all().sort_by("sequence_number").last())
    found = newest.filter(pl.col("op") != "REMOVE").collect(engine="streaming")
    return found.height, int(found["new_image"].str.len_bytes().sum())


def spark(archive: Path, at_s: int) -> Answer:
    """Every row of the answer is made and then dropped; it is counted on its way."""
    from pyspark.sql import Observation, SparkSession  # noqa: PLC0415
    from pyspark.sql import functions as f  # noqa: PLC0415

    session = (
        SparkSession.builder.master(f"local[{THREADS}]")
        .config("spark.driver.memory", os.environ.get("DDBTRAIL_BENCH_SPARK_MEMORY", "4g"))
        .config("spark.driver.bindAddress", "127.0.0.1")
        .config("spark.driver.host", "127.0.0.1")
        .config("spark.ui.enabled", "false")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.sql.shuffle.partitions", str(2 * THREADS))
        .config("spark.local.dir", tempfile.gettempdir())
        .getOrCreate()
    )
    session.sparkContext.setLogLevel("ERROR")
    _STARTED.append(time.perf_counter())
    rows = session.read.parquet(*segment_files(archive)).select(*_COLUMNS)
    rows.createOrReplaceTempView("segments")
    found = session.sql(f"""
        SELECT item_key, new_image, changed_at, change_id FROM (
            SELECT *, row_number() OVER (PARTITION BY item_key ORDER BY sequence_number DESC) AS newest_first
            FROM segments WHERE changed_at <= timestamp_seconds({at_s})
        ) WHERE newest_first = 1 AND op <> 'REMOVE'""")
    counted = Observation()
    totals = [f.count(f.lit(1)).alias("items"), f.sum(f.octet_length("new_image")).alias("bytes")]
    found.observe(counted, *totals).write.format("noop").mode("overwrite").save()
    answer = counted.get
    # Before the session ends: its processes are measured.
    return answer["items"], answer["bytes"]


def delta(archive: Path, at_s: int) -> Answer:
    from deltalake import DeltaTable  # noqa: PLC0415

    notes = json.loads(_delta_notes(archive).read_text(encoding="utf-8"))
    merged = bisect_right(notes["hours_s"], at_s)
    if merged == 0 and at_s + 1 < notes["hours_s"][0]:
        raise RuntimeError("this table has no version for an instant before its first merge")
    table = DeltaTable(str(_delta_folder(archive)), version=notes["versions"][merged])
    columns = ["item_key", "new_image", "changed_at"]
    return _counted(table.to_pyarrow_dataset().to_batches(columns=columns), "new_image")


# --- the Delta Lake table ---


def keep_current(archive: Path, merges: int | None = None) -> dict[str, Any]:
    """Merges hour by hour into a new table beside the archive, as somebody would who wants the newest state there: all
    hours, or the last `merges` of them into what the others come to.

    What was merged is kept, since a version whose files are gone answers no more (no VACUUM). Seconds are those of the
    merges alone, reading each hour's segments included.
    """
    import pyarrow as pa  # noqa: PLC0415
    import pyarrow.parquet as pq  # noqa: PLC0415
    from deltalake import DeltaTable  # noqa: PLC0415

    folder = _delta_folder(archive)
    if folder.exists():
        raise RuntimeError(f"{folder} is there already")
    columns = ["item_key", "pk", "sk", "new_image", "changed_at", "sequence_number", "op"]
    files = segment_files(archive)
    by_hour: dict[str, list[str]] = {}
    for file in files:
        by_hour.setdefault(str(Path(file).parent), []).append(file)
    values = {name: f"source.{name}" for name in columns if name != "op"}
    hours = sorted(by_hour)
    merged = hours[-merges:] if merges else hours
    before = [file for hour in hours[: -len(merged)] for file in by_hour[hour]]
    _write_at_once(folder, before, columns[:-1], pq.read_schema(files[0]))
    table = DeltaTable(str(folder))
    versions: list[int] = [0]
    seconds: list[float] = []
    cpu = time.process_time()
    for number, hour in enumerate(merged):
        began = time.perf_counter()
        rows = pa.concat_tables([pq.read_table(file, columns=columns, partitioning=None) for file in by_hour[hour]])
        rows = _newest_of_each(rows)
        merge = table.merge(rows, "target.item_key = source.item_key", source_alias="source", target_alias="target")
        merge = merge.when_matched_delete("source.op = 'REMOVE'").when_matched_update(values)
        merge.when_not_matched_insert(values, "source.op <> 'REMOVE'").execute()
        seconds.append(time.perf_counter() - began)
        versions.append(table.version())
        if sys.stderr.isatty() and number % 20 == 0:
            print(f"\rmerging: {number} of {len(merged)} hours, {sum(seconds):.0f} s", end="", file=sys.stderr)
    live = table.get_add_actions(flatten=True)
    stored = [path for path in folder.rglob("*") if path.is_file()]
    logs = [path for path in stored if "_delta_log" in path.parts]
    made = {
        "merges": len(seconds),
        "hours": len(hours),
        "hours_s": [hour_s(f"{hour}/") for hour in merged],
        "versions": versions,
        "merge_s": sum(seconds),
        "merge_cpu_s": time.process_time() - cpu,
        "merge_last_s": statistics.median(seconds[-24:]),
        "files": len(stored) - len(logs),
        "bytes": sum(path.stat().st_size for path in stored if path not in set(logs)),
        "log_files": len(logs),
        "log_bytes": sum(path.stat().st_size for path in logs),
        "newest_files": len(table.file_uris()),
        "newest_bytes": sum(pa.table(live)["size_bytes"].to_pylist()),
        "segment_bytes": sum(map(os.path.getsize, files)),
        "peak_mb": _tree()["peak_mb"],
    }
    _delta_notes(archive).write_text(json.dumps(made), encoding="utf-8")
    return made


def _write_at_once(folder: Path, files: list[str], columns: list[str], schema: Any) -> None:
    """A new Delta table of the state after some segments: empty after none."""
    import pyarrow as pa  # noqa: PLC0415
    from deltalake import write_deltalake  # noqa: PLC0415

    if not files:
        write_deltalake(str(folder), pa.schema([schema.field(name) for name in columns]).empty_table())
        return
    query = f"""
        SELECT {", ".join(columns)} FROM (
            SELECT *, row_number() OVER (PARTITION BY item_key ORDER BY sequence_number DESC) AS newest_first
            FROM read_parquet($files)
        ) WHERE newest_first = 1 AND op <> 'REMOVE'"""
    found = _duckdb().sql(query, params={"files": files})
    write_deltalake(str(folder), found.to_arrow_reader(50_000))


def _newest_of_each(rows: Any) -> Any:
    """One row per item: a merge refuses two."""
    import pyarrow as pa  # noqa: PLC0415

    numbers = {key: number for number, key in enumerate(rows["item_key"].to_pylist())}  # in order: the last one stays
    return rows.take(pa.array(sorted(numbers.values())))


def _delta_folder(archive: Path) -> Path:
    named = os.environ.get("DDBTRAIL_BENCH_DELTA")
    return Path(named) if named else archive.parent / "delta"


def _delta_notes(archive: Path) -> Path:
    return _delta_folder(archive).with_suffix(".json")


# --- one measurement, in this process ---

# When a case was ready to be asked, if that is later than its beginning: a JVM takes seconds.
_STARTED: Final[list[float]] = []
CASES: Final[dict[str, Callable[[Path, int], Answer]]] = {
    case.__name__: case for case in (image_scan, as_of, as_of_compacted, window, polars, spark, delta)
}
_OF_PEERS: Final = ("spark", "delta")


def measure(name: str, archive: Path, at_s: int) -> dict[str, float]:
    """One case: what it found, wall and CPU seconds, peak resident memory of this process and those below it (MB).

    `start_s` is what passed before the first question could be asked, not contained in `wall_s`; CPU is of all.
    """
    began = time.perf_counter()
    items, image_bytes = CASES[name](archive, at_s)
    ended = time.perf_counter()
    ready = _STARTED[-1] if _STARTED else began
    return {"items": items, "image_bytes": image_bytes, "wall_s": ended - ready, "start_s": ready - began} | _tree()


def _tree() -> dict[str, float]:
    """CPU seconds and peak memory (MB) of this process and all below it, while they are alive."""
    parents: dict[int, list[int]] = {}
    for entry in os.listdir("/proc"):
        if entry.isdigit():
            try:
                fields = Path(f"/proc/{entry}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:
                continue  # it has ended
            parents.setdefault(int(fields[1]), []).append(int(entry))
    found, waiting = [], [os.getpid()]
    while waiting:
        found.append(waiting.pop())
        waiting += parents.get(found[-1], [])
    cpu_s = peak_kb = 0.0
    for pid in found:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        cpu_s += (int(fields[11]) + int(fields[12])) / _CLOCK_TICKS
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
        peak_kb += next((int(line.split()[1]) for line in status if line.startswith("VmHWM")), 0)
    return {"cpu_s": cpu_s, "peak_mb": peak_kb / 1024}


def _duckdb() -> Any:
    import duckdb  # noqa: PLC0415

    return duckdb.connect(config={"threads": THREADS, "preserve_insertion_order": "false"})


def _counted(batches: Iterator[Any], column: str) -> Answer:
    from pyarrow import compute  # noqa: PLC0415

    items = image_bytes = 0
    for batch in batches:
        items += batch.num_rows
        image_bytes += compute.sum(compute.binary_length(batch.column(column))).as_py() or 0
    return items, image_bytes


# --- all of them ---


def run(archive: Path | None = None, cases: tuple[str, ...] = tuple(CASES)) -> dict[str, Any]:
    """Each case at each instant, as medians; what cannot run here is named with the reason."""
    archive = archive or _made()
    results: dict[str, Any] = {"archive": str(archive), "load": os.getloadavg()[0], "missing": {}, "cases": {}}
    at = instants(archive)
    wanted = [case for case in cases if case not in _OF_PEERS or Path(_PEERS_PYTHON).exists()]
    results["missing"] = {case: f"no {_PEERS_PYTHON}: make bench-peers" for case in cases if case not in wanted}
    if "delta" in wanted:
        if not _delta_notes(archive).exists():
            _in_process(_PEERS_PYTHON, "keep_current", archive, 0)
        results["delta"] = json.loads(_delta_notes(archive).read_text(encoding="utf-8"))
        del results["delta"]["versions"], results["delta"]["hours_s"]
    with ExitStack() as kept:
        compacted = kept.enter_context(_compacted(archive)) if "as_of_compacted" in wanted else archive
        turns = _turns(archive, compacted, wanted, at, results["missing"])
    for name, figures in turns.items():
        results["cases"][name] = {figure: statistics.median(turn[figure] for turn in figures) for figure in figures[0]}
    results["agree"] = {instant: _agree(results["cases"], instant) for instant in at}
    return results


def _turns(
    archive: Path, compacted: Path, wanted: list[str], at: dict[str, int], missing: dict[str, str]
) -> dict[str, list[dict[str, float]]]:
    turns: dict[str, list[dict[str, float]]] = {}
    for _ in range(REPETITIONS):
        for instant, at_s in at.items():
            for case in wanted:
                if case == "image_scan" and instant != "newest":
                    continue
                python = _PEERS_PYTHON if case in _OF_PEERS else sys.executable
                try:
                    asked = compacted if case == "as_of_compacted" else archive
                    found = _in_process(python, case, asked, at_s)
                except RuntimeError as error:
                    missing[f"{case} {instant}"] = str(error).strip().rpartition("\n")[2]
                    continue
                turns.setdefault(f"{case} {instant}", []).append(found)
    return turns


@contextmanager
def _compacted(archive: Path) -> Iterator[Path]:
    from benchmarks.compacting import compact, linked  # noqa: PLC0415

    with linked(archive, with_seals=True) as copy:
        compact(copy)
        yield copy


def _made() -> Path:
    from benchmarks.long_trail import make  # noqa: PLC0415

    changes = int(os.environ.get("DDBTRAIL_BENCH_CHANGES", "1000000"))
    return make(Path(tempfile.gettempdir()) / f"ddbtrail-bench-90-days-{changes}", changes, 90)


def _in_process(python: str, case: str, archive: Path, at_s: int) -> dict[str, float]:
    command = [python, "-m", "benchmarks.peers", "--measure", case, str(archive), str(at_s)]
    done = subprocess.run(command, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-3000:])
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _agree(cases: dict[str, Any], instant: str) -> bool:
    answers = {
        (figures["items"], figures["image_bytes"])
        for name, figures in cases.items()
        if name.endswith(instant) and not name.startswith("image_scan")
    }
    return len(answers) <= 1


def report(results: dict[str, Any]) -> str:
    """The results as text."""
    lines = [
        f"state of the whole table, {results['archive']}; load before: {results['load']:.1f}",
        f"{'case':22}{'wall s':>9}{'CPU s':>9}{'start s':>9}{'peak MB':>9}{'items':>12}{'image bytes':>15}",
    ]
    for name, figures in results["cases"].items():
        lines.append(
            f"{name:22}{figures['wall_s']:9.2f}{figures['cpu_s']:9.2f}{figures['start_s']:9.2f}"
            f"{figures['peak_mb']:9.0f}{figures['items']:12,.0f}{figures['image_bytes']:15,.0f}"
        )
    lines += [f"{instant}: answers {'agree' if same else 'DIFFER'}" for instant, same in results["agree"].items()]
    lines += [f"{case}: not measured, {why}" for case, why in results["missing"].items()]
    if "delta" in results:
        kept = results["delta"]
        lines.append(
            f"delta kept current: {kept['merges']} of {kept['hours']} hours merged, {kept['merge_s']:.0f} s wall,"
            f" {kept['merge_cpu_s']:.0f} s CPU, {kept['merge_last_s']:.2f} s a merge at the end,"
            f" {kept['peak_mb']:.0f} MB"
        )
        lines.append(
            f"  stored {kept['bytes'] / 1e6:,.0f} MB in {kept['files']:,} files,"
            f" log {kept['log_bytes'] / 1e6:,.0f} MB in {kept['log_files']:,};"
            f" newest version {kept['newest_bytes'] / 1e6:,.1f} MB in"
            f" {kept['newest_files']:,}; the segments {kept['segment_bytes'] / 1e6:,.0f} MB"
        )
    return "\n".join(lines)


def _main(arguments: list[str]) -> None:
    if arguments[:1] == ["--measure"]:
        _, name, archive, at_s = arguments
        if name == "keep_current":
            print(json.dumps(keep_current(Path(archive), int(os.environ.get("DDBTRAIL_BENCH_MERGES", "0")) or None)))
        else:
            print(json.dumps(measure(name, Path(archive), int(at_s))))
        return
    archive, *cases = arguments
    print(report(run(Path(archive), tuple(cases) or tuple(CASES))))


if __name__ == "__main__":
    _main(sys.argv[1:])
