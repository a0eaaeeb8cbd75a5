"""Which files a question reads, and why: planned as data, before anything is fetched. Pure.

Invariant: a plan leaves a file out only where no row of it can change the answer.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

from archiver.format.layout import HOUR_MS, hour_of
from query.catalog import Evidence, SegmentFile
from query.derived.live import LiveRun
from query.descriptions import Baseline
from query.selection import Selection
from query.source import StoredObject

# Creation times of one item may step back. With a floor, hours this close to either end of what is read are read too.
CLOCK_MARGIN_MS: Final = 2 * HOUR_MS


@dataclass(frozen=True, slots=True)
class PlannedFile:
    """A file to be read: how many bytes of it, the reason, whether it is sealed (None in a trail without seals), and in
    how many requests.
    """

    name: str
    size_bytes: int
    reason: str
    is_sealed: bool | None = None
    requests: int = 1


@dataclass(frozen=True, slots=True)
class ReadPlan:
    """What a question reads. `total_files` is what the trail holds, so that the share is seen."""

    question: str
    files: tuple[PlannedFile, ...]
    total_files: int
    steps: tuple[str, ...] = ()

    @property
    def size_bytes(self) -> int:
        return sum(file.size_bytes for file in self.files)

    @property
    def unsealed(self) -> int:
        """How many of the files are not sealed yet; 0 in a trail without seals."""
        return sum(file.is_sealed is False for file in self.files)

    def as_dict(self) -> dict[str, Any]:
        """The plan as plain data, for `--explain -o json`."""
        return {
            "question": self.question,
            "files": [asdict(file) for file in self.files],
            "files_read": len(self.files),
            "files_total": self.total_files,
            "requests": sum(file.requests for file in self.files),
            "bytes": self.size_bytes,
            "steps": list(self.steps),
        }


@dataclass(frozen=True, slots=True)
class StatePlan:
    """The evidence that a question about a state reads: segments, and the baselines on both sides of the instant.
    `is_narrowed`: hours were left out, which changes no answer if the table had one stream only and all is known.
    """

    selection: Selection
    floor: Baseline | None
    ceiling: Baseline | None
    read: ReadPlan
    is_narrowed: bool = False

    @property
    def segments(self) -> tuple[SegmentFile, ...]:
        return self.selection.segments

    @property
    def runs(self) -> tuple[LiveRun, ...]:
        return self.selection.runs


def plan_state(
    evidence: Evidence, question: str, *, at_ms: int, is_cut: bool, tells_absences_apart: bool = False
) -> StatePlan:
    """The plan for the state at an instant, or at a cut whose change was made at `at_ms` (epoch ms).

    Without a floor, later changes tell of the moment before them, so everything is read, but only narrow columns and
    the rows that win. With one, nothing long before the floor or after the instant is, unless a second stream
    label makes gaps possible, or the answer has to tell an item that was deleted from one that never was
    (`tells_absences_apart`): that may rest on any change before the floor. Where it then turns out that there was
    another label, or that something is not known, the plan is `widened`.
    """
    floor, ceiling = neighbours(evidence.baselines, at_ms, is_cut=is_cut)
    # Inside the interval of a baseline, a change that comes later may say that it shows nothing of its item.
    is_past = floor is not None and floor.description.to_ms + CLOCK_MARGIN_MS <= at_ms
    is_of_one_stream = floor is not None and floor.description.stream_label and len(evidence.streams) <= 1
    if floor is None or not is_past or not is_of_one_stream or is_cut or tells_absences_apart:
        return _state_plan(evidence, question, Selection(evidence.segments, evidence.runs), floor, ceiling, at_ms)
    since_ms = hour_of(floor.description.from_ms - CLOCK_MARGIN_MS)
    until_ms = hour_of(at_ms + CLOCK_MARGIN_MS)
    newest_ms = max((segment.place.hour_ms for segment in newest_hour(evidence.segments)), default=0)
    segments = tuple(
        segment
        for segment in evidence.segments
        if since_ms <= segment.place.hour_ms <= until_ms or segment.place.hour_ms == newest_ms
    )
    runs = tuple(run for run in evidence.runs if run.last_ms >= since_ms and run.first_ms < until_ms + HOUR_MS)
    return _state_plan(evidence, question, Selection(segments, runs), floor, ceiling, at_ms, is_narrowed=True)


def widened(evidence: Evidence, plan: StatePlan, at_ms: int) -> StatePlan:
    """The same without leaving anything out."""
    everything = Selection(evidence.segments, evidence.runs)
    return _state_plan(evidence, plan.read.question, everything, plan.floor, plan.ceiling, at_ms)


def _state_plan(
    evidence: Evidence,
    question: str,
    selection: Selection,
    floor: Baseline | None,
    ceiling: Baseline | None,
    at_ms: int,
    *,
    is_narrowed: bool = False,
) -> StatePlan:
    steps = [
        "find the last change of each item at or before the instant, and the first one after it, in narrow columns"
    ]
    if is_narrowed:
        steps.append("leave out hours before the floor and after the instant")
    steps.append("read the images of the winning rows only")
    files = [
        *_run_files(selection.runs),
        *_segment_files(selection.segments, at_ms),
        *_baseline_files(floor, "floor"),
        *_baseline_files(ceiling, "ceiling"),
    ]
    total = _total(evidence) + sum(len(baseline.parts) for baseline in evidence.baselines)
    read = ReadPlan(question, tuple(files), total, tuple(steps))
    return StatePlan(selection, floor, ceiling, read, is_narrowed=is_narrowed)


def newest_hour(segments: Sequence[SegmentFile]) -> tuple[SegmentFile, ...]:
    """The segments of the newest hour that there is: they tell which stream is the last one."""
    newest_ms = max((segment.place.hour_ms for segment in segments), default=0)
    return tuple(segment for segment in segments if segment.place.hour_ms == newest_ms)


def plan_changes(evidence: Evidence, question: str, chosen: Selection) -> ReadPlan:
    """The plan for all changes of a selection."""
    files = [_planned(one.stored, "changes of this hour", one.is_sealed) for one in chosen.segments]
    files = [*_run_files(chosen.runs), *files]
    return ReadPlan(question, tuple(files), _total(evidence), ("read every row of these hours, remove duplicates",))


def plan_item(evidence: Evidence, question: str, parts: Iterable[PlannedFile] | None) -> ReadPlan:
    """The plan for the changes of an item or a collection: `parts` say what is read of runs, None that they are read
    whole. Any segment beside them can tell of it.
    """
    read = [*(_run_files(evidence.runs) if parts is None else parts)]
    read += [_planned(one.stored, "not in a run", one.is_sealed) for one in evidence.segments]
    steps = ("read the row groups that may hold it, and every segment beside the runs, remove duplicates",)
    return ReadPlan(question, tuple(read), _total(evidence), steps)


def changes_between(evidence: Evidence, since_ms: int | None, until_ms: int | None) -> Selection:
    """The segments beside the runs, and the runs, that can hold a change in a half-open range (epoch ms)."""
    runs = tuple(
        run
        for run in evidence.runs
        if (since_ms is None or run.last_ms >= since_ms) and (until_ms is None or run.first_ms < until_ms)
    )
    return Selection(segments_between(evidence.segments, since_ms, until_ms), runs)


def segments_between(
    segments: Iterable[SegmentFile], since_ms: int | None, until_ms: int | None
) -> tuple[SegmentFile, ...]:
    """The segments whose hour can hold a change in the range. Exact, since a segment holds one hour of `changed_at`."""
    return tuple(
        segment
        for segment in segments
        if (since_ms is None or segment.place.hour_ms + HOUR_MS > since_ms)
        and (until_ms is None or segment.place.hour_ms < until_ms)
    )


def _total(evidence: Evidence) -> int:
    return len(evidence.segments) + sum(len(run.parts) for run in evidence.runs)


def _run_files(runs: Iterable[LiveRun]) -> list[PlannedFile]:
    return [_planned(part, "a run of sealed changes", is_sealed=True) for run in runs for part in run.parts]


def neighbours(baselines: Sequence[Baseline], at_ms: int, *, is_cut: bool) -> tuple[Baseline | None, Baseline | None]:
    """The complete baselines on both sides of an instant, or before a cut."""
    complete = [baseline for baseline in baselines if baseline.description.complete]
    if is_cut:
        before = [baseline for baseline in complete if baseline.description.to_ms < at_ms]
        after: list[Baseline] = []
    else:
        before = [baseline for baseline in complete if baseline.description.from_ms <= at_ms]
        after = [baseline for baseline in complete if baseline.description.from_ms > at_ms]
    return (
        max(before, key=lambda one: (one.description.from_ms, one.description.to_ms), default=None),
        min(after, key=lambda one: (one.description.from_ms, one.description.to_ms), default=None),
    )


def _segment_files(segments: Iterable[SegmentFile], at_ms: int) -> list[PlannedFile]:
    return [
        _planned(
            segment.stored,
            "changes up to the instant" if segment.place.hour_ms <= at_ms else "what later changes say of the past",
            segment.is_sealed,
        )
        for segment in segments
    ]


def _baseline_files(baseline: Baseline | None, role: str) -> list[PlannedFile]:
    if baseline is None:
        return []
    return [_planned(part, f"baseline, the {role} of the instant", baseline.is_sealed) for part in baseline.parts]


def _planned(stored: StoredObject, reason: str, is_sealed: bool | None) -> PlannedFile:
    return PlannedFile(stored.name, stored.size_bytes, reason, is_sealed)
