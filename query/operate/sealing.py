"""What is asked about the function that seals a trail: which one it is, what calls it, its key, and who may sign.

Invariant: a function is found by what it was told to seal, not by its name; one whose variables are hidden may be it.
"""

from collections.abc import Callable, Mapping
from typing import Any, Final

from archiver.format.layout import SegmentName, Trail
from archiver.format.seal import seal_name
from query.operate.answers import Answer, Missing, Pages, Unknown, is_said
from query.operate.aws import Asker
from query.operate.facts import (
    ARCHIVE_VARIABLE,
    SEAL_HANDLER,
    SEAL_TABLE_VARIABLE,
    SIGNING_KEY_VARIABLE,
    Place,
    Sealing,
    environment_of,
    is_same_url,
)
from query.operate.role import Simulated

_MOST_PAGES: Final = 50  # 50 functions each, 100 rules
_SEGMENT: Final = SegmentName(0, "0" * 40, "0" * 64)
_SIGN: Final = ("kms:Sign",)
_KEY_USES: Final = ("kms:Sign", "kms:GetPublicKey")


def sealing_of(
    lambda_: Asker,
    events: Callable[[], Asker],
    kms_in: Callable[[str | None], Asker],
    iam: Callable[[], Asker],
    *,
    trail: Trail,
    archive_url: str | None,
    archiver_role: str | None,
) -> Sealing:
    """Everything about the function that seals a trail. The askers are made when they are needed."""
    function = _function(lambda_, trail, archive_url)
    if not is_said(function):
        return Sealing(function=function)
    environment = environment_of(function)
    key_arn = "" if isinstance(environment, Unknown) else environment.get(SIGNING_KEY_VARIABLE, "")
    rules = _rules(events(), str(function.get("FunctionArn")))
    if not key_arn.startswith("arn:"):
        return Sealing(function=function, rules=rules, key_arn=key_arn)
    kms = kms_in(key_arn.split(":")[3])
    gone = {"NotFoundException": f"there is no key {key_arn}"}
    key = kms.ask("describe_key", "kms:DescribeKey", missing=gone, KeyId=key_arn)
    public = kms.ask("get_public_key", "kms:GetPublicKey", missing=gone, KeyId=key_arn)
    role = str(function.get("Role") or "")
    place = Place.of(archive_url or "")
    sealer = Simulated(iam(), role, region=trail.region) if role else None
    archiver = Simulated(iam(), archiver_role, region=trail.region) if archiver_role else None
    return Sealing(
        function=function,
        rules=rules,
        key_arn=key_arn,
        key=key,
        public_key=public,
        seals=() if sealer is None else (sealer.ask(_KEY_USES, key_arn), *_evidence(sealer, place, trail)),
        others=() if archiver is None else (archiver.ask(_SIGN, key_arn), *_seals(archiver, place, trail)),
    )


def _function(lambda_: Asker, trail: Trail, archive_url: str | None) -> Answer:
    listed = lambda_.list("list_functions", "lambda:ListFunctions", "Functions", most_pages=_MOST_PAGES)
    if not isinstance(listed, Pages):
        return listed
    sealing = [one for one in listed.items if one.get("Handler") == SEAL_HANDLER]
    ours = [one for one in sealing if _seals_trail(one, trail)]
    ours.sort(key=lambda one: not is_same_url(_variables(one).get(ARCHIVE_VARIABLE), archive_url))
    if ours:
        return ours[0]
    hidden = [environment_of(one) for one in sealing]
    unseen = next((one for one in hidden if isinstance(one, Unknown)), None)
    if unseen is not None:
        return unseen
    if not listed.is_whole:
        return Unknown(f"more than {len(listed.items)} functions: not all were read")
    return Missing("no function of this account and region seals the trail")


def _seals_trail(function: Mapping[str, Any], trail: Trail) -> bool:
    named = f"{trail.account}/{trail.region}/{trail.table_name}"
    return _variables(function).get(SEAL_TABLE_VARIABLE) == named


def _variables(function: Mapping[str, Any]) -> Mapping[str, str]:
    environment = environment_of(function)
    return {} if isinstance(environment, Unknown) else environment


def _rules(events: Asker, function_arn: str) -> tuple[Answer, ...] | Unknown:
    listed = events.list(
        "list_rule_names_by_target",
        "events:ListRuleNamesByTarget",
        "RuleNames",
        most_pages=_MOST_PAGES,
        TargetArn=function_arn,
    )
    if not isinstance(listed, Pages):
        return listed if isinstance(listed, Unknown) else Unknown(listed.what)
    if not listed.is_whole:
        return Unknown(f"more than {len(listed.items)} rules: not all were read")
    return tuple(events.ask("describe_rule", "events:DescribeRule", Name=name) for name in listed.items)


def _evidence(sealer: Simulated, place: Place | None, trail: Trail) -> tuple[Any, ...]:
    if place is None:
        return ()
    segment = sealer.in_bucket(place, f"{place.folder}{trail.prefix}{_SEGMENT.compose()}")
    bucket = sealer.in_bucket(place, "").rstrip("/")
    return (
        sealer.ask(("s3:GetObject",), segment),
        sealer.ask(("s3:ListBucket",), bucket),
        *_seals(sealer, place, trail),
    )


def _seals(role: Simulated, place: Place | None, trail: Trail) -> tuple[Any, ...]:
    if place is None:
        return ()
    return (role.ask(("s3:PutObject",), role.in_bucket(place, f"{place.folder}{trail.prefix}{seal_name(0)}")),)
