"""The state of items at an instant or a cut: orchestrates the statements that `docs/answers.md` puts in words.

Invariants: images are read late, for winning rows only; a change in conflict gives no answer, and is reported.
"""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from archiver.format.layout import SEQUENCE_DIGITS
from archiver.format.values import same_attributes
from query.answer import Basis, Outcome, State
from query.catalog import Baseline, Evidence
from query.coverage import FIRST_TABLE, NO_LATER_TABLE, Coverage, LabelSpan, coverage_of
from query.engine import Question
from query.plan import StatePlan
from query.rows import Reader, label_spans

_NUMBERED_DIGITS: Final = 27
_NUMBERED_ROWS: Final = 1_000_000
_NUMBERED_FILES: Final = 100_000


@dataclass(frozen=True, slots=True)
class Conflict:
    """One change that rows of evidence contradict each other about: never chosen between.

    `segments` are the objects that tell of it, `differs` the columns in which they do.
    """

    item_key: str
    stream_label: str
    sequence_number: str
    segments: tuple[str, ...]
    differs: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Moment:
    """An instant (epoch ms), or the cut at a change (its order, and its creation time)."""

    at_ms: int
    cut: tuple[str, str] | None = None


class States:
    """The states of the items of a trail at a moment, held by the engine. Close it."""

    def __init__(self, question: Question, coverage: Coverage, conflicts: tuple[Conflict, ...]) -> None:
        self._question = question
        self.coverage = coverage
        self.conflicts = conflicts
        self.count, self.unknown = question.rows("count_states")[0]

    def close(self) -> None:
        self._question.close()

    def existing(self, *, with_guesses: bool = False) -> Iterator[State]:
        """The items that existed, in order of item key; with guesses, unknown ones too where there is one."""
        for batch in self._question.batches("existing_states", {"with_guesses": with_guesses}):
            yield from (_state(**row) for row in batch.to_pylist())

    def all(self) -> list[State]:
        """Every item that any fact tells of, in order of item key."""
        return [_state(**row) for batch in self._question.batches("all_states") for row in batch.to_pylist()]


def reconstruct(
    question: Question,
    reader: Reader,
    evidence: Evidence,
    plan: StatePlan,
    moment: Moment,
    item_keys: Sequence[str] | None = None,
) -> States:
    """The states at a moment, of all items or of some. Takes over `question`."""
    reader.read_segments(question, plan.segments)
    reader.read_baseline(question, "floor", plan.floor)
    reader.read_baseline(question, "ceiling", plan.ceiling)
    descriptions = [baseline.description for baseline in evidence.baselines]
    spans = label_spans(question)
    coverage = coverage_of(spans, evidence.streams, descriptions)
    if item_keys is not None:
        _restrict(question, item_keys)
    _set_moment(question, coverage, plan, moment)
    _find_facts(question, spans, plan, moment)
    question.run("sides")
    conflicts = _conflicts(question, plan)
    question.run("p_rows")
    question.run("n_wanted")
    question.run("n_rows" if question.rows("count_n_wanted")[0][0] else "n_rows_empty")
    question.run("states")
    _compare(question)
    if conflicts:
        question.run("drop_conflicts", {"item_keys": [conflict.item_key for conflict in conflicts]})
    return States(question, coverage, conflicts)


def _restrict(question: Question, item_keys: Sequence[str]) -> None:
    question.set("item_keys", list(item_keys))
    for relation in ("changes", "floor", "ceiling"):
        question.run(f"restrict_{relation}")
        question.run(f"restricted_{relation}")


def _set_moment(question: Question, coverage: Coverage, plan: StatePlan, moment: Moment) -> None:
    if moment.cut is None:
        covering = coverage.covering(moment.at_ms)
        table_label, next_label = coverage.table_at(moment.at_ms)
    else:
        covering = moment.cut[0]
        table_label, next_label = coverage.table_of(covering)
    question.set("at_ms", moment.at_ms)
    question.set("cut_ord", None if moment.cut is None else " ".join(moment.cut))
    question.set("covering_label", covering)
    question.set("is_before_coverage", moment.cut is None and coverage.is_before(moment.at_ms))
    question.set("table_label", table_label)
    question.set("next_table_label", next_label)
    _set_baseline(question, "floor", plan.floor)
    question.set("is_floor_of_former_table", _is_of_former_table(plan.floor, coverage, table_label))
    ceiling = plan.ceiling
    if ceiling is not None and _is_of_later_table(ceiling, coverage, next_label):
        ceiling = None
    _set_baseline(question, "ceiling", ceiling)


def _set_baseline(question: Question, role: str, baseline: Baseline | None) -> None:
    description = baseline and baseline.description
    question.set(f"has_{role}", description is not None)
    question.set(f"{role}_from_ms", description and description.from_ms)
    question.set(f"{role}_to_ms", description and description.to_ms)
    question.set(f"{role}_label", description and description.stream_label)


def _is_of_former_table(baseline: Baseline | None, coverage: Coverage, table_label: str) -> bool:
    if baseline is None or table_label == FIRST_TABLE:
        return False
    label = baseline.description.stream_label
    if label is not None:
        return label < table_label
    return baseline.description.from_ms < _end_ms(coverage, table_label)


def _is_of_later_table(baseline: Baseline, coverage: Coverage, next_label: str) -> bool:
    if next_label == NO_LATER_TABLE:
        return False
    label = baseline.description.stream_label
    if label is not None:
        return label >= next_label
    return baseline.description.from_ms >= _end_ms(coverage, next_label)


def _end_ms(coverage: Coverage, label: str) -> int:
    return next(end.at_ms for end in coverage.ends if end.stream_label == label)


def _find_facts(question: Question, spans: Sequence[LabelSpan], plan: StatePlan, moment: Moment) -> None:
    if _fits_numbers(spans, plan, moment):
        question.set("only_label", spans[0].stream_label)
        question.run("facts_numbered")
    else:
        question.run("facts")
    if moment.cut is None:
        question.run("stepped_back")
        if question.rows("count_stepped_back")[0][0]:
            question.run("facts_stepped_back")
            question.run("facts_mended")


def _fits_numbers(spans: Sequence[LabelSpan], plan: StatePlan, moment: Moment) -> bool:
    """Whether `facts_numbered` may be asked; its limits are its own."""
    return (
        moment.cut is None
        and plan.ceiling is None
        and len(spans) == 1
        and spans[0].last_sequence < "1".rjust(SEQUENCE_DIGITS - _NUMBERED_DIGITS, "0").ljust(SEQUENCE_DIGITS, "0")
        and spans[0].longest_file_rows < _NUMBERED_ROWS
        and len(plan.segments) < _NUMBERED_FILES
    )


def _conflicts(question: Question, plan: StatePlan) -> tuple[Conflict, ...]:
    if not question.rows("has_ties")[0][0]:
        return ()
    names = [segment.stored.name for segment in plan.segments]
    return find_conflicts(question.rows("tied"), names)


def find_conflicts(
    rows: Sequence[tuple[str, str, str, str, int, str | None, str | None, int]], names: Sequence[str]
) -> tuple[Conflict, ...]:
    """The changes whose rows differ as values. A row: item key, label, sequence number, operation, creation time in ms,
    old and new image, and the index of its segment among `names`.
    """
    told: dict[tuple[str, str, str], list[tuple[str, int, str | None, str | None, int]]] = defaultdict(list)
    for item_key, label, sequence_number, *rest in rows:
        told[item_key, label, sequence_number].append(tuple(rest))  # type: ignore[arg-type]
    conflicts = []
    for (item_key, label, sequence_number), versions in sorted(told.items()):
        first = versions[0]
        differs = {name for other in versions[1:] for name in _differences(first, other)}
        if differs:
            segments = tuple(dict.fromkeys(names[version[4]] for version in versions))
            conflicts.append(Conflict(item_key, label, sequence_number, segments, tuple(sorted(differs))))
    return tuple(conflicts)


def _differences(
    one: tuple[str, int, str | None, str | None, int], other: tuple[str, int, str | None, str | None, int]
) -> list[str]:
    found = []
    if one[0] != other[0]:
        found.append("op")
    if one[1] != other[1]:
        found.append("changed_at")
    if not same_attributes(one[2], other[2]):
        found.append("old_image")
    if not same_attributes(one[3], other[3]):
        found.append("new_image")
    return found


def _compare(question: Question) -> None:
    agreeing = [key for key, p, n in question.rows("compared_rows") if same_attributes(p, n)]
    if agreeing:
        question.run("settle_compared", {"agreeing": agreeing})


def _state(
    item_key: str,
    image: str | None,
    basis: str,
    change_id: str | None,
    changed_at_ms: int | None,
    valid_from_ms: int | None,
    reason: str | None,
    rule: str,
    n_image: str | None = None,
    is_p_known: bool = False,
    is_n_known: bool = False,
    was_before: bool = False,
) -> State:
    if rule in {"unknown", "compare"}:
        guess = image if is_p_known else n_image
        is_guess = is_p_known or is_n_known
        return State(
            item_key, Outcome.UNKNOWN, Basis.GUESS if is_guess else Basis.NOTHING, guess, reason, is_guess=is_guess
        )
    if image is not None:
        outcome = Outcome.EXISTED
    else:
        outcome = Outcome.ALREADY_DELETED if was_before else Outcome.NOT_YET_CREATED
    return State(item_key, outcome, Basis(basis), image, None, change_id, changed_at_ms, valid_from_ms)
