"""The state of a whole table from runs, the newest read first: what a newer run tells of an item settles it, and of
older ones only what is left is read. Orchestrates the statements; the rules are those of `docs/answers.md`.

Invariant: where the answer needs more than the greatest order for each item (gaps, several tables, contradictions,
images that were not carried, clocks that stepped back across the instant), nothing is answered here, and `query.state`
does, which reads every fact.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
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
from query.source import StoredObject
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


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer that settled `items`, all that it tells of or only some; the digests of its files, none for what the
    question has read.
    """

    number: int
    kind: str
    parts: tuple[StoredObject, ...] = ()
    digests: tuple[str, ...] = ()
    items: int = 0
    are_all: bool = False


class Settled:
    """The items of a table at an instant, each settled by one layer. Close it."""

    unknown: Final = 0

    def __init__(
        self, question: Question, reader: Reader, coverage: Coverage, count: int, layers: Sequence[_Layer] | None
    ) -> None:
        self._question = question
        self._reader = reader
        self._layers = layers  # None: the relation `settled` holds all there is to tell
        self.coverage = coverage
        self.conflicts: tuple[Conflict, ...] = ()
        self.count = count

    def close(self) -> None:
        self._question.close()

    def existing(self, *, with_guesses: bool = False) -> Iterator[State]:
        """The items that existed, in order of item key. Nothing is guessed here."""
        for batch in self.existing_batches(with_guesses=with_guesses):
            yield from (state_of(**row) for row in batch.to_pylist())

    def existing_batches(self, *, with_guesses: bool = False, in_order: bool = True) -> "Iterator[pa.RecordBatch]":
        """The same as Arrow batches, with the columns of `answers.sql`; without order they come as they are read."""
        del with_guesses
        if self._layers is None:
            yield from self._question.batches("existing_settled")
        elif not in_order:
            for layer in self._told():
                yield from self._question.batches(_statement("existing", "of_layer", layer))
        else:
            for layer in self._told():
                if layer.number == self._layers[0].number:
                    self._question.run("existing_found")
                self._question.run(_statement("existing_add", "", layer))
            yield from self._question.batches("existing_in_order")

    def _told(self) -> Iterator[_Layer]:
        """The layers, each as the relation `layer`; the first always, others where anything rests on them."""
        for place, layer in enumerate(self._layers or ()):
            if layer.items or not place:
                _read(self._question, self._reader, layer)
                yield layer


def _statement(name: str, of: str, layer: _Layer) -> str:
    """The statement for a layer, of which all items are to be told or only some."""
    return "_".join(filter(None, (name, "" if layer.are_all else "left", of)))


def _read(question: Question, reader: Reader, layer: _Layer) -> None:
    question.set("layer_number", layer.number)
    if layer.parts or layer.kind == "run":
        reader.layer(question, layer.kind, layer.parts, layer.digests)
    else:
        question.run(f"layer_of_{layer.kind}")


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

    `is_whole`: the relation `settled` has every item ever known with its image, also those that were gone before the
    baseline.
    """
    if any(run.description.contradictions or run.description.imageless for run in plan.runs):
        return None
    reader.read(question, plan.segments)
    spans = merged_spans(question, evidence.runs, has_segments=bool(plan.segments.segments))
    coverage = coverage_of(spans, evidence.streams, [baseline.description for baseline in evidence.baselines])
    covering = coverage.covering(plan.at_ms)
    if covering is None or coverage.ends or plan.floor.description.stream_label != covering:
        return None
    floor_ms = plan.floor.description.from_ms
    # A change may bear an earlier time than one before it, of another run: what is too old is seen when all are merged.
    from_ms = _LONG_AGO_MS if is_whole else floor_ms - CLOCK_MARGIN_MS
    question.set("layers", {"at_ms": plan.at_ms, "from_ms": from_ms, "floor_ms": floor_ms, "covering_label": covering})
    if plan.segments.segments and any(question.rows("segments_told")[0]):
        return None
    if not is_whole:
        keys = _Settling(question, reader, plan, "_keys")
        if keys.settle_all():
            count, untold = question.rows("settled_keys_told")[0]
            return None if untold else Settled(question, reader, coverage, count, keys.layers)
        if not keys.is_out_of_order:
            return None
        question.run("drop_settled")
    # Images are carried along where some layer's items have to be put right.
    if not _Settling(question, reader, plan, "").settle_all():
        return None
    count, untold = question.rows("settled_told")[0]
    return None if untold else Settled(question, reader, coverage, count, None)


class _Settling:
    """Makes the relation `settled`, layer by layer: with keys and order alone, or with all that is told of an item."""

    def __init__(self, question: Question, reader: Reader, plan: LayerPlan, form: str) -> None:
        self._question = question
        self._reader = reader
        self._plan = plan
        self._form = form
        self.layers: list[_Layer] = []
        self.is_out_of_order = False

    def settle_all(self) -> bool:
        """False where this way does not tell: order alone is not enough, or (`is_out_of_order`) keys alone are not."""
        question, plan = self._question, self._plan
        if plan.segments.segments and not self._settle(_Layer(0, "segments")):
            return False
        for run in plan.runs:
            digests = tuple(part.file.sha256 for part in run.description.parts)
            if not self._settle(_Layer(len(self.layers), "run", run.parts, digests)):
                return False
        if self.layers and self._form and question.rows("settled_before_floor")[0][0]:
            question.run("settled_keys_after_floor")
            self.layers = [replace(layer, are_all=False) for layer in self.layers]
        if plan.snapshot is not None:
            if self.layers and not self._form and question.rows("settled_before_floor")[0][0]:
                return False
            digests = tuple(part.file.sha256 for part in plan.snapshot.description.parts)
            below = _Layer(len(self.layers), "snapshot", plan.snapshot.parts, digests)
        else:
            self._reader.read_baseline(question, "floor", plan.floor)
            if self.layers and not self._form:
                question.run("settled_by_floor")
            below = _Layer(len(self.layers), "floor")
        return self._settle(below) and not _is_overtaken(question, self._reader, plan)

    def _settle(self, layer: _Layer) -> bool:
        question = self._question
        _read(question, self._reader, layer)
        if not self.layers:
            question.run(f"settled{self._form}")
            ((count,),) = question.rows("settled_count")
            self.layers.append(replace(layer, items=count, are_all=True))
            return True
        of, added, later, tied = question.rows("layer_told")[0]
        if tied and _contradict(question, self._reader):
            return False
        if later and self._form:
            self.is_out_of_order = True
            return False
        if later:
            question.run("layer_later")
        if added:
            question.run(f"settle{self._form}")
        self.layers.append(replace(layer, items=added, are_all=added == of))
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
