"""`log --stat` over all changes of a table, beside the scan of the columns that it needs: each in a process of its own.

    scan       DuckDB, parts of runs: operation, time, changed attributes, user identity, and the identity of changes
    actor scan the same with the new images, out of which the actor is read
    stat       ddbtrail, no actor configured: the first question of the process, then the same twice more
    actor      ddbtrail, an actor configured at top level, likewise

By hand: `python -m benchmarks.stat ARCHIVE DERIVED`; the archive is one of `benchmarks.long_trail`, DERIVED a folder
that `ddbtrail compact` filled. DDBTRAIL_BENCH_REPETITIONS turns (3), of which medians are given.
"""

import json
import os
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from benchmarks.peers import REPETITIONS, THREADS, _duckdb

CASES: Final = ("scan", "actor scan", "stat", "actor")
ACTOR: Final = "updated_by"
_LATER: Final = 2


def measure(case: str, archive: Path, derived: Path) -> list[tuple[float, float]]:
    """What each question of one process took: wall and CPU seconds."""
    import query  # noqa: PLC0415
    from query.cli.lean import leave_out_pandas  # noqa: PLC0415

    leave_out_pandas()
    table = query.open(
        str(archive),
        threads=THREADS,
        derived_url=str(derived),
        actor_attribute={"orders": ACTOR} if case == "actor" else None,
    ).table("orders")
    files = [str(derived / one.name) for one in table.plan_changes(None, None).files if "/runs/" in one.name]

    def scan() -> None:
        images = ", sum(strlen(new_image))" if case == "actor scan" else ""
        text = f"""
            SELECT sum(strlen(op)), epoch_ms(max(changed_at)), sum(len(changed_attributes)), count(user_identity),
            sum(strlen(stream_label)), sum(strlen(sequence_number)), sum(strlen(item_key)){images}
            FROM read_parquet($files)
        """
        _duckdb().execute(text, {"files": files}).fetchall()

    def stat() -> None:
        table.stat()

    asked: Callable[[], None] = scan if "scan" in case else stat
    found = []
    for _ in range(1 if "scan" in case else 1 + _LATER):
        before, began = resource.getrusage(resource.RUSAGE_SELF), time.perf_counter()
        asked()
        after = resource.getrusage(resource.RUSAGE_SELF)
        cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        found.append((time.perf_counter() - began, cpu_s))
    return found


def _main(arguments: list[str]) -> None:
    if arguments[0] == "--measure":
        print(json.dumps(measure(arguments[1], Path(arguments[2]), Path(arguments[3]))))
        return
    turns: dict[str, list[tuple[float, float]]] = {}
    for _ in range(REPETITIONS):
        for case in CASES:
            command = [sys.executable, "-m", "benchmarks.stat", "--measure", case, *arguments]
            done = subprocess.run(command, capture_output=True, check=True, text=True)
            for number, took in enumerate(json.loads(done.stdout.splitlines()[-1]), 1):
                turns.setdefault(f"{case} {number}", []).append(took)
    medians = {
        name: [statistics.median(turn[part] for turn in found) for part in (0, 1)] for name, found in turns.items()
    }
    print(f"load: {os.getloadavg()[0]:.1f}\n{'case':16}{'wall s':>9}{'CPU s':>9}")
    for name, took in medians.items():
        scan = medians["actor scan 1" if "actor" in name else "scan 1"]
        ratios = [one / other for one, other in zip(took, scan, strict=True)]
        print(f"{name:16}{took[0]:9.2f}{took[1]:9.2f}  {ratios[0]:.2f} x wall, {ratios[1]:.2f} x CPU of the scan")


if __name__ == "__main__":
    _main(sys.argv[1:])
