"""Checks of the event source mapping that archives: each setting by what it would lose if it were wrong.

The right values are those of `infra/template.yaml`. A setting that AWS did not say is not checked, whatever its
default.
"""

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from query.operate.answers import Answer, Missing, Unknown
from query.operate.facts import Readers, StreamReader
from query.operate.finding import Finding, failed, not_checked, passed, warned

_SHORTEST_AGE_S: Final = 3_600
# At 24 hours the stream forgets; four hours are left to save what is stuck, with its payload.
_LONGEST_AGE_S: Final = 72_000
# Whatever else it says is a failure: "PROBLEM: Function call failed" and its like are not listed anywhere.
_GOOD_RESULTS: Final = frozenset({"OK", "No records processed"})
_UNSAID: Final = "AWS did not say it"
_UPDATE: Final = "aws lambda update-event-source-mapping --uuid {uuid} {change}"
_TEMPLATE: Final = "deploy the template again, it sets this right"

Mapped = Mapping[str, Any]
Check = Callable[[str, Mapped], Finding]


def check_mapping(table: Answer, readers: Readers, reader: StreamReader | Missing | Unknown) -> Iterator[Finding]:
    """That one is there and reads the stream that the table has now; then each of its settings."""
    if isinstance(reader, Unknown):
        yield not_checked("mapping", reader).essential()
        yield from _none(reader.why)
        return
    if isinstance(reader, Missing):
        yield failed("mapping", reader.what, "deploy the stack for this stream (docs/operations.md, Deploy)")
        yield from _none("there is no mapping of ddbtrail")
        return
    mapping: Mapped = reader.mapping
    found = f"{mapping.get('UUID')} calls {str(mapping.get('FunctionArn')).rpartition(':')[2]}"
    if readers.archiving > 1:
        why = f"{readers.archiving} mappings archive this stream; checked is {found}"
        yield warned("mapping", why, "remove the stacks that are not needed: each is a reader of every shard")
    else:
        yield passed("mapping", found)
    yield _check_stream(table, mapping)
    yield from (check(code, mapping) for code, check in _CHECKS.items())


def _none(why: str) -> Iterator[Finding]:
    yield not_checked("mapping-stream", why)
    yield from (not_checked(code, why) for code in _CHECKS)


def _check_stream(table: Answer, mapping: Mapped) -> Finding:
    if isinstance(table, Missing | Unknown) or not table.get("LatestStreamArn"):
        return not_checked("mapping-stream", "the table's stream is not known")
    read, latest = mapping.get("EventSourceArn"), table["LatestStreamArn"]
    if read == latest:
        return passed("mapping-stream", "it reads the stream that the table has now")
    return failed(
        "mapping-stream",
        f"the stream was re-created: the mapping reads {str(read).rpartition('/')[2]}, the table writes to "
        f"{latest.rpartition('/')[2]}",
        f"update the stack with StreamArn={latest} (docs/operations.md, The stream was re-created)",
    )


def _state(code: str, mapping: Mapped) -> Finding:
    state, reason = mapping.get("State"), mapping.get("StateTransitionReason")
    told = f"{state} ({reason})" if reason else f"{state}"
    if state == "Enabled":
        return passed(code, "Enabled")
    if state in {"Creating", "Enabling", "Updating"}:
        return warned(code, f"it is {told}", "ask again in some minutes")
    if state is None:
        return not_checked(code, _UNSAID).essential()
    fix = "deploy the stack again" if state == "Deleting" else _update(mapping, "--enabled")
    return failed(code, f"it is {told}: nothing is archived, and the stream forgets after 24 hours", fix)


def _result(code: str, mapping: Mapped) -> Finding:
    result = mapping.get("LastProcessingResult")
    if not result:
        return not_checked(code, _UNSAID)
    if result in _GOOD_RESULTS:
        return passed(code, f"the last batch: {result}")
    fix = "the function's log says why (docs/operations.md, Errors and Not polling)"
    return failed(code, f"the last batch: {result}", fix)


def _start(code: str, mapping: Mapped) -> Finding:
    position = mapping.get("StartingPosition")
    if position == "TRIM_HORIZON":
        return passed(code, "TRIM_HORIZON")
    if position is None:
        return not_checked(code, _UNSAID)
    why = f"{position} misses changes of the minutes in which the mapping is made or updated"
    return failed(code, why, "deploy with StartingPosition=TRIM_HORIZON, and import a baseline")


def _filter(code: str, mapping: Mapped) -> Finding:
    if (mapping.get("FilterCriteria") or {}).get("Filters"):
        why = "it has FilterCriteria, which leave changes out without a trace"
        return failed(code, why, _update(mapping, "--filter-criteria '{}'"))
    if mapping.get("FilterCriteriaError") or mapping.get("KMSKeyArn"):
        return not_checked(code, "filter criteria may be hidden: needs kms:Decrypt on the mapping's key")
    return passed(code, "no filter")


def _bisect(code: str, mapping: Mapped) -> Finding:
    is_on = mapping.get("BisectBatchOnFunctionError")
    if is_on is None:
        return not_checked(code, _UNSAID)
    if is_on:
        return passed(code, "a failing batch is cut in two")
    why = "a batch that is too much for the function fails whole until it is too old"
    return warned(code, why, _update(mapping, "--bisect-batch-on-function-error"))


def _retries(code: str, mapping: Mapped) -> Finding:
    attempts = mapping.get("MaximumRetryAttempts")
    if attempts is None:
        return not_checked(code, _UNSAID)
    if attempts == -1:
        return passed(code, "tried again until a batch is too old")
    why = f"given up after {attempts} retries: a short outage of the archive already sends batches away"
    return warned(code, why, _update(mapping, "--maximum-retry-attempts -1"))


def _age(code: str, mapping: Mapped) -> Finding:
    age_s = mapping.get("MaximumRecordAgeInSeconds")
    fix = _update(mapping, "--maximum-record-age-in-seconds 43200")
    if age_s is None:
        return not_checked(code, _UNSAID)
    if age_s == -1:
        why = "no limit: what fails for 24 hours is forgotten by the stream before it is saved"
        return failed(code, why, fix)
    if age_s > _LONGEST_AGE_S:
        why = f"{age_s} s: above {_LONGEST_AGE_S} s the stream may forget before a batch is saved"
        return failed(code, why, fix)
    if age_s < _SHORTEST_AGE_S:
        return warned(code, f"{age_s} s: an outage of the archive that long sends batches away", fix)
    return passed(code, f"failing batches are tried for {age_s} s, then saved")


def _destination(code: str, mapping: Mapped) -> Finding:
    destination = destination_of(mapping)
    if not destination:
        why = "none: a batch that is given up is lost"
        return failed(code, why, f"give it an S3 bucket: {_TEMPLATE}")
    if bucket_of(destination):
        return passed(code, f"S3 bucket {bucket_of(destination)}, with the payload")
    why = f"{destination} gets no payload: only the stream still has the records, until 24 hours after the change"
    return warned(code, why, f"give it an S3 bucket: {_TEMPLATE}")


def _responses(code: str, mapping: Mapped) -> Finding:
    if mapping.get("FunctionResponseTypes"):
        why = f"{', '.join(mapping['FunctionResponseTypes'])}: the function answers for a whole batch only"
        return failed(code, why, _update(mapping, "--function-response-types '[]'"))
    return passed(code, "a batch is all or nothing")


def _tumbling(code: str, mapping: Mapped) -> Finding:
    if mapping.get("TumblingWindowInSeconds"):
        why = f"{mapping['TumblingWindowInSeconds']} s: Lambda wants a state back, and the function gives none"
        return failed(code, why, _update(mapping, "--tumbling-window-in-seconds 0"))
    return passed(code, "no tumbling window")


def _window(code: str, mapping: Mapped) -> Finding:
    window_s = mapping.get("MaximumBatchingWindowInSeconds")
    if window_s is None:
        return not_checked(code, _UNSAID)
    if window_s >= 1:
        return passed(code, f"records are gathered for {window_s} s")
    why = "0 s: each invocation gets what came in a quarter of a second, and each costs a PUT"
    return warned(code, why, _update(mapping, "--maximum-batching-window-in-seconds 60"))


def _metrics(code: str, mapping: Mapped) -> Finding:
    if "EventCount" in ((mapping.get("MetricsConfig") or {}).get("Metrics") or ()):
        return passed(code, "EventCount")
    why = "no EventCount metrics: the alarms for held back, dropped and not polled batches see nothing"
    return warned(code, why, _update(mapping, "--metrics-config Metrics=EventCount"))


# By code, in the order of output.
_CHECKS: Final[Mapping[str, Check]] = {
    "mapping-state": _state,
    "mapping-result": _result,
    "mapping-start": _start,
    "mapping-filter": _filter,
    "mapping-bisect": _bisect,
    "mapping-retries": _retries,
    "mapping-age": _age,
    "mapping-destination": _destination,
    "mapping-responses": _responses,
    "mapping-tumbling": _tumbling,
    "mapping-window": _window,
    "mapping-metrics": _metrics,
}


def check_state(mapping: Mapped) -> Finding:
    """The state alone, for `status`."""
    return _state("mapping", mapping)


def check_result(mapping: Mapped) -> Finding:
    """The last result alone, for `status`."""
    return _result("last-result", mapping)


def destination_of(mapping: Mapped) -> str | None:
    """The ARN of where failed batches go."""
    return ((mapping.get("DestinationConfig") or {}).get("OnFailure") or {}).get("Destination") or None


def bucket_of(destination_arn: str) -> str | None:
    """The bucket of an S3 destination, None for another kind."""
    parts = destination_arn.split(":", 5)
    return parts[5].partition("/")[0] if len(parts) == 6 and parts[2] == "s3" else None  # noqa: PLR2004  an ARN's parts


def _update(mapping: Mapped, change: str) -> str:
    return _UPDATE.format(uuid=mapping.get("UUID", "UUID"), change=change)
