"""The state of a whole table by places: one statement finds where the row stands that tells of each item last, and only
those rows are read. Orchestrates the statements; the rules are those of `docs/answers.md`.

Layers are told apart by rank, the newest first, and an item's least place is its answer where no older layer has a
later change of it. What could break that is bounded by what files say of themselves: only items beyond those bounds are
looked at one by one.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate, islice
from typing import TYPE_CHECKING, Any, Final

from query.answer import State
from query.conflicts import Conflict
from query.coverage import Coverage
from query.derived.description import Span
from query.derived.live import LiveRun
from query.engine import Question
from query.gate import EvidenceFile, Kind
from query.layers import LayerPlan
from query.rows import Reader
from query.settled import contradict
from query.state import state_of

if TYPE_CHECKING:
    import pyarrow as pa

    from query.parquet_rows import RowsWanted

_LONG_AGO_MS: Final = -(1 << 62)
_EVER_MS: Final = 1 << 62


class OutOfOrderError(Exception):
    """An older layer has a later change of some item after all: layers have to be settled in turn."""


@dataclass(frozen=True, slots=True)
class _Bounds:
    """The ends of what a layer tells, in order (label and sequence number as one text) and in time (epoch ms)."""

    first: str
    last: str
    first_ms: int
    last_ms: int

    @classmethod
    def of(cls, spans: Sequence[Span]) -> "_Bounds":
        return cls(
            min(f"{span.stream_label} {span.first_sequence}" for span in spans),
            max(f"{span.stream_label} {span.last_sequence}" for span in spans),
            min(span.first_ms for span in spans),
            max(span.last_ms for span in spans),
        )


@dataclass(frozen=True, slots=True)
class _Layer:
    """Files that tell of items, the first with this rank. `bounds`: None where nothing has a place in the order;
    `is_cut`: not all that it tells was so at the instant.
    """

    kind: Kind
    files: tuple[EvidenceFile, ...]
    rank: int
    bounds: _Bounds | None
    is_cut: bool = False

    @property
    def ranks(self) -> range:
        return range(self.rank, self.rank + len(self.files))


class Placed:
    """The items of a table at an instant, each as the place of its row. Close it."""

    unknown: Final = 0
    conflicts: tuple[Conflict, ...] = ()

    def __init__(self, question: Question, coverage: Coverage, layers: Sequence[_Layer]) -> None:
        self._question = question
        self._layers = layers
        self._counts: dict[int, int] = dict(question.rows("placed_files"))
        self.coverage = coverage
        self.count = sum(self._counts.values())

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
        in_order: bool = True,
    ) -> "Iterator[pa.RecordBatch]":
        """The same as Arrow batches, with the columns of `answers.sql`; without order they come as they are read."""
        if not in_order:
            yield from self._batches()
            return
        from query.answer_rows import ANSWER_SCHEMA  # noqa: PLC0415

        # The rows are wanted before: no statement can be run while another one reads them.
        with self._question.reading("existing", ANSWER_SCHEMA, self._of_files(self._wanted())):
            yield from self._question.batches("existing_in_order")

    def _batches(self) -> "Iterator[pa.RecordBatch]":
        yield from self._of_files(self._wanted())
        yield from self._question.batches("placed_in_segments")

    def _of_files(self, wanted: "Sequence[RowsWanted]") -> "Iterator[pa.RecordBatch]":
        from query.answer_rows import answers_of  # noqa: PLC0415  Arrow takes its time
        from query.parquet_rows import rows_of  # noqa: PLC0415

        for one, table in rows_of(wanted, self._question.threads):
            yield from answers_of(one.kind, table)

    def _wanted(self) -> "list[RowsWanted]":
        from query.answer_rows import COLUMNS  # noqa: PLC0415
        from query.parquet_rows import RowsWanted  # noqa: PLC0415

        rows = self._question.arrow("placed_rows").column("row").combine_chunks()
        counts = {rank: count for rank, count in self._counts.items() if rank}
        starts = dict(zip(counts, accumulate(counts.values(), initial=0), strict=False))
        return [
            RowsWanted(file, layer.kind, rows.slice(starts[rank], counts[rank]), COLUMNS[layer.kind])
            for layer in self._layers
            for rank, file in zip(layer.ranks, layer.files, strict=True)
            if rank in counts
        ]


def place(question: Question, reader: Reader, plan: LayerPlan, coverage: Coverage) -> Placed | None:
    """The table at the instant of a plan whose segments are the relation `changes`; None where order does not tell.

    Raises OutOfOrderError where order tells, but not the order of layers.
    """
    covering = coverage.covering(plan.at_ms)
    question.set("layers", {"at_ms": plan.at_ms, "from_ms": _LONG_AGO_MS})
    question.run("told_of_segments")
    *bounds, labels = question.rows("segments_bounds")[0]
    segments = _Bounds(*bounds) if labels else None
    layers = _layers(question, reader, plan)
    if not _is_in_order(question, reader, plan, segments, layers):
        return None
    question.set("layers", {"at_ms": plan.at_ms, "from_ms": plan.floor_ms})
    _choose(question, layers)
    question.run("placed")
    question.run("existing_in_segments")
    spans = [span for run in plan.runs for span in run.description.spans]
    spans += () if plan.snapshot is None else plan.snapshot.description.spans
    has_others = {*labels, *(span.stream_label for span in spans)} != {covering}
    if has_others and question.rows("placed_by_others", {"covering_label": covering})[0][0]:
        return None
    return Placed(question, coverage, layers)


def _layers(question: Question, reader: Reader, plan: LayerPlan) -> list[_Layer]:
    """The layers below the segments, with files that were checked, the newest first."""
    layers: list[_Layer] = []

    def add(kind: Kind, files: Sequence[EvidenceFile], bounds: _Bounds | None, *, is_cut: bool = False) -> None:
        rank = layers[-1].ranks.stop if layers else 1
        layers.append(_Layer(kind, tuple(files), rank, bounds, is_cut))

    runs = [run for run in plan.runs if run.first_ms <= plan.at_ms]
    for run, files in zip(runs, _files(question, reader, runs), strict=True):
        bounds = _Bounds.of(run.description.spans)
        is_cut = bounds.last_ms > plan.at_ms or bounds.first_ms < plan.floor_ms or run.description.repeats > 0
        add("run", files, bounds, is_cut=is_cut)
    if plan.snapshot is not None:
        digests = [part.file.sha256 for part in plan.snapshot.description.parts]
        files = reader.derived_files(question, "snapshot", plan.snapshot.parts, digests)
        spans = plan.snapshot.description.spans
        add("snapshot", files, _Bounds.of(spans) if spans else None)
    else:
        add("baseline", reader.read_baseline(question, "floor", plan.floor), None)
    return layers


def _files(question: Question, reader: Reader, runs: Sequence[LiveRun]) -> list[list[EvidenceFile]]:
    """The parts of each run, all checked at once."""
    parts = [part for run in runs for part in run.parts]
    digests = [part.file.sha256 for run in runs for part in run.description.parts]
    files = iter(reader.derived_files(question, "run", parts, digests))
    return [list(islice(files, len(run.parts))) for run in runs]


def _choose(question: Question, layers: Sequence[_Layer]) -> None:
    """Makes these layers, and the segments, the relation `told`."""
    runs = [layer for layer in layers if layer.kind == "run" and layer.files]
    whole, cut = ([layer for layer in runs if layer.is_cut is is_cut] for is_cut in (False, True))
    for name, chosen in (("whole", whole), ("cut", cut)):
        if chosen:
            _set_files(question, name, chosen)
            question.run(f"told_of_{name}_runs")
    has = {(True, True): "both", (True, False): "whole", (False, True): "cut", (False, False): "none"}
    question.run(f"told_of_runs_{has[bool(whole), bool(cut)]}")
    below = [layer for layer in layers if layer.kind != "run" and layer.files]
    if below:
        _set_files(question, "below", below)
    question.run(f"told_below_by_{below[0].kind if below else 'nothing'}")
    question.run("told")


def _set_files(question: Question, name: str, layers: Sequence[_Layer]) -> None:
    question.set(f"{name}_files", [str(file.path) for layer in layers for file in layer.files])
    question.set(f"{name}_ranks", [rank for layer in layers for rank in layer.ranks])


# --- what could break the order of layers ---


def _is_in_order(
    question: Question, reader: Reader, plan: LayerPlan, segments: _Bounds | None, layers: Sequence[_Layer]
) -> bool:
    """Whether the newest layer that tells of an item tells its last change, and no change after the instant stands
    before one at or before it. False where rows contradict each other or a clock stepped back across the instant.

    Raises OutOfOrderError.
    """
    wary, newer_from = _wary(segments, layers)
    following, others_to = _following(segments, plan, layers)
    if not wary and not following:
        return True
    question.set("newer_from", newer_from)
    question.set("others_to", others_to)
    if following:
        files = [file for files in _files(question, reader, following) for file in files]
        question.set("following_files", [str(file.path) for file in files])
    question.run("following" if following else "following_nothing")
    _choose(question, wary)
    question.run("suspects")
    if not question.rows("suspects_count")[0][0]:
        return True
    _choose(question, [layer for layer in layers if layer.bounds is not None])
    question.run("told_of_suspects")
    later, overtaken, tied = question.rows("suspects_told")[0]
    if overtaken or (tied and contradict(question, reader, tied)):
        return False
    if later:
        raise OutOfOrderError
    return True


def _wary(segments: _Bounds | None, layers: Sequence[_Layer]) -> tuple[list[_Layer], list[dict[str, Any]]]:
    """The layers that may have a later change than a newer one, and by rank the first change of all newer layers."""
    first, first_ms = ("~", _EVER_MS) if segments is None else (segments.first, segments.first_ms)
    wary, newer_from = [], [{"ord": "~", "ms": _EVER_MS}]
    for layer in layers:
        newer_from += [{"ord": first, "ms": first_ms}] * len(layer.files)
        if layer.bounds is not None:
            if layer.bounds.last >= first or layer.bounds.last_ms > first_ms:
                wary.append(layer)
            first, first_ms = min(first, layer.bounds.first), min(first_ms, layer.bounds.first_ms)
    return wary, newer_from


def _following(segments: _Bounds | None, plan: LayerPlan, layers: Sequence[_Layer]) -> tuple[list[LiveRun], str]:
    """The runs with changes after the instant that may stand before one of another layer, and the last of those."""
    bounds = [segments, *(layer.bounds for layer in layers)]
    following, others_to = [], ""
    for run in plan.runs:
        own = _Bounds.of(run.description.spans)
        last = max((one.last for one in bounds if one is not None and one != own), default="")
        if run.last_ms > plan.at_ms and last >= own.first:
            following.append(run)
            others_to = max(others_to, last)
    return following, others_to
