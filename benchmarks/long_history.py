"""History of one item over a thousand days of hourly seals, from an S3 that answers after 30 ms.

A hot item (10,000 changes), an ordinary one (10) and a rare one (3), each

    cold       with nothing cached
    indexes    with `run.json` and `.idx` of the runs cached, and nothing else
    warm       with everything cached that the cold question left behind

Each in a process of its own, from before the archive is opened until the last change is there as an object, the package
imported before (what it imports when it needs it is not). The server counts (`benchmarks.latency`): requests by
operation and bytes of bodies; it runs beside the reader on the same machine. The reader's clock stands five minutes
after the last seal.

With runs, which `compact` makes of the whole trail at once: a month each, and days and hours at the end; for the
smallest size also without. Sizes in changes: DDBTRAIL_BENCH_LONG, 1 and 10 million by default.
`python -m benchmarks.long_history FOLDER CHANGES` takes a folder that `benchmarks.long_trail` made and asks it as it
is, with or without runs.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any, Final

from benchmarks.compacting import compact, linked
from benchmarks.latency import BUCKET, Server, environment, serving
from benchmarks.long_trail import DAYS, Shape, make

SIZES: Final = tuple(int(size) for size in os.environ.get("DDBTRAIL_BENCH_LONG", "1000000,10000000").split(","))
REPETITIONS: Final = int(os.environ.get("DDBTRAIL_BENCH_REPETITIONS", "3"))
_AFTER_MS: Final = 5 * 60_000


def measure(cache: str, now_ms: str, pk: str, sk: str) -> dict[str, float]:
    """One question in this process."""
    import resource  # noqa: PLC0415
    import time  # noqa: PLC0415

    from query.cli.lean import leave_out_pandas  # noqa: PLC0415

    leave_out_pandas()  # whoever installs ddbtrail has none; here it is, since the tests need it
    import duckdb  # noqa: F401, PLC0415  before the clock starts
    import obstore  # noqa: F401, PLC0415

    import query  # noqa: PLC0415
    from query.source import Access  # noqa: PLC0415

    url, opened = f"s3://{BUCKET}", query.open
    access = Access(endpoint_url=os.environ["AWS_ENDPOINT_URL"], cache_dir=Path(cache))
    derived = {"derived_url": url} if os.environ.get("DDBTRAIL_BENCH_DERIVED") else {}
    began, cpu = time.perf_counter(), time.process_time()
    archive = opened(url, access=access, now_ms=lambda: int(now_ms), **derived)
    found = archive.table("orders").item(pk, sk).history()
    return {
        "changes": len(found),
        "wall_s": time.perf_counter() - began,
        "cpu_s": time.process_time() - cpu,
        "peak_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def run() -> dict[str, Any]:
    """All questions, about trails of several sizes."""
    figures: dict[str, Any] = {"load": os.getloadavg()[0]}
    for changes in SIZES:
        archive = make(Path(tempfile.gettempdir()) / f"ddbtrail-bench-long-{changes}", changes)
        if changes == min(SIZES):
            figures[f"{changes:,} changes, no runs"] = _of_archive(archive, Shape(changes), repetitions=1)
        with linked(archive, with_seals=True) as copy:
            compact(copy)
            figures[f"{changes:,} changes"] = _of_archive(copy, Shape(changes))
    return figures


def run_on(folder: Path, changes: int) -> dict[str, Any]:
    """All questions about one trail as it is."""
    shape = Shape(changes, _days(folder, changes))
    return {"load": os.getloadavg()[0], f"{changes:,} changes": _of_archive(folder / "archive", shape)}


def _days(folder: Path, changes: int) -> int:
    """How many days a trail that is there already has."""
    return int(next(folder.glob(f"made-{changes}-*"), Path(f"-{DAYS}")).name.rpartition("-")[2])


def _of_archive(archive: Path, shape: Shape, repetitions: int = REPETITIONS) -> dict[str, Any]:
    found: dict[str, Any] = {"runs": len(list(archive.glob("v1/*/*/*/runs/*/*/run.json")))}
    has_runs = found["runs"] > 0
    with serving(archive) as server, tempfile.TemporaryDirectory() as temporary:
        for kind, key in shape.example_keys().items():
            turns: dict[str, list[dict[str, Any]]] = {}
            for turn in range(repetitions):
                cold, indexes = (Path(temporary, f"{kind}-{turn}-{state}") for state in ("cold", "indexes"))
                turns.setdefault("cold", []).append(_asked(server, cold, shape, key, has_runs=has_runs))
                if has_runs:
                    _keep_indexes(cold, indexes)
                    turns.setdefault("indexes", []).append(_asked(server, indexes, shape, key, has_runs=has_runs))
                turns.setdefault("warm", []).append(_asked(server, cold, shape, key, has_runs=has_runs))
                shutil.rmtree(cold, ignore_errors=True)
                shutil.rmtree(indexes, ignore_errors=True)
            for state, results in turns.items():
                found[f"{kind}, {state}"] = _medians(results)
    return found


def _asked(server: Server, cache: Path, shape: Shape, key: tuple[str, str], *, has_runs: bool) -> dict[str, Any]:
    now_ms = str(shape.end_ms + _AFTER_MS)
    command = [sys.executable, "-m", "benchmarks.long_history", "--measure", str(cache), now_ms, *key]
    chosen = {"DDBTRAIL_BENCH_DERIVED": "1"} if has_runs else {}
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DDBTRAIL_"))}
    server.take()
    done = subprocess.run(command, env=inherited | environment(server) | chosen, capture_output=True, check=False)
    if done.returncode:
        raise RuntimeError(done.stderr.decode()[-3000:])
    counts = server.take()
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures | {
        "requests": counts.total,
        "bytes": counts.sent_bytes,
        "most_at_once": counts.most_at_once,
        "operations": counts.requests,
    }


def _keep_indexes(source: Path, target: Path) -> None:
    """Copies what a reader keeps of runs in general, without their rows."""
    for path in source.rglob("*"):
        if path.is_file() and (path.name == "run.json" or path.suffix == ".idx"):
            copy = target / path.relative_to(source)
            copy.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, copy)


def _medians(results: list[dict[str, Any]]) -> dict[str, Any]:
    figures = {
        name: statistics.median(result[name] for result in results) for name in results[0] if name != "operations"
    }
    return figures | {"operations": results[-1]["operations"]}


def report(figures: dict[str, Any]) -> str:
    lines = [f"history of one item over {DAYS} days, 30 ms an answer; load before: {figures['load']:.1f}"]
    for name, found in figures.items():
        if not isinstance(found, dict):
            continue
        lines.append(f"{name}; {found['runs']} runs")
        lines.append(
            f"  {'':18}{'wall s':>8}{'CPU s':>8}{'MB':>9}{'requests':>10}{'at once':>9}{'peak MB':>9}{'found':>8}"
        )
        for case, figure in found.items():
            if not isinstance(figure, dict):
                continue
            operations = ", ".join(
                f"{count:,} {operation}" for operation, count in sorted(figure["operations"].items())
            )
            lines.append(
                f"  {case:18}{figure['wall_s']:8.2f}{figure['cpu_s']:8.2f}{figure['bytes'] / 1e6:9.2f}"
                f"{figure['requests']:10,.0f}{figure['most_at_once']:9.0f}{figure['peak_mb']:9.0f}"
                f"{figure['changes']:8,.0f}  {operations}"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(measure(*sys.argv[2:6])))
    else:
        print(report(run_on(Path(sys.argv[1]), int(sys.argv[2])) if len(sys.argv) == 3 else run()))
