"""The state of a whole table from runs, the newest read first: what a newer run tells of an item settles it, and of
older ones only what is left is read. Orchestrates the statements; the rules are those of `docs/answers.md`.

Invariant: where the answer needs more than the greatest order for each item (gaps, several tables, contradictions,
images that were not carried, clocks that stepped back across the instant), nothing is answered here, and `query.state`
does, which reads every fact.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from archiver.format.layout import HOUR_MS, hour_of
from query.answer import State
from query.catalog import Baseline, Evidence
from query.conflicts import Conflict
from query.coverage import Coverage, coverage_of
from query.derived.live import LiveRun, LiveSnapshot
from query.engine import Question
from query.plan import CLOCK_MARGIN_MS, PlannedFile, ReadPlan
from query.rows import Reader, merged_spans
from query.selection import Selection
from query.state import state_of

if TYPE_CHECKING:
    import pyarrow as pa

_LONG_AGO_MS: Final = -(1 << 62)


@dataclass(frozen=True, slots=True)
class LayerPlan:
    """The layers of a question: segments beside the runs, runs from the newest to the oldest, and what stands below
    them: a snapshot, or a complete baseline.
    """

    at_ms: int
    segments: Selection
    runs: tuple[LiveRun, ...]
    snapshot: LiveSnapshot | None
    floor: Baseline
    read: ReadPlan


class Settled:
    """The items of a table at an instant, each settled by one layer. Close it."""

    unknown: Final = 0

    def __init__(self, question: Question, coverage: Coverage, count: int) -> None:
        self.question = question
        self.coverage = coverage
        self.conflicts: tuple[Conflict, ...] = ()
        self.count = count

    def close(self) -> None:
        self.question.close()

    def existing(self, *, with_guesses: bool = False) -> Iterator[State]:
        """The items that existed, in order of item key. Nothing is guessed here."""
        for batch in self.existing_batches(with_guesses=with_guesses):
            yield from (state_of(**row) for row in batch.to_pylist())

    def existing_batches(self, *, with_guesses: bool = False, in_order: bool = True) -> "Iterator[pa.RecordBatch]":
        """The same as Arrow batches, with the columns of `answers.sql`."""
        del with_guesses
        return self.question.batches("existing_settled_in_order" if in_order else "existing_settled")


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
    files = [
        PlannedFile(part.name, part.size_bytes, "a run of sealed changes", True) for run in runs for part in run.parts
    ]
    files += [PlannedFile(one.stored.name, one.stored.size_bytes, "not in a run", one.is_sealed) for one in segments]
    if snapshot is not None:
        files += [
            PlannedFile(one.name, one.size_bytes, "a snapshot before the instant", True) for one in snapshot.parts
        ]
    else:
        files += [
            PlannedFile(one.name, one.size_bytes, "baseline, the floor of the instant", floor.is_sealed)
            for one in floor.parts
        ]
    total = len(evidence.segments) + sum(len(run.parts) for run in evidence.runs)
    steps = ("settle each item by the newest run that tells of it", "read of older runs only what is left")
    read = ReadPlan(question, tuple(files), total + sum(len(one.parts) for one in evidence.baselines), steps)
    return LayerPlan(at_ms, Selection(segments), tuple(reversed(runs)), snapshot, floor, read)


def settle(
    question: Question, reader: Reader, evidence: Evidence, plan: LayerPlan, *, is_whole: bool = False
) -> Settled | None:
    """The table at the instant of a plan; None if it cannot be told this way. Takes over `question`, unless None.

    `is_whole`: the relation `settled` has every item ever known, also those that were gone before the baseline.
    """
    if any(run.description.contradictions for run in plan.runs):
        return None
    reader.read(question, plan.segments)
    spans = merged_spans(question, evidence.runs, has_segments=bool(plan.segments.segments))
    coverage = coverage_of(spans, evidence.streams, [baseline.description for baseline in evidence.baselines])
    covering = coverage.covering(plan.at_ms)
    if covering is None or coverage.ends or plan.floor.description.stream_label != covering:
        return None
    floor_ms = plan.floor.description.from_ms
    from_ms = _LONG_AGO_MS if is_whole else floor_ms
    question.set("layers", {"at_ms": plan.at_ms, "from_ms": from_ms, "floor_ms": floor_ms, "covering_label": covering})
    if not _settle_all(question, reader, plan):
        return None
    count, untold = question.rows("settled_told")[0]
    return None if untold else Settled(question, coverage, count)


def _settle_all(question: Question, reader: Reader, plan: LayerPlan) -> bool:
    """Makes the relation `settled`, layer by layer; False where order alone does not tell."""
    settled = False
    if plan.segments.segments:
        if any(question.rows("segments_told")[0]):
            return False
        question.run("layer_of_segments")
        question.run("settled")
        settled = True
    for run in plan.runs:
        reader.layer(question, "run", run.parts, [part.file.sha256 for part in run.description.parts])
        if not _settle_layer(question, reader, is_first=not settled):
            return False
        settled = True
    if plan.snapshot is not None:
        if settled and question.rows("settled_before_floor")[0][0]:
            return False
        parts = plan.snapshot.description.parts
        reader.layer(question, "snapshot", plan.snapshot.parts, [part.file.sha256 for part in parts])
    else:
        reader.read_baseline(question, "floor", plan.floor)
        if settled:
            question.run("settled_by_floor")
        question.run("layer_of_floor")
    return _settle_layer(question, reader, is_first=not settled) and not _is_overtaken(question, reader, plan)


def _settle_layer(question: Question, reader: Reader, *, is_first: bool) -> bool:
    if is_first:
        question.run("settled")
        return True
    added, later, tied = question.rows("layer_told")[0]
    if tied and _contradict(question, reader):
        return False
    if later:
        question.run("layer_later")
    if added:
        question.run("settle")
    return True


def _contradict(question: Question, reader: Reader) -> bool:
    """Whether rows tell of items differently of which two layers tell the same change."""
    keys = [row[0] for row in question.rows("layer_tied")]
    with question.beside() as beside:
        reader.read(beside)
        return bool(beside.rows("conflicts_of_items", {"item_keys": keys})[0][0])


def _is_overtaken(question: Question, reader: Reader, plan: LayerPlan) -> bool:
    """Whether a change after the instant stands before one that settled an item: then a clock stepped back."""
    for place, run in enumerate(plan.runs):
        if run.last_ms <= plan.at_ms or _stands_apart(run, place, plan):
            continue
        reader.layer(question, "run", run.parts, [part.file.sha256 for part in run.description.parts])
        if question.rows("overtaken")[0][0]:
            return True
    return False


def _stands_apart(run: LiveRun, place: int, plan: LayerPlan) -> bool:
    """Whether every change of a run stands after those of all older runs, and nothing newer is at or before the
    instant. A snapshot has only changes of older runs.
    """
    first = min((span.stream_label, span.first_sequence) for span in run.description.spans)
    below = () if plan.snapshot is None else plan.snapshot.description.spans
    spans = [*below, *(span for one in plan.runs[place + 1 :] for span in one.description.spans)]
    newer: Sequence[LiveRun] = plan.runs[:place]
    is_newest = not plan.segments.segments and all(one.first_ms > plan.at_ms for one in newer)
    return is_newest and all((span.stream_label, span.last_sequence) < first for span in spans)
