"""Checks of what the archive holds of the table: whether anything arrives, and whether all of it is understood."""

from collections.abc import Iterator

from query.instant import format_ms
from query.operate.answers import Missing, Unknown
from query.operate.facts import Lag, TrailFacts
from query.operate.finding import Finding, failed, not_checked, passed, warned
from query.render.text import counted, duration

MOST_LAG_S = 900  # as the first lag alarm of infra/template.yaml

Trailed = TrailFacts | Missing | Unknown | None


def check_trail(trail: Trailed, state: str | None, now_ms: int) -> Iterator[Finding]:
    """The newest change that was archived, beside the state of the mapping; and the records in quarantine."""
    yield check_newest(trail, state, now_ms)
    yield check_quarantine(trail)


def check_newest(trail: Trailed, state: str | None, now_ms: int) -> Finding:
    code = "newest"
    if trail is None:
        return not_checked(code, "no archive is named")
    if isinstance(trail, Unknown):
        return not_checked(code, trail).essential()
    beside = f"; the mapping is {state}" if state else ""
    if isinstance(trail, Missing):
        return warned(code, f"{trail.what}{beside}", "change an item, or add --canary KEY, and ask again")
    if trail.newest_ms is None:
        return warned(code, f"no change is archived yet{beside}", "change an item, or add --canary KEY, and ask again")
    age_s = (now_ms - trail.newest_ms) // 1_000
    return passed(code, f"the newest archived change is of {format_ms(trail.newest_ms)}, {duration(age_s)} ago{beside}")


def check_quarantine(trail: Trailed) -> Finding:
    code = "quarantine"
    if isinstance(trail, Unknown):
        return not_checked(code, trail)
    if trail is None or isinstance(trail, Missing):
        return not_checked(code, "no archive is named" if trail is None else trail.what)
    if trail.quarantined:
        why = f"{counted(trail.quarantined, 'record')} not understood and kept verbatim: no answer finds them"
        return warned(code, why, "report the reason that the function's log gives (docs/operations.md, Quarantine)")
    return passed(code, "empty")


def check_lag(lag: Lag | Missing | Unknown) -> Finding:
    """How late the newest batch was. Without a batch there is no age, and the state of the mapping has to do."""
    code = "lag"
    if isinstance(lag, Unknown):
        return not_checked(code, lag).essential()
    if isinstance(lag, Missing):
        return not_checked(code, lag.what)
    told = f"records were {duration(lag.age_ms // 1_000)} old at {format_ms(lag.at_ms)}"
    if lag.age_ms > MOST_LAG_S * 1_000:
        return failed(code, f"{told}: above {duration(MOST_LAG_S)}", "docs/operations.md, Lag")
    return passed(code, told)
