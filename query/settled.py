"""The state of a whole table layer by layer, the newest first, each item with its image: the road where a change
arrived late or a clock stepped back, and that of snapshots, which have every item ever known.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal

from query.answer import State
from query.conflicts import Conflict
from query.coverage import Coverage
from query.derived.live import LiveRun
from query.engine import Question
from query.layers import LayerPlan
from query.rows import Reader
from query.source import StoredObject
from query.state import state_of

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, slots=True)
class _Layer:
    """A layer that tells of items: the files of a run or a snapshot, or what the question has read (`relation`)."""

    kind: Literal["run", "snapshot"] | None = None
    relation: str = ""
    parts: tuple[StoredObject, ...] = ()
    digests: tuple[str, ...] = ()


class Settled:
    """The items of a table at an instant, all that is told of them in the relation `settled`. Close it."""

    unknown: Final = 0
    conflicts: tuple[Conflict, ...] = ()

    def __init__(self, question: Question, coverage: Coverage, count: int) -> None:
        self._question = question
        self.coverage = coverage
        self.count = count

    def close(self) -> None:
        self._question.close()

    def existing(self, *, with_guesses: bool = False) -> Iterator[State]:
        """The items that existed, in order of item key. Nothing is guessed here."""
        for batch in self.existing_batches(with_guesses=with_guesses):
            yield from (state_of(**row) for row in batch.to_pylist())

    def existing_batches(
        self,
        *,
        with_guesses: bool = False,  # noqa: ARG002  nothing is guessed
        in_order: bool = True,  # noqa: ARG002  it always is
    ) -> "Iterator[pa.RecordBatch]":
        """The same as Arrow batches, with the columns of `answers.sql`."""
        return self._question.batches("existing_settled")


def settle_in_turn(question: Question, reader: Reader, plan: LayerPlan, coverage: Coverage) -> Settled | None:
    """The table at the instant of a plan whose segments are the relation `changes`; None if order does not tell."""
    road = _InTurn(question, reader, plan)
    if not road.settle_all() or _is_overtaken(question, reader, plan):
        return None
    count, untold = question.rows("settled_told")[0]
    return None if untold else Settled(question, coverage, count)


class _InTurn:
    """Makes the relation `settled`, layer by layer."""

    def __init__(self, question: Question, reader: Reader, plan: LayerPlan) -> None:
        self._question = question
        self._reader = reader
        self._plan = plan
        self._has_layers = False

    def settle_all(self) -> bool:
        """False where order alone does not tell."""
        question, plan = self._question, self._plan
        if plan.segments.segments and not self._settle(_Layer(relation="segments")):
            return False
        for run in plan.runs:
            digests = tuple(part.file.sha256 for part in run.description.parts)
            if not self._settle(_Layer("run", parts=run.parts, digests=digests)):
                return False
        if plan.snapshot is not None:
            if self._has_layers and question.rows("settled_before_floor")[0][0]:
                return False
            digests = tuple(part.file.sha256 for part in plan.snapshot.description.parts)
            return self._settle(_Layer("snapshot", parts=plan.snapshot.parts, digests=digests))
        self._reader.read_baseline(question, "floor", plan.floor)
        if self._has_layers:
            question.run("settled_by_floor")
        return self._settle(_Layer(relation="floor"))

    def _settle(self, layer: _Layer) -> bool:
        question = self._question
        if layer.kind is not None:
            self._reader.layer(question, layer.kind, layer.parts, layer.digests)
        else:
            question.run(f"layer_of_{layer.relation}")
        if not self._has_layers:
            question.run("settled")
            self._has_layers = True
            return True
        added, later, tied = question.rows("layer_told")[0]
        if tied and contradict(question, self._reader, [row[0] for row in question.rows("layer_tied")]):
            return False
        if later:
            question.run("layer_later")
        if added:
            question.run("settle")
        return True


def contradict(question: Question, reader: Reader, item_keys: Sequence[str]) -> bool:
    """Whether rows anywhere in the trail tell of some items differently."""
    with question.beside() as beside:
        reader.read(beside)
        return bool(beside.rows("conflicts_of_items", {"item_keys": list(item_keys)})[0][0])


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
