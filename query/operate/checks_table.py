"""Checks of the table and its stream, and of this machine's clock."""

from collections.abc import Iterator
from typing import Final

from query.operate.answers import Answer, Missing, Unknown
from query.operate.facts import Clock, Readers
from query.operate.finding import Finding, failed, not_checked, passed, warned
from query.render.text import counted

VIEW_TYPE: Final = "NEW_AND_OLD_IMAGES"
# "Readers per shard: 2 for single-Region tables, 1 recommended for global tables" (*Constraints in Amazon DynamoDB*).
_MOST_READERS: Final = 2
_MOST_READERS_OF_A_GLOBAL_TABLE: Final = 1
_LARGEST_SKEW_MS: Final = 5_000
_DATE_GRAIN_MS: Final = 1_000
_ENABLE: Final = "aws dynamodb update-table --table-name {name} --stream-specification {spec}"
_SPECIFICATION: Final = f"StreamEnabled=true,StreamViewType={VIEW_TYPE}"
UNREAD: Final = "the table could not be read"


def check_table(table: Answer) -> Iterator[Finding]:
    """That it is there and takes writes; then its stream."""
    if isinstance(table, Missing):
        yield failed("table", table.what, "check the name, --region and --profile")
        yield from (not_checked(check, "there is no such table") for check in ("stream", "view-type"))
        return
    if isinstance(table, Unknown):
        yield not_checked("table", table).essential()
        yield from (not_checked(check, UNREAD) for check in ("stream", "view-type"))
        return
    status = table.get("TableStatus")
    if status == "ACTIVE":
        yield passed("table", f"{table.get('TableArn')} is ACTIVE")
    elif status == "UPDATING":
        yield warned("table", "it is UPDATING: what is said below may change", "ask again when it is ACTIVE")
    else:
        yield failed("table", f"its status is {status}", "wait until it is ACTIVE")
    yield from _check_stream(table)


def _check_stream(table: Answer) -> Iterator[Finding]:
    assert not isinstance(table, Missing | Unknown)
    specification = table.get("StreamSpecification") or {}
    name = table.get("TableName")
    enable = _ENABLE.format(name=name, spec=_SPECIFICATION)
    if not specification.get("StreamEnabled"):
        yield failed("stream", "the table has no stream: nothing can be archived", f"its owner types: {enable}")
        yield not_checked("view-type", "the table has no stream")
        return
    if not table.get("LatestStreamArn"):
        yield not_checked("stream", "the table has a stream, and its ARN was not said").essential()
    else:
        yield passed("stream", f"enabled: {table['LatestStreamArn']}")
    view_type = specification.get("StreamViewType")
    if view_type == VIEW_TYPE:
        yield passed("view-type", VIEW_TYPE)
    elif view_type is None:
        yield not_checked("view-type", "AWS did not say it").essential()
    else:
        yield failed(
            "view-type",
            f"it is {view_type}: changes come without both images",
            "it cannot be changed in place. Its owner disables the stream and enables it with "
            f"{VIEW_TYPE}; then deploy with the new StreamArn (docs/operations.md, The stream was re-created)",
        )


def check_consumers(table: Answer, readers: Readers) -> Finding:
    """Who else reads the stream. What this command cannot list is said, never counted as none."""
    if isinstance(table, Missing | Unknown):
        return not_checked("consumers", table if isinstance(table, Unknown) else UNREAD)
    if isinstance(readers.latest, Unknown):
        return not_checked("consumers", readers.latest)
    names = sorted(str(reader.mapping.get("FunctionArn", "?")).rpartition(":")[2] for reader in readers.latest)
    is_global = bool(table.get("Replicas"))
    most = _MOST_READERS_OF_A_GLOBAL_TABLE if is_global else _MOST_READERS
    read = f"{counted(len(names), 'Lambda mapping')} of this account"
    seen = f"{read} on the stream{': ' if names else ''}{', '.join(names)}"
    unseen = "Pipes, KCL and other accounts are not seen"
    if len(names) > most:
        kind = " of a global table" if is_global else ""
        why = f"; more than {counted(most, 'reader')} of a shard{kind} risk throttling"
        return warned("consumers", f"{seen}{why}", "let several consumers share one reader, such as a fan-out")
    return passed("consumers", f"{seen} ({unseen})")


def check_global_table(table: Answer) -> Finding:
    """A replica's stream is not a complete log of writes (*How DynamoDB global tables work*)."""
    if isinstance(table, Missing | Unknown):
        return not_checked("global-table", UNREAD)
    regions = [str(replica.get("RegionName")) for replica in table.get("Replicas") or ()]
    if not regions:
        return passed("global-table", "the table has no replicas")
    if table.get("MultiRegionConsistency") == "STRONG":
        return passed("global-table", f"strong consistency with {', '.join(regions)}: the same records everywhere")
    return warned(
        "global-table",
        f"replicas in {', '.join(regions)}: replication may merge changes made there before this stream sees them",
        "archive the table in every region that is written to",
    )


def check_recovery(backups: Answer) -> Finding:
    if isinstance(backups, Missing | Unknown):
        return not_checked("recovery", backups if isinstance(backups, Unknown) else UNREAD)
    described = backups.get("ContinuousBackupsDescription") or {}
    status = (described.get("PointInTimeRecoveryDescription") or {}).get("PointInTimeRecoveryStatus")
    if status == "ENABLED":
        return passed("recovery", "point-in-time recovery is on: a baseline can come from an export")
    if status is None:
        return not_checked("recovery", "AWS did not say whether point-in-time recovery is on")
    return warned(
        "recovery",
        "point-in-time recovery is off: only `baseline --scan` can run, and no export can tell of a gap",
        "enable it, or scan; without a baseline items that never change stay unknown",
    )


def check_ttl(ttl: Answer) -> Finding:
    """For information: deletes by TTL are archived like others, and told apart."""
    if isinstance(ttl, Missing | Unknown):
        return not_checked("ttl", ttl if isinstance(ttl, Unknown) else UNREAD)
    described = ttl.get("TimeToLiveDescription") or {}
    status = described.get("TimeToLiveStatus")
    if status is None:
        return not_checked("ttl", "AWS did not say whether items expire")
    if status == "DISABLED":
        return passed("ttl", "items do not expire")
    return passed("ttl", f"items expire by {described.get('AttributeName')}; who deleted them is then dynamodb-ttl")


def check_deletion_protection(table: Answer) -> Finding:
    if isinstance(table, Missing | Unknown):
        return not_checked("deletion-protection", UNREAD)
    is_on = table.get("DeletionProtectionEnabled")
    if is_on is None:
        return not_checked("deletion-protection", "AWS did not say")
    if is_on:
        return passed("deletion-protection", "on")
    why = "off: deleting the table ends its stream, and no record tells of the items"
    return warned("deletion-protection", why, "enable it, if the table is to stay")


def check_clock(clock: Clock | Unknown) -> Finding:
    """This machine against AWS: the answer was made between sent and received, in the second that its Date names."""
    if isinstance(clock, Unknown):
        return not_checked("clock", clock)
    behind_ms = clock.date_ms - clock.received_ms
    ahead_ms = clock.sent_ms - (clock.date_ms + _DATE_GRAIN_MS)
    skew_ms = max(behind_ms, ahead_ms, 0)
    if skew_ms > _LARGEST_SKEW_MS:
        side = "behind" if behind_ms > 0 else "ahead of"
        why = f"this machine is {skew_ms // 1_000} s {side} AWS: `now`, `1h ago` and the ages below are off by that"
        return warned("clock", why, "set the clock (chronyc, timedatectl)")
    return passed("clock", f"this machine and AWS agree to {_LARGEST_SKEW_MS // 1_000} s")
