"""The checks in the order in which they are told: over `Facts` for `doctor`, over a few of them for `status`. Pure."""

from collections.abc import Iterator
from dataclasses import dataclass

from query.operate.answers import Missing, Unknown
from query.operate.checks_beside import check_derived, check_destination, check_on_failure, held_back
from query.operate.checks_bucket import check_archive_bucket
from query.operate.checks_function import check_function, check_key
from query.operate.checks_mapping import check_mapping, check_result, check_state
from query.operate.checks_role import check_role
from query.operate.checks_seal import check_archive_seals, check_newest_seal, check_sealing
from query.operate.checks_table import (
    check_clock,
    check_consumers,
    check_deletion_protection,
    check_global_table,
    check_recovery,
    check_table,
    check_ttl,
)
from query.operate.checks_trail import check_lag, check_newest, check_quarantine, check_trail
from query.operate.facts import Facts, HeldBack, Lag, OnFailure, StreamReader, TrailFacts
from query.operate.finding import Finding, failed, not_checked


def diagnose(facts: Facts, table: str, *, allow_mutable: bool, now_ms: int) -> Iterator[Finding]:
    """Every check of `doctor`; `table` as it was typed."""
    yield from check_table(facts.table)
    yield check_consumers(facts.table, facts.readers)
    yield check_global_table(facts.table)
    yield check_recovery(facts.backups)
    yield check_ttl(facts.ttl)
    yield check_deletion_protection(facts.table)
    yield check_clock(facts.clock)
    yield from check_mapping(facts.table, facts.readers, facts.reader)
    yield from check_function(facts.reader, facts.concurrency, facts.archive_url, is_assumed=facts.is_archive_assumed)
    yield check_key(facts.table, facts.reader, facts.trail)
    yield from check_role(facts.role)
    yield from check_archive_bucket(facts.archive_url, facts.bucket, allow_mutable=allow_mutable)
    yield from check_on_failure(facts.on_failure, facts.reader, table)
    yield check_derived(facts.archive_url, facts.derived_url, facts.derived)
    yield from check_sealing(facts.sealing)
    yield check_archive_seals(facts.bucket, facts.sealing, facts.seals_folder)
    yield from check_trail(facts.trail, state_of(facts.reader), now_ms)
    yield check_newest_seal(facts.trail, now_ms)


@dataclass(frozen=True, slots=True, kw_only=True)
class Health:
    """What `status` looks at."""

    reader: StreamReader | Missing | Unknown
    lag: Lag | Missing | Unknown
    trail: TrailFacts | Missing | Unknown | None
    on_failure: OnFailure | None

    @property
    def held_back(self) -> HeldBack | None:
        """What is held back, None if that is not known."""
        found = self.on_failure and self.on_failure.held_back
        return found if isinstance(found, HeldBack) else None


def examine(health: Health, table: str, now_ms: int) -> Iterator[Finding]:
    """Every check of `status`; `table` as it was typed."""
    reader = health.reader
    if isinstance(reader, Unknown):
        yield not_checked("mapping", reader).essential()
        yield not_checked("last-result", reader)
    elif isinstance(reader, Missing):
        yield failed("mapping", reader.what, f"ddbtrail doctor {table}")
        yield not_checked("last-result", "there is no mapping of ddbtrail")
    else:
        yield check_state(reader.mapping)
        yield check_result(reader.mapping)
    yield check_lag(health.lag)
    yield check_newest(health.trail, None, now_ms)
    if health.on_failure is None:
        why = "no on-failure bucket is named, and no mapping of ddbtrail tells of one"
        yield from (not_checked(code, why) for code in ("on-failure", "held-back"))
    else:
        yield check_destination(health.on_failure, reader)
        yield held_back("held-back", health.on_failure.held_back, table)
    yield check_quarantine(health.trail)
    yield check_newest_seal(health.trail, now_ms)


def state_of(reader: StreamReader | Missing | Unknown) -> str | None:
    """The state of a mapping, None if there is none or it is not known."""
    return None if isinstance(reader, Missing | Unknown) else str(reader.mapping.get("State") or "") or None
