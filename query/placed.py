"""The state of a whole table by places: one statement finds where the row stands that tells of each item last, and only
those rows are read. Orchestrates the statements; the rules are those of `docs/answers.md`.

Layers are told apart by rank, the newest first, and an item's least place is its answer where no older layer has a
later change of it. What could break that is bounded by what files say of themselves: only items beyond those bounds are
looked at one by one. The places come from items files (`query.derived.items`); a part is fetched, and checked, only
where one of its rows is an answer, or the instant or the floor lies inside its run.
"""

from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from query.answer import State
from query.conflicts import Conflict
from query.coverage import Coverage
from query.derived.live import LiveRun
from query.engine import Question
from query.gate import EvidenceFile, Kind
from query.layer_files import Bounds, Layer, LayerFiles
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


# A file that was checked, and what it is.
_File = tuple[EvidenceFile, Kind]


class Placed:
    """The items of a table at an instant, each as the place of its row. Close it."""

    unknown: Final = 0
    conflicts: tuple[Conflict, ...] = ()

    def __init__(
        self, question: Question, coverage: Coverage, counts: Mapping[int, int], files: Mapping[int, _File]
    ) -> None:
        self._question = question
        self._counts = counts
        self._files = files
        self.coverage = coverage
        self.count = sum(counts.values())

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
            RowsWanted(file, kind, rows.slice(starts[rank], counts[rank]), COLUMNS[kind])
            for rank, (file, kind) in self._files.items()
        ]


def place(question: Question, reader: Reader, plan: LayerPlan, coverage: Coverage) -> Placed | None:
    """The table at the instant of a plan whose segments are the relation `changes`; None where order does not tell.

    Raises OutOfOrderError where order tells, but not the order of layers.
    """
    covering = coverage.covering(plan.at_ms)
    question.set("layers", {"at_ms": plan.at_ms, "from_ms": _LONG_AGO_MS})
    question.run("told_of_segments")
    *bounds, labels = question.rows("segments_bounds")[0]
    segments = Bounds(*bounds) if labels else None
    files = LayerFiles(question, reader, plan)
    if not _is_in_order(question, reader, plan, segments, files):
        return None
    question.set("layers", {"at_ms": plan.at_ms, "from_ms": plan.floor_ms})
    _locate(question, files)
    question.run("placed")
    question.run("existing_in_segments")
    spans = [span for run in plan.runs for span in run.description.spans]
    spans += () if plan.snapshot is None else plan.snapshot.description.spans
    if {*labels, *(span.stream_label for span in spans)} != {covering}:
        _tell(question, files, files.layers)
        if question.rows("placed_by_others", {"covering_label": covering})[0][0]:
            return None
    counts: dict[int, int] = dict(question.rows("placed_files"))
    found = files.parts(rank for rank in counts if rank)
    return Placed(question, coverage, counts, {rank: (file, files.kind(rank)) for rank, file in found.items()})


def _locate(question: Question, files: LayerFiles) -> None:
    """Makes where the layers, and the segments, tell of items the relation `located`."""
    told = [layer for layer in files.layers if layer.ranks]
    cut = [layer for layer in told if layer.is_cut]
    baseline = [layer for layer in told if layer.made is None]
    with_items = [layer for layer in told if layer.made is not None and not layer.is_cut]
    if cut:
        _set_files(question, "cut", files.parts(_ranks(cut)))
        question.run("told_of_cut_runs")
    if baseline:
        _set_files(question, "baseline", files.parts(_ranks(baseline)))
    if with_items:
        _set_files(question, "items", files.items(with_items))
    for name, is_there in (("items", with_items), ("cut_runs", cut), ("baseline", baseline)):
        question.run(f"located_in_{name}" if is_there else f"located_in_no_{name}")
    question.run("located")


def _tell(question: Question, files: LayerFiles, layers: Sequence[Layer]) -> None:
    """Makes what those of these layers that have a place in the order tell, and the segments, the relation `told`."""
    ordered = [layer for layer in layers if layer.bounds is not None and layer.ranks]
    runs = [layer for layer in ordered if layer.kind == "run"]
    whole, cut = ([layer for layer in runs if layer.is_cut is is_cut] for is_cut in (False, True))
    for name, chosen in (("whole", whole), ("cut", cut)):
        if chosen:
            _set_files(question, name, files.parts(_ranks(chosen)))
            question.run(f"told_of_{name}_runs")
    has = {(True, True): "both", (True, False): "whole", (False, True): "cut", (False, False): "none"}
    question.run(f"told_of_runs_{has[bool(whole), bool(cut)]}")
    snapshots = [layer for layer in ordered if layer.kind == "snapshot"]
    if snapshots:
        _set_files(question, "below", files.parts(_ranks(snapshots)))
    question.run(f"told_below_by_{'snapshot' if snapshots else 'nothing'}")
    question.run("told")


def _ranks(layers: Sequence[Layer]) -> list[int]:
    return [rank for layer in layers for rank in layer.ranks]


def _set_files(question: Question, name: str, files: Mapping[int, EvidenceFile]) -> None:
    """Files by rank, for a statement to read."""
    question.set(f"{name}_files", [str(file.path) for file in files.values()])
    question.set(f"{name}_ranks", list(files))


# --- what could break the order of layers ---


def _is_in_order(
    question: Question, reader: Reader, plan: LayerPlan, segments: Bounds | None, files: LayerFiles
) -> bool:
    """Whether the newest layer that tells of an item tells its last change, and no change after the instant stands
    before one at or before it. False where rows contradict each other or a clock stepped back across the instant.

    Raises OutOfOrderError.
    """
    wary, newer_from = _wary(segments, files.layers)
    following, others_to = _following(segments, plan, files.layers)
    if not wary and not following:
        return True
    question.set("newer_from", newer_from)
    question.set("others_to", others_to)
    if following:
        question.set("following_files", [str(path) for path in _paths(question, reader, following)])
    question.run("following" if following else "following_nothing")
    _tell(question, files, wary)
    question.run("suspects")
    if not question.rows("suspects_count")[0][0]:
        return True
    _tell(question, files, files.layers)
    question.run("told_of_suspects")
    later, overtaken, tied = question.rows("suspects_told")[0]
    if overtaken or (tied and contradict(question, reader, tied)):
        return False
    if later:
        raise OutOfOrderError
    return True


def _wary(segments: Bounds | None, layers: Sequence[Layer]) -> tuple[list[Layer], list[dict[str, Any]]]:
    """The layers that may have a later change than a newer one, and by rank the first change of all newer layers."""
    first, first_ms = ("~", _EVER_MS) if segments is None else (segments.first, segments.first_ms)
    wary, newer_from = [], [{"ord": "~", "ms": _EVER_MS}]
    for layer in layers:
        newer_from += [{"ord": first, "ms": first_ms}] * len(layer.ranks)
        if layer.bounds is not None:
            if layer.bounds.last >= first or layer.bounds.last_ms > first_ms:
                wary.append(layer)
            first, first_ms = min(first, layer.bounds.first), min(first_ms, layer.bounds.first_ms)
    return wary, newer_from


def _following(segments: Bounds | None, plan: LayerPlan, layers: Sequence[Layer]) -> tuple[list[LiveRun], str]:
    """The runs with changes after the instant that may stand before one of another layer, and the last of those."""
    bounds = [segments, *(layer.bounds for layer in layers)]
    following, others_to = [], ""
    for run in plan.runs:
        own = Bounds.of(run.description.spans)
        last = max((one.last for one in bounds if one is not None and one != own), default="")
        if run.last_ms > plan.at_ms and last >= own.first:
            following.append(run)
            others_to = max(others_to, last)
    return following, others_to


def _paths(question: Question, reader: Reader, runs: Sequence[LiveRun]) -> list[Path]:
    """The parts of runs, which may be none of the layers, all checked at once."""
    parts = [part for run in runs for part in run.parts]
    digests = [part.file.sha256 for run in runs for part in run.description.parts]
    return [file.path for file in reader.derived_files(question, ["run"] * len(parts), parts, digests)]
