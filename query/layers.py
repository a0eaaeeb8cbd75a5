"""What is read for the state of a whole table where runs tell of it: planned as data, the newest layer first. Pure."""

from dataclasses import dataclass

from archiver.format.layout import HOUR_MS, hour_of
from query.catalog import Evidence
from query.derived.live import LiveRun, LiveSnapshot
from query.descriptions import Baseline
from query.plan import CLOCK_MARGIN_MS, PlannedFile, ReadPlan, newest_hour
from query.selection import Selection


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """The layers of a question: segments beside the runs, runs from the newest to the oldest, and what stands below
    them: a snapshot, or a complete baseline. `newest` are segments after the instant that tell whether another stream
    followed: then the one before ended.
    """

    at_ms: int
    segments: Selection
    newest: Selection
    runs: tuple[LiveRun, ...]
    snapshot: LiveSnapshot | None
    floor: Baseline
    read: ReadPlan

    @property
    def floor_ms(self) -> int:
        """When the baseline began (epoch ms): what was changed before it, and not since, it shows."""
        return self.floor.description.from_ms

    def is_cut(self, run: LiveRun) -> bool:
        """Whether not all that a run tells was so at the instant, or some of it came before the baseline."""
        return _is_cut(run, self.at_ms, self.floor_ms)


def plan_layers(
    evidence: Evidence,
    question: str,
    *,
    at_ms: int,
    floor: Baseline | None,
    snapshot: LiveSnapshot | None,
    is_whole: bool = False,
) -> LayerPlan | None:
    """What is read for the state at an instant (epoch ms); None where that is not the way. `floor` is the newest
    complete baseline at or before it, `snapshot` one that was made of that baseline, if there is any. `is_whole`: also
    what came long before the baseline.
    """
    if not evidence.runs or floor is None or floor.description.to_ms + CLOCK_MARGIN_MS > at_ms:
        return None
    until_ms = hour_of(at_ms + CLOCK_MARGIN_MS) + HOUR_MS
    since_ms = hour_of(floor.description.from_ms - CLOCK_MARGIN_MS)
    runs = [run for run in evidence.runs if (is_whole or run.last_ms >= since_ms) and run.first_ms < until_ms]
    if snapshot is not None:
        runs = [run for run in runs if run.name.end > snapshot.name.end or run.last_ms > snapshot.name.at_ms]
    segments = tuple(one for one in evidence.segments if one.place.hour_ms < until_ms)
    newest = newest_hour(evidence.segments)
    newest = () if newest and newest[0].place.hour_ms < until_ms else newest
    files = []
    for run in runs:
        files += [PlannedFile(part.name, part.size_bytes, "a run of sealed changes", True) for part in run.parts]
        if run.first_ms <= at_ms and not _is_cut(run, at_ms, floor.description.from_ms):
            files += _items(run)
    files += [PlannedFile(one.stored.name, one.stored.size_bytes, "not in a run", one.is_sealed) for one in segments]
    files += [
        PlannedFile(one.stored.name, one.stored.size_bytes, "which streams there are", one.is_sealed) for one in newest
    ]
    if snapshot is not None:
        files += [
            PlannedFile(one.name, one.size_bytes, "a snapshot before the instant", True) for one in snapshot.parts
        ]
        files += _items(snapshot)
    else:
        files += [
            PlannedFile(one.name, one.size_bytes, "baseline, the floor of the instant", floor.is_sealed)
            for one in floor.parts
        ]
    total = len(evidence.segments) + sum(2 * len(run.parts) for run in evidence.runs)
    steps = ("find the row that tells of each item last", "read the images of those rows")
    read = ReadPlan(question, tuple(files), total + sum(len(one.parts) for one in evidence.baselines), steps)
    return LayerPlan(at_ms, Selection(segments), Selection(newest), tuple(reversed(runs)), snapshot, floor, read)


def _is_cut(run: LiveRun, at_ms: int, floor_ms: int) -> bool:
    return run.last_ms > at_ms or run.first_ms < floor_ms


def _items(made: LiveRun | LiveSnapshot) -> list[PlannedFile]:
    return [PlannedFile(one.name, one.size_bytes, "which of its rows tell of items last", True) for one in made.items]
