"""The state of a whole table from runs, where the greatest order of each item is all it takes; the rules are those of
`docs/answers.md`.

Invariant: where the answer needs more (gaps, several tables, contradictions, images that were not carried, clocks that
stepped back across the instant), nothing is answered here, and `query.state` does, which reads every fact.
"""

from query.catalog import Evidence
from query.coverage import Coverage, coverage_of, spans_by_label
from query.engine import Question
from query.layers import LayerPlan
from query.placed import OutOfOrderError, Placed, place
from query.plan import CLOCK_MARGIN_MS
from query.rows import Reader, merged_spans
from query.settled import Settled, settle_in_turn

_LONG_AGO_MS = -(1 << 62)


def whole_table(question: Question, reader: Reader, evidence: Evidence, plan: LayerPlan) -> Placed | Settled | None:
    """The table at the instant of a plan; None if it cannot be told this way. Takes over `question`, unless None."""
    coverage = _read(question, reader, evidence, plan)
    if coverage is None:
        return None
    try:
        return place(question, reader, plan, coverage)
    except OutOfOrderError:
        # A change may bear an earlier time than one before it, of another run: what is too old is seen in the end.
        return _in_turn(question, reader, plan, coverage, plan.floor_ms - CLOCK_MARGIN_MS)


def ever_known(question: Question, reader: Reader, evidence: Evidence, plan: LayerPlan) -> Settled | None:
    """The same with every item ever known in the relation `settled`, also those that were gone before the baseline."""
    coverage = _read(question, reader, evidence, plan)
    return None if coverage is None else _in_turn(question, reader, plan, coverage, _LONG_AGO_MS)


def _in_turn(question: Question, reader: Reader, plan: LayerPlan, coverage: Coverage, from_ms: int) -> Settled | None:
    covering = coverage.covering(plan.at_ms)
    limits = {"at_ms": plan.at_ms, "from_ms": from_ms, "floor_ms": plan.floor_ms, "covering_label": covering}
    question.set("layers", limits)
    return settle_in_turn(question, reader, plan, coverage)


def _read(question: Question, reader: Reader, evidence: Evidence, plan: LayerPlan) -> Coverage | None:
    """Reads the segments beside the runs; the coverage of the trail, or None where order does not tell."""
    if any(run.description.contradictions or run.description.imageless for run in plan.runs):
        return None
    reader.read(question, plan.segments)
    spans = merged_spans(question, evidence.runs, has_segments=bool(plan.segments.segments))
    if plan.newest.segments:
        with question.beside() as beside:
            reader.read(beside, plan.newest)
            spans = spans_by_label([*spans, *merged_spans(beside, (), has_segments=True)])
    coverage = coverage_of(spans, evidence.streams, [baseline.description for baseline in evidence.baselines])
    covering = coverage.covering(plan.at_ms)
    if covering is None or coverage.ends or plan.floor.description.stream_label != covering:
        return None
    if plan.segments.segments and any(question.rows("segments_told", {"at_ms": plan.at_ms})[0]):
        return None
    return coverage
