"""`compact`: how fast, in how much memory, and how many bytes it writes for one byte of segments.

    at once    a trail that never had runs, compacted by one command: every month that is over becomes one run
    hourly     the same trail, sealed hour by hour and compacted after each seal, as it is in operation: every change is
               written into a run of its hour, then of its day, then of its month. Nothing is collected, so what lies
               there in the end is what was written. The command runs in one process, so its start is not counted

Changes: DDBTRAIL_BENCH_COMPACT (1 million) in 62 days of hourly seals. `python -m benchmarks.compacting FOLDER [CASE…]`
takes a folder that `benchmarks.long_trail` made, and does not write there: the evidence is linked into a new folder.
"""

import io
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any, Final

from benchmarks.dataset import TRAIL
from benchmarks.long_trail import make
from benchmarks.peers import _tree

DAYS: Final = 62
MEMORY: Final = os.environ.get("DDBTRAIL_BENCH_MEMORY", "4GB")
_LEVELS: Final = ((4, "hour"), (50, "day"))  # by entries: a segment and an interval an hour, two notices in the first


@contextmanager
def linked(archive: Path, *, with_seals: bool) -> Iterator[Path]:
    """The evidence of an archive under another folder beside it, so that runs can be made there and thrown away."""
    with tempfile.TemporaryDirectory(dir=archive.parent) as temporary:
        for name in ("streams", "baselines", "segments", *(("seals",) if with_seals else ())):
            for path in (archive / TRAIL.prefix / name).rglob("*"):
                if path.is_file():
                    target = temporary / path.relative_to(archive)
                    target.parent.mkdir(parents=True, exist_ok=True)
                    os.link(path, target)
        (Path(temporary) / TRAIL.prefix / "seals").mkdir(exist_ok=True)
        yield Path(temporary)


def at_once(archive: Path) -> dict[str, Any]:
    with linked(archive, with_seals=True) as copy:
        began = time.perf_counter()
        compact(copy)
        return _found(copy, time.perf_counter() - began)


def hourly(archive: Path) -> dict[str, Any]:
    seals = sorted((archive / TRAIL.prefix / "seals").iterdir())
    seconds = []
    with linked(archive, with_seals=False) as copy:
        for number, seal in enumerate(seals):
            os.link(seal, copy / TRAIL.prefix / "seals" / seal.name)
            began = time.perf_counter()
            compact(copy)
            seconds.append(time.perf_counter() - began)
            if sys.stderr.isatty() and number % 24 == 0:
                print(f"\rcompacting: day {number // 24} of {len(seals) // 24}", end="", file=sys.stderr)
        ordered = sorted(seconds)
        more = {"pass_s": ordered[len(ordered) // 2], "longest_pass_s": ordered[-1], "passes": len(seconds)}
        return _found(copy, sum(seconds)) | more


CASES: Final[dict[str, Callable[[Path], dict[str, Any]]]] = {case.__name__: case for case in (at_once, hourly)}


def compact(archive: Path) -> None:
    """`ddbtrail compact`, in this process."""
    from query.cli import run as ddbtrail  # noqa: PLC0415

    told = io.StringIO()
    with redirect_stdout(told), redirect_stderr(told):
        code = ddbtrail(["compact", "orders", "-a", str(archive), "--memory", MEMORY])
    if code:
        raise RuntimeError(told.getvalue()[-2000:])


def _found(archive: Path, wall_s: float) -> dict[str, Any]:
    trail = archive / TRAIL.prefix
    levels: dict[str, dict[str, int]] = {}
    for path in sorted(trail.glob("runs/*/*/run.json")):
        described = json.loads(path.read_bytes())
        entries = described["to"] - described["from"]
        level = next((name for most, name in _LEVELS if entries <= most), "month")
        counted = levels.setdefault(level, {"runs": 0, "rows": 0, "bytes": 0})
        counted["runs"] += 1
        counted["rows"] += described["rows"]
        counted["bytes"] += sum(file.stat().st_size for file in path.parent.iterdir())
    for folder in trail.glob("snapshots/*/*"):  # a table as it is, not a rewriting of changes: not among the rows
        counted = levels.setdefault("snapshot", {"runs": 0, "rows": 0, "bytes": 0})
        counted["runs"] += 1
        counted["bytes"] += sum(file.stat().st_size for file in folder.iterdir())
    segment_bytes = sum(path.stat().st_size for path in trail.glob("segments/*/*/*.parquet"))
    return {"wall_s": wall_s, "levels": levels, "segment_bytes": segment_bytes} | _tree()


def run(archive: Path | None = None, cases: tuple[str, ...] = tuple(CASES)) -> dict[str, Any]:
    changes = int(os.environ.get("DDBTRAIL_BENCH_COMPACT", "1000000"))
    archive = archive or make(Path(tempfile.gettempdir()) / f"ddbtrail-bench-compact-{changes}", changes, DAYS)
    figures: dict[str, Any] = {"archive": str(archive), "load": os.getloadavg()[0]}
    for case in cases:
        command = [sys.executable, "-m", "benchmarks.compacting", "--measure", case, str(archive)]
        done = subprocess.run(command, capture_output=True, check=False)
        if done.returncode:
            raise RuntimeError(done.stderr.decode()[-3000:])
        figures[case] = json.loads(done.stdout.splitlines()[-1])
    return figures


def report(figures: dict[str, Any]) -> str:
    lines = [f"compaction of {figures['archive']}, {MEMORY}; load before: {figures['load']:.1f}"]
    for case, found in figures.items():
        if not isinstance(found, dict):
            continue
        levels = found["levels"].values()
        rows, written = (sum(level[name] for level in levels) for name in ("rows", "bytes"))
        lines.append(
            f"{case}: {found['wall_s']:.1f} s wall, {found['cpu_s']:.1f} s CPU, {found['peak_mb']:.0f} MB;"
            f" {rows:,} rows written, {rows / found['wall_s']:,.0f} a second and {rows / found['cpu_s']:,.0f} a CPU"
            f" second; {written / 1e6:,.1f} MB written, {written / found['segment_bytes']:.2f} x the segments"
        )
        if "passes" in found:
            lines.append(
                f"  {found['passes']:,} passes, median {found['pass_s']:.3f} s, longest {found['longest_pass_s']:.2f} s"
            )
        lines += [
            f"  {name:9}{level['runs']:6,} {level['rows']:12,} rows {level['bytes'] / 1e6:10,.1f} MB"
            for name, level in found["levels"].items()
        ]
    return "\n".join(lines)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--measure"]:
        print(json.dumps(CASES[sys.argv[2]](Path(sys.argv[3]))))
    else:
        folder = Path(sys.argv[1])
        chosen = tuple(sys.argv[2:]) or tuple(CASES)
        print(report(run(folder / "archive" if (folder / "archive").is_dir() else folder, chosen)))
