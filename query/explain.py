"""Why an item was what it was, in words: one line for each of the four answers.

Pure functions over what is known of an item: its state at the moment asked about, its changes, plan and coverage.
Invariants: every unknown says why it is not known; an answer that a change settles names the change; all times are UTC;
the item's changes are asked for only where the words need them, since they may still have to be read.
"""

from collections.abc import Callable, Sequence
from typing import Final

from query.actor import is_ttl
from query.answer import Basis, Change, Outcome, State, Version
from query.coverage import Coverage
from query.instant import Instant, format_ms
from query.plan import StatePlan
from query.rev import Rev

_SHORT_ID: Final = 8

Changes = Callable[[], Sequence[Change]]


def explain(
    state: State,
    at: Instant | Rev,
    *,
    changes: Changes,
    version: Version | None,
    plan: StatePlan | None,
    coverage: Coverage | None,
) -> str:
    """Why `state` is the answer for `at`.

    `changes` gives all changes of the item, oldest first; `version` is the one that the state belongs to; `plan` and
    `coverage` are None where the state was taken from the changes alone.
    """
    spelled = at.spelled if isinstance(at, Instant) else at.text
    match state.outcome:
        case Outcome.EXISTED:
            return _existed(state, spelled, version)
        case Outcome.NOT_YET_CREATED:
            return _not_yet_created(changes())
        case Outcome.ALREADY_DELETED:
            return _deleted(state, changes)
        case Outcome.UNKNOWN:
            return _unknown(state, spelled, changes, plan, coverage)


def _not_yet_created(changes: Sequence[Change]) -> str:
    if not changes:
        return "a complete baseline shows no such item, and no change of it is recorded"
    first = changes[0]
    return (
        f"first recorded change is {_article(first.op)} at {format_ms(first.effective_ms)} "
        f"(@{first.change_id[:_SHORT_ID]})"
    )


def _existed(state: State, spelled: str, version: Version | None) -> str:
    if state.change_id is not None and state.valid_from_ms is not None:
        until = version.valid_to_ms if version else None
        shown = "now" if until is None else format_ms(until)
        return (
            f"as of {spelled}: version @{state.change_id[:_SHORT_ID]}, valid {format_ms(state.valid_from_ms)} → {shown}"
        )
    if state.basis is Basis.OLD_IMAGE:
        return f"as of {spelled}: from the old image of its next change, the first one recorded after that"
    return f"as of {spelled}: from a baseline"


def _deleted(state: State, changes: Changes) -> str:
    if state.basis is Basis.TABLE_END:
        return "its table was deleted and made again"
    removal = next((change for change in reversed(changes()) if change.change_id == state.change_id), None)
    if removal is None:
        return "a later fact shows that it no longer existed"
    by = " by DynamoDB TTL" if is_ttl(removal.user_identity) else ""
    return (
        f"REMOVE at {format_ms(removal.effective_ms)}{by} (@{removal.change_id[:_SHORT_ID]}). "
        f"Last content: ddbtrail get … --at @{removal.change_id[:_SHORT_ID]}~1"
    )


def _unknown(state: State, spelled: str, changes: Changes, plan: StatePlan | None, coverage: Coverage | None) -> str:
    hint = "; add --best-effort for the best guess" if state.is_guess else ""
    match state.reason:
        case "missing-image":
            return f"the stream did not carry the image that would answer for {spelled} (view type){hint}"
        case "before-coverage":
            since = coverage.covered_since_ms if coverage else None
            began = f" ({format_ms(since)})" if since is not None else ""
            floor = "" if plan and plan.ceiling else ". No baseline was taken"
            return f"{spelled} is before coverage starts{began}{floor}{_first_hint(changes())}{hint}"
        case "no-fact":
            return f"no change of this item is recorded, and no complete baseline tells of it{hint}"
        case _:
            return f"a gap of the trail lies between {spelled} and what is known of the item{hint}"


def _first_hint(changes: Sequence[Change]) -> str:
    if not changes:
        return ""
    first = changes[0]
    if first.op == "INSERT" or first.old_image is None:
        return f". The first recorded change is {_article(first.op)} at {format_ms(first.effective_ms)}"
    return (
        f". The first change at {format_ms(first.effective_ms)} is {_article(first.op)}; "
        "its old image shows the item existed then"
    )


def _article(op: str) -> str:
    return f"an {op}" if op == "INSERT" else f"a {op}"
