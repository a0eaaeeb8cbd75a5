"""The state of items at an instant or a cut: orchestrates the statements that `docs/answers.md` puts in words.

Invariants: images are read late, for winning rows only; a change in conflict gives no answer, and is reported.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from archiver.format.layout import HOUR_MS
from archiver.format.values import same_attributes
from query.answer import Basis, Outcome, State
from query.catalog import Evidence
from query.conflicts import EVER, Conflict, find_conflicts
from query.coverage import FIRST_TABLE, NO_LATER_TABLE, Coverage, LabelSpan, coverage_of
from query.derived.by_key import Wanted
from query.descriptions import Baseline
from query.engine import Question
from query.plan import StatePlan, widened
from query.rows import Reader

if TYPE_CHECKING:
    import pyarrow as pa

_NUMBERED_ROWS: Final = 1 << 20
_NUMBERED_FILES: Final = 1 << 17


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant (epoch ms), or the cut at a change (its order, and its creation time)."""

    at_ms: int
    cut: tuple[str, str] | None = None


class States:
    """The states of the items of a trail at a moment, held by the engine. Close it."""

    def __init__(
        self, question: Question, coverage: Coverage, conflicts: tuple[Conflict, ...], plan: StatePlan
    ) -> None:
        self._question = question
        self.coverage = coverage
        self.conflicts = conflicts
        self.plan = plan
        self.count, self.unknown, _ = question.rows("count_states")[0]

    def close(self) -> None:
        self._question.close()

    def existing(self, *, with_guesses: bool = False) -> Iterator[State]:
        """The items that existed, in order of item key; with guesses, unknown ones too where there is one."""
        for batch in self.existing_batches(with_guesses=with_guesses):
            yield from (state_of(**row) for row in batch.to_pylist())

    def existing_batches(
        self,
        *,
        with_guesses: bool = False,
        in_order: bool = True,  # noqa: ARG002  it always is
    ) -> "Iterator[pa.RecordBatch]":
        """The same as Arrow batches, with the columns of `answers.sql`."""
        return self._question.batches("existing_states", {"with_guesses": with_guesses})

    def all(self) -> list[State]:
        """Every item that any fact tells of, in order of item key."""
        return [state_of(**row) for batch in self._question.batches("all_states") for row in batch.to_pylist()]


def reconstruct(
    question: Question,
    reader: Reader,
    evidence: Evidence,
    plan: StatePlan,
    moment: Moment,
    item_keys: Sequence[str] | None = None,
    wanted: Wanted | None = None,
) -> States:
    """The states at a moment, of all items or of some; `wanted` says where in runs their rows stand. Takes over
    `question`. `plan` of the states is what was read in the end.
    """
    states = _reconstructed(question, reader, evidence, plan, moment, item_keys, wanted)
    if plan.is_narrowed and not _tells_all(states):
        plan = widened(evidence, plan, moment.at_ms)
        states = _reconstructed(question, reader, evidence, plan, moment, item_keys, wanted)
    return states


def _tells_all(states: States) -> bool:
    """Whether hours that were left out can tell no more: all is known, and there is no stream but that of the floor."""
    assert states.plan.floor is not None
    labels = {stretch.stream_label for stretch in states.coverage.stretches}
    return not states.unknown and labels == {states.plan.floor.description.stream_label}


def _reconstructed(
    question: Question,
    reader: Reader,
    evidence: Evidence,
    plan: StatePlan,
    moment: Moment,
    item_keys: Sequence[str] | None,
    wanted: Wanted | None,
) -> States:
    if wanted is None:
        reader.read(question, plan.selection)
    else:
        reader.read_items(question, wanted, plan.selection)
    reader.read_baseline(question, "floor", plan.floor)
    reader.read_baseline(question, "ceiling", plan.ceiling)
    descriptions = [baseline.description for baseline in evidence.baselines]
    spans = reader.spans(question, plan.selection)
    coverage = coverage_of(spans, evidence.streams, descriptions)
    _set_moment(question, coverage, spans, plan, moment, item_keys)
    if item_keys is not None:
        _restrict(question, plan)
    has_candidates = (
        bool(plan.runs) and wanted is None and item_keys is None and moment.cut is None and not coverage.ends
    )
    question.run("candidates" if has_candidates else "candidates_all")
    is_stepped_back, is_tied = _find_facts(question, reader, spans, plan, moment)
    question.run("winners_among_all" if is_stepped_back else "winners")
    question.run("sides")
    # Images are read late, and only of the rows that an answer may rest on.
    question.run("p_rows")
    question.run("n_rows" if question.rows("has_changes_after")[0][0] else "n_rows_empty")
    conflicts = _conflicts_of_answers(question, reader, plan) if is_tied else ()
    question.run("states")
    question.run("answers")
    _compare(question)
    if conflicts:
        question.run("drop_conflicts", {"item_keys": [conflict.item_key for conflict in conflicts]})
    return States(question, coverage, conflicts, plan)


def _conflicts_of_answers(question: Question, reader: Reader, plan: StatePlan) -> tuple[Conflict, ...]:
    """The conflicts among changes that an answer may rest on and that several rows tell of.

    To compare those rows is a good part of a question, so from the second question on it is known whether any two rows
    of the trail contradict each other at all; mostly none do.
    """
    learnt = reader.learnt
    if learnt.has_repeats and learnt.has_conflicts is None:
        with question.beside() as whole:
            reader.read(whole)
            learnt.has_conflicts = bool(find_conflicts(whole.rows("range_conflicts", EVER), reader.tellers()))
    learnt.has_repeats = True
    if learnt.has_conflicts is False:
        return ()
    return find_conflicts(question.rows("tied"), reader.tellers(plan.selection))


def _restrict(question: Question, plan: StatePlan) -> None:
    """Leaves only the rows of the items asked for."""
    held = {"changes": True, "floor": plan.floor is not None, "ceiling": plan.ceiling is not None}
    for relation in (name for name, is_there in held.items() if is_there):
        question.run(f"restrict_{relation}")
        question.run(f"restricted_{relation}")


def _set_moment(
    question: Question,
    coverage: Coverage,
    spans: Sequence[LabelSpan],
    plan: StatePlan,
    moment: Moment,
    item_keys: Sequence[str] | None,
) -> None:
    if moment.cut is None:
        covering = coverage.covering(moment.at_ms)
        table_label, next_label = coverage.table_at(moment.at_ms)
    else:
        covering = moment.cut[0]
        table_label, next_label = coverage.table_of(covering)
    question.set(
        "moment",
        {
            "at_ms": moment.at_ms,
            "cut_ord": None if moment.cut is None else " ".join(moment.cut),
            "has_later": any(span.last_ms > moment.at_ms for span in spans),
            "item_keys": None if item_keys is None else list(item_keys),
            "covering_label": covering,
            "is_before_coverage": moment.cut is None and coverage.is_before(moment.at_ms),
            "only_label": spans[0].stream_label if len(spans) == 1 else None,
            "table_label": table_label,
            "next_table_label": next_label,
            "is_floor_of_former_table": is_of_former_table(plan.floor, coverage, table_label),
        },
    )
    ceiling = plan.ceiling
    if ceiling is not None and is_of_later_table(ceiling, coverage, next_label):
        ceiling = None
    question.set("floor", _baseline_values(plan.floor, plan))
    question.set("ceiling", _baseline_values(ceiling, plan))


def _baseline_values(baseline: Baseline | None, plan: StatePlan) -> dict[str, Any]:
    """A baseline's interval and label. A change inside the interval voids it for its item; none is looked for
    (`void_` is NULL) where no segment that is read can hold one."""
    if baseline is None:
        return dict.fromkeys(("from_ms", "to_ms", "label", "void_from_ms", "void_to_ms"), None) | {"is_there": False}
    from_ms, to_ms = baseline.description.from_ms, baseline.description.to_ms
    may_be_void = any(
        segment.place.hour_ms <= to_ms and segment.place.hour_ms + HOUR_MS > from_ms for segment in plan.segments
    ) or any(run.first_ms <= to_ms and run.last_ms >= from_ms for run in plan.runs)
    return {
        "is_there": True,
        "from_ms": from_ms,
        "to_ms": to_ms,
        "label": baseline.description.stream_label,
        "void_from_ms": from_ms if may_be_void else None,
        "void_to_ms": to_ms if may_be_void else None,
    }


def is_of_former_table(baseline: Baseline | None, coverage: Coverage, table_label: str) -> bool:
    """Whether a baseline shows a table that was deleted before the one of a stream label was made."""
    if baseline is None or table_label == FIRST_TABLE:
        return False
    label = baseline.description.stream_label
    if label is not None:
        return label < table_label
    return baseline.description.from_ms < _end_ms(coverage, table_label)


def is_of_later_table(baseline: Baseline, coverage: Coverage, next_label: str) -> bool:
    """Whether a baseline shows a table that was made after the one before a stream label was deleted."""
    if next_label == NO_LATER_TABLE:
        return False
    label = baseline.description.stream_label
    if label is not None:
        return label >= next_label
    return baseline.description.from_ms >= _end_ms(coverage, next_label)


def _end_ms(coverage: Coverage, label: str) -> int:
    return next(end.at_ms for end in coverage.ends if end.stream_label == label)


def _find_facts(
    question: Question, reader: Reader, spans: Sequence[LabelSpan], plan: StatePlan, moment: Moment
) -> tuple[bool, bool]:
    """Makes the relation `facts`; whether a clock stepped back across the instant, and whether an answer may rest on a
    change that several rows tell of.
    """
    fits_numbers = not reader.learnt.has_long_numbers and _fits_numbers(spans, plan, moment)
    question.run("facts_numbered" if fits_numbers else "facts")
    is_stepped_back, is_tied, is_beyond_numbers = question.rows("facts_told")[0]
    if is_beyond_numbers:
        reader.learnt.has_long_numbers = True
        question.run("facts")
        is_stepped_back, is_tied, _ = question.rows("facts_told")[0]
    if is_stepped_back:
        question.run("facts_stepped_back")
        question.run("facts_mended")
    return bool(is_stepped_back), bool(is_stepped_back or is_tied)


def _fits_numbers(spans: Sequence[LabelSpan], plan: StatePlan, moment: Moment) -> bool:
    """Whether `facts_numbered` may be asked; its limits are its own."""
    return (
        moment.cut is None
        and plan.ceiling is None
        and len(spans) == 1
        and spans[0].longest_file_rows <= _NUMBERED_ROWS
        and len(plan.segments) + sum(len(run.parts) for run in plan.runs) <= _NUMBERED_FILES
    )


def _compare(question: Question) -> None:
    """Two images on both sides of a gap agree if they are the same value: as text, or else by comparing them."""
    if not question.rows("count_states")[0][2]:
        return
    question.run("compared")
    question.run("agree_as_text")
    agreeing = [key for key, p, n in question.rows("compared_rows") if same_attributes(p, n)]
    if agreeing:
        question.run("settle_compared", {"agreeing": agreeing})


def state_of(
    item_key: str,
    rule: str,
    image: str | None,
    basis: str,
    reason: str | None,
    is_known: bool,
    was_before: bool,
    change_id: str | None,
    changed_at_ms: int | None,
    valid_from_ms: int | None,
) -> State:
    """A row of `answers` as a state."""
    if rule in {"unknown", "compare"}:
        return State(
            item_key, Outcome.UNKNOWN, Basis.GUESS if is_known else Basis.NOTHING, image, reason, is_guess=is_known
        )
    if image is not None:
        outcome = Outcome.EXISTED
    else:
        outcome = Outcome.ALREADY_DELETED if was_before else Outcome.NOT_YET_CREATED
    return State(item_key, outcome, Basis(basis), image, None, change_id, changed_at_ms, valid_from_ms)
