"""What of the derived data nobody needs any more. Evidence is never looked at, let alone deleted.

Invariants: what the runs in use consist of stays; what was covered by a larger run stays for a while after that became
live, so that whoever has just chosen it can read it to its end; of a run its description goes first, so that nobody
begins to read what is going.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from archiver.format.layout import Trail
from query.derived.levels import cover
from query.derived.live import LiveRun, LiveSnapshot, read_run, read_snapshot, run_names, snapshot_names
from query.derived.names import RUNS, SNAPSHOTS, RunName
from query.derived.store import DerivedStore, Held
from query.source import Source

GRACE_MS: Final = 24 * 3_600_000


@dataclass(frozen=True, slots=True)
class Waste:
    """An object of derived data that may go: its full name, its size in bytes, and why."""

    name: str
    size_bytes: int
    why: str


def waste(derived: Source, store: DerivedStore, trail: Trail, *, now_ms: int, grace_ms: int = GRACE_MS) -> list[Waste]:
    """What may go by now, in the order in which it should."""
    held = store.held(trail.prefix + RUNS)
    live = {
        name: run
        for name in run_names(derived, trail)
        if (run := read_run(derived, trail, name, anew=True)) is not None
    }
    used = set(cover(sorted(live)))
    written = {one.name: one.written_ms for one in held}
    since = {name: written.get(trail.prefix + name.description, now_ms) for name in used}
    old_ms = now_ms - grace_ms
    covered = {
        name
        for name in live
        if name not in used and any(_holds(larger, name) and since[larger] <= old_ms for larger in used)
    }
    found = [_waste(one, live, covered, old_ms) for one in held]
    found += list(_of_snapshots(derived, store, trail, old_ms))
    gone = [one for one in found if one is not None]
    return sorted(gone, key=lambda one: (not one.name.endswith(".json"), one.name))


def _waste(one: Held, live: dict[RunName, LiveRun], covered: set[RunName], old_ms: int) -> Waste | None:
    run = next((run for name, run in live.items() if one.name.startswith(run.folder)), None)
    if run is not None and run.name in covered:
        return Waste(one.name, one.size_bytes, "a larger run covers it")
    if run is not None and one.name in _names(run):
        return None
    if one.written_ms > old_ms:
        return None  # somebody may be at work
    return Waste(one.name, one.size_bytes, "no run lists it")


def _of_snapshots(derived: Source, store: DerivedStore, trail: Trail, old_ms: int) -> Iterator[Waste]:
    named = snapshot_names(derived, trail)
    live = [found for name in named if (found := read_snapshot(derived, trail, name)) is not None]
    kept = {name for snapshot in live for name in _names_of_snapshot(snapshot)}
    for one in store.held(trail.prefix + SNAPSHOTS):
        if one.name not in kept and one.written_ms <= old_ms:
            yield Waste(one.name, one.size_bytes, "no snapshot lists it")


def _holds(larger: RunName, smaller: RunName) -> bool:
    return larger.start <= smaller.start and smaller.end <= larger.end


def _names(run: LiveRun) -> Sequence[str]:
    return [*(run.folder + file.name for file in run.description.files), run.folder + "run.json"]


def _names_of_snapshot(snapshot: LiveSnapshot) -> Sequence[str]:
    names = [snapshot.folder + file.name for file in snapshot.description.files]
    return [*names, snapshot.folder + "snapshot.json"]
