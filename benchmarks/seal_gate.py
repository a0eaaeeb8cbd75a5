"""What it costs to read only what was sealed: the same questions with seals and without, in turns, as ratios.

    first      a process of its own: the archive opened, one question asked. The log is read whole ("new"), or continued
               from what the cache remembers of it ("known")
    later      the next questions of the same process, asked of the same table: digests are remembered
    log        reading a log of 10,000 seals and 100,000 segments, alone

The trail is that of `reading`, of a million changes in 2,160 hourly segments; its log has a seal every quarter of an
hour, 8,640 in all. The seals are made here and signed by nobody: no key is pinned.
"""

import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from hashlib import sha256
from pathlib import Path
from typing import Any, Final

from archiver.format.layout import HOUR_MS, SegmentName, Trail, stream_name
from archiver.format.log_entry import BaselineEntry, IntervalEntry, LogEntry, OpenEntry, SegmentEntry, entry_leaf
from archiver.format.merkle import CompactRange
from archiver.format.note import Checkpoint, NoteSignature, SignedNote
from archiver.format.seal import Seal, origin_of, seal_digest
from benchmarks.dataset import HOURS, LABEL, START_MS, TRAIL, make
from benchmarks.reading import NEWEST_S, THREADS

SEALS_PER_HOUR: Final = 4
REPETITIONS: Final = int(os.environ.get("DDBTRAIL_BENCH_REPETITIONS", "7"))
LATER: Final = 7  # questions of each kind after the first one
LOG_SEALS: Final = 10_000
LOG_SEGMENTS: Final = 10  # in each seal
KINDS: Final = ("history", "as_of")
LOOKS: Final = ("none", "new", "known")  # at seals: no look, the whole log, what follows the known part of it


# --- what is read ---


def seal_trail(folder: Path) -> None:
    """Seals everything in the trail of `benchmarks.dataset`, a seal every quarter of an hour; once a folder."""
    root = folder / TRAIL.prefix
    if (root / "seals").exists():
        return
    baseline = next(root.glob("baselines/*/baseline.json"))
    first: list[LogEntry] = [
        OpenEntry(LABEL, _digest(root / stream_name(LABEL))),
        BaselineEntry(baseline.relative_to(root).as_posix(), _digest(baseline)),
    ]
    of_hour = {
        SegmentName.parse(path.relative_to(root).as_posix()).hour_ms: path
        for path in root.glob("segments/*/*/*.parquet")
    }
    log = _Log(root, TRAIL)
    for hour in range(HOURS):
        path = of_hour[START_MS + hour * HOUR_MS]
        place = SegmentName.parse(path.relative_to(root).as_posix())
        for quarter in range(SEALS_PER_HOUR):
            entries = [] if quarter else [*first, _entry(place, _digest(path), path.stat().st_size)]
            log.seal(entries, START_MS + hour * HOUR_MS + quarter * HOUR_MS // SEALS_PER_HOUR)
        first = []


def make_log(folder: Path) -> Path:
    """A log of 10,000 seals and 100,000 segments, and none of the segments; once a folder."""
    root = folder / TRAIL.prefix
    if not (root / "seals").exists():
        log = _Log(root, TRAIL)
        for number in range(LOG_SEALS):
            start_ms = START_MS + number * HOUR_MS // SEALS_PER_HOUR
            places = [
                SegmentName(
                    start_ms // HOUR_MS * HOUR_MS,
                    f"{number * LOG_SEGMENTS + position:040d}",
                    sha256(f"{number} {position}".encode()).hexdigest(),
                )
                for position in range(LOG_SEGMENTS)
            ]
            log.seal([_entry(place, place.root, 1000) for place in places], start_ms)
    return folder


class _Log:
    """Writes seals into a trail's folder."""

    def __init__(self, root: Path, trail: Trail) -> None:
        self._root, self._trail = root, trail
        self._after = CompactRange()
        self._previous: str | None = None
        self._notice: int | None = None
        (root / "seals").mkdir(parents=True)

    def seal(self, entries: list[LogEntry], from_ms: int) -> None:
        before, to_ms = self._after, from_ms + HOUR_MS // SEALS_PER_HOUR
        everything = (*entries, IntervalEntry(from_ms, to_ms, to_ms, self._notice))
        for entry in everything:
            self._after = self._after.append(entry_leaf(entry))
        origin = origin_of(self._trail)
        text = Checkpoint(origin, self._after.size, self._after.root).text
        note = SignedNote(text, (NoteSignature(origin, b"none", bytes(64)),))
        seal = Seal(before.size, self._previous, everything, self._after, note)
        content = seal.compose()
        (self._root / seal.name).write_bytes(content)
        self._previous = seal_digest(content)
        if any(isinstance(entry, OpenEntry) for entry in entries):
            self._notice = before.size


def _entry(place: SegmentName, digest: str, size_bytes: int) -> SegmentEntry:
    return SegmentEntry(
        path=place.compose(),
        stream_label=LABEL,
        file_sha256=digest,
        bytes=size_bytes,
        records=1,
        root=place.root,
        first_sequence=place.first_sequence,
        last_sequence=place.first_sequence,
        first_changed_at_ms=place.hour_ms,
        last_changed_at_ms=place.hour_ms,
        writer="benchmark",
    )


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()


# --- what is measured, each in a process of its own ---


def measure(kind: str, look: str, folder: Path, cache: Path) -> dict[str, float]:
    """Wall and CPU seconds of the first question of a process."""
    if look == "new":
        shutil.rmtree(cache, ignore_errors=True)
    started = _now()
    _ask(kind, _open(look, folder, cache))
    wall, cpu = _since(started)
    return {"wall_s": wall, "cpu_s": cpu}


def measure_later(kind: str, folder: Path, cache: Path) -> dict[str, float]:
    """Wall and CPU seconds of later questions of a process, with seals and without in turns, and the median ratios."""
    tables = {look: _open(look, folder, cache) for look in ("none", "known")}
    for table in tables.values():
        _ask(kind, table)
    taken: dict[str, list[tuple[float, float]]] = {look: [] for look in tables}
    for turn in range(LATER):
        for look in (*tables,) if turn % 2 else (*reversed(tables),):
            started = _now()
            _ask(kind, tables[look])
            taken[look].append(_since(started))
    pairs = list(zip(taken["known"], taken["none"], strict=True))
    return {
        "wall_s": statistics.median(wall for wall, _ in taken["none"]),
        "cpu_s": statistics.median(cpu for _, cpu in taken["none"]),
        "sealed_wall_s": statistics.median(wall for wall, _ in taken["known"]),
        "sealed_cpu_s": statistics.median(cpu for _, cpu in taken["known"]),
        "wall_ratio": statistics.median(one[0] / other[0] for one, other in pairs),
        "cpu_ratio": statistics.median(one[1] / other[1] for one, other in pairs),
    }


def _open(look: str, folder: Path, cache: Path) -> Any:
    import query  # noqa: PLC0415
    from query import rows  # noqa: PLC0415
    from query.source import Access  # noqa: PLC0415

    rows._KEPT_BYTES = 0  # noqa: SLF001  the rows of a small trail would be kept, and no file be looked at again
    access = Access(cache_dir=cache)
    return query.open(str(folder), threads=THREADS, access=access, check_seals=look != "none").table("orders")


def _ask(kind: str, table: Any) -> None:
    if kind == "history":
        assert len(table.item("CUST#77", "ORDER#000000777").history()) > 0
    else:
        state = table.as_of(f"@{NEWEST_S}")
        assert sum(batch.num_rows for batch in state._states.existing_batches()) > 0  # noqa: SLF001
        state.close()


def measure_log(look: str, folder: Path, cache: Path) -> dict[str, float]:
    """Wall and CPU seconds, and memory in MB, of reading one log."""
    import resource  # noqa: PLC0415

    from query.seal_log import read_log  # noqa: PLC0415
    from query.sealed import SealReader  # noqa: PLC0415
    from query.source import FolderSource  # noqa: PLC0415

    source = FolderSource(folder)
    if look == "new":
        shutil.rmtree(cache, ignore_errors=True)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = _now()
    if look == "strict":
        assert read_log(source, TRAIL).size > 0
    else:
        sealed = SealReader(source, folder=cache).read(TRAIL)
        assert sealed is not None
        assert len(sealed.segments) == LOG_SEALS * LOG_SEGMENTS
    wall, cpu = _since(started)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return {"wall_s": wall, "cpu_s": cpu, "memory_mb": memory / 1024}


def _now() -> tuple[float, float]:
    return time.perf_counter(), time.process_time()


def _since(started: tuple[float, float]) -> tuple[float, float]:
    wall, cpu = _now()
    return wall - started[0], cpu - started[1]


# --- turns ---


def run(changes: int | None = None) -> dict[str, Any]:
    """Medians of each case, and of the ratios with seals to without, turn by turn."""
    changes = changes or int(os.environ.get("DDBTRAIL_BENCH_SEALED_CHANGES", "1000000"))
    base = Path(tempfile.gettempdir())
    folder, log = base / f"ddbtrail-bench-sealed-{changes}", base / "ddbtrail-bench-log"
    make(folder, changes)
    seal_trail(folder)
    make_log(log)
    turns: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as temporary:
        cache = Path(temporary, "cache")
        for _ in range(REPETITIONS):
            for kind in KINDS:
                for look in LOOKS:  # in this order: what is known, the case before has written down
                    turns.setdefault(f"{kind} {look}", []).append(_in_a_process(kind, look, folder, cache))
                turns.setdefault(f"{kind} later", []).append(_in_a_process(kind, "later", folder, cache))
            for look in ("strict", "new", "known"):
                turns.setdefault(f"log {look}", []).append(_in_a_process("log", look, log, cache))
    for name in [name for name in turns if name.endswith(("new", "known")) and not name.startswith("log")]:
        without = turns[f"{name.partition(' ')[0]} none"]
        for one, other in zip(turns[name], without, strict=True):
            one |= {
                "wall_ratio": one["wall_s"] / other["wall_s"],
                "cpu_ratio": one["cpu_s"] / other["cpu_s"],
            }
    return {"changes": changes, "medians": {name: _medians(results) for name, results in turns.items()}}


def _medians(results: list[dict[str, float]]) -> dict[str, float]:
    return {figure: statistics.median(turn[figure] for turn in results) for figure in results[0]}


def _in_a_process(kind: str, look: str, folder: Path, cache: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.seal_gate", kind, look, str(folder), str(cache)]
    found: dict[str, float] = json.loads(subprocess.run(command, check=True, capture_output=True).stdout)
    return found


def report(results: dict[str, Any]) -> str:
    """The results as text."""
    lines = [
        f"questions on {results['changes']:,} changes, {HOURS * SEALS_PER_HOUR:,} seals; a log of {LOG_SEALS:,} seals"
    ]
    for name, figures in results["medians"].items():
        lines.append(f"{name:16}" + "  ".join(f"{figure} {value:.3f}" for figure, value in figures.items()))
    return "\n".join(lines)


def _measured(kind: str, look: str, folder: Path, cache: Path) -> dict[str, float]:
    if kind == "log":
        return measure_log(look, folder, cache)
    return measure_later(kind, folder, cache) if look == "later" else measure(kind, look, folder, cache)


if __name__ == "__main__":
    print(json.dumps(_measured(sys.argv[1], sys.argv[2], Path(sys.argv[3]), Path(sys.argv[4]))))
