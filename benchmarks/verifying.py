"""`verify` on archives of growing size: quick against sha256sum over the same files, full in records a second, memory.

    sha256sum      coreutils over the same segment files, one process
    quick          `ddbtrail verify --quick`, one worker: signatures, listing, digests of every file
    full           `ddbtrail verify --full`, one worker, and two: every leaf derived again, conflicts and image chain

Each in a process of its own; peak memory is of that process and its workers. Sizes in records:
DDBTRAIL_BENCH_VERIFY, 1 and 10 million by default.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, Final
from unittest.mock import patch

from archiver.format.layout import SegmentName
from archiver.format.log_entry import SegmentEntry
from archiver.unsealed import Unsealed
from benchmarks.dataset import TRAIL
from benchmarks.true_trail import make

SIZES: Final = tuple(int(size) for size in os.environ.get("DDBTRAIL_BENCH_VERIFY", "1000000,10000000").split(","))


def _sealed(folder: Path, changes: int) -> Path:
    """An archive of so many changes, sealed; the public key beside it.

    The sealer is told what is in the segments: that they are so is what is measured, and to look twice would take long.
    """
    from archiver import sealer  # noqa: PLC0415
    from archiver.signer import create_key, load_signer  # noqa: PLC0415
    from archiver.store import FolderStore  # noqa: PLC0415

    archive = folder / "archive"
    entries = make(archive, changes)

    class Told(Unsealed):
        def segment(self, place: SegmentName) -> SegmentEntry | None:
            return entries[place]

    create_key(folder / "key")
    with patch.object(sealer, "Unsealed", Told):
        sealer.Sealer(FolderStore(archive), TRAIL, load_signer(folder / "key")).seal(time.time_ns() // 1_000_000)
    return archive


def _measured(command: list[str]) -> dict[str, float]:
    """Wall and CPU seconds of a command and its children, and the peak memory of the largest of them (MB)."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, check=False)
    wall_s = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise RuntimeError(done.stdout.decode()[-2000:] + done.stderr.decode()[-2000:])
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"wall_s": wall_s, "cpu_s": cpu_s}


def _verify(archive: Path, level: str, threads: int) -> list[str]:
    main = (
        # Not RUSAGE_SELF: that remembers the process which this one was forked from.
        "import resource, sys; from query.cli import run; code = run(sys.argv[2:]); "
        "own = next(line.split()[1] for line in open('/proc/self/status') if line.startswith('VmHWM')); "
        "peak = [int(own), resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss]; "
        "print(peak, file=open(sys.argv[1], 'w')); sys.exit(code)"
    )
    given = ["-a", str(archive), "--pinned-key", str(archive.parent / "key.pub"), "--threads", str(threads)]
    peak = str(archive.parent / "peak.json")
    return [sys.executable, "-c", main, peak, "verify", "orders", *given, level, "-o", "json"]


def run() -> dict[str, Any]:
    figures: dict[str, Any] = {}
    for changes in SIZES:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            archive = _sealed(folder, changes)
            files = sorted(map(str, archive.glob(f"{TRAIL.prefix}segments/*/*/*.parquet")))
            size_bytes = sum(os.path.getsize(file) for file in files)
            listed = folder / "files"
            listed.write_text("\0".join(files))
            cases = {
                "sha256sum": ["sh", "-c", f"xargs -0 sha256sum <{listed}"],
                "quick, one worker": _verify(archive, "--quick", 1),
                "full, one worker": _verify(archive, "--full", 1),
                "full, two workers": _verify(archive, "--full", 2),
            }
            found: dict[str, Any] = {"size_bytes": size_bytes, "files": len(files)}
            for name, command in cases.items():
                found[name] = _measured(command)
                if "verify" in command:
                    found[name]["peak_mb"] = max(json.loads((folder / "peak.json").read_text())) / 1024
            figures[str(changes)] = found
    return figures


def report(figures: dict[str, Any]) -> str:
    lines = ["verify"]
    for changes, found in figures.items():
        sums = found["sha256sum"]["wall_s"]
        lines.append(f"{changes} records, {found['files']} files, {found['size_bytes'] / 1e6:.0f} MB")
        for name, figure in found.items():
            if not isinstance(figure, dict):
                continue
            rate = int(changes) / figure["cpu_s"]
            lines.append(
                f"  {name:20} {figure['wall_s']:8.1f} s wall {figure['cpu_s']:8.1f} s CPU "
                f"{figure['wall_s'] / sums:6.2f} x sha256sum {rate:10.0f} records/CPU s "
                f"{figure.get('peak_mb', 0):7.0f} MB"
            )
    return "\n".join(lines)
