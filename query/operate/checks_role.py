"""Checks of what the function's role may do, by IAM's own simulation of its policies.

A simulation knows neither bucket policies nor, always, what an organisation denies: a pass says what the role's own
policies allow. A decision that hung on a condition which nobody filled is no decision.
"""

from collections.abc import Iterator, Sequence
from typing import Any, Final

from query.operate.answers import Missing, Unknown
from query.operate.facts import Role, Trial
from query.operate.finding import Finding, failed, not_checked, passed

_ALLOWED: Final = "allowed"
_DENIED: Final = frozenset({"implicitDeny", "explicitDeny"})
_FIX: Final = "compare ArchiveRole with infra/template.yaml, and deploy it again"
_CODES: Final = ("role-stream", "role-archive", "role-no-more", "role-on-failure", "role-key")


def check_role(role: Role | Missing | Unknown) -> Iterator[Finding]:
    """It may read the stream, put evidence and save failures; it may not read, delete or unlock evidence."""
    if isinstance(role, Missing | Unknown):
        yield from (not_checked(code, role.why if isinstance(role, Unknown) else role.what) for code in _CODES)
        return
    yield may("role-stream", role.reads_stream, "read the stream", "no stream is known")
    nowhere = "the archive is not in S3, or none is named"
    yield may("role-archive", role.writes, "put evidence of this table into the archive", nowhere)
    yield may_not("role-no-more", role.forbidden, "read, delete or unlock evidence", nowhere)
    no_bucket = "no on-failure bucket is known"
    yield may("role-on-failure", role.saves_failures, "save failed batches in the on-failure bucket", no_bucket)
    yield may("role-key", role.encrypts, "encrypt with the archive's key", "the archive has no key of its own")


def may(code: str, trials: Sequence[Trial], what: str, nothing: str, fix: str = _FIX) -> Finding:
    """That a role can do what it must; `nothing` says why there was nothing to ask about."""
    if not trials:
        return not_checked(code, nothing)
    decided = _decided(code, trials)
    if isinstance(decided, Finding):
        return decided
    refused = sorted({f"{action} on {resource}" for action, resource, is_allowed in decided if not is_allowed})
    if refused:
        return failed(code, f"the role may not {what}: {', '.join(refused)}", fix)
    return passed(code, f"the role's policies let it {what}")


def may_not(code: str, trials: Sequence[Trial], what: str, nothing: str) -> Finding:
    """That a role cannot do what would be too much."""
    if not trials:
        return not_checked(code, nothing)
    decided = _decided(code, trials)
    if isinstance(decided, Finding):
        return decided
    allowed = sorted({action for action, _, is_allowed in decided if is_allowed})
    if allowed:
        why = f"the role may do more than archive: {', '.join(allowed)}"
        return failed(code, why, f"whoever takes over the function could then {what}: {_FIX}")
    return passed(code, f"the role's policies do not let it {what}")


def _decided(code: str, trials: Sequence[Trial]) -> list[tuple[str, str, bool]] | Finding:
    """(action, resource, whether it is allowed) of every question; a Finding if any of them has no decision."""
    found = []
    for trial in trials:
        if isinstance(trial.decisions, Missing | Unknown):
            unseen = trial.decisions
            return not_checked(code, unseen.why if isinstance(unseen, Unknown) else unseen.what)
        by_action = {str(one.get("EvalActionName")).lower(): one for one in trial.decisions.items}
        for action in trial.actions:
            decision = _decision(by_action.get(action.lower()))
            if not trial.decisions.is_whole or decision is None:
                return not_checked(code, f"the simulation does not decide {action} on {trial.resource}")
            found.append((action, trial.resource, decision))
    return found


def _decision(result: Any) -> bool | None:
    if result is None:
        return None
    if result.get("MissingContextValues"):
        return None
    return {_ALLOWED: True, **dict.fromkeys(_DENIED, False)}.get(result.get("EvalDecision"))
