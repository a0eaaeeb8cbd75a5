"""The state of a whole table at an instant or cut: by runs where order tells it, else from every fact."""

from typing import TYPE_CHECKING

from query.instant import Instant
from query.layers import LayerPlan, plan_layers
from query.placed import Placed
from query.plan import ReadPlan, StatePlan, neighbours, plan_state
from query.rev import Rev
from query.settled import Settled
from query.state import Moment, States, reconstruct
from query.table_state import TableState
from query.where import Condition
from query.whole_table import whole_table

if TYPE_CHECKING:
    from query.table import Table


def state_of_table(table: "Table", at: Instant | Rev, *, where: str | None, best_effort: bool) -> TableState:
    """What `Table.as_of` says."""
    moment = table.moment(at)

    def read(table: "Table") -> TableState:
        def reconstructed() -> States:
            plan = plan_of_table(table, at, moment)
            return reconstruct(table.engine.ask(), table.reader, table.evidence, plan, moment)

        def told(states: States | Placed | Settled, plan: ReadPlan, *, has_floor: bool) -> TableState:
            return TableState(
                states,
                plan,
                at,
                moment.at_ms,
                has_floor=has_floor,
                where=None if where is None else Condition(where, table.redaction),
                best_effort=best_effort,
                read_all=reconstructed,
                table_name=table.name,
                redaction=table.redaction,
            )

        layers = layers_of_table(table, at, moment)
        if layers is not None:
            question = table.engine.ask()
            settled = whole_table(question, table.reader, table.evidence, layers)
            if settled is not None:
                return told(settled, layers.read, has_floor=True)
            question.close()
        plan = plan_of_table(table, at, moment)
        states = reconstruct(table.engine.ask(), table.reader, table.evidence, plan, moment)
        return told(states, states.plan.read, has_floor=plan.floor is not None or plan.ceiling is not None)

    return table.asked(read)


def layers_of_table(table: "Table", at: Instant | Rev, moment: Moment) -> LayerPlan | None:
    """The layers that may tell the state; None where there are none, or a cut is asked for."""
    evidence = table.evidence
    if moment.cut is not None or not evidence.runs:
        return None
    floor, _ = neighbours(evidence.baselines, moment.at_ms, is_cut=False)
    snapshot = None if floor is None else table.reader.snapshot(evidence, floor, moment.at_ms)
    return plan_layers(evidence, _spelled(table.name, at), at_ms=moment.at_ms, floor=floor, snapshot=snapshot)


def plan_of_table(
    table: "Table", at: Instant | Rev, moment: Moment, *, tells_absences_apart: bool = False
) -> StatePlan:
    """What every fact takes."""
    return plan_state(
        table.evidence,
        _spelled(table.name, at),
        at_ms=moment.at_ms,
        is_cut=moment.cut is not None,
        tells_absences_apart=tells_absences_apart,
    )


def _spelled(name: str, at: Instant | Rev) -> str:
    return f"{name} as of {at.spelled if isinstance(at, Instant) else at.text}"
